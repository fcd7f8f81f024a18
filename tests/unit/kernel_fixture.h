/*
 * Guests to load in tests of boot/: memory, a kernel image made by hand in a memfd, an
 * initrd. The images are structs, so that a test spoils one field and leaves the rest.
 */
#pragma once

#include <asm/bootparam.h>
#include <elf.h>

#include "boot/boot.h"

#define FIXTURE_MIB (1ull << 20)
#define FIXTURE_LOAD 0x1000000u /* where both kinds of kernel go */
#define FIXTURE_CODE_SIZE 4096u

/* A bzImage with one set-up sector; its code is filled with 0xc3. */
struct fixture_bzimage {
	unsigned char boot_sector[0x1f1];
	struct setup_header hdr;
	unsigned char setup[0x400 - 0x1f1 - sizeof(struct setup_header)];
	unsigned char code[FIXTURE_CODE_SIZE];
} __attribute__((packed));

/* An ELF64 program: a segment of code, one with data and bss, one of notes. */
struct fixture_elf {
	Elf64_Ehdr ehdr;
	Elf64_Phdr code_ph, data_ph, note_ph;
	struct {
		Elf64_Nhdr head;
		char name[4];
		uint32_t desc[2];
	} note;
	unsigned char pad[0x1000 - sizeof(Elf64_Ehdr) - 3 * sizeof(Elf64_Phdr) - 24];
	unsigned char code[FIXTURE_CODE_SIZE]; /* 0xc3 */
	unsigned char data[256]; /* 0xda */
};

#define FIXTURE_DATA 0x1200000u /* physical address of the data */
#define FIXTURE_BSS 4096u
#define FIXTURE_PVH_ENTRY (FIXTURE_LOAD + 0x40)

struct fixture {
	struct gmem mem;
	struct boot_cfg cfg;
	struct boot_state state;
	struct err err;
};

void fixture_bzimage_init(struct fixture_bzimage *img);
void fixture_elf_init(struct fixture_elf *img);

/* Memory of @mib MiB, as a machine has it; no kernel yet. Asserts on failure. */
void fixture_init(struct fixture *f, uint64_t mib);
void fixture_free(struct fixture *f);

/* Another kernel, called "kernel.img"; the bytes are copied. */
void fixture_kernel(struct fixture *f, const void *bytes, size_t len);

/* An initrd, called "initrd.img", whose last byte is 0x77 and the others 0. */
void fixture_initrd(struct fixture *f, uint64_t size);

/* Load it, which must succeed. */
void fixture_load(struct fixture *f);

/*
 * Load it, which must fail with @code and a sentence that has all of @words (up to
 * a NULL) in it, and leave f->state alone.
 */
void fixture_load_fails(struct fixture *f, int code, const char *const *words);
#define FIXTURE_LOAD_FAILS(f, code, ...) \
	fixture_load_fails(f, code, (const char *const[]){ __VA_ARGS__, NULL })

/* The loaded guest's memory, which must be RAM. */
void *fixture_at(const struct fixture *f, uint64_t addr, uint64_t len);
