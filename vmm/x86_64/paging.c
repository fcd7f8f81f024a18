/* A guest's page tables; see paging.h. Intel SDM volume 3, chapter 4. */
#include "vmm/x86_64/paging.h"

#include <errno.h>
#include <stdbool.h>

#define CR0_PG (1u << 31)
#define CR4_PSE (1u << 4)
#define CR4_PAE (1u << 5)
#define CR4_LA57 (1u << 12)
#define EFER_LMA (1u << 10)
#define PRESENT 1u
#define LARGE (1u << 7)
#define ADDRESS 0x000ffffffffff000ull

/* How tables of one kind are walked, from the first level's. */
struct walk {
	unsigned shift; /* of what an entry maps */
	unsigned top_bits, bits; /* of an index, into the first table and the others */
	unsigned entry; /* bytes */
	uint64_t large; /* the shifts at which an entry may be a large page, as bits */
	uint64_t table;
};

static bool choose(const struct paging *r, uint64_t va, struct walk *w)
{
	if (r->efer & EFER_LMA) {
		unsigned bits = r->cr4 & CR4_LA57 ? 57 : 48;
		int64_t top = (int64_t)va >> (bits - 1);

		*w = (struct walk){ bits - 9,	     9, 9, 8, 1u << 21 | 1u << 30,
				    r->cr3 & ADDRESS };
		return top == 0 || top == -1;
	}
	if (r->cr4 & CR4_PAE)
		*w = (struct walk){ 30, 2, 9, 8, 1u << 21, r->cr3 & 0xffffffe0 };
	else
		*w = (struct walk){ 22,
				    10,
				    10,
				    4,
				    r->cr4 & CR4_PSE ? 1u << 22 : 0,
				    r->cr3 & 0xfffff000 };
	return va <= UINT32_MAX;
}

int paging_translate(const struct gmem *mem, const struct paging *regs, uint64_t va,
		     uint64_t *ret_gpa)
{
	struct walk w;
	unsigned bits;

	if (!(regs->cr0 & CR0_PG)) {
		*ret_gpa = va;
		return 0;
	}
	if (!choose(regs, va, &w))
		return -EFAULT;
	for (bits = w.top_bits;; bits = w.bits) {
		uint64_t entry = 0, offset = va & ((1ull << w.shift) - 1);
		uint64_t index = va >> w.shift & ((1u << bits) - 1);

		if (gmem_read(mem, GPA(w.table + index * w.entry), &entry, w.entry) <
			    0 ||
		    !(entry & PRESENT))
			return -EFAULT;
		if (w.shift == 12 || ((entry & LARGE) && (w.large & 1ull << w.shift))) {
			uint64_t page = entry & ADDRESS & ~((1ull << w.shift) - 1);

			/* 4 MiB pages may lie above 4 GiB (PSE-36). */
			if (w.shift == 22)
				page = (entry & 0xffc00000) | (entry >> 13 & 0xff)
								      << 32;
			*ret_gpa = page | offset;
			return 0;
		}
		w.table = entry & ADDRESS;
		w.shift -= w.bits;
	}
}
