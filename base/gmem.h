/*
 * Guest memory: the only place where a guest address becomes a host pointer.
 *
 * A guest-physical address is a gpa_t, which cannot be cast to a pointer by
 * accident. RAM is one host mapping, aligned to 2 MiB like the guest addresses
 * so that huge pages fit, private, lazily populated and not charged to the
 * commit limit; holes between the ranges are mapped PROT_NONE. The guest
 * may change every byte at any time: copy once, check the copy, use the copy.
 *
 * Layout is fixed by gmem_map(), before any other thread exists; after that
 * all functions may be called by any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct {
	uint64_t v;
} gpa_t;

#define GPA(addr) ((gpa_t){ (addr) })

struct gmem_range {
	gpa_t gpa; /* page aligned */
	uint64_t len; /* bytes, a multiple of the page size, not 0 */
};

#define GMEM_MAX_RANGES 4

struct gmem {
	unsigned char *base; /* host address of guest address 0 */
	uint64_t span; /* bytes mapped from base, holes included */
	size_t n_ranges;
	struct gmem_range ranges[GMEM_MAX_RANGES]; /* ascending, disjoint */
	bool hugetlb; /* gmem_reserve_huge() was called */
};

/*
 * Map the ranges (ascending, disjoint, at most GMEM_MAX_RANGES) into @mem,
 * which is all zeroes. Errors: -EINVAL, -ENOMEM.
 */
int gmem_map(struct gmem *mem, const struct gmem_range *ranges, size_t n,
	     struct err *err);

/*
 * Take the memory from the host's pool of 2 MiB pages instead, all of it now, so that
 * no fault of the guest's can find the pool empty. Right after gmem_map(). Errors:
 * -EINVAL for a range that is no multiple of 2 MiB, -ENOMEM when the pool is too small.
 */
int gmem_reserve_huge(struct gmem *mem, struct err *err);

/*
 * Keep what the guest has touched in memory, never in swap; what it has not touched is
 * still not there. Counts in full against RLIMIT_MEMLOCK. -errno.
 */
int gmem_lock(const struct gmem *mem, struct err *err);

/*
 * Ask for transparent huge pages, as far as whole ones lie in [gpa, gpa + len), which
 * is RAM of one range. It pays where all of it will be written; the host does as it
 * likes.
 */
void gmem_want_huge(const struct gmem *mem, gpa_t gpa, uint64_t len);

/*
 * Give the whole pages of [gpa, gpa + len) back to the host: they read as zeroes from
 * then on, and come back when touched. False, and nothing done, unless all of it is RAM
 * of one range. Pages of the huge page pool are kept: the host might not have others
 * when they are touched again, and would kill us.
 */
bool gmem_discard(const struct gmem *mem, gpa_t gpa, uint64_t len);

/* Undo gmem_map(); harmless on a struct of zeroes. */
void gmem_unmap(struct gmem *mem);

/* Bytes of RAM in all ranges. */
uint64_t gmem_size(const struct gmem *mem);

/*
 * The host address of [gpa, gpa + len), or NULL unless all of it is RAM of one
 * range. A length of 0 gives NULL.
 */
void *gmem_slice(const struct gmem *mem, gpa_t gpa, uint64_t len);

/* Copy; -EFAULT (and nothing copied) unless all of it is RAM of one range. */
int gmem_read(const struct gmem *mem, gpa_t gpa, void *buf, size_t len);
int gmem_write(const struct gmem *mem, gpa_t gpa, const void *buf, size_t len);
