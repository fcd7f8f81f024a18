/*
 * What is measured of a program, and the parts of launch.c that look at its
 * processes and at KVM's counters.
 */
#pragma once

#include <stdint.h>
#include <time.h>

#include "tests/bench/preload.h"

enum value {
	V_TOTAL, /* ms: exec to the first KVM_RUN, or to the end */
	V_SPIN, /* ms: a fixed loop, just before */
	V_EXEC, /* ms: the parts of V_TOTAL, see enum preload_phase */
	V_VM,
	V_VCPU,
	V_RUN,
	V_KVM, /* ms: in KVM's ioctls */
	V_CPU, /* ms */
	V_IOCTLS,
	V_FAULTS, /* minor, of all processes */
	V_RSS, /* KiB: highest of any process */
	V_PSS, /* KiB: of all processes, guest memory aside */
	V_DIRTY, /* KiB: private and dirty, the same */
	V_RAM, /* KiB: guest memory in use */
	V_RUNS, /* calls of KVM_RUN, and what they returned for */
	V_PORT_EXITS,
	V_MMIO_EXITS,
	V_OTHER_EXITS,
	V_EXITS, /* KVM's own counters: exits, also those that it handles alone */
	V_EMULATED, /* instructions */
	V_GUEST_FAULTS, /* page faults of the guest */
	NUM_VALUES,
};

struct sample {
	double v[NUM_VALUES]; /* NAN: not known */
};

uint64_t clock_ns(clockid_t clock);

/*
 * All processes below this one, which must be their reaper: add up what they
 * use, knowing from @shared where guest memory lies; or kill and reap them.
 */
void processes_measure(const struct preload *shared, struct sample *s);
void processes_kill(void);

/* Take what the library sent over @socket, and add up the counters. */
void stats_read(int socket, struct sample *s);
