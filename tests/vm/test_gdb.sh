#!/bin/bash
# Debian's gdb at the debugger's door: break- and watchpoints, steps, interrupts, several
# vCPUs, and that the guest goes on as if nothing had been when gdb leaves.
# shellcheck disable=SC2016 # variables of gdb
# shellcheck source=tests/vm/vm.sh
. "$(dirname "$0")/vm.sh"

hello=$GUESTS/hello.elf

# debugged [-d DOOR] ARGUMENT...: vmm run with a door (default: $dir/gdb.sock), as $pid; its
# own words are in $dir/vmm.
debugged() {
	local turns=200 door=$dir/gdb.sock
	[ "$1" != -d ] || { door=$2 && shift 2; }
	rm -f "$dir/gdb.sock" "$dir/out" "$dir/vmm"
	"$VMM" run --timeout 60 --gdb "$door" --debug-exit "$@" >"$dir/out" 2>"$dir/vmm" </dev/null &
	pid=$!
	until grep -qs 'waits for a debugger' "$dir/vmm"; do
		[ $turns -gt 0 ] && [ -d /proc/$pid ] || { echo 'nobody waits for a debugger' && cat "$dir/vmm" && return 1; }
		turns=$((turns - 1))
		sleep 0.05
	done
}

# gdb_runs [-t TARGET] PROGRAM COMMAND...: gdb's words go to $dir/gdb.
gdb_runs() {
	local target=$dir/gdb.sock program args=()
	[ "$1" != -t ] || { target=$2 && shift 2; }
	program=$1
	shift
	for command; do args+=(-ex "$command"); done
	HOME=$dir timeout 60 gdb -nx -q --batch -ex 'set pagination off' \
		-ex "target remote $target" "${args[@]}" "$program" >"$dir/gdb" 2>&1 </dev/null
}

gives() { # STATUS: of the vmm at $pid
	local got=0
	wait "$pid" || got=$?
	[ $got = "$1" ] && return
	echo "exit status $got, not $1; vmm and gdb said:" && cat "$dir/vmm" "$dir/gdb" && return 1
}

told() { says "$1" "$dir/gdb"; }

breaks_and_changes() {
	debugged -p 'end=debug exit=5' "$hello" || return
	gdb_runs "$hello" 'hbreak guest_main' 'continue' 'info registers rip cr3' 'bt 2' \
		'stepi' 'p $rip == (long)&guest_main + 1' 'next' 'p boot.cmdline' \
		'break power_debug_exit' 'continue' 'set var value = 9' 'p $rax = 0x1234567890' \
		'p $rax' 'continue'
	gives 73 && says '^hello: ' && told '^Breakpoint 1, guest_main' &&
		told '^rip .*<guest_main>' && told '^#1 .* in start ' && told '^\$1 = 1$' &&
		told 'end=debug exit=5' && told '^Breakpoint 2, power_debug_exit \(value=5' &&
		told '= 0x1234567890|= 78187493520' && told 'exited with code 0111'
}

watches() {
	debugged -p 'end=debug exit=3' -c 2 "$GUESTS/smp.elf" || return
	gdb_runs "$GUESTS/smp.elf" 'hbreak guest_main' 'continue' 'info threads' \
		'watch answers' 'continue' 'p answers' 'delete' 'continue'
	gives 64 && says '^PASS interrupts go round' && told 'Thread 2 \(vCPU 1\)' &&
		told '^Hardware watchpoint 2: answers' || return
	grep -q '^New value = ' "$dir/gdb" || return 77
	told '^New value = 1' && told '^\$1 = 1$'
}

second_vcpu() {
	debugged -c 2 "$GUESTS/smp.elf" || return
	gdb_runs "$GUESTS/smp.elf" 'hbreak work' 'continue' 'thread' 'stepi' 'stepi' 'info threads' \
		'thread apply all p $rip' 'thread 1' 'x/i $rip' 'detach'
	gives 64 && told 'hit Breakpoint 1, work' && told 'Current thread is 2' &&
		told '^\* 2 +Thread 2 \(vCPU 1\)' && told 'Thread 1 \(Thread 1\):|Thread 1 \(vCPU 0\)' &&
		says '^PASS interrupts go round'
}

# With scheduler-locking, as with steps over breakpoints, one vCPU runs alone.
one_vcpu_runs_alone() {
	debugged -c 2 "$GUESTS/smp.elf" || return
	gdb_runs "$GUESTS/smp.elf" 'hbreak work' 'continue' 'set scheduler-locking on' \
		'p/x $first = (long)0' 'thread 1' 'set $before = $rip' 'thread 2' 'stepi' 'stepi' 'stepi' \
		'thread 1' 'p $rip == $before' 'set scheduler-locking off' 'delete' 'continue'
	gives 64 && told '^\$2 = 1$'
}

interrupted() {
	debugged -p end=spin "$hello" || return
	gdb_runs "$hello" 'continue' 'info registers rip' 'p boot.cmdline' 'stepi' 'p $rip' 'kill' &
	local gdb=$! turns=200
	until grep -qs '^hello' "$dir/out" || [ $turns = 0 ]; do
		turns=$((turns - 1))
		sleep 0.05
	done
	kill -INT "$(pgrep -f "target remote $dir/gdb.sock" | tail -n 1)"
	wait $gdb
	gives 0 && told 'received signal SIGINT' && told '^rip .*<guest_main\+' && told 'end=spin' &&
		told '^\$2 = .*<guest_main\+' && says 'killed by gdb' "$dir/vmm"
}

attaches_later() {
	debugged -p end=spin "$hello" || return
	gdb_runs "$hello" 'detach' || return
	gdb_runs "$hello" 'p boot.cmdline' 'hbreak power_debug_exit' 'p $rip = (long)&power_debug_exit' \
		'p $rdi = 7' 'stepi' 'detach'
	gives 71 && told 'end=spin'
}

gdb_dies() {
	debugged -p 'end=debug exit=4' "$hello" || return
	gdb_runs "$hello" 'hbreak power_debug_exit' 'hbreak guest_main' 'continue' \
		'python import os; os.kill(os.getpid(), 9)'
	gives 68 && told '^Breakpoint 2, guest_main'
}

four_points() {
	debugged -p 'end=debug exit=4' "$hello" || return
	gdb_runs "$hello" 'hbreak guest_main' 'hbreak print' 'hbreak power_debug_exit' 'hbreak print_char' \
		'hbreak arg_text' 'continue' 'delete 5' 'continue' 'delete' 'continue'
	gives 68 && told 'Could not insert hardware breakpoints' && told '^Breakpoint 1, guest_main'
}

memory() {
	debugged -p 'end=debug exit=4' "$hello" || return
	gdb_runs "$hello" 'hbreak guest_main' 'continue' 'x/s 0x7fff00000000' 'p *(char *)0xfec00000' \
		'set var *(int *)0x5000 = 0x12345678' 'x/xw 0x5000' 'set var *(int *)0x7fff00000000 = 1' \
		'dump binary memory '"$dir"'/memory 0x1000000 0x1009000' 'delete' 'continue'
	gives 68 && told 'Cannot access memory at address 0x7fff00000000' &&
		told 'Cannot access memory at address 0xfec00000' && told '^0x5000:.*0x12345678' &&
		grep -q 'a guest that has much to say' "$dir/memory"
}

by_port() {
	local port=$((20000 + RANDOM % 10000)) tries=20
	until debugged -d $port -p 'exit=4' "$hello" >"$dir/tried"; do
		[ $tries -gt 0 ] && grep -q 'already in use' "$dir/vmm" || { cat "$dir/tried" && return 1; }
		tries=$((tries - 1)) port=$((port + 1))
	done
	vm 1 --gdb $port "$hello" && says "gdb port $port: Address already in use" "$dir/err" || return
	gdb_runs -t 127.0.0.1:$port "$hello" 'continue'
	gives 68
}

# A guest that stands still cannot feed it: here for longer than it waits.
watchdog_waits() {
	debugged --watchdog -p 'count=500 feeds=2 end=stop' "$GUESTS/watchdog.elf" || return
	gdb_runs "$GUESTS/watchdog.elf" 'hbreak feed' 'continue' 'shell sleep 2' 'delete' 'continue'
	gives 64 && told '^Breakpoint 1, feed'
}

time_limit() {
	"$VMM" run --timeout 1 --gdb "$dir/limit.sock" "$hello" >"$dir/out" 2>"$dir/err"
	[ $? = 37 ] && [ ! -s "$dir/out" ]
}

refuses() {
	mkdir "$dir/folder" && : >"$dir/file"
	vm 35 --gdb 0 "$hello" && says '--gdb: 0 is not a port' "$dir/err" &&
		vm 35 --gdb 65536 "$hello" && says '--gdb: 65536 is not a port' "$dir/err" &&
		vm 1 --gdb "$dir/file" "$hello" && says "gdb $dir/file: is there already, and is no socket" "$dir/err" &&
		[ -f "$dir/file" ] && vm 1 --gdb "$dir/folder/" "$hello" &&
		vm 1 --gdb /proc/self/fd/9 "$hello" 9<"$dir/file" && says 'gdb /proc/self/fd/9' "$dir/err" &&
		vm 1 --gdb /proc/self/fd/9 "$hello" 9<>"$dir/file" && says 'gdb /proc/self/fd/9: is not a socket' "$dir/err"
}

# Who may connect: the user alone. A socket that a dead vmm left does not matter, and an
# ended one leaves none.
socket_of_its_own() {
	debugged -p 'end=debug exit=4' "$hello" || return
	[ "$(stat -c %a "$dir/gdb.sock")" = 600 ] || { stat "$dir/gdb.sock"; return 1; }
	vm 1 --gdb "$dir/gdb.sock" "$hello" && says 'somebody answers there already' "$dir/err" || return
	kill -TERM $pid
	wait $pid
	[ ! -e "$dir/gdb.sock" ] || { echo 'it is still there'; return 1; }
	stale_socket "$dir/gdb.sock" STREAM &&
		"$VMM" run --timeout 1 --gdb "$dir/gdb.sock" "$hello" 2>"$dir/err"
	[ $? = 37 ] && [ ! -e "$dir/gdb.sock" ]
}

# Killed: the VM's process, of which vmm tells, or vmm itself.
socket_gone_after_kill() {
	debugged "$hello" && kill -KILL "$(vm_process)" && gives 33 &&
		[ ! -e "$dir/gdb.sock" ] && debugged "$hello" && kill -KILL $pid &&
		ended $pid 5 && gone "$dir/gdb.sock"
}

check 'breakpoints, steps, registers and variables' breaks_and_changes
name='a watchpoint is met' why=$(watches)
case $? in
0) t_ok "$name" ;;
77) t_skip "$name" 'this KVM does not report what watchpoints see' ;;
*) t_fail "$name" "$why" ;;
esac
check 'a breakpoint of the second vCPU' second_vcpu
check 'one vCPU steps while the other stands still' one_vcpu_runs_alone
check 'gdb interrupts, and kills' interrupted
check 'a second gdb attaches to a running guest' attaches_later
check 'the guest goes on when gdb dies' gdb_dies
check 'a fifth breakpoint is refused' four_points
check 'memory is read and written, or not there' memory
check 'a watchdog stands still with its guest' watchdog_waits
check 'by a TCP port' by_port
check 'a door that cannot be made is an error' refuses
check 'the socket is its owner'"'"'s, and a stale one is replaced' socket_of_its_own
check 'its socket is gone, whoever was killed' socket_gone_after_kill
check 'the time limit holds for a guest that waits' time_limit
t_done
