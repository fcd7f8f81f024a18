/* Guest memory; see gmem.h. */
#include "base/gmem.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"

#ifndef MAP_HUGE_2MB
#define MAP_HUGE_2MB (21 << 26)
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* Linux 5.18 */
#endif

#define PAGE_SIZE 4096u
#define HUGE_SIZE (2u << 20)

static int check_ranges(const struct gmem_range *ranges, size_t n, struct err *err)
{
	uint64_t end = 0;

	if (n == 0 || n > GMEM_MAX_RANGES)
		return err_set(err, -EINVAL, "guest memory: %zu ranges", n);
	for (size_t i = 0; i < n; i++) {
		const struct gmem_range *r = &ranges[i];

		if (r->gpa.v < end || r->len == 0 ||
		    ((r->gpa.v | r->len) & (PAGE_SIZE - 1)) ||
		    __builtin_add_overflow(r->gpa.v, r->len, &end))
			return err_set(err, -EINVAL,
				       "guest memory: bad range of %" PRIu64
				       " bytes at 0x%" PRIx64,
				       r->len, r->gpa.v);
	}
	return 0;
}

int gmem_map(struct gmem *mem, const struct gmem_range *ranges, size_t n,
	     struct err *err)
{
	unsigned char *map, *base;
	uint64_t span;
	int r;

	r = check_ranges(ranges, n, err);
	if (r < 0)
		return r;
	span = ranges[n - 1].gpa.v + ranges[n - 1].len;

	/* Reserve addresses first; 2 MiB more than needed, for the alignment. */
	map = MAP_FAILED;
	if (span <= SIZE_MAX - HUGE_SIZE)
		map = mmap(NULL, span + HUGE_SIZE, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED)
		return err_sys(err, -ENOMEM, "cannot map guest memory up to 0x%" PRIx64,
			       span);
	base = (unsigned char *)align_up((uintptr_t)map, HUGE_SIZE);
	if (base != map)
		munmap(map, (size_t)(base - map));
	munmap(base + span, (size_t)(map + HUGE_SIZE - base));

	for (size_t i = 0; i < n; i++) {
		if (mprotect(base + ranges[i].gpa.v, ranges[i].len,
			     PROT_READ | PROT_WRITE) < 0) {
			r = -errno;
			munmap(base, span);
			return err_sys(err, r,
				       "cannot map %" PRIu64 " MiB of guest memory",
				       ranges[i].len >> 20);
		}
		mem->ranges[i] = ranges[i];
	}
	mem->base = base;
	mem->span = span;
	mem->n_ranges = n;
	return 0;
}

int gmem_reserve_huge(struct gmem *mem, struct err *err)
{
	for (size_t i = 0; i < mem->n_ranges; i++) {
		const struct gmem_range *r = &mem->ranges[i];
		unsigned char *p = mem->base + r->gpa.v;

		if ((r->gpa.v | r->len) % HUGE_SIZE)
			return err_set(
				err, -EINVAL,
				"huge pages: the memory's size must be a multiple"
				" of 2 MiB");
		if (mmap(p, r->len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_HUGETLB |
				 MAP_HUGE_2MB,
			 -1, 0) == MAP_FAILED)
			return err_sys(err, -errno,
				       "huge pages: cannot reserve %" PRIu64
				       " pages of 2 MiB, see /proc/sys/vm/nr_hugepages",
				       r->len / HUGE_SIZE);
	}
	mem->hugetlb = true;
	return 0;
}

int gmem_lock(const struct gmem *mem, struct err *err)
{
	for (size_t i = 0; i < mem->n_ranges; i++) {
		const struct gmem_range *r = &mem->ranges[i];

		if (mlock2(mem->base + r->gpa.v, r->len, MLOCK_ONFAULT) < 0)
			return err_sys(err, -errno,
				       "cannot lock %" PRIu64
				       " MiB of guest memory, see RLIMIT_MEMLOCK"
				       " (ulimit -l)",
				       gmem_size(mem) >> 20);
	}
	return 0;
}

void gmem_want_huge(const struct gmem *mem, gpa_t gpa, uint64_t len)
{
	uint64_t start, end;

	if (!gmem_slice(mem, gpa, len) || mem->hugetlb)
		return;
	start = align_up(gpa.v, HUGE_SIZE);
	end = align_down(gpa.v + len, HUGE_SIZE);
	if (start < end)
		(void)madvise(mem->base + start, end - start, MADV_HUGEPAGE);
}

bool gmem_discard(const struct gmem *mem, gpa_t gpa, uint64_t len)
{
	uint64_t start, end;

	if (!gmem_slice(mem, gpa, len))
		return false;
	start = align_up(gpa.v, PAGE_SIZE);
	end = align_down(gpa.v + len, PAGE_SIZE);
	if (start >= end || mem->hugetlb)
		return true;
	/* The first refuses memory that is locked, the second old kernels. */
	if (madvise(mem->base + start, end - start, MADV_DONTNEED) < 0)
		(void)madvise(mem->base + start, end - start, MADV_DONTNEED_LOCKED);
	return true;
}

void gmem_unmap(struct gmem *mem)
{
	if (mem->base)
		munmap(mem->base, mem->span);
	*mem = (struct gmem){ 0 };
}

uint64_t gmem_size(const struct gmem *mem)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < mem->n_ranges; i++)
		sum += mem->ranges[i].len;
	return sum;
}

void *gmem_slice(const struct gmem *mem, gpa_t gpa, uint64_t len)
{
	if (len == 0)
		return NULL;
	for (size_t i = 0; i < mem->n_ranges; i++) {
		const struct gmem_range *r = &mem->ranges[i];

		if (gpa.v >= r->gpa.v && range_within(gpa.v - r->gpa.v, len, r->len))
			return mem->base + gpa.v;
	}
	return NULL;
}

int gmem_read(const struct gmem *mem, gpa_t gpa, void *buf, size_t len)
{
	const void *p = gmem_slice(mem, gpa, len);

	if (!p)
		return -EFAULT;
	memcpy(buf, p, len);
	return 0;
}

int gmem_write(const struct gmem *mem, gpa_t gpa, const void *buf, size_t len)
{
	void *p = gmem_slice(mem, gpa, len);

	if (!p)
		return -EFAULT;
	memcpy(p, buf, len);
	return 0;
}
