/* Guest memory as an ELF core file; see core.h. */
#include "vmm/core.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"

#define PAGE 4096u
/* A pipe that poll() calls writable takes this much at once, also a blocking one. */
#define STREAM_CHUNK 4096u
#define FILE_CHUNK (1u << 20)
#define POLL_MS 100
#define STALL_MS 30000

struct out {
	const struct core *core;
	int fd;
	bool sparse; /* a file that had its old content cut off */
};

static const unsigned char zeroes[PAGE];

size_t core_note(void *buf, const char *name, uint32_t type, const void *desc,
		 size_t len)
{
	size_t name_len = strlen(name) + 1;
	Elf64_Nhdr head = {
		.n_namesz = (uint32_t)name_len,
		.n_descsz = (uint32_t)len,
		.n_type = type,
	};
	unsigned char *p = buf;

	memset(p, 0, sizeof(head) + align_up(name_len, 4) + align_up(len, 4));
	memcpy(p, &head, sizeof(head));
	memcpy(p + sizeof(head), name, name_len);
	p += sizeof(head) + align_up(name_len, 4);
	memcpy(p, desc, len);
	return (size_t)(p - (unsigned char *)buf) + align_up(len, 4);
}

/* The text of a VMCOREINFO note at a page's start, copied before it is looked at. */
static size_t vmcoreinfo_at(const struct gmem *mem, gpa_t gpa, char *buf)
{
	static const char begin[] = "OSRELEASE=";
	struct {
		Elf64_Nhdr head;
		char name[12];
	} note;

	if (gmem_read(mem, gpa, &note, sizeof(note)) < 0 ||
	    memcmp(note.name, "VMCOREINFO\0", sizeof(note.name)) != 0 ||
	    note.head.n_namesz != sizeof("VMCOREINFO") || note.head.n_type != 0 ||
	    note.head.n_descsz < sizeof(begin) ||
	    note.head.n_descsz > CORE_VMCOREINFO_MAX ||
	    gmem_read(mem, GPA(gpa.v + sizeof(note)), buf, note.head.n_descsz) < 0 ||
	    memcmp(buf, begin, sizeof(begin) - 1) != 0)
		return 0;
	return note.head.n_descsz;
}

size_t core_find_vmcoreinfo(const struct gmem *mem, char *buf)
{
	for (size_t i = 0; i < mem->n_ranges; i++) {
		const struct gmem_range *r = &mem->ranges[i];

		for (uint64_t off = 0; off < r->len; off += PAGE) {
			size_t n = vmcoreinfo_at(mem, GPA(r->gpa.v + off), buf);

			if (n)
				return n;
		}
	}
	return 0;
}

static bool cancelled(const struct out *o)
{
	return o->core->cancelled && o->core->cancelled(o->core->ctx);
}

/* Until something can be written: a reader that stops must not keep us. */
static int wait_writable(const struct out *o)
{
	struct pollfd p = { .fd = o->fd, .events = POLLOUT };

	for (int ms = 0; ms < STALL_MS; ms += POLL_MS) {
		if (cancelled(o))
			return -ECANCELED;
		if (poll(&p, 1, POLL_MS) > 0)
			return 0;
	}
	return -ETIMEDOUT;
}

static int put(const struct out *o, const void *buf, size_t len)
{
	size_t chunk = o->sparse ? FILE_CHUNK : STREAM_CHUNK;
	const char *p = buf;

	while (len > 0) {
		int r = wait_writable(o);
		ssize_t n;

		if (r < 0)
			return r;
		n = write(o->fd, p, len < chunk ? len : chunk);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int put_zeroes(const struct out *o, uint64_t len)
{
	int r = 0;

	if (o->sparse) {
		if (cancelled(o))
			return -ECANCELED;
		return lseek(o->fd, (off_t)len, SEEK_CUR) < 0 ? -errno : 0;
	}
	for (; r == 0 && len > 0; len -= len < PAGE ? len : PAGE)
		r = put(o, zeroes, len < PAGE ? len : PAGE);
	return r;
}

/* How much of [p, p + len), whole pages, is zero as its first page is, or is not. */
static size_t same_kind(const unsigned char *p, size_t len, bool *ret_zero)
{
	size_t n = 0;

	*ret_zero = !memcmp(p, zeroes, PAGE);
	do
		n += PAGE;
	while (n < len && n < FILE_CHUNK && !memcmp(p + n, zeroes, PAGE) == *ret_zero);
	return n;
}

static int put_range(const struct out *o, const struct gmem_range *r)
{
	const unsigned char *p = gmem_slice(o->core->mem, r->gpa, r->len);
	uint64_t left = r->len;
	int e = 0;

	while (e == 0 && left > 0) {
		bool zero;
		size_t n = same_kind(p, left, &zero);

		e = zero ? put_zeroes(o, n) : put(o, p, n);
		p += n;
		left -= n;
	}
	return e;
}

/* The headers and notes, and zeroes up to the page that the memory begins on. */
static int put_head(const struct out *o)
{
	const struct core *c = o->core;
	size_t n = c->mem->n_ranges;
	size_t phs = sizeof(Elf64_Ehdr) + (n + 1) * sizeof(Elf64_Phdr);
	size_t size = align_up(phs + c->notes_len, PAGE);
	AUTO_FREE unsigned char *head = calloc(1, size);
	uint64_t off = size;
	Elf64_Phdr *ph;

	if (!head)
		return -ENOMEM;
	*(Elf64_Ehdr *)head = (Elf64_Ehdr){
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
			     ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_CORE,
		.e_machine = c->machine,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(Elf64_Ehdr),
		.e_ehsize = sizeof(Elf64_Ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = (uint16_t)(n + 1),
	};
	ph = (Elf64_Phdr *)(head + sizeof(Elf64_Ehdr));
	*ph++ = (Elf64_Phdr){
		.p_type = PT_NOTE,
		.p_offset = phs,
		.p_filesz = c->notes_len,
		.p_memsz = c->notes_len,
	};
	/* No alignment is said: by that crash(8) knows dumps of this kind. */
	for (size_t i = 0; i < n; off += c->mem->ranges[i++].len)
		*ph++ = (Elf64_Phdr){
			.p_type = PT_LOAD,
			.p_flags = PF_R | PF_W | PF_X,
			.p_offset = off,
			.p_vaddr = c->mem->ranges[i].gpa.v,
			.p_paddr = c->mem->ranges[i].gpa.v,
			.p_filesz = c->mem->ranges[i].len,
			.p_memsz = c->mem->ranges[i].len,
		};
	memcpy(head + phs, c->notes, c->notes_len);
	return put(o, head, size);
}

/* A last hole shows in the file's size only. */
static int finish(const struct out *o)
{
	off_t end;

	if (!o->sparse)
		return 0;
	end = lseek(o->fd, 0, SEEK_CUR);
	return end < 0 || ftruncate(o->fd, end) < 0 ? -errno : 0;
}

int core_write(const struct core *c, int fd, struct err *err)
{
	struct out o = { .core = c, .fd = fd };
	off_t start = lseek(fd, 0, SEEK_CUR);
	int r;

	/* What is always appended to takes no notice of where we seek. */
	o.sparse = start >= 0 && !(fcntl(fd, F_GETFL) & O_APPEND) &&
		   ftruncate(fd, start) == 0;
	r = put_head(&o);
	for (size_t i = 0; r == 0 && i < c->mem->n_ranges; i++)
		r = put_range(&o, &c->mem->ranges[i]);
	if (r == 0)
		r = finish(&o);
	if (r == 0)
		return 0;
	/* Half a dump would pass for one. */
	if (o.sparse)
		(void)(ftruncate(fd, start) == 0 && lseek(fd, start, SEEK_SET));
	if (r == -ECANCELED)
		return err_set(err, r, "crash dump: given up, as the VM is to end");
	if (r == -ETIMEDOUT)
		return err_set(err, r, "crash dump: nobody reads it");
	return err_sys(err, r, "crash dump");
}
