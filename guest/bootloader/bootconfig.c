/* Bootconfig; see bootconfig.h. */
#include "bootconfig.h"

#include <string.h>

#include "bytes.h"

void bootconfig_add(struct text *t, const char *key, const char *value)
{
	for (const char *p = value; *p; p++)
		if (*p < ' ' || *p >= 0x7f || *p == '"')
			t->cut = true;
	text_add(t, key);
	text_add(t, "=\"");
	text_add(t, value);
	text_add(t, "\"\n");
}

uint64_t bootconfig_finish(uint8_t *p, uint64_t len, uint64_t before)
{
	uint32_t sum = 0;

	/* The padding counts: the kernel takes size bytes before the trailer. */
	while ((before + len) % 4)
		p[len++] = 0;
	for (uint64_t i = 0; i < len; i++)
		sum += p[i];
	put_le32(p + len, (uint32_t)len);
	put_le32(p + len + 4, sum);
	memcpy(p + len + 8, "#BOOTCONFIG\n", 12);
	return len + BOOTCONFIG_TRAILER_SIZE;
}
