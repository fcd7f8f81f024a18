#!/usr/bin/env bash
# Sockets between guest and host by the host's vhost-vsock: Debian's driver and one
# program at both ends, which connect both ways.
set -euo pipefail
. tests/lab/vsock.sh
kernel_test=${BUILD:-build}/lab/vsock_test
connections=1000 mib=64 # each way
[ -z "${SOAK-}" ] || connections=5000 mib=1024
if [ -x "$kernel_test" ]; then
	(cd "${kernel_test%/*}" && echo vsock_test | cpio --quiet -o -H newc) | cat - "$image" >"$image.with"
	image+=.with
fi

sent_by_guest() { there 42 /vsock send 2 8 && there 42 /vsock recv 2 8; }

serve_here

start one --cid 42 -p quiet
check 'a guest finds the device of --cid' serves one
check 'bytes go to and fro' both 42 echo 200
check "$connections connections each way, one after the other" both 42 short $connections
check "$mib MiB to the guest arrive unchanged" here send 42 $mib
check "$mib MiB from the guest arrive unchanged" here recv 42 $mib
check 'so do 8 MiB each way by connections of the guest' sent_by_guest
check '200 connections at once' both 42 many 200
check 'each end can stop sending and go on receiving' both 42 half 20
check 'refused, abandoned and cut connections are told as resets' both 42 reset 5
check 'SEQPACKET keeps messages apart' both 42 seqpacket 300

# Kicks and interrupts: the main thread sleeps, and KVM does not return to vmm.
undisturbed() {
	local trace=/sys/kernel/tracing child before after exits
	child=$(pgrep -P "${vm[one]}")
	main() { awk '/ctxt_switches/ { n += $2 } END { print n }' "/proc/$child/task/$child/status"; }
	echo >$trace/trace
	echo 1 >$trace/events/kvm/kvm_userspace_exit/enable
	before=$(main)
	here echo 42 500 && there 42 /vsock echo 2 500
	after=$(main)
	echo 0 >$trace/events/kvm/kvm_userspace_exit/enable
	exits=$(grep -c 'kvm_userspace_exit:' $trace/trace) || :
	echo "main thread: $before to $after, exits to vmm: $exits"
	[ "$before" = "$after" ] && [ "$exits" -lt 50 ]
}
check '1000 messages each way do not wake vmm' undisturbed

# Refused before the guest runs; the one that has the address does not notice.
clash() {
	boot 1 --vsock 42 "$cloud/vmlinuz" && [ ! -s "$dir/out" ] &&
		[ "$(cat "$dir/err")" = 'vmm: vsock: CID 42 is in use by another VM' ] && here echo 42 10
}
check 'an address in use is an error that names it' clash

attacks() {
	"$vmm" run --timeout 300 --debug-exit -c 2 --vsock 44 -p dev=vsock \
		"${GUESTS:-build/guest}/hostile.elf" >"$dir/out" 2>"$dir/err" </dev/null || [ $? = 64 ] &&
		! grep -a '^FAIL' "$dir/out" && grep -aq '^PASS attacks made' "$dir/out" && return
	tail -n 5 "$dir/out" "$dir/err" | tr -d '\0'
	return 1
}
check 'a guest that attacks it is stopped, and goes on after a reset' attacks

exec 9<>/dev/vhost-vsock
start two --vsock cid=43,device=/proc/self/fd/9 -p 'quiet pci=nomsi'
exec 9>&-
check 'a second VM, with INTx only and an inherited device' serves two
at_once() {
	both 42 short 200 >"$dir/first" &
	both 43 short 200 && both 43 send 8 && both 43 recv 8 && wait $! && return
	cat "$dir/first"
	return 1
}
check 'two VMs at once' at_once
tell two 'poweroff -f'
check_ends 'the second one ends' two 0
check '... and is not there any more' grep -q 'No such device' <(here echo 43 1)

rebind_and_send() { rebind one 42 3 && both 42 send 4 && both 42 recv 4; }
check 'the driver is removed and comes back, three times' rebind_and_send
check_reboot one 42

start one --cid 42 -p quiet
check 'the same address is free at once' serves one
check 'the rebooted guest is reached' both 42 short 20

# vsock_test HOST GUEST: the kernel's own test, the host as client or server. Its control
# channel is TCP, for which the relays make a way.
vsock_test() {
	local control=(--control-host=127.0.0.1 --control-port=7000) status=0 relays=()
	if [ "$1" = client ]; then
		there 42 /vsock relay 0 7000 >"$dir/relay1" &
		relays+=($!)
		here relay 42 7000 >"$dir/relay2" &
	else
		here relay 0 7000 >"$dir/relay1" &
		relays+=($!)
		there 42 /vsock relay 2 7000 >"$dir/relay2" &
	fi
	relays+=($!)
	for relay in 1 2; do
		until grep -q . "$dir/relay$relay"; do sleep 0.2; done
	done
	there 42 /vsock_test "${control[@]}" "--mode=$2" --peer-cid=2 >"$dir/guest" 2>&1 &
	timeout 300 "$kernel_test" "${control[@]}" "--mode=$1" --peer-cid=42 >"$dir/host" 2>&1 &&
		wait $! || status=$?
	kill $! "${relays[@]}" 2>/dev/null || :
	[ $status = 0 ] || cat "$dir"/{relay1,relay2,host,guest}
	return $status
}
for host in client server; do
	name="the kernel's vsock_test passes, the host as its $host"
	if [ -x "$kernel_test" ]; then
		guest=$([ $host = client ] && echo server || echo client)
		check "$name" vsock_test $host "$guest"
	else
		t_skip "$name" "$(tail -n1 "$kernel_test.why")"
	fi
done
check_end one
t_done
