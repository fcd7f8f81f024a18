/* The manager; see manager.h. */
#include "service/virtmgr/manager.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/unix.h"
#include "dbus/manager.h"
#include "dbus/manager_vtable.h"
#include "service/common/bus_error.h"
#include "service/common/paths.h"
#include "service/common/peer.h"
#include "service/virtmgr/handle.h"
#include "service/virtmgr/images.h"
#include "service/virtmgr/partition.h"
#include "service/virtmgr/vm.h"

#ifndef VMM_VERSION
#define VMM_VERSION "0.1"
#endif

#define ROOM_FOR_FILES 600

struct client {
	struct manager *manager;
	struct client *next, **at;
	struct peer *peer;
	struct config_store files;
};

struct manager {
	struct vm_host host;
	struct client *clients;
	unsigned n_clients;
	int listen_fd, spare_fd;
	sd_event_source *listen_source;
	bool ending;
};

/* --- life --------------------------------------------------------------------- */

static void end_if_unused(struct manager *m)
{
	if (!m->clients && !m->host.vms && (m->listen_fd < 0 || m->ending))
		sd_event_exit(m->host.event, 0);
}

static void on_vm_gone(struct vm_host *host)
{
	end_if_unused((struct manager *)host);
}

static int on_open_vm(void *userdata, uint32_t cid, int fd, struct err *err)
{
	struct manager *m = userdata;

	for (struct vm *v = m->host.vms; v; v = v->next)
		if (v->cid == cid)
			return handle_add(v, false, fd, err);
	close(fd);
	return err_set(err, -ENOENT, "there is no VM with CID %u", cid);
}

int manager_new(sd_event *event, struct registry *registry,
		struct manager **ret_manager, struct err *err)
{
	struct manager *m = calloc(1, sizeof(*m));

	if (!m) {
		registry->ops->free(registry);
		return err_sys(err, -ENOMEM, "the manager");
	}
	m->host.event = event;
	m->host.gone = on_vm_gone;
	m->listen_fd = m->spare_fd = -1;
	m->host.registry = registry;
	registry->open_vm = on_open_vm;
	registry->arg = m;
	*ret_manager = m;
	return 0;
}

static void drop_files(struct client *c)
{
	for (size_t i = 0; i < c->files.n; i++)
		cleanup_close(&c->files.fds[i]);
	free(c->files.fds);
	c->files = (struct config_store){ 0 };
}

static void free_client(struct client *c)
{
	*c->at = c->next;
	if (c->next)
		c->next->at = c->at;
	c->manager->n_clients--;
	peer_free(c->peer);
	drop_files(c);
	free(c);
}

void manager_free(struct manager *m)
{
	if (!m)
		return;
	while (m->clients)
		free_client(m->clients);
	sd_event_source_disable_unref(m->listen_source);
	cleanup_close(&m->listen_fd);
	cleanup_close(&m->spare_fd);
	m->host.registry->ops->free(m->host.registry);
	free(m);
}

void manager_end(struct manager *m)
{
	struct vm *next;

	m->ending = true;
	m->listen_source = sd_event_source_disable_unref(m->listen_source);
	while (m->clients)
		free_client(m->clients);
	for (struct vm *v = m->host.vms; v; v = next) {
		next = v->next;
		handle_free_all(v);
		vm_release(v);
	}
	end_if_unused(m);
}

/* --- clients ------------------------------------------------------------------ */

static void on_gone(struct peer *peer, void *userdata)
{
	struct client *c = userdata;
	struct manager *m = c->manager;

	(void)peer;
	free_client(c);
	end_if_unused(m);
}

int manager_add_client(struct manager *m, int fd, struct err *err)
{
	static const struct peer_object objects[] = { { MANAGER_PATH, MANAGER_INTERFACE,
							manager_vtable } };
	static const struct peer_ops ops = { objects, ARRAY_SIZE(objects), on_gone };
	struct client *c = NULL;
	int r;

	if (m->n_clients < MANAGER_MAX_CONNECTIONS)
		c = calloc(1, sizeof(*c));
	if (!c) {
		close(fd);
		return err_set(err, -EDQUOT, "there are too many connections");
	}
	c->manager = m;
	r = peer_new(m->host.event, fd, &ops, c, &c->peer, err);
	if (r < 0) {
		free(c);
		return r;
	}
	c->next = m->clients;
	c->at = &m->clients;
	if (c->next)
		c->next->at = &c->next;
	m->clients = c;
	m->n_clients++;
	return 0;
}

static int on_connection(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct manager *m = arg;
	struct err err = { "" };
	int client = unix_accept(fd, &m->spare_fd);

	(void)source;
	(void)events;
	if (client >= 0 && manager_add_client(m, client, &err) < 0)
		log_debug("manager", "%s", err.msg);
	return 0;
}

int manager_listen(struct manager *m, int fd, struct err *err)
{
	int r;

	m->listen_fd = fd;
	m->spare_fd = eventfd(0, EFD_CLOEXEC);
	r = sd_event_add_io(m->host.event, &m->listen_source, fd, EPOLLIN,
			    on_connection, m);
	return r < 0 ? err_sys(err, r, "the listening socket") : 0;
}

/*
 * A message that brings more descriptors than there is room for ends its connection,
 * and a VM that starts needs some: so those that are only kept leave room for both.
 */
static int check_room(int fd, size_t n, struct err *err)
{
	struct rlimit l = { .rlim_cur = RLIM_INFINITY };

	getrlimit(RLIMIT_NOFILE, &l);
	if ((rlim_t)fd + ROOM_FOR_FILES <= l.rlim_cur)
		return 0;
	return err_set(err, -EDQUOT,
		       "file %zu: no more than %llu may be open here (RLIMIT_NOFILE)",
		       n, (unsigned long long)l.rlim_cur);
}

/* --- methods ------------------------------------------------------------------ */

static int keep_file(struct client *c, int fd, struct err *err)
{
	int *more, r;

	if (c->files.n == MANAGER_MAX_FILES)
		return err_set(err, -EDQUOT, "more than %d files are passed for one VM",
			       MANAGER_MAX_FILES);
	/* What can be kept must not be what keeps this connection alive. */
	r = images_check(fd, FILE_BLOCK, err);
	if (r < 0)
		return err_prefix(err, -EINVAL, "file %zu", c->files.n);
	more = reallocarray(c->files.fds, c->files.n + 1, sizeof(*more));
	if (!more)
		return err_sys(err, -ENOMEM, "files");
	c->files.fds = more;
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return err_sys(err, -errno, "file %zu", c->files.n);
	c->files.fds[c->files.n++] = fd;
	/* The lowest that was free: as many are open. */
	return check_room(fd, c->files.n - 1, err);
}

int manager_on_pass_files(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct client *c = userdata;
	size_t first = c->files.n;
	struct err err = { "" };
	int fd, r;

	r = sd_bus_message_enter_container(m, 'a', "h");
	if (r < 0)
		return r;
	while ((r = sd_bus_message_read_basic(m, 'h', &fd)) > 0) {
		r = keep_file(c, fd, &err);
		if (r == 0)
			continue;
		while (c->files.n > first)
			close(c->files.fds[--c->files.n]);
		return bus_error_set(ret_error, r, &err);
	}
	return r < 0 ? r : sd_bus_reply_method_return(m, "u", (uint32_t)first);
}

static struct registry *registry_of(const struct client *c)
{
	return c->manager->host.registry;
}

static int check_kvm(struct err *err)
{
	AUTO_CLOSE int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return 0;
	err_sys(err, -errno, "/dev/kvm");
	return err_prefix(err, -ENOTSUP, "this host cannot run VMs");
}

static int create_vm(struct client *c, sd_bus_message *m, struct vm **ret_vm,
		     int *ret_fd, struct err *err)
{
	struct vm_config config;
	struct vm *v = NULL;
	int r;

	vm_config_init(&config);
	r = vm_config_read(m, &c->files, &config, err);
	drop_files(c);
	if (r == 0)
		r = check_kvm(err);
	if (r == 0)
		r = vm_new(&c->manager->host, &config, &v, err);
	vm_config_free(&config);
	if (!v)
		return r;
	r = handle_new(v, true, ret_fd, err);
	if (r < 0)
		vm_release(v);
	else
		*ret_vm = v;
	return r;
}

int manager_on_create_vm(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct vm *v = NULL;
	struct err err = { "" };
	int fd = -1, r = create_vm(userdata, m, &v, &fd, &err);

	if (!v)
		return bus_error_set(ret_error, r, &err);
	r = sd_bus_reply_method_return(m, "hu", fd, v->cid);
	/* If this was the only one, the VM goes with it. */
	close(fd);
	return r;
}

int manager_on_initialize_writable_partition(sd_bus_message *m, void *userdata,
					     sd_bus_error *ret_error)
{
	uint64_t size;
	uint32_t format;
	struct err err = { "" };
	int fd, r;

	(void)userdata;
	r = sd_bus_message_read(m, "htu", &fd, &size, &format);
	if (r < 0)
		return r;
	r = partition_initialize(fd, size, format, &err);
	if (r < 0)
		return bus_error_set(ret_error, r, &err);
	return sd_bus_reply_method_return(m, "");
}

int manager_on_allocate_instance_id(sd_bus_message *m, void *userdata,
				    sd_bus_error *ret_error)
{
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *reply = NULL;
	uint8_t id[PARTITION_ID_LEN];
	struct registry *registry = registry_of(userdata);
	struct err err = { "" };
	int r = registry->ops->instance_id(registry, id, &err);

	if (r < 0)
		return bus_error_set(ret_error, r, &err);
	r = sd_bus_message_new_method_return(m, &reply);
	if (r >= 0)
		r = sd_bus_message_append_array(reply, 'y', id, sizeof(id));
	return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

int manager_on_list_vms(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct registry *registry = registry_of(userdata);

	return registry->ops->forward(registry, "ListVms", m, ret_error);
}

int manager_on_open_vm(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct registry *registry = registry_of(userdata);

	return registry->ops->forward(registry, "OpenVm", m, ret_error);
}

int manager_on_get_info(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct registry *registry = registry_of(userdata);
	AUTO_FREE char *program = paths_program("vmm");

	(void)ret_error;
	return sd_bus_reply_method_return(
		m, "a{sv}", 6, "version", "s", VMM_VERSION, "kvm", "b",
		check_kvm(NULL) == 0, "vhost_vsock", "b",
		access("/dev/vhost-vsock", R_OK | W_OK) == 0, "protected", "b", 0,
		"service", "s", registry->ops->kind(registry), "vmm", "s",
		program ?: "");
}
