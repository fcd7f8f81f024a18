/*
 * Linux taps: network interfaces of the host whose other end is a file. Packets come
 * and go with a virtio_net_hdr of TAP_HDR_LEN bytes before them.
 */
#pragma once

#include "base/err.h"

#define TAP_HDR_LEN 12 /* struct virtio_net_hdr_v1 */

/*
 * A non-blocking fd of the tap @name, which is made when it is missing, and then goes
 * away with the fd. Errors: -errno and a sentence.
 */
int tap_open(const char *name, struct err *err);

/* The same for a tap that is open already: @path is /proc/self/fd/N. */
int tap_inherit(const char *path, struct err *err);

/* What of a packet's work may be left to who reads it: TUN_F_*. */
void tap_set_offloads(int fd, unsigned offloads);
