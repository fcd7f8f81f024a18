/*
 * The virtio-blk disks of the machine, in PCI order, by polling (virtio 1.2
 * section 5.2). One is driven at a time; another one's turn resets it.
 */
#pragma once

#include "gpt.h"

#define DISKS_MAX 16

/* How many there are, at most DISKS_MAX; each is described in @ret_disks. */
size_t blk_find(struct blk ret_disks[DISKS_MAX]);

/* Let go of the last one used: it does nothing to memory any more. */
void blk_stop(void);
