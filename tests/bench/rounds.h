/* What the benchmarks that take turns share: the clock, and medians of their rounds. */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MAX_ROUNDS 200

static inline uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static inline int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The @percent-th percentile; sorts. */
static inline double percentile(double *v, unsigned n, unsigned percent)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[(n - 1) * percent / 100];
}

/* The median, and the quartiles, which tell the noise. */
static inline void print_ratio(double *v, unsigned n)
{
	double median = percentile(v, n, 50);

	printf(" %5.2f (%4.2f-%4.2f)", median, percentile(v, n, 25),
	       percentile(v, n, 75));
}
