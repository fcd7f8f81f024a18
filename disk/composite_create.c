/* Laying out composite disks, and writing their files; see composite_create.h. */
#include "disk/composite_create.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "disk/composite.h"
#include "disk/proto.h"

#define VERSION 2 /* relative paths are relative to the image's folder */

#define MAX_END \
	(INT64_MAX - 2ull * GPT_AREA_LEN) /* of partitions: so the disk's fits */

/* A layout under construction. */
struct layout {
	struct gpt gpt;
	struct proto_composite proto;
	uint64_t end; /* of what has been placed, in bytes */
};

static void place(struct layout *l, const char *path, bool writable, uint64_t len)
{
	/* Only read by proto_encode(); the paths stay the caller's. */
	union {
		const char *in;
		char *out;
	} p = { path };

	l->proto.components[l->proto.n++] = (struct proto_component){
		.path = p.out, .offset = l->end, .writable = writable
	};
	l->end += len;
}

static int check_source(const struct composite_source *s, const struct layout *l,
			struct err *err)
{
	if (!*s->label || !*s->path)
		return err_set(err, -EINVAL, "partition %zu: needs a label and a file",
			       l->gpt.n + 1);
	if (s->size == 0)
		return err_set(err, -EINVAL, "partition %s: %s is empty", s->label,
			       s->path);
	if (s->writable && s->size % COMPOSITE_ALIGN)
		return err_set(
			err, -EINVAL,
			"partition %s: %s is writable, so its size must be a multiple of %u (truncate -s %%%u rounds it up)",
			s->label, s->path, COMPOSITE_ALIGN, COMPOSITE_ALIGN);
	if (l->end > MAX_END || s->size > MAX_END - l->end)
		return err_set(err, -EINVAL, "partition %s: is too large", s->label);
	return 0;
}

static int check_unique(const struct composite_source *s, const struct gpt *g,
			const struct gpt_part *part, struct err *err)
{
	for (size_t i = 0; i < g->n; i++) {
		if (!memcmp(part->name, g->part[i].name, sizeof(part->name)))
			return err_set(
				err, -EINVAL,
				"partition %s: another one has the same label in its first %u characters",
				s->label, GPT_NAME_UNITS);
		if (!memcmp(&part->guid, &g->part[i].guid, sizeof(part->guid)))
			return err_set(err, -EINVAL,
				       "partition %s: another one has the same GUID",
				       s->label);
	}
	return 0;
}

static int add_source(struct layout *l, const struct composite_source *s,
		      const char *filler, struct err *err)
{
	struct gpt_part *part = &l->gpt.part[l->gpt.n];
	uint64_t padded;
	int r = check_source(s, l, err);

	if (r < 0)
		return r;
	padded = align_up(s->size, COMPOSITE_ALIGN);
	if (gpt_name(s->label, part->name) < 0)
		return err_set(err, -EINVAL, "partition %s: its label is not UTF-8",
			       s->label);
	part->type = guid_is_zero(&s->type) ? gpt_type_linux : s->type;
	part->guid = s->guid;
	part->first = l->end / GPT_BLOCK;
	part->last = (l->end + padded) / GPT_BLOCK - 1;
	if (guid_is_zero(&part->guid))
		r = guid_random(&part->guid, err);
	if (r == 0)
		r = check_unique(s, &l->gpt, part, err);
	if (r < 0)
		return r;
	l->gpt.n++;
	place(l, s->path, s->writable, s->size);
	if (padded != s->size)
		place(l, filler, false, padded - s->size);
	return 0;
}

static int add_all(struct layout *l, const struct composite_source *sources, size_t n,
		   const struct composite_names *names, struct err *err)
{
	int r = guid_random(&l->gpt.guid, err);

	place(l, names->header, false, GPT_AREA_LEN);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = add_source(l, &sources[i], names->filler, err);
	place(l, names->footer, false, GPT_AREA_LEN);
	l->proto.version = VERSION;
	l->proto.length = l->end;
	l->gpt.blocks = l->end / GPT_BLOCK;
	return r;
}

static int encode(const struct layout *l, struct composite_image *im, struct err *err)
{
	AUTO_FREE unsigned char *message = NULL;
	size_t len;
	int r = proto_encode(&l->proto, &message, &len, err);

	if (r < 0)
		return r;
	im->spec_len = COMPOSITE_MAGIC_LEN + len;
	im->spec = malloc(im->spec_len);
	if (!im->spec)
		return err_sys(err, -ENOMEM, "composite disk");
	memcpy(im->spec, COMPOSITE_MAGIC, COMPOSITE_MAGIC_LEN);
	memcpy(im->spec + COMPOSITE_MAGIC_LEN, message, len);
	im->size = l->end;
	gpt_write(&l->gpt, im->header, im->footer);
	return 0;
}

/* For @n partitions: each with a filler, and the tables. */
static struct layout *new_layout(size_t n)
{
	struct layout *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->proto.components = calloc(2 * n + 2, sizeof(*l->proto.components));
	if (l->proto.components)
		return l;
	free(l);
	return NULL;
}

static void free_layout(struct layout *l)
{
	if (l)
		free(l->proto.components);
	free(l);
}

int composite_build(const struct composite_source *sources, size_t n,
		    const struct composite_names *names,
		    struct composite_image **ret_image, struct err *err)
{
	struct composite_image *im;
	struct layout *l;
	int r;

	if (n > GPT_PARTS)
		return err_set(err, -EINVAL, "%zu partitions: there can be %u", n,
			       GPT_PARTS);
	im = calloc(1, sizeof(*im));
	l = new_layout(n);
	if (!im || !l) {
		free(im);
		free_layout(l);
		return err_sys(err, -ENOMEM, "composite disk");
	}
	r = add_all(l, sources, n, names, err);
	if (r == 0)
		r = encode(l, im, err);
	if (r == 0)
		*ret_image = TAKE_PTR(im);
	free_layout(l);
	composite_image_free(im);
	return r;
}

void composite_image_free(struct composite_image *im)
{
	if (im)
		free(im->spec);
	free(im);
}

int composite_source_parse(char *text, struct composite_source *ret, struct err *err)
{
	struct composite_source s = { 0 };
	char *field[4] = { NULL }, *rest = text;
	size_t n = 0;

	while (rest && n < 4)
		field[n++] = strsep(&rest, ":");
	if (rest)
		return err_set(err, -EINVAL, "partition %s: has more than 4 fields",
			       text);
	if (n < 2 || !*field[0] || !*field[1])
		return err_set(err, -EINVAL,
			       "partition %s: must be LABEL:FILE[:writable][:GUID]",
			       text);
	s.label = field[0];
	s.path = field[1];
	if (field[2] && *field[2]) {
		if (strcmp(field[2], "writable") != 0)
			return err_set(
				err, -EINVAL,
				"partition %s: %s: only \"writable\" can stand there",
				s.label, field[2]);
		s.writable = true;
	}
	if (field[3] && (guid_parse(field[3], &s.guid) < 0 || guid_is_zero(&s.guid)))
		return err_set(err, -EINVAL, "partition %s: %s is not a GUID", s.label,
			       field[3]);
	*ret = s;
	return 0;
}
