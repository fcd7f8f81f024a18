/* GUIDs; see guid.h. */
#include "disk/guid.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/bytes.h"

/* Where each byte of the text is stored. */
static const uint8_t place[16] = {
	3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15
};

/* Whether a hyphen stands before byte @i of the text. */
static bool hyphen_before(unsigned i)
{
	return i == 4 || i == 6 || i == 8 || i == 10;
}

int guid_parse(const char *text, struct guid *ret_guid)
{
	bool hyphens = strchr(text, '-') != NULL;
	struct guid g;

	for (unsigned i = 0; i < sizeof(g.b); i++) {
		int high, low;

		if (hyphens && hyphen_before(i) && *text++ != '-')
			return -EINVAL;
		high = hex_digit(text[0]);
		low = high < 0 ? -1 : hex_digit(text[1]);
		if (low < 0)
			return -EINVAL;
		g.b[place[i]] = (uint8_t)(high << 4 | low);
		text += 2;
	}
	if (*text)
		return -EINVAL;
	*ret_guid = g;
	return 0;
}

void guid_format(const struct guid *g, char text[GUID_TEXT_LEN + 1])
{
	for (unsigned i = 0; i < sizeof(g->b); i++) {
		if (hyphen_before(i))
			*text++ = '-';
		snprintf(text, 3, "%02x", g->b[place[i]]);
		text += 2;
	}
}

int guid_random(struct guid *ret_guid, struct err *err)
{
	struct guid g;
	ssize_t n;

	/* Up to 256 bytes come whole, or not at all. */
	do
		n = getrandom(g.b, sizeof(g.b), 0);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(g.b))
		return err_sys(err, n < 0 ? -errno : -EIO, "cannot make a random GUID");
	g.b[7] = (uint8_t)((g.b[7] & 0x0f) | 0x40); /* version 4 */
	g.b[8] = (uint8_t)((g.b[8] & 0x3f) | 0x80); /* variant 1 */
	*ret_guid = g;
	return 0;
}

bool guid_is_zero(const struct guid *g)
{
	static const struct guid zero;

	return memcmp(g, &zero, sizeof(zero)) == 0;
}
