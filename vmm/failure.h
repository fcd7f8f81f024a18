/*
 * The failure port of a VM that starts from firmware: what is written to ttyS1 up to
 * the first '|' tells why it was not booted, if it is one of the names of
 * boot/failure_codes.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define FAILURE_TEXT_MAX 64

struct failure_port {
	char text[FAILURE_TEXT_MAX + 1]; /* terminated */
	size_t len;
	bool over; /* '|' has come, or more than any name has */
	unsigned code; /* atomic; 0: no known name */
};

void failure_port_write(struct failure_port *p, const void *buf, size_t len);

/* For a code that is not 0; NULL: there is no such. */
const char *failure_name(unsigned code);
const char *failure_meaning(unsigned code);
