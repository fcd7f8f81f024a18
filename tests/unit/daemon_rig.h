/*
 * virtualizationservice, running, with its folder on a file system in memory, and
 * callers of any user: this process connects as them, for which it must be root.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "dbus/global.h"
#include "service/client/client.h"

#define MEMBERS 5000
#define DEBUGGERS 5001
#define ALICE 6001
#define BOB 6002
#define MALLORY 6003 /* no member */
#define DORA 6004 /* of the debug group, too */
#define UNUSED __attribute__((unused))

struct daemon_rig {
	char dir[64];
	pid_t pid;
};

static inline const char *rig_path(const struct daemon_rig *rig, const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", rig->dir, name);
	return path;
}

/* Ready when this returns. */
static inline void rig_start(struct daemon_rig *rig)
{
	char name[] = "virtualizationservice", socket[] = "--socket";
	char config[] = "--config", ready[] = "--ready-fd", number[16];
	char cids[] = "--cids=3000-3063", level[] = "--log-level=error";
	AUTO_FREE char *path = strdup(rig_path(rig, "socket"));
	AUTO_FREE char *conf = strdup(rig_path(rig, "conf"));
	AUTO_FREE char *program = NULL;
	char *argv[] = { name, socket, path,  config, conf,
			 cids, level,  ready, number, NULL };
	int pipes[2];
	char byte;

	assert_true(asprintf(&program, "%s/virtualizationservice",
			     getenv("BUILD") ?: "build") > 0);
	assert_return_code(pipe(pipes), errno);
	snprintf(number, sizeof(number), "%d", pipes[1]);
	fcntl(pipes[0], F_SETFD, FD_CLOEXEC);
	assert_int_equal(posix_spawn(&rig->pid, program, NULL, NULL, argv, environ), 0);
	close(pipes[1]);
	assert_int_equal(read(pipes[0], &byte, 1), 1);
	assert_int_equal(byte, 'o');
	close(pipes[0]);
}

/* Its exit status, or -1 for a death by this signal. */
static inline int rig_stop(struct daemon_rig *rig, int signal)
{
	int status;

	assert_return_code(kill(rig->pid, signal), errno);
	assert_return_code(waitpid(rig->pid, &status, 0), errno);
	rig->pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

UNUSED static int rig_setup(void **state)
{
	struct daemon_rig *rig;
	FILE *conf;

	if (geteuid() != 0)
		return 0; /* rig_of() skips the test */
	rig = calloc(1, sizeof(*rig));
	assert_non_null(rig);
	strcpy(rig->dir, "/dev/shm/test_daemon_XXXXXX");
	if (!mkdtemp(rig->dir))
		assert_non_null(mkdtemp(strcpy(rig->dir, "/tmp/test_daemon_XXXXXX")));
	assert_return_code(chmod(rig->dir, 0755), errno);
	conf = fopen(rig_path(rig, "conf"), "w");
	assert_non_null(conf);
	fprintf(conf,
		"group = %d\ndebug_group = %d\n[uid %d]\nvms = 3\ncids = 4\n"
		"memory_mib = 1024\nconnections = 5\n",
		MEMBERS, DEBUGGERS, BOB);
	fclose(conf);
	rig_start(rig);
	*state = rig;
	return 0;
}

UNUSED static int rig_teardown(void **state)
{
	struct daemon_rig *rig = *state;
	char command[128];

	if (!rig)
		return 0;
	/* It is still there, and in order, whatever was done to it. */
	if (rig->pid)
		assert_int_equal(rig_stop(rig, SIGTERM), 0);
	snprintf(command, sizeof(command), "rm -rf %s", rig->dir);
	assert_int_equal(system(command), 0);
	free(rig);
	return 0;
}

static inline struct daemon_rig *rig_of(void **state)
{
	if (!*state) {
		print_message("not root: cannot be several users\n");
		skip();
	}
	return *state;
}

/* A socket connected by @uid with the groups that the names above say. */
static inline int rig_socket(const struct daemon_rig *rig, uid_t uid)
{
	const gid_t groups[] = { MEMBERS, DEBUGGERS };
	size_t n = uid == DORA ? 2 : uid == ALICE || uid == BOB ? 1 : 0;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

	assert_return_code(fd, errno);
	strcpy(addr.sun_path, rig_path(rig, "socket"));
	assert_return_code(setgroups(n, groups), errno);
	assert_return_code(setegid(uid), errno);
	assert_return_code(seteuid(uid), errno);
	r = connect(fd, (struct sockaddr *)&addr, sizeof(addr));
	assert_return_code(seteuid(0), errno);
	assert_return_code(setegid(0), errno);
	assert_return_code(r, errno);
	return fd;
}

static inline sd_bus *rig_connect(const struct daemon_rig *rig, uid_t uid)
{
	sd_bus *bus;

	assert_return_code(client_open(rig_socket(rig, uid), &bus, NULL), 0);
	return bus;
}

#define rig_call(bus, member, reply, err, ...) \
	client_call(bus, GLOBAL_PATH, GLOBAL_INTERFACE, member, reply, err, __VA_ARGS__)

/* 0 with a CID and a lease, or an error. */
static inline int rig_create(sd_bus *bus, const char *name, uint64_t mib,
			     uint32_t *ret_cid, int *ret_lease, struct err *err)
{
	sd_bus_message *reply = NULL;
	int lease, r;

	*ret_cid = 0;
	*ret_lease = -1;
	r = rig_call(bus, "CreateVmContext", &reply, err, "a{sv}", 3, "name", "s", name,
		     "memory", "t", mib << 20, "cpus", "u", 2U);
	if (r == 0) {
		assert_true(sd_bus_message_read(reply, "uh", ret_cid, &lease) > 0);
		*ret_lease = fcntl(lease, F_DUPFD_CLOEXEC, 3);
		assert_return_code(*ret_lease, errno);
	}
	sd_bus_message_unref(reply);
	return r;
}

/* How many VMs this caller sees; -errno. */
static inline int rig_count(sd_bus *bus)
{
	sd_bus_message *reply = NULL;
	int r = rig_call(bus, "ListVms", &reply, NULL, ""), n = 0;

	if (r < 0)
		return r;
	assert_true(sd_bus_message_enter_container(reply, 'a', "a{sv}") > 0);
	while (sd_bus_message_skip(reply, "a{sv}") > 0)
		n++;
	sd_bus_message_unref(reply);
	return n;
}

UNUSED static bool rig_leased(const struct daemon_rig *rig, uint32_t cid)
{
	char name[32];

	snprintf(name, sizeof(name), "cid/%u", cid);
	return access(rig_path(rig, name), F_OK) == 0;
}
