#!/bin/bash
# What --status-fd tells: each way in which a VM can die, by its reason, its status, who
# asked for it, and the end of its console.
# shellcheck source=tests/vm/vm.sh
. "$(dirname "$0")/vm.sh"

hello=$GUESTS/hello.elf
watchdog=$GUESTS/watchdog.elf
told=$dir/told

# object REASON STATUS BY [FILTER]: there is one object, all of it, and FILTER holds.
object() {
	jq -es --arg reason "$1" --argjson status "$2" --arg by "$3" 'length == 1 and (.[0] |
		keys == ["console_tail", "detail", "exit_status", "failure_code",
			"guest_panicked", "reason", "registers", "requested_by", "run_time_ms"] and
		.reason == $reason and .exit_status == $status and .requested_by == $by and
		(.detail | length > 0) and (.run_time_ms >= 0) and .failure_code == null and
		('"${4:-true}"'))' "$told" >"$dir/verdict" && return
	cat "$dir/verdict" "$told"
	return 1
}

# The console's last 4 KiB, as its reader got them.
tail_is_right() {
	jq -j .console_tail "$told" | cmp - <(tail -c 4096 "$dir/out")
}

# dies REASON STATUS BY FILTER ARGUMENT...
dies() {
	vm "$2" --status-fd "$told" "${@:5}" && object "$@" && tail_is_right
}

# killed REASON STATUS FILTER SCRIPT [OPTION]...: the script, told the pid of vmm and that
# of the VM's process, is what the VM dies of.
killed() {
	local want=$2 got=0
	in_background --status-fd "$told" "${@:5}" -p end=spin "$hello" || return
	VMM=$VMM dir=$dir bash -c "$4" script "$pid" "$(pgrep -P "$pid")" || return
	ended "$pid" 10 && wait "$pid" || got=$?
	[ $got = "$want" ] || { echo "exit status $got" && return 1; }
	object "$1" "$2" host "$3" && tail_is_right
}

not_alone() {
	vm 33 -c 2 --status-fd "$told" -p end=crash "$hello" &&
		object crash 33 guest '.registers | length == 2'
}

failed_by_word() {
	local args=(-p 'failure=MICRODROID_PAYLOAD_HAS_CHANGED end=poweroff' "$hello")
	dies shutdown 0 guest true "${args[@]}" || return
	vm 1 --status-fd "$told" --serial type=stdout,console=true --serial type=sink,num=2 "${args[@]}" &&
		jq -e '.reason == "bootloader" and .failure_code == "MICRODROID_PAYLOAD_HAS_CHANGED"' "$told"
}

grace() {
	dies panic 34 guest '.guest_panicked and .run_time_ms >= 1000' -p 'event=1 end=spin' "$hello"
}

# Whatever ends it, that there was a panic is told.
late_panic() {
	"$VMM" run --timeout 1 --status-fd "$told" -p 'event=2 end=spin' "$hello" >"$dir/out" 2>"$dir/err"
	[ $? = 37 ] && object timeout 37 host .guest_panicked
}

time_limit() {
	"$VMM" run --timeout 1 --status-fd "$told" -p end=spin "$hello" >"$dir/out" 2>"$dir/err"
	[ $? = 37 ] && object timeout 37 host '.run_time_ms >= 1000' && tail_is_right
}

# The VM's process cannot end at its time limit.
stuck() {
	local got=0 turns=40
	rm -f "$dir/out"
	"$VMM" run --timeout 2 --status-fd "$told" -p end=spin "$hello" >"$dir/out" 2>"$dir/err" &
	until grep -qs '^hello' "$dir/out" || [ $turns = 0 ]; do
		turns=$((turns - 1)) && sleep 0.05
	done
	kill -STOP "$(pgrep -P $!)"
	wait $! || got=$?
	[ $got = 37 ] && object timeout 37 host '.detail | test("killed")' && tail_is_right
}

# A guest that acts on its power button.
power_button() {
	in_background -s "$dir/sock" --status-fd "$told" "$GUESTS/button.elf" || return
	"$VMM" powerbtn "$dir/sock" && ended "$pid" 10 && wait "$pid" && object shutdown 0 host
}

# For longer than it would wait; then it has what was left.
suspended_watchdog() {
	local turns=200 got=0
	rm -f "$dir/out"
	"$VMM" run -s "$dir/sock" --timeout 30 --watchdog --status-fd "$told" -p count=1500 \
		"$watchdog" >"$dir/out" 2>"$dir/err" &
	until grep -qs '^fed' "$dir/out" || [ $turns = 0 ]; do
		turns=$((turns - 1)) && sleep 0.05
	done
	"$VMM" suspend "$dir/sock" && sleep 4 && "$VMM" status "$dir/sock" && "$VMM" resume "$dir/sock"
	wait $! || got=$?
	[ $got = 36 ] && object watchdog 36 guest '.run_time_ms > 5000'
}

# start_fails STATUS REASON TEXT ARGUMENT...: the sentence is what vmm says.
start_fails() {
	: >"$dir/out"
	vm "$1" "${@:4}" && object "$2" "$1" host '.console_tail == "" and .registers == null' &&
		jq -e --arg text "$3" '.detail | contains($text)' "$told" &&
		[ "$(sed -n 's/^vmm: //p' "$dir/err")" = "$(jq -r .detail "$told")" ]
}

# A system call that the main thread's filter forbids, made in its name.
forbidden() {
	local got=0 child
	in_background --status-fd "$told" -p end=spin "$hello" || return
	child=$(pgrep -P "$pid")
	strace -qq -o /dev/null -p "$child" -e trace=epoll_wait,epoll_pwait \
		-e inject=epoll_wait,epoll_pwait:error=EINTR:syscall=getegid &
	ended "$pid" 10 && wait "$pid" || got=$?
	[ $got = 33 ] || { echo "exit status $got" && return 1; }
	object sandbox 33 guest '.detail | test("forbidden")' && tail_is_right
}

descriptor() {
	vm 64 --debug-exit --status-fd 7 "$hello" 7>"$told" && object debug-exit 64 guest &&
		"$VMM" run --debug-exit --status-fd 1 --serial type=sink,console=true "$hello" 2>/dev/null |
			jq -e '.console_tail | startswith("hello")'
}

# The VM's process cannot write to it.
not_inherited() {
	local p fd held=
	in_background --status-fd "$told" -p end=halt "$hello" || return
	p=$(pgrep -P "$pid")
	for fd in "/proc/$p/fd"/*; do
		[ "$(readlink "$fd")" != "$told" ] || held=$fd
	done
	kill "$pid"
	ended "$pid" 5 && [ -z "$held" ]
}

# Emptied at the start, so that an earlier end is not taken for this one's.
no_old_object() {
	echo '{"reason": "old"}' >"$told"
	in_background --status-fd "$told" -p end=halt "$hello" || return
	[ ! -s "$told" ] || { echo 'the old object is there' && return 1; }
	kill "$pid"
	ended "$pid" 5 && object killed 0 host
}

no_room() {
	vm 64 --debug-exit --status-fd /dev/full "$hello" && says 'status object: lost' "$dir/err"
}

# Nobody reads; the pipe is full.
no_reader() {
	local got=0
	mkfifo "$dir/fifo"
	exec 8<>"$dir/fifo"
	head -c 65536 /dev/zero >&8
	timeout 30 "$VMM" run --debug-exit --status-fd 8 "$hello" >"$dir/out" 2>"$dir/err" || got=$?
	exec 8>&-
	[ $got = 64 ] && says 'status object: lost' "$dir/err"
}

cannot_open() {
	vm 1 --status-fd "$dir/absent/status" "$hello" && says 'absent/status: No such' "$dir/err" &&
		vm 1 --status-fd 99 "$hello" && says 'descriptor 99 is not open' "$dir/err"
}

consoles() {
	: >"$dir/out"
	vm 64 --debug-exit --status-fd "$told" --serial type=sink,hardware=virtio-console,console=true \
		"$GUESTS/con.elf" && object debug-exit 64 guest '.console_tail | test("^hello from the console guest")'
}

for end in poweroff:shutdown:0 cf9:reboot:32 i8042:reboot:32 triple:reboot:32; do
	IFS=: read -r word reason code <<<"$end"
	check "end=$word: $reason" dies "$reason" "$code" guest \
		'.registers == null and (.guest_panicked | not)' -p "end=$word" "$hello"
done
check 'debug-exit' dies debug-exit 85 guest true --debug-exit -p exit=21 "$hello"
check 'power-off by the power button' power_button
check 'crash: registers' dies crash 33 guest \
	'(.registers | length == 1) and .registers[0].rip == "0xf3fff000" and .registers[0].cs == "0x8"' \
	-p end=crash "$hello"
check 'crash: registers of all vCPUs' not_alone
check 'panic, then a reset' dies panic 34 guest \
	'.guest_panicked and (.registers | length == 1)' -p 'event=1 end=cf9' "$hello"
check 'panic, then nothing: after a second' grace
check 'panic that the guest handles, then a reset' dies panic 34 guest .guest_panicked \
	-p 'event=2 end=triple' "$hello"
check 'panic, and another end: both are told' late_panic
check 'a word on ttyS1, where there is one' failed_by_word
check 'watchdog' dies watchdog 36 guest true --watchdog -p count=100 "$watchdog"
check 'a watchdog does not end a VM that is suspended' suspended_watchdog
check 'time limit' time_limit
check 'time limit of a VM that is stuck' stuck
# shellcheck disable=SC2016 # for the script
{
	check 'vmm stop' killed killed 0 true '"$VMM" stop "$dir/sock"' -s "$dir/sock"
	check 'SIGTERM' killed killed 0 '.detail | test("SIGTERM")' 'kill $1'
	check 'SIGTERM, twice' killed killed 33 '.detail | test("SIGTERM")' \
		'kill -STOP $2; kill $1; sleep 0.5; kill $1'
	check 'another signal' killed killed 33 '.detail | test("SIGUSR2")' 'kill -USR2 $1'
	check "SIGKILL for the VM's process" killed killed 33 '.detail | test("SIGKILL")' 'kill -KILL $2'
	check "a bug in the VM's process" killed crash 33 '.detail | test("SIGABRT")' \
		'kill -ABRT $2' --disable-sandbox
}
if strace -o /dev/null true 2>/dev/null; then
	check 'the jail' forbidden
else
	t_skip 'the jail' 'strace cannot trace here'
fi
check 'no kernel' start_fails 1 start-failed 'kernel /nowhere: No such file' \
	--status-fd "$told" /nowhere
check 'a bad kernel' start_fails 1 start-failed "$0" --status-fd "$told" "$0"
check 'bad arguments' start_fails 35 bad-arguments '--bogus: unknown' \
	--status-fd "$told" --bogus "$hello"
check 'bad arguments before --status-fd' start_fails 35 bad-arguments '--cpus' \
	--cpus=0 --status-fd="$told" "$hello" --initrd
check 'all of a long console' dies debug-exit 64 guest '.console_tail | length == 4096' \
	--debug-exit -p lines=300 "$hello"
check 'the console that is hvc0' consoles
check 'to a descriptor' descriptor
check "the VM's process does not have the descriptor" not_inherited
check 'nothing of an earlier run remains' no_old_object
check 'no room for the object' no_room
check 'nobody reads the object' no_reader
check 'nowhere to write to' cannot_open
t_done
