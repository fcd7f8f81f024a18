#!/usr/bin/env bash
# Sockets between guest and host by --vsock backend=unix: Debian's driver and one
# program (vsock.c) at both ends, which connect both ways. SOAK=1 takes longer.
set -euo pipefail
. tests/lab/guest.sh
agent=${BUILD:-build}/lab/vsock-agent
cloud=$(kernel cloud)
connections=300 mib=16
[ -z "${SOAK-}" ] || connections=10000 mib=1024
export VSOCK_UNIX=$dir/vsock

job='stty -echo; /vsock serve &
while read -r line; do eval "$line"; done'
image=$(initrd vsock "$job")

# start [OPTION]...: the VM, in the background, that does what tell says.
start() {
	[ -p "$dir/in" ] || mkfifo "$dir/in"
	"$vmm" run --timeout 3600 -m 192 -i "$image" --vsock "42,backend=unix,path=$VSOCK_UNIX" \
		"$@" "$cloud/vmlinuz" <>"$dir/in" >"$dir/out" 2>"$dir/err" &
	vm=$!
}
tell() { echo "$1" >"$dir/in"; }
# says TEXT: waits until the guest's console has it.
says() {
	for _ in {1..1500}; do
		! grep -qF -- "$1" "$dir/out" || return 0
		kill -0 "$vm" 2>/dev/null || break
		sleep 0.2
	done
	echo "the guest did not say '$1':"
	tail -n 20 "$dir/out" "$dir/err"
	return 1
}
here() { "$agent" "$@"; }
there() { "$agent" run 42 "$@"; }
# both TEST NUMBER: from the host to the guest, and back.
both() { here "$1" 42 "$2" && there /vsock "$1" 2 "$2"; }

here serve >"$dir/host.out" &
trap 'jobs -p | xargs -r kill 2>/dev/null; rm -rf "$dir"' EXIT

start -p quiet
check 'a guest finds the device' says 'vsock: serving'
check 'bytes go to and fro' both echo 200
check "$connections connections, one after the other" both short $connections
check "$mib MiB to the other end arrive unchanged" both send $mib
check "$mib MiB from the other end arrive unchanged" both recv $mib
check '200 connections at once' both many 200
check 'each end can stop sending and go on receiving' both half 20
check 'refused, abandoned and cut connections are told as resets' both reset 5

rebind() {
	for i in 1 2; do
		# Closed sockets hold the module until the other end has answered.
		tell "until rmmod vmw_vsock_virtio_transport 2>/dev/null; do sleep 0.2; done; echo GONE-$i"
		says "GONE-$i" && tell "insmod /lib/modules/vmw_vsock_virtio_transport.ko; echo BACK-$i" &&
			says "BACK-$i" && both short 20 || return 1
	done
}
check 'the driver is removed and comes back' rebind

here recv 42 100000 >"$dir/cut" &
cut=$!
sleep 1
tell 'reboot -f'
status=0 && wait $vm || status=$?
check 'a reboot of the guest gives 32' test $status = 32
status=0 && wait $cut || status=$?
check 'connections that were open end with it' test $status = 1
check 'and the socket is gone' test ! -e "$VSOCK_UNIX"

start -p 'quiet pci=nomsi'
check 'the same path is free at once, now with INTx only' says 'vsock: serving'
check 'the rebooted guest is reached' both short 20
tell 'poweroff -f'
status=0 && wait $vm || status=$?
check 'the guest powers off' test $status = 0
check 'nothing went wrong at the host' test "$(cat "$dir/host.out")" = 'vsock: serving'
t_done
