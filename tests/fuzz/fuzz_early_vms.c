/* A file of early VMs: no crash, no leak, an error says where, and what is read holds.
 */
#undef NDEBUG
#include <assert.h>
#include <string.h>

#include "service/early_virtmgr/early_vms.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct early_vms *vms)
{
	for (size_t i = 0; i < vms->n; i++) {
		const struct early_vm *vm = &vms->list[i];
		size_t len = strlen(vm->name);

		assert(len > 0 && len <= 100 && vm->path[0] == '/');
		assert(vm->cid >= 100 && vm->cid <= 199 && vm->line > 0);
		/* The first of its name is the only one. */
		assert(early_vms_find(vms, vm->name) == vm);
		for (size_t j = 0; j < i; j++)
			assert(vms->list[j].cid != vm->cid);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct early_vms vms = { 0 };
	struct err err = { "" };
	int r = early_vms_parse(&vms, "f", 100, 199, (const char *)data, size, &err);

	assert((r < 0) == (err.msg[0] != '\0'));
	assert(r == 0 || strncmp(err.msg, "f: line ", 8) == 0);
	check(&vms);
	early_vms_free(&vms);
	return 0;
}
