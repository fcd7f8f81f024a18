/*
 * A vmm that its guest has taken over, at the manager's end of its vsock. Input: steps,
 * a byte each (bits 0 to 1: what, bits 2 to 7: how much), and what it needs:
 *   0  a message of so many bytes
 *   1  a request, for the agent's port or, with bit 2, another (4 bytes); it reads
 * answers 2  a client connects 3  so many bytes on the stream that came last; without
 * any, it closes it Whatever happens: each client is answered once, and the agent's
 * port is the only one.
 */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/connector.h"
#include "service/common/vm_config.h"
#include "service/virtmgr/vsock.h"

#define CID 3000u

struct input {
	const uint8_t *p;
	size_t left;
};

static int vmm, last;
static unsigned called, answered;

/* In place of launch.c: vmm is here. */
struct launch {
	char unused;
};

int launch_fd(struct launch *l, int fd)
{
	(void)l;
	vmm = fd;
	return 3;
}

int launch_arg(struct launch *l, const char *fmt, ...)
{
	(void)l;
	(void)fmt;
	return 0;
}

static void on_payload(void *userdata, enum payload_event event, int32_t code,
		       const char *message)
{
	(void)userdata;
	(void)event;
	(void)code;
	(void)message;
}

static void on_connected(void *arg, int fd, const struct err *err)
{
	(void)arg;
	assert(fd >= 0 || (err && err->msg[0]));
	answered++;
	cleanup_close(&fd);
}

static size_t take(struct input *in, void *buf, size_t len)
{
	size_t n = len < in->left ? len : in->left;

	memset(buf, 0, len);
	memcpy(buf, in->p, n);
	in->p += n;
	in->left -= n;
	return n;
}

/* What the manager says: streams for clients, and for the agent if it was asked for. */
static void hear(bool agent)
{
	unsigned streams = 0;
	uint64_t id;
	int sock;

	while (connector_hear(vmm, &id, &sock) > 0) {
		if (sock < 0)
			continue;
		streams += id != 2000;
		cleanup_close(&last);
		last = sock;
	}
	assert(streams <= agent);
}

static void step(struct input *in, struct vsock *v, sd_event *event)
{
	static uint64_t id = CONNECTOR_FIRST_ID;
	uint8_t buf[64], what;
	uint32_t port = 0;
	struct err err;
	size_t n;

	take(in, &what, 1);
	n = what >> 2;
	switch (what & 3) {
	case 0:
		n = take(in, buf, n);
		(void)!send(vmm, buf, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		port = n == 16 ? le32_get(buf + 8) : 0;
		break;
	case 1:
		port = CID;
		if (n & 1)
			take(in, &port, sizeof(port));
		(void)connector_ask(vmm, ++id, port);
		break;
	case 2:
		called += vsock_connect(v, 2000, on_connected, NULL, &err) == 0;
		break;
	case 3:
		n = take(in, buf, n);
		if (n == 0)
			cleanup_close(&last);
		last = n ? last : -1;
		if (last >= 0)
			(void)!send(last, buf, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	}
	while (sd_event_run(event, 0) > 0)
		;
	hear(port == CID);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct vsock_ops ops = { on_payload };
	struct input in = { data, size };
	static sd_event *event;
	struct launch l;
	struct vsock *v;

	if (!event)
		assert(sd_event_new(&event) >= 0);
	called = answered = 0;
	last = -1;
	assert(vsock_new(event, VSOCK_UNIX, CID, &ops, NULL, &v, NULL) == 0);
	assert(vsock_launch(v, &l, NULL) == 0);
	while (in.left > 0)
		step(&in, v, event);
	vsock_free(v);
	assert(answered == called);
	cleanup_close(&vmm);
	cleanup_close(&last);
	return 0;
}
