/* The common part of loading a guest; see boot.h and arch.h. */
#include "boot/boot.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "base/file.h"
#include "boot/arch.h"
#include "boot/key_block.h"

#define PAGE_SIZE 4096u
#define MIB (1u << 20)

int boot_load(const struct gmem *mem, const struct boot_cfg *cfg,
	      struct boot_state *ret_state, struct err *err)
{
	const struct boot_image *kernel = &cfg->kernel;
	unsigned char head[BOOT_HEAD_SIZE] = { 0 };
	struct boot_state state = { 0 };
	int r;

	if (kernel->fd < 0) {
		r = boot_arch_firmware(mem, cfg, err);
		if (r == 0)
			*ret_state = (struct boot_state){ .mode = BOOT_RESET };
		return r;
	}
	if (kernel->size == 0)
		return err_set(err, -ENOEXEC, "kernel %s: empty file", kernel->path);
	/* Nobody means it: most likely what wrote it has failed. */
	if (cfg->initrd.fd >= 0 && cfg->initrd.size == 0)
		return err_set(err, -EINVAL, "initrd %s: empty file", cfg->initrd.path);
	r = boot_read(kernel, "kernel", 0, head, boot_head_len(kernel), err);
	if (r < 0)
		return r;
	r = boot_arch_load(mem, cfg, head, &state, err);
	if (r < 0)
		return r;
	*ret_state = state;
	return 0;
}

size_t boot_head_len(const struct boot_image *img)
{
	return img->size < BOOT_HEAD_SIZE ? img->size : BOOT_HEAD_SIZE;
}

/* Memory for the guest to read, still empty and writable. */
static int rom_new(uint64_t len, struct boot_rom *ret_rom, const char *what,
		   struct err *err)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);

	if (p == MAP_FAILED)
		return err_sys(err, -errno, "%s", what);
	*ret_rom = (struct boot_rom){ p, len };
	return 0;
}

/* From now on it is only read, whatever @r says of how it was filled. */
static int rom_seal(struct boot_rom *rom, int r, const char *what, struct err *err)
{
	if (r == 0 && mprotect(rom->base, rom->len, PROT_READ) < 0)
		r = err_sys(err, -errno, "%s", what);
	if (r < 0)
		boot_rom_free(rom);
	return r;
}

int boot_rom_load(const struct boot_image *img, struct boot_rom *ret_rom,
		  struct err *err)
{
	uint64_t max = boot_arch_rom_max();
	int r;

	if (img->size == 0)
		return err_set(err, -ENOEXEC, "bios %s: empty file", img->path);
	if (img->size > max)
		return err_set(err, -E2BIG,
			       "bios %s: %" PRIu64 " bytes, at most %" PRIu64
			       " MiB fit",
			       img->path, img->size, max / MIB);
	r = rom_new(align_up(img->size, PAGE_SIZE), ret_rom, "bios", err);
	if (r < 0)
		return r;
	/* Its end is what has a fixed address. */
	r = boot_read(img, "bios", 0, ret_rom->base + ret_rom->len - img->size,
		      img->size, err);
	return rom_seal(ret_rom, r, "bios", err);
}

/* Bits, n0inv, then modulus and R^2 modulo it, which are as long. */
static int read_key(const struct boot_image *img, struct key_block *block,
		    struct err *err)
{
	uint64_t bits = (img->size - 8) / 2 * 8;
	int r = 0;

	if (img->size == 520 || img->size == 1032)
		r = boot_read(img, "bios key", 0, block->key, img->size, err);
	if (r < 0)
		return r;
	if ((img->size != 520 && img->size != 1032) ||
	    __builtin_bswap32(le32_get(block->key)) != bits)
		return err_set(err, -EINVAL,
			       "bios key %s: is no public key of 2048 or 4096 bits, as"
			       " avbtool extract_public_key writes it",
			       img->path);
	block->size = (uint32_t)img->size;
	return 0;
}

int boot_trust_load(const struct boot_trust *trust, struct boot_rom *ret_page,
		    struct err *err)
{
	const struct boot_image *img = &trust->key;
	struct key_block *block;
	int r;

	_Static_assert(sizeof(*block) <= PAGE_SIZE, "key block");
	r = rom_new(PAGE_SIZE, ret_page, "bios key", err);
	if (r < 0)
		return r;
	block = (struct key_block *)ret_page->base;
	*block = (struct key_block){
		.magic = KEY_BLOCK_MAGIC,
		.unlocked = trust->unlocked,
		.rollback_index = trust->rollback_index,
	};
	_Static_assert(sizeof(block->rollback_indices) ==
			       sizeof(trust->rollback_indices),
		       "rollback indices");
	memcpy(block->rollback_indices, trust->rollback_indices,
	       sizeof(block->rollback_indices));
	if (img->fd >= 0)
		r = read_key(img, block, err);
	return rom_seal(ret_page, r, "bios key", err);
}

void boot_rom_free(struct boot_rom *rom)
{
	if (rom->base)
		munmap(rom->base, rom->len);
	*rom = (struct boot_rom){ 0 };
}

int boot_refuse(const struct boot_image *kernel, const unsigned char *head,
		struct err *err)
{
	static const struct {
		const char *magic, *what;
		unsigned off;
		unsigned len;
	} formats[] = {
		{ "\x1f\x8b", "compressed with gzip, unpack it first", 0, 2 },
		{ "\xfd\x37zXZ", "compressed with xz, unpack it first", 0, 5 },
		{ "\x28\xb5\x2f\xfd", "compressed with zstd, unpack it first", 0, 4 },
		{ "\x02\x21\x4c\x18", "compressed with lz4, unpack it first", 0, 4 },
		{ "\x04\x22\x4d\x18", "compressed with lz4, unpack it first", 0, 4 },
		{ "BZh", "compressed with bzip2, unpack it first", 0, 3 },
		{ "ARM\x64", "an aarch64 Image", 56, 4 },
		{ "ANDROID!", "an Android boot image", 0, 8 },
		{ "MZ", "an EFI program without a kernel's header", 0, 2 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		if (memcmp(head + formats[i].off, formats[i].magic, formats[i].len) ==
		    0)
			return err_set(err, -ENOEXEC, "kernel %s: cannot be booted: %s",
				       kernel->path, formats[i].what);
	return err_set(err, -ENOEXEC,
		       "kernel %s: not a kernel (neither bzImage, ELF nor Multiboot)",
		       kernel->path);
}

int boot_read(const struct boot_image *img, const char *what, uint64_t off, void *buf,
	      size_t len, struct err *err)
{
	int r = file_read_at(img->fd, buf, len, off);

	if (r == -ENODATA)
		return err_set(err, -EIO, "%s %s: became shorter while it was read",
			       what, img->path);
	if (r < 0)
		return err_sys(err, r, "%s %s: cannot be read", what, img->path);
	return 0;
}

static uint64_t gap(uint64_t start, uint64_t end)
{
	return end > start ? end - start : 0;
}

int boot_load_initrd(const struct gmem *mem, const struct boot_image *initrd,
		     const struct boot_room *room, uint64_t *ret_addr, struct err *err)
{
	uint64_t above = gap(room->kernel_end, room->end);
	uint64_t low_end = room->kernel_start < room->end ? room->kernel_start
							  : room->end;
	uint64_t below = gap(room->start, low_end);
	uint64_t best = above > below ? above : below;
	uint64_t addr;
	void *p;
	int r;

	/* All ends are page-aligned, so rounding down stays within the gap. */
	if (initrd->size <= above)
		addr = align_down(room->end - initrd->size, PAGE_SIZE);
	else if (initrd->size <= below)
		addr = align_down(low_end - initrd->size, PAGE_SIZE);
	else
		return err_set(err, -E2BIG,
			       "initrd %s: %" PRIu64 " MiB do not fit: the memory below"
			       " 0x%" PRIx64 " has %" PRIu64 " MiB beside the kernel",
			       initrd->path,
			       initrd->size / MIB + !!(initrd->size % MIB), room->end,
			       best / MIB);
	p = gmem_slice(mem, GPA(addr), initrd->size);
	assert(p);
	gmem_want_huge(mem, GPA(addr), initrd->size);
	r = boot_read(initrd, "initrd", 0, p, initrd->size, err);
	if (r == 0)
		*ret_addr = addr;
	return r;
}
