/*
 * What a guest's agent, and a vmm that was taken over, say to the manager. The first
 * byte is how long a piece is that comes at once; the rest is the agent's stream, and
 * vmm's greeting.
 */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "disk/utf8.h"
#include "service/virtmgr/payload.h"
#include "service/virtmgr/vsock_backend.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned told;

static void on_payload(void *userdata, enum payload_event event, int32_t code,
		       const char *message)
{
	(void)userdata;
	assert(event <= PAYLOAD_ERROR);
	assert(event >= PAYLOAD_FINISHED || code == 0);
	assert(event == PAYLOAD_ERROR || !*message);
	assert(utf8_valid(message, strlen(message)));
	for (; *message; message++)
		assert((unsigned char)*message >= 0x20 && *message != 0x7f);
	told++;
}

/* Lines that are sound, up to the first that is not, are all told. */
static unsigned count(const uint8_t *data, size_t size)
{
	const char *s = (const char *)data, *end;
	struct payload_line line;
	unsigned n = 0;

	while (n < PAYLOAD_MAX_LINES && (end = memchr(s, '\n', size))) {
		size_t len = (size_t)(end - s);

		if (len >= PAYLOAD_MAX_LINE || payload_parse(s, len, &line) < 0)
			break;
		n++;
		size -= len + 1;
		s = end + 1;
	}
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct vsock_ops ops = { on_payload };
	static sd_event *event;
	struct payload *p;
	size_t piece, n;
	int pair[2], r;

	if (size == 0)
		return 0;
	piece = 1 + *data++ * 8;
	size--;
	r = vsock_unix_greeting((const char *)data, size);
	assert(r < 0 ||
	       (r >= 5 && r <= 14 && (size_t)r <= size && data[r - 1] == '\n'));
	if (!event)
		assert(sd_event_new(&event) >= 0);
	assert(payload_new(event, &ops, NULL, &p, NULL) == 0);
	assert(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	payload_add(p, pair[0]);
	told = 0;
	for (size_t i = 0; i < size; i += n) {
		n = piece < size - i ? piece : size - i;
		if (send(pair[1], data + i, n, MSG_NOSIGNAL) < 0)
			break;
		while (sd_event_run(event, 0) > 0)
			;
	}
	assert(told == count(data, size));
	close(pair[1]);
	while (sd_event_run(event, 0) > 0)
		;
	payload_free(p);
	return 0;
}
