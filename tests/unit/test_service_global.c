/* The manager's connection, to services that this test starts and kills. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "service/common/peer.h"
#include "service/virtmgr/global.h"

struct rig {
	char dir[64];
	sd_event *event;
	struct global *g;
	uint32_t opened; /* the CID that open_vm() was asked for */
};

static int on_open(void *userdata, uint32_t cid, int fd, struct err *err)
{
	struct rig *rig = userdata;

	rig->opened = cid;
	close(fd);
	return cid == 4000 ? err_set(err, -ENOENT, "no such VM") : 0;
}

static const struct global_ops ops = { .open_vm = on_open };

static void in(struct rig *rig, const char *name, char path[static 128])
{
	snprintf(path, 128, "%s/%s", rig->dir, name);
}

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	char path[128], *build = getenv("BUILD");
	AUTO_FREE char *program = NULL;

	assert_non_null(rig);
	strcpy(rig->dir, "/tmp/test_service_XXXXXX");
	assert_non_null(mkdtemp(rig->dir));
	assert_true(asprintf(&program, "%s/virtualizationservice", build ?: "build") >
		    0);
	setenv("VIRTUALIZATIONSERVICE", program, 1);
	setenv("XDG_RUNTIME_DIR", rig->dir, 1);
	in(rig, "system", path);
	setenv("VIRTUALIZATIONSERVICE_SOCKET", path, 1);
	assert_return_code(sd_event_new(&rig->event), 0);
	assert_return_code(global_new(rig->event, &ops, rig, &rig->g, NULL), 0);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;
	char command[128];

	global_free(rig->g);
	sd_event_unref(rig->event);
	snprintf(command, sizeof(command), "rm -rf %s", rig->dir);
	assert_int_equal(system(command), 0);
	free(rig);
	return 0;
}

static void test_a_private_service_is_started_where_there_is_none(void **state)
{
	struct rig *rig = *state;
	struct err err = { "" };
	uint32_t cid[2];
	int lease[2];

	for (int i = 0; i < 2; i++) {
		int r = global_create_context(rig->g, "one", 1 << 28, 1, &cid[i],
					      &lease[i], &err);

		if (r < 0)
			fail_msg("%s", err.msg);
		assert_true(fcntl(lease[i], F_GETFD) == FD_CLOEXEC);
	}
	assert_int_equal(cid[1], cid[0] == 65535 ? 2048 : cid[0] + 1);
	assert_string_equal(global_kind(rig->g), "private");
	global_update_context(rig->g, cid[0], 2, NULL);
	global_release_context(rig->g, cid[0]);
	close(lease[0]);
	close(lease[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_a_private_service_is_started_where_there_is_none, setup,
			teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
