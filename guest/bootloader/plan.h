/*
 * From disks to what is to be started: chooses a slot, verifies it, takes its boot
 * images apart and puts kernel, initrd and command line together; falls back to the
 * next slot where one fails.
 */
#pragma once

#include "avb.h"
#include "linux.h"
#include "slots.h"

#define PLAN_CMDLINE_MAX 16384

struct plan {
	unsigned slot;
	bool unlocked;
	struct linux_image kernel; /* its code lies in the arena */
	struct blob initrd; /* in the arena; data NULL: none */
	char cmdline[PLAN_CMDLINE_MAX];
};

/* Something that did not go well, though we go on. */
typedef void plan_note_fn(void *arg, const struct failure *f);

/*
 * @cmdline: the host's, which comes first. False: nothing may be booted, and @f says
 * why: of the best slot, where several failed.
 */
bool plan_make(const struct gpt *disks, size_t n, const struct key_block *key,
	       const char *cmdline, struct arena *arena, plan_note_fn *note, void *arg,
	       struct plan *ret_plan, struct failure *f);
