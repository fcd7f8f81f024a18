/*
 * What becomes known of a VM's end.
 *
 * struct report is memory that the VM's process shares with its supervisor: it fills
 * it while it lives, so that whatever kills it, the supervisor can tell the whole
 * story. That process may have been taken over by its guest: report_exited() and
 * report_died() copy the page once and believe nothing of it that could hurt.
 *
 * struct death is what vmm then says: its exit status and the status object of
 * --status-fd, one line of JSON; vmm(1) describes it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "devices/device.h"

#define REPORT_TAIL 4096
#define REPORT_MAX_VCPUS 64
#define REPORT_MAX_REGISTERS 48
#define REPORT_SENTENCE 640

struct report {
	uint32_t end; /* enum vm_end */
	uint32_t detail; /* of the end */
	uint32_t started; /* guest code may have run */
	uint32_t panicked; /* the guest said that it panicked */
	uint32_t host_asked; /* the host asked the guest to power off */
	char sentence[REPORT_SENTENCE];
	uint64_t console_bytes; /* atomic: written so far, to the ring that follows */
	uint8_t console[REPORT_TAIL];
	uint32_t n_vcpus; /* whose registers follow, in the order of arch.h */
	uint64_t registers[REPORT_MAX_VCPUS][REPORT_MAX_REGISTERS];
};

struct death {
	int status;
	const char *reason;
	const char *requested_by; /* "guest" or "host" */
	char detail[REPORT_SENTENCE];
	struct report seen; /* a private copy; zeroes when there was none */
};

/* Shared with whatever this process forks; -ENOMEM. */
int report_new(struct report **ret_report, struct err *err);

/* Output of a console. Any thread. */
void report_console(struct report *r, const void *buf, size_t len);

/* How the VM ends. */
void report_end(struct report *r, enum vm_end end, unsigned detail,
		const char *sentence);

/* The VM's process exited with @status. */
void report_exited(const struct report *r, int status, struct death *ret_death);

/* It did not get to that, for @reason. */
void report_died(const struct report *r, int status, const char *reason,
		 const char *requested_by, const char *sentence,
		 struct death *ret_death);

/*
 * The status object with a newline, to be freed; NULL: no memory. It is always valid
 * UTF-8: U+FFFD stands for what is not, and for NULs. @registers: names, ended by
 * NULL.
 */
char *report_json(const struct death *d, const char *const *registers,
		  uint64_t run_time_ms);
