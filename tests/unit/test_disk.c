/* What all image formats share, over a format that only counts. */
#include "disk/disk.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct counting {
	struct disk disk; /* first */
	unsigned reads, writes, flushes;
	int result; /* of every operation */
};

static int counting_read(struct disk *d, uint64_t off, const struct iovec *iov,
			 unsigned n)
{
	struct counting *c = (struct counting *)d;

	(void)off, (void)iov, (void)n;
	c->reads++;
	return c->result;
}

static int counting_write(struct disk *d, uint64_t off, const struct iovec *iov,
			  unsigned n)
{
	struct counting *c = (struct counting *)d;

	(void)off, (void)iov, (void)n;
	c->writes++;
	return c->result;
}

static int counting_flush(struct disk *d)
{
	struct counting *c = (struct counting *)d;

	c->flushes++;
	return c->result;
}

static void counting_close(struct disk *d)
{
	(void)d;
}

static const struct disk_ops counting_ops = {
	.name = "counting",
	.read = counting_read,
	.write = counting_write,
	.flush = counting_flush,
	.close = counting_close,
};

static struct counting make(uint64_t size, uint32_t align)
{
	return (struct counting){
		.disk = { .ops = &counting_ops, .size = size, .align = align },
	};
}

/* One request of @len bytes in two pieces; the memory is never looked at. */
static int rw(struct counting *c, bool write, uint64_t off, uint64_t len)
{
	struct iovec iov[2] = { { NULL, len / 2 }, { NULL, len - len / 2 } };

	return write ? disk_write(&c->disk, off, iov, 2)
		     : disk_read(&c->disk, off, iov, 2);
}

static void requests_within_the_disk_reach_the_format(void **state)
{
	struct counting c = make(1000, 1);

	(void)state;
	assert_int_equal(rw(&c, false, 0, 1000), 0);
	assert_int_equal(rw(&c, false, 999, 1), 0);
	assert_int_equal(rw(&c, true, 1000, 0), 0);
	assert_int_equal(disk_read(&c.disk, 0, NULL, 0), 0);
	assert_int_equal(c.reads, 3);
	assert_int_equal(c.writes, 1);
}

static void requests_beyond_the_end_do_not(void **state)
{
	struct counting c = make(1000, 1);
	struct iovec overflow[2] = { { NULL, SIZE_MAX }, { NULL, 2 } };

	(void)state;
	for (int write = 0; write < 2; write++) {
		assert_int_equal(rw(&c, write, 0, 1001), -EINVAL);
		assert_int_equal(rw(&c, write, 999, 2), -EINVAL);
		assert_int_equal(rw(&c, write, 1001, 0), -EINVAL);
		assert_int_equal(rw(&c, write, UINT64_MAX, 1), -EINVAL);
		assert_int_equal(rw(&c, write, 1, UINT64_MAX), -EINVAL);
	}
	assert_int_equal(disk_read(&c.disk, 0, overflow, 2), -EINVAL);
	assert_int_equal(c.reads + c.writes, 0);
}

static void requests_against_the_alignment_do_not(void **state)
{
	struct counting c = make(8192, 4096);

	(void)state;
	assert_int_equal(rw(&c, false, 512, 4096), -EINVAL);
	assert_int_equal(rw(&c, true, 0, 512), -EINVAL);
	assert_int_equal(c.reads + c.writes, 0);
	assert_int_equal(rw(&c, true, 4096, 4096), 0);
}

static void a_read_only_disk_refuses_writes_and_needs_no_flush(void **state)
{
	struct counting c = make(1000, 1);

	(void)state;
	c.disk.read_only = true;
	c.result = -EIO;
	assert_int_equal(rw(&c, true, 0, 10), -EROFS);
	assert_int_equal(disk_flush(&c.disk), 0);
	assert_int_equal(c.writes + c.flushes, 0);
}

static void a_failed_request_is_reported_and_forgotten(void **state)
{
	struct counting c = make(1000, 1);

	(void)state;
	c.result = -ENOSPC;
	assert_int_equal(rw(&c, true, 0, 10), -ENOSPC);
	assert_int_equal(rw(&c, false, 0, 10), -ENOSPC);
	c.result = 0;
	assert_int_equal(rw(&c, true, 0, 10), 0);
	assert_int_equal(disk_flush(&c.disk), 0);
}

static void a_failed_flush_is_never_forgotten(void **state)
{
	struct counting c = make(1000, 1);

	(void)state;
	assert_int_equal(disk_flush(&c.disk), 0);
	c.result = -EIO;
	assert_int_equal(disk_flush(&c.disk), -EIO);
	c.result = 0;
	assert_int_equal(disk_flush(&c.disk), -EIO);
	assert_int_equal(rw(&c, true, 0, 10), 0);
	assert_int_equal(disk_flush(&c.disk), -EIO);
	assert_int_equal(c.flushes, 2);
}

static void closing_nothing_is_harmless(void **state)
{
	(void)state;
	disk_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_within_the_disk_reach_the_format),
		cmocka_unit_test(requests_beyond_the_end_do_not),
		cmocka_unit_test(requests_against_the_alignment_do_not),
		cmocka_unit_test(a_read_only_disk_refuses_writes_and_needs_no_flush),
		cmocka_unit_test(a_failed_request_is_reported_and_forgotten),
		cmocka_unit_test(a_failed_flush_is_never_forgotten),
		cmocka_unit_test(closing_nothing_is_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
