/* To VMs of anybody's; see connect.h. */
#include "service/vm/connect.h"

#include "dbus/manager.h"

int connect_vm(const char *vm, sd_bus **ret_bus, struct err *err)
{
	AUTO_CLIENT struct client *client = NULL;
	AUTO_REPLY sd_bus_message *reply = NULL;
	int fd = -1, r;

	r = client_spawn(NULL, &client, err);
	if (r == 0)
		r = connect_ask(client, "OpenVm", &reply, err, "s", vm);
	if (r == 0)
		r = client_take_fd(reply, &fd, err);
	return r < 0 ? r : client_open(fd, ret_bus, err);
}
