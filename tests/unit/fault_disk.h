/*
 * A disk above another one that makes trouble: it fails, cuts short or holds back
 * chosen requests, and it can tell what a power cut would have left.
 *
 * It passes requests on with its own, so that it sees how they end.
 */
#pragma once

#include "disk/disk.h"

struct fault;

/* Takes @next. The disk to use is fault_disk(); closing it closes all. */
struct fault *fault_new(struct disk *next);
struct disk *fault_disk(struct fault *f);

/*
 * After @skip more requests of kind @op, the next @count end with @error. The first
 * @bytes bytes of a read or write are done before; other requests are not done.
 */
void fault_fail(struct fault *f, enum disk_op op, unsigned skip, unsigned count,
		int error, uint64_t bytes);

/* Hold requests back from now on, and how many are held. */
void fault_hold(struct fault *f, bool on);
unsigned fault_held(const struct fault *f);
/* Let those that are held go on, newest first. On the thread of the engine. */
void fault_release(struct fault *f);

/* How many requests of that kind have come. */
unsigned fault_count(const struct fault *f, enum disk_op op);

/*
 * Keep track of what is on stable storage, beginning with @image (disk->size bytes):
 * changes that were complete when a flush was submitted which succeeded.
 */
void fault_track(struct fault *f, const void *image);

/*
 * What a power cut now would leave: what is stable, and of the changes since then any
 * sectors that @chance (0 to 100 per cent) and @seed choose. @ret_image holds
 * disk->size bytes.
 */
void fault_power_cut(struct fault *f, unsigned chance, unsigned seed, void *ret_image);
