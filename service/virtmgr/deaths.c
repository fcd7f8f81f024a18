/* How a VM died; see deaths.h. No state, any thread. */
#include "service/virtmgr/deaths.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "service/common/bus_error.h"

/* vmm's words for it (vmm(1), STATUS OBJECT). */
static const struct {
	const char *word;
	int reason;
} words[] = {
	{ "shutdown", DEATH_SHUTDOWN },
	{ "reboot", DEATH_REBOOT },
	{ "crash", DEATH_CRASH },
	{ "sandbox", DEATH_CRASH },
	{ "panic", DEATH_PANIC },
	{ "watchdog", DEATH_WATCHDOG_REBOOT },
	{ "timeout", DEATH_TIMEOUT },
	{ "killed", DEATH_KILLED },
	{ "start-failed", DEATH_START_FAILED },
	{ "bad-arguments", DEATH_BAD_ARGUMENTS },
	{ "debug-exit", DEATH_DEBUG_EXIT },
	{ "bootloader", DEATH_BOOTLOADER },
	{ "error", DEATH_INFRASTRUCTURE_ERROR },
};

/* Those of Android's that guests can tell of. */
static const struct {
	const char *code;
	int reason;
} codes[] = {
#define CODE(name)                  \
	{                           \
#name, DEATH_##name \
	}
	CODE(PVM_FIRMWARE_PUBLIC_KEY_MISMATCH),
	CODE(PVM_FIRMWARE_INSTANCE_IMAGE_CHANGED),
	CODE(MICRODROID_FAILED_TO_CONNECT_TO_VIRTUALIZATION_SERVICE),
	CODE(MICRODROID_PAYLOAD_HAS_CHANGED),
	CODE(MICRODROID_PAYLOAD_VERIFICATION_FAILED),
	CODE(MICRODROID_INVALID_PAYLOAD_CONFIG),
	CODE(MICRODROID_UNKNOWN_RUNTIME_ERROR),
#undef CODE
};

/* vmm's exit statuses, for when its object is lost. */
static const struct {
	int status, reason;
} statuses[] = {
	{ 0, DEATH_SHUTDOWN },	       { 1, DEATH_START_FAILED },
	{ 32, DEATH_REBOOT },	       { 33, DEATH_CRASH },
	{ 34, DEATH_PANIC },	       { 35, DEATH_BAD_ARGUMENTS },
	{ 36, DEATH_WATCHDOG_REBOOT }, { 37, DEATH_TIMEOUT },
};

static const struct {
	const char *key;
	char type;
} told[] = {
	{ "exit_status", 'i' },	 { "detail", 's' },	  { "requested_by", 's' },
	{ "failure_code", 's' }, { "console_tail", 's' }, { "run_time_ms", 't' },
};

static const char *text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static int reason_of_object(const json_t *object)
{
	const char *word = text(object, "reason"), *code = text(object, "failure_code");

	for (size_t i = 0; code && i < ARRAY_SIZE(codes); i++)
		if (strcmp(codes[i].code, code) == 0)
			return codes[i].reason;
	for (size_t i = 0; word && i < ARRAY_SIZE(words); i++)
		if (strcmp(words[i].word, word) == 0)
			return words[i].reason;
	return DEATH_UNKNOWN;
}

static int reason_of_exit(const struct death_signs *s)
{
	if (s->wait_code == CLD_KILLED || s->wait_code == CLD_DUMPED)
		return s->wait_status == SIGKILL ? DEATH_KILLED : DEATH_CRASH;
	if (s->wait_code != CLD_EXITED)
		return DEATH_INFRASTRUCTURE_ERROR;
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
		if (statuses[i].status == s->wait_status)
			return statuses[i].reason;
	return s->wait_status >= 64 && s->wait_status < 128 ? DEATH_DEBUG_EXIT
							    : DEATH_UNKNOWN;
}

/* As a D-Bus message can carry it: a guest's console may say anything. */
static json_t *tame(const char *value)
{
	AUTO_FREE char *text = strdup(value);

	if (!text)
		return NULL;
	bus_text(text);
	return json_string(text);
}

/* Only what is told, of the type that it has there. */
static json_t *pick_details(const json_t *object)
{
	json_t *details = json_object();

	for (size_t i = 0; details && i < ARRAY_SIZE(told); i++) {
		json_t *value = json_object_get(object, told[i].key);

		if (told[i].type == 's' && json_is_string(value))
			json_object_set_new(details, told[i].key,
					    tame(json_string_value(value)));
		else if (told[i].type != 's' && json_is_integer(value))
			json_object_set(details, told[i].key, value);
	}
	return details;
}

static void describe(const struct death_signs *s, char *sentence, size_t size)
{
	const char *said = s->last_words;

	if (s->wait_code == CLD_EXITED && said && *said)
		snprintf(sentence, size, "%s", said);
	else if (s->wait_code == CLD_EXITED)
		snprintf(sentence, size, "vmm ended with status %d", s->wait_status);
	else if (s->wait_code && s->killed_for == DEATH_HANGUP)
		snprintf(sentence, size,
			 "the payload has not told in time that it started");
	else if (s->wait_code && s->killed_for >= 0)
		snprintf(sentence, size, "the VM was stopped");
	else if (s->wait_code)
		snprintf(sentence, size, "vmm was killed by SIG%s",
			 sigabbrev_np(s->wait_status) ?: "?");
	else
		snprintf(sentence, size, "vmm's process is lost");
}

static json_t *make_details(const struct death_signs *s)
{
	json_t *details = json_object();
	char sentence[sizeof(((struct err *)NULL)->msg)];

	describe(s, sentence, sizeof(sentence));
	json_object_set_new(details, "detail", json_string(sentence));
	if (s->wait_code == CLD_EXITED)
		json_object_set_new(details, "exit_status",
				    json_integer(s->wait_status));
	/* Nobody asked for a signal that is not the manager's: the OOM killer's. */
	if (s->wait_code == CLD_EXITED || s->killed_for >= 0)
		json_object_set_new(details, "requested_by", json_string("host"));
	return details;
}

void death_find(const struct death_signs *s, struct death *ret_death)
{
	json_t *object = s->object_len && s->object_len <= DEATHS_MAX_OBJECT
				 ? json_loadb(s->object, s->object_len, 0, NULL)
				 : NULL;
	struct death d;

	if (json_is_object(object)) {
		d.reason = reason_of_object(object);
		d.details = pick_details(object);
	} else {
		d.reason = reason_of_exit(s);
		d.details = make_details(s);
	}
	if (s->killed_for >= 0 && d.reason == DEATH_KILLED)
		d.reason = s->killed_for;
	json_decref(object);
	*ret_death = d;
}

void death_clear(struct death *d)
{
	json_decref(d->details);
	d->details = NULL;
}

const char *death_sentence(const struct death *d)
{
	return text(d->details, "detail") ?: "the VM has ended, and nobody knows why";
}

void death_reword(struct death *d, const char *sentence)
{
	if (text(d->details, "detail"))
		json_object_set_new(d->details, "detail", tame(sentence));
}

static int append_detail(sd_bus_message *m, const char *key, char type,
			 const json_t *value)
{
	if (type == 's')
		return sd_bus_message_append(m, "{sv}", key, "s",
					     json_string_value(value));
	if (type == 'i')
		return sd_bus_message_append(m, "{sv}", key, "i",
					     (int32_t)json_integer_value(value));
	return sd_bus_message_append(m, "{sv}", key, "t",
				     (uint64_t)json_integer_value(value));
}

int death_append(sd_bus_message *m, const struct death *d)
{
	int r = sd_bus_message_append(m, "is", (int32_t)d->reason,
				      death_name(d->reason) ?: "");

	if (r >= 0)
		r = sd_bus_message_open_container(m, 'a', "{sv}");
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(told); i++) {
		const json_t *value = json_object_get(d->details, told[i].key);

		if (value)
			r = append_detail(m, told[i].key, told[i].type, value);
	}
	return r < 0 ? r : sd_bus_message_close_container(m);
}
