/* Raw images: what is refused, and I/O against a flat model. */
#include "disk/raw.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/disk_io.h"

#define SIZE (300u << 10)

static char dir[128];
static enum engine_kind kind; /* that the tests are run with */

static const char *path_of(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static const char *path_of_fd(int fd)
{
	static char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return path;
}

static int make_file(const char *name, off_t size)
{
	int fd = open(path_of(name), O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	return fd;
}

static struct disk_cfg config(const char *path)
{
	return (struct disk_cfg){
		.path = path, .lock = true, .sparse = true, .block_size = 512
	};
}

static struct disk *open_ok(const struct disk_cfg *cfg)
{
	struct disk *d = NULL;
	struct err err = { "" };
	int r = disk_open(cfg, &d, &err);

	if (r < 0)
		fail_msg("%s", err.msg);
	return d;
}

/* The same, ready for requests. */
static struct disk *attach_ok(const struct disk_cfg *cfg)
{
	struct disk *d = open_ok(cfg);

	io_attach(d, kind);
	return d;
}

/* Opening fails with @code, and a sentence that names the image and says @why. */
static void refused(const struct disk_cfg *cfg, int code, const char *why)
{
	struct disk *d = NULL;
	struct err err = { "" };

	assert_int_equal(disk_open(cfg, &d, &err), code);
	assert_null(d);
	if (!strstr(err.msg, cfg->path) || !strstr(err.msg, why))
		fail_msg("not \"%s: %s\": %s", cfg->path, why, err.msg);
}

/* --- opening --------------------------------------------------------------- */

static void what_is_no_image_is_refused(void **state)
{
	static const struct {
		const char *path; /* NULL: within dir */
		const char *name;
		int code;
		const char *why;
	} cases[] = {
		{ NULL, ".", -EISDIR, "is a directory" },
		{ NULL, "fifo", -EINVAL, "not a regular file or block device" },
		{ "/dev/null", NULL, -EINVAL, "not a regular file or block device" },
		{ NULL, "empty", -EINVAL, "is empty" },
		{ NULL, "missing", -ENOENT, "No such file" },
	};

	(void)state;
	close(make_file("empty", 0));
	assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct disk_cfg cfg = config(cases[i].path ?: path_of(cases[i].name));

		cfg.read_only = true;
		refused(&cfg, cases[i].code, cases[i].why);
	}
}

static void a_file_without_permission_is_refused(void **state)
{
	struct disk_cfg cfg = config(path_of("secret"));
	uid_t uid = geteuid();

	(void)state;
	close(make_file("secret", 512));
	assert_int_equal(chmod(cfg.path, 0), 0);
	if (uid == 0) /* who may read everything */
		assert_int_equal(seteuid(65534), 0);
	refused(&cfg, -EACCES, "Permission denied");
	assert_int_equal(seteuid(uid), 0);
}

static void fds_that_cannot_serve_are_refused(void **state)
{
	int fd = make_file("fd", 1024), ro, append;
	struct disk_cfg cfg;

	(void)state;
	ro = open(path_of("fd"), O_RDONLY);
	append = open(path_of("fd"), O_RDWR | O_APPEND);

	cfg = config(path_of_fd(ro));
	refused(&cfg, -EACCES, "not open for writing");
	cfg.read_only = true;
	disk_close(open_ok(&cfg));

	cfg = config(path_of_fd(append));
	refused(&cfg, -EINVAL, "is open for appending");
	cfg.read_only = true;
	disk_close(open_ok(&cfg));

	cfg = config(path_of_fd(fd));
	assert_int_equal(fcntl(fd, F_SETFD, FD_CLOEXEC), 0);
	refused(&cfg, -EBADF, "close-on-exec");
	close(fd);
	refused(&cfg, -EBADF, "not open");
	close(ro);
	close(append);
}

static void sizes_and_block_sizes_must_fit(void **state)
{
	static const uint32_t bad[] = { 0, 256, 513, 1000, 3072, 8192 };
	struct disk_cfg cfg;
	struct disk *d;
	struct err err;

	(void)state;
	close(make_file("odd", 1000));
	cfg = config(path_of("odd"));
	refused(&cfg, -EINVAL, "size 1000 is not a multiple of block-size=512");

	close(make_file("small", 3 * 512));
	cfg = config(path_of("small"));
	d = open_ok(&cfg);
	assert_int_equal(d->size, 3 * 512);
	disk_close(d);
	cfg.block_size = 1024;
	refused(&cfg, -EINVAL, "size 1536 is not a multiple of block-size=1024");

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cfg.block_size = bad[i];
		assert_int_equal(disk_open(&cfg, &d, &err), -EINVAL);
		assert_non_null(strstr(err.msg, "block-size="));
	}
}

static void locks_keep_others_out(void **state)
{
	struct disk_cfg ro, rw, unlocked;
	struct disk *a, *b;

	(void)state;
	close(make_file("locked", 512));
	rw = ro = config(path_of("locked"));
	ro.read_only = true;
	unlocked = rw;
	unlocked.lock = false;

	a = open_ok(&ro);
	b = open_ok(&ro);
	refused(&rw, -EBUSY, "in use");
	disk_close(a);
	refused(&rw, -EBUSY, "in use");
	disk_close(open_ok(&unlocked));
	disk_close(b);

	a = open_ok(&rw);
	refused(&ro, -EBUSY, "in use");
	refused(&rw, -EBUSY, "in use");
	disk_close(open_ok(&unlocked));
	disk_close(a);
	disk_close(open_ok(&rw));
}

/* Only reads, and only where the host lets the user read one. */
static void a_block_device_tells_its_size(void **state)
{
	struct disk *d = NULL;
	glob_t g;

	(void)state;
	glob("/dev/{vd,sd,nvme,mmcblk,loop}*", GLOB_BRACE, NULL, &g);
	for (size_t i = 0; i < g.gl_pathc && !d; i++) {
		struct disk_cfg cfg = config(g.gl_pathv[i]);

		cfg.read_only = true;
		cfg.lock = false;
		disk_open(&cfg, &d, NULL);
	}
	globfree(&g);
	if (!d) {
		print_message("skip: no block device that the user may read\n");
		skip();
	}
	assert_true(d->size > 0 && d->size % 512 == 0);
	disk_close(d);
}

/* --- I/O ------------------------------------------------------------------- */

static uint32_t random_u32(void)
{
	static uint64_t s = 88172645463325252u;

	s ^= s << 13;
	s ^= s >> 7;
	s ^= s << 17;
	return (uint32_t)(s >> 32);
}

/* A discard or zeroing; a discard may leave what was there, or zeroes. */
static void change_range(struct disk *d, unsigned char *model, uint64_t off,
			 uint64_t len)
{
	bool discard = random_u32() % 3 == 0, unmap = random_u32() & 1;
	unsigned char *seen;

	assert_int_equal(
		io_range(d, discard ? DISK_DISCARD : DISK_ZERO, unmap, off, len), 0);
	if (!discard) {
		memset(model + off, 0, len);
		return;
	}
	seen = aligned_alloc(4096, SIZE);
	assert_int_equal(io_read(d, off, seen, len), 0);
	for (uint64_t i = 0; i < len; i++)
		if (seen[i] && seen[i] != model[off + i])
			fail_msg("byte %u is neither", (unsigned)(off + i));
	memcpy(model + off, seen, len);
	free(seen);
}

/*
 * Random requests in whole units, cut into pieces of multiples of @piece bytes
 * (some empty) at addresses of @piece alignment, on a disk that starts as zeroes.
 */
static void behaves_like_memory(struct disk *d, uint32_t unit, uint32_t piece,
				unsigned rounds)
{
	unsigned char *model = calloc(1, SIZE), *mem = aligned_alloc(4096, 2 * SIZE);
	struct iovec iov[40];

	for (unsigned round = 0; round < rounds; round++) {
		uint64_t off = random_u32() % (SIZE / unit) * unit;
		uint64_t max = SIZE - off < 64 << 10 || round % 64 == 0 ? SIZE - off
									: 64 << 10;
		uint64_t len = random_u32() % (max / unit + 1) * unit;
		unsigned char *at = mem + random_u32() % 64 * piece;
		bool write = random_u32() & 1;
		uint64_t done = 0;
		unsigned n = 0;

		if (round % 8 == 0) {
			change_range(d, model, off, len);
			continue;
		}

		while (done < len) {
			uint64_t part = random_u32() % (len / piece + 1) * piece / 8;

			part = part / piece * piece;
			if (n == 39 || part > len - done)
				part = len - done;
			iov[n].iov_base = at + done;
			iov[n++].iov_len = part;
			done += part;
		}
		for (uint64_t i = 0; i < len; i++)
			at[i] = write ? (unsigned char)random_u32() : 0xee;
		if (write) {
			assert_int_equal(io_vector(d, DISK_WRITE, off, iov, n), 0);
			memcpy(model + off, at, len);
		} else {
			assert_int_equal(io_vector(d, DISK_READ, off, iov, n), 0);
			assert_memory_equal(at, model + off, len);
		}
		if (round % 100 == 0)
			assert_int_equal(io_flush(d), 0);
	}
	iov[0] = (struct iovec){ mem, SIZE };
	assert_int_equal(io_vector(d, DISK_READ, 0, iov, 1), 0);
	assert_memory_equal(mem, model, SIZE);
	free(mem);
	free(model);
}

static void a_file_behaves_like_memory(void **state)
{
	int fd = make_file("model", SIZE);
	struct disk_cfg cfg = config(path_of("model"));
	struct disk *d = attach_ok(&cfg);

	(void)state;
	assert_int_equal(d->align, 1);
	behaves_like_memory(d, 1, 1, 2000);
	io_close(d);
	close(fd);
}

static void an_inherited_memfd_behaves_like_memory(void **state)
{
	int fd = memfd_create("image", 0);
	struct disk_cfg cfg = config(path_of_fd(fd));
	struct disk *d;

	(void)state;
	assert_int_equal(ftruncate(fd, SIZE), 0);
	d = attach_ok(&cfg);
	close(fd);
	behaves_like_memory(d, 512, 1, 2000);
	io_close(d);
}

static void many_pieces_go_in_one_request(void **state)
{
	static struct iovec iov[3000];
	unsigned char out[3000], in[3000];
	struct disk_cfg cfg;
	struct disk *d;

	(void)state;
	close(make_file("pieces", 4096));
	cfg = config(path_of("pieces"));
	d = attach_ok(&cfg);
	for (unsigned i = 0; i < 3000; i++) {
		out[i] = (unsigned char)random_u32();
		iov[i] = (struct iovec){ out + i, 1 };
	}
	assert_int_equal(io_vector(d, DISK_WRITE, 7, iov, 3000), 0);
	for (unsigned i = 0; i < 3000; i++)
		iov[i].iov_base = in + i;
	assert_int_equal(io_vector(d, DISK_READ, 7, iov, 3000), 0);
	assert_memory_equal(in, out, 3000);
	io_close(d);
}

static void a_read_only_image_stays_as_it_is(void **state)
{
	unsigned char buf[512] = "x";
	struct iovec iov = { buf, 512 };
	int fd = make_file("ro", 512);
	struct disk_cfg cfg = config(path_of("ro"));
	struct disk *d;

	(void)state;
	cfg.read_only = true;
	d = attach_ok(&cfg);
	assert_true(d->read_only);
	assert_int_equal(io_vector(d, DISK_WRITE, 0, &iov, 1), -EROFS);
	assert_int_equal(io_flush(d), 0);
	assert_int_equal(io_vector(d, DISK_READ, 0, &iov, 1), 0);
	assert_int_equal(buf[0], 0);
	io_close(d);
	close(fd);
}

static void a_file_cut_short_gives_errors_only_past_its_end(void **state)
{
	static unsigned char buf[2048];
	struct iovec iov = { buf, sizeof(buf) };
	int fd = make_file("cut", 4096);
	struct disk_cfg cfg = config(path_of("cut"));
	struct disk *d = attach_ok(&cfg);

	(void)state;
	assert_int_equal(ftruncate(fd, 2048 + 100), 0);
	assert_int_equal(io_vector(d, DISK_READ, 0, &iov, 1), 0);
	assert_int_equal(io_vector(d, DISK_READ, 1024, &iov, 1), -EIO);
	assert_int_equal(io_vector(d, DISK_READ, 2048, &iov, 1), -EIO);
	assert_int_equal(io_vector(d, DISK_READ, 0, &iov, 1), 0);
	io_close(d);
	close(fd);
}

/* A write that the host cuts short, and then refuses to continue. */
static void a_full_host_fails_the_request_and_the_disk_goes_on(void **state)
{
	static unsigned char buf[2048];
	struct iovec iov = { buf, sizeof(buf) };
	struct rlimit old, limit;
	struct disk_cfg cfg;
	struct disk *d;
	int over, under;

	(void)state;
	close(make_file("full", 8192));
	cfg = config(path_of("full"));
	d = attach_ok(&cfg);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = old;
	limit.rlim_cur = 4096;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	over = io_vector(d, DISK_WRITE, 3072, &iov, 1);
	under = io_vector(d, DISK_WRITE, 1024, &iov, 1);
	setrlimit(RLIMIT_FSIZE, &old);
	signal(SIGXFSZ, SIG_DFL);
	assert_int_equal(over, -EFBIG);
	assert_int_equal(under, 0);
	assert_int_equal(io_flush(d), 0);
	io_close(d);
}

static uint64_t space_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void what_is_discarded_or_unmapped_is_given_back(void **state)
{
	static unsigned char full[SIZE], seen[SIZE];
	int fd = make_file("holes", SIZE);
	struct disk_cfg cfg = config(path_of("holes"));
	struct disk *d;

	(void)state;
	memset(full, 'x', SIZE);
	assert_int_equal(pwrite(fd, full, SIZE, 0), SIZE);
	assert_int_equal(fsync(fd), 0);
	if (space_of(fd) < SIZE) {
		print_message("skip: %s: the file system tells no space\n", dir);
		skip();
	}
	d = attach_ok(&cfg);
	assert_int_equal(io_range(d, DISK_DISCARD, false, 0, 64 << 10), 0);
	assert_int_equal(io_range(d, DISK_ZERO, true, 128 << 10, 64 << 10), 0);
	assert_true(space_of(fd) <= SIZE - (128 << 10));
	assert_int_equal(io_read(d, 0, seen, SIZE), 0);
	assert_memory_equal(seen + (64 << 10), full, 64 << 10);
	for (unsigned i = 0; i < 64 << 10; i++)
		assert_int_equal(seen[(128 << 10) + i], 0);
	io_close(d);

	cfg.sparse = false;
	assert_int_equal(pwrite(fd, full, SIZE, 0), SIZE);
	assert_int_equal(fsync(fd), 0);
	d = attach_ok(&cfg);
	assert_int_equal(io_range(d, DISK_DISCARD, false, 0, SIZE), 0);
	assert_int_equal(io_read(d, 0, seen, SIZE), 0);
	assert_memory_equal(seen, full, SIZE);
	assert_int_equal(io_range(d, DISK_ZERO, true, 0, SIZE), 0);
	assert_int_equal(fsync(fd), 0);
	assert_true(space_of(fd) >= SIZE);
	assert_int_equal(io_read(d, 0, seen, SIZE), 0);
	memset(full, 0, SIZE);
	assert_memory_equal(seen, full, SIZE);
	assert_int_equal(lseek(fd, 0, SEEK_END), SIZE);
	io_close(d);
	close(fd);
}

/* memfds have no ZERO_RANGE: zeroes are written, in pieces of a megabyte. */
static void zeroing_works_without_help_from_the_host(void **state)
{
	enum { LEN = 3 << 20 };
	int fd = memfd_create("image", 0);
	struct disk_cfg cfg = config(path_of_fd(fd));
	unsigned char *seen = malloc(LEN);
	struct disk *d;

	(void)state;
	memset(seen, 'x', LEN);
	assert_int_equal(pwrite(fd, seen, LEN, 0), LEN);
	d = attach_ok(&cfg);
	assert_int_equal(io_range(d, DISK_ZERO, false, 513, LEN - 1000), 0);
	assert_int_equal(pread(fd, seen, LEN, 0), LEN);
	for (unsigned i = 0; i < LEN; i++)
		if (seen[i] != (i < 513 || i >= LEN - 487 ? 'x' : 0))
			fail_msg("byte %u is %d", i, seen[i]);
	io_close(d);
	free(seen);
	close(fd);
}

static void a_fd_that_does_not_wait_is_waited_for(void **state)
{
	static unsigned char buf[64 << 10];
	struct disk_cfg cfg;
	struct disk *d;
	int fd;

	(void)state;
	close(make_file("nonblock", sizeof(buf)));
	fd = open(path_of("nonblock"), O_RDWR | O_NONBLOCK);
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	cfg = config(path_of_fd(fd));
	d = attach_ok(&cfg);
	assert_int_equal(io_read(d, 0, buf, sizeof(buf)), 0);
	assert_int_equal(io_write(d, 0, buf, sizeof(buf)), 0);
	assert_int_equal(io_flush(d), 0);
	io_close(d);
	close(fd);
}

static void a_disk_can_be_resized(void **state)
{
	unsigned char buf[512];
	int fd = make_file("resized", 4096);
	struct disk_cfg cfg = config(path_of("resized"));
	struct disk *d = attach_ok(&cfg);
	struct err err;

	(void)state;
	assert_int_equal(disk_resize(d, 8192, &err), 0);
	assert_int_equal(d->size, 8192);
	assert_int_equal(lseek(fd, 0, SEEK_END), 8192);
	assert_int_equal(io_write(d, 8192 - 512, buf, 512), 0);
	assert_int_equal(disk_resize(d, 1024, &err), 0);
	assert_int_equal(lseek(fd, 0, SEEK_END), 1024);
	assert_int_equal(io_write(d, 1024, buf, 512), -EINVAL);
	assert_int_equal(disk_resize(d, 1ull << 62, &err), -EFBIG);
	assert_non_null(strstr(err.msg, cfg.path));
	assert_int_equal(d->size, 1024);
	io_close(d);

	cfg.sparse = false;
	d = attach_ok(&cfg);
	assert_int_equal(disk_resize(d, 1 << 20, &err), 0);
	assert_true(space_of(fd) >= 1 << 20);
	io_close(d);

	cfg.read_only = true;
	d = attach_ok(&cfg);
	assert_int_equal(disk_resize(d, 2 << 20, &err), -EROFS);
	io_close(d);
	close(fd);
}

/* --- direct I/O ------------------------------------------------------------ */

/* The disk, or a skip where this file system has no direct I/O. */
static struct disk *open_direct(const struct disk_cfg *cfg)
{
	struct disk *d = NULL;
	struct err err = { "" };
	int r = disk_open(cfg, &d, &err);

	if (r == -EOPNOTSUPP) {
		print_message("skip: %s\n", err.msg);
		skip();
	}
	if (r < 0)
		fail_msg("%s", err.msg);
	io_attach(d, kind);
	return d;
}

static void direct_io_behaves_like_memory_at_any_address(void **state)
{
	struct disk_cfg cfg;
	struct disk *d;

	(void)state;
	close(make_file("direct", SIZE));
	cfg = config(path_of("direct"));
	cfg.direct = true;
	cfg.block_size = 4096;
	for (uint32_t piece = 1; piece <= 4096; piece *= 8) {
		d = open_direct(&cfg);
		assert_true(d->align >= 512);
		behaves_like_memory(d, 4096, piece, 300);
		io_close(d);
		assert_int_equal(truncate(cfg.path, 0), 0);
		assert_int_equal(truncate(cfg.path, SIZE), 0);
	}
}

static void direct_io_refuses_what_is_not_aligned(void **state)
{
	static unsigned char buf[512];
	struct iovec iov = { buf, 512 };
	struct disk_cfg cfg;
	struct disk *d;

	(void)state;
	close(make_file("direct-align", SIZE));
	cfg = config(path_of("direct-align"));
	cfg.direct = true;
	cfg.block_size = 4096;
	d = open_direct(&cfg);
	assert_int_equal(io_vector(d, DISK_READ, 1, &iov, 1), -EINVAL);
	iov.iov_len = 511;
	assert_int_equal(io_vector(d, DISK_READ, 0, &iov, 1), -EINVAL);
	io_close(d);
}

static void direct_io_leaves_the_inherited_fd_alone(void **state)
{
	int fd = make_file("direct-fd", SIZE);
	struct disk_cfg cfg = config(path_of_fd(fd));
	struct disk *d;

	(void)state;
	cfg.direct = true;
	cfg.block_size = 4096;
	d = open_direct(&cfg);
	assert_int_equal(fcntl(fd, F_GETFL) & O_DIRECT, 0);
	io_close(d);
	close(fd);
}

static void an_inherited_direct_fd_is_served_by_its_rules(void **state)
{
	struct disk_cfg cfg;
	struct disk *d;
	int fd;

	(void)state;
	close(make_file("direct-given", SIZE));
	fd = open(path_of("direct-given"), O_RDWR | O_DIRECT);
	if (fd < 0) {
		print_message("skip: %s: no direct I/O here\n", dir);
		skip();
	}
	cfg = config(path_of_fd(fd));
	cfg.block_size = 4096;
	d = open_direct(&cfg);
	behaves_like_memory(d, 4096, 1, 300);
	io_close(d);
	close(fd);
}

/* --- */

static int set_up(void **state)
{
	const char *build = getenv("BUILD");

	/* Where /tmp is in memory there may be no direct I/O. */
	(void)state;
	if (!build || access(build, W_OK) < 0)
		build = "/tmp";
	snprintf(dir, sizeof(dir), "%s/test_raw.XXXXXX", build);
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static int tear_down(void **state)
{
	(void)state;
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
	const struct CMUnitTest opening[] = {
		cmocka_unit_test(what_is_no_image_is_refused),
		cmocka_unit_test(a_file_without_permission_is_refused),
		cmocka_unit_test(fds_that_cannot_serve_are_refused),
		cmocka_unit_test(sizes_and_block_sizes_must_fit),
		cmocka_unit_test(locks_keep_others_out),
		cmocka_unit_test(a_block_device_tells_its_size),
	};
	const struct CMUnitTest io[] = {
		cmocka_unit_test(a_file_behaves_like_memory),
		cmocka_unit_test(an_inherited_memfd_behaves_like_memory),
		cmocka_unit_test(many_pieces_go_in_one_request),
		cmocka_unit_test(a_read_only_image_stays_as_it_is),
		cmocka_unit_test(a_file_cut_short_gives_errors_only_past_its_end),
		cmocka_unit_test(a_full_host_fails_the_request_and_the_disk_goes_on),
		cmocka_unit_test(what_is_discarded_or_unmapped_is_given_back),
		cmocka_unit_test(zeroing_works_without_help_from_the_host),
		cmocka_unit_test(a_fd_that_does_not_wait_is_waited_for),
		cmocka_unit_test(a_disk_can_be_resized),
		cmocka_unit_test(direct_io_behaves_like_memory_at_any_address),
		cmocka_unit_test(direct_io_refuses_what_is_not_aligned),
		cmocka_unit_test(direct_io_leaves_the_inherited_fd_alone),
		cmocka_unit_test(an_inherited_direct_fd_is_served_by_its_rules),
	};
	int failed = cmocka_run_group_tests(opening, set_up, tear_down);

	kind = ENGINE_URING;
	failed += cmocka_run_group_tests(io, set_up, tear_down);
	kind = ENGINE_SYNC;
	return failed + cmocka_run_group_tests(io, set_up, tear_down);
}
