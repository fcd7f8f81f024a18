/* For the tests of a PCI function that is no virtio device: one, and its window. */
#pragma once

#include "devices/list.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/unit/fake_driver.h"

static struct fake_host f;
static struct fake_driver d;
static struct device *dev;
static uint64_t bar;

/* A guest that has enabled memory accesses. */
static inline int open_function(const struct dev_class *class)
{
	fake_host_init(&f, class->name, 0);
	d = (struct fake_driver){ .host = &f, .slot = 1 };
	if (class->create(NULL, &f.host, &dev, NULL) < 0)
		return -1;
	fake_pci_out(&d, 4, 2, 2);
	bar = fake_pci_in(&d, 0x10, 4);
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	dev->class->free(dev);
	fake_host_free(&f);
	return 0;
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
