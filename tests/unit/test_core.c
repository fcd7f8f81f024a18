/* vmm/core.c: dumps of a made-up memory, read back as an ELF reader would. */
#include "vmm/core.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bytes.h"

#define MIB (1u << 20)
#define LOW (4 * MIB)
#define HIGH (2 * MIB)
#define HIGH_AT (16 * MIB)

static struct gmem mem;
static unsigned char notes[256];
static size_t notes_len;

/* Something at the start, across a MiB, alone in a hole, and in the second range. */
static int setup(void **state)
{
	static const struct gmem_range ranges[] = { { { 0 }, LOW },
						    { { HIGH_AT }, HIGH } };

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	mem = (struct gmem){ 0 };
	if (gmem_map(&mem, ranges, ARRAY_SIZE(ranges), NULL) < 0)
		return -1;
	memset(mem.base, 1, 5000);
	memset(mem.base + MIB - 8192, 2, 3 * MIB / 2);
	mem.base[3 * MIB + 4095] = 3;
	mem.base[HIGH_AT + MIB] = 4;
	notes_len = core_note(notes, "CORE", NT_PRSTATUS, "status", 6);
	notes_len += core_note(notes + notes_len, "VMCOREINFO", 0, "text", 4);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	gmem_unmap(&mem);
	return 0;
}

static int write_core(int fd, bool (*cancelled)(void *ctx), void *ctx, struct err *err)
{
	struct core c = { .machine = EM_X86_64,
			  .mem = &mem,
			  .notes = notes,
			  .notes_len = notes_len,
			  .cancelled = cancelled,
			  .ctx = ctx };

	return core_write(&c, fd, err);
}

/* The dump must say what memory says. */
static void check_dump(const unsigned char *p, size_t size)
{
	const Elf64_Ehdr *eh = (const Elf64_Ehdr *)p;
	const Elf64_Phdr *ph = (const Elf64_Phdr *)(p + sizeof(*eh));

	assert_true(size > LOW + HIGH);
	assert_memory_equal(p, ELFMAG, SELFMAG);
	assert_int_equal(eh->e_type, ET_CORE);
	assert_int_equal(eh->e_machine, EM_X86_64);
	assert_int_equal(eh->e_phoff, sizeof(*eh));
	assert_int_equal(eh->e_phnum, 3);
	assert_int_equal(ph[0].p_type, PT_NOTE);
	assert_int_equal(ph[0].p_filesz, notes_len);
	assert_memory_equal(p + ph[0].p_offset, notes, notes_len);
	for (size_t i = 0; i < 2; i++) {
		const struct gmem_range *r = &mem.ranges[i];

		assert_int_equal(ph[i + 1].p_type, PT_LOAD);
		assert_int_equal(ph[i + 1].p_paddr, r->gpa.v);
		assert_int_equal(ph[i + 1].p_filesz, r->len);
		assert_int_equal(ph[i + 1].p_memsz, r->len);
		assert_int_equal(ph[i + 1].p_offset % 4096, 0);
		assert_memory_equal(p + ph[i + 1].p_offset, mem.base + r->gpa.v,
				    r->len);
	}
	assert_int_equal(size, ph[2].p_offset + ph[2].p_filesz);
}

static int make_file(void)
{
	char path[] = "/tmp/test_core.XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	unlink(path);
	return fd;
}

static void check_file(int fd, off_t from)
{
	struct stat st;
	unsigned char *p;

	assert_int_equal(fstat(fd, &st), 0);
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_true(p != MAP_FAILED);
	check_dump(p + from, (size_t)(st.st_size - from));
	munmap(p, (size_t)st.st_size);
}

static void notes_are_padded_to_words(void **state)
{
	unsigned char buf[CORE_NOTE_SIZE(5)];
	const Elf64_Nhdr *h = (const void *)buf;

	(void)state;
	memset(buf, 0xff, sizeof(buf));
	assert_int_equal(core_note(buf, "CORE", 7, "12345", 5), 12 + 8 + 8);
	assert_int_equal(h->n_namesz, 5);
	assert_int_equal(h->n_descsz, 5);
	assert_int_equal(h->n_type, 7);
	assert_memory_equal(buf + 12,
			    "CORE\0\0\0\0"
			    "12345\0\0\0",
			    16);
	assert_true(core_note(buf, "VMCOREINFO", 0, "12345", 5) <= sizeof(buf));
}

static void a_file_holds_memory_and_has_holes(void **state)
{
	int fd = make_file();
	struct stat st;

	(void)state;
	assert_int_equal(write_core(fd, NULL, NULL, NULL), 0);
	check_file(fd, 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_blocks * 512 < 3 * MIB);
	close(fd);
}

static void old_content_is_cut_off(void **state)
{
	static char junk[8 * MIB];
	int fd = make_file();

	(void)state;
	memset(junk, 0xee, sizeof(junk));
	assert_int_equal(write(fd, junk, sizeof(junk)), sizeof(junk));
	lseek(fd, 4096, SEEK_SET);
	assert_int_equal(write_core(fd, NULL, NULL, NULL), 0);
	check_file(fd, 4096);
	close(fd);
}

static void a_file_that_is_appended_to_gets_the_zeroes(void **state)
{
	int fd = make_file();

	(void)state;
	assert_int_equal(write(fd, "8 before", 8), 8);
	fcntl(fd, F_SETFL, O_APPEND);
	assert_int_equal(write_core(fd, NULL, NULL, NULL), 0);
	check_file(fd, 8);
	close(fd);
}

struct reader {
	int fd;
	size_t len;
	unsigned char buf[8 * MIB];
};

static void *read_all(void *arg)
{
	struct reader *r = arg;
	ssize_t n;

	while ((n = read(r->fd, r->buf + r->len, sizeof(r->buf) - r->len)) > 0)
		r->len += (size_t)n;
	return NULL;
}

static void a_pipe_gets_the_zeroes(void **state)
{
	static struct reader reader;
	pthread_t thread;
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	reader = (struct reader){ .fd = fds[0] };
	pthread_create(&thread, NULL, read_all, &reader);
	assert_int_equal(write_core(fds[1], NULL, NULL, NULL), 0);
	close(fds[1]);
	pthread_join(thread, NULL);
	close(fds[0]);
	check_dump(reader.buf, reader.len);
}

static bool at_third(void *ctx)
{
	unsigned *asked = ctx;

	return ++*asked == 3;
}

/* Nobody reads the pipe: only the question gets it out of there. */
static void a_dump_is_given_up_when_told_so(void **state)
{
	unsigned asked = 0;
	struct err err;
	int fds[2];
	struct stat st;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	fcntl(fds[1], F_SETPIPE_SZ, 4096);
	assert_int_equal(write_core(fds[1], at_third, &asked, &err), -ECANCELED);
	assert_string_equal(err.msg, "crash dump: given up, as the VM is to end");
	close(fds[0]);
	close(fds[1]);

	fds[0] = make_file();
	asked = 0;
	assert_int_equal(write_core(fds[0], at_third, &asked, &err), -ECANCELED);
	assert_int_equal(fstat(fds[0], &st), 0);
	assert_int_equal(st.st_size, 0);
	close(fds[0]);
}

static void what_cannot_be_written_is_an_error(void **state)
{
	int fd = open("/dev/full", O_WRONLY);
	struct err err;
	int fds[2];

	(void)state;
	assert_int_equal(write_core(fd, NULL, NULL, &err), -ENOSPC);
	assert_string_equal(err.msg, "crash dump: No space left on device");
	close(fd);
	assert_int_equal(pipe(fds), 0);
	close(fds[0]);
	assert_int_equal(write_core(fds[1], NULL, NULL, &err), -EPIPE);
	close(fds[1]);
	fd = open("/dev/null", O_RDONLY);
	assert_int_equal(write_core(fd, NULL, NULL, &err), -EBADF);
	close(fd);
}

/* A Linux kernel's note, with a text of @len bytes, at @gpa. */
static void put_vmcoreinfo(uint64_t gpa, const char *begin, size_t len)
{
	char text[CORE_VMCOREINFO_MAX + 8];

	memset(text, '\n', sizeof(text));
	memcpy(text, begin, strlen(begin));
	core_note(mem.base + gpa, "VMCOREINFO", 0, text, len);
}

static void vmcoreinfo_is_found_at_a_page(void **state)
{
	char buf[CORE_VMCOREINFO_MAX];

	(void)state;
	assert_int_equal(core_find_vmcoreinfo(&mem, buf), 0);
	put_vmcoreinfo(HIGH_AT + 8192, "OSRELEASE=6.1\nPAGESIZE=4096\n", 1800);
	assert_int_equal(core_find_vmcoreinfo(&mem, buf), 1800);
	assert_memory_equal(buf, "OSRELEASE=6.1\n", 14);
	put_vmcoreinfo(4096, "OSRELEASE=6.2\n", CORE_VMCOREINFO_MAX);
	assert_int_equal(core_find_vmcoreinfo(&mem, buf), CORE_VMCOREINFO_MAX);
	assert_memory_equal(buf, "OSRELEASE=6.2\n", 14);
}

static void what_only_looks_like_vmcoreinfo_is_passed_over(void **state)
{
	char buf[CORE_VMCOREINFO_MAX];

	(void)state;
	put_vmcoreinfo(8192, "OSRELEASE=6.1\n", CORE_VMCOREINFO_MAX + 1);
	put_vmcoreinfo(3 * 4096, "OSRELEASE=6.1\n", 5);
	put_vmcoreinfo(4 * 4096, "osrelease=6.1\n", 100);
	put_vmcoreinfo(5 * 4096 + 16, "OSRELEASE=6.1\n", 100);
	/* Its end would be behind that of RAM. */
	put_vmcoreinfo(6 * 4096, "OSRELEASE=6.1\n", 4096);
	memcpy(mem.base + LOW - 4096, mem.base + 6 * 4096, 4096);
	memset(mem.base + 6 * 4096, 0, 4200);
	core_note(mem.base + 8 * 4096, "VMCOREINFO", 1, "OSRELEASE=6.1\n", 14);
	core_note(mem.base + 9 * 4096, "VMCOREINF", 0, "OSRELEASE=6.1\n", 14);
	assert_int_equal(core_find_vmcoreinfo(&mem, buf), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(notes_are_padded_to_words),
		cmocka_unit_test_setup_teardown(a_file_holds_memory_and_has_holes,
						setup, teardown),
		cmocka_unit_test_setup_teardown(old_content_is_cut_off, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			a_file_that_is_appended_to_gets_the_zeroes, setup, teardown),
		cmocka_unit_test_setup_teardown(a_pipe_gets_the_zeroes, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_dump_is_given_up_when_told_so, setup,
						teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_written_is_an_error,
						setup, teardown),
		cmocka_unit_test_setup_teardown(vmcoreinfo_is_found_at_a_page, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			what_only_looks_like_vmcoreinfo_is_passed_over, setup,
			teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
