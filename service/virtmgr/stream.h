/*
 * A descriptor of a client's, whatever it is, that is read and written without ever
 * waiting: a socket, a pipe, a terminal, a file. O_NONBLOCK on it would be everybody's
 * who shares it, so pipes and terminals are opened once more, where that is allowed,
 * and sockets are told for each call. What cannot be written waits in a buffer that is
 * there only then.
 *
 * SIGPIPE must be ignored.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/err.h"

struct stream;

struct stream_ops {
	/* What was read. NULL: it is not read. */
	void (*input)(void *arg, struct stream *s, const uint8_t *buf, size_t len);
	/* All that waited has been written; may be NULL. */
	void (*drained)(void *arg, struct stream *s);
	/* It is of no use any more; the owner may free it here. Not called from within
	 * a call of the owner's, and never for a file, which only ends. */
	void (*gone)(void *arg, struct stream *s);
};

/*
 * Takes @fd even on failure. @max: bytes that may wait to be written; 0: it is not
 * written.
 */
int stream_new(sd_event *event, int fd, size_t max, const struct stream_ops *ops,
	       void *arg, struct stream **ret_stream, struct err *err);
void stream_free(struct stream *s); /* takes NULL; what waits is lost */

/* Write, now or when that is possible; what does not fit is lost. */
void stream_write(struct stream *s, const void *buf, size_t len);
/* Whether something waits to be written, or nothing can be any more. */
bool stream_is_full(const struct stream *s);
/* Read no more, or again. */
void stream_pause(struct stream *s, bool pause);

/* Give the owner what there is to read now, about @max bytes; false: there was none. */
bool stream_read(struct stream *s, size_t max);
/* Write what waits, as long as it goes on within @stall_ms, but no longer than @max_ms.
 */
void stream_flush(struct stream *s, int stall_ms, int max_ms);
