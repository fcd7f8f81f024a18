/*
 * One gdb's conversation with a machine: its commands, carried out on a target, which
 * is the machine or a test's. All-stop: all vCPUs stand still, or those that gdb said
 * run until one of them meets something. A vCPU is a thread, numbered from 1.
 *
 * Every break- and watchpoint takes one of the CPU's, also what gdb calls a software
 * breakpoint: nothing is patched into the guest's code. What gdb sends while the
 * guest runs is dropped, but for its interrupt. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/arch_debug.h"
#include "vmm/gdb_proto.h"

enum gdb_action { GDB_HOLD, GDB_RUN, GDB_STEP };

#define GDB_MAX_CPUS 64

/* Calls but interrupt come while the vCPUs stand still. -errno. */
struct gdb_target_ops {
	bool (*reg)(size_t number, size_t *ret_off, size_t *ret_len);
	int (*get_regs)(void *ctx, unsigned cpu, void *buf);
	int (*set_regs)(void *ctx, unsigned cpu, const void *buf);
	/* Within one page of the vCPU's addresses. */
	int (*read)(void *ctx, unsigned cpu, uint64_t addr, void *buf, size_t len);
	int (*write)(void *ctx, unsigned cpu, uint64_t addr, const void *buf,
		     size_t len);
	/* From now on the guest runs, until gdb_session_stopped(). */
	void (*resume)(void *ctx, const struct arch_debug_point *points,
		       const enum gdb_action *actions);
	void (*interrupt)(void *ctx);
	void (*kill)(void *ctx);
};

struct gdb_point {
	char type; /* as in Z: '0' software, '1' hardware, '2' write, '3' read, '4'
		    * access
		    */
	uint64_t addr, len;
};

struct gdb_session {
	const struct gdb_target_ops *ops;
	void *ctx;
	const char *xml; /* target description */
	unsigned n_cpus;

	bool running, no_ack, detached;
	unsigned cpu; /* whose registers and memory gdb means */
	int step_cpu; /* of a plain "s"; -1: that one */
	struct gdb_point points[ARCH_DEBUG_POINTS]; /* type 0: free */
	char stop[64]; /* the last stop, as it was told */
	struct gdb_rx rx;
	struct gdb_tx tx;
};

/* Begin, with the guest standing still. Fields from running on are the session's. */
void gdb_session_start(struct gdb_session *s);

/* Take one byte; only when all of s->tx is sent. */
void gdb_session_byte(struct gdb_session *s, uint8_t byte);

/*
 * All vCPUs stand still, because of @cpu: of its break- and watchpoints @points were
 * hit, or it has made its step; @interrupted: because gdb wished it.
 */
void gdb_session_stopped(struct gdb_session *s, unsigned cpu, unsigned points,
			 bool interrupted);

/* The VM has ended with this exit status. */
void gdb_session_ended(struct gdb_session *s, int status);
