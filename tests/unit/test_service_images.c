/*
 * service/virtmgr/images.c: what is refused, and what a child finds behind the names
 * that it is given. The child is this program, which reads a disk as vmm does.
 */
#include "service/virtmgr/images.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "disk/disk.h"
#include "disk/engine.h"
#include "disk/gpt.h"

#define KIB 1024u

/* --- the child -------------------------------------------------------------------- */

static void on_done(struct disk_req *req, int result)
{
	*(int *)req->owner = result;
}

/* The whole of the @n-th disk of @args goes to stderr. */
static int read_disk(char **args, int n)
{
	struct disk_cfg cfg = { .block_size = 512, .lock = true };
	struct disk_req req = { .op = DISK_READ, .n_iov = 1, .done = on_done };
	struct engine *engine;
	struct disk *disk;
	struct iovec iov;
	struct err err;
	char *end;
	int result = 1;

	while (n-- >= 0)
		while (*args && strcmp(*args++, "--block") != 0)
			;
	cfg.path = *args + strlen("path=");
	end = strchr(cfg.path, ',');
	cfg.read_only = strcmp(end, ",ro=true") == 0;
	*end = '\0';
	/* The tests' files are open for both. */
	if (cfg.read_only &&
	    (fcntl(atoi(cfg.path + strlen("/proc/self/fd/")), F_GETFL) & O_ACCMODE) !=
		    O_RDONLY) {
		dprintf(STDERR_FILENO, "can be written");
		return 1;
	}
	if (disk_open(&cfg, &disk, &err) < 0 ||
	    engine_new(ENGINE_SYNC, &engine, &err) < 0 ||
	    disk_attach(disk, engine, &err) < 0 || engine_start(engine, &err) < 0) {
		dprintf(STDERR_FILENO, "%s", err.msg);
		return 1;
	}
	iov = (struct iovec){ malloc(disk->size), disk->size };
	req.iov = &iov;
	req.len = disk->size;
	req.owner = &result;
	disk_submit(disk, &req);
	engine_drain(engine);
	for (size_t at = 0; result == 0 && at < iov.iov_len;) {
		ssize_t done = write(STDERR_FILENO, (char *)iov.iov_base + at,
				     iov.iov_len - at);

		result = done < 0;
		at += (size_t)done;
	}
	free(iov.iov_base);
	engine_stop(engine);
	engine_free(engine);
	disk_close(disk);
	return result;
}

/* --- disks to be -------------------------------------------------------------- */

/* @len bytes, all @c. */
static int file_of(char c, size_t len)
{
	int fd = memfd_create("file", MFD_CLOEXEC);
	AUTO_FREE char *bytes = malloc(len + 1);

	assert_return_code(fd, errno);
	assert_non_null(bytes);
	memset(bytes, c, len);
	assert_int_equal(pwrite(fd, bytes, len, 0), len);
	return fd;
}

static struct config_disk *add_disk(struct vm_config *c, int image, bool writable)
{
	c->disks = reallocarray(c->disks, c->n_disks + 1, sizeof(*c->disks));
	assert_non_null(c->disks);
	c->disks[c->n_disks] = (struct config_disk){ .image = image,
						     .writable = writable };
	return &c->disks[c->n_disks++];
}

static struct config_partition *add_partition(struct config_disk *d, const char *label,
					      int image, bool writable)
{
	struct config_partition *p = reallocarray(d->partitions, d->n_partitions + 1,
						  sizeof(*p));

	assert_non_null(p);
	d->partitions = p;
	p += d->n_partitions++;
	*p = (struct config_partition){ .label = strdup(label),
					.image = image,
					.writable = writable };
	return p;
}

struct bytes {
	unsigned char *p;
	size_t len;
};

/* What the child finds in the @n-th disk. */
static struct bytes read_back(struct vm_config *c, int n)
{
	struct bytes got = { malloc(4 << 20), 0 };
	AUTO_CLOSE int pidfd = -1;
	struct err err = { "" };
	struct launch *l;
	int fds[2], status;
	ssize_t done;
	pid_t pid;

	assert_int_equal(launch_new("/proc/self/exe", &l, NULL), 0);
	launch_arg(l, "read-disk");
	launch_arg(l, "%d", n);
	if (images_launch(c, l, &err) < 0)
		fail_msg("%s", err.msg);
	assert_return_code(pipe2(fds, O_CLOEXEC), errno);
	assert_int_equal(launch_start(l, -1, fds[1], &pid, &pidfd, &err), 0);
	close(fds[1]);
	launch_free(l);
	while ((done = read(fds[0], got.p + got.len, (4 << 20) - got.len)) > 0)
		got.len += (size_t)done;
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status != 0)
		fail_msg("%.*s", (int)got.len, got.p);
	return got;
}

static int gpt_bytes(void *arg, uint64_t off, void *buf, size_t len)
{
	const struct bytes *b = arg;

	if (off > b->len || len > b->len - off)
		return -EIO;
	memcpy(buf, b->p + off, len);
	return 0;
}

static void assert_all(const struct bytes *b, uint64_t off, size_t len, char c)
{
	assert_true(off + len <= b->len);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(b->p[off + i], (unsigned char)c);
}

static void partitions_become_a_disk(void **state)
{
	struct vm_config c;
	struct config_disk *d;
	struct bytes got;
	struct gpt *gpt = calloc(1, sizeof(*gpt));
	struct err err = { "" };
	uint16_t name[GPT_NAME_UNITS];
	char guid[GUID_TEXT_LEN + 1];

	(void)state;
	vm_config_init(&c);
	add_disk(&c, file_of('x', 4096), false);
	d = add_disk(&c, -1, true);
	add_partition(d, "vbmeta_a", file_of('a', 5000), false);
	add_partition(d, "data", file_of('b', 8192), true)->guid =
		strdup("0f0e0d0c-0b0a-0908-0706-050403020100");
	add_partition(d, "last", file_of('c', 1), false);
	got = read_back(&c, 1);

	assert_int_equal(got.len, 2 * GPT_AREA_LEN + 8192 + 8192 + 4096);
	if (gpt_read(gpt_bytes, &got, got.len / GPT_BLOCK, gpt, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(gpt->n, 3);
	assert_int_equal(gpt_name("data", name), 0);
	assert_memory_equal(gpt->part[1].name, name, sizeof(name));
	guid_format(&gpt->part[1].guid, guid);
	assert_string_equal(guid, "0f0e0d0c-0b0a-0908-0706-050403020100");
	assert_int_equal(gpt->part[0].first * GPT_BLOCK, GPT_AREA_LEN);
	assert_int_equal(gpt->part[1].first * GPT_BLOCK, GPT_AREA_LEN + 8192);
	assert_all(&got, GPT_AREA_LEN, 5000, 'a');
	assert_all(&got, GPT_AREA_LEN + 5000, 8192 - 5000, 0);
	assert_all(&got, GPT_AREA_LEN + 8192, 8192, 'b');
	assert_all(&got, GPT_AREA_LEN + 16384, 1, 'c');
	assert_all(&got, GPT_AREA_LEN + 16385, 4095, 0);
	free(got.p);
	free(gpt);
	vm_config_free(&c);
}

static void images_are_disks_as_they_are(void **state)
{
	(void)state;
	for (int n = 0; n < 2; n++) {
		struct vm_config c;
		struct bytes got;

		vm_config_init(&c);
		for (int i = 0; i < 3; i++)
			add_disk(&c, file_of((char)('0' + i), 1024), i == 1);
		got = read_back(&c, n);
		assert_int_equal(got.len, 1024);
		assert_all(&got, 0, 1024, (char)('0' + n));
		free(got.p);
		vm_config_free(&c);
	}
}

/* Three disks of a hundred: more than a message's worth of descriptors. */
static void hundreds_of_partitions_have_their_content(void **state)
{
	struct vm_config c;
	struct bytes got;
	char label[16];

	(void)state;
	vm_config_init(&c);
	for (int i = 0; i < 3; i++) {
		struct config_disk *d = add_disk(&c, -1, false);

		for (int j = 0; j < 100; j++) {
			snprintf(label, sizeof(label), "p%d", j);
			add_partition(d, label, file_of((char)(i * 80 + j), 4096),
				      false);
		}
	}
	got = read_back(&c, 2);
	for (int j = 0; j < 100; j++)
		assert_all(&got, GPT_AREA_LEN + (uint64_t)j * 4096, 4096,
			   (char)(160 + j));
	free(got.p);
	vm_config_free(&c);
}

/* A chunk of fill, 3 blocks; the image is smaller than what it expands to. */
static int sparse_file(void)
{
	static const unsigned char image[] = {
		0x3a,
		0xff,
		0x26,
		0xed,
		1,
		0,
		0,
		0,
		28,
		0,
		12,
		0,
		0,
		0x10,
		0,
		0,
		3,
		0,
		0,
		0,
		1,
		0,
		0,
		0,
		0,
		0,
		0,
		0,
		/* chunk */
		0xc2,
		0xca,
		0,
		0,
		3,
		0,
		0,
		0,
		16,
		0,
		0,
		0,
		's',
		's',
		's',
		's',
	};
	int fd = memfd_create("sparse", MFD_CLOEXEC);

	assert_int_equal(write(fd, image, sizeof(image)), sizeof(image));
	return fd;
}

static void a_sparse_partition_has_its_expanded_size(void **state)
{
	struct vm_config c;
	struct bytes got;

	(void)state;
	vm_config_init(&c);
	add_partition(add_disk(&c, -1, false), "sparse", sparse_file(), false);
	got = read_back(&c, 0);
	assert_int_equal(got.len, 2 * GPT_AREA_LEN + 3 * 4096);
	assert_all(&got, GPT_AREA_LEN, 3 * 4096, 's');
	free(got.p);
	vm_config_free(&c);
}

/* --- refusals ----------------------------------------------------------------- */

/* Frees @c. */
static void assert_refused(struct vm_config *c, const char *sentence)
{
	struct err err = { "" };
	struct launch *l;

	assert_int_equal(launch_new("/proc/self/exe", &l, NULL), 0);
	assert_int_equal(images_launch(c, l, &err), -EBADMSG);
	assert_string_equal(err.msg, sentence);
	launch_free(l);
	vm_config_free(c);
}

/* The same file, opened anew; @fd is taken. */
static int reopened(int fd, int flags)
{
	char path[32];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, flags | O_CLOEXEC);
	close(fd);
	assert_return_code(again, errno);
	return again;
}

static int memory_as(int flags)
{
	return reopened(file_of('x', 4096), flags);
}

static void what_is_no_image_is_refused(void **state)
{
	int pipes[2], sockets[2];
	struct vm_config c;

	(void)state;
	assert_return_code(pipe2(pipes, O_CLOEXEC), errno);
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), errno);
	const struct {
		int fd;
		bool writable;
		const char *sentence;
	} cases[] = {
		{ open("/", O_RDONLY | O_CLOEXEC), false,
		  "is a directory, not a regular file or block device" },
		{ pipes[0], false, "is a pipe, not a regular file or block device" },
		{ sockets[0], false,
		  "is a socket, not a regular file or block device" },
		{ open("/dev/null", O_RDWR | O_CLOEXEC), false,
		  "is a character device, not a regular file or block device" },
		{ eventfd(0, EFD_CLOEXEC), false,
		  "is something else, not a regular file or block device" },
		{ memory_as(O_WRONLY), false, "is not open for reading" },
		{ memory_as(O_PATH), false, "is not open for reading" },
		{ memory_as(O_RDONLY), true, "is not open for writing" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char sentence[128];

		vm_config_init(&c);
		add_disk(&c, dup(cases[i].fd), cases[i].writable);
		snprintf(sentence, sizeof(sentence), "disks[0].image: %s",
			 cases[i].sentence);
		assert_refused(&c, sentence);
		vm_config_init(&c);
		add_disk(&c, file_of('x', 512), false);
		add_partition(add_disk(&c, -1, cases[i].writable), "p", cases[i].fd,
			      cases[i].writable);
		snprintf(sentence, sizeof(sentence), "disks[1].partitions[0].path: %s",
			 cases[i].sentence);
		assert_refused(&c, sentence);
	}
	close(pipes[1]);
	close(sockets[1]);
}

static void layouts_that_cannot_be_are_refused(void **state)
{
	struct vm_config c;
	struct config_disk *d;
	int fd = file_of('x', 4096);

	(void)state;
	vm_config_init(&c);
	add_partition(add_disk(&c, -1, true), "data", file_of('x', 4095), true);
	assert_refused(
		&c,
		"disks[0].partitions: partition data: /proc/self/fd/4 is writable, so its size must be a multiple of 4096 (truncate -s %4096 rounds it up)");

	vm_config_init(&c);
	add_partition(add_disk(&c, -1, false), "none", file_of('x', 0), false);
	assert_refused(&c,
		       "disks[0].partitions: partition none: /proc/self/fd/4 is empty");

	/* The same open file, and the same file opened twice. */
	vm_config_init(&c);
	add_disk(&c, dup(fd), false);
	d = add_disk(&c, -1, true);
	add_partition(d, "data", dup(fd), true);
	assert_refused(
		&c,
		"disks[1].partitions[0].path: is a file of this VM's disks twice, and is writable");
	vm_config_init(&c);
	add_disk(&c, dup(fd), true);
	add_disk(&c, reopened(fd, O_RDONLY), false);
	assert_refused(
		&c,
		"disks[1].image: is a file of this VM's disks twice, and is writable");
}

/* Its names would be those of this VM's other files. */
static void a_composite_image_is_refused(void **state)
{
	struct vm_config c;
	int fd = file_of(0, 4096);

	(void)state;
	assert_int_equal(pwrite(fd, "composite_disk\x1d", 15, 0), 15);
	vm_config_init(&c);
	add_disk(&c, fd, false);
	assert_refused(
		&c,
		"disks[0].image: is a composite image, whose parts are files of its own: pass these, as partitions");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(partitions_become_a_disk),
		cmocka_unit_test(images_are_disks_as_they_are),
		cmocka_unit_test(hundreds_of_partitions_have_their_content),
		cmocka_unit_test(a_sparse_partition_has_its_expanded_size),
		cmocka_unit_test(what_is_no_image_is_refused),
		cmocka_unit_test(layouts_that_cannot_be_are_refused),
		cmocka_unit_test(a_composite_image_is_refused),
	};

	if (argc > 2 && strcmp(argv[1], "read-disk") == 0)
		return read_disk(argv + 3, atoi(argv[2]));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
