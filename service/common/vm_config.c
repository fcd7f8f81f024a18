/* A VM's configuration, in memory; see vm_config.h. Any thread. */
#include "service/common/vm_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk/guid.h"

void vm_config_init(struct vm_config *c)
{
	*c = (struct vm_config){ .balloon = true };
	c->kernel = c->initrd = c->bootloader = c->bios_key = -1;
	c->console_out = c->console_in = c->log = c->tap = c->ramdump = -1;
}

/* Closes what CONFIG_FILE rows say, frees what CONFIG_STRING rows say. */
static void free_fields(const struct config_key *table, void *fields)
{
	for (const struct config_key *k = table; k->key; k++) {
		void *field = (char *)fields + k->offset;

		if (k->kind == CONFIG_FILE && *(int *)field >= 0) {
			close(*(int *)field);
			*(int *)field = -1;
		} else if (k->kind == CONFIG_STRING) {
			free(*(char **)field);
			*(char **)field = NULL;
		}
	}
}

void vm_config_free(struct vm_config *c)
{
	for (size_t i = 0; i < c->n_disks; i++) {
		struct config_disk *d = &c->disks[i];

		for (size_t j = 0; j < d->n_partitions; j++)
			free_fields(vm_config_partition_keys, &d->partitions[j]);
		free(d->partitions);
		free_fields(vm_config_disk_keys, d);
	}
	free(c->disks);
	c->disks = NULL;
	c->n_disks = 0;
	free_fields(vm_config_keys, c);
}

const struct config_key *vm_config_find(const struct config_key *table, const char *key)
{
	for (; table->key; table++)
		if (strcmp(table->key, key) == 0)
			return table;
	return NULL;
}

int vm_config_within(struct err *err, int code, const char *key, size_t index)
{
	const struct err inner = err ? *err : (struct err){ "" };

	return err_set(err, code, "%s[%zu].%s", key, index, inner.msg);
}

/* Levenshtein's distance, up to a limit of key lengths. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[64];
	size_t n = strlen(b);

	if (n >= sizeof(row) / sizeof(row[0]))
		return UINT32_MAX;
	for (size_t j = 0; j <= n; j++)
		row[j] = (unsigned)j;
	for (size_t i = 0; a[i]; i++) {
		unsigned corner = row[0]++;

		for (size_t j = 1; j <= n; j++) {
			unsigned best = corner + (a[i] != b[j - 1]);

			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			corner = row[j];
			row[j] = best;
		}
	}
	return row[n];
}

const char *vm_config_nearest(const struct config_key *table, const char *key)
{
	unsigned best = (unsigned)strlen(key) / 2 + 1;
	const char *found = NULL;

	for (; table->key; table++) {
		unsigned d = distance(key, table->key);

		if (d < best && !(table->flags & CONFIG_NO_JSON)) {
			best = d;
			found = table->key;
		}
	}
	return found;
}

/* --- what no single key shows --------------------------------------------------- */

struct check {
	vm_config_fault_fn *fault;
	void *arg;
	unsigned n;
};

static void fault(struct check *ch, const char *path, const char *sentence)
{
	ch->fault(ch->arg, path, sentence);
	ch->n++;
}

/* Whether 1.0.0 is as @op (of @len bytes) wants it, beside a version that is newer
 * (@cmp > 0), older or the same. */
static bool holds(const char *op, size_t len, int cmp)
{
	switch (len) {
	case 0:
		return cmp == 0;
	case 1:
		return *op == '<' ? cmp > 0 : *op == '>' ? cmp < 0 : cmp == 0;
	case 2:
		return op[1] == '=' && (*op == '<'   ? cmp >= 0
					: *op == '>' ? cmp <= 0
						     : false);
	default:
		return false;
	}
}

/* "~1.0", "1.2.3", "^1", ">=1, <2"...: whether 1.0.0 is meant. */
static bool version_fits(const char *text)
{
	do {
		unsigned part[3] = { 0 };
		const char *op;
		size_t op_len;
		int n = 0, cmp;

		text += strspn(text, " ");
		op = text;
		op_len = strspn(text, "~^=<>");
		text += op_len;
		text += strspn(text, " ");
		if (*text < '0' || *text > '9')
			return false;
		sscanf(text, "%3u%n.%3u%n.%3u%n", &part[0], &n, &part[1], &n, &part[2],
		       &n);
		cmp = part[0] != 1 ? (int)part[0] - 1 : (part[1] || part[2]);
		if (!holds(op, op_len, cmp))
			return false;
		text += n;
		text += strspn(text, " ");
		if (!*text)
			return true;
	} while (*text++ == ',');
	return false;
}

static void check_disk(struct check *ch, const struct config_disk *d, size_t i)
{
	char path[96];
	struct guid guid;

	snprintf(path, sizeof(path), "disks[%zu]", i);
	if ((d->image >= 0) == (d->n_partitions > 0))
		fault(ch, path, "needs either an image or partitions");
	if (d->n_partitions > CONFIG_MAX_PARTITIONS)
		fault(ch, path, "has more than 128 partitions");
	for (size_t j = 0; j < d->n_partitions; j++) {
		const struct config_partition *p = &d->partitions[j];

		snprintf(path, sizeof(path), "disks[%zu].partitions[%zu].label", i, j);
		if (!p->label || !*p->label)
			fault(ch, path, "is missing");
		for (size_t k = 0; p->label && k < j; k++)
			if (d->partitions[k].label &&
			    strcmp(d->partitions[k].label, p->label) == 0)
				fault(ch, path, "is another partition's, too");
		snprintf(path, sizeof(path), "disks[%zu].partitions[%zu].path", i, j);
		if (p->image < 0)
			fault(ch, path, "is missing");
		snprintf(path, sizeof(path), "disks[%zu].partitions[%zu].writable", i,
			 j);
		if (p->writable && !d->writable)
			fault(ch, path, "cannot be in a disk that is not");
		snprintf(path, sizeof(path), "disks[%zu].partitions[%zu].guid", i, j);
		if (p->guid && guid_parse(p->guid, &guid) < 0)
			fault(ch, path, "is not a GUID");
	}
}

unsigned vm_config_check(const struct vm_config *c, vm_config_fault_fn *fn, void *arg)
{
	struct check ch = { fn, arg, 0 };

	if (c->kernel < 0 && c->bootloader < 0)
		fault(&ch, "kernel", "is missing, and so is a bootloader");
	if (c->kernel >= 0 && c->bootloader >= 0)
		fault(&ch, "bootloader", "cannot be together with a kernel");
	if (c->initrd >= 0 && c->bootloader >= 0)
		fault(&ch, "initrd", "cannot be together with a bootloader");
	if (c->bios_key >= 0 && c->bootloader < 0)
		fault(&ch, "bios_key", "is of use to a bootloader only");
	if (c->platform_version && !version_fits(c->platform_version))
		fault(&ch, "platform_version", "does not admit this one, 1.0.0");
	if (c->cpu_count && c->cpu_topology)
		fault(&ch, "cpu_count", "cannot be together with cpu_topology");
	if (c->swiotlb_mib && !c->protected)
		fault(&ch, "swiotlb_mib", "is of use to protected VMs only");
	if (c->start_timeout_s && c->vsock == VSOCK_NONE)
		fault(&ch, "start_timeout_s", "needs a vsock, by which payloads tell");
	if (c->name && (!*c->name || strlen(c->name) > 100))
		fault(&ch, "name", "must have 1 to 100 bytes");
	if (c->n_disks > CONFIG_MAX_DISKS)
		fault(&ch, "disks", "are more than 64");
	for (size_t i = 0; i < c->n_disks; i++)
		check_disk(&ch, &c->disks[i], i);
	return ch.n;
}
