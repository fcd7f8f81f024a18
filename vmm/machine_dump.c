/* A machine's crash dump: its vCPUs and memory, to vmm/core.c. */
#include <elf.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "vmm/arch_debug.h"
#include "vmm/core.h"
#include "vmm/machine_struct.h"

/* Emptied now: what an earlier VM left must not pass for this one's. */
int machine_dump_open(struct machine *m, struct err *err)
{
	m->dump_fd = file_open_private("crash dump", m->cfg->dump_on_panic, err);
	return m->dump_fd < 0 ? m->dump_fd : 0;
}

/* The loop, which looks at these otherwise, does not run now. */
static bool is_to_end(void *ctx)
{
	const struct machine *m = ctx;
	struct pollfd p[] = { { .fd = m->signal_fd, .events = POLLIN },
			      { .fd = m->timer_fd, .events = POLLIN } };

	return poll(p, ARRAY_SIZE(p), 0) > 0;
}

/* The vCPUs' registers, and what the guest's kernel says of itself. */
static size_t make_notes(const struct machine *m, unsigned char *buf)
{
	unsigned char status[ARCH_PRSTATUS_MAX];
	char info[CORE_VMCOREINFO_MAX];
	size_t n, len = 0;

	for (unsigned i = 0; i < m->n_vcpus; i++) {
		n = arch_core_prstatus(&m->vcpus[i], status);
		if (n)
			len += core_note(buf + len, "CORE", NT_PRSTATUS, status, n);
	}
	n = core_find_vmcoreinfo(&m->host.mem, info);
	if (n)
		len += core_note(buf + len, "VMCOREINFO", 0, info, n);
	return len;
}

int machine_dump(struct machine *m, int fd, struct err *err)
{
	AUTO_FREE unsigned char *notes =
		malloc(m->n_vcpus * CORE_NOTE_SIZE(ARCH_PRSTATUS_MAX) +
		       CORE_NOTE_SIZE(CORE_VMCOREINFO_MAX));
	struct core core = {
		.machine = arch_core_machine(),
		.mem = &m->host.mem,
		.notes = notes,
		.cancelled = is_to_end,
		.ctx = m,
	};

	if (!notes)
		return err_sys(err, -ENOMEM, "crash dump");
	core.notes_len = make_notes(m, notes);
	return core_write(&core, fd, err);
}

void machine_dump_panic(struct machine *m)
{
	struct err err;

	if (machine_dump(m, m->dump_fd, &err) < 0)
		log_error("vm", "%s: %s", m->cfg->dump_on_panic, err.msg);
	else
		log_info("vm", "crash dump written to %s", m->cfg->dump_on_panic);
}
