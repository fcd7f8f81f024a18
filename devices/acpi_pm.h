/* ACPI power management: what the host can do with it. */
#pragma once

#include "devices/device.h"

/*
 * Press the power button. -ENOTCONN with a sentence while the guest has not enabled its
 * event: then nobody would learn of it. Any thread, dev->lock not held.
 */
int acpi_pm_press(struct device *dev, struct err *err);
