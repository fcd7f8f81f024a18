/*
 * What an error is called on the wire, and back. An error is a name, org.vmm.Error.*,
 * and one sentence; in C it is a negative errno and a struct err. The table is the
 * whole of it, so that a client sees the same sentence and a sensible errno.
 */
#pragma once

#include <systemd/sd-bus.h>

#include "base/err.h"

#define BUS_ERROR_BAD_CONFIG "org.vmm.Error.BadConfig"
#define BUS_ERROR_BAD_ARGUMENT "org.vmm.Error.BadArgument"
#define BUS_ERROR_ILLEGAL_STATE "org.vmm.Error.IllegalState"
#define BUS_ERROR_PERMISSION_DENIED "org.vmm.Error.PermissionDenied"
#define BUS_ERROR_UNSUPPORTED "org.vmm.Error.Unsupported"
#define BUS_ERROR_NOT_FOUND "org.vmm.Error.NotFound"
#define BUS_ERROR_LIMIT_EXCEEDED "org.vmm.Error.LimitExceeded"
#define BUS_ERROR_START_FAILED "org.vmm.Error.StartFailed"
#define BUS_ERROR_INFRASTRUCTURE "org.vmm.Error.Infrastructure"

/*
 * What functions of the service return for them; every other errno is Infrastructure.
 *   -EBADMSG BadConfig       -EINVAL  BadArgument       -EBADFD  IllegalState
 *   -EACCES  PermissionDenied (-EPERM too)              -ENOTSUP Unsupported
 *   -ENOENT  NotFound        -EDQUOT  LimitExceeded     -ENOEXEC StartFailed
 *                                                     -EMFILE, -ENFILE as -EDQUOT
 */

/* Fill @ret_error from @code and @err; returns what a handler returns then. */
int bus_error_set(sd_bus_error *ret_error, int code, const struct err *err);

/*
 * The -errno of an answer that is an error, and its sentence; for what sd_bus_call()
 * returned in @r and @error. -ECONNRESET: the other end has gone.
 */
int bus_error_get(const sd_bus_error *error, int r, struct err *err);

/*
 * Make @text one that a D-Bus message takes: what is no UTF-8, or no character (U+FFFF
 * and its like, which sd-bus refuses), becomes '?'. A message with other text is never
 * sent.
 */
void bus_text(char *text);
