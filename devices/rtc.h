/*
 * What PC firmware reads from the CMOS memory beside the clock. With it the clock has
 * its interrupt, too, by which firmware waits; without it the memory is empty.
 */
#pragma once

#include "devices/device.h"

struct rtc_cfg {
	uint64_t low_mem, high_mem; /* bytes of RAM below, and above, 4 GiB */
	unsigned n_cpus;
};

extern const struct dev_class rtc_class;
