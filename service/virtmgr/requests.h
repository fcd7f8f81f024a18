/*
 * Requests to one vmm, by its control protocol: any number may wait, one is under way.
 */
#pragma once

#include <systemd/sd-event.h>

#include "base/err.h"
#include "vmm/control_proto.h"

/* Of one VM; more are refused, whoever asks. */
#define REQUESTS_MAX 64

struct requests;

/* Takes @fd, our end of the connection, even on failure. */
int requests_new(sd_event *event, int fd, struct requests **ret_requests,
		 struct err *err);
/* Takes NULL. Those that wait are answered with -ECONNRESET. */
void requests_free(struct requests *q);

/*
 * The answer: 0 and what it says (a borrowed reference); or -errno and a sentence that
 * is valid during the call: -EREMOTEIO is the VM's own, -ECONNRESET: it has ended.
 */
typedef void requests_done_fn(void *arg, int r, json_t *reply, const struct err *err);

/*
 * Ask. @request->fd, which may be -1, is taken even on failure. @done is called later,
 * once, unless this fails: -EDQUOT, -ENOMEM, -ECONNRESET.
 */
int requests_add(struct requests *q, const struct control_request *request,
		 requests_done_fn *done, void *arg, struct err *err);
