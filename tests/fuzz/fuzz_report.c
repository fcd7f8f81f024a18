/*
 * The page that the VM's process leaves behind, whatever is in it: a status, a reason,
 * and an object that a strict reader takes.
 */
#undef NDEBUG
#include <assert.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/exit.h"
#include "vmm/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "pc", "sp", NULL };
	static struct report page;
	static struct death d;
	json_error_t error;
	char *text;
	json_t *o;
	int status;

	if (size == 0)
		return 0;
	status = *data++;
	size--;
	memset(&page, 0, sizeof(page));
	memcpy(&page, data, size < sizeof(page) ? size : sizeof(page));
	report_exited(&page, status, &d);
	assert(d.status == status || d.status == EXIT_CRASH);
	text = report_json(&d, names, 0);
	assert(text);
	o = json_loads(text, JSON_REJECT_DUPLICATES, &error);
	assert(o && json_object_size(o) == 9);
	assert(json_string_length(json_object_get(o, "console_tail")) <=
	       3 * (size_t)REPORT_TAIL);
	assert(json_array_size(json_object_get(o, "registers")) <= REPORT_MAX_VCPUS);
	json_decref(o);
	free(text);
	return 0;
}
