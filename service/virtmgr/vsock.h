/*
 * A VM's sockets to its guest, whichever way they go: by the host's vhost-vsock, where
 * it has it, else by descriptors that vmm and its manager pass to one another (the unix
 * backend). Nothing of it has a name in the file system.
 *
 * Also who listens for the guest's agent: a stream from the guest's CID to port CID of
 * the host brings lines, which payload.h parses.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/err.h"
#include "service/virtmgr/launch.h"

struct vsock;

enum payload_event { PAYLOAD_STARTED, PAYLOAD_READY, PAYLOAD_FINISHED, PAYLOAD_ERROR };

struct vsock_ops {
	/* @code: of the last two; @message: of the last, UTF-8. */
	void (*payload)(void *userdata, enum payload_event event, int32_t code,
			const char *message);
};

/*
 * Reserve @cid. @mode: VSOCK_* of vm_config.h; auto: vhost where this process may open
 * it. -EADDRINUSE: the CID is somebody else's on this host, another may be free.
 */
int vsock_new(sd_event *event, int mode, uint32_t cid, const struct vsock_ops *ops,
	      void *userdata, struct vsock **ret_vsock, struct err *err);
void vsock_free(struct vsock *v); /* takes NULL; ends calls that are under way */

const char *vsock_kind(const struct vsock *v); /* "vhost", "unix", "none" */

/* Add what vmm needs for it. */
int vsock_launch(struct vsock *v, struct launch *l, struct err *err);

/*
 * Connect to a port of the guest. @done is called once, later, with a connected stream
 * that is then its owner's, or -errno and a sentence (valid during the call).
 */
typedef void vsock_connected_fn(void *arg, int fd, const struct err *err);
int vsock_connect(struct vsock *v, uint32_t port, vsock_connected_fn *done, void *arg,
		  struct err *err);
