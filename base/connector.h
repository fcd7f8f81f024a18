/*
 * Connections between a guest and its host that are made outside of the jail, where no
 * path leads anywhere: a vsock device asks another process, vmm's broker or the VM's
 * manager, through a SOCK_SEQPACKET socket. A request names a port of the host; the
 * answer is a socket that is connected to it, or the reason why not. Answers carry the
 * id of their request, and come in any order. The manager may also offer a socket of
 * somebody's who wants a port of the guest: on it the device says "OK" and a number, or
 * closes it.
 *
 * The other end bears whatever the device sends: a guest may have taken it over.
 */
#pragma once

#include <stdint.h>

/* --- the device's end; neither call waits ------------------------------------- */

/* Ids of requests are CONNECTOR_FIRST_ID and larger. */
#define CONNECTOR_FIRST_ID (1ull << 32)

/* 0, or -errno: too many requests are under way, or nobody is there any more. */
int connector_ask(int fd, uint64_t id, uint32_t port);

/*
 * The next answer: 1 and *ret_sock, a non-blocking stream that is now the caller's or
 * the -errno of the attempt; 0: none so far; -errno: there will be none any more. An id
 * below CONNECTOR_FIRST_ID is an offer for that port of the guest.
 */
int connector_hear(int fd, uint64_t *ret_id, int *ret_sock);

/* --- the other end ------------------------------------------------------------ */

/*
 * The next request: 1, 0 when the device has gone, or -errno. Whether it waits is @fd's
 * O_NONBLOCK to say (-EAGAIN), here and where there is an answer.
 */
int connector_next(int fd, uint64_t *ret_id, uint32_t *ret_port);
/* A socket connected to PREFIX_PORT, or -errno. Waits for nobody. */
int connector_dial(const char *prefix, uint32_t port);
/* Answer with a socket, which stays the caller's, or with -errno. */
int connector_answer(int fd, uint64_t id, int sock);
/* Offer a socket, which stays the caller's; waits for nobody: -EAGAIN. */
int connector_offer(int fd, uint32_t port, int sock);
