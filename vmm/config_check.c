/* Which options and devices go together, and what their words mean; see config.h. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/terminal.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "vmm/config.h"

#define MAX_CPUS 64

/* "^X", or "none". */
static int parse_escape(struct config *cfg, struct err *err)
{
	const char *s = cfg->escape;
	char c;

	cfg->escape_key = ESCAPE_CTRL_A;
	if (!s)
		return 0;
	cfg->escape_key = 0;
	if (!strcmp(s, "none"))
		return 0;
	c = s[0] == '^' && s[1] && !s[2] ? s[1] : '\0';
	if (c >= 'a' && c <= 'z')
		c = (char)(c - 'a' + 'A');
	if (c < 'A' || c > '_')
		return err_set(err, -EINVAL,
			       "--escape: \"%s\" is neither ^A to ^_ nor none", s);
	cfg->escape_key = (uint8_t)(c & 0x1f);
	return 0;
}

/* What is all digits is a port: a socket of that name takes a "./". */
static int parse_gdb(struct config *cfg, struct err *err)
{
	const char *s = cfg->gdb;
	uint64_t port;

	if (!s || s[strspn(s, "0123456789")])
		return 0;
	if (opt_number(s, &port) < 0 || port < 1 || port > UINT16_MAX)
		return err_set(err, -EINVAL, "--gdb: %s is not a port, 1 to %d", s,
			       UINT16_MAX);
	cfg->gdb_port = (uint16_t)port;
	return 0;
}

static int check_keep_fds(const struct config *cfg, struct err *err)
{
	for (size_t i = 0; i < cfg->keep_fds.n; i++) {
		const char *s = cfg->keep_fds.v[i];

		if (!*s || s[strspn(s, "0123456789")] || strlen(s) > 10)
			return err_set(err, -EINVAL,
				       "--keep-fd: \"%s\" is not a descriptor's number",
				       s);
	}
	return 0;
}

int config_rollback_indices(const struct bios_key_cfg *c,
			    uint64_t ret_indices[BOOT_MAX_CHAINED], struct err *err)
{
	const char *text = c->rollback_indices;
	size_t at = 1;

	memset(ret_indices, 0, BOOT_MAX_CHAINED * sizeof(*ret_indices));
	if (!text)
		return 0;
	for (unsigned i = 0; i < BOOT_MAX_CHAINED && text[0] == '['; i++) {
		size_t len = strcspn(text + at, ",]");
		char number[24] = "";

		if (len < sizeof(number))
			memcpy(number, text + at, len);
		if (opt_number(number, &ret_indices[i]) < 0)
			break;
		at += len;
		if (!strcmp(text + at, "]"))
			return 0;
		if (text[at++] != ',')
			break;
	}
	return err_set(err, -EINVAL,
		       "--bios-key: rollback-indices: \"%s\" is not [N,...], at most %d"
		       " numbers",
		       text, BOOT_MAX_CHAINED);
}

int config_check_options(struct config *cfg, bool cpus_given, struct err *err)
{
	uint64_t indices[BOOT_MAX_CHAINED];
	long n;
	int r;

	if (!cfg->kernel && !cfg->bios)
		return err_set(err, -EINVAL, "no kernel given");
	if (cfg->bios && cfg->kernel)
		return err_set(err, -EINVAL, "--bios: contradicts the kernel %s",
			       cfg->kernel);
	if (cfg->bios && cfg->initrd)
		return err_set(err, -EINVAL,
			       "--bios: contradicts --initrd, which needs a kernel");
	if (!cfg->bios && (cfg->bios_key.path || cfg->bios_key.unlocked))
		return err_set(err, -EINVAL, "--bios-key: needs --bios");
	r = config_rollback_indices(&cfg->bios_key, indices, err);
	if (r < 0)
		return r;
	if (cfg->firmware_compat && !cfg->bios)
		return err_set(err, -EINVAL, "--firmware-compat: needs --bios");
	if (cfg->firmware_compat && (cfg->bios_key.path || cfg->bios_key.unlocked))
		return err_set(err, -EINVAL,
			       "--firmware-compat: contradicts --bios-key, since PC"
			       " firmware verifies nothing");
	if (cfg->firmware_compat && cfg->params.n)
		return err_set(err, -EINVAL,
			       "--firmware-compat: contradicts --params, which PC"
			       " firmware does not pass on");
	if (cfg->suspended && !cfg->socket)
		return err_set(err, -EINVAL, "--suspended: needs --socket");
	if (cfg->disable_sandbox && cfg->require_sandbox)
		return err_set(err, -EINVAL,
			       "--require-sandbox: contradicts --disable-sandbox");
	cfg->log_level = LOG_LEVEL_INFO;
	if (cfg->log_filter) {
		r = log_parse_filter(cfg->log_filter, &cfg->log_level, err);
		if (r < 0)
			return err_prefix(err, r, "--log-level");
	}
	if (cfg->host_cpu_topology) {
		if (cpus_given)
			return err_set(err, -EINVAL,
				       "--host-cpu-topology: contradicts --cpus");
		n = sysconf(_SC_NPROCESSORS_ONLN);
		cfg->cpus.num_cores = n < 1 ? 1 : n > MAX_CPUS ? MAX_CPUS : (uint64_t)n;
	}
	r = parse_gdb(cfg, err);
	if (r == 0)
		r = parse_escape(cfg, err);
	return r < 0 ? r : check_keep_fds(cfg, err);
}

static int check_root(const struct config *cfg, struct err *err)
{
	unsigned n;

	if (config_root_disk(cfg, 1, &n))
		return err_set(err, -EINVAL, "--block: root is given twice");
	if (cfg->firmware_compat && config_root_disk(cfg, 0, &n))
		return err_set(err, -EINVAL,
			       "--block: root contradicts --firmware-compat");
	return 0;
}

static int check_devices(const struct config *cfg, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < cfg->n_devices; i++) {
		const struct dev_class *c = cfg->devices[i].class;

		if (c->check)
			r = c->check(cfg->devices[i].cfg, err);
		if (r < 0)
			err_prefix(err, r, "--%s", c->name);
	}
	return r;
}

static int check_memory(const struct config *cfg, struct err *err)
{
	if (cfg->hugepages && cfg->mem.hugetlb)
		return err_set(err, -EINVAL, "--hugepages: contradicts --mem hugetlb");
	if (cfg->init_mem > cfg->mem.size)
		return err_set(err, -EINVAL,
			       "--init-mem: %" PRIu64 " MiB are more than the %" PRIu64
			       " MiB of --mem",
			       cfg->init_mem, cfg->mem.size);
	if (!config_count(cfg, &virtio_balloon_class) &&
	    (cfg->init_mem || cfg->balloon_page_reporting))
		return err_set(err, -EINVAL, "--no-balloon: contradicts --%s",
			       cfg->init_mem ? "init-mem" : "balloon-page-reporting");
	return 0;
}

int config_check_devices(const struct config *cfg, struct err *err)
{
	int r = check_root(cfg, err);

	if (r == 0)
		r = check_devices(cfg, err);
	return r < 0 ? r : check_memory(cfg, err);
}
