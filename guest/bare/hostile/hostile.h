/*
 * A guest that attacks its machine. Each attack starts from a working device, does its
 * worst, and then the device is reset and must do one good request.
 */
#pragma once

#include "virtio.h"

enum {
	TYPE_NET = 1,
	TYPE_BLOCK = 2,
	TYPE_CONSOLE = 3,
	TYPE_ENTROPY = 4,
	TYPE_BALLOON = 5,
	TYPE_VSOCK = 19,
};

struct attack {
	const char *name;
	void (*run)(void); /* on the device as fresh(0) leaves it */
	unsigned only; /* the device type it is for; 0: any */
};
extern const struct attack ring_attacks[], transport_attacks[], platform_attacks[];

/* main.c: the device under attack, and the queue that requests go to. */
extern struct virtio dev;
extern struct vq *vq;
extern unsigned device_type;
/* Resets the device and makes it work again, with these features where offered. */
bool fresh(uint64_t features);
/* Gives the device some milliseconds to do something. */
void settle(void);
/* The current attack had an answer that it must not have. */
void wrong(const char *why, ...) __attribute__((format(printf, 1, 2)));
/* Up to the notify capability's own register, even when the ring says nothing. */
void notify(uint16_t value);
