/* A connection for several threads; see channel.h. */
#include "service/libavf/channel.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <time.h>

#include "base/cleanup.h"
#include "dbus/vm.h"
#include "service/client/client.h"
#include "service/common/bus_error.h"

#define SEC UINT64_C(1000000)

int channel_init(struct channel *c, int fd, sd_bus_message_handler_t signal,
		 void *userdata, struct err *err)
{
	pthread_condattr_t monotonic;
	int r;

	*c = (struct channel){ .gone = false };
	r = client_open(fd, &c->bus, err);
	if (r < 0)
		return r;
	r = sd_bus_add_filter(c->bus, &c->signals, signal, userdata);
	if (r < 0) {
		sd_bus_close_unref(c->bus);
		return err_sys(err, r, "a connection");
	}
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&c->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	return 0;
}

void channel_destroy(struct channel *c)
{
	sd_bus_slot_unref(c->signals);
	sd_bus_close_unref(c->bus);
	pthread_cond_destroy(&c->changed);
	pthread_mutex_destroy(&c->lock);
}

/* --- waiting ------------------------------------------------------------------ */

static struct timespec timespec_of(uint64_t usec)
{
	return (struct timespec){ .tv_sec = (time_t)(usec / SEC),
				  .tv_nsec = (long)(usec % SEC) * 1000 };
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SEC + (uint64_t)t.tv_nsec / 1000;
}

uint64_t channel_deadline(const struct timespec *timeout)
{
	/* Centuries are no limit; nor may they overflow. */
	if (!timeout || timeout->tv_sec > INT32_MAX)
		return UINT64_MAX;
	if (timeout->tv_sec < 0)
		return 0;
	return now() + (uint64_t)timeout->tv_sec * SEC +
	       ((uint64_t)timeout->tv_nsec + 999) / 1000;
}

static int follow(struct channel *c, uint64_t deadline)
{
	struct timespec until = timespec_of(deadline);

	if (deadline == UINT64_MAX)
		return -pthread_cond_wait(&c->changed, &c->lock);
	return -pthread_cond_timedwait(&c->changed, &c->lock, &until);
}

/* Read for all until something comes, without the lock. */
static int lead(struct channel *c, uint64_t deadline)
{
	struct pollfd p = { .fd = sd_bus_get_fd(c->bus) };
	uint64_t until, start = now();
	struct timespec left;
	int n, events = sd_bus_get_events(c->bus);

	if (p.fd < 0 || events < 0 || sd_bus_get_timeout(c->bus, &until) < 0)
		return -ECONNRESET;
	p.events = (short)events;
	if (until > deadline)
		until = deadline;
	left = timespec_of(until > start ? until - start : 0);
	c->led = true;
	pthread_mutex_unlock(&c->lock);
	n = ppoll(&p, 1, until == UINT64_MAX ? NULL : &left, NULL);
	pthread_mutex_lock(&c->lock);
	c->led = false;
	return n == 0 && now() >= deadline ? -ETIMEDOUT : 0;
}

int channel_wait(struct channel *c, uint64_t deadline)
{
	int r;

	if (c->gone)
		return -ECONNRESET;
	if (c->led)
		return follow(c, deadline);
	r = sd_bus_process(c->bus, NULL);
	if (r < 0 || !sd_bus_is_open(c->bus))
		c->gone = true;
	else if (r == 0)
		r = lead(c, deadline);
	/* Whoever follows looks, or reads from now on. */
	pthread_cond_broadcast(&c->changed);
	return r == -ETIMEDOUT ? r : 0;
}

/* --- calls -------------------------------------------------------------------- */

static int on_reply(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	sd_bus_message **reply = userdata;

	(void)ret_error;
	*reply = sd_bus_message_ref(m);
	return 1;
}

int channel_call(struct channel *c, const char *member, sd_bus_message **ret_reply,
		 struct err *err, const char *types, ...)
{
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *m = NULL;
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *reply = NULL;
	__attribute__((cleanup(sd_bus_slot_unrefp))) sd_bus_slot *slot = NULL;
	va_list ap;
	int r;

	r = sd_bus_message_new_method_call(c->bus, &m, NULL, VM_PATH, VM_INTERFACE,
					   member);
	if (r >= 0) {
		va_start(ap, types);
		r = sd_bus_message_appendv(m, types, ap);
		va_end(ap);
	}
	if (r < 0)
		return err_sys(err, r, "%s", member);
	r = sd_bus_call_async(c->bus, &slot, m, on_reply, &reply, UINT64_MAX);
	/* Who reads now does not know that there is something to be written. */
	if (r >= 0 && c->led)
		r = sd_bus_flush(c->bus);
	while (r >= 0 && !reply)
		r = channel_wait(c, UINT64_MAX);
	if (r < 0)
		return bus_error_get(NULL, r, err);
	if (sd_bus_message_is_method_error(reply, NULL))
		return bus_error_get(sd_bus_message_get_error(reply),
				     -sd_bus_message_get_errno(reply), err);
	if (ret_reply)
		*ret_reply = TAKE_PTR(reply);
	return 0;
}
