/*
 * The subcommands that speak to a running VM; see control_client.h. Each is one request
 * and its answer. The VM is not trusted: what it says is printed without control
 * characters, and waited for no longer than ANSWER_S.
 */
#include "vmm/control_client.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/opt.h"
#include "base/unix.h"
#include "vmm/control_proto.h"
#include "vmm/exit.h"

/* More than the VM takes to give up on its guest's balloon. */
#define ANSWER_S 15

struct command {
	const char *name;
	const char *word; /* that must follow it, or NULL */
	const char *flag; /* what it understands beside --help, or NULL */
	const char *numbers[2]; /* what they are, before the socket */
	const char *help;
	enum control_kind kind;
	enum control_kind flag_kind; /* the request when the flag is given */
};

static const struct command commands[] = {
	{ .name = "stop",
	  .kind = CONTROL_EXIT,
	  .help = "End the VM at once, without asking its guest: see powerbtn." },
	{ .name = "suspend",
	  .flag = "--full",
	  .kind = CONTROL_SUSPEND_VCPUS,
	  .flag_kind = CONTROL_SUSPEND_VM,
	  .help = "Let the guest stand still until vmm resume; with --full its devices, too: they\n"
		  "finish what they have begun, and do not touch its memory any more." },
	{ .name = "resume",
	  .flag = "--full",
	  .kind = CONTROL_RESUME_VCPUS,
	  .flag_kind = CONTROL_RESUME_VM,
	  .help = "Let the guest go on after vmm suspend; with --full its devices, too." },
	{ .name = "powerbtn",
	  .kind = CONTROL_POWERBTN,
	  .help = "Press the VM's power button, upon which most guests shut down." },
	{ .name = "balloon",
	  .flag = "--wait",
	  .kind = CONTROL_BALLOON_ADJUST,
	  .flag_kind = CONTROL_BALLOON_ADJUST,
	  .numbers = { "BYTES" },
	  .help = "Ask the guest to give up BYTES of its memory in all; with --wait until it has." },
	{ .name = "balloon_stats",
	  .flag = "--json",
	  .kind = CONTROL_BALLOON_STATS,
	  .flag_kind = CONTROL_BALLOON_STATS,
	  .help = "What the guest tells of its memory, in bytes; with --json as one object." },
	{ .name = "disk",
	  .word = "resize",
	  .kind = CONTROL_DISK_RESIZE,
	  .numbers = { "INDEX", "BYTES" },
	  .help = "Change the size of a disk; they count from 0, in the order of --block." },
	{ .name = "dump",
	  .kind = CONTROL_DUMP,
	  .help = "Write the guest's memory and registers to FILE, an ELF core for crash(8) and gdb(1);\n"
		  "the guest stands still meanwhile." },
	{ .name = "status",
	  .flag = "--json",
	  .kind = CONTROL_STATUS,
	  .flag_kind = CONTROL_STATUS,
	  .help = "What the VM is and does; with --json as one object." },
};

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

/* The VM writes it, however long that takes. */
static bool takes_file(const struct command *c)
{
	return c->kind == CONTROL_DUMP;
}

bool control_client_knows(const char *name)
{
	return find(name) != NULL;
}

static void print_usage(const struct command *c, FILE *out)
{
	fprintf(out, "Usage: vmm %s", c->name);
	if (c->word)
		fprintf(out, " %s", c->word);
	if (c->flag)
		fprintf(out, " [%s]", c->flag);
	for (size_t i = 0; i < ARRAY_SIZE(c->numbers) && c->numbers[i]; i++)
		fprintf(out, " %s", c->numbers[i]);
	fprintf(out, "%s SOCKET\n", takes_file(c) ? " FILE" : "");
}

/* --- arguments ------------------------------------------------------------- */

struct invocation {
	const struct command *command;
	struct control_request request;
	const char *socket, *file;
	bool flag, help;
};

static int parse_number(const char *what, const char *text, uint64_t *ret,
			struct err *err)
{
	/* JSON's numbers end there. */
	if (!text || opt_number(text, ret) < 0 || *ret > INT64_MAX)
		return err_set(err, -EINVAL, "%s: must be a number%s%s", what,
			       text ? ", not " : "", text ?: "");
	return 0;
}

static int parse_positional(struct invocation *v, char *const *args, struct err *err)
{
	const struct command *c = v->command;
	uint64_t number[2] = { 0 };
	size_t n = 0;
	int r;

	if (c->word && (!*args || strcmp(*args++, c->word) != 0))
		return err_set(err, -EINVAL, "%s must follow", c->word);
	for (; n < ARRAY_SIZE(number) && c->numbers[n]; n++) {
		r = parse_number(c->numbers[n], *args, &number[n], err);
		if (r < 0)
			return r;
		args++;
	}
	if (takes_file(c) && !*args)
		return err_set(err, -EINVAL, "no FILE given");
	if (takes_file(c))
		v->file = *args++;
	if (!*args)
		return err_set(err, -EINVAL, "no SOCKET given");
	v->socket = *args++;
	if (*args)
		return err_set(err, -EINVAL, "%s: one argument too many", *args);
	v->request = (struct control_request){
		.kind = v->flag ? c->flag_kind : c->kind,
		.index = number[0],
		.bytes = number[n == 2],
		.wait = v->flag,
		.fd = -1,
	};
	return 0;
}

/* Flags may stand anywhere; @args is overwritten. */
static int parse_args(struct invocation *v, char **args, struct err *err)
{
	char **kept = args;

	for (char **arg = args; *arg; arg++) {
		if (!strcmp(*arg, "--help") || !strcmp(*arg, "-h"))
			v->help = true;
		else if (v->command->flag && !strcmp(*arg, v->command->flag))
			v->flag = true;
		else if ((*arg)[0] == '-')
			return err_set(err, -EINVAL, "%s: unknown option", *arg);
		else
			*kept++ = *arg;
	}
	*kept = NULL;
	return v->help ? 0 : parse_positional(v, args, err);
}

/* --- the answer ------------------------------------------------------------ */

static void print_text(const char *text)
{
	for (; *text; text++)
		putchar(iscntrl((unsigned char)*text) ? '?' : *text);
}

/* "key: value" lines of an object and those in it. */
static void print_lines(json_t *object)
{
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value)
	{
		if (json_is_object(value)) {
			print_lines(value);
			continue;
		}
		if (!json_is_string(value) && !json_is_integer(value))
			continue;
		print_text(key);
		printf(": ");
		if (json_is_string(value))
			print_text(json_string_value(value));
		else
			printf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
		putchar('\n');
	}
}

static void print_reply(const struct invocation *v, json_t *reply)
{
	json_t *body = json_object_iter_value(json_object_iter(reply));

	if (!body)
		return; /* "Ok" */
	if (v->flag) {
		json_dumpf(body, stdout, JSON_ENSURE_ASCII | JSON_INDENT(2));
		putchar('\n');
	} else {
		print_lines(body);
	}
}

/* Say it, with the descriptor @pass unless that is -1. */
static int send_with(int fd, char *text, int pass)
{
	union {
		struct cmsghdr head;
		char buf[CMSG_SPACE(sizeof(int))];
	} c = { .head = { .cmsg_len = CMSG_LEN(sizeof(int)),
			  .cmsg_level = SOL_SOCKET,
			  .cmsg_type = SCM_RIGHTS } };
	struct iovec iov = { .iov_base = text, .iov_len = strlen(text) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	memcpy(CMSG_DATA(&c.head), &pass, sizeof(pass));
	if (pass >= 0) {
		msg.msg_control = c.buf;
		msg.msg_controllen = sizeof(c.buf);
	}
	return sendmsg(fd, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int ask(const struct invocation *v, json_t **ret_reply, struct err *err)
{
	const struct unix_patience patience = { .seconds = v->file ? 0 : ANSWER_S };
	AUTO_CLOSE int fd = unix_connect("socket", v->socket, SOCK_SEQPACKET, &patience,
					 err);
	AUTO_CLOSE int file = -1;
	AUTO_FREE char *text = control_print(&v->request);
	AUTO_FREE char *answer = malloc(CONTROL_MAX_PACKET);
	ssize_t n;
	int r;

	if (fd < 0)
		return fd;
	if (!text || !answer)
		return err_sys(err, -ENOMEM, "%s", v->socket);
	if (v->file) {
		file = file_open_private("crash dump", v->file, err);
		if (file < 0)
			return file;
	}
	r = send_with(fd, text, file);
	if (r < 0)
		return err_sys(err, r, "%s", v->socket);
	n = recv(fd, answer, CONTROL_MAX_PACKET, 0);
	if (n == 0)
		return err_set(err, -ECONNRESET, "%s: the VM has ended", v->socket);
	if (n < 0 && errno == EAGAIN)
		return err_set(err, -ETIMEDOUT,
			       "%s: the VM has not answered for %d seconds", v->socket,
			       ANSWER_S);
	if (n < 0)
		return err_sys(err, -errno, "%s", v->socket);
	r = control_parse_reply(answer, (size_t)n, ret_reply, err);
	return r < 0 ? err_prefix(err, r, "%s", v->socket) : 0;
}

int control_client(char **args)
{
	struct invocation v = { .command = find(args[0]) };
	json_t *reply = NULL;
	struct err err;
	int status = EXIT_STOP;

	if (parse_args(&v, args + 1, &err) < 0) {
		status = EXIT_ARGS;
	} else if (v.help) {
		print_usage(v.command, stdout);
		printf("%s\n\nSOCKET is what vmm run --socket has made.\n",
		       v.command->help);
	} else if (ask(&v, &reply, &err) < 0) {
		status = EXIT_ERROR;
	} else {
		print_reply(&v, reply);
		json_decref(reply);
	}
	if (status != EXIT_STOP)
		fprintf(stderr, "vmm: %s: %s\n", args[0], err.msg);
	if (status == EXIT_ARGS)
		print_usage(v.command, stderr);
	return status;
}
