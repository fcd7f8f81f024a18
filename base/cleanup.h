/*
 * Ownership by scope: a variable marked AUTO_FREE, AUTO_CLOSE or AUTO_UNLOCK
 * gives back what it holds when it goes out of scope; TAKE_PTR and TAKE_FD hand
 * it to a new owner instead.
 */
#pragma once

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_unlock(pthread_mutex_t *const *m)
{
	if (*m)
		pthread_mutex_unlock(*m);
}

static inline pthread_mutex_t *cleanup_lock(pthread_mutex_t *m)
{
	pthread_mutex_lock(m);
	return m;
}

#define AUTO_FREE __attribute__((cleanup(cleanup_free)))
#define AUTO_CLOSE __attribute__((cleanup(cleanup_close)))

/* Hold @m until the end of the enclosing block. */
#define AUTO_LOCK(m)                                    \
	pthread_mutex_t *const AUTO_LOCK_NAME(__LINE__) \
		__attribute__((cleanup(cleanup_unlock), unused)) = cleanup_lock(m)
#define AUTO_LOCK_NAME(line) AUTO_LOCK_PASTE(auto_lock_, line)
#define AUTO_LOCK_PASTE(a, b) a##b

/* clang-format off */
#define TAKE_PTR(p) ({ __typeof__(p) taken_ = (p); (p) = NULL; taken_; })
#define TAKE_FD(fd) ({ int taken_ = (fd); (fd) = -1; taken_; })
/* clang-format on */
