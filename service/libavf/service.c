/* A manager of one's own, or one that listens; its calls one after the other, as files
 * that are passed ahead of a CreateVm must be. */
#include "service/libavf/avf_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "dbus/manager.h"
#include "service/common/paths.h"

#define MESSAGE __attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message

/* Takes @client. */
static int service_new(struct client *client, AVirtualizationService **ret_service,
		       struct err *err)
{
	AVirtualizationService *s = calloc(1, sizeof(*s));

	if (s)
		s->lock = calloc(1, sizeof(*s->lock));
	if (!s || !s->lock) {
		free(s);
		client_free(client);
		return err_sys(err, -ENOMEM, "a manager");
	}
	pthread_mutex_init(s->lock, NULL);
	s->client = client;
	*ret_service = s;
	return 0;
}

int avf_service_create(AVirtualizationService **service, const char *program,
		       struct avf_error *error)
{
	struct client *client;
	int r = client_spawn(program, &client, err_of(error));

	return r < 0 ? r : service_new(client, service, err_of(error));
}

int avf_service_connect(AVirtualizationService **service, const char *path,
			struct avf_error *error)
{
	struct client *client;
	int r = client_connect(path, &client, err_of(error));

	return r < 0 ? r : service_new(client, service, err_of(error));
}

int AVirtualizationService_create(AVirtualizationService **service, bool early)
{
	AUTO_FREE char *program = paths_program(early ? "early_virtmgr" : "virtmgr");

	return program ? avf_service_create(service, program, NULL) : -ENOMEM;
}

void AVirtualizationService_destroy(AVirtualizationService *s)
{
	if (!s)
		return;
	client_free(s->client);
	pthread_mutex_destroy(s->lock);
	free(s->lock);
	free(s);
}

/* --- making VMs --------------------------------------------------------------- */

/* A number that stands for nothing is told by its key; sd-bus knows none. */
static int check_files(const struct vm_config *c, struct err *err)
{
	for (const struct config_key *k = vm_config_keys; k->key; k++) {
		int fd = k->kind == CONFIG_FILE
				 ? *(const int *)((const char *)c + k->offset)
				 : -1;

		if (fd >= 0 && fcntl(fd, F_GETFD) < 0)
			return err_set(err, -EINVAL, "%s: descriptor %d is not open",
				       k->key, fd);
	}
	return 0;
}

static int create(const AVirtualizationService *s, AVirtualMachineRawConfig *config,
		  AVirtualMachine **ret_vm, struct err *err)
{
	uint32_t cid;
	int handle, r;

	if (config->bad_cpus)
		return err_set(err, -EBADMSG, "%s", config->bad_cpus);
	if (config->bad_overlay)
		return err_set(err, -ENOTSUP, "%s", config->bad_overlay);
	/* Android's header has it without meaning there, the manager as a mistake. */
	if (!config->c.protected)
		config->c.swiotlb_mib = 0;
	r = check_files(&config->c, err);
	if (r < 0)
		return r;
	{
		AUTO_LOCK(s->lock);

		r = client_create_vm(s->client, &config->c, &handle, &cid, err);
	}
	return r < 0 ? r : vm_new(handle, cid, ret_vm, err);
}

int avf_vm_create(const AVirtualizationService *service,
		  AVirtualMachineRawConfig *config, AVirtualMachine **vm,
		  struct avf_error *error)
{
	int r = create(service, config, vm, err_of(error));

	AVirtualMachineRawConfig_destroy(config);
	return r;
}

int avf_service_open_vm(const AVirtualizationService *s, const char *vm,
			AVirtualMachine **ret_vm, struct avf_error *error)
{
	struct err *err = err_of(error);
	int handle, r;

	{
		AUTO_LOCK(s->lock);
		MESSAGE *reply = NULL;

		r = client_call(client_bus(s->client), MANAGER_PATH, MANAGER_INTERFACE,
				"OpenVm", &reply, err, "s", vm);
		if (r >= 0)
			r = client_take_fd(reply, &handle, err);
	}
	return r < 0 ? r : vm_new(handle, -1, ret_vm, err);
}

/* --- the rest ----------------------------------------------------------------- */

int avf_service_allocate_instance_id(const AVirtualizationService *s, uint8_t id[64],
				     struct avf_error *error)
{
	AUTO_LOCK(s->lock);
	MESSAGE *reply = NULL;
	const void *bytes;
	size_t size;
	int r;

	r = client_call(client_bus(s->client), MANAGER_PATH, MANAGER_INTERFACE,
			"AllocateInstanceId", &reply, err_of(error), NULL);
	if (r < 0)
		return r;
	r = sd_bus_message_read_array(reply, 'y', &bytes, &size);
	if (r < 0 || size != CONFIG_INSTANCE_ID_LEN)
		return err_sys(err_of(error), -EIO, "AllocateInstanceId");
	memcpy(id, bytes, size);
	return 0;
}

int avf_service_initialize_partition(const AVirtualizationService *s, int fd,
				     uint64_t bytes, enum avf_partition_format format,
				     struct avf_error *error)
{
	AUTO_LOCK(s->lock);

	return client_call(client_bus(s->client), MANAGER_PATH, MANAGER_INTERFACE,
			   "InitializeWritablePartition", NULL, err_of(error), "htu",
			   fd, bytes, (uint32_t)format);
}

/* One a{sv}; keys that we do not know are of a later version. */
static int read_info(sd_bus_message *m, struct avf_vm_info *info)
{
	const struct {
		const char *key, *type;
		void *value;
	} keys[] = {
		{ "cid", "u", &info->cid },   { "state", "u", &info->state },
		{ "uid", "u", &info->uid },   { "pid", "u", &info->pid },
		{ "cpus", "u", &info->cpus }, { "memory", "t", &info->memory },
		{ "name", "s", &info->name },
	};
	const char *key;
	int r = sd_bus_message_enter_container(m, 'a', "{sv}");

	while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		size_t i = 0;

		r = sd_bus_message_read_basic(m, 's', &key);
		while (i < sizeof(keys) / sizeof(keys[0]) &&
		       (r < 0 || strcmp(keys[i].key, key) != 0))
			i++;
		if (r >= 0 && i < sizeof(keys) / sizeof(keys[0]))
			r = sd_bus_message_read(m, "v", keys[i].type, keys[i].value);
		else if (r >= 0)
			r = sd_bus_message_skip(m, "v");
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
	}
	return r < 0 ? r : sd_bus_message_exit_container(m);
}

int avf_service_list_vms(const AVirtualizationService *s,
			 void (*each)(void *arg, const struct avf_vm_info *info),
			 void *arg, struct avf_error *error)
{
	AUTO_LOCK(s->lock);
	MESSAGE *reply = NULL;
	int n = 0, r;

	r = client_call(client_bus(s->client), MANAGER_PATH, MANAGER_INTERFACE,
			"ListVms", &reply, err_of(error), NULL);
	if (r < 0)
		return r;
	r = sd_bus_message_enter_container(reply, 'a', "a{sv}");
	while (r >= 0 && (r = sd_bus_message_at_end(reply, 0)) == 0) {
		struct avf_vm_info info = { .name = "" };

		r = read_info(reply, &info);
		if (r < 0)
			break;
		each(arg, &info);
		n++;
	}
	return r < 0 ? err_sys(err_of(error), r, "ListVms") : n;
}
