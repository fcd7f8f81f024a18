/* Image files for unit tests; see image_fixture.h. */
#undef NDEBUG
#include "tests/unit/image_fixture.h"

#include <assert.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "disk/composite.h"
#include "disk/format.h"
#include "disk/sparse.h"

static char dir[] = "/tmp/vmm-images.XXXXXX";

int image_setup(void **state)
{
	(void)state;
	strcpy(dir + sizeof(dir) - 7, "XXXXXX");
	return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

int image_teardown(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

void image_file(const char *name, const void *buf, size_t len)
{
	FILE *f = fopen(name, "w");

	assert(f && fwrite(buf, 1, len, f) == len);
	assert(fclose(f) == 0);
}

unsigned char image_pattern_byte(size_t off, unsigned seed)
{
	return (unsigned char)(off * 31 + (off >> 8) * 7 + seed * 101 + 1);
}

void image_pattern(const char *name, size_t len, unsigned seed)
{
	unsigned char *p = malloc(len + 1);

	for (size_t i = 0; i < len; i++)
		p[i] = image_pattern_byte(i, seed);
	image_file(name, p, len);
	free(p);
}

unsigned char *image_read(const char *name, size_t *ret_len)
{
	FILE *f = fopen(name, "r");
	unsigned char *p;

	assert(f && fseek(f, 0, SEEK_END) == 0);
	*ret_len = (size_t)ftell(f);
	rewind(f);
	p = malloc(*ret_len + 1);
	assert(fread(p, 1, *ret_len, f) == *ret_len);
	fclose(f);
	return p;
}

int image_fd(const char *name, int flags)
{
	int fd = open(name, flags);

	assert(fd >= 0);
	return fd;
}

const char *image_fd_path(int fd)
{
	static char path[16][32];
	static unsigned next;
	char *p = path[next++ % 16];

	snprintf(p, 32, "/proc/self/fd/%d", fd);
	return p;
}

void image_composite(const char *name, uint64_t version, uint64_t length,
		     const struct proto_component *c, size_t n)
{
	struct proto_composite composite = {
		.version = version,
		.length = length,
		.n = n,
		.components = (struct proto_component *)(uintptr_t)c
	};
	unsigned char *message, *all;
	size_t len;

	assert(proto_encode(&composite, &message, &len, NULL) == 0);
	all = malloc(COMPOSITE_MAGIC_LEN + len);
	memcpy(all, COMPOSITE_MAGIC, COMPOSITE_MAGIC_LEN);
	memcpy(all + COMPOSITE_MAGIC_LEN, message, len);
	image_file(name, all, COMPOSITE_MAGIC_LEN + len);
	free(message);
	free(all);
}

#define BLOCK 4096u

static void put_chunk(FILE *f, unsigned type, uint32_t blocks, size_t body)
{
	unsigned char h[12] = { 0 };

	le16_put(h, (uint16_t)type);
	le32_put(h + 4, blocks);
	le32_put(h + 8, (uint32_t)(12 + body));
	assert(fwrite(h, 1, 12, f) == 12);
}

void image_sparse(const char *name, const char *chunks, unsigned seed)
{
	unsigned char header[28] = SPARSE_MAGIC "\1\0\0\0\x1c\0\x0c\0\0\x10\0\0";
	FILE *f = fopen(name, "w");
	uint32_t at = 0;

	assert(f && fwrite(header, 1, 28, f) == 28);
	for (const char *c = chunks; *c; c++) {
		switch (*c) {
		case 'R':
			put_chunk(f, 0xcac1, 1, BLOCK);
			for (size_t i = 0; i < BLOCK; i++)
				putc(image_pattern_byte(at * BLOCK + i, seed), f);
			at++;
			break;
		case 'F':
			put_chunk(f, 0xcac2, 2, 4);
			fwrite(IMAGE_SPARSE_FILL, 1, 4, f);
			at += 2;
			break;
		case 'N':
			put_chunk(f, 0xcac3, 1, 0);
			at++;
			break;
		case 'C':
			put_chunk(f, 0xcac4, 0, 4);
			fwrite("crc?", 1, 4, f);
			break;
		}
	}
	le32_put(header + 16, at);
	le32_put(header + 20, (uint32_t)strlen(chunks));
	rewind(f);
	assert(fwrite(header, 1, 28, f) == 28);
	assert(fclose(f) == 0);
}

struct disk *image_open(const struct disk_cfg *cfg)
{
	struct disk *d = NULL;
	struct err err = { "" };

	if (format_open(cfg, 0, &d, &err) < 0)
		fail_msg("%s", err.msg);
	return d;
}

void image_refused(const struct disk_cfg *cfg, int code, const char *why,
		   const char *and)
{
	struct disk *d = NULL;
	struct err err = { "" };
	int r = format_open(cfg, 0, &d, &err);

	if (r != code || d || !strstr(err.msg, why) || (and&&!strstr(err.msg, and)) ||
	    !strstr(err.msg, cfg->path))
		fail_msg("%s: %d instead of %d, \"%s\" instead of \"%s\"", cfg->path, r,
			 code, err.msg, why);
}
