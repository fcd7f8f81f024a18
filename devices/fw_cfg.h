/*
 * QEMU's firmware configuration device, by which PC firmware learns of its machine.
 * The machine makes it, for --firmware-compat.
 */
#pragma once

#include "devices/device.h"

#define FW_CFG_MAX_FILES 8
#define FW_CFG_NAME_MAX 55

struct fw_cfg_file {
	const char *name; /* at most FW_CFG_NAME_MAX bytes */
	const void *data; /* outlives the device, as the name does */
	uint32_t size;
};

struct fw_cfg_cfg {
	unsigned n_cpus;
	size_t n_files;
	struct fw_cfg_file files[FW_CFG_MAX_FILES];
};

extern const struct dev_class fw_cfg_class;
