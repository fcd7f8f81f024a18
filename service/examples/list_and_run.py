#!/usr/bin/python3
"""list_and_run.py SOCKET KERNEL [PARAMS]: what any D-Bus library can do.

SOCKET is where a manager listens (virtmgr --listen SOCKET). Prints what the manager can
do and the VMs that there are, boots a kernel with its console on stdout, and says how
the VM died. Needs nothing but GLib's D-Bus; there is no message bus.
"""
import os
import sys

from gi.repository import Gio, GLib

MANAGER = ("/org/vmm/VirtualizationService", "org.vmm.VirtualizationService1")
VM = ("/org/vmm/VirtualMachine", "org.vmm.VirtualMachine1")


def call(connection, where, method, arguments=None, files=()):
    """The answer's values and files."""
    passed = Gio.UnixFDList.new_from_array([os.dup(file) for file in files])
    answer, taken = connection.call_with_unix_fd_list_sync(
        None, *where, method, arguments, None, Gio.DBusCallFlags.NONE, GLib.MAXINT,
        passed, None)
    return answer.unpack(), taken.steal_fds() if taken else []


def speak(handle):
    """A connection to the VM that a handle stands for; it lives until this is closed."""
    stream = Gio.Socket.new_from_fd(handle).connection_factory_create_connection()
    return Gio.DBusConnection.new_sync(
        stream, None, Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT, None, None)


def main():
    path, kernel, *params = sys.argv[1:]
    manager = Gio.DBusConnection.new_for_address_sync(
        f"unix:path={path}", Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT, None, None)
    (info,), _ = call(manager, MANAGER, "GetInfo")
    print("manager:", *(f"{key}={value}" for key, value in sorted(info.items())))
    (vms,), _ = call(manager, MANAGER, "ListVms")
    print("VMs:", *(f"{vm['cid']}={vm.get('name', '')}" for vm in vms))

    with open(kernel, "rb") as image:
        config = {
            "name": GLib.Variant("s", "python"),
            "kernel": GLib.Variant("h", 0),  # of the files that are passed
            "console_out": GLib.Variant("h", 1),
            "params": GLib.Variant("s", " ".join(params)),
            "memory_mib": GLib.Variant("t", 128),
        }
        sys.stdout.flush()
        (_, cid), (handle,) = call(
            manager, MANAGER, "CreateVm", GLib.Variant("(a{sv})", (config,)),
            [image.fileno(), sys.stdout.fileno()])
    vm = speak(handle)
    loop, death = GLib.MainLoop(), []

    def on_died(_connection, _sender, _path, _interface, _signal, arguments):
        death.append(arguments.unpack())
        loop.quit()

    vm.signal_subscribe(None, VM[1], "Died", VM[0], None, Gio.DBusSignalFlags.NONE, on_died)
    call(vm, VM, "Start")
    loop.run()
    reason, name, details = death[0]
    print(f"VM {cid} died: {name} ({reason}): {details.get('detail', '')}")


main()
