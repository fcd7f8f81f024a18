/*
 * Any bytes as a kernel image, in a small guest with a small initrd. Loading must
 * end in an error with a sentence that names the file, or in a state that a vCPU can
 * start from: entry within RAM, initrd whole, and the structures in low memory not
 * overwritten. (That nothing is written outside of RAM is the sanitizer's to see.)
 */
#include <asm/bootparam.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "boot/boot.h"
#include "boot/x86_64/layout.h"

#define RAM_SIZE (32u << 20)
#define INITRD_SIZE 5000u

static struct gmem mem;
static struct boot_cfg cfg = { .cmdline = "panic=-1 quiet", .n_cpus = 2 };
static unsigned char initrd[INITRD_SIZE];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define REQUIRE(cond)            \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const struct gmem_range ram = { GPA(0), RAM_SIZE };

	(void)argc;
	(void)argv;
	memset(initrd, 0x77, sizeof(initrd));
	cfg.kernel = (struct boot_image){ .fd = memfd_create("kernel", 0),
					  .path = "kernel.img" };
	cfg.initrd = (struct boot_image){ .fd = memfd_create("initrd", 0),
					  .size = sizeof(initrd),
					  .path = "initrd.img" };
	REQUIRE(gmem_map(&mem, &ram, 1, NULL) == 0);
	REQUIRE(cfg.kernel.fd >= 0 && cfg.initrd.fd >= 0);
	REQUIRE(pwrite(cfg.initrd.fd, initrd, sizeof(initrd), 0) == sizeof(initrd));
	return 0;
}

static void check_initrd(uint64_t addr, uint64_t size)
{
	const void *p = gmem_slice(&mem, GPA(addr), size);

	REQUIRE(size == sizeof(initrd) && p && addr >= LAYOUT_HIGH_RAM);
	REQUIRE(memcmp(p, initrd, sizeof(initrd)) == 0);
}

static void check_state(const struct boot_state *s)
{
	const void *cmdline = gmem_slice(&mem, GPA(LAYOUT_CMDLINE), LAYOUT_CMDLINE_MAX);

	REQUIRE(s->entry >= LAYOUT_HIGH_RAM && s->entry < RAM_SIZE);
	REQUIRE(strcmp(cmdline, cfg.cmdline) == 0);
	if (s->rax) {
		const uint8_t *info = gmem_slice(&mem, GPA(s->rbx), 68);
		const uint8_t *module;

		REQUIRE(s->rax == 0x2badb002 && info && le32_get(info + 20) == 1);
		module = gmem_slice(&mem, GPA(le32_get(info + 24)), 16);
		REQUIRE(module);
		check_initrd(le32_get(module), le32_get(module + 4) - le32_get(module));
	} else if (s->rsi) {
		const struct boot_params *zero = gmem_slice(&mem, GPA(s->rsi),
							    sizeof(*zero));

		REQUIRE(zero && (s->mode == BOOT_PROT32) == !s->page_table);
		REQUIRE(zero->hdr.header == 0x53726448);
		REQUIRE(zero->hdr.cmd_line_ptr == LAYOUT_CMDLINE);
		check_initrd(zero->hdr.ramdisk_image, zero->hdr.ramdisk_size);
	} else {
		const uint8_t *info = gmem_slice(&mem, GPA(s->rbx), 56);
		const uint8_t *module;

		REQUIRE(info && le32_get(info) == 0x336ec578);
		module = gmem_slice(&mem, GPA(le64_get(info + 16)), 32);
		REQUIRE(module);
		check_initrd(le64_get(module), le64_get(module + 8));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct boot_state state = { .entry = 1 };
	struct err err = { 0 };
	int r;

	REQUIRE(ftruncate(cfg.kernel.fd, 0) == 0);
	REQUIRE(pwrite(cfg.kernel.fd, data, size, 0) == (ssize_t)size);
	cfg.kernel.size = size;
	r = boot_load(&mem, &cfg, &state, &err);
	if (r == 0) {
		check_state(&state);
	} else {
		REQUIRE(r < 0 && state.entry == 1);
		REQUIRE(strstr(err.msg, ".img"));
	}
	return 0;
}
