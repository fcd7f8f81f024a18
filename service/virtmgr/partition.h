/* Files that become a guest's writable partitions, and what tells VMs apart. */
#pragma once

#include <stdint.h>

#include "base/err.h"

enum {
	PARTITION_RAW,
	PARTITION_INSTANCE,
	PARTITION_ENCRYPTED_STORE,
	PARTITION_FORMATS
};

#define PARTITION_ID_LEN 64

/*
 * Empty the file @fd, make it @size bytes long and write the magic of @format. -EINVAL
 * for a size that is 0 or no multiple of 4096, a format that is none, a file that is
 * no regular one or not open for writing.
 */
int partition_initialize(int fd, uint64_t size, uint32_t format, struct err *err);

/* Random, but for the first four bytes, 0x77: as AVF's, none is all zeroes. */
int partition_instance_id(uint8_t id[PARTITION_ID_LEN], struct err *err);
