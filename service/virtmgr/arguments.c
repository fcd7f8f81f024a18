/*
 * vmm's command line; see arguments.h. The order is AVF's, so that what it starts and
 * what we start can be compared.
 */
#include "service/virtmgr/arguments.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "service/virtmgr/images.h"

#define DEFAULT_MEMORY_MIB 256
/* More than any kernel takes, and less than an argument may have. */
#define MAX_PARAMS (64u << 10)

/* Keys whose files are arguments by themselves. */
static const struct file_option {
	const char *key, *format;
	size_t offset;
	unsigned what;
} file_options[] = {
#define FILE_OPTION(field, format, what)                                \
	{                                                               \
#field, format, offsetof(struct vm_config, field), what \
	}
	FILE_OPTION(bootloader, "--bios=/proc/self/fd/%d", FILE_READ),
	FILE_OPTION(bios_key, "--bios-key=path=/proc/self/fd/%d", FILE_READ),
	FILE_OPTION(initrd, "--initrd=/proc/self/fd/%d", FILE_READ),
	FILE_OPTION(ramdump, "--dump-on-panic=/proc/self/fd/%d", FILE_WRITE),
#undef FILE_OPTION
};

static int take_file(struct launch *l, int *fd, unsigned what, struct err *err)
{
	int r = images_check(*fd, what, err);

	if (r == 0) {
		r = launch_fd(l, TAKE_FD(*fd));
		if (r < 0)
			err_sys(err, r, "its descriptor");
	}
	return r;
}

static int add_files(struct vm_config *c, struct launch *l, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(file_options); i++) {
		const struct file_option *o = &file_options[i];
		int *fd = (int *)(void *)((char *)c + o->offset);
		int n;

		if (*fd < 0)
			continue;
		n = take_file(l, fd, o->what, err);
		if (n < 0)
			return err_prefix(err, n, "%s", o->key);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		launch_arg(l, o->format, n);
#pragma GCC diagnostic pop
	}
	return 0;
}

static int add_tap(struct vm_config *c, struct launch *l, struct err *err)
{
	struct stat st;
	int n;

	if (c->tap < 0)
		return 0;
	if (fstat(c->tap, &st) < 0 || !S_ISCHR(st.st_mode))
		return err_set(err, -EBADMSG, "tap: is not a tap's descriptor");
	n = launch_fd(l, TAKE_FD(c->tap));
	if (n < 0)
		return err_sys(err, n, "tap");
	return launch_arg(l, "--net=tap-fd=%d", n);
}

static void add_machine(const struct vm_config *c, struct launch *l)
{
	static const struct {
		size_t offset;
		const char *arg;
	} switches[] = {
		{ offsetof(struct vm_config, hugepages), "--hugepages" },
		{ offsetof(struct vm_config, boost_uclamp), "--boost-uclamp" },
		{ offsetof(struct vm_config, watchdog), "--watchdog" },
		{ offsetof(struct vm_config, balloon), "--balloon-page-reporting" },
	};

	if (c->name)
		launch_arg(l, "--name=%s", c->name);
	if (!c->balloon)
		launch_arg(l, "--no-balloon");
	launch_arg(l, "--mem=%" PRIu64, c->memory_mib ?: DEFAULT_MEMORY_MIB);
	if (c->cpu_topology == CPUS_MATCH_HOST)
		launch_arg(l, "--host-cpu-topology");
	else
		launch_arg(l, "--cpus=%" PRIu64, c->cpu_count ?: 1);
	if (c->gdb_port)
		launch_arg(l, "--gdb=%" PRIu64, c->gdb_port);
	for (size_t i = 0; i < ARRAY_SIZE(switches); i++)
		if (*(const bool *)((const char *)c + switches[i].offset))
			launch_arg(l, "%s", switches[i].arg);
	if (c->timeout_s)
		launch_arg(l, "--timeout=%" PRIu64, c->timeout_s);
}

int arguments_add(struct vm_config *c, struct launch *l, struct err *err)
{
	int n = 0, r;

	if (c->protected)
		return err_set(
			err, -ENOTSUP,
			"protected: this host's KVM cannot hide a guest's memory from it");
	if (c->params && strlen(c->params) > MAX_PARAMS)
		return err_set(err, -EBADMSG, "params: has more than %u bytes",
			       MAX_PARAMS);
	launch_arg(l, "run");
	add_machine(c, l);
	r = add_files(c, l, err);
	if (r == 0 && c->params)
		launch_arg(l, "--params=%s", c->params);
	if (r == 0)
		r = images_launch(c, l, err);
	if (r == 0)
		r = add_tap(c, l, err);
	if (r == 0 && c->kernel >= 0) {
		n = take_file(l, &c->kernel, FILE_READ, err);
		if (n < 0)
			return err_prefix(err, n, "kernel");
		r = launch_arg(l, "/proc/self/fd/%d", n);
	}
	return r;
}

int arguments_add_consoles(int number, int input_device, int log, struct launch *l,
			   struct err *err)
{
	static const char *const hardware[] = {
		[CONSOLE_HVC0] = "virtio-console",
		[CONSOLE_TTYS0] = "serial",
	};

	for (int i = CONSOLE_TTYS0; i >= CONSOLE_HVC0; i--)
		launch_arg(
			l,
			"--serial=type=unix-stream,path=/proc/self/fd/%d,hardware=%s,num=1%s",
			number, hardware[i],
			i == input_device ? ",input-unix-stream=true" : "");
	/* There guests tell why they give up, by a name that vmm knows. */
	launch_arg(l, "--serial=type=sink,hardware=serial,num=2");
	if (log < 0)
		return 0;
	/* AVF's guests write their log to hvc2, and what they dump to hvc1. */
	number = launch_fd(l, log);
	if (number < 0)
		return err_sys(err, number, "log");
	launch_arg(l, "--serial=type=sink,hardware=virtio-console,num=2");
	return launch_arg(
		l,
		"--serial=type=file,path=/proc/self/fd/%d,hardware=virtio-console,num=3",
		number);
}
