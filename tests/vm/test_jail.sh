#!/bin/bash
# The jail: nothing is opened by path once vmm has forked, and a running VM holds nothing
# that it does not need.
# shellcheck source=tests/vm/vm.sh
. "$(dirname "$0")/vm.sh"

hello=$GUESTS/hello.elf

# From the first fork on, the guest's whole life, devices at work.
opens_nothing() {
	local late
	truncate -s 1M "$dir/disk"
	strace -f -qq -o "$dir/trace" \
		-e trace=open,openat,openat2,creat,execve,execveat,clone,clone3,fork,vfork \
		"$VMM" run --timeout 60 --debug-exit --block "$dir/disk" -p 'queues=2 irq=msix' \
		"$GUESTS/blk.elf" >"$dir/out" 2>"$dir/err"
	[ $? = 64 ] || { cat "$dir/out" "$dir/err" && return 1; }
	grep -qE '\<(clone3?|v?fork)\(' "$dir/trace" || { echo 'there was no fork' && return 1; }
	late=$(sed -nE '/\<(clone3?|v?fork)\(/,$p' "$dir/trace" |
		grep -E '\<(open|openat|openat2|creat|execve|execveat)\(')
	[ -z "$late" ] || { printf '%s\n' "$late" && return 1; }
}

# The process whose threads run the guest: the youngest of vmm's.
vm_process() {
	local p="$pid" child
	while child=$(pgrep -P "$p" | tail -n 1) && [ -n "$child" ]; do
		p=$child
	done
	echo "$p"
}

# Descriptors that the caller left open are not the VM's.
holds_nothing() {
	local p status=0 fd
	yes | head -c 4096 >"$dir/stray"
	in_background -p end=halt "$hello" 7<>"$dir/stray" 8</tmp 9<"$dir/stray" || return
	for p in "$pid" "$(vm_process)"; do
		for fd in "/proc/$p/fd"/*; do
			case $(readlink "$fd") in
			"$dir/stray" | /tmp) echo "process $p holds ${fd##*/}" && status=1 ;;
			esac
		done
	done
	kill "$pid"
	ended "$pid" 5 && return $status
}

# A lock and a pipe that the caller has let go: vmm and the VM's process have them, and
# both are free when the last has gone, here by a kill.
keeps() {
	local p status=0 reader
	mkfifo "$dir/pipe"
	cat "$dir/pipe" >"$dir/copy" &
	reader=$!
	exec 7>"$dir/stray" 8>"$dir/lock" 9>"$dir/pipe"
	flock 8
	in_background --keep-fd 9 --keep-fd=8 -p end=halt "$hello" || status=1
	exec 7>&- 8>&- 9>&-
	for p in "$pid" "$(vm_process)"; do
		for fd in lock pipe; do
			readlink "/proc/$p/fd"/* | grep -qx "$dir/$fd" ||
				{ echo "process $p does not hold the $fd" && status=1; }
		done
		readlink "/proc/$p/fd"/* | grep -qx "$dir/stray" && status=1
	done
	flock -n "$dir/lock" true && echo 'nothing holds the lock' && status=1
	kill -9 "$pid"
	flock -w 10 "$dir/lock" true || { echo 'the lock is still held' && status=1; }
	ended "$reader" 10 && return $status
}

not_open() { vm 1 --keep-fd 77 "$hello" && says 'keep-fd.*77 is not open' "$dir/err"; }

field() { sed -n "s/^$1:\t//p" "/proc/$2/task/$3/status"; }

confined() {
	local p t status=0
	in_background -p end=halt "$hello" || return
	sleep 0.2 # the guest runs already, the main thread is about to wait
	p=$(vm_process)
	for t in "/proc/$p/task"/*; do
		t=${t##*/}
		[ "$(field Seccomp "$p" "$t")" = 2 ] || { echo "thread $t: no filter" && status=1; }
		[ "$(field NoNewPrivs "$p" "$t")" = 1 ] ||
			{ echo "thread $t: new privileges" && status=1; }
		[ "$(field CapEff "$p" "$t")" = 0000000000000000 ] ||
			{ echo "thread $t: capabilities $(field CapEff "$p" "$t")" && status=1; }
		[ "$(field CapPrm "$p" "$t")" = 0000000000000000 ] ||
			{ echo "thread $t: permitted capabilities" && status=1; }
	done
	kill "$pid"
	ended "$pid" 5 && return $status
}

namespaces() {
	local p kind status=0
	in_background -p end=halt "$hello" || return
	p=$(vm_process)
	for kind in mnt net ipc uts pid; do
		[ "$(readlink "/proc/$p/ns/$kind")" != "$(readlink "/proc/self/ns/$kind")" ] ||
			{ echo "$kind: the host's" && status=1; }
	done
	kill "$pid"
	ended "$pid" 5 && return $status
}

without() {
	in_background --disable-sandbox -p end=halt "$hello" || return
	local filter
	filter=$(field Seccomp "$(vm_process)" "$(vm_process)")
	kill "$pid"
	ended "$pid" 5 && [ "$filter" = 0 ]
}

if strace -o /dev/null true 2>/dev/null; then
	check 'no path is opened after the fork' opens_nothing
else
	t_skip 'no path is opened after the fork' 'strace cannot trace here'
fi
if unshare -mnipu --fork true 2>/dev/null; then
	check 'namespaces are its own' namespaces
	check 'required, the jail is there' vm 64 --require-sandbox --debug-exit "$hello"
else
	t_skip 'namespaces are its own' 'this host forbids namespaces'
fi
check 'descriptors that the caller left open are closed' holds_nothing
check 'descriptors that are to be kept tell of the last process' keeps
check 'a descriptor to be kept must be open' not_open
check 'and a number' vm 35 --keep-fd seven "$hello"
check 'every thread is confined' confined
check 'the jail can be left out' without
t_done
