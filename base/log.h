/*
 * Messages to stderr, one line each: "PROGRAM[NAME]: LEVEL: tag: text". One that stderr
 * does not take within a second is lost.
 *
 * The level and the VM's name are set once by main; the level is the only
 * mutable global of the project. base, disk, virtio, devices and boot log at
 * debug only: what the user must know travels in a struct err.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"

enum log_level {
	LOG_LEVEL_OFF,
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

/*
 * The level that a filter as crosvm's asks for: "LEVEL,PART=LEVEL,...". There is one
 * level for all parts, so those of single parts are checked only; without one for all
 * it is info. -EINVAL with a sentence about the filter.
 */
int log_parse_filter(const char *text, enum log_level *ret_level, struct err *err);

/* @vm_name: NULL, or a string that outlives the logging. */
void log_init(enum log_level level, const char *vm_name);

/* @tag: the device or part that speaks, e.g. "blk0". Any thread. */
void log_msg(enum log_level level, const char *tag, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* How often a guest-provoked message was asked for; one per message kind. */
struct log_limit {
	uint64_t count;
};

/*
 * A debug message that a guest can provoke: printed for the 1st, 2nd, 4th,
 * 8th... time, with the count, so that no guest can flood the log.
 */
void log_guest(struct log_limit *limit, const char *tag, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define log_error(tag, ...) log_msg(LOG_LEVEL_ERROR, tag, __VA_ARGS__)
#define log_warn(tag, ...) log_msg(LOG_LEVEL_WARN, tag, __VA_ARGS__)
#define log_info(tag, ...) log_msg(LOG_LEVEL_INFO, tag, __VA_ARGS__)
#define log_debug(tag, ...) log_msg(LOG_LEVEL_DEBUG, tag, __VA_ARGS__)
