/*
 * Where a console's bytes go and come from: stdout, a file, a Unix socket, nothing;
 * stdin, a file or that socket as input. Shared by the UARTs, the debug console and the
 * virtio console.
 *
 * Output is queued by any thread and written by the main loop, so that a
 * reader that stops reading blocks neither the guest nor the VMM: a full queue
 * drops what comes last and counts it. Input is read by the main loop and
 * offered to the device, which takes what it has room for.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"

struct chardev;

enum chardev_type {
	CHARDEV_SINK,
	CHARDEV_STDOUT,
	CHARDEV_FILE, /* appended to, created when missing */
	CHARDEV_UNIX, /* connect; each line, without its end, is one datagram */
	CHARDEV_UNIX_STREAM, /* connect */
};

struct chardev_cfg {
	int type; /* enum chardev_type */
	char *path; /* of the last three */
	char *input; /* a file, FIFO, or /proc/self/fd/N to read; or NULL */
	bool use_stdin; /* input from stdin; not with @input */
	bool input_stream; /* input from the CHARDEV_UNIX_STREAM; neither of these */
	bool timestamp; /* put date and time before each line of output */

	/*
	 * Where stdin is a terminal: the control character after which an 'x' calls
	 * @leave (on the loop's thread), and which the guest gets when it is typed
	 * twice. 0: none.
	 */
	uint8_t escape;
	void (*leave)(void *arg);
	void *leave_arg;
};

/*
 * Offer @len bytes of input on the loop's thread; the device returns how many
 * it took. After a short count it must call chardev_resume() when it has room.
 */
typedef size_t chardev_input_fn(void *arg, const uint8_t *buf, size_t len);

/*
 * Opens everything at once. @name: of the console, for messages ("serial 1"). A stdin
 * that is closed or unreadable gives no input, without an error. SIGPIPE and
 * SIGXFSZ must be ignored: when the other end of the output goes, it is given up.
 */
int chardev_open(const struct chardev_cfg *cfg, const char *name, struct loop *loop,
		 struct chardev **ret_chr, struct err *err);
void chardev_close(struct chardev *chr); /* takes NULL */

/*
 * The device that gets the input; once, before the loop runs. A console that no
 * device is attached to is not read.
 */
void chardev_attach(struct chardev *chr, chardev_input_fn *fn, void *arg);

/* Hand all output to @fn as well, on the thread that writes; once, before any does. */
typedef void chardev_tee_fn(void *arg, const void *buf, size_t len);
void chardev_tee(struct chardev *chr, chardev_tee_fn *fn, void *arg);

/* Queue output. Any thread. */
void chardev_write(struct chardev *chr, const void *buf, size_t len);

/* The device can take input again. Any thread. */
void chardev_resume(struct chardev *chr);

/*
 * Write out what is queued, after the loop has ended. Waits for a reader as
 * long as it goes on reading, but at most @stall_ms without progress; false
 * when something was lost, now or before, to a reader that was there but stalled.
 */
bool chardev_drain(struct chardev *chr, int stall_ms);

const char *chardev_name(const struct chardev *chr);
