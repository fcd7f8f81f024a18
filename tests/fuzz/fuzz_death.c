/* What vmm, which its guest may have taken over, writes as its status object. */
#undef NDEBUG
#include <assert.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "disk/utf8.h"
#include "service/virtmgr/deaths.h"

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
