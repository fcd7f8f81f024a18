/* Errors as D-Bus names; see bus_error.h. Any thread. */
#include "service/common/bus_error.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "disk/utf8.h"

static const struct {
	int code;
	const char *name;
} names[] = {
	{ -EBADMSG, BUS_ERROR_BAD_CONFIG },
	{ -EINVAL, BUS_ERROR_BAD_ARGUMENT },
	{ -EBADFD, BUS_ERROR_ILLEGAL_STATE },
	{ -EACCES, BUS_ERROR_PERMISSION_DENIED },
	{ -EPERM, BUS_ERROR_PERMISSION_DENIED },
	{ -ENOTSUP, BUS_ERROR_UNSUPPORTED },
	{ -ENOENT, BUS_ERROR_NOT_FOUND },
	{ -EDQUOT, BUS_ERROR_LIMIT_EXCEEDED },
	{ -EMFILE, BUS_ERROR_LIMIT_EXCEEDED },
	{ -ENFILE, BUS_ERROR_LIMIT_EXCEEDED },
	{ -ENOEXEC, BUS_ERROR_START_FAILED },
	{ -EIO, BUS_ERROR_INFRASTRUCTURE },
};

static bool is_character(uint32_t code)
{
	return (code & 0xfffe) != 0xfffe && (code < 0xfdd0 || code > 0xfdef);
}

void bus_text(char *text)
{
	size_t left = strlen(text), n;
	uint32_t code = 0;

	for (; left > 0; text += n, left -= n) {
		n = utf8_decode(text, left, &code);
		if (n && is_character(code))
			continue;
		n = n ?: 1;
		memset(text, '?', n);
	}
}

int bus_error_set(sd_bus_error *ret_error, int code, const struct err *err)
{
	const char *name = BUS_ERROR_INFRASTRUCTURE;
	/* It may have been cut within a character. */
	struct err copy = err ? *err : (struct err){ "" };

	bus_text(copy.msg);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].code == code) {
			name = names[i].name;
			break;
		}
	return sd_bus_error_set(ret_error, name,
				*copy.msg ? copy.msg : strerror(-code));
}

int bus_error_get(const sd_bus_error *error, int r, struct err *err)
{
	const char *text = NULL;

	/* A name without a sentence says more than nothing. */
	if (sd_bus_error_is_set(error))
		text = error->message && *error->message ? error->message : error->name;

	if (r == -ENOTCONN || r == -EPIPE || r == -ESHUTDOWN)
		r = -ECONNRESET;
	for (size_t i = 0;
	     sd_bus_error_is_set(error) && i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i].name, error->name) == 0)
			return err_set(err, names[i].code, "%s", text);
	/* The sender's library gives others' names to what never reached a handler. */
	if (r == -ECONNRESET || !text)
		return err_sys(err, r, "the service");
	return err_set(err, r, "%s", text);
}
