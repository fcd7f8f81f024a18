/* Handing calls on; see forward.h. */
#include "service/virtmgr/forward.h"

#include <errno.h>
#include <stdlib.h>

#include "dbus/global.h"
#include "service/common/bus_error.h"

struct forwarded {
	LIST_ENTRY(forwarded) entry;
	struct forwards *forwards;
	const char *member;
	sd_bus_message *call;
	sd_bus_slot *slot; /* NULL: nobody is asked */
	bool lost; /* by one service already */
};

static void forwarded_free(struct forwarded *f)
{
	LIST_REMOVE(f, entry);
	sd_bus_slot_unref(f->slot);
	sd_bus_message_unref(f->call);
	free(f);
}

static int on_answer(sd_bus_message *answer, void *userdata, sd_bus_error *ret_error)
{
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *reply = NULL;
	const sd_bus_error *error = sd_bus_message_get_error(answer);
	struct forwarded *f = userdata;
	int r;

	(void)ret_error;
	/* The service has gone, says our library. forward_lost() sees to that. */
	if (error && sd_bus_is_open(f->forwards->bus) <= 0)
		return 0;
	r = error ? sd_bus_message_new_method_error(f->call, &reply, error)
		  : sd_bus_message_new_method_return(f->call, &reply);
	if (r >= 0 && !error)
		r = sd_bus_message_copy(reply, answer, true);
	/* The client may have gone meanwhile. */
	if (r >= 0)
		(void)sd_bus_send(NULL, reply, NULL);
	else
		(void)sd_bus_reply_method_errno(f->call, r, NULL);
	forwarded_free(f);
	return 0;
}

static int ask(struct forwarded *f)
{
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *m = NULL;
	sd_bus *bus = f->forwards->bus;
	int r = sd_bus_message_new_method_call(bus, &m, NULL, GLOBAL_PATH,
					       GLOBAL_INTERFACE, f->member);

	if (r >= 0)
		r = sd_bus_message_rewind(f->call, true);
	if (r >= 0)
		r = sd_bus_message_copy(m, f->call, true);
	return r < 0 ? r : sd_bus_call_async(bus, &f->slot, m, on_answer, f, 0);
}

static void fail_call(struct forwarded *f)
{
	__attribute__((cleanup(sd_bus_error_free)))
	sd_bus_error error = SD_BUS_ERROR_NULL;
	const struct err err = { "the service has gone" };

	bus_error_set(&error, -EIO, &err);
	(void)sd_bus_reply_method_error(f->call, &error);
	forwarded_free(f);
}

void forward_begin(struct forwards *f, sd_bus *bus)
{
	struct forwarded *c, *next;

	f->bus = bus;
	for (c = LIST_FIRST(&f->calls); c; c = next) {
		next = LIST_NEXT(c, entry);
		if (ask(c) < 0)
			fail_call(c);
	}
}

void forward_lost(struct forwards *f)
{
	struct forwarded *c, *next;

	f->bus = NULL;
	for (c = LIST_FIRST(&f->calls); c; c = next) {
		next = LIST_NEXT(c, entry);
		c->slot = sd_bus_slot_unref(c->slot);
		if (c->lost)
			fail_call(c);
		else
			c->lost = true;
	}
}

int forward_call(struct forwards *f, const char *member, sd_bus_message *call)
{
	struct forwarded *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	*c = (struct forwarded){ .forwards = f,
				 .member = member,
				 .call = sd_bus_message_ref(call) };
	LIST_INSERT_HEAD(&f->calls, c, entry);
	r = ask(c);
	if (r < 0)
		forwarded_free(c);
	return r;
}

bool forward_waits(const struct forwards *f)
{
	return !LIST_EMPTY(&f->calls);
}

void forward_fail(struct forwards *f)
{
	while (!LIST_EMPTY(&f->calls))
		fail_call(LIST_FIRST(&f->calls));
}
