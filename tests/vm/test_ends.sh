#!/bin/bash
# How a run ends: every exit status that a guest or a user can bring about, nothing left
# behind, and the terminal as it was.
# shellcheck source=tests/vm/vm.sh
. "$(dirname "$0")/vm.sh"

hello=$GUESTS/hello.elf
watchdog=$GUESTS/watchdog.elf

ends() { # STATUS WORDS [ARGUMENT...]
	local status=$1 words=$2
	shift 2
	vm "$status" "$@" -p "$words" "$hello" && says "^hello: .*$words"
}

time_limit() {
	local start=$SECONDS
	"$VMM" run --timeout 1 -p "$1" "$hello" >"$dir/out" 2>"$dir/err"
	[ $? = 37 ] && [ $((SECONDS - start)) -le 5 ] && return
	echo "not 37, or after $((SECONDS - start)) s" && return 1
}

one_sentence() { # STATUS WORDS
	ends "$1" "$2" && [ "$(wc -l <"$dir/err")" = 1 ] && return
	echo "vmm said:" && cat "$dir/err" && return 1
}

# For longer than a panic that nobody handles leaves it.
handles_panic() {
	"$VMM" run --timeout 3 -p 'event=2 end=spin' "$hello" >"$dir/out" 2>"$dir/err"
	[ $? = 37 ]
}

fed() {
	vm 36 --watchdog --debug-exit -p 'count=500 feeds=1200' "$watchdog" && says '^fed'
}

all_output() {
	ends 64 lines=200 --debug-exit &&
		[ "$(grep -c '^line [0-9]* of a guest .* at all.$' "$dir/out")" = 200 ]
}

signal() { # SIGNAL WORDS
	local got=0
	in_background -p "$2" "$hello" || return
	kill -"$1" "$pid"
	ended "$pid" 5 && wait "$pid" || got=$?
	[ $got = 0 ] && return
	echo "exit status $got" && cat "$dir/err" && return 1
}

# Whatever signals its parent had blocked or ignored.
inherited_signals() {
	perl -e '$SIG{CHLD} = "IGNORE"; use POSIX;
		sigprocmask(SIG_BLOCK, POSIX::SigSet->new(SIGUSR1, SIGTERM, SIGCHLD)); exec @ARGV' \
		timeout -k 1 20 "$VMM" run --timeout 1 -p end=spin "$hello" >"$dir/out" 2>"$dir/err"
	[ $? = 37 ]
}

# A signal that nobody sends to a VMM ends it all the same, and leaves nothing.
odd_signal() {
	local got=0 child
	in_background -p end=spin "$hello" || return
	child=$(pgrep -P "$pid")
	kill -USR2 "$pid"
	ended "$pid" 5 && ended "$child" 5 && wait "$pid" || got=$?
	[ $got = 33 ] && return
	echo "exit status $got" && return 1
}

stops_and_continues() {
	local child
	in_background -p end=spin "$hello" || return
	child=$(pgrep -P "$pid")
	kill -TSTP "$pid"
	for _ in $(seq 50); do
		[[ $(cat "/proc/$pid/stat" "/proc/$child/stat" | cut -d' ' -f3 | tr -d '\n') = TT ]] && break
		sleep 0.1
	done
	grep -q '^State:.T' "/proc/$child/status" || { echo 'the VM goes on' && return 1; }
	kill -CONT "$pid"
	kill -TERM "$pid"
	ended "$pid" 5 && wait "$pid"
}

# Everything that vmm started is in its session, unless that was made to hide it.
killed() {
	rm -f "$dir/out"
	setsid "$VMM" run -p end=spin "$hello" >"$dir/out" 2>/dev/null </dev/null &
	local pid=$! turns=100 session left
	until grep -qs '^hello' "$dir/out" || [ $turns = 0 ]; do
		turns=$((turns - 1)) && sleep 0.05
	done
	session=$(ps -o sid= -p "$pid" | tr -d ' ')
	left=$(pgrep -s "$session" | tr '\n' ' ')
	kill -KILL "$pid"
	wait "$pid" 2>/dev/null
	for p in $left; do
		ended "$p" 5 || return
	done
}

none_left() {
	setsid "$VMM" run --debug-exit "$hello" >"$dir/out" 2>/dev/null </dev/null &
	local pid=$!
	wait "$pid"
	! pgrep -s "$pid"
}

# The reader of the guest's console goes away.
reader_leaves() {
	local status
	timeout 20 "$VMM" run --timeout 15 --debug-exit -p 'lines=100 exit=5' "$hello" \
		2>"$dir/err" | head -n 1 >"$dir/out"
	status=${PIPESTATUS[0]}
	[ "$status" = 69 ] && says '^hello' && return
	echo "exit status $status" && cat "$dir/err" && return 1
}

no_descriptors() {
	local got=0
	"$VMM" run --timeout 10 --debug-exit -p exit=7 "$hello" <&- >&- 2>&- || got=$?
	[ $got = 71 ] || { echo "exit status $got" && return 1; }
}

# A terminal's settings before, while and after a guest has it: raw between, or the 'q'
# that ends the echo would wait for the end of its line. Words, and what ends the guest.
terminal() {
	rm -f "$dir"/{before,while,after,pid,out}
	cat >"$dir/session" <<-END
		stty -g >"$dir/before"
		(
			for _ in \$(seq 60); do
				stty -g | cmp -s - "$dir/before" || break
				sleep 0.05
			done
			stty -g >"$dir/while"
			$2
		) </dev/tty &
		sh -c 'echo \$\$ >"$dir/pid"; exec "$VMM" run --timeout 20 --debug-exit \
			-p "$1" "$hello"'
		echo status \$?
		stty -g >"$dir/after"
		wait
	END
	(
		for _ in $(seq 200); do
			[ -s "$dir/while" ] && printf q && break
			sleep 0.05
		done
	) | timeout 25 script -qec "bash $dir/session" /dev/null >"$dir/out" 2>&1
	says "status $3" && cmp "$dir/before" "$dir/after" &&
		! cmp -s "$dir/before" "$dir/while"
}

check 'debug-exit 0 is status 64' ends 64 exit=0 --debug-exit
check 'debug-exit 1' ends 65 exit=1 --debug-exit
check 'debug-exit 42' ends 106 exit=42 --debug-exit
check 'debug-exit 63' ends 127 exit=63 --debug-exit
check 'debug-exit at another port' ends 67 'debugport=0x501 exit=3' \
	--debug-exit iobase=0x501
check 'power-off is 0' ends 0 end=poweroff
check 'reset by port 0xcf9 is 32' ends 32 end=cf9
check 'reset by the keyboard controller is 32' ends 32 end=i8042
check 'triple fault is 32' ends 32 end=triple
check 'the same without the jail' ends 32 end=triple --disable-sandbox
for end in poweroff:0 cf9:32 triple:32; do
	check "one sentence tells of end=${end%:*}" one_sentence "${end#*:}" "end=${end%:*}"
done
check 'code where no memory is: 33' ends 33 end=crash --debug-exit
for end in cf9 i8042 triple poweroff debug spin halt; do
	check "panic, then end=$end: 34" ends 34 "event=1 end=$end" --debug-exit
done
for end in cf9 poweroff; do
	check "panic that the guest handles, then end=$end: 34" ends 34 "event=2 end=$end"
done
check 'a guest that handles its panic may go on' handles_panic
check 'pvpanic ignores what it does not know' ends 32 'event=0xfc end=cf9'
check 'a watchdog that is not fed: 36' vm 36 --watchdog --debug-exit -p count=100 "$watchdog"
check 'a locked watchdog cannot be stopped: 36' \
	vm 36 --watchdog --debug-exit -p 'count=100 lock=1' "$watchdog"
check 'a watchdog that is fed, and then no more: 36' fed
check 'a watchdog that is stopped does nothing' guest watchdog --watchdog -p 'count=100 end=stop'
check 'time limit of a guest that spins is 37' time_limit end=spin
check 'time limit of a guest that halts for ever is 37' time_limit end=halt
for signal in TERM INT; do
	check "SIG$signal ends a guest that spins" signal $signal end=spin
	check "SIG$signal ends a guest that halts" signal $signal end=halt
done
check 'signals that are blocked or ignored by the caller do not matter' inherited_signals
check 'SIGUSR2 ends vmm and its VM' odd_signal
check 'SIGTSTP stops the VM with vmm, and it can go on' stops_and_continues
check 'all output arrives before the end' all_output
check 'no process is left' none_left
check 'no process outlives a vmm that is killed' killed
check 'a reader that leaves does not matter' reader_leaves
check 'closed standard descriptors do not matter' no_descriptors
if command -v script >/dev/null; then
	check 'the terminal is as it was after the guest' terminal end=echo : 64
	for signal in TERM INT; do
		check "the terminal is as it was after SIG$signal" \
			terminal end=halt "kill -$signal \$(cat '$dir/pid')" 0
	done
else
	t_skip 'the terminal is as it was' 'there is no script(1)'
fi
t_done
