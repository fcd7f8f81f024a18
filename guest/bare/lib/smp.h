/* Further processors, started by INIT and start-up IPIs as the MADT names them. */
#pragma once

#include <stdbool.h>

/*
 * Starts every other processor; each runs work(its number, from 0) with interrupts on,
 * and sleeps when that returns. Returns how many came up; *ret_expected is the MADT's
 * count.
 */
unsigned smp_start(void (*work)(unsigned number), unsigned *ret_expected);

/* ap.S */
void smp_enter(unsigned number);
