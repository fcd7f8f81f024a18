/* The frames of a shell in a guest; see shell_proto.h. */
#include "base/shell_proto.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

enum { SIZE_LEN = 4, START_LEN = 1 + SIZE_LEN };

uint8_t *shell_room(struct shell_reader *r, size_t *ret_room)
{
	memmove(r->buf, r->buf + r->off, r->len - r->off);
	r->len -= r->off;
	r->off = 0;
	*ret_room = sizeof(r->buf) - r->len;
	return r->buf + r->len;
}

void shell_add(struct shell_reader *r, size_t len)
{
	r->len += len;
}

bool shell_next(struct shell_reader *r, struct shell_frame *ret_frame)
{
	const uint8_t *p = r->buf + r->off;
	size_t left = r->len - r->off, len;

	if (left < SHELL_HEADER)
		return false;
	len = le16_get(p + 1);
	if (left - SHELL_HEADER < len)
		return false;
	*ret_frame = (struct shell_frame){ p[0], (uint16_t)len, p + SHELL_HEADER };
	r->off += SHELL_HEADER + len;
	return true;
}

void shell_header(uint8_t *buf, enum shell_type type, size_t len)
{
	buf[0] = (uint8_t)type;
	le16_put(buf + 1, (uint16_t)len);
}

static void put_size(uint8_t *p, const struct shell_size *size)
{
	le16_put(p, size->rows);
	le16_put(p + 2, size->columns);
}

static struct shell_size get_size(const uint8_t *p)
{
	return (struct shell_size){ le16_get(p), le16_get(p + 2) };
}

static int put_string(uint8_t *buf, size_t *at, const char *text)
{
	size_t len = strlen(text) + 1;

	if (len > SHELL_FRAME_MAX - *at)
		return -E2BIG;
	memcpy(buf + *at, text, len);
	*at += len;
	return 0;
}

int shell_put_start(uint8_t *buf, const struct shell_start *start)
{
	size_t at = SHELL_HEADER + START_LEN;
	int r;

	buf[SHELL_HEADER] = start->terminal;
	put_size(buf + SHELL_HEADER + 1, &start->size);
	r = put_string(buf, &at, start->term);
	for (size_t i = 0; r == 0 && start->args[i]; i++)
		r = put_string(buf, &at, start->args[i]);
	shell_header(buf, SHELL_START, at - SHELL_HEADER);
	return r < 0 ? r : (int)at;
}

int shell_put_size(uint8_t *buf, const struct shell_size *size)
{
	shell_header(buf, SHELL_SIZE, SIZE_LEN);
	put_size(buf + SHELL_HEADER, size);
	return SHELL_HEADER + SIZE_LEN;
}

int shell_get_start(const struct shell_frame *f, struct shell_start *ret_start)
{
	const char *at, *end;
	size_t n = 0;

	/* With the NUL of the last string, each of them has one. */
	if (f->len <= START_LEN || f->data[0] > 1 || f->data[f->len - 1])
		return -EBADMSG;
	ret_start->terminal = f->data[0];
	ret_start->size = get_size(f->data + 1);
	ret_start->term = (const char *)f->data + START_LEN;
	end = (const char *)f->data + f->len;
	at = ret_start->term + strlen(ret_start->term) + 1;
	for (; at < end; at += strlen(at) + 1) {
		if (n == SHELL_ARGS_MAX)
			return -EBADMSG;
		ret_start->args[n++] = at;
	}
	ret_start->args[n] = NULL;
	return 0;
}

int shell_get_size(const struct shell_frame *f, struct shell_size *ret_size)
{
	if (f->len != SIZE_LEN)
		return -EBADMSG;
	*ret_size = get_size(f->data);
	return 0;
}
