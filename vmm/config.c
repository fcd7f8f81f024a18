/* What a configuration holds, and its kernel's command line; see config.h. */
#include "vmm/config.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "devices/uart.h"
#include "virtio/blk.h"
#include "vmm/arch.h"

size_t config_rank(const struct dev_class *class)
{
	size_t i;

	for (i = 0; config_classes[i] != class; i++)
		;
	return i;
}

size_t config_count(const struct config *cfg, const struct dev_class *class)
{
	size_t n = 0;

	for (size_t i = 0; i < cfg->n_devices; i++)
		n += cfg->devices[i].class == class;
	return n;
}

struct config_device *config_add_device(struct config *cfg,
					const struct dev_class *class, struct err *err)
{
	struct config_device *grown, new = { .class = class };
	size_t at;

	grown = reallocarray(cfg->devices, cfg->n_devices + 1, sizeof(*grown));
	if (!grown)
		goto fail;
	cfg->devices = grown;
	if (class->cfg_size) {
		new.cfg = calloc(1, class->cfg_size);
		if (!new.cfg)
			goto fail;
		opt_defaults(class->opts, new.cfg);
	}
	for (at = 0; at < cfg->n_devices; at++)
		if (config_rank(grown[at].class) > config_rank(class))
			break;
	memmove(&grown[at + 1], &grown[at], (cfg->n_devices - at) * sizeof(*grown));
	grown[at] = new;
	cfg->n_devices++;
	return &grown[at];
fail:
	err_sys(err, -ENOMEM, "--%s", class->name);
	return NULL;
}

static void free_device(struct config_device *d)
{
	if (d->cfg)
		opt_free(d->class->opts, d->cfg);
	free(d->cfg);
}

void config_drop_devices(struct config *cfg, const struct dev_class *class)
{
	size_t n = 0;

	for (size_t i = 0; i < cfg->n_devices; i++) {
		if (cfg->devices[i].class == class)
			free_device(&cfg->devices[i]);
		else
			cfg->devices[n++] = cfg->devices[i];
	}
	cfg->n_devices = n;
}

const struct virtio_blk_cfg *config_root_disk(const struct config *cfg, unsigned skip,
					      unsigned *ret_n)
{
	unsigned n = 0;

	for (size_t i = 0; i < cfg->n_devices; i++) {
		const struct virtio_blk_cfg *blk = cfg->devices[i].cfg;

		if (cfg->devices[i].class != &virtio_blk_class)
			continue;
		assert(blk);
		*ret_n = n++;
		if (blk->root && skip-- == 0)
			return blk;
	}
	return NULL;
}

void config_free(struct config *cfg)
{
	for (size_t i = 0; i < cfg->n_devices; i++)
		free_device(&cfg->devices[i]);
	free(cfg->devices);
	free(cfg->kernel);
	opt_free(config_opts, cfg);
	*cfg = (struct config){ 0 };
}

int config_cmdline(const struct config *cfg, char **ret_cmdline, struct err *err)
{
	const struct virtio_blk_cfg *root;
	AUTO_FREE char *text = NULL;
	unsigned n = 0;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return err_sys(err, -ENOMEM, "kernel command line");
	fprintf(f, "panic=-1");
	for (size_t i = 0; i < cfg->n_devices; i++) {
		const struct serial_cfg *s = cfg->devices[i].cfg;

		if (cfg->devices[i].class != &serial_option)
			continue;
		if (s->console)
			fprintf(f, " console=%s%" PRIu64,
				s->hardware == SERIAL_UART ? "ttyS" : "hvc",
				s->num - 1);
		if (s->earlycon)
			fprintf(f, " earlycon=" ARCH_SERIAL_EARLYCON,
				uart_port((unsigned)s->num));
	}
	root = config_root_disk(cfg, 0, &n);
	if (root)
		fprintf(f, " root=/dev/vd%s%c %s", n < 26 ? "" : "a", 'a' + (int)n % 26,
			root->read_only ? "ro" : "rw");
	for (size_t i = 0; i < cfg->params.n; i++)
		fprintf(f, " %s", cfg->params.v[i]);
	if (fclose(f) != 0 || !text)
		return err_sys(err, -ENOMEM, "kernel command line");
	*ret_cmdline = TAKE_PTR(text);
	return 0;
}
