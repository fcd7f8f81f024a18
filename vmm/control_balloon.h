/*
 * What the control socket asks of the balloon, and has to wait for: the guest answers
 * when it likes, or never. On the loop's thread.
 */
#pragma once

#include "devices/device.h"
#include "vmm/control.h"

/* How long to wait for statistics, and for the balloon to reach its size. */
#define BALLOON_STATS_MS 2000
#define BALLOON_ADJUST_MS 10000

struct control_balloon;

/* @dev: the balloon, which outlives it. */
int control_balloon_new(struct device *dev, struct loop *loop,
			struct control_balloon **ret_balloon, struct err *err);
void control_balloon_free(struct control_balloon *b); /* takes NULL; answers nobody */

/*
 * Answer @conn: with "Ok", at once, or with @wait when the guest has given up as much;
 * an error after BALLOON_ADJUST_MS.
 */
void control_balloon_adjust(struct control_balloon *b, struct control_conn *conn,
			    uint64_t bytes, bool wait);

/*
 * Answer @conn with fresh statistics; with the last ones after BALLOON_STATS_MS, or
 * when the guest cannot tell now; with an error if there never were any.
 */
void control_balloon_stats(struct control_balloon *b, struct control_conn *conn);
