/*
 * What carries out the requests of raw images, for one worker thread: an
 * io_uring with registered files and as few allowed operations as are used (it
 * walks past seccomp, so it is restricted itself), or plain system calls.
 *
 * engine_new() and engine_file() in the VM's own process, by any thread;
 * everything from engine_start() on by the worker's, which a modern ring insists
 * on. engine_start() comes before that thread's seccomp filter.
 *
 * Requests are batched: engine_submit() only takes them. The worker calls
 * engine_poll() when it has submitted all that it found, and whenever engine_fd()
 * was signalled; done() is called in there, in engine_cancel() and
 * in engine_drain(), nowhere else, and may submit more.
 */
#pragma once

#include "base/err.h"
#include "disk/disk.h"

enum engine_kind { ENGINE_AUTO, ENGINE_URING, ENGINE_SYNC };

struct engine;

/*
 * ENGINE_AUTO falls back to plain system calls where io_uring is refused;
 * ENGINE_URING fails then.
 */
int engine_new(enum engine_kind kind, struct engine **ret_engine, struct err *err);
void engine_free(struct engine *e); /* takes NULL; nothing may be under way */

/* The kind that it is: "io_uring" or "sync". */
const char *engine_name(const struct engine *e);

/*
 * Register a file that stays open as long as the engine lives. Its number, or
 * -errno.
 */
int engine_file(struct engine *e, int fd, struct err *err);

/* No more files; the first call of the worker's own thread. */
int engine_start(struct engine *e, struct err *err);

/*
 * The last call of that thread, with nothing under way: gives the files up, which the
 * kernel would otherwise keep open, and locked, for a while after the process has gone.
 */
void engine_stop(struct engine *e);

/*
 * An eventfd that is signalled each time when there is something new for
 * engine_poll(), which does not read it: watch it edge-triggered (EPOLLET), which saves
 * a system call, or read it first.
 */
int engine_fd(const struct engine *e);

/*
 * Carry out @req on file @file, whose offsets are @req's. Short transfers are
 * continued; the end of the file in the middle of a read is -EIO. What the file cannot
 * punch or zero is zeroed by writing; a discard that it cannot do is done.
 */
void engine_submit(struct engine *e, unsigned file, struct disk_req *req);

/*
 * Hand over what was submitted, and finish what is complete, without waiting for
 * the io_uring; the synchronous kind carries out a few requests. Returns how many
 * were finished.
 */
unsigned engine_poll(struct engine *e);

/*
 * What has not begun ends with -ECANCELED, and so does what would need one more system
 * call; for good. On the engine's thread. done() is called in here, too.
 */
void engine_cancel(struct engine *e);

/* Wait until everything that was submitted is done. */
void engine_drain(struct engine *e);
