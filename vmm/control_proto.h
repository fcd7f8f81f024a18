/*
 * The control protocol: what travels over a VM's control socket. It is crosvm's, as far
 * as this machine has what a request asks for; Dump and Status are ours. Pure: no
 * socket, no machine; servers and clients both include it.
 *
 * A SOCK_SEQPACKET unix socket; each packet is one JSON value of at most
 * CONTROL_MAX_PACKET bytes. Requests of one connection are answered one by one, in
 * their order; there may be any number.
 *
 *   "Exit"            end the VM without asking the guest; answered first
 *   "Powerbtn"        press the power button
 *   "SuspendVcpus"    the guest stands still        "ResumeVcpus"  and goes on
 *   "SuspendVm"       and so do its devices         "ResumeVm"     both go on
 *   {"BalloonCommand":{"Adjust":{"num_bytes":N,"wait_for_success":BOOL}}}
 *                     ask the guest to give up N bytes in all; wait_for_success
 * (false): answer when it has, or with an error when it does not
 *   {"BalloonCommand":"Stats"}
 *   {"DiskCommand":{"disk_index":I,"command":{"Resize":{"new_size":N}}}}
 *                     disks count from 0, in the order of the command line
 *   "Dump"            write a crash dump to the descriptor that comes along
 *   "VcpuPidTid"      which threads of the host run the vCPUs
 *   "GetVmDescriptor", "Status"   what the VM is and does
 *
 * Keys that are not known are ignored. The answers are
 *
 *   "Ok"
 *   {"ErrString":SENTENCE}         (crosvm also sends {"Err":ERRNO})
 *   {"BalloonStats":{"stats":{"total_memory":N,...},"balloon_actual":N}}
 *                     what the guest has told, in bytes or events: swap_in, swap_out,
 *                     major_faults, minor_faults, free_memory, total_memory,
 *                     available_memory, disk_caches, hugetlb_allocations,
 *                     hugetlb_failures, shared_memory, unevictable_memory, or null
 *   {"VcpuPidTidResponse":{"pid_tid_map":{"0":[PID,TID],...}}}
 *                     as the host sees them, if it lets us know
 *   {"Status":{"state":"running"|"suspended"|"suspended-full","name":TEXT|null,
 *              "pid":N,"vcpus":N,"memory_bytes":N,"disks":N,"uptime_ms":N,
 *              "cid":N,"balloon_bytes":N,"balloon_target_bytes":N}}
 *                     pid: of the process to signal; uptime: time suspended included;
 *                     cid, balloon_*: only where there is a vsock device, a balloon
 *   {"VmDescriptor":{"hypervisor":"Kvm",...}}
 *                     and what Status has. There is no vm_fd: KVM would not serve the
 *                     receiver, and nothing of the VM leaves its jail.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define CONTROL_MAX_PACKET (64u << 10)

enum control_kind {
	CONTROL_EXIT,
	CONTROL_POWERBTN,
	CONTROL_SUSPEND_VCPUS,
	CONTROL_RESUME_VCPUS,
	CONTROL_SUSPEND_VM,
	CONTROL_RESUME_VM,
	CONTROL_BALLOON_ADJUST,
	CONTROL_BALLOON_STATS,
	CONTROL_DISK_RESIZE,
	CONTROL_DUMP,
	CONTROL_VCPU_PID_TID,
	CONTROL_VM_DESCRIPTOR,
	CONTROL_STATUS,
	CONTROL_KINDS,
};

struct control_request {
	enum control_kind kind;
	uint64_t index; /* of a disk */
	uint64_t bytes;
	bool wait;
	int fd; /* that came with the packet, or -1; whoever handles it may take it */
};

/* Decode a packet. -EINVAL with a sentence; *@ret is untouched then. */
int control_parse(const char *text, size_t len, struct control_request *ret,
		  struct err *err);

/* A request's packet, to be freed by the caller; NULL without memory. */
char *control_print(const struct control_request *request);

/* Of an answer that carries a sentence. NULL without memory. */
json_t *control_error(const char *sentence);

/*
 * Decode an answer: 0 for one that is no error, which goes to *@ret_reply (a new
 * reference); -EREMOTEIO with the VM's own sentence; -EPROTO for what is no answer.
 */
int control_parse_reply(const char *text, size_t len, json_t **ret_reply,
			struct err *err);
