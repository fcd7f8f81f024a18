/* What vmm, which its guest may have taken over, writes as its status object or says.
 */
#undef NDEBUG
#include <assert.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "disk/utf8.h"
#include "service/virtmgr/deaths.h"
#include "service/virtmgr/launch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static sd_bus *make_bus(void)
{
	sd_bus *bus;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0 || sd_bus_new(&bus) < 0 ||
	    sd_bus_set_fd(bus, fds[0], fds[0]) < 0 || sd_bus_start(bus) < 0)
		abort();
	return bus;
}

/* A child's descriptors 3 and 4, of which one has a name. */
static struct launch *make_launch(void)
{
	struct launch *l;

	if (launch_new("vmm", &l, NULL) < 0 ||
	    launch_fd(l, memfd_create("image", MFD_CLOEXEC)) < 0 ||
	    launch_fd_copy(l, STDERR_FILENO) < 0)
		abort();
	return l;
}

static void name_files(const uint8_t *data, size_t size)
{
	static struct launch *l;
	char *text = strndup((const char *)data, size);
	size_t room = 4 + size % 64;
	char *named = malloc(room);

	if (!l)
		l = make_launch();
	if (!text || !named)
		abort();
	launch_name_files(l, text, named, room);
	assert(memchr(named, '\0', room));
	free(named);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static sd_bus *bus;
	const struct death_signs signs = {
		.wait_code = CLD_EXITED,
		.object = (const char *)data,
		.object_len = size,
		.last_words = "vmm: a sentence",
		.killed_for = size % 2 ? DEATH_HANGUP : -1,
	};
	sd_bus_message *m;
	struct death d;

	if (!bus)
		bus = make_bus();
	name_files(data, size);
	death_find(&signs, &d);
	assert(death_name(d.reason));
	assert(utf8_valid(death_sentence(&d), strlen(death_sentence(&d))));
	if (sd_bus_message_new_signal(bus, &m, "/a", "a.b", "Died") < 0)
		abort();
	/* A client gets it, whatever it is. */
	assert(death_append(m, &d) >= 0);
	assert(sd_bus_message_seal(m, 1, 0) >= 0);
	sd_bus_message_unref(m);
	death_clear(&d);
	return 0;
}
