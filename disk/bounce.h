/*
 * Bounce buffers: for direct I/O with memory that is not aligned as the host wants
 * it. A request goes through one of a few buffers, piece by piece; when all are in
 * use it waits for one. On the engine's thread.
 */
#pragma once

#include "disk/engine.h"

struct bounce;

int bounce_new(struct engine *engine, unsigned file, struct bounce **ret_bounce);
void bounce_free(struct bounce *b); /* takes NULL; nothing may be under way */

/* A DISK_READ or DISK_WRITE, as engine_submit() takes it. */
void bounce_submit(struct bounce *b, struct disk_req *req);
