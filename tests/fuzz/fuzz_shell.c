/* A shell's stream, from either side: frames are whole, and the first is understood. */
#undef NDEBUG
#include <assert.h>
#include <string.h>

#include "base/shell_proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at(const struct shell_frame *f)
{
	static uint8_t buf[SHELL_FRAME_MAX];
	static struct shell_start start;
	struct shell_size window;
	int n;

	if (shell_get_start(f, &start) == 0) {
		n = shell_put_start(buf, &start);
		assert(n == SHELL_HEADER + f->len);
		assert(memcmp(buf + SHELL_HEADER, f->data, f->len) == 0);
	}
	if (shell_get_size(f, &window) == 0) {
		n = shell_put_size(buf, &window);
		assert(n == SHELL_HEADER + f->len);
		assert(memcmp(buf + SHELL_HEADER, f->data, f->len) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct shell_reader reader;
	size_t room, chunk = size ? data[0] + 1u : 1, framed = 0, came = 0;
	struct shell_frame f;

	memset(&reader, 0, sizeof(reader));
	while (size > 0) {
		uint8_t *to = shell_room(&reader, &room);
		size_t n = chunk < size ? chunk : size;

		assert(room > 0 && to + room == reader.buf + sizeof(reader.buf));
		n = n < room ? n : room;
		memcpy(to, data, n);
		shell_add(&reader, n);
		came += n;
		while (shell_next(&reader, &f)) {
			assert(f.data + f.len <= reader.buf + reader.len);
			framed += SHELL_HEADER + f.len;
			look_at(&f);
		}
		assert(framed <= came && came - framed < SHELL_FRAME_MAX);
		data += n;
		size -= n;
	}
	return 0;
}
