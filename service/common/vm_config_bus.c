/* A VM's configuration as D-Bus carries it; see vm_config.h. One message, one thread.
 */
#include "service/common/vm_config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- files, in the order in which both directions meet them ---------------------- */

struct files {
	int *fds;
	size_t n, max;
};

static void add_files(struct files *f, const struct config_key *table,
		      const void *fields)
{
	for (; table->key; table++) {
		int fd = table->kind == CONFIG_FILE
				 ? *(const int *)((const char *)fields + table->offset)
				 : -1;

		if (fd < 0 || (table->flags & CONFIG_STREAM))
			continue;
		if (f->n < f->max)
			f->fds[f->n] = fd;
		f->n++;
	}
}

size_t vm_config_files(const struct vm_config *c, int *fds, size_t max)
{
	struct files f = { fds, 0, max };

	add_files(&f, vm_config_keys, c);
	for (size_t i = 0; i < c->n_disks; i++) {
		add_files(&f, vm_config_disk_keys, &c->disks[i]);
		for (size_t j = 0; j < c->disks[i].n_partitions; j++)
			add_files(&f, vm_config_partition_keys,
				  &c->disks[i].partitions[j]);
	}
	return f.n;
}

/* --- writing -------------------------------------------------------------------- */

static int append_file(sd_bus_message *m, const struct config_key *k, int fd,
		       int64_t *next)
{
	if (fd < 0)
		return 0;
	if (*next < 0 || (k->flags & CONFIG_STREAM))
		return sd_bus_message_append(m, "{sv}", k->key, "h", fd);
	return sd_bus_message_append(m, "{sv}", k->key, "u", (uint32_t)(*next)++);
}

static int append_id(sd_bus_message *m, const char *key, const struct vm_config *c)
{
	int r;

	if (!c->has_instance_id)
		return 0;
	r = sd_bus_message_open_container(m, 'e', "sv");
	if (r >= 0)
		r = sd_bus_message_append_basic(m, 's', key);
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'v', "ay");
	if (r >= 0)
		r = sd_bus_message_append_array(m, 'y', c->instance_id,
						sizeof(c->instance_id));
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

/* The fields of one table that are not at their default. */
static int append_fields(sd_bus_message *m, const struct config_key *table,
			 const void *fields, int64_t *next)
{
	int r = 0;

	for (const struct config_key *k = table; r >= 0 && k->key; k++) {
		const void *field = (const char *)fields + k->offset;
		char *const *string = field;
		const uint64_t *number = field;

		if (k->kind == CONFIG_STRING && *string)
			r = sd_bus_message_append(m, "{sv}", k->key, "s", *string);
		else if (k->kind == CONFIG_BOOL)
			r = sd_bus_message_append(m, "{sv}", k->key, "b",
						  (int)*(const bool *)field);
		else if (k->kind == CONFIG_U64 && *number)
			r = sd_bus_message_append(m, "{sv}", k->key, "t", *number);
		else if (k->kind == CONFIG_ENUM && *(const int *)field)
			r = sd_bus_message_append(m, "{sv}", k->key, "s",
						  k->words[*(const int *)field]);
		else if (k->kind == CONFIG_FILE)
			r = append_file(m, k, *(const int *)field, next);
		else if (k->kind == CONFIG_ID)
			r = append_id(m, k->key, fields);
	}
	return r;
}

/* @n dictionaries as {key, <aa{sv}>}; @fill writes the entries of the i-th. */
typedef int fill_fn(sd_bus_message *m, const void *items, size_t i, int64_t *next);

static int append_dicts(sd_bus_message *m, const char *key, const void *items, size_t n,
			fill_fn *fill, int64_t *next)
{
	int r;

	if (n == 0)
		return 0;
	r = sd_bus_message_open_container(m, 'e', "sv");
	if (r >= 0)
		r = sd_bus_message_append_basic(m, 's', key);
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'v', "aa{sv}");
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'a', "a{sv}");
	for (size_t i = 0; r >= 0 && i < n; i++) {
		r = sd_bus_message_open_container(m, 'a', "{sv}");
		if (r >= 0)
			r = fill(m, items, i, next);
		if (r >= 0)
			r = sd_bus_message_close_container(m);
	}
	for (int i = 0; r >= 0 && i < 3; i++)
		r = sd_bus_message_close_container(m);
	return r;
}

static int fill_partition(sd_bus_message *m, const void *items, size_t i, int64_t *next)
{
	const struct config_partition *p = items;

	return append_fields(m, vm_config_partition_keys, &p[i], next);
}

static int fill_disk(sd_bus_message *m, const void *items, size_t i, int64_t *next)
{
	const struct config_disk *d = (const struct config_disk *)items + i;
	int r = append_fields(m, vm_config_disk_keys, d, next);

	return r < 0 ? r
		     : append_dicts(m, "partitions", d->partitions, d->n_partitions,
				    fill_partition, next);
}

int vm_config_append(sd_bus_message *m, const struct vm_config *c, int64_t first_index)
{
	int r = sd_bus_message_open_container(m, 'a', "{sv}");

	if (r >= 0)
		r = append_fields(m, vm_config_keys, c, &first_index);
	if (r >= 0)
		r = append_dicts(m, "disks", c->disks, c->n_disks, fill_disk,
				 &first_index);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

/* --- reading -------------------------------------------------------------------- */

struct reader {
	sd_bus_message *m;
	struct config_store *store;
	struct err *err;
};

static int bad_type(struct reader *rd, const char *key, const char *want)
{
	return err_set(rd->err, -EBADMSG, "%s: must be %s", key, want);
}

static int read_file(struct reader *rd, const char *key, char type, int *field)
{
	uint32_t index;
	int fd, r;

	if (type == 'u') {
		r = sd_bus_message_read_basic(rd->m, 'u', &index);
		if (r < 0)
			return err_sys(rd->err, r, "%s", key);
		if (!rd->store || index >= rd->store->n || rd->store->fds[index] < 0)
			return err_set(
				rd->err, -EBADMSG,
				"%s: no file of index %u was passed, or it is used already",
				key, index);
		*field = rd->store->fds[index];
		rd->store->fds[index] = -1;
		return 0;
	}
	if (type != 'h')
		return bad_type(rd, key, "a file: h, or the u that PassFiles gave");
	r = sd_bus_message_read_basic(rd->m, 'h', &fd);
	if (r < 0)
		return err_sys(rd->err, r, "%s", key);
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return err_sys(rd->err, -errno, "%s", key);
	*field = fd;
	return 0;
}

static int read_number(struct reader *rd, const struct config_key *k, char type,
		       uint64_t *field)
{
	union {
		uint32_t u;
		int32_t i;
		uint64_t t;
		int64_t x;
	} v;
	uint64_t n;
	int r;

	if (!strchr("utix", type))
		return bad_type(rd, k->key, "a number");
	r = sd_bus_message_read_basic(rd->m, type, &v);
	if (r < 0)
		return err_sys(rd->err, r, "%s", k->key);
	n = type == 'u'	  ? v.u
	    : type == 't' ? v.t
	    : type == 'i' ? (v.i < 0 ? 0 : (uint64_t)v.i)
			  : (v.x < 0 ? 0 : (uint64_t)v.x);
	if (n < k->min || n > k->max)
		return err_set(rd->err, -EBADMSG, "%s: must be %llu to %llu", k->key,
			       (unsigned long long)k->min, (unsigned long long)k->max);
	*field = n;
	return 0;
}

static int read_word(struct reader *rd, const struct config_key *k, int *field)
{
	const char *s;
	int r = sd_bus_message_read_basic(rd->m, 's', &s);

	if (r < 0)
		return err_sys(rd->err, r, "%s", k->key);
	for (int i = 0; k->words[i]; i++)
		if (*k->words[i] && strcmp(k->words[i], s) == 0) {
			*field = i;
			return 0;
		}
	return err_set(rd->err, -EBADMSG, "%s: \"%s\" is not a word for it: %s", k->key,
		       s, k->help);
}

static int read_string(struct reader *rd, const struct config_key *k, char **field)
{
	const char *s;
	int r = sd_bus_message_read_basic(rd->m, 's', &s);

	if (r < 0)
		return err_sys(rd->err, r, "%s", k->key);
	*field = strdup(s);
	return *field ? 0 : err_sys(rd->err, -ENOMEM, "%s", k->key);
}

static int read_id(struct reader *rd, const char *key, struct vm_config *c)
{
	const void *bytes;
	size_t len;
	int r = sd_bus_message_read_array(rd->m, 'y', &bytes, &len);

	if (r < 0)
		return bad_type(rd, key, "64 bytes");
	if (len != sizeof(c->instance_id))
		return bad_type(rd, key, "64 bytes");
	memcpy(c->instance_id, bytes, len);
	c->has_instance_id = true;
	return 0;
}

/* 1: the value at hand asks for nothing, being false, empty, or made of such. */
static int skip_nothing(sd_bus_message *m)
{
	const char *contents;
	char type;
	int r = sd_bus_message_peek_type(m, &type, &contents), flag = 1, nothing = 1;

	if (r < 0)
		return r;
	if (type == 'b') {
		r = sd_bus_message_read_basic(m, 'b', &flag);
		return r < 0 ? r : !flag;
	}
	if (!strchr("aev", type)) {
		/* A key says nothing by itself. */
		r = sd_bus_message_skip(m, NULL);
		return r < 0 ? r : 0;
	}
	r = sd_bus_message_enter_container(m, type, contents);
	if (r >= 0 && type == 'e')
		r = sd_bus_message_skip(m, "s");
	while (r >= 0 && (r = sd_bus_message_at_end(m, 0)) == 0) {
		r = skip_nothing(m);
		nothing = nothing && r > 0;
	}
	if (r >= 0)
		r = sd_bus_message_exit_container(m);
	return r < 0 ? r : nothing;
}

static int read_disks(struct reader *rd, struct vm_config *c);
static int read_partitions(struct reader *rd, struct config_disk *d);

/* The value of @k, within its variant, of @type ("s", "aa{sv}"). */
static int read_value(struct reader *rd, const struct config_key *k, const char *type,
		      void *fields)
{
	void *field = (char *)fields + k->offset;
	int flag, r;

	switch (k->kind) {
	case CONFIG_STRING:
		return *type == 's' ? read_string(rd, k, field)
				    : bad_type(rd, k->key, "a string");
	case CONFIG_ENUM:
		return *type == 's' ? read_word(rd, k, field)
				    : bad_type(rd, k->key, "a string");
	case CONFIG_BOOL:
		if (*type != 'b')
			return bad_type(rd, k->key, "a boolean");
		r = sd_bus_message_read_basic(rd->m, 'b', &flag);
		if (r < 0)
			return err_sys(rd->err, r, "%s", k->key);
		*(bool *)field = flag;
		return 0;
	case CONFIG_U64:
		return read_number(rd, k, *type, field);
	case CONFIG_FILE:
		return read_file(rd, k->key, *type, field);
	case CONFIG_ID:
		return read_id(rd, k->key, fields);
	case CONFIG_DISKS:
		if (strcmp(type, "aa{sv}") != 0)
			return bad_type(rd, k->key,
					"an array of dictionaries (aa{sv})");
		/* The same kind of row in two tables. */
		if (strcmp(k->key, "disks") == 0)
			return read_disks(rd, fields);
		return read_partitions(rd, fields);
	case CONFIG_UNSUPPORTED:
		r = skip_nothing(rd->m);
		if (r < 0)
			return err_sys(rd->err, -EBADMSG, "%s", k->key);
		return r ? 0 : err_set(rd->err, -ENOTSUP, "%s: %s", k->key, k->help);
	case CONFIG_LAUNCHER:
		break;
	}
	return err_set(rd->err, -EBADMSG, "%s: is not known", k->key);
}

static int read_entry(struct reader *rd, const struct config_key *table, void *fields,
		      uint64_t *seen)
{
	const struct config_key *k;
	const char *key, *type, *near;
	int r;

	r = sd_bus_message_read_basic(rd->m, 's', &key);
	if (r >= 0)
		r = sd_bus_message_peek_type(rd->m, NULL, &type);
	if (r < 0)
		return err_sys(rd->err, r, "configuration");
	k = vm_config_find(table, key);
	if (!k) {
		near = vm_config_nearest(table, key);
		return err_set(rd->err, -EBADMSG, "%s: is not known%s%s%s", key,
			       near ? "; did you mean " : "", near ? near : "",
			       near ? "?" : "");
	}
	if (*seen & UINT64_C(1) << (k - table))
		return err_set(rd->err, -EBADMSG, "%s: is given twice", key);
	*seen |= UINT64_C(1) << (k - table);
	r = sd_bus_message_enter_container(rd->m, 'v', type);
	if (r < 0)
		return err_sys(rd->err, r, "%s", key);
	r = read_value(rd, k, type, fields);
	if (r < 0)
		return r;
	r = sd_bus_message_exit_container(rd->m);
	return r < 0 ? err_sys(rd->err, r, "%s", key) : 0;
}

/* One a{sv}. */
static int read_dict(struct reader *rd, const struct config_key *table, void *fields)
{
	uint64_t seen = 0;
	int r;

	r = sd_bus_message_enter_container(rd->m, 'a', "{sv}");
	if (r < 0)
		return err_sys(rd->err, -EBADMSG, "configuration");
	while ((r = sd_bus_message_enter_container(rd->m, 'e', "sv")) > 0) {
		r = read_entry(rd, table, fields, &seen);
		if (r < 0)
			return r;
		r = sd_bus_message_exit_container(rd->m);
		if (r < 0)
			break;
	}
	if (r >= 0)
		r = sd_bus_message_exit_container(rd->m);
	return r < 0 ? err_sys(rd->err, -EBADMSG, "configuration") : 0;
}

static int read_partitions(struct reader *rd, struct config_disk *d)
{
	int r = sd_bus_message_enter_container(rd->m, 'a', "a{sv}");

	while (r >= 0 && (r = sd_bus_message_at_end(rd->m, 0)) == 0) {
		struct config_partition *more;

		if (d->n_partitions == CONFIG_MAX_PARTITIONS)
			return err_set(rd->err, -EBADMSG,
				       "partitions: are more than %d",
				       CONFIG_MAX_PARTITIONS);
		more = reallocarray(d->partitions, d->n_partitions + 1, sizeof(*more));
		if (!more)
			return err_sys(rd->err, -ENOMEM, "partitions");
		d->partitions = more;
		d->partitions[d->n_partitions] =
			(struct config_partition){ .image = -1 };
		r = read_dict(rd, vm_config_partition_keys,
			      &d->partitions[d->n_partitions++]);
		if (r < 0)
			return vm_config_within(rd->err, r, "partitions",
						d->n_partitions - 1);
	}
	if (r >= 0)
		r = sd_bus_message_exit_container(rd->m);
	return r < 0 ? err_sys(rd->err, -EBADMSG, "partitions") : 0;
}

static int read_disks(struct reader *rd, struct vm_config *c)
{
	int r = sd_bus_message_enter_container(rd->m, 'a', "a{sv}");

	while (r >= 0 && (r = sd_bus_message_at_end(rd->m, 0)) == 0) {
		struct config_disk *more;

		if (c->n_disks == CONFIG_MAX_DISKS)
			return err_set(rd->err, -EBADMSG, "disks: are more than %d",
				       CONFIG_MAX_DISKS);
		more = reallocarray(c->disks, c->n_disks + 1, sizeof(*more));
		if (!more)
			return err_sys(rd->err, -ENOMEM, "disks");
		c->disks = more;
		c->disks[c->n_disks] = (struct config_disk){ .image = -1 };
		r = read_dict(rd, vm_config_disk_keys, &c->disks[c->n_disks++]);
		if (r < 0)
			return vm_config_within(rd->err, r, "disks", c->n_disks - 1);
	}
	if (r >= 0)
		r = sd_bus_message_exit_container(rd->m);
	return r < 0 ? err_sys(rd->err, -EBADMSG, "disks") : 0;
}

static void first_fault(void *arg, const char *path, const char *sentence)
{
	struct err *err = arg;

	if (err && !*err->msg)
		err_set(err, -EBADMSG, "%s: %s", path, sentence);
}

int vm_config_read(sd_bus_message *m, struct config_store *store, struct vm_config *c,
		   struct err *err)
{
	struct err own = { "" };
	struct reader rd = { m, store, err ? err : &own };
	int r = read_dict(&rd, vm_config_keys, c);

	if (r < 0)
		return r;
	*rd.err = (struct err){ "" };
	return vm_config_check(c, first_fault, rd.err) > 0 ? -EBADMSG : 0;
}
