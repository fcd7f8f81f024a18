/*
 * What the guest's agent tells, one line for each event:
 *
 *	started
 *	ready
 *	finished CODE
 *	error CODE MESSAGE
 *
 * CODE is a decimal number of 32 bits with a sign, MESSAGE UTF-8 without control
 * characters. All of it is the guest's: a line that is something else, or too long,
 *ends its connection, and so do more lines than an agent has a use for.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/err.h"
#include "service/virtmgr/vsock.h"

#define PAYLOAD_MAX_LINE 1024 /* bytes, with its end */
#define PAYLOAD_MAX_STREAMS 4 /* at a time */
#define PAYLOAD_MAX_LINES 256 /* of one VM: each wakes its clients */

struct payload_line {
	enum payload_event event;
	int32_t code; /* 0 for those without */
	char message[PAYLOAD_MAX_LINE];
};

/* Read a line of @len bytes, without its end: 0 or -EBADMSG. */
int payload_parse(const char *line, size_t len, struct payload_line *ret);

struct payload;

/* Lines go to @ops->payload, which may free the payload. */
int payload_new(sd_event *event, const struct vsock_ops *ops, void *userdata,
		struct payload **ret_payload, struct err *err);
void payload_free(struct payload *p); /* takes NULL */

/* Whether there is room for another stream. */
bool payload_takes(const struct payload *p);
/* Read the agent's lines from a stream socket, which is taken. */
void payload_add(struct payload *p, int fd);
