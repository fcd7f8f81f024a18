/* A JSON file of options: no crash, no leak, and a configuration that is whole. */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>

#include "vmm/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = { "" };
	struct config cfg = { 0 };
	char *cmdline;
	int r;

	r = config_parse_json(&cfg, "vm.json", (const char *)data, size, &err);
	assert((r < 0) == (err.msg[0] != '\0'));
	if (r == 0) {
		assert(cfg.kernel && cfg.mem.size > 0);
		assert(cfg.cpus.num_cores >= 1 && cfg.cpus.num_cores <= 64);
		assert(config_cmdline(&cfg, &cmdline, &err) == 0);
		free(cmdline);
	}
	config_free(&cfg);
	return 0;
}
