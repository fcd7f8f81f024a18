/* What a VM tells, for people and for programs; see run.h. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "service/common/death.h"
#include "service/vm/bus_json.h"
#include "service/vm/command.h"
#include "service/vm/run.h"

/* Without a status of vmm's, as when it was killed. */
static int status_of(int reason, const json_t *details)
{
	const json_t *status = json_object_get(details, "exit_status");
	const char *by = json_string_value(json_object_get(details, "requested_by"));

	if (status)
		return (int)json_integer_value(status) & 0xff;
	switch (reason) {
	case DEATH_SHUTDOWN:
		return STATUS_OK;
	case DEATH_KILLED: /* by vm stop, or by who knows whom */
		return by && strcmp(by, "host") == 0 ? STATUS_OK : 33;
	case DEATH_REBOOT:
		return 32;
	case DEATH_CRASH:
		return 33;
	case DEATH_PANIC:
		return 34;
	case DEATH_BAD_ARGUMENTS:
		return STATUS_BAD_ARGUMENTS;
	case DEATH_WATCHDOG_REBOOT:
		return 36;
	case DEATH_HANGUP:
	case DEATH_TIMEOUT:
		return 37;
	default:
		return STATUS_ERROR;
	}
}

/* One line; @object: its members, which are freed, or NULL. */
static void tell_json(const struct run_events *e, const char *event, json_t *object)
{
	json_t *line = json_pack("{s:s, s:i, s:s}", "event", event, "cid", (int)e->cid,
				 "name", e->name);

	if (object)
		json_object_update(line, object);
	json_decref(object);
	json_dumpf(line, stdout, JSON_COMPACT);
	json_decref(line);
	putchar('\n');
	fflush(stdout);
}

void run_event(const struct run_events *e, const char *event)
{
	if (e->json)
		tell_json(e, event, NULL);
	else
		fprintf(stderr, "VM %s: CID %u, %s\n", e->name, e->cid, event);
}

static int payload_finished(const struct run_events *e, sd_bus_message *m)
{
	int32_t code;
	int r = sd_bus_message_read(m, "i", &code);

	if (r < 0)
		return r;
	if (e->json)
		tell_json(e, "payload-finished", json_pack("{s:i}", "exit_code", code));
	else
		fprintf(stderr, "VM %s: payload finished, exit code %d\n", e->name,
			code);
	return 0;
}

static int payload_error(const struct run_events *e, sd_bus_message *m)
{
	const char *message;
	struct err line;
	int32_t code;
	int r = sd_bus_message_read(m, "is", &code, &message);

	if (r < 0)
		return r;
	err_set(&line, 0, "VM %s: payload error %d: %s", e->name, code, message);
	if (e->json)
		tell_json(e, "error",
			  json_pack("{s:i, s:s}", "code", code, "message", message));
	else
		fprintf(stderr, "%s\n", line.msg);
	return 0;
}

static int died(struct run_events *e, sd_bus_message *m)
{
	const char *name = "unknown", *detail;
	struct err line = { "" };
	json_t *details;
	int32_t reason = DEATH_UNKNOWN;

	/* That it died counts, whatever of it cannot be read. */
	if (sd_bus_message_read(m, "is", &reason, &name) < 0 ||
	    bus_json_dict(m, &details, NULL) < 0)
		details = json_object();
	e->dead = true;
	e->status = status_of(reason, details);
	detail = json_string_value(json_object_get(details, "detail"));
	err_set(&line, 0, "VM ended: %s%s%s", name, detail ? ": " : "", detail ?: "");
	if (e->json) {
		json_object_set_new(details, "reason", json_string(name));
		json_object_set_new(details, "exit_status", json_integer(e->status));
		tell_json(e, "died", details);
		return 0;
	}
	json_decref(details);
	fprintf(stderr, "%s\n", line.msg);
	return 0;
}

int run_on_signal(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct run_events *e = userdata;

	(void)ret_error;
	if (sd_bus_message_is_signal(m, NULL, "PayloadStarted"))
		run_event(e, "payload-started");
	else if (sd_bus_message_is_signal(m, NULL, "PayloadReady"))
		run_event(e, "payload-ready");
	else if (sd_bus_message_is_signal(m, NULL, "PayloadFinished"))
		return payload_finished(e, m);
	else if (sd_bus_message_is_signal(m, NULL, "Error"))
		return payload_error(e, m);
	else if (sd_bus_message_is_signal(m, NULL, "Died"))
		return died(e, m);
	return 0;
}
