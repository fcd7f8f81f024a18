/*
 * A guest's page tables, walked as its CPU would: where an address of its lies in
 * guest-physical memory. The tables are the guest's, so they may hold anything.
 */
#pragma once

#include "base/gmem.h"

struct paging {
	uint64_t cr0, cr3, cr4, efer;
};

/* -EFAULT: nothing is mapped at @va, or the tables lie outside of RAM. */
int paging_translate(const struct gmem *mem, const struct paging *regs, uint64_t va,
		     uint64_t *ret_gpa);
