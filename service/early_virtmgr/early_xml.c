/* One file of early VMs; see early_vms.h. Expat reads it, without a DTD and so without
 * entities of its own; every element and attribute is known or an error. */
#include <ctype.h>
#include <errno.h>
#include <expat.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/opt.h"
#include "service/early_virtmgr/early_vms.h"

#define MAX_NAME 100 /* as vm_config.c has it */
#define MAX_VALUE 4095

enum { NAME, CID, PATH, N_FIELDS };

static const char *const field_names[] = { "name", "cid", "path" };

struct reader {
	XML_Parser parser;
	struct early_vms *vms;
	const char *file;
	uint32_t first, last;
	unsigned depth, line; /* line: of the entry */
	int field; /* that is being read, at depth 3 */
	char *fields[N_FIELDS]; /* of the entry, so far */
	char text[MAX_VALUE + 1];
	size_t len;
	int r;
	struct err *err;
};

/* The first one counts. */
__attribute__((format(printf, 3, 4))) static void fail(struct reader *rd, unsigned line,
						       const char *fmt, ...)
{
	char what[256];
	const char *name = rd->fields[NAME] ?: "";
	va_list ap;

	if (rd->r < 0)
		return;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	rd->r = err_set(rd->err, -EINVAL,
			*name ? "%s: line %u: early_vm %s: %s" : "%s: line %u: %s%s",
			rd->file, line, name, what);
	XML_StopParser(rd->parser, XML_FALSE);
}

static void fail_memory(struct reader *rd)
{
	if (rd->r < 0)
		return;
	rd->r = err_sys(rd->err, -ENOMEM, "%s", rd->file);
	XML_StopParser(rd->parser, XML_FALSE);
}

static unsigned line_now(const struct reader *rd)
{
	return (unsigned)XML_GetCurrentLineNumber(rd->parser);
}

/* --- values ------------------------------------------------------------------- */

static char *trim(const char *text, size_t len)
{
	while (len && isspace((unsigned char)*text)) {
		text++;
		len--;
	}
	while (len && isspace((unsigned char)text[len - 1]))
		len--;
	return strndup(text, len);
}

static void set_field(struct reader *rd, int field, const char *text, size_t len)
{
	const char *key = field_names[field];
	AUTO_FREE char *value = trim(text, len);

	if (!value) {
		fail_memory(rd);
	} else if (rd->fields[field]) {
		fail(rd, line_now(rd), "%s: is given twice", key);
	} else if (!*value) {
		fail(rd, line_now(rd), "%s: is empty", key);
	} else if (strlen(value) > (field == NAME ? MAX_NAME : MAX_VALUE)) {
		fail(rd, line_now(rd), "%s: is too long", key);
	} else {
		rd->fields[field] = TAKE_PTR(value);
	}
}

/* Its number, or -1. */
static int find_field(const char *name)
{
	for (int i = 0; i < N_FIELDS; i++)
		if (strcmp(field_names[i], name) == 0)
			return i;
	return -1;
}

/* --- entries ------------------------------------------------------------------ */

static void drop_fields(struct reader *rd)
{
	for (int i = 0; i < N_FIELDS; i++)
		free(TAKE_PTR(rd->fields[i]));
}

static void check_unique(struct reader *rd, uint32_t cid)
{
	for (size_t i = 0; i < rd->vms->n; i++) {
		const struct early_vm *other = &rd->vms->list[i];

		if (strcmp(other->name, rd->fields[NAME]) == 0)
			fail(rd, rd->line, "name: is that of line %u of %s, too",
			     other->line, other->file);
		else if (other->cid == cid)
			fail(rd, rd->line,
			     "cid: %" PRIu32 " is that of %s, line %u of %s, too", cid,
			     other->name, other->line, other->file);
	}
}

static void add_entry(struct reader *rd, uint32_t cid)
{
	struct early_vms *vms = rd->vms;
	struct early_vm *more = reallocarray(vms->list, vms->n + 1, sizeof(*more));
	char *file = strdup(rd->file);

	if (more)
		vms->list = more;
	if (!more || !file) {
		free(file);
		fail_memory(rd);
		return;
	}
	vms->list[vms->n++] = (struct early_vm){ .name = TAKE_PTR(rd->fields[NAME]),
						 .path = TAKE_PTR(rd->fields[PATH]),
						 .cid = cid,
						 .file = file,
						 .line = rd->line };
}

static void end_entry(struct reader *rd)
{
	uint64_t cid = 0;

	for (int i = 0; i < N_FIELDS; i++)
		if (!rd->fields[i])
			fail(rd, rd->line, "<early_vm> has no %s", field_names[i]);
	if (rd->r < 0)
		return;
	if (opt_number(rd->fields[CID], &cid) < 0)
		fail(rd, rd->line, "cid: \"%s\" is not a number", rd->fields[CID]);
	else if (cid < rd->first || cid > rd->last)
		fail(rd, rd->line,
		     "cid: %s is not within %" PRIu32 " to %" PRIu32
		     ", which are this folder's",
		     rd->fields[CID], rd->first, rd->last);
	else if (rd->fields[PATH][0] != '/')
		fail(rd, rd->line, "path: %s does not begin with /", rd->fields[PATH]);
	else
		check_unique(rd, (uint32_t)cid);
	if (rd->r == 0)
		add_entry(rd, (uint32_t)cid);
}

static void start_entry(struct reader *rd, const char *name, const char **attributes)
{
	if (strcmp(name, "early_vm") != 0) {
		fail(rd, line_now(rd), "<%s> is not <early_vm>", name);
		return;
	}
	rd->line = line_now(rd);
	for (; rd->r == 0 && *attributes; attributes += 2) {
		int field = find_field(attributes[0]);

		if (field < 0)
			fail(rd, rd->line, "<early_vm> has no attribute %s",
			     attributes[0]);
		else
			set_field(rd, field, attributes[1], strlen(attributes[1]));
	}
}

/* --- what expat sees ---------------------------------------------------------- */

static void XMLCALL on_start(void *arg, const char *name, const char **attributes)
{
	struct reader *rd = arg;

	if (rd->r < 0)
		return;
	if (rd->depth != 1 && *attributes)
		fail(rd, line_now(rd), "<%s> has no attribute %s", name, *attributes);
	else if (rd->depth == 0 && strcmp(name, "early_vms") != 0)
		fail(rd, line_now(rd), "<%s> is not <early_vms>", name);
	else if (rd->depth == 1)
		start_entry(rd, name, attributes);
	else if (rd->depth == 2 && (rd->field = find_field(name)) < 0)
		fail(rd, line_now(rd), "<%s> is not <name>, <cid> or <path>", name);
	else if (rd->depth == 3)
		fail(rd, line_now(rd), "<%s> is within <%s>", name,
		     field_names[rd->field]);
	rd->len = 0;
	rd->depth++;
}

static void XMLCALL on_end(void *arg, const char *name)
{
	struct reader *rd = arg;

	(void)name;
	if (rd->r < 0)
		return;
	if (rd->depth == 3)
		set_field(rd, rd->field, rd->text, rd->len);
	else if (rd->depth == 2) {
		end_entry(rd);
		drop_fields(rd);
	}
	rd->depth--;
}

static void XMLCALL on_text(void *arg, const char *text, int len)
{
	struct reader *rd = arg;

	if (rd->r < 0)
		return;
	if (rd->depth == 3 && rd->len + (size_t)len > MAX_VALUE) {
		fail(rd, line_now(rd), "%s: is too long", field_names[rd->field]);
	} else if (rd->depth == 3) {
		memcpy(rd->text + rd->len, text, (size_t)len);
		rd->len += (size_t)len;
	} else {
		for (int i = 0; i < len; i++)
			if (!isspace((unsigned char)text[i])) {
				fail(rd, line_now(rd), "text where none belongs");
				return;
			}
	}
}

/* Entities are of it, and with them files of others and text without end. */
static void XMLCALL on_doctype(void *arg, const char *name, const char *system_id,
			       const char *public_id, int has_internal_subset)
{
	struct reader *rd = arg;

	(void)name;
	(void)system_id;
	(void)public_id;
	(void)has_internal_subset;
	fail(rd, line_now(rd), "a DTD is not read");
}

int early_vms_parse(struct early_vms *vms, const char *file, uint32_t first,
		    uint32_t last, const char *text, size_t len, struct err *err)
{
	struct reader rd = { .parser = XML_ParserCreate(NULL),
			     .vms = vms,
			     .file = file,
			     .first = first,
			     .last = last,
			     .err = err };

	if (!rd.parser)
		return err_sys(err, -ENOMEM, "%s", file);
	if (len > EARLY_VMS_MAX_BYTES) {
		XML_ParserFree(rd.parser);
		return err_set(err, -EINVAL, "%s: line 1: is larger than 64 KiB", file);
	}
	XML_SetUserData(rd.parser, &rd);
	XML_SetElementHandler(rd.parser, on_start, on_end);
	XML_SetCharacterDataHandler(rd.parser, on_text);
	XML_SetStartDoctypeDeclHandler(rd.parser, on_doctype);
	if (XML_Parse(rd.parser, text, (int)len, 1) != XML_STATUS_OK && rd.r == 0) {
		enum XML_Error code = XML_GetErrorCode(rd.parser);

		rd.r = code == XML_ERROR_NO_MEMORY
			       ? err_sys(err, -ENOMEM, "%s", file)
			       : err_set(err, -EINVAL, "%s: line %u: %s", file,
					 line_now(&rd), XML_ErrorString(code));
	}
	drop_fields(&rd);
	XML_ParserFree(rd.parser);
	return rd.r;
}
