/*
 * Between the two kinds of engine and what they share (engine.c); nobody else
 * includes this.
 *
 * A request is carried out in steps, each of which is one system call or one
 * submission. A backend takes requests from the queue, asks for the step, and tells
 * its result; engine.c decides whether the request is done, or is queued again.
 */
#pragma once

#include <sys/types.h>

#include "disk/engine.h"

enum step_op { STEP_READ, STEP_WRITE, STEP_SYNC, STEP_ALLOCATE };

struct step {
	enum step_op op;
	int fd;
	unsigned file; /* its number */
	uint64_t off, len; /* len: STEP_ALLOCATE */
	const struct iovec *iov; /* lives as long as the request */
	unsigned n_iov; /* at most IOV_MAX */
	int mode; /* STEP_ALLOCATE: of fallocate(2) */
};

struct backend {
	const char *name;
	int (*start)(struct engine *e, struct err *err);
	void (*stop)(struct engine *e); /* may be NULL */
	unsigned (*poll)(struct engine *e, bool wait);
	void (*free)(struct engine *e);
};

struct engine_file {
	int fd;
	/* What this file has refused once is not tried again. */
	bool no_punch, no_zero;
};

/* Embedded as the first member of each backend's struct. */
struct engine {
	const struct backend *backend;
	int fd; /* engine_fd() */
	struct engine_file *files;
	unsigned n_files, max_files;
	struct disk_req *first, **last; /* whose next step is to be taken */
	unsigned under_way; /* requests submitted and not done */
	bool cancelled;
	unsigned finished; /* requests done, free-running */
};

void engine_init(struct engine *e, const struct backend *backend);

/* The next request whose step is to be taken, and its step; NULL: there is none. */
struct disk_req *engine_next(struct engine *e, struct step *ret_step);

/* The step ended with @result, as its system call does but -errno. May call done(). */
void engine_result(struct engine *e, struct disk_req *req, int64_t result);

/* Carry out a step by system calls. */
int64_t engine_step(const struct step *step);

int engine_sync_new(struct engine **ret_engine, struct err *err);
int engine_uring_new(struct engine **ret_engine, struct err *err);
