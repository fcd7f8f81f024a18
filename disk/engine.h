/*
 * What carries out the requests of raw images, for one worker thread: an
 * io_uring with registered files and as few allowed operations as are used (it
 * walks past seccomp, so it is restricted itself), or plain system calls.
 *
 * engine_new() in the VM's own process, before it is jailed; engine_file() for each
 * file before engine_start(); everything from engine_start() on by the worker's
 * thread. Requests are batched: they reach the kernel at engine_flush(), which the
 * worker calls after it has submitted all that it found, and when completions
 * have been handled.
 */
#pragma once

#include "base/err.h"
#include "base/loop.h"
#include "disk/disk.h"

enum engine_kind { ENGINE_AUTO, ENGINE_URING, ENGINE_SYNC };

struct engine;

/*
 * @loop: of the worker, which gets a watch for completions. ENGINE_AUTO falls
 * back to plain system calls where io_uring is refused; ENGINE_URING fails then.
 */
int engine_new(enum engine_kind kind, struct loop *loop, struct engine **ret_engine,
	       struct err *err);
void engine_free(struct engine *e); /* takes NULL; nothing may be under way */

/* The kind that it is: "io_uring" or "sync". */
const char *engine_name(const struct engine *e);

/* Register a file that stays open as long as the engine lives. Its number, or -errno. */
int engine_file(struct engine *e, int fd, struct err *err);

/* No more files; first call of the worker's own thread. */
int engine_start(struct engine *e, struct err *err);

/*
 * Carry out @req on file @file, whose offsets are @req's. Short transfers are
 * continued; the end of the file in the middle of a read is -EIO. @is_block: the file
 * is a block device, for which zeroing and discarding differ.
 */
void engine_submit(struct engine *e, int file, bool is_block, struct disk_req *req);

/* Hand over what was batched. */
void engine_flush(struct engine *e);

/* Wait until everything that was submitted is done. */
void engine_drain(struct engine *e);
