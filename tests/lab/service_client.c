/*
 * service_client VM PORT TEXT: another client's way to a VM's guest. Opens the VM by
 * name or CID, sends TEXT to the port, and prints as many bytes as came back for it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dbus/manager.h"
#include "dbus/vm.h"
#include "service/client/client.h"

static int vm_connect(const char *name, uint32_t port, int *ret_fd, struct err *err)
{
	sd_bus_message *reply = NULL;
	struct client *client;
	sd_bus *vm = NULL;
	int fd, r;

	r = client_spawn(NULL, &client, err);
	if (r == 0)
		r = client_call(client_bus(client), MANAGER_PATH, MANAGER_INTERFACE,
				"OpenVm", &reply, err, "s", name);
	if (r == 0)
		r = client_take_fd(reply, &fd, err);
	if (r == 0)
		r = client_open(fd, &vm, err);
	if (r == 0)
		r = client_call(vm, VM_PATH, VM_INTERFACE, "ConnectVsock", &reply, err,
				"u", port);
	return r < 0 ? r : client_take_fd(reply, ret_fd, err);
}

int main(int argc, char **argv)
{
	char got[4096];
	struct err err;
	size_t len, done = 0;
	int fd;

	if (argc != 4 || (len = strlen(argv[3])) > sizeof(got))
		return 2;
	if (vm_connect(argv[1], (uint32_t)strtoul(argv[2], NULL, 10), &fd, &err) < 0) {
		fprintf(stderr, "service_client: %s\n", err.msg);
		return 1;
	}
	if (write(fd, argv[3], len) != (ssize_t)len)
		return 1;
	while (done < len) {
		ssize_t n = read(fd, got + done, len - done);

		if (n <= 0)
			return 1;
		done += (size_t)n;
	}
	printf("%.*s\n", (int)len, got);
	return 0;
}
