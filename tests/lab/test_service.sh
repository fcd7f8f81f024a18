#!/usr/bin/env bash
# The service as people use it: `vm run` with Debian's kernel, a disk of four partitions,
# the agent in the guest, and another client that stops it or speaks to it; by the host's
# vhost-vsock and by descriptors.
set -euo pipefail
. tests/lab/guest.sh
build=${BUILD:-build}
vm=$build/vm
VMM=$(realpath "$vmm")
VIRTMGR=$(realpath "$build/virtmgr")
export VMM VIRTMGR XDG_RUNTIME_DIR=$dir/run
mkdir -m 700 "$XDG_RUNTIME_DIR"
trap 'jobs -p | xargs -r kill 2>/dev/null || :; wait; rm -rf "$dir"' EXIT
cloud=$(kernel cloud)

# The payload does what it is told on the console.
job='stty -echo
for i in 1 2 3 4; do read -r line </dev/vda$i; echo "partition $i: $line"; done
dd if=/dev/zero of=/dev/vda1 bs=4096 count=1 oflag=direct 2>/dev/null && echo "it was written"
grep PARTNAME /sys/block/vda/vda?/uevent
mkdir /dev/pts && mount -t devpts devpts /dev/pts
/agent --echo 5000 --shell 2222 -- sh -c '\''while read -r line; do eval "$line"; done'\''
while read -r line; do eval "$line"; done'
initrd service "$job" >/dev/null

for i in 1 2 3 4; do
	{ echo "content $i" && head -c 5000 /dev/zero; } >"$dir/part$i"
	truncate -s 64K "$dir/part$i"
done
# configure MEMBERS: of the VM named test.
configure() {
	cat >"$dir/config.json" <<-END
		{ "name": "test", "kernel": "$cloud/vmlinuz", "initrd": "$dir/initrd", "params": "console=hvc0 quiet panic=-1",
		  "memory_mib": 160, "platform_version": "~1.0",
		  "disks": [ { "writable": true, "partitions": [
		    { "label": "vbmeta_a", "path": "$dir/part1" }, { "label": "boot_a", "path": "$dir/part2" },
		    { "label": "system", "path": "$dir/part3" },
		    { "label": "vm-instance", "path": "$dir/part4", "writable": true } ] } ], $1 }
	END
}

mkfifo "$dir/in"
exec 7<>"$dir/in"
tell() { echo "$1" >&7; }

# start MEMBERS: in the background.
start() {
	configure "$1"
	rm -f "$dir/console"
	"$vm" run --json --console "$dir/console" --console-in "$dir/in" "$dir/config.json" \
		>"$dir/events" 2>"$dir/err" 7>&- &
	pid=$!
}
# event TEXT: waits until the events have it.
event() {
	for _ in {1..1500}; do
		! grep -qF -- "$1" "$dir/events" || return 0
		kill -0 $pid 2>/dev/null || break
		sleep 0.2
	done
	grep -qF -- "$1" "$dir/events" && return
	echo "there is no event '$1':"
	cat "$dir/events" "$dir/err"
	tail -n 20 "$dir/console"
	return 1
}
console() { grep -qF -- "$1" "$dir/console" || { echo "no '$1' on the console:" && cat "$dir/console" && return 1; }; }
state() { "$vm" info test | grep -qx "state: $1" || { "$vm" info test && return 1; }; }
# over STATUS: the VM has ended so.
over() {
	local status=0
	wait $pid || status=$?
	[ $status = "$1" ] || { echo "exit status $status" && cat "$dir/events" "$dir/err" && return 1; }
}
left_nothing() {
	local left
	for _ in {1..50}; do
		left=$(pgrep -x 'vmm|virtmgr|virtualizations' || :)$(find /sys/fs/cgroup -name 'vmm-*')
		[ -n "$left" ] || return 0
		sleep 0.2
	done
	echo "left: $left" && return 1
}
partitions() {
	for i in 1 2 3 4; do console "partition $i: content $i" || return; done
	console 'vda4/uevent:PARTNAME=vm-instance' && ! console 'it was written' >/dev/null
}
# in_guest STATUS OUTPUT COMMAND...: by the agent's shell.
in_guest() {
	local said status=0
	said=$("$vm" shell test -- "${@:3}" </dev/null) || status=$?
	[ "$status $said" = "$1 $2" ] || { echo "status $status: $said" && return 1; }
}
# A login shell at a terminal, whose size is told.
at_terminal() {
	cat >"$dir/script" <<-END
		stty rows 33 columns 99
		"$vm" shell test
		echo "status \$?"
		stty
	END
	printf 'stty size; test -t 1 && exit 5\n' >"$dir/typed"
	timeout 100 socat -t 90 - "SYSTEM:bash $dir/script,pty,setsid,ctty,stderr" <"$dir/typed" >"$dir/terminal" 2>&1
	grep -q '^33 99' "$dir/terminal" && grep -q '^status 5' "$dir/terminal" &&
		! grep -q -e -icanon "$dir/terminal" && return
	cat -v "$dir/terminal" && return 1
}
echoes() { [ "$("$build/lab/service_client" test 5000 'to and fro')" = 'to and fro' ]; }

start '"vsock": "vhost"'
check 'vm run starts a stock kernel, and the agent tells that it started' event '"payload-started"'
check 'and that it is ready' event '"payload-ready"'
check 'the state is ready' state ready
check 'the guest has four partitions, one of which it may write' partitions
check "another client reaches the agent's echo by vhost-vsock" echoes
check 'a shell runs in the guest' in_guest 0 "$(basename "$cloud")" uname -r
check 'with the exit status of its command' in_guest 7 '' sh -c 'exit 7'
check 'and at a terminal' at_terminal
tell 'echo written by the guest >/dev/vda4; sync; exit 7'
check 'the end of the payload is told with its status' event '"exit_code":7'
check 'the state is finished' state finished
tell 'poweroff -f'
check 'the guest powers off, which is a shutdown' event '"reason":"shutdown"'
check 'and exit status 0' over 0
check 'what the guest wrote is in the partition' grep -qxF 'written by the guest' "$dir/part4"
check 'a partition that it may not write is as it was' grep -qxF 'content 1' "$dir/part1"
check 'nothing is left' left_nothing

start '"vsock": "unix", "memory_max_mib": 600, "cpu_percent": 90'
check 'the same by descriptors' event '"payload-ready"'
check "another client reaches the agent's echo by descriptors" echoes
check 'so does a shell' in_guest 3 'of the guest' sh -c 'echo of the guest; exit 3'
limits() {
	local group
	group=$(find /sys/fs/cgroup -name 'vmm-*' | head -n 1)
	[ "$(cat "$group/memory.max") $(cat "$group/cpu.max") $(($(wc -l <"$group/cgroup.procs") > 1))" = \
		'629145600 90000 100000 1' ] && return
	grep . "$group"/{memory.max,cpu.max,cgroup.procs}
	return 1
}
check 'its processes are in a cgroup with the limits' limits
check 'vm stop' "$vm" stop test
check 'is told as killed by the host' event '"requested_by":"host","reason":"killed"'
check 'vm run ends' over 0
check 'nothing is left of that either' left_nothing

start '"vsock": "auto"'
check 'a third one is ready' event '"payload-ready"'
tell 'echo c >/proc/sysrq-trigger'
check 'a panic has a reason of its own' event '"reason":"panic"'
check 'and exit status 34' over 34
check 'nothing is left of the last one' left_nothing
t_done
