/*
 * A crash dump: guest memory as an ELF core file, one segment for each range of RAM,
 * at guest-physical addresses (p_paddr, and p_vaddr too, so that gdb reads them as
 * such). crash(8), gdb and readelf open it. Knows nothing of KVM.
 *
 * Pages of zeroes become holes where the output can have them. What writes at the same
 * time, be it the guest or a device, may show half done. Main thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/gmem.h"

struct core {
	uint16_t machine; /* as e_machine has it */
	const struct gmem *mem;
	const void *notes; /* as core_note() makes them */
	size_t notes_len;
	/* Asked all 100 ms or each MiB: whether to give up. */
	bool (*cancelled)(void *ctx);
	void *ctx;
};

/* How much core_note() takes for @len bytes under names of at most 12 bytes. */
#define CORE_NOTE_SIZE(len) (24 + (((len) + 3) & ~(size_t)3))

/* Put a note at @buf, which has room; returns the bytes used. */
size_t core_note(void *buf, const char *name, uint32_t type, const void *desc,
		 size_t len);

/* The most that a VMCOREINFO may have. */
#define CORE_VMCOREINFO_MAX 4096

/*
 * Look for the note that a Linux kernel keeps about itself for crash dumps, at the
 * start of a page: its text goes to @buf, CORE_VMCOREINFO_MAX bytes. Returns its
 * length; 0: there is none. The guest writes it, so it may be anything.
 */
size_t core_find_vmcoreinfo(const struct gmem *mem, char *buf);

/*
 * Write the dump from @fd's place on: a regular file is cut there first, and again
 * when this fails; anything else gets the zeroes too. A reader may be slow, but not
 * take nothing for 30 s. -ECANCELED, -ETIMEDOUT, or why it cannot be written.
 */
int core_write(const struct core *c, int fd, struct err *err);
