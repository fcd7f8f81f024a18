/*
 * What an agent does (guest/agent), without Linux: tells port CID of the host of its
 * steps, sends back what comes to port 1024, and obeys what comes to port 1025.
 * Words: tell=LETTERS, which it does at the start.
 *
 * Letters: s started, r ready, f finished with 7, e an error; o powers off, b resets,
 * p panics, t is a triple fault, c runs where there is no memory. On port 1025
 * each comes back when it is done. Nobody may have more under way than the host's
 * credit of 64 KiB.
 */
#include "apic.h"
#include "bare.h"
#include "vsock.h"

enum { ECHO = 1024, ORDERS = 1025, REPORTS = 1026 };
enum { NO_MEMORY = 0xf3fff000 }; /* the last page of the PCI window */

#define OP VSOCK_OP

static struct vsock_stream streams[16]; /* host's port 0: free */

/* --- the report: it waits until the host has answered ----------------------------- */

static struct {
	struct vsock_stream s;
	char text[512];
	uint32_t len;
	bool connected;
} report;

static void report_send(void)
{
	if (report.connected && report.len) {
		vsock_send(&report.s, OP(RW), 0, report.text, report.len);
		report.len = 0;
	}
}

static void tell(const char *line)
{
	size_t n = text_length(line);

	if (!report.s.host) {
		report.s = (struct vsock_stream){ REPORTS, (uint32_t)vsock_cid, 0 };
		vsock_send(&report.s, OP(REQUEST), 0, NULL, 0);
	}
	if (report.len + n > sizeof(report.text))
		return;
	memcpy(report.text + report.len, line, n);
	report.len += (uint32_t)n;
	report_send();
}

static void reported(uint16_t op)
{
	if (op == OP(RESPONSE))
		report.connected = true;
	if (op == OP(RST))
		test_fail("report", "the host does not listen");
	if (op == OP(SHUTDOWN))
		vsock_send(&report.s, OP(RST), 0, NULL, 0);
	report_send();
}

/* --- orders ---------------------------------------------------------------------- */

static void obey(char letter)
{
	switch (letter) {
	case 's':
		tell("started\n");
		break;
	case 'r':
		tell("ready\n");
		break;
	case 'f':
		tell("finished 7\n");
		break;
	case 'e':
		tell("error 2 it has changed\n");
		break;
	case 'o':
		power_acpi_off();
		break;
	case 'b':
		port_out8(0xcf9, 6);
		break;
	case 'p':
		power_pvpanic(1);
		break;
	case 't':
		power_triple_fault();
	case 'c':
		((void (*)(void))NO_MEMORY)();
		break;
	default:
		print("no such order: %c\n", letter);
	}
}

/* --- connections ------------------------------------------------------------------ */

/* Of this host's port; with 0, one that is free. */
static struct vsock_stream *find(uint32_t mine, uint32_t host)
{
	for (unsigned i = 0; i < ARRAY_SIZE(streams); i++)
		if (streams[i].host == host && (!host || streams[i].mine == mine))
			return &streams[i];
	return NULL;
}

static void take(struct vsock_stream *s, const struct virtio_vsock_hdr *h)
{
	const char *data = (const char *)(h + 1);

	s->taken += h->len;
	if (s->mine == ORDERS)
		for (uint32_t i = 0; i < h->len; i++)
			obey(data[i]);
	vsock_send(s, OP(RW), 0, data, h->len);
}

static void handle(const struct virtio_vsock_hdr *h)
{
	struct vsock_stream *s = find(h->dst_port, h->src_port);
	struct vsock_stream stranger = { h->dst_port, h->src_port, 0 };

	if (report.s.host && h->src_port == report.s.host && h->dst_port == REPORTS) {
		reported(h->op);
		return;
	}
	if (h->op == OP(REQUEST) && !s &&
	    (h->dst_port == ECHO || h->dst_port == ORDERS)) {
		s = find(0, 0);
		if (s) {
			*s = stranger;
			vsock_send(s, OP(RESPONSE), 0, NULL, 0);
			return;
		}
	}
	if (s && h->op == OP(RW)) {
		take(s, h);
		return;
	}
	if (s && h->op == OP(CREDIT_REQUEST)) {
		vsock_send(s, OP(CREDIT_UPDATE), 0, NULL, 0);
		return;
	}
	/* One that only stops listening may have sent more. */
	if (s && (h->op == OP(CREDIT_UPDATE) ||
		  (h->op == OP(SHUTDOWN) && !(h->flags & VIRTIO_VSOCK_SHUTDOWN_SEND))))
		return;
	/* SHUTDOWN, RST, and what belongs to no connection. */
	if (h->op != OP(RST))
		vsock_send(s ? s : &stranger, OP(RST), 0, NULL, 0);
	if (s)
		*s = (struct vsock_stream){ 0 };
}

void guest_main(void)
{
	char letters[16];

	apic_init();
	if (!vsock_open(VIRTIO_MSIX))
		return;
	print("hello from cid %lu\n", vsock_cid);
	arg_text("tell", letters, sizeof(letters));
	for (const char *p = letters; *p; p++)
		obey(*p);
	for (;;) {
		int slot = vsock_packet(true);

		if (slot >= 0) {
			handle(vsock_header(slot));
			vsock_give(slot);
		}
	}
}
