/*
 * A VM of a test, by its handle: what it was told to do, and what it has told. One that
 * was forked may use these, too: nothing here fails a test by itself.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "service/client/client.h"
#include "service/common/death.h"

/* Ports of guest/bare/agent.c. */
enum { GUEST_ECHO = 1024, GUEST_ORDERS = 1025 };

struct guest {
	sd_bus *bus; /* NULL: no handle */
	uint32_t cid;
	/* What has come; n_*: how often. */
	unsigned state, n_started, n_ready, n_finished, n_errors, n_died;
	int32_t exit_code, error_code, reason;
	char message[128], reason_name[64], detail[512], console_tail[4096];
	bool lost; /* the connection has ended */
};

/* Bare-metal guests want little; @guest and @params as for guest_create(). */
int guest_config(struct vm_config *c, const char *guest, const char *params,
		 struct err *err);

/* The guest build/guest/@guest.elf with @params; @handle: also as a plain descriptor,
 * which is then not spoken on (bus is NULL). */
int guest_create(struct client *client, const char *guest, const char *params,
		 struct guest *ret, struct err *err);
int guest_create_handle(struct client *client, const char *guest, const char *params,
			int *ret_handle, uint32_t *ret_cid, struct err *err);
/* Speak on a handle, which is taken. */
int guest_open(int handle, struct guest *ret, struct err *err);

/* A method without arguments. */
int guest_call(struct guest *g, const char *member, struct err *err);
/* The same without waiting for the answer; it has been sent. */
int guest_send(struct guest *g, const char *member, struct err *err);

int guest_state(struct guest *g, uint32_t *ret_state, struct err *err);
/* How it died, asked. */
int guest_death(struct guest *g, int32_t *ret_reason, struct err *err);
/* A method that returns a descriptor. @port: 0 where there is no argument. */
int guest_stream(struct guest *g, const char *member, uint32_t port, int *ret_fd,
		 struct err *err);
/* One letter to the guest, and back unless that is its end. */
int guest_order(struct guest *g, char letter, bool returns, struct err *err);
/* Bytes there and back by a stream to the guest. */
int guest_echo(struct guest *g, struct err *err);

/* Take what has come until the counter is not 0, or the connection ends: -ECONNRESET,
 * or some seconds: -ETIMEDOUT. */
int guest_wait(struct guest *g, const unsigned *counter, struct err *err);
/* Until the payload is ready, which tell=r makes the agent say. */
int guest_wait_ready(struct guest *g, struct err *err);
/* Until the connection ends. */
int guest_wait_lost(struct guest *g, struct err *err);

/* Close the handle; nothing else keeps the VM alive. */
void guest_drop(struct guest *g);
