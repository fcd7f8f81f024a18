/*
 * virtio entropy device (virtio 1.2 section 5.4): --no-rng leaves it out.
 */
#pragma once

#include "devices/device.h"

extern const struct dev_class virtio_rng_class;
