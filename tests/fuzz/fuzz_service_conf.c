/* The service's configuration: no crash, no leak, and an error says where. */
#undef NDEBUG
#include <assert.h>
#include <string.h>

#include "service/virtualizationservice/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = { "" };
	struct limits limits;
	struct conf conf;
	int r;

	conf_init(&conf);
	r = conf_parse(&conf, (const char *)data, size, &err);
	assert((r < 0) == (err.msg[0] != '\0'));
	limits = conf_limits(&conf, 0);
	assert(limits.memory_mib == LIMIT_NONE ||
	       limits.memory_mib <= UINT64_MAX >> 20);
	conf_free(&conf);
	return 0;
}
