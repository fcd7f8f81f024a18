/*
 * Handles of VMs: connections that speak org.vmm.VirtualMachine1. Whoever has one has
 * the authority. Those that are only held cost a socket and a few hundred bytes.
 */
#pragma once

#include "service/virtmgr/vm.h"

/* Of one VM. */
#define HANDLES_MAX 1024

/*
 * Serve a connected socket @fd, which is taken even on failure, as another handle. One
 * that does not count does not keep the VM alive, and neither do its clones.
 */
int handle_add(struct vm *v, bool counts, int fd, struct err *err);
/* The same; the other end, *@ret_fd, is the caller's. */
int handle_new(struct vm *v, bool counts, int *ret_fd, struct err *err);
struct vm *handle_vm(struct handle *h);
/* Hang up on all of them. */
void handle_free_all(struct vm *v);
/* Let go of those whose other end is closed, of which the loop may not have heard yet;
 * of the VM, too, if none is left that counts. */
void handle_free_closed(struct vm *v);

/* Tell all who have spoken. */
void handle_tell_state(struct vm *v);
void handle_tell_death(struct vm *v);
void handle_tell_payload(struct vm *v, enum payload_event event, int32_t code,
			 const char *message);

/* Answer a call later, unless it is NULL: with @r and @err, or with nothing. Drops it.
 */
void handle_answer(sd_bus_message *call, int r, const struct err *err);
