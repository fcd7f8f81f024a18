/* What becomes known of a VM's end; see report.h. */
#include "vmm/report.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "disk/utf8.h"
#include "vmm/exit.h"
#include "vmm/failure.h"

/* --- in the VM's process ------------------------------------------------- */

int report_new(struct report **ret_report, struct err *err)
{
	void *p = mmap(NULL, sizeof(struct report), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return err_sys(err, -errno, "report");
	*ret_report = p;
	return 0;
}

void report_console(struct report *r, const void *buf, size_t len)
{
	const uint8_t *p = buf;
	uint64_t at = __atomic_fetch_add(&r->console_bytes, len, __ATOMIC_RELAXED);

	/* Consoles that write at once have places of their own. */
	for (size_t i = len > REPORT_TAIL ? len - REPORT_TAIL : 0; i < len; i++)
		r->console[(at + i) % REPORT_TAIL] = p[i];
}

void report_end(struct report *r, enum vm_end end, unsigned detail,
		const char *sentence)
{
	r->end = end;
	r->detail = detail;
	snprintf(r->sentence, sizeof(r->sentence), "%s", sentence);
}

/* --- in the supervisor --------------------------------------------------- */

static const struct {
	const char *reason, *by;
} words[] = {
	[VM_END_NONE] = { "error", "host" },
	[VM_END_SHUTDOWN] = { "shutdown", "guest" },
	[VM_END_REBOOT] = { "reboot", "guest" },
	[VM_END_CRASH] = { "crash", "guest" },
	[VM_END_PANIC] = { "panic", "guest" },
	[VM_END_WATCHDOG] = { "watchdog", "guest" },
	[VM_END_TIMEOUT] = { "timeout", "host" },
	[VM_END_KILLED] = { "killed", "host" },
	[VM_END_DEBUG_EXIT] = { "debug-exit", "guest" },
	[VM_END_BOOTLOADER] = { "bootloader", "guest" },
	[VM_END_ERROR] = { "error", "host" },
};

static void see(const struct report *r, struct death *d)
{
	d->seen = (struct report){ 0 };
	if (r)
		memcpy(&d->seen, r, sizeof(d->seen));
	d->seen.sentence[sizeof(d->seen.sentence) - 1] = '\0';
	if (d->seen.end > VM_END_ERROR)
		d->seen.end = VM_END_NONE;
	if (d->seen.n_vcpus > REPORT_MAX_VCPUS)
		d->seen.n_vcpus = REPORT_MAX_VCPUS;
}

void report_died(const struct report *r, int status, const char *reason,
		 const char *requested_by, const char *sentence,
		 struct death *ret_death)
{
	see(r, ret_death);
	ret_death->status = status;
	ret_death->reason = reason;
	ret_death->requested_by = requested_by;
	snprintf(ret_death->detail, sizeof(ret_death->detail), "%s", sentence);
}

void report_exited(const struct report *r, int status, struct death *ret_death)
{
	struct death *d = ret_death;
	enum vm_end end;

	see(r, d);
	end = d->seen.end;
	d->status = status;
	if (exit_status(end, d->seen.detail) != status) {
		/* Not what a process of ours does that is in its right mind. */
		snprintf(
			d->detail, sizeof(d->detail),
			"the VM's process ended with status %d and told another reason",
			status);
		d->status = EXIT_CRASH;
		d->reason = "crash";
		d->requested_by = "host";
		return;
	}
	d->reason = words[end].reason;
	d->requested_by = words[end].by;
	if (status == EXIT_ERROR && !d->seen.started)
		d->reason = "start-failed";
	if (end == VM_END_SHUTDOWN && d->seen.host_asked)
		d->requested_by = "host";
	snprintf(d->detail, sizeof(d->detail), "%s",
		 d->seen.sentence[0] ? d->seen.sentence
				     : "the VM's process ended and told no reason");
}

/* --- the status object --------------------------------------------------- */

static json_t *text(const void *bytes, size_t len)
{
	static const uint8_t replacement[] = { 0xef, 0xbf, 0xbd };
	AUTO_FREE char *out = malloc(3 * len + 1);
	const char *p = bytes;
	size_t n = 0;

	if (!out)
		return NULL;
	while (len > 0) {
		uint32_t code = 0;
		size_t took = utf8_decode(p, len, &code);

		if (took && code) {
			memcpy(out + n, p, took);
			n += took;
		} else {
			memcpy(out + n, replacement, sizeof(replacement));
			n += sizeof(replacement);
			took = 1;
		}
		p += took;
		len -= took;
	}
	return json_stringn(out, n);
}

static json_t *console_tail(const struct report *r)
{
	size_t len = r->console_bytes < REPORT_TAIL ? r->console_bytes : REPORT_TAIL;
	size_t from = len < REPORT_TAIL ? 0 : r->console_bytes % REPORT_TAIL;
	size_t cut = 0;
	uint8_t tail[REPORT_TAIL];

	for (size_t i = 0; i < len; i++)
		tail[i] = r->console[(from + i) % REPORT_TAIL];
	/* The rest of a character whose beginning was overwritten. */
	while (r->console_bytes > REPORT_TAIL && cut < 3 && (tail[cut] & 0xc0) == 0x80)
		cut++;
	return text(tail + cut, len - cut);
}

/* An object for each vCPU; null: none were read. */
static json_t *registers_of(const struct report *r, const char *const *names)
{
	json_t *all = r->n_vcpus ? json_array() : json_null();
	char hex[24];

	for (unsigned i = 0; all && i < r->n_vcpus; i++) {
		json_t *one = json_object();

		for (unsigned n = 0; names[n]; n++) {
			assert(n < REPORT_MAX_REGISTERS);
			snprintf(hex, sizeof(hex), "0x%" PRIx64, r->registers[i][n]);
			json_object_set_new(one, names[n], json_string(hex));
		}
		json_array_append_new(all, one);
	}
	return all;
}

char *report_json(const struct death *d, const char *const *registers,
		  uint64_t run_time_ms)
{
	json_t *o = json_pack(
		"{s:s, s:i, s:o, s:s, s:s?, s:b, s:o, s:o, s:I}", "reason", d->reason,
		"exit_status", d->status, "detail", text(d->detail, strlen(d->detail)),
		"requested_by", d->requested_by, "failure_code",
		d->seen.end == VM_END_BOOTLOADER ? failure_name(d->seen.detail) : NULL,
		"guest_panicked", d->seen.panicked != 0, "console_tail",
		console_tail(&d->seen), "registers", registers_of(&d->seen, registers),
		"run_time_ms", (json_int_t)run_time_ms);
	char *json = o ? json_dumps(o, 0) : NULL;
	char *line = NULL;

	if (json && asprintf(&line, "%s\n", json) < 0)
		line = NULL;
	free(json);
	json_decref(o);
	return line;
}
