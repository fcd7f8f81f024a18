/* Configurations, by Android's setters and by the keys of vm_config.h. One thread each.
 */
#include "service/libavf/avf_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "disk/utf8.h"

AVirtualMachineRawConfig *AVirtualMachineRawConfig_create(void)
{
	AVirtualMachineRawConfig *config = calloc(1, sizeof(*config));

	if (!config)
		abort();
	vm_config_init(&config->c);
	return config;
}

void AVirtualMachineRawConfig_destroy(AVirtualMachineRawConfig *config)
{
	if (!config)
		return;
	vm_config_free(&config->c);
	free(config);
}

static void replace_fd(int *field, int fd)
{
	if (*field >= 0 && *field != fd)
		close(*field);
	*field = fd < 0 ? -1 : fd;
}

static int replace_string(char **field, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

int AVirtualMachineRawConfig_setName(AVirtualMachineRawConfig *config, const char *name)
{
	return utf8_valid(name, strlen(name)) ? replace_string(&config->c.name, name)
					      : -EINVAL;
}

int AVirtualMachineRawConfig_setInstanceId(AVirtualMachineRawConfig *config,
					   const uint8_t *id, size_t size)
{
	if (size != sizeof(config->c.instance_id))
		return -EINVAL;
	memcpy(config->c.instance_id, id, size);
	config->c.has_instance_id = true;
	return 0;
}

void AVirtualMachineRawConfig_setKernel(AVirtualMachineRawConfig *config, int fd)
{
	replace_fd(&config->c.kernel, fd);
}

void AVirtualMachineRawConfig_setInitRd(AVirtualMachineRawConfig *config, int fd)
{
	replace_fd(&config->c.initrd, fd);
}

/* One element more, zeroed; NULL without memory. */
static void *grow(void *array, size_t *n, size_t size)
{
	char **at = array;
	char *more = reallocarray(*at, *n + 1, size);

	if (!more)
		return NULL;
	*at = more;
	return memset(more + (*n)++ * size, 0, size);
}

int AVirtualMachineRawConfig_addDisk(AVirtualMachineRawConfig *config, int fd,
				     bool writable)
{
	struct config_disk *disk;

	if (fcntl(fd, F_GETFD) < 0)
		return -EINVAL;
	disk = grow(&config->c.disks, &config->c.n_disks, sizeof(*disk));
	if (!disk) {
		close(fd);
		return -ENOMEM;
	}
	disk->image = fd;
	disk->writable = writable;
	return 0;
}

void AVirtualMachineRawConfig_setMemoryMiB(AVirtualMachineRawConfig *config,
					   int32_t memory_mib)
{
	config->c.memory_mib = memory_mib > 0 ? (uint64_t)memory_mib : 0;
}

void AVirtualMachineRawConfig_setSwiotlbMiB(AVirtualMachineRawConfig *config,
					    int32_t swiotlb_mib)
{
	config->c.swiotlb_mib = swiotlb_mib > 0 ? (uint64_t)swiotlb_mib : 0;
}

void AVirtualMachineRawConfig_setVCpuCount(AVirtualMachineRawConfig *config, int32_t n)
{
	config->c.cpu_count = n > 0 ? (uint64_t)n : 0;
	config->bad_cpus = n > 0 ? NULL : "cpu_count: must be positive";
}

void AVirtualMachineRawConfig_setProtectedVm(AVirtualMachineRawConfig *config,
					     bool protected_vm)
{
	config->c.protected = protected_vm;
}

int AVirtualMachineRawConfig_setHypervisorSpecificAuthMethod(
	AVirtualMachineRawConfig *config, bool enable)
{
	(void)config;
	return enable ? -ENOTSUP : 0;
}

int AVirtualMachineRawConfig_addCustomMemoryBackingFile(
	AVirtualMachineRawConfig *config, int fd, uint64_t start, uint64_t end)
{
	(void)config;
	(void)start;
	(void)end;
	if (fd >= 0)
		close(fd);
	return -ENOTSUP;
}

void AVirtualMachineRawConfig_setDeviceTreeOverlay(AVirtualMachineRawConfig *config,
						   int fd)
{
	config->bad_overlay =
		fd >= 0 ? "device_tree_overlay: there is no device tree for guests here"
			: NULL;
	if (fd >= 0)
		close(fd);
}

/* --- any key ------------------------------------------------------------------ */

static const struct config_key *find(AVirtualMachineRawConfig *config, const char *key,
				     enum config_kind kind, void *ret_field,
				     struct avf_error *error)
{
	const struct config_key *k = vm_config_find(vm_config_keys, key);
	void **field = ret_field;

	if (!k || k->kind != kind) {
		err_set(err_of(error), -ENOENT, "%s: %s", key,
			!k ? "is not known" : "is of another type");
		return NULL;
	}
	*field = (char *)&config->c + k->offset;
	return k;
}

/* Words are numbers in memory. */
static int set_word(AVirtualMachineRawConfig *config, const char *key,
		    const char *value, struct avf_error *error)
{
	const struct config_key *k;
	int *field;

	k = find(config, key, CONFIG_ENUM, &field, error);
	if (!k)
		return -ENOENT;
	for (int i = 0; k->words[i]; i++)
		if (*k->words[i] && strcmp(k->words[i], value) == 0) {
			*field = i;
			return 0;
		}
	return err_set(err_of(error), -EINVAL, "%s: \"%s\" is not a word for it: %s",
		       key, value, k->help);
}

int avf_config_set_string(AVirtualMachineRawConfig *config, const char *key,
			  const char *value, struct avf_error *error)
{
	const struct config_key *k = vm_config_find(vm_config_keys, key);
	char **field;

	if (!utf8_valid(value, strlen(value)))
		return err_set(err_of(error), -EINVAL, "%s: is not UTF-8", key);
	if (k && k->kind == CONFIG_ENUM)
		return set_word(config, key, value, error);
	if (!find(config, key, CONFIG_STRING, &field, error))
		return -ENOENT;
	if (replace_string(field, value) < 0)
		return err_sys(err_of(error), -ENOMEM, "%s", key);
	return 0;
}

int avf_config_set_number(AVirtualMachineRawConfig *config, const char *key,
			  uint64_t value, struct avf_error *error)
{
	const struct config_key *k;
	uint64_t *field;

	k = find(config, key, CONFIG_U64, &field, error);
	if (!k)
		return -ENOENT;
	if (value < k->min || value > k->max)
		return err_set(err_of(error), -EINVAL, "%s: must be %llu to %llu", key,
			       (unsigned long long)k->min, (unsigned long long)k->max);
	*field = value;
	if (field == &config->c.cpu_count)
		config->bad_cpus = NULL;
	return 0;
}

int avf_config_set_bool(AVirtualMachineRawConfig *config, const char *key, bool value,
			struct avf_error *error)
{
	bool *field;

	if (!find(config, key, CONFIG_BOOL, &field, error))
		return -ENOENT;
	*field = value;
	return 0;
}

int avf_config_set_file(AVirtualMachineRawConfig *config, const char *key, int fd,
			struct avf_error *error)
{
	int *field;

	if (!find(config, key, CONFIG_FILE, &field, error)) {
		if (fd >= 0)
			close(fd);
		return -ENOENT;
	}
	replace_fd(field, fd);
	return 0;
}

/* --- disks of partitions ------------------------------------------------------ */

int avf_config_add_disk(AVirtualMachineRawConfig *config, bool writable,
			struct avf_error *error)
{
	struct config_disk *disk;

	if (config->c.n_disks == CONFIG_MAX_DISKS)
		return err_set(err_of(error), -EINVAL, "disks: are more than %d",
			       CONFIG_MAX_DISKS);
	disk = grow(&config->c.disks, &config->c.n_disks, sizeof(*disk));
	if (!disk)
		return err_sys(err_of(error), -ENOMEM, "disks");
	disk->image = -1;
	disk->writable = writable;
	return (int)config->c.n_disks - 1;
}

static int add_partition(struct vm_config *c, int number, const char *label,
			 const char *guid, int *fd, bool writable, struct err *err)
{
	struct config_disk *disk;
	struct config_partition *p;

	if (number < 0 || (size_t)number >= c->n_disks || c->disks[number].image >= 0)
		return err_set(err, -EINVAL, "disks[%d]: is not made of partitions",
			       number);
	if (!utf8_valid(label, strlen(label)) ||
	    (guid && !utf8_valid(guid, strlen(guid))))
		return err_set(err, -EINVAL, "disks[%d]: a label or GUID is not UTF-8",
			       number);
	if (fcntl(*fd, F_GETFD) < 0)
		return err_set(err, -EINVAL, "disks[%d]: descriptor %d is not open",
			       number, TAKE_FD(*fd));
	disk = &c->disks[number];
	p = grow(&disk->partitions, &disk->n_partitions, sizeof(*p));
	if (!p)
		return err_sys(err, -ENOMEM, "disks[%d]", number);
	p->image = TAKE_FD(*fd);
	p->writable = writable;
	p->label = strdup(label);
	p->guid = guid ? strdup(guid) : NULL;
	if (p->label && (p->guid || !guid))
		return 0;
	/* Without a label it makes no VM, where without a GUID it would make another.
	 */
	free(p->label);
	p->label = NULL;
	return err_sys(err, -ENOMEM, "disks[%d]", number);
}

int avf_config_add_partition(AVirtualMachineRawConfig *config, int disk,
			     const char *label, const char *guid, int fd, bool writable,
			     struct avf_error *error)
{
	AUTO_CLOSE int taken = fd;

	return add_partition(&config->c, disk, label, guid, &taken, writable,
			     err_of(error));
}
