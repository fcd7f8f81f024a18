/*
 * bootplan DISK KEY [INITRD]: what the bootloader would start from DISK, which is raw,
 * if it trusted KEY (avb key). Says the kernel's size and address and the command line,
 * and writes the initrd that the kernel would get; or says the failure, with status 1.
 * The bootloader's own sources, in a process of this machine.
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/bootloader/plan.h"

#define MEMORY (512ul << 20)

static int fd;

static bool read_disk(void *ctx, uint64_t sector, void *buf, uint64_t n)
{
	(void)ctx;
	return pread(fd, buf, n * SECTOR_SIZE, (off_t)(sector * SECTOR_SIZE)) ==
	       (ssize_t)(n * SECTOR_SIZE);
}

/* What would be recorded in misc is not. */
static bool write_disk(void *ctx, uint64_t sector, const void *buf, uint64_t n)
{
	(void)ctx;
	(void)sector;
	(void)buf;
	(void)n;
	return true;
}

static void note(void *arg, const struct failure *f)
{
	(void)arg;
	printf("note %s %s: %s\n", failure_name(f->code), f->object, f->why);
}

static void read_key(const char *path, struct key_block *ret)
{
	FILE *file = fopen(path, "rb");

	if (!file)
		err(2, "%s", path);
	ret->size = (uint32_t)fread(ret->key, 1, sizeof(ret->key), file);
	fclose(file);
}

static void write_initrd(const char *path, const struct blob *initrd)
{
	FILE *file = fopen(path, "wb");

	if (!file ||
	    (initrd->data && fwrite(initrd->data, initrd->size, 1, file) != 1) ||
	    fclose(file))
		err(2, "%s", path);
}

int main(int argc, char **argv)
{
	static struct plan plan;
	struct blk blk = { read_disk, write_disk, NULL, 0 };
	struct arena arena = { aligned_alloc(ARENA_ALIGN, MEMORY), MEMORY, 0 };
	struct key_block key = { 0 };
	struct failure f = { 0 };
	struct gpt gpt;
	struct stat st;

	if (argc < 3 || argc > 4 || !arena.base)
		errx(2, "usage: bootplan DISK KEY [INITRD]");
	fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		err(2, "%s", argv[1]);
	blk.sectors = (uint64_t)st.st_size / SECTOR_SIZE;
	read_key(argv[2], &key);
	if (!gpt_open(&gpt, &blk, "disk", &arena, &f) ||
	    !plan_make(&gpt, 1, &key, "", &arena, note, NULL, &plan, &f)) {
		printf("%s %s: %s\n", failure_name(f.code), f.object, f.why);
		free(arena.base);
		return 1;
	}
	printf("slot %s\nkernel %llu at %#llx\ncmdline %s\n", slot_suffix(plan.slot),
	       (unsigned long long)plan.kernel.code.size,
	       (unsigned long long)plan.kernel.start, plan.cmdline);
	if (argc == 4)
		write_initrd(argv[3], &plan.initrd);
	free(arena.base);
	return 0;
}
