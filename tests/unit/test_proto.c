/* The protobuf message of composite disks, with protoc as the judge where it is there.
 */
#include "disk/proto.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/cleanup.h"

/* Bytes and their number; the text may hold NULs. */
#define WIRE(text) (text), sizeof(text) - 1

static void message_is_decoded(void **state)
{
	static const char wire[] = "\x08\x02" /* version */
				   "\x12\x0e\x0a\x05/a/b"
				   "c" /* path */
				   "\x10\x80\x20\x18\x01\x20"
				   "\x07"
				   "\x12\x03\x0a\x01x"
				   "\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
	struct proto_composite c;
	struct err err = { "" };

	(void)state;
	if (proto_decode(WIRE(wire), &c, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(c.version, 2);
	assert_int_equal(c.length, UINT64_MAX);
	assert_int_equal(c.n, 2);
	assert_string_equal(c.components[0].path, "/a/bc");
	assert_int_equal(c.components[0].offset, 0x1000);
	assert_int_equal(c.components[0].file_offset, 7);
	assert_true(c.components[0].writable);
	assert_string_equal(c.components[1].path, "x");
	assert_int_equal(c.components[1].offset, 0);
	assert_int_equal(c.components[1].file_offset, 0);
	assert_false(c.components[1].writable);
	proto_free(&c);
}

static void what_is_allowed_is_accepted(void **state)
{
	static const struct {
		const char *wire;
		size_t len;
		uint64_t version, length;
		size_t n;
		const char *path;
	} cases[] = {
		{ WIRE(""), 0, 0, 0, NULL },
		/* Unknown fields of every type. */
		{ WIRE("\x20\x05\x29"
		       "12345678\x32\x03xyz\x3d"
		       "1234\x08\x01"),
		  1, 0, 0, NULL },
		/* A group, and groups in it. */
		{ WIRE("\x23\x08\x09\x2b\x32\x01q\x2c\x24\x08\x01"), 1, 0, 0, NULL },
		/* The last one of several; numbers longer than they need be. */
		{ WIRE("\x08\x02\x08\x81\x00\x18\x05\x18\x00"), 1, 0, 0, NULL },
		{ WIRE("\x12\x06\x0a\x01"
		       "a\x0a\x01"
		       "b"),
		  0, 0, 1, "b" },
		/* An empty component, and unknown fields in one. */
		{ WIRE("\x12\x00"), 0, 0, 1, "" },
		{ WIRE("\x12\x07\x28\x09\x0a\x03\xe2\x82\xac"), 0, 0, 1,
		  "\xe2\x82\xac" },
		{ WIRE("\x12\x06\x0a\x04\xf0\x9f\x92\xbe"), 0, 0, 1,
		  "\xf0\x9f\x92\xbe" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct proto_composite c;
		struct err err = { "" };

		if (proto_decode(cases[i].wire, cases[i].len, &c, &err) < 0)
			fail_msg("case %zu: %s", i, err.msg);
		assert_int_equal(c.version, cases[i].version);
		assert_int_equal(c.length, cases[i].length);
		assert_int_equal(c.n, cases[i].n);
		if (cases[i].path)
			assert_string_equal(c.components[0].path, cases[i].path);
		proto_free(&c);
	}
}

static void what_is_not_is_refused(void **state)
{
	static const struct {
		const char *wire;
		size_t len;
		const char *why;
	} cases[] = {
		{ WIRE("\x08"), "not a valid" }, /* cut */
		{ WIRE("\x12\x05\x0a"), "not a valid" },
		{ WIRE("\x12\x02\x0a\x05"), "component 0: is not a valid" },
		{ WIRE("\x29"
		       "1234567"),
		  "not a valid" },
		{ WIRE("\x3d"
		       "123"),
		  "not a valid" },
		{ WIRE("\x32\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "not a valid" },
		{ WIRE("\x32"), "not a valid" },
		{ WIRE("\x00\x01"), "not a valid" }, /* field 0 */
		{ WIRE("\x0e\x01"), "not a valid" }, /* wire types 6, 7 */
		{ WIRE("\x0f\x01"), "not a valid" },
		{ WIRE("\x80\x80\x80\x80\x10\x01"), "not a valid" }, /* field 2^29 */
		{ WIRE("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), "not a valid" },
		{ WIRE("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"),
		  "not a valid" },
		{ WIRE("\x24"), "not a valid" }, /* groups that do not match */
		{ WIRE("\x23"), "not a valid" },
		{ WIRE("\x23\x2c"), "not a valid" },
		{ WIRE("\x23\x2b\x24\x2c"), "not a valid" },
		{ WIRE("\x23\x23\x23\x23\x23\x23\x23\x23\x23\x23\x23\x23\x23\x23\x23\x23"
		       "\x23\x24\x24\x24\x24\x24\x24\x24\x24\x24\x24\x24\x24\x24\x24\x24"
		       "\x24\x24"),
		  "not a valid" },
		{ WIRE("\x0a\x01x"), "wrong type" }, /* known fields of another type */
		{ WIRE("\x10\x01"), "wrong type" },
		{ WIRE("\x1d"
		       "1234"),
		  "wrong type" },
		{ WIRE("\x12\x02\x08\x01"), "component 0: field 1" },
		{ WIRE("\x12\x03\x12\x01x"), "wrong type" },
		{ WIRE("\x12\x03\x0a\x01\x00"), "holds a NUL" },
		{ WIRE("\x12\x05\x0a\x03"
		       "a\x00"
		       "b"),
		  "holds a NUL" },
		{ WIRE("\x12\x00\x12\x03\x0a\x01\xff"),
		  "component 1: its path is not" },
		{ WIRE("\x12\x04\x0a\x02\xc0\x80"), "UTF-8" }, /* overlong */
		{ WIRE("\x12\x05\x0a\x03\xe0\x80\x80"), "UTF-8" },
		{ WIRE("\x12\x06\x0a\x04\xf0\x80\x80\x80"), "UTF-8" },
		{ WIRE("\x12\x05\x0a\x03\xed\xa0\x80"), "UTF-8" }, /* a surrogate */
		{ WIRE("\x12\x06\x0a\x04\xf4\x90\x80\x80"), "UTF-8" }, /* U+110000 */
		{ WIRE("\x12\x04\x0a\x02\xe2\x82"), "UTF-8" }, /* cut */
		{ WIRE("\x12\x04\x0a\x02\xe2x"), "UTF-8" },
		{ WIRE("\x12\x03\x0a\x01\x80"), "UTF-8" },
		{ WIRE("\x12\x02\x18\x02"), "unknown read_write_capability 2" },
		{ WIRE("\x12\x0b\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
		  "unknown read_write_capability 18446744073709551615" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct proto_composite c = { .n = 77 };
		struct err err = { "" };

		assert_int_equal(proto_decode(cases[i].wire, cases[i].len, &c, &err),
				 -EINVAL);
		assert_int_equal(c.n, 77);
		if (!strstr(err.msg, cases[i].why))
			fail_msg("case %zu: %s", i, err.msg);
	}
}

static void components_are_limited(void **state)
{
	static char wire[2 * (PROTO_MAX_COMPONENTS + 1)];
	struct proto_composite c;
	struct err err = { "" };

	(void)state;
	for (size_t i = 0; i < sizeof(wire); i += 2)
		wire[i] = 0x12;
	assert_int_equal(proto_decode(wire, sizeof(wire) - 2, &c, &err), 0);
	assert_int_equal(c.n, PROTO_MAX_COMPONENTS);
	proto_free(&c);
	assert_int_equal(proto_decode(wire, sizeof(wire), &c, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "more than 1024"));
}

static char paths[4][32] = { "/data/\xc3\xa4.img", "", "relative", "/proc/self/fd/9" };

static struct proto_component some_components[] = {
	{ .path = paths[0] },
	{ .path = paths[1], .offset = 127, .file_offset = 128, .writable = true },
	{ .path = paths[2], .offset = 1ull << 63 },
	{ .path = paths[3], .offset = UINT64_MAX, .file_offset = UINT64_MAX },
};

static struct proto_composite sample(void)
{
	return (struct proto_composite){ .version = 2,
					 .length = 0x123456789,
					 .n = ARRAY_SIZE(some_components),
					 .components = some_components };
}

static void what_is_encoded_is_decoded(void **state)
{
	struct proto_composite in = sample(), out;
	AUTO_FREE unsigned char *wire = NULL;
	struct err err = { "" };
	size_t len;

	(void)state;
	assert_int_equal(proto_encode(&in, &wire, &len, &err), 0);
	if (proto_decode(wire, len, &out, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(out.version, in.version);
	assert_int_equal(out.length, in.length);
	assert_int_equal(out.n, in.n);
	for (size_t i = 0; i < in.n; i++) {
		const struct proto_component *a = &in.components[i];
		const struct proto_component *b = &out.components[i];

		assert_string_equal(a->path, b->path);
		assert_int_equal(a->offset, b->offset);
		assert_int_equal(a->file_offset, b->file_offset);
		assert_int_equal(a->writable, b->writable);
	}
	proto_free(&out);
}

static void paths_that_are_not_utf8_are_not_encoded(void **state)
{
	char path[] = "caf\xe9.img";
	struct proto_component part = { .path = path };
	struct proto_composite c = { .n = 1, .components = &part };
	unsigned char *wire = NULL;
	struct err err = { "" };
	size_t len;

	(void)state;
	assert_int_equal(proto_encode(&c, &wire, &len, &err), -EINVAL);
	assert_null(wire);
	assert_non_null(strstr(err.msg, "not valid UTF-8"));
}

/* --- protoc ---------------------------------------------------------------- */

static const char schema[] =
	"syntax = \"proto3\";\n"
	"enum ReadWriteCapability { READ_ONLY = 0; READ_WRITE = 1; }\n"
	"message ComponentDisk { string file_path = 1; uint64 offset = 2;\n"
	"  ReadWriteCapability read_write_capability = 3; uint64 file_offset = 4; }\n"
	"message CompositeDisk { uint64 version = 1;\n"
	"  repeated ComponentDisk component_disks = 2; uint64 length = 3; }\n";

static char dir[] = "/tmp/test_proto.XXXXXX";

static void write_file(const char *name, const void *p, size_t len)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(p, 1, len, f), len);
	fclose(f);
}

/* What protoc makes of the file "in"; @how: encode or decode. */
static size_t protoc(const char *how, char *buf, size_t room)
{
	char command[256];
	FILE *f;
	size_t n;

	snprintf(command, sizeof(command),
		 "cd %s && protoc --%s=CompositeDisk c.proto <in 2>/dev/null", dir,
		 how);
	f = popen(command, "r");
	assert_non_null(f);
	n = fread(buf, 1, room - 1, f);
	buf[n] = '\0';
	assert_int_equal(pclose(f), 0);
	return n;
}

static void protoc_agrees(void **state)
{
	static const char text[] =
		"version: 1 component_disks { file_path: \"a\\303\\266b\" offset: 20480\n"
		"read_write_capability: READ_WRITE file_offset: 18446744073709551615 }\n"
		"component_disks { } length: 4294967296\n";
	struct proto_composite in = sample(), out;
	AUTO_FREE unsigned char *wire = NULL;
	char buf[4096], again[4096];
	struct err err = { "" };
	size_t len;

	(void)state;
	if (system("command -v protoc >/dev/null") != 0) {
		print_message("protoc (package protobuf-compiler) is not installed\n");
		skip();
	}
	assert_non_null(mkdtemp(dir));
	write_file("c.proto", schema, sizeof(schema) - 1);

	/* Theirs, read by us. */
	write_file("in", text, sizeof(text) - 1);
	len = protoc("encode", buf, sizeof(buf));
	if (proto_decode(buf, len, &out, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(out.version, 1);
	assert_int_equal(out.length, 1ull << 32);
	assert_int_equal(out.n, 2);
	assert_string_equal(out.components[0].path, "a\xc3\xb6"
						    "b");
	assert_int_equal(out.components[0].offset, 20480);
	assert_int_equal(out.components[0].file_offset, UINT64_MAX);
	assert_true(out.components[0].writable);
	assert_string_equal(out.components[1].path, "");
	proto_free(&out);

	/* Ours, read by them and written again: the same bytes. */
	assert_int_equal(proto_encode(&in, &wire, &len, &err), 0);
	write_file("in", wire, len);
	protoc("decode", buf, sizeof(buf));
	assert_non_null(strstr(buf, "offset: 9223372036854775808"));
	write_file("in", buf, strlen(buf));
	assert_int_equal(protoc("encode", again, sizeof(again)), len);
	assert_memory_equal(again, wire, len);
	snprintf(buf, sizeof(buf), "rm -r %s", dir);
	assert_int_equal(system(buf), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(message_is_decoded),
		cmocka_unit_test(what_is_allowed_is_accepted),
		cmocka_unit_test(what_is_not_is_refused),
		cmocka_unit_test(components_are_limited),
		cmocka_unit_test(what_is_encoded_is_decoded),
		cmocka_unit_test(paths_that_are_not_utf8_are_not_encoded),
		cmocka_unit_test(protoc_agrees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
