/* What --serial options mean together; see config.h. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "devices/chardev.h"
#include "vmm/config.h"

#define MAX_NUM 4
#define MAX_QUEUE_SIZE 256

int config_queue_sizes(const struct serial_cfg *s, uint16_t sizes[2], struct err *err)
{
	const char *text = s->queue_sizes;
	size_t at = 1;

	sizes[0] = sizes[1] = 0;
	if (!text)
		return 0;
	for (unsigned i = 0; i < 2 && text[0] == '['; i++) {
		size_t len = strcspn(text + at, ",]");
		char number[8] = "";
		uint64_t v = 0;

		if (len < sizeof(number))
			memcpy(number, text + at, len);
		if (opt_number(number, &v) < 0 || v < 1 || v > MAX_QUEUE_SIZE ||
		    (v & (v - 1)))
			break;
		sizes[i] = (uint16_t)v;
		at += len + 1;
		if (text[at - 1] == ']')
			return 0;
	}
	return err_set(
		err, -EINVAL,
		"--serial: max-queue-sizes: \"%s\" is not [IN,OUT], powers of two up to %d",
		text, MAX_QUEUE_SIZE);
}

/* What does not go together within one of them; NULL: all does. */
static const char *contradiction(const struct serial_cfg *s)
{
	if (s->type >= CHARDEV_FILE && !s->path)
		return "its type needs path=";
	if (s->type < CHARDEV_FILE && s->path)
		return "path= needs type=file, unix or unix-stream";
	if (s->input_stream && s->type != CHARDEV_UNIX_STREAM)
		return "input-unix-stream needs type=unix-stream";
	if (s->use_stdin + !!s->input + s->input_stream > 1)
		return "stdin, input= and input-unix-stream exclude one another";
	if (s->earlycon && s->hardware != SERIAL_UART)
		return "only hardware=serial can be earlycon";
	if (s->queue_sizes && s->hardware != SERIAL_VIRTIO)
		return "max-queue-sizes= needs hardware=virtio-console";
	if (s->hardware != SERIAL_DEBUGCON)
		return NULL;
	if (s->console)
		return "it cannot be the kernel's console";
	if (s->use_stdin || s->input || s->input_stream)
		return "it has no input";
	return NULL;
}

static int check(const struct serial_cfg *s, struct err *err)
{
	const char *why = contradiction(s);
	uint16_t sizes[2];

	if (why)
		return err_set(err, -EINVAL, "--serial: %s %" PRIu64 ": %s",
			       config_serial_hardware[s->hardware], s->num, why);
	return config_queue_sizes(s, sizes, err);
}

int config_finish_serials(struct config *cfg, struct err *err)
{
	bool have_console = false, have_stdin = false;
	bool seen[SERIAL_DEBUGCON + 1][MAX_NUM + 1] = { 0 };
	struct config_device *dev;
	struct serial_cfg *com1;
	int r;

	for (size_t i = 0; i < cfg->n_devices; i++) {
		const struct serial_cfg *s = cfg->devices[i].cfg;

		if (cfg->devices[i].class != &serial_option)
			continue;
		assert(s);
		r = check(s, err);
		if (r < 0)
			return r;
		if (seen[s->hardware][s->num])
			return err_set(err, -EINVAL,
				       "--serial: %s %" PRIu64 " is given twice",
				       config_serial_hardware[s->hardware], s->num);
		seen[s->hardware][s->num] = true;
		if (s->use_stdin && have_stdin)
			return err_set(err, -EINVAL, "--serial: stdin is given twice");
		have_stdin |= s->use_stdin;
		have_console |= s->console;
	}
	/* Guests count them from hvc0 up, without gaps. */
	for (unsigned n = 2; n <= MAX_NUM; n++)
		if (seen[SERIAL_VIRTIO][n] && !seen[SERIAL_VIRTIO][n - 1])
			return err_set(err, -EINVAL,
				       "--serial: virtio-console %u without number %u",
				       n, n - 1);
	if (have_console || seen[SERIAL_UART][1])
		return 0;
	dev = config_add_device(cfg, &serial_option, err);
	if (!dev)
		return -ENOMEM;
	com1 = dev->cfg;
	assert(com1);
	com1->console = true;
	com1->use_stdin = !have_stdin;
	return 0;
}
