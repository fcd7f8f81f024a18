/*
 * What tests of the whole service stand on: programs as they were built, a private
 * service in a folder of the test's own, and a look at what they leave behind.
 *
 * The test is the reaper of all that it starts, directly or not, detached or not; so
 * its descendants are all processes of the service, and nobody else's.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <sys/types.h>

#include <cmocka.h>

#include "base/err.h"

/* Sanitizers keep what was freed, so memory is measured without them only. */
#ifdef SANITIZED
enum { RIG_MEASURES_MEMORY = 0 };
#else
enum { RIG_MEASURES_MEMORY = 1 };
#endif

/* Seconds until something that ought to happen at once counts as not happening. */
#define RIG_PATIENCE 10

/* Of a group, and of one test, which fails if anything is left behind. */
int rig_setup(void **state);
int rig_teardown(void **state);
int rig_clean(void **state);

/* A folder and what is in it. 0 or -1. */
int rig_remove(const char *path);

/* The private service's folder. It is there only while the service is. */
const char *rig_folder(void);
/* build/guest/NAME.elf, allocated. */
char *rig_guest(const char *name);

double rig_ms(void); /* a clock */
void rig_sleep_ms(double ms);

/* Processes as they are called by /proc, at most 15 letters. */
#define RIG_VMM "vmm"
#define RIG_VIRTMGR "virtmgr"
#define RIG_SERVICE "virtualizations"

struct rig_process {
	pid_t pid, parent;
	char name[16], state;
};

/* Living descendants, all or those of a name; how many there are. */
size_t rig_processes(const char *name, struct rig_process *list, size_t max);
/* The first of that name, when there is one; 0 after RIG_PATIENCE. */
pid_t rig_process(const char *name);

/*
 * Wait until there is no process, no lease, nothing in the folder and no descriptor
 * that was not there at the start; the milliseconds that it took, -1 when that did not
 * come to pass and has been told on stderr.
 */
double rig_nothing_left(void);
/* A killed service cannot remove its socket and leases, of which none is in use then;
 * the next one does. Until this is taken back, such ones are not left behind. */
void rig_service_was_killed(bool was);

/* Leases that somebody holds. */
size_t rig_leases(void);

/* Cgroups of VMs. With $CGROUPS the guests have limits, and so cgroups, of which none
 * may be left either. */
size_t rig_cgroups(bool remove_empty);

size_t rig_fds(pid_t pid); /* how many descriptors it has */

/* Fails the test with the sentence of what went wrong. */
#define must(call)                                                      \
	do {                                                            \
		struct err err = { "" };                                \
		int must_r = (call);                                    \
		if (must_r < 0)                                         \
			fail_msg("%s: %d: %s", #call, must_r, err.msg); \
	} while (0)
