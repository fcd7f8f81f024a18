/* From disks to what is to be started; see plan.h. */
#include "plan.h"

#include <string.h>

#include "bootconfig.h"

#define PARAMS_MAX 2048 /* of what AVB specifies, as text */

/* What Android's userspace asks of the bootloader, without the prefix androidboot. */
struct params {
	char guid[48], size[24], digest[2 * HASH_MAX + 1];
	struct {
		const char *key, *value;
	} v[9];
	size_t n;
};

static void add_param(struct params *p, const char *key, const char *value)
{
	p->v[p->n].key = key;
	p->v[p->n++].value = value;
}

static void make_params(const struct avb_slot *slot, struct params *p)
{
	struct text guid = text_into(p->guid, sizeof(p->guid));
	struct text size = text_into(p->size, sizeof(p->size));
	struct text digest = text_into(p->digest, sizeof(p->digest));

	text_add(&guid, "PARTUUID=");
	text_add_guid(&guid, slot->vbmeta_guid);
	text_add_number(&size, slot->size);
	text_add_hex(&digest, slot->digest, hash_size(slot->alg));
	p->n = 0;
	add_param(p, "androidboot.slot_suffix", slot->suffix);
	add_param(p, "androidboot.verifiedbootstate",
		  slot->unlocked ? "orange" : "green");
	add_param(p, "androidboot.vbmeta.device", p->guid);
	add_param(p, "androidboot.vbmeta.avb_version", "1.3");
	add_param(p, "androidboot.vbmeta.device_state",
		  slot->unlocked ? "unlocked" : "locked");
	add_param(p, "androidboot.vbmeta.hash_alg", hash_name(slot->alg));
	add_param(p, "androidboot.vbmeta.size", p->size);
	add_param(p, "androidboot.vbmeta.digest", p->digest);
	add_param(p, "androidboot.veritymode",
		  slot->hashtree_disabled ? "disabled" : "enforcing");
}

static void add_word(struct text *t, const char *word)
{
	if (!*word)
		return;
	text_add_separator(t);
	text_add(t, word);
}

/* Version 4 tells by bootconfig what the older ones tell on the command line. */
static bool make_cmdline(const struct avb_slot *slot, const struct bootimg *img,
			 const struct params *params, const char *host,
			 struct plan *plan, struct failure *f)
{
	struct text t = text_into(plan->cmdline, sizeof(plan->cmdline));

	add_word(&t, host);
	add_word(&t, img->vendor_cmdline);
	add_word(&t, img->cmdline);
	add_word(&t, slot->cmdline);
	if (img->version == 4)
		add_word(&t, "bootconfig");
	for (size_t i = 0; img->version != 4 && i < params->n; i++) {
		add_word(&t, params->v[i].key);
		text_add(&t, "=");
		text_add(&t, params->v[i].value);
	}
	if (t.cut || t.len > plan->kernel.hdr.cmdline_size)
		return fail_with(f, FAILURE_BOOTLOADER_BAD_BOOT_IMAGE, "boot",
				 "the command line is longer than its kernel takes");
	return true;
}

static void append(uint8_t *to, uint64_t *at, const struct blob *b)
{
	if (b->size)
		memcpy(to + *at, b->data, b->size);
	*at += b->size;
}

static bool make_initrd(const struct bootimg *img, const struct params *params,
			struct arena *arena, struct plan *plan, struct failure *f)
{
	uint64_t ramdisks = img->vendor_ramdisk.size + img->ramdisk.size, at = 0, lines;
	uint64_t room = ramdisks + img->bootconfig.size + 1 + PARAMS_MAX + 3 +
			BOOTCONFIG_TRAILER_SIZE;
	uint8_t *p;
	struct text t;

	if (img->version != 4 && !ramdisks)
		return true;
	p = arena_take(arena, room);
	if (!p || room > UINT32_MAX)
		return fail_with(f, FAILURE_BOOTLOADER_NO_MEMORY, "boot",
				 "its ramdisks do not fit into memory");
	append(p, &at, &img->vendor_ramdisk);
	append(p, &at, &img->ramdisk);
	if (img->version == 4) {
		append(p, &at, &img->bootconfig);
		/* Whatever it ends with, ours begins a line. */
		if (img->bootconfig.size)
			p[at++] = '\n';
		t = text_into((char *)p + at, PARAMS_MAX);
		for (size_t i = 0; i < params->n; i++)
			bootconfig_add(&t, params->v[i].key, params->v[i].value);
		if (t.cut)
			return fail_with(f, FAILURE_BOOTLOADER_BAD_BOOT_IMAGE, "boot",
					 "its bootconfig is too long");
		lines = at - ramdisks + t.len;
		at = ramdisks + bootconfig_finish(p + ramdisks, lines, ramdisks);
	}
	plan->initrd = (struct blob){ p, at };
	return true;
}

/* All memory that the slot takes stays taken. */
static bool try_slot(const struct gpt *disks, size_t n, const struct key_block *key,
		     const char *cmdline, struct arena *arena, struct plan *plan,
		     plan_note_fn *note, void *arg, struct failure *f)
{
	struct avb_slot *slot = arena_take(arena, sizeof(*slot));
	struct bootimg *img = arena_take(arena, sizeof(*img));
	struct blob parts[AVB_PARTITIONS];
	struct params params;

	if (!slot || !img)
		return fail_with(f, FAILURE_BOOTLOADER_NO_MEMORY, "vbmeta",
				 "no memory to verify it");
	if (!avb_verify(disks, n, slot_suffix(plan->slot), key, arena, slot, f))
		return false;
	if (slot->n_errors)
		note(arg, f);
	for (size_t i = 0; i < AVB_PARTITIONS; i++)
		parts[i] = (struct blob){ slot->parts[i].data, slot->parts[i].size };
	plan->unlocked = slot->unlocked;
	make_params(slot, &params);
	return bootimg_parse(&parts[AVB_BOOT], &parts[AVB_INIT_BOOT],
			     &parts[AVB_VENDOR_BOOT], img, f) &&
	       linux_parse(&img->kernel, &plan->kernel, f) &&
	       make_cmdline(slot, img, &params, cmdline, plan, f) &&
	       make_initrd(img, &params, arena, plan, f);
}

/* Whether the slot will fail again, whatever the host does. */
static bool is_final(enum failure_code code)
{
	return code != FAILURE_BOOTLOADER_NO_KEY &&
	       code != FAILURE_BOOTLOADER_NO_MEMORY &&
	       code != FAILURE_BOOTLOADER_IO_ERROR;
}

bool plan_make(const struct gpt *disks, size_t n, const struct key_block *key,
	       const char *cmdline, struct arena *arena, plan_note_fn *note, void *arg,
	       struct plan *ret_plan, struct failure *f)
{
	struct failure first = { 0 }, failure;
	struct slots slots;
	unsigned tried = 0;
	uint64_t mark;
	int slot;

	if (!slots_read(&slots, disks, n, arena, f))
		return false;
	mark = arena->used;
	while ((slot = slots_choose(&slots, tried)) >= 0) {
		memset(ret_plan, 0, sizeof(*ret_plan));
		ret_plan->slot = (unsigned)slot;
		if (try_slot(disks, n, key, cmdline, arena, ret_plan, note, arg,
			     &failure)) {
			/* A misc that cannot be written is no reason not to start. */
			if (!slots_starting(&slots, (unsigned)slot, &failure))
				note(arg, &failure);
			return true;
		}
		arena_release(arena, mark);
		if (!tried)
			first = failure;
		tried |= 1u << slot;
		if (slots.present && slots_choose(&slots, tried) >= 0)
			note(arg, &failure);
		if (is_final(failure.code) &&
		    !slots_broken(&slots, (unsigned)slot, &failure))
			note(arg, &failure);
	}
	if (!tried)
		return fail_with(f, FAILURE_BOOTLOADER_NO_SLOT, "misc",
				 "no slot has tries left");
	*f = first;
	return false;
}
