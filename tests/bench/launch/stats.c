/* KVM's own counters of a VM's vCPUs; see measure.h. */
#include "tests/bench/launch/measure.h"

#include <linux/kvm.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"

static const struct {
	const char *name;
	enum value value;
} counters[] = {
	{ "exits", V_EXITS },
	{ "insn_emulation", V_EMULATED },
	{ "pf_taken", V_GUEST_FAULTS },
};

/* Documentation/virt/kvm/api.rst, KVM_GET_STATS_FD. */
static void add_stats(int fd, struct sample *s)
{
	union {
		struct kvm_stats_desc desc;
		char space[sizeof(struct kvm_stats_desc) + 256];
	} d = { 0 };
	struct kvm_stats_header h;
	uint64_t value;

	if (pread(fd, &h, sizeof(h), 0) != sizeof(h) || h.name_size > 255)
		return;
	for (uint32_t i = 0; i < h.num_desc; i++) {
		ssize_t size = (ssize_t)(sizeof(d.desc) + h.name_size);

		if (pread(fd, &d, (size_t)size, h.desc_offset + i * size) != size)
			return;
		for (size_t j = 0; j < ARRAY_SIZE(counters); j++) {
			double *v = &s->v[counters[j].value];

			if (strcmp(d.desc.name, counters[j].name) != 0 ||
			    pread(fd, &value, sizeof(value),
				  h.data_offset + d.desc.offset) != sizeof(value))
				continue;
			*v = (isnan(*v) ? 0 : *v) + (double)value;
		}
	}
}

/* One fd for each vCPU; it keeps the counters of a VM that has gone. */
void stats_read(int socket, struct sample *s)
{
	static bool noted;
	bool any = false;

	for (;;) {
		union {
			struct cmsghdr head;
			char space[CMSG_SPACE(sizeof(int))];
		} control;
		char byte;
		struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
		struct msghdr msg = {
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = &control,
			.msg_controllen = sizeof(control),
		};
		int fd;

		if (recvmsg(socket, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0 ||
		    msg.msg_controllen < sizeof(struct cmsghdr))
			break;
		memcpy(&fd, CMSG_DATA(&control.head), sizeof(fd));
		any = true;
		add_stats(fd, s);
		close(fd);
	}
	/* No guest runs without one. */
	if (s->v[V_GUEST_FAULTS] == 0)
		s->v[V_GUEST_FAULTS] = NAN;
	if (isnan(s->v[V_GUEST_FAULTS]) && !noted) {
		fprintf(stderr,
			"note: %s: n/a: this machine's KVM does not count them\n",
			any ? "guest faults" : "exits, emulated, guest faults");
		noted = true;
	}
}
