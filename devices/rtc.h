/*
 * What PC firmware reads from the CMOS memory beside the clock. Without it the memory
 * is empty, since nothing else looks there.
 */
#pragma once

#include "devices/device.h"

struct rtc_cfg {
	uint64_t low_mem, high_mem; /* bytes of RAM below, and above, 4 GiB */
	unsigned n_cpus;
};

extern const struct dev_class rtc_class;
