/*
 * How a VM died, found out from what is left of vmm: how its process ended, and the
 * status object that it wrote. See service/common/death.h for the reasons.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <systemd/sd-bus.h>

#include "service/common/death.h"

#define DEATHS_MAX_OBJECT (256u << 10) /* a longer status object is none */

struct death_signs {
	int wait_code; /* CLD_*; 0: nobody knows */
	int wait_status;
	const char *object; /* the status object's text */
	size_t object_len; /* 0: there is none */
	const char *last_words; /* on stderr; NULL or "": none */
	/* Why we have killed it: DEATH_KILLED, DEATH_HANGUP; -1: we have not. It is no
	 * reason for what had ended by itself. */
	int killed_for;
};

struct death {
	int reason; /* enum death_reason */
	json_t *details; /* an object of those keys that GetDeath tells; or NULL */
};

/* Never fails: what cannot be found out is DEATH_UNKNOWN. */
void death_find(const struct death_signs *signs, struct death *ret_death);
void death_clear(struct death *d);

/* The sentence of it; never NULL. */
const char *death_sentence(const struct death *d);
/* Say so instead, where there is a sentence. */
void death_reword(struct death *d, const char *sentence);

/* Append reason, name and details: "isa{sv}". */
int death_append(sd_bus_message *m, const struct death *d);
