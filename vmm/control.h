/*
 * The control socket's server: connections, packets, answers; what requests mean is its
 * caller's. Runs on the loop's thread and never waits for a peer: one that does not
 * read its answers is dropped. Everybody who can connect may do everything (the socket
 * is mode 0600); what they send is nevertheless taken for hostile.
 *
 * At most CONTROL_MAX_CONNECTIONS at a time: a further one pushes out the one that has
 * said nothing for longest, so that forgotten connections never keep out who has
 * something to say.
 */
#pragma once

#include "base/loop.h"
#include "vmm/control_proto.h"

#define CONTROL_MAX_CONNECTIONS 64

struct control;
struct control_conn;

/*
 * A request of @conn, which must be answered, exactly once, by control_reply() or
 * control_fail(): at once, or later after control_later(). Between these calls @conn
 * stays; after an answer it may be gone. A descriptor that is left in @request is
 * closed.
 */
typedef void control_fn(void *ctx, struct control_conn *conn,
			struct control_request *request);

/*
 * Serve a SOCK_SEQPACKET socket, which is taken if this succeeds: one that listens, and
 * does not block, or one that is @connected, which is the only connection then.
 */
int control_new(struct loop *loop, int fd, bool connected, control_fn *fn, void *ctx,
		struct control **ret_control, struct err *err);
void control_free(struct control *control); /* takes NULL */

/* The answer comes later: what the peer asks for meanwhile waits. */
void control_later(struct control_conn *conn);

/* @reply, which is taken; NULL: "Ok". */
void control_reply(struct control_conn *conn, json_t *reply);
void control_fail(struct control_conn *conn, const struct err *why);
