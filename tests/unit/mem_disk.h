/*
 * A disk in memory for tests of what stands above disks: it shows what came down,
 * completes at once or when it is told to, and fails on demand.
 */
#pragma once

#include "disk/disk.h"

struct mem_disk {
	struct disk disk; /* first */
	unsigned char *bytes;
	bool hold; /* requests wait for mem_disk_finish() */
	int fail; /* what the next requests end with, but are not carried out; 0 */
	unsigned n_seen[DISK_ZERO + 1]; /* by operation */
	struct disk_req *last; /* the latest; perhaps gone by now */
	struct disk_req *held; /* latest first, by next */
};

/* A disk of zeroes with the name "mem", allocated. */
struct mem_disk *mem_disk_new(const char *name, uint64_t size);

/* Carry out and finish all that are held, the latest first. Returns how many. */
unsigned mem_disk_finish(struct mem_disk *m);
