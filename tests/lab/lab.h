/*
 * The lab's one channel, a virtio-serial port between its two ends: lab.c on the
 * host, agent.c in L1.
 *
 * A frame is a 32-bit little-endian word, length | type << 24, and the data:
 * J the job (NUL-terminated strings), I stdin (empty: its end), W rows, columns, and H
 * every HEARTBEAT_S seconds while the job runs; back come R agent waits for a job, S
 * job started, O stdout, E stderr, X status, and H for H. An emulated host may stop for
 * good: one that did was halted, with interrupts enabled and its timer's pending in the
 * APIC, as if QEMU had lost the wakeup. The next interrupt brings it back: that of an
 * H.
 *
 * The job's strings: seconds, 32 random bytes in hex, flags (t tmpfs on /tmp,
 * o out export, y terminal), kernel directory, working directory, number of
 * variables, the variables, the command's words.
 */
#pragma once

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

enum { CHUNK = 32768, HEARTBEAT_S = 2 };

static inline bool write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 &&
		    errno == EAGAIN) /* the caller's stdout may be non-blocking */
			poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, -1);
		else if (n < 0 && errno != EINTR)
			return false;
		else if (n > 0)
			p += n, len -= n;
	}
	return true;
}

static inline uint32_t frame_head(char type, size_t len)
{
	return (uint32_t)type << 24 | (uint32_t)len;
}
