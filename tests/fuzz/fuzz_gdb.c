/* A debugger's bytes: no crash, and the target is asked for what exists only. */
#undef NDEBUG
#include <assert.h>

#include "tests/unit/fake_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fake_target t;
	struct gdb_session *s = &t.session;

	fake_target_start(&t);
	for (size_t i = 0; i < size && !s->detached && !t.killed; i++) {
		/* A byte that no packet has stands for what a guest does. */
		if (data[i] >= 0x80 && t.running) {
			t.running = false;
			gdb_session_stopped(s, data[i] % FAKE_CPUS, data[i] >> 2 & 15,
					    false);
		}
		gdb_session_byte(s, data[i]);
		assert(!s->tx.overflow && s->running == t.running);
		assert(s->cpu < FAKE_CPUS && s->step_cpu < FAKE_CPUS);
		s->tx.sent = s->tx.len;
	}
	return 0;
}
