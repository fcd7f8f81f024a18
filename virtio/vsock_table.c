/* The connections of a user-space vsock device; see vsock_unix.h. */
#include "virtio/vsock_unix.h"

#include <stdlib.h>

void vsock_table_init(struct vsock *d)
{
	TAILQ_INIT(&d->output);
	TAILQ_INIT(&d->greeting);
	TAILQ_INIT(&d->asking);
	for (unsigned i = 0; i < VSOCK_BUCKETS; i++)
		LIST_INIT(&d->buckets[i]);
}

static struct vsock_list *bucket(struct vsock *d, uint32_t guest_port,
				 uint32_t host_port)
{
	return &d->buckets[(guest_port ^ host_port ^ host_port >> 16) % VSOCK_BUCKETS];
}

struct vsock_conn *vsock_by_ports(struct vsock *d, uint32_t guest_port,
				  uint32_t host_port)
{
	struct vsock_conn *c;

	LIST_FOREACH(c, bucket(d, guest_port, host_port), by_ports)
	if (c->guest_port == guest_port && c->host_port == host_port)
		return c;
	return NULL;
}

void vsock_give_ports(struct vsock *d, struct vsock_conn *c, uint32_t guest_port,
		      uint32_t host_port)
{
	c->guest_port = guest_port;
	c->host_port = host_port;
	c->has_ports = true;
	LIST_INSERT_HEAD(bucket(d, guest_port, host_port), c, by_ports);
}

static void take_ports(struct vsock_conn *c)
{
	if (c->has_ports)
		LIST_REMOVE(c, by_ports);
	c->has_ports = false;
}

struct vsock_conn *vsock_by_id(struct vsock *d, uint64_t id)
{
	uint32_t slot = (uint32_t)id;
	struct vsock_conn *c = slot < VSOCK_MAX_CONNS ? d->conns[slot] : NULL;

	return c && c->id == id ? c : NULL;
}

struct vsock_conn *vsock_add(struct vsock *d, enum vsock_state state)
{
	struct vsock_conn *c;
	uint32_t slot = 0;

	if (d->n_conns == VSOCK_MAX_CONNS)
		return NULL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	while (d->conns[slot])
		slot++;
	if (++d->serial == 0)
		d->serial = 1;
	c->id = (uint64_t)d->serial << 32 | slot;
	c->fd = -1;
	c->state = state;
	d->conns[slot] = c;
	d->n_conns++;
	return c;
}

void vsock_line_up(struct vsock *d, struct vsock_conn *c, struct vsock_line *line)
{
	if (c->line) {
		TAILQ_REMOVE(c->line, c, in_line);
		d->n_greeting -= c->line == &d->greeting;
	}
	if (line) {
		TAILQ_INSERT_TAIL(line, c, in_line);
		d->n_greeting += line == &d->greeting;
	}
	c->line = line;
}

void vsock_drop(struct vsock *d, struct vsock_conn *c)
{
	vsock_line_up(d, c, NULL);
	take_ports(c);
	vsock_conn_close(c);
	d->conns[(uint32_t)c->id] = NULL;
	d->n_conns--;
	free(c);
}

void vsock_settle(struct vsock *d, struct vsock_conn *c)
{
	bool in_output = c->line == &d->output;

	if (c->state == VSOCK_GONE) {
		vsock_drop(d, c);
		return;
	}
	/* The guest may use these ports again. */
	if (c->state == VSOCK_LEFT)
		take_ports(c);
	if (vsock_conn_wants(c) != in_output)
		vsock_line_up(d, c, in_output ? NULL : &d->output);
	if (c->patience)
		vsock_start_ticking(d);
}
