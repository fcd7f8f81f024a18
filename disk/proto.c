/*
 * The protobuf message of composite disks; see proto.h. Wire format:
 * https://protobuf.dev/programming-guides/encoding/
 */
#include "disk/proto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "disk/utf8.h"

enum wire { VARINT = 0, FIXED64 = 1, BYTES = 2, GROUP = 3, GROUP_END = 4, FIXED32 = 5 };

/* Fields of both messages. */
enum { PATH = 1, OFFSET = 2, CAPABILITY = 3, FILE_OFFSET = 4 };
enum { VERSION = 1, COMPONENT = 2, LENGTH = 3 };

#define MAX_GROUPS 16 /* one in another */

/* --- decoding -------------------------------------------------------------- */

struct input {
	const unsigned char *p, *end;
};

struct field {
	uint32_t number;
	enum wire wire;
	uint64_t value; /* VARINT */
	struct input bytes; /* BYTES */
};

static int get_varint(struct input *in, uint64_t *ret_value)
{
	uint64_t value = 0;

	for (unsigned shift = 0; in->p < in->end; shift += 7) {
		unsigned char c = *in->p++;

		/* The tenth byte has room for one bit. */
		if (shift == 63 && c > 1)
			return -EINVAL;
		value |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80)) {
			*ret_value = value;
			return 0;
		}
	}
	return -EINVAL;
}

static int skip(struct input *in, uint64_t len)
{
	if (len > (uint64_t)(in->end - in->p))
		return -EINVAL;
	in->p += len;
	return 0;
}

static int get_tag(struct input *in, struct field *f)
{
	uint64_t tag;

	if (get_varint(in, &tag) < 0 || tag > UINT32_MAX || tag >> 3 == 0)
		return -EINVAL;
	f->number = (uint32_t)(tag >> 3);
	f->wire = (enum wire)(tag & 7);
	return 0;
}

static int get_value(struct input *in, struct field *f)
{
	uint64_t len;

	switch (f->wire) {
	case VARINT:
		return get_varint(in, &f->value);
	case FIXED64:
		return skip(in, 8);
	case FIXED32:
		return skip(in, 4);
	case BYTES:
		if (get_varint(in, &len) < 0)
			return -EINVAL;
		f->bytes.p = in->p;
		if (skip(in, len) < 0)
			return -EINVAL;
		f->bytes.end = in->p;
		return 0;
	case GROUP:
	case GROUP_END:
		return 0;
	}
	return -EINVAL;
}

/* Skip to the end of the group that began with @f: only unknown fields are groups. */
static int skip_group(struct input *in, const struct field *f)
{
	uint32_t open[MAX_GROUPS];
	unsigned depth = 0;

	open[depth++] = f->number;
	while (depth > 0) {
		struct field inner;

		if (get_tag(in, &inner) < 0 || get_value(in, &inner) < 0)
			return -EINVAL;
		if (inner.wire == GROUP) {
			if (depth == MAX_GROUPS)
				return -EINVAL;
			open[depth++] = inner.number;
		} else if (inner.wire == GROUP_END && open[--depth] != inner.number) {
			return -EINVAL;
		}
	}
	return 0;
}

/* The next field; groups are passed over. 1, 0 at the end, or -EINVAL. */
static int next_field(struct input *in, struct field *f)
{
	while (in->p < in->end) {
		if (get_tag(in, f) < 0 || get_value(in, f) < 0 || f->wire == GROUP_END)
			return -EINVAL;
		if (f->wire != GROUP)
			return 1;
		if (skip_group(in, f) < 0)
			return -EINVAL;
	}
	return 0;
}

static int take_path(struct proto_component *c, const struct input *in, struct err *err)
{
	size_t len = (size_t)(in->end - in->p);
	char *path;

	if (memchr(in->p, '\0', len))
		return err_set(err, -EINVAL, "its path holds a NUL");
	if (!utf8_valid(in->p, len))
		return err_set(err, -EINVAL, "its path is not valid UTF-8");
	path = malloc(len + 1);
	if (!path)
		return err_sys(err, -ENOMEM, "its path");
	memcpy(path, in->p, len);
	path[len] = '\0';
	free(c->path);
	c->path = path;
	return 0;
}

static int take_component_field(struct proto_component *c, const struct field *f,
				struct err *err)
{
	if (f->number < PATH || f->number > FILE_OFFSET)
		return 0;
	if (f->wire != (f->number == PATH ? BYTES : VARINT))
		return err_set(err, -EINVAL, "field %u has the wrong type", f->number);
	switch (f->number) {
	case PATH:
		return take_path(c, &f->bytes, err);
	case OFFSET:
		c->offset = f->value;
		break;
	case CAPABILITY:
		if (f->value > 1)
			return err_set(err, -EINVAL,
				       "unknown read_write_capability %llu",
				       (unsigned long long)f->value);
		c->writable = f->value == 1;
		break;
	case FILE_OFFSET:
		c->file_offset = f->value;
		break;
	}
	return 0;
}

/* On failure @c may be half filled; its path is still the caller's to free. */
static int decode_component(struct input in, struct proto_component *c, struct err *err)
{
	struct field f;
	int r;

	while ((r = next_field(&in, &f)) > 0) {
		r = take_component_field(c, &f, err);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return err_set(err, r, "is not a valid protobuf message");
	if (!c->path)
		c->path = calloc(1, 1);
	return c->path ? 0 : err_sys(err, -ENOMEM, "its path");
}

static int add_component(struct proto_composite *c, struct input in, struct err *err)
{
	size_t room = 16;
	int r;

	if (c->n == PROTO_MAX_COMPONENTS)
		return err_set(err, -EINVAL, "more than %u components",
			       PROTO_MAX_COMPONENTS);
	/* Room for 16, doubled whenever it is full. */
	if (c->n == 0 || (c->n >= room && (c->n & (c->n - 1)) == 0)) {
		void *grown;

		if (c->n)
			room = c->n * 2;
		grown = reallocarray(c->components, room, sizeof(*c->components));
		if (!grown)
			return err_sys(err, -ENOMEM, "components");
		c->components = grown;
	}
	c->components[c->n] = (struct proto_component){ 0 };
	r = decode_component(in, &c->components[c->n++], err);
	return r < 0 ? err_prefix(err, r, "component %zu", c->n - 1) : 0;
}

static int take_composite_field(struct proto_composite *c, const struct field *f,
				struct err *err)
{
	if (f->number < VERSION || f->number > LENGTH)
		return 0;
	if (f->wire != (f->number == COMPONENT ? BYTES : VARINT))
		return err_set(err, -EINVAL, "field %u has the wrong type", f->number);
	if (f->number == COMPONENT)
		return add_component(c, f->bytes, err);
	if (f->number == VERSION)
		c->version = f->value;
	else
		c->length = f->value;
	return 0;
}

int proto_decode(const void *buf, size_t len, struct proto_composite *ret,
		 struct err *err)
{
	struct input in = { buf, (const unsigned char *)buf + len };
	struct proto_composite c = { 0 };
	struct field f;
	int r;

	while ((r = next_field(&in, &f)) > 0) {
		r = take_composite_field(&c, &f, err);
		if (r < 0) {
			proto_free(&c);
			return r;
		}
	}
	if (r < 0) {
		proto_free(&c);
		return err_set(err, r, "is not a valid protobuf message");
	}
	*ret = c;
	return 0;
}

void proto_free(struct proto_composite *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->components[i].path);
	free(c->components);
	*c = (struct proto_composite){ 0 };
}

/* --- encoding -------------------------------------------------------------- */

static void put_varint(FILE *out, uint64_t v)
{
	for (; v > 0x7f; v >>= 7)
		putc((int)(v & 0x7f) | 0x80, out);
	putc((int)v, out);
}

/* proto3 leaves out what is 0. */
static void put_number(FILE *out, unsigned number, uint64_t v)
{
	if (v == 0)
		return;
	put_varint(out, number << 3 | VARINT);
	put_varint(out, v);
}

static void put_bytes(FILE *out, unsigned number, const void *p, size_t len)
{
	put_varint(out, number << 3 | BYTES);
	put_varint(out, len);
	fwrite(p, 1, len, out);
}

static int put_component(FILE *out, const struct proto_component *c, struct err *err)
{
	size_t path_len = strlen(c->path), len;
	AUTO_FREE char *text = NULL;
	FILE *f;

	if (!utf8_valid(c->path, path_len))
		return err_set(
			err, -EINVAL,
			"path %s: is not valid UTF-8, so a composite disk cannot name it",
			c->path);
	f = open_memstream(&text, &len);
	if (!f)
		return err_sys(err, -ENOMEM, "composite disk");
	if (path_len > 0)
		put_bytes(f, PATH, c->path, path_len);
	put_number(f, OFFSET, c->offset);
	put_number(f, CAPABILITY, c->writable);
	put_number(f, FILE_OFFSET, c->file_offset);
	if (fclose(f) != 0)
		return err_sys(err, -ENOMEM, "composite disk");
	put_bytes(out, COMPONENT, text, len);
	return 0;
}

int proto_encode(const struct proto_composite *c, unsigned char **ret_buf,
		 size_t *ret_len, struct err *err)
{
	AUTO_FREE char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	int r = 0;

	if (!f)
		return err_sys(err, -ENOMEM, "composite disk");
	put_number(f, VERSION, c->version);
	for (size_t i = 0; r == 0 && i < c->n; i++)
		r = put_component(f, &c->components[i], err);
	put_number(f, LENGTH, c->length);
	if (fclose(f) != 0 && r == 0)
		r = err_sys(err, -ENOMEM, "composite disk");
	if (r < 0)
		return r;
	*ret_buf = (unsigned char *)TAKE_PTR(text);
	*ret_len = len;
	return 0;
}
