/*
 * The debugger's door, --gdb: a socket on which one gdb at a time is served, on the
 * main loop. The guest does not start before a gdb has come and lets it; it stops when
 * the next one comes, and goes on, without break- and watchpoints, when that one
 * leaves. Whoever can connect owns the VM.
 */
#pragma once

#include "base/err.h"

struct gdb;
struct broker;
struct config;
struct machine;

/*
 * Before the fork. @cfg->gdb_port: of the loopback interface; else @cfg->gdb: the path
 * of a unix socket to make (0600; a stale one is replaced), or /proc/self/fd/N, one
 * that listens already. The socket's file is @broker's to remove.
 */
int gdb_open(const struct config *cfg, struct broker *broker, struct gdb **ret_gdb,
	     struct err *err);

/*
 * Before the jail, the machine loaded: watch the socket, and keep the vCPUs' gate
 * closed, whoever opens it besides.
 */
int gdb_start(struct gdb *g, struct machine *m, struct err *err);

/* No vCPU runs any more: tell gdb how it ended. */
void gdb_ended(struct gdb *g, int status); /* takes NULL */
void gdb_close(struct gdb *g); /* takes NULL */
