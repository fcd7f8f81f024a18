/*
 * Bounded waits. The TSC's rate is not known: these are 3 to 6 seconds and 1 to 2
 * milliseconds on the machines of today. The turns bound one whose TSC stands still.
 */
#include "bare.h"

struct wait wait_start(void)
{
	return (struct wait){ .until = cpu_tsc() + 12000000000u, .turns = 100000000 };
}

struct wait wait_briefly(void)
{
	return (struct wait){ .until = cpu_tsc() + 4000000u, .turns = 100000 };
}

bool wait_more(struct wait *wait)
{
	cpu_pause();
	return wait->turns-- && (int64_t)(wait->until - cpu_tsc()) > 0;
}
