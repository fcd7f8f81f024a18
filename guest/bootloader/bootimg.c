/* Android boot images; see bootimg.h. All numbers are little-endian. */
#include "bootimg.h"

#include <string.h>

#include "bytes.h"

#define PAGE_V3 4096u /* versions 3 and 4 of boot.img have no page_size */
#define VERSION_AT 40u /* in every version of boot.img */

/* Sections follow one another, each from a page boundary. */
struct cursor {
	const struct blob *img;
	uint64_t at, page;
	bool bad; /* one led out of the image */
};

static struct blob next(struct cursor *c, uint64_t size)
{
	struct blob b = { c->img->data + c->at, size };

	if (c->bad || !within(c->at, size, c->img->size)) {
		c->bad = true;
		return (struct blob){ NULL, 0 };
	}
	c->at = round_up(c->at + size, c->page);
	if (c->at > c->img->size)
		c->at = c->img->size;
	return size ? b : (struct blob){ NULL, 0 };
}

/* Appends a field of @len bytes, which ends at a zero or at its end. */
static bool take_text(char *ret, size_t *at, const uint8_t *field, size_t len)
{
	for (size_t i = 0; i < len && field[i]; i++) {
		if (field[i] < ' ' || field[i] >= 0x7f)
			return false;
		ret[(*at)++] = (char)field[i];
	}
	ret[*at] = '\0';
	return true;
}

static bool bad(struct failure *f, const char *part, const char *why)
{
	return fail_with(f, FAILURE_BOOTLOADER_BAD_BOOT_IMAGE, part, why);
}

static bool is_page_size(uint32_t v)
{
	return v >= 2048 && v <= 65536 && (v & (v - 1)) == 0;
}

static bool parse_v2(const struct blob *img, struct bootimg *ret, struct failure *f)
{
	const uint8_t *h = img->data;
	struct cursor c = { .img = img };
	size_t len = 0;

	if (img->size < 1660)
		return bad(f, "boot", "shorter than its header");
	c.page = le32(h + 36);
	if (!is_page_size((uint32_t)c.page))
		return bad(f, "boot", "its page size is not one");
	next(&c, 1660);
	ret->kernel = next(&c, le32(h + 8));
	ret->ramdisk = next(&c, le32(h + 16));
	if (c.bad || !ret->kernel.data)
		return bad(f, "boot", "its sections do not fit into it");
	if (!take_text(ret->cmdline, &len, h + 64, 512) ||
	    !take_text(ret->cmdline, &len, h + 608, 1024))
		return bad(f, "boot", "its command line is not text");
	return true;
}

static bool parse_v3(const struct blob *img, struct bootimg *ret, struct failure *f)
{
	const uint8_t *h = img->data;
	struct cursor c = { .img = img, .page = PAGE_V3 };
	size_t len = 0;

	if (img->size < PAGE_V3)
		return bad(f, "boot", "shorter than its header");
	next(&c, PAGE_V3);
	ret->kernel = next(&c, le32(h + 8));
	ret->ramdisk = next(&c, le32(h + 12));
	if (c.bad)
		return bad(f, "boot", "its sections do not fit into it");
	if (!ret->kernel.data)
		return bad(f, "boot", "it has no kernel");
	if (!take_text(ret->cmdline, &len, h + 44, 1536))
		return bad(f, "boot", "its command line is not text");
	return true;
}

/* A boot.img that has a ramdisk and nothing else. */
static bool parse_init_boot(const struct blob *img, struct bootimg *ret,
			    struct failure *f)
{
	const uint8_t *h = img->data;
	struct cursor c = { .img = img, .page = PAGE_V3 };

	if (img->size < PAGE_V3 || memcmp(h, "ANDROID!", 8) != 0 ||
	    le32(h + VERSION_AT) != 4)
		return bad(f, "init_boot", "it is no boot image of version 4");
	next(&c, PAGE_V3);
	if (le32(h + 8) != 0)
		return bad(f, "init_boot", "it has a kernel");
	if (ret->ramdisk.data)
		return bad(f, "init_boot", "boot has a ramdisk, too");
	ret->ramdisk = next(&c, le32(h + 12));
	if (c.bad)
		return bad(f, "init_boot", "its sections do not fit into it");
	return true;
}

static bool parse_vendor(const struct blob *img, struct bootimg *ret, struct failure *f)
{
	const uint8_t *h = img->data;
	struct cursor c = { .img = img };
	uint32_t version, header;
	size_t len = 0;

	if (img->size < 2112 || memcmp(h, "VNDRBOOT", 8) != 0)
		return bad(f, "vendor_boot", "it is no vendor boot image");
	version = le32(h + 8);
	header = version == 3 ? 2112 : 2128;
	if (version != 3 && version != 4)
		return fail_with(f, FAILURE_BOOTLOADER_UNSUPPORTED, "vendor_boot",
				 "neither of version 3 nor 4");
	c.page = le32(h + 12);
	if (!is_page_size((uint32_t)c.page) || img->size < header)
		return bad(f, "vendor_boot", "its header contradicts itself");
	next(&c, header);
	ret->vendor_ramdisk = next(&c, le32(h + 24));
	next(&c, le32(h + 2100)); /* the device tree: there is none on this machine */
	if (version == 4) {
		next(&c, le32(h + 2112)); /* the table of ramdisks: all are used */
		ret->bootconfig = next(&c, le32(h + 2124));
	}
	if (c.bad)
		return bad(f, "vendor_boot", "its sections do not fit into it");
	if (!take_text(ret->vendor_cmdline, &len, h + 28, 2048))
		return bad(f, "vendor_boot", "its command line is not text");
	return true;
}

bool bootimg_parse(const struct blob *boot, const struct blob *init_boot,
		   const struct blob *vendor_boot, struct bootimg *ret,
		   struct failure *f)
{
	bool ok;

	memset(ret, 0, sizeof(*ret));
	if (boot->size < VERSION_AT + 4 || memcmp(boot->data, "ANDROID!", 8) != 0)
		return bad(f, "boot", "it is no Android boot image");
	ret->version = le32(boot->data + VERSION_AT);
	if (ret->version < 2 || ret->version > 4)
		return fail_with(f, FAILURE_BOOTLOADER_UNSUPPORTED, "boot",
				 "a boot image whose version is not 2, 3 or 4");
	ok = ret->version == 2 ? parse_v2(boot, ret, f) : parse_v3(boot, ret, f);
	if (ok && init_boot->data)
		ok = parse_init_boot(init_boot, ret, f);
	if (ok && vendor_boot->data)
		ok = parse_vendor(vendor_boot, ret, f);
	return ok;
}
