/* The parts of debug.c that tests look at. */
#pragma once

#include "vmm/arch_debug.h"

/* The value of DR7 for these points; 0: there are none. */
uint64_t debug_dr7(const struct arch_debug_point *points);
