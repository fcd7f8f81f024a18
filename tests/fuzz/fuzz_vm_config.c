/* A VM's configuration file: no crash, no leak, and a configuration that is whole. */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "service/vm/json_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int fake_open(void *arg, const char *what, const char *path, bool writable,
		     struct err *err)
{
	(void)arg;
	(void)writable;
	if (strchr(path, '!'))
		return err_set(err, -ENOENT, "%s %s: not there", what, path);
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void count(void *arg, bool warning, const char *sentence)
{
	unsigned *faults = arg;

	assert(*sentence);
	*faults += !warning;
}

static void no_fault(void *arg, const char *path, const char *sentence)
{
	(void)arg;
	(void)path;
	(void)sentence;
	assert(false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct json_config_ops ops = { fake_open, count };
	struct vm_config c;
	unsigned faults = 0;
	int r;

	vm_config_init(&c);
	r = json_config_parse("f", (const char *)data, size, &ops, &faults, &c);
	assert((r < 0) == (faults > 0));
	if (r == 0) {
		assert(vm_config_check(&c, no_fault, NULL) == 0);
		assert(c.n_disks <= CONFIG_MAX_DISKS);
		assert(vm_config_files(&c, NULL, 0) > 0);
	}
	vm_config_free(&c);
	return 0;
}
