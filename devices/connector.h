/*
 * Connecting to Unix sockets from within the jail, where no path leads anywhere: a
 * device asks a process outside of it, through the socket that
 * dev_host_ops.connector gave it. A request names a port; the answer is a socket that
 * is connected to PREFIX_PORT, or the reason why not. Answers carry the
 * id of their request, and come in any order.
 */
#pragma once

#include <stdint.h>

/* --- the device's end; neither call waits ------------------------------------- */

/* 0, or -errno: too many requests are under way, or nobody is there any more. */
int connector_ask(int fd, uint64_t id, uint32_t port);

/*
 * The next answer: 1 and *ret_sock, a non-blocking stream that is now the caller's or
 * the -errno of the attempt; 0: none so far; -errno: there will be none any more.
 */
int connector_hear(int fd, uint64_t *ret_id, int *ret_sock);

/* --- the other end ------------------------------------------------------------ */

/* Wait for a request: 1, 0 when the device has gone, or -errno. */
int connector_next(int fd, uint64_t *ret_id, uint32_t *ret_port);
/* A socket connected to PREFIX_PORT, or -errno. Waits for nobody. */
int connector_dial(const char *prefix, uint32_t port);
/* Answer with a socket, which stays the caller's, or with -errno. */
int connector_answer(int fd, uint64_t id, int sock);
