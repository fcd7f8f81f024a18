#!/bin/bash
# The control socket: what the commands do to a running VM, how the socket comes and
# goes, and peers that misbehave.
# shellcheck source=tests/vm/vm.sh
. "$(dirname "$0")/vm.sh"

hello=$GUESTS/hello.elf
sock=$dir/sock
packets=tests/vm/packets

# start [ARGUMENT...]: a VM with the socket, in the background.
start() { in_background -s "$sock" "$@"; }

# does COMMAND... : it succeeds, and says nothing.
does() {
	"$VMM" "$@" >"$dir/said" 2>&1 && [ ! -s "$dir/said" ] && return
	echo "vmm $* said:" && cat "$dir/said" && return 1
}

# fails STATUS TEXT COMMAND...: it fails, with a line that matches TEXT.
fails() {
	local want=$1 text=$2 got=0
	shift 2
	"$VMM" "$@" >"$dir/said" 2>&1 || got=$?
	[ $got = "$want" ] && says "$text" "$dir/said" && return
	echo "vmm $*: exit status $got" && return 1
}

state_is() {
	"$VMM" status "$sock" >"$dir/status" 2>&1 && says "^state: $1\$" "$dir/status"
}

# over STATUS: the VM ends with it, and its socket is gone.
over() {
	local got=0
	ended "$pid" 10 && wait "$pid" || got=$?
	[ $got = "$1" ] || { echo "exit status $got" && cat "$dir/err" && return 1; }
	[ ! -e "$sock" ] || { echo "$sock is left" && return 1; }
}

stops() { does stop "$sock" && over 0; }


# Processor time of the VM's process, in ticks.
ticks() { awk '{ print $14 + $15 }' "/proc/$(vm_process)/stat"; }
lines() { grep -c '^line' "$dir/out"; }

# --- commands ------------------------------------------------------------------

# object REASON WHO: of the end.
object() {
	[ "$(jq -r '.reason + " " + .requested_by' "$dir/object")" = "$*" ] && return
	cat "$dir/object" && return 1
}

stop_command() {
	start --status-fd "$dir/object" -p "$1" "$hello" && stops &&
		says 'stopped through the control socket' "$dir/err" && object killed host
}

power_button() {
	start --status-fd "$dir/object" "$GUESTS/button.elf" || return
	does powerbtn "$sock" && over 0 && says '^pressed 1' && says '^PASS event' &&
		says 'the guest powered off' "$dir/err" && object shutdown host
}

deaf_button() {
	start -p end=halt "$hello" &&
		fails 1 'the guest does not listen to its power button' powerbtn "$sock" && stops
}

status_command() {
	start --name 'a name' -c 2 -m 64 -p end=halt "$hello" || return
	"$VMM" status "$sock" >"$dir/status" && says '^state: running$' "$dir/status" &&
		says '^name: a name$' "$dir/status" && says "^pid: $pid\$" "$dir/status" &&
		says '^vcpus: 2$' "$dir/status" && says '^memory_bytes: 67108864$' "$dir/status" &&
		says '^uptime_ms: [0-9]+$' "$dir/status" || return
	"$VMM" status --json "$sock" >"$dir/status" && says "^  \"pid\": $pid,\$" "$dir/status" &&
		stops
}

no_processor_time() {
	local before running still turns=200
	start -p end=spin "$hello" || return
	before=$(ticks)
	until running=$(($(ticks) - before)) && [ $running -ge 30 ]; do
		[ $((turns -= 1)) -gt 0 ] || { echo 'the guest does not run' && return 1; }
		sleep 0.1
	done
	does suspend "$sock" && state_is suspended || return
	# As long as it took to use that much.
	before=$(ticks)
	for _ in $(seq $((200 - turns)) ); do sleep 0.1; done
	still=$(($(ticks) - before))
	does resume "$sock" && state_is running && stops || return
	[ $((still * 10)) -lt $running ] && return
	echo "$still ticks suspended, $running running" && return 1
}

stands_still_and_goes_on() { # FLAG...
	local before turns=200
	start -c 3 -p rounds=1000000 "$GUESTS/storm.elf" || return
	does suspend "$@" "$sock" && does suspend "$@" "$sock" || return
	sleep 0.3 # consoles write out what they hold
	before=$(lines)
	sleep 0.5
	[ "$(lines)" = "$before" ] || { echo 'it went on' && return 1; }
	does resume "$@" "$sock" && does resume "$@" "$sock" || return
	until [ "$(lines)" -gt "$before" ]; do
		[ $((turns -= 1)) -gt 0 ] || { echo 'it stands still' && return 1; }
		sleep 0.05
	done
	stops
}

half_resumed() {
	start -p end=spin "$hello" && does suspend "$sock" && does suspend --full "$sock" &&
		state_is suspended-full && fails 1 'devices are suspended, too' resume "$sock" &&
		does suspend "$sock" && state_is suspended-full &&
		does resume --full "$sock" && state_is running && stops
}

# Each access of the guest happens once, however often it is interrupted.
storm() { # FIRST SECOND
	local n
	start --debug-exit -c 4 -p rounds=500 "$GUESTS/storm.elf" || return
	n=$("$packets" "$sock" storm "$1" "$2") || return
	over 64 || return
	[ "$n" -gt 50 ] || { echo "only $n requests" && return 1; }
	[ "$(grep -c '^PASS accesses' "$dir/out")" = 3 ] &&
		[ "$(tr -d '\r' <"$dir/out" | grep -cx 'line [0-9]* 0123456789 of the storm')" = 500 ]
}

disk_storm() {
	truncate -s 1M "$dir/disk"
	start --suspended --debug-exit --block "$dir/disk" -c 2 -p 'queues=2 irq=msix' \
		"$GUESTS/blk.elf" &
	local starter=$! turns=200
	until [ -S "$sock" ]; do
		[ $((turns -= 1)) -gt 0 ] || { echo 'no socket' && return 1; }
		sleep 0.05
	done
	"$packets" "$sock" storm '"ResumeVm"' '"SuspendVm"' >"$dir/n" || return
	turns=200
	while [ -S "$sock" ] && [ $((turns -= 1)) -gt 0 ]; do sleep 0.05; done
	kill $starter 2>/dev/null
	[ "$(cat "$dir/n")" -gt 20 ] || { echo "only $(cat "$dir/n") requests" && return 1; }
	says '^PASS' && ! grep '^FAIL' "$dir/out"
}

starts_suspended() {
	rm -f "$dir/out"
	"$VMM" run --timeout 30 -s "$sock" --suspended -p end=poweroff "$hello" \
		>"$dir/out" 2>"$dir/err" </dev/null &
	pid=$!
	local turns=100
	until [ -S "$sock" ] || [ $((turns -= 1)) = 0 ]; do sleep 0.05; done
	state_is suspended && sleep 0.3 || return
	[ ! -s "$dir/out" ] || { echo 'it runs' && return 1; }
	does resume "$sock" && over 0 && says '^hello'
}

limit_counts() {
	local got=0
	"$VMM" run --timeout 1 -s "$sock" --suspended "$hello" >"$dir/out" 2>"$dir/err" || got=$?
	[ $got = 37 ] && [ ! -s "$dir/out" ]
}

# Suspended within the second that a panic leaves a guest, or it is tried again.
panic_waits() {
	local i
	for ((i = 0; i < 5; i++)); do
		start -p 'event=1 end=spin' "$hello" && sleep 0.2 || return
		does suspend "$@" "$sock" && break
		wait "$pid"
	done
	sleep 1.5
	state_is "suspended${1:+-full}" && does resume "$@" "$sock" && over 34 &&
		says 'the guest panicked' "$dir/err"
}

ends_suspended() { # COMMAND...
	start -p end=spin "$hello" && does suspend --full "$sock" && "$@" && over 0
}

resized() {
	truncate -s 1M "$dir/disk" "$dir/disk2"
	start --block "$dir/disk,ro" --block "$dir/disk2" -p end=halt "$hello" &&
		does disk resize 1 0x200000 "$sock" &&
		[ "$(stat -c %s "$dir/disk2")" = 2097152 ] &&
		fails 1 'disk 2: this VM has 2 disks' disk resize 2 4096 "$sock" &&
		fails 1 'disk|read-only' disk resize 0 4096 "$sock" &&
		[ "$(stat -c %s "$dir/disk")" = 1048576 ] &&
		fails 1 'multiple of block-size' disk resize 1 1000 "$sock" && stops
}

balloon() {
	start -m 64 -p end=halt "$hello" && does balloon 0x100000 "$sock" &&
		"$VMM" status "$sock" >"$dir/status" &&
		says '^balloon_target_bytes: 1048576$' "$dir/status" &&
		says '^balloon_bytes: 0$' "$dir/status" &&
		fails 1 'does not tell statistics' balloon_stats "$sock" &&
		fails 1 "more than the guest's 64 MiB" balloon 67108865 "$sock" && stops || return
	start --no-balloon -p end=halt "$hello" && fails 1 'no balloon' balloon 1 "$sock" &&
		fails 1 'no balloon' balloon_stats "$sock" && stops
}

threads() {
	local answer p i tid
	start -c 3 -p end=spin "$hello" || return
	answer=$("$packets" "$sock" ask '"VcpuPidTid"') || return
	p=$(vm_process)
	for i in 0 1 2; do
		tid=$(sed -E "s/.*\"$i\":\[$p,([0-9]+)\].*/\1/" <<<"$answer")
		[ "$(cat "/proc/$p/task/$tid/comm")" = "vcpu$i" ] ||
			{ echo "vCPU $i: $answer, process $p" && return 1; }
	done
	stops
}

# --- the protocol of others ------------------------------------------------------

many_requests() {
	start -p end=halt "$hello" &&
		"$packets" "$sock" ask '"SuspendVcpus"' '"Nonsense"' '"ResumeVcpus"' \
			'{"BalloonCommand":{"Adjust":{"num_bytes":18446744073709551616}}}' \
			'"GetVmDescriptor"' '"Exit"' >"$dir/answers" && over 0 || return
	diff - <(sed 's/ErrString.*/ErrString/; s/Descriptor.*Kvm.*/Descriptor/' "$dir/answers") <<-'END'
		"Ok"
		{"ErrString
		"Ok"
		{"ErrString
		{"VmDescriptor
		"Ok"
	END
}

crowd() {
	start -p end=spin "$hello" && "$packets" "$sock" crowd 300 && state_is running && stops
}

# --- the socket's life -------------------------------------------------------------

private() {
	(umask 0 && start -p end=halt "$hello" && [ "$(stat -c %a "$sock")" = 600 ] && stops)
}

stale() {
	stale_socket "$sock" SEQPACKET && start -p end=halt "$hello" && state_is running && stops
}

live() {
	start -p end=halt "$hello" &&
		fails 1 "control socket .*somebody answers there" run -s "$sock" "$hello" &&
		state_is running && stops
}

no_socket_there() {
	echo precious >"$sock"
	fails 1 'is no socket' run -s "$sock" "$hello" && grep -q precious "$sock" && rm "$sock"
}

in_directory() {
	mkdir -p "$dir/d"
	in_background -s "$dir/d" -p end=halt "$hello" || return
	sock=$dir/d/vmm-$pid.sock
	state_is running && stops && rmdir "$dir/d"
}

inherited() {
	rm -f "$dir/out" "$dir/theirs"
	"$packets" "$dir/theirs" listen "$VMM" run --timeout 30 -s /proc/self/fd/9 \
		-p end=halt "$hello" >"$dir/out" 2>"$dir/err" </dev/null &
	pid=$!
	local turns=200
	until grep -qs '^hello' "$dir/out"; do
		[ $((turns -= 1)) -gt 0 ] || { cat "$dir/err" && return 1; }
		sleep 0.05
	done
	does stop "$dir/theirs" && over 0 && [ -S "$dir/theirs" ] && rm "$dir/theirs"
}

# Asked before the VM runs, answered as soon as it does.
connected() {
	python3 - "$VMM" "$hello" <<-'END'
		import json, socket, subprocess, sys
		ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
		n = theirs.fileno()
		p = subprocess.Popen([sys.argv[1], "run", "--timeout", "30", "-s", f"/proc/self/fd/{n}",
		                      "-p", "end=spin", sys.argv[2]], pass_fds=[n],
		                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
		theirs.close()
		ours.send(b'"Status"')
		said = json.loads(ours.recv(65536))
		ours.send(b'"Exit"')
		said2 = json.loads(ours.recv(65536))
		status = p.wait()
		print(said, said2, status, repr(ours.recv(1)))
		sys.exit(said["Status"]["state"] != "running" or said2 != "Ok" or status != 0)
	END
}

not_inherited() {
	fails 1 'not a listening unix socket' run -s /proc/self/fd/9 "$hello" 9</dev/null ||
		fails 1 'socket' run -s /proc/self/fd/9 "$hello" 9<>/dev/null || return
	fails 1 'not open' run -s /proc/self/fd/77 "$hello"
}

long_path() {
	local folder
	folder=$dir/$(printf '%0200d' 1)
	mkdir "$folder" && sock=$folder/sock && start -p end=halt "$hello" && state_is running &&
		stops && rmdir "$folder"
}

# However the VM ends, nothing is left.
gone_after() { # STATUS COMMAND...
	local want=$1
	shift
	start -p end=halt "$hello" && "$@" && over "$want"
}
kill_it() { kill -TERM "$pid"; }
kill_vm() { kill -KILL "$(vm_process)"; }

gone_after_kill() {
	start -p end=halt "$hello" && kill -KILL "$pid" && ended "$pid" 5 && gone "$sock"
}

# Root of a user namespace could not remove it there.
gone_from_others() {
	local folder=$dir/theirs
	mkdir "$folder" && chown 65534:65534 "$folder" && chmod 755 "$folder" && sock=$folder/sock &&
		start -p end=halt "$hello" && stops && [ ! -e "$folder/sock" ] && rmdir "$folder"
}

gone_after_failure() {
	echo 'no kernel' >"$dir/bad"
	fails 1 bad run -s "$sock" "$dir/bad" && [ ! -e "$sock" ] &&
		fails 1 missing run -s "$sock" --block "$dir/missing/x" "$hello" && [ ! -e "$sock" ]
}

arguments() {
	fails 35 'no SOCKET' stop && fails 35 'too many' stop a b && fails 35 'unknown option' stop -x a &&
		fails 35 'number' balloon x "$sock" && fails 35 'number' balloon &&
		fails 35 'number' balloon 0xffffffffffffffff "$sock" &&
		fails 35 'resize' disk shrink 1 2 "$sock" && fails 35 'no SOCKET' disk resize 1 2 &&
		fails 35 'needs --socket' run --suspended "$hello" &&
		fails 1 'No such file' status "$dir/none" && fails 0 'Usage: vmm suspend' suspend --help
}

# A guest, and a VM, that do not answer, for the last tests: asking them takes a while.
sock=$dir/deaf
start -p end=halt "$hello" && deaf=$pid
("$VMM" balloon --wait 4097 "$sock" >"$dir/deaf-said" 2>&1; echo "status $?" >>"$dir/deaf-said") &
deaf_asker=$!
deaf_guest() {
	ended $deaf_asker 30 && says 'has given up 0 of 4096 bytes after 10 s' "$dir/deaf-said" &&
		says 'status 1' "$dir/deaf-said"
}
sock=$dir/hung
start -p end=halt "$hello" && hung=$pid && hung_child=$(vm_process)
kill -STOP "$hung_child"
("$VMM" status "$sock" >"$dir/hung-said" 2>&1; echo "status $?" >>"$dir/hung-said") &
asker=$!
hung_vm() {
	ended $asker 30 && says 'has not answered for 15 seconds' "$dir/hung-said" &&
		says 'status 1' "$dir/hung-said"
}
sock=$dir/sock

check 'stop ends a guest that spins' stop_command end=spin
check 'stop ends a guest that halts' stop_command end=halt
check 'the power button reaches the guest, which powers off' power_button
check 'the power button of a guest that does not listen is an error' deaf_button
check 'status tells what the VM is' status_command
check 'a suspended guest uses no processor time' no_processor_time
check 'suspend lets it stand still, resume go on' stands_still_and_goes_on
check 'so does --full' stands_still_and_goes_on --full
check 'what was suspended in full is resumed in full' half_resumed
check 'accesses happen once in a storm of suspends' storm '"SuspendVcpus"' '"ResumeVcpus"'
check 'the same with devices' storm '"SuspendVm"' '"ResumeVm"'
check 'disks lose nothing in a storm of suspends' disk_storm
check 'the last second of a guest that panicked waits for resume' panic_waits
check 'and for resume --full' panic_waits --full
check '--suspended waits for resume' starts_suspended
check 'the time limit counts while suspended' limit_counts
check 'stop ends a suspended VM' ends_suspended does stop "$sock"
check 'SIGTERM ends a suspended VM' ends_suspended kill_it
check 'disks are resized' resized
check 'the balloon is asked' balloon
check "VcpuPidTid tells the host's thread IDs" threads
check 'many requests on one connection are answered in order' many_requests
check 'hundreds of connections, junk and deaf peers hurt nobody' crowd
check "the socket is its owner's only" private
check 'a stale socket is replaced' stale
check 'a live socket is refused' live
check 'what is no socket is left alone' no_socket_there
check 'in a directory it is vmm-PID.sock' in_directory
check 'an inherited socket is served' inherited
check 'an inherited connection is served' connected
check 'what is inherited must be a listening socket' not_inherited
check 'its path may be long' long_path
check 'it is gone after SIGTERM' gone_after 0 kill_it
check "it is gone after the VM's process was killed" gone_after 33 kill_vm
check 'it is gone after vmm was killed' gone_after_kill
if [ "$(id -u)" = 0 ]; then
	check "it is gone from another user's directory" gone_from_others
else
	t_skip "it is gone from another user's directory" 'needs root'
fi
check 'it is gone when the VM does not start' gone_after_failure
check 'arguments in vain are told of' arguments
check 'a guest that gives nothing up is told of' deaf_guest
check 'a VM that hangs does not hang who asks it' hung_vm
kill -CONT "$hung_child" 2>/dev/null
kill "$hung" "$deaf" 2>/dev/null
t_done
