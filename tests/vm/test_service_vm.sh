#!/bin/bash
# vm, the service's command line, from the configuration file to the exit status: with a
# manager for each command, and a service of its own for all of them.
# shellcheck source=tests/vm/vm.sh
. "$(dirname "$0")/vm.sh"

VMM=$(realpath "$VMM")
vm=${VMM%/*}/vm
export VMM
hello=$(realpath "$GUESTS/hello.elf")
config=$dir/config.json
# Nothing of the host's own service is touched.
export XDG_RUNTIME_DIR=$dir/run
mkdir -m 700 "$XDG_RUNTIME_DIR"
# What a test that failed has left.
trap 'xargs -r kill 2>/dev/null <"$dir/started"; wait; rm -rf "$dir"' EXIT
touch "$dir/started"

# configure PARAMS [MEMBERS]: of a VM named test with the guest hello.
configure() {
	printf '{ "name": "test", "kernel": "%s", "params": "%s", "platform_version": "~1.0"%s }\n' \
		"${KERNEL:-$hello}" "$1" "${2:+, $2}" >"$config"
}

# does STATUS TEXT COMMAND...: vm ends with it, and one of its lines matches TEXT.
does() {
	local want=$1 text=$2 got=0
	shift 2
	timeout 60 "$vm" "$@" >"$dir/out" 2>"$dir/err" </dev/null || got=$?
	cat "$dir/out" "$dir/err" >"$dir/said"
	[ $got = "$want" ] || { echo "vm $*: exit status $got" && cat "$dir/said" && return 1; }
	[ -z "$text" ] || says "$text" "$dir/said"
}

# start [OPTION]...: the configured VM in the background, as $pid, until its guest speaks.
start() {
	local turns=200
	rm -f "$dir/console"
	# The shell ignores SIGINT for what it starts in the background.
	env --default-signal=INT "$vm" run --console "$dir/console" "$@" "$config" >"$dir/run.out" 2>"$dir/run.err" </dev/null &
	pid=$!
	echo $pid >>"$dir/started"
	until grep -aqs '^hello\|^ready\|^PASS' "$dir/console"; do
		[ $((turns -= 1)) -gt 0 ] || { echo 'the guest does not start' && cat "$dir/run.err" && return 1; }
		sleep 0.05
	done
}

# over STATUS TEXT: the VM in the background ends, with a line that matches.
over() {
	local got=0
	ended "$pid" 20 || return
	wait "$pid" || got=$?
	[ $got = "$1" ] || { echo "exit status $got" && cat "$dir/run.err" && return 1; }
	says "$2" "$dir/run.err"
}

# vms FILTER: what jq makes of the list.
vms() { "$vm" list --json | jq -re "$1"; }

# --- the configuration file ---------------------------------------------------------------

good_file() { configure x && does 0 'no faults' check "$config"; }
bad_file() {
	printf '{ "kernel": "/nowhere", "memory_mb": 5,\n "disks": [ { "image": 1 } ] }' >"$config"
	does 35 'memory_mb: is not known; did you mean memory_mib' check "$config" &&
		says '^vm: .*config.json: kernel: /nowhere: No such file' "$dir/err" &&
		says 'disks\[0\].image: must be a path, not a number' "$dir/err" &&
		says 'disks\[0\].writable: is missing' "$dir/err" &&
		says 'platform_version: is missing' "$dir/err" &&
		[ "$(wc -l <"$dir/err")" = 5 ] && does 35 'platform_version' run "$config"
}
bad_syntax() {
	printf '{ "kernel": "x",\n  }' >"$config"
	does 35 '^vm: .*config.json:2:3: ' check "$config"
}
missing_files() {
	configure x '"initrd": "/nowhere"' && does 1 'initrd: /nowhere: No such' check "$config" &&
		does 1 'initrd: /nowhere: No such' run "$config" &&
		does 1 'configuration /nowhere: No such' run /nowhere &&
		configure x '"initrd": "/"' && does 1 'initrd: /: is a directory' check "$config" &&
		configure x '"initrd": "/dev/zero"' && does 1 'is not a regular file' check "$config"
}
read_only_file() {
	configure x '"disks": [ { "image": "/proc/self/fd/9", "writable": true } ]' &&
		does 1 'disks\[0\].image: /proc/self/fd/9: .* not open for writing' check "$config" 9</dev/null
}
relative_paths() {
	cp "$hello" "$dir/k" && KERNEL=k configure end=poweroff || return
	(cd "$dir" && does 0 '^VM ended: shutdown' run config.json) || return
	does 1 'kernel: k: No such' run "$config"
}
launcher_keys() {
	configure end=poweroff '"console_out": true, "gpu": { "backend": "2d" }, "usb_config": { "controller": false }'
	does 0 "gpu: is for AVF's launcher apps" run "$config" &&
		says "console_out: is for AVF's launcher apps" "$dir/err"
}

# --- arguments -----------------------------------------------------------------------------

arguments() {
	configure x
	does 35 'Usage: vm COMMAND' && does 35 'frob: unknown command' frob &&
		does 0 'create-partition ' --help && does 0 '^vm [0-9]' --version &&
		does 35 'run: needs \[OPTION\]\.\.\. CONFIG' run && does 35 'b: one argument too many' run a b &&
		does 35 '--frob: unknown option' run --frob x && does 35 '-z: unknown option' run -z x &&
		does 35 '--mem: needs a value' run "$config" --mem && does 35 'mem' run -m 0 "$config" &&
		does 35 '--network-supported: needs --tap' run -nb "$config" &&
		does 35 'tap a-name-of-16-byte: a name has 1 to 15' run -n --tap a-name-of-16-byte "$config" &&
		does 35 '--name: must be UTF-8' run --name $'\xff' "$config" &&
		does 35 'name: must have 1 to 100' run --name "$(printf %0200d 1)" "$config" &&
		does 35 '--json: needs --console' run --json "$config" &&
		does 35 '--gdb: contradicts --debug none' run --debug none --gdb 1 "$config" &&
		does 35 'earlycon: contradicts --debug none' run --debug=none --enable-earlycon "$config" &&
		does 35 'must be one_cpu, match_host or' run --cpu-topology cpu_count=0 "$config" &&
		does 35 'a size such as 64M, not 5X' create-partition "$dir/p" 5X &&
		does 35 'must be LABEL:FILE' create-disk "$dir/d" x &&
		does 0 '^Usage: vm suspend NAME.CID' suspend --help
}

unwritten() {
	local got=0
	"$vm" --help 2>"$dir/err" >/dev/full || got=$?
	[ $got = 1 ] && says '^vm: stdout: No space left' "$dir/err"
}

# --- ends, and their statuses ------------------------------------------------------------

# ends STATUS REASON PARAMS [MEMBERS]
ends() { configure "$3" "${4-}" && does "$1" "^VM ended: $2" run "$config"; }

watchdog_ends() { KERNEL=$(realpath "$GUESTS/watchdog.elf") ends 36 watchdog-reboot end=bite '"watchdog": true'; }

not_a_kernel() {
	echo nothing >"$dir/k" && KERNEL=$dir/k ends 1 'start-failed: .*' x
}
# Not by the numbers that vmm has their descriptors under.
bad_files_are_named() {
	head -c 3000 "$hello" >"$dir/cut kernel" &&
		KERNEL="$dir/cut kernel" ends 1 "start-failed: kernel $dir/cut kernel: .* has 3000$" x || return
	# A block of 4 KiB, in a chunk of no type.
	printf '\072\377\046\355\1\0\0\0\034\0\014\0\0\020\0\0\1\0\0\0\1\0\0\0' >"$dir/sparse" && truncate -s 1K "$dir/sparse" "$dir/img" || return
	ends 1 "start-failed: image $dir/sparse: " x \
		"\"disks\": [ { \"image\": \"$dir/sparse\", \"writable\": false } ]" || return
	configure x '"disks": [ { "writable": false, "partitions": [
		{ "label": "a", "path": "'"$dir/img"'", "writable": false },
		{ "label": "b", "path": "'"$dir/sparse"'", "writable": false } ] } ]' &&
		does 1 "start-failed: image disks\\[0\\]: image $dir/sparse: " run "$config" || return
	: >"$dir/sparse" && does 35 "disks\\[0\\].partitions: partition b: $dir/sparse is empty" run "$config"
}
no_protection() { configure x && does 1 '^vm: protected: ' run -p "$config"; }
killed_by() { configure end=halt && start && kill -"$1" "$pid" && over 0 '^VM ended: killed'; }
vmm_killed() {
	configure end=halt && start && does 0 '' info --json test && kill -9 "$(jq .pid "$dir/out")" &&
		over 33 '^VM ended: killed: vmm was killed by SIGKILL'
}
stopped_by_another() {
	configure end=halt && start && does 0 '' stop test && over 0 '^VM ended: killed' &&
		[ -z "$(vms '.[]')" ]
}
manager_dies() {
	local manager
	configure end=halt && start && manager=$(vms '.[0].pid') && kill -KILL "$manager" &&
		over 1 '^vm: the manager has gone'
}
run_dies() {
	local manager
	configure end=halt && start && manager=$(vms '.[0].pid') && kill -KILL "$pid" &&
		ended "$manager" 10
}

# --- the console ---------------------------------------------------------------------------

streams() {
	configure end=echo '"console_input_device": "ttyS0", "timeout_s": 30'
	printf 'abc\ndefq' | "$vm" run "$config" >"$dir/out" 2>"$dir/err"
	says '^hello: panic=-1 end=echo' && says '^abc' && says '^def' && says '^VM test: CID [0-9]+, started$' "$dir/err"
}
files() {
	configure end=echo '"console_input_device": "ttyS0"'
	echo old >"$dir/console" && printf 'xyzq' >"$dir/in"
	"$vm" run --console "$dir/console" --console-in "$dir/in" "$config" >"$dir/out" 2>"$dir/err" </dev/null
	says '^xyz' "$dir/console" && [ ! -s "$dir/out" ] && ! grep old "$dir/console"
}
# Such characters are UTF-8 and yet none; the last of the console comes with the death.
no_characters() {
	configure end=echo '"console_input_device": "ttyS0"'
	printf '\xef\xbf\xbe\xef\xb7\x90q' >"$dir/in"
	does 32 '^VM ended: reboot' run --console "$dir/console" --console-in "$dir/in" "$config"
}
json_events() {
	configure end=cf9
	does 32 '"event":"started"' run --json --console "$dir/console" "$config" && [ ! -s "$dir/err" ] &&
		jq -es '.[0].event == "started" and .[-1].event == "died" and .[-1].reason == "reboot" and
			.[-1].exit_status == 32 and .[0].name == "test" and .[0].cid >= 2048' "$dir/out" >"$dir/jq"
}
joined() {
	configure end=echo '"console_input_device": "ttyS0"'
	"$vm" run --console "$dir/console" --console-in /dev/null "$config" >"$dir/run.out" 2>"$dir/run.err" &
	pid=$!
	local turns=200
	until grep -aqs '^echo' "$dir/console" || [ $((turns -= 1)) = 0 ]; do sleep 0.05; done
	printf 'typed here\nq' | timeout 60 "$vm" console test >"$dir/joined" || return
	over 32 '^VM ended' || return
	says '^hello' "$dir/joined" && says '^typed here' "$dir/joined" && says '^typed here' "$dir/console"
}

# at_terminal COMMAND...: run at one, with its process in $dir/pid; what is written to
# descriptor 7 is typed there.
at_terminal() {
	rm -f "$dir/typed" "$dir/pid" && mkfifo "$dir/typed" || return
	# shellcheck disable=SC2016 # for the shell at the terminal
	printf '(echo $BASHPID >%s; exec %s); echo status $?; stty\n' "$dir/pid" "$*" >"$dir/script"
	socat - "SYSTEM:bash $dir/script,pty,setsid,ctty,stderr" <"$dir/typed" >"$dir/terminal" 2>&1 &
	terminal=$!
	exec 7>"$dir/typed"
}
# seen TEXT: it comes.
seen() {
	local turns=200
	until grep -aqsE -- "$1" "$dir/terminal"; do
		[ $((turns -= 1)) -gt 0 ] || { echo "no $1 at the terminal" && cat -v "$dir/terminal" && return 1; }
		sleep 0.05
	done
}
# as_before STATUS: the command ended so, and the terminal is as it was.
as_before() {
	seen "^status $1" && seen '^speed' && exec 7>&- && ended "$terminal" 10 &&
		! grep -a -e '-icanon' -e '-isig' -e '-echo' "$dir/terminal"
}

escaped() {
	configure end=echo '"console_input_device": "ttyS0"'
	at_terminal "$vm" run "$config" && seen 'Ctrl-A x ends the VM' && seen '^echo' &&
		printf 'typed\001\001\003\n' >&7 && seen $'^typed\001\003' && printf '\001x' >&7 &&
		seen '^VM ended: killed' && as_before 0
}
console_left() {
	configure end=echo '"console_input_device": "ttyS0"' && start --console-in /dev/null || return
	at_terminal "$vm" console test && seen '^hello' && printf 'typed\n' >&7 && seen '^typed' &&
		printf '\001x' >&7 && as_before 0 && vms '.[0].name' && does 0 '' stop test && over 0 killed
}
# cooked, or raw: what the terminal of $dir/pid becomes.
terminal_is() {
	local turns=100 want=' icanon'
	[ "$1" = cooked ] || want=' -icanon'
	until stty -a -F "$(readlink "/proc/$(cat "$dir/pid")/fd/0")" | grep -qe "$want"; do
		[ $((turns -= 1)) -gt 0 ] || { echo "the terminal is not $1" && return 1; }
		sleep 0.05
	done
}
stopped_and_continued() {
	configure end=echo '"console_input_device": "ttyS0"'
	at_terminal "$vm" run "$config" && seen '^echo' && terminal_is raw && kill -TSTP "$(cat "$dir/pid")" &&
		terminal_is cooked && kill -CONT "$(cat "$dir/pid")" && terminal_is raw &&
		printf 'typed\n' >&7 && seen '^typed' && printf '\001x' >&7 && as_before 0
}
terminal_after_sigterm() {
	configure end=halt && at_terminal "$vm" run "$config" && seen '^hello' &&
		kill -TERM "$(cat "$dir/pid")" && seen '^VM ended: killed' && as_before 0
}

# --- what there is, and what is done to it -------------------------------------------------

lists() {
	configure end=halt '"cpu_count": 2' && start -m 64 --name "it's a name" || return
	vms '.[0] | .name == "it'"'"'s a name" and .cpus == 2 and .memory == 67108864 and .cid >= 2048 and
		.state == "starting" and .uid == '"$(id -u)"' and .pid > 1' >"$dir/jq" || { "$vm" list --json; return 1; }
	does 0 "^ *CID +NAME +STATE +CPUS +MEM +UID +PID" list &&
		says "^ *[0-9]+ +it's a name +starting +2 +64M +$(id -u) +[0-9]+$" &&
		does 0 "^name: it's a name" info "it's a name" && says '^state: starting' &&
		does 0 '"state": "starting"' info --json "$(vms '.[0].cid')" && does 0 '' stop "$(vms '.[0].cid')" &&
		over 0 killed
}
nothing_listed() { [ "$("$vm" list --json)" = '[]' ] && [ "$("$vm" list | wc -l)" = 1 ]; }
host_info() { does 0 '^kvm: yes' info && does 0 '"vmm": ".*/vmm"' info --json; }
options_go_before() {
	configure end=poweroff '"cpu_topology": "match_host", "memory_mib": 128, "name": "file"'
	sed -i 's/"name": "test", //; s/end=poweroff/end=halt/' "$config"
	start --cpu-topology one_cpu || return
	vms '.[0] | .name == "file" and .cpus == 1 and .memory == 134217728' >"$dir/jq" || return
	does 0 '' stop file && over 0 killed
}
default_name() {
	configure end=halt && sed -i 's/"name": "test", //' "$config" && start && vms '.[0].name == "VmRun"' &&
		does 0 '' stop VmRun && over 0 killed
}
# What vmm is told, which guests cannot see.
passed_on() {
	configure end=halt && start -hb && tr '\0' '\n' <"/proc/$("$vm" info --json test | jq .pid)/cmdline" >"$dir/cmdline" &&
		says '^--hugepages$' "$dir/cmdline" && says '^--boost-uclamp$' "$dir/cmdline" &&
		does 0 '' stop test && over 0 killed
}
logged() {
	KERNEL=$(realpath "$GUESTS/con.elf") configure 'console=2 lines=3' '"timeout_s": 30' || return
	"$vm" run --log "$dir/log" "$config" >"$dir/out" 2>"$dir/err" </dev/null
	says '^hello from the console guest' "$dir/log" && ! grep -a 'hello from the console' "$dir/out"
}
# What a guest knows is for its user's eyes.
private() { [ "$(stat -c %a "$1")" = 600 ]; }
dumped() {
	configure 'event=1 end=cf9' && does 34 '^VM ended: panic' run --ramdump "$dir/ramdump" "$config" &&
		[ "$(head -c 4 "$dir/ramdump")" = $'\177ELF' ] && private "$dir/ramdump"
}
# shellcheck disable=SC2016 # a variable of gdb
debugged() {
	local port=$((20000 + RANDOM % 20000)) turns=100
	configure end=poweroff
	"$vm" run --gdb $port "$config" >"$dir/out" 2>"$dir/run.err" </dev/null &
	pid=$!
	until HOME=$dir gdb -nx -q --batch -ex "target remote 127.0.0.1:$port" -ex 'x/i $pc' -ex detach \
		"$hello" 2>&1 </dev/null | grep -q '^=> 0x'; do
		[ $((turns -= 1)) -gt 0 ] || { echo 'nobody waits for gdb' && cat "$dir/run.err" && return 1; }
		sleep 0.1
	done
	over 0 '^VM ended: shutdown' && says '^hello'
}
networked() {
	KERNEL=$(realpath "$GUESTS/net.elf") configure 'pings=0' '"timeout_s": 30' || return
	"${own_network[@]}" "$vm" run -n --tap vmtap "$config" >"$dir/out" 2>"$dir/err" </dev/null
	says '^address ..:..:..:..:..:..'
}
earlycon() { configure end=poweroff && does 0 'end=poweroff earlycon=uart8250,io,0x3f8' run --enable-earlycon "$config"; }
no_manager() {
	configure x && export VIRTMGR=/nowhere && does 1 '^vm: /nowhere: No such file' run "$config" &&
		does 1 '^vm: /nowhere: No such file' list && export VIRTMGR=/bin/true &&
		does 1 '^vm: /bin/true: ended before it was ready' run "$config"
}
not_there() {
	does 1 '^vm: .*nobody' stop nobody && does 1 nobody console nobody && does 1 nobody info nobody &&
		does 1 99999 suspend 99999
}
commanded() {
	KERNEL=$(realpath "$GUESTS/storm.elf") configure rounds=1000000 && start || return
	local before
	does 0 '' suspend test && sleep 0.3 && before=$(wc -c <"$dir/console") && sleep 0.5 || return
	[ "$(wc -c <"$dir/console")" = "$before" ] || { echo 'it goes on' && return 1; }
	does 0 '^suspended: yes' info test && does 0 ' test +suspended ' list &&
		vms '.[0] | .state == "starting" and .suspended' >/dev/null || return
	does 0 '' resume test && does 0 ' test +starting ' list && does 0 '' balloon test 1M && does 0 '^0$' balloon test &&
		does 35 '^vm: dump /dev/full: ' dump test /dev/full && does 0 '' dump test "$dir/core" && [ "$(head -c 4 "$dir/core")" = $'\177ELF' ] &&
		private "$dir/core" || return
	local turns=200
	until [ "$(wc -c <"$dir/console")" -gt "$before" ]; do
		[ $((turns -= 1)) -gt 0 ] || { echo 'it stands still' && return 1; }
		sleep 0.05
	done
	does 0 '' stop test && over 0 killed
}
shells() {
	KERNEL=$(realpath "$GUESTS/agent.elf") configure x '"vsock": "unix"' && start || return
	does 1 '^vm: .*port 2222 .*nobody listens; .* "agent --shell 2222 -- COMMAND"' shell test -- true &&
		does 1 '^vm: what answers in the VM is no shell' shell --port 1024 test ls -l --color &&
		does 35 '^vm: --port: ' shell --port 1023 test && does 35 '^vm: shell: needs ' shell &&
		does 0 '' stop test && over 0 killed
}
pressed() {
	KERNEL=$(realpath "$GUESTS/button.elf") configure x && start && does 0 '' powerbtn test &&
		over 0 '^VM ended: shutdown'
}

# --- files -----------------------------------------------------------------------------------

partitions() {
	does 0 '' create-partition "$dir/raw" 64K && [ "$(stat -c %s "$dir/raw")" = 65536 ] &&
		does 0 '' create-partition -t instance "$dir/inst" 1MiB &&
		[ "$(stat -c %s "$dir/inst")" = 1048576 ] &&
		[ "$(head -c 20 "$dir/inst" | od -An -c | tr -d ' \n')" = 'Android-VM-instance001' ] &&
		does 0 '' create-partition --type=encryptedstore "$dir/enc" 8192 &&
		[ "$(head -c 19 "$dir/enc")" = UNFORMATTED-STORAGE ] || return
	does 1 'raw: File exists' create-partition "$dir/raw" 4K &&
		does 35 'multiple of 4096' create-partition "$dir/new" 4097 && [ ! -e "$dir/new" ]
}
disks() {
	echo system >"$dir/system" && truncate -s 8K "$dir/data" || return
	does 0 '' create-disk "$dir/disk" "system:$dir/system" \
		"data:$dir/data:writable:11111111-2222-4333-8444-555555555555" || return
	{ cat "$dir/disk.header" "$dir/system" && head -c 4089 "$dir/disk.filler" &&
		cat "$dir/data" "$dir/disk.footer"; } >"$dir/flat"
	PATH=$PATH:/usr/sbin:/sbin sfdisk -J "$dir/flat" 2>/dev/null >"$dir/json"
	jq -e '.partitiontable.partitions | .[0].name == "system" and .[1].name == "data" and
		(.[1].uuid | ascii_downcase) == "11111111-2222-4333-8444-555555555555"' "$dir/json" >"$dir/jq" || return
	does 1 'is not of a composite disk' create-disk "$dir/system" "a:$dir/data"
}
# The guest sees the partitions of a file, and of a composite that is made as it starts.
seen_by_guest() {
	truncate -s 1M "$dir/image"
	KERNEL=$(realpath "$GUESTS/blk.elf") configure 'queues=1 irq=msix' \
		"\"disks\": [ { \"image\": \"$dir/image\", \"writable\": true } ], \"timeout_s\": 60" || return
	"$vm" run "$config" >"$dir/out" 2>"$dir/err" </dev/null
	says '^PASS' && ! grep -a '^FAIL' "$dir/out"
}

# --- completion ------------------------------------------------------------------------------

# completes EXPECTED WORD...: the last one, with words in their order.
completes() {
	local expected=$1 got
	shift
	got=$(PATH=$(realpath "${vm%/*}"):$PATH bash --norc -c '
		. service/vm/completion.bash
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
		_vm && echo "${COMPREPLY[*]}"' bash "$@")
	[ "$got" = "$expected" ] || { echo "vm $*: $got" && return 1; }
}
# All keys are in the manual.
manual() {
	local key
	sed -nE 's/^\t(\{|NO_DEVICE\(|LAUNCHER\() ?"([A-Za-z_]+)".*/\2/p' service/common/vm_config_keys.c >"$dir/keys"
	[ "$(wc -l <"$dir/keys")" -gt 40 ] || return
	while read -r key; do
		[[ $key = console_in || $key = log || $key = ramdump || $key = tap ]] ||
			grep -q "\*$key\*" service/vm/vm.1.scd || { echo "$key is not in vm(1)" && return 1; }
	done <"$dir/keys"
}
completion() {
	completes 'create-partition create-disk' vm create && completes 'stop' vm st && completes 'shell' vm sh &&
		completes '--console --console-in' vm run --cons && completes '--help' vm stop - &&
		completes 'full none' vm run --debug '' && completes 'instance' vm create-partition -t i &&
		completes 'encryptedstore' vm create-partition --type en &&
		completes 'one_cpu' vm run --cpu-topology o && completes '' vm frob x &&
		completes '' vm stop '' || return
	touch "$dir/a.json" "$dir/a.img" && completes "$dir/a.json" vm check "$dir/a" || return
	configure end=halt && start --name 'a b' && completes 'a\ b' vm stop a &&
		completes 'a\ b' vm info --json '' && does 0 '' stop 'a b' && over 0 killed
}

check 'a good file has no faults' good_file
check 'all faults of a file are told' bad_file
check 'syntax is told with line and column' bad_syntax
check 'files that are missing are told' missing_files
check 'files that cannot be written are told' read_only_file
check 'paths are relative to the current folder' relative_paths
check "launchers' keys are warned of" launcher_keys
check 'arguments in vain are told of' arguments
check 'power-off is 0' ends 0 shutdown end=poweroff
check 'a reset is 32' ends 32 reboot end=cf9
check 'a triple fault is 32' ends 32 reboot end=triple
check 'a crash is 33' ends 33 crash end=crash
check 'a panic is 34' ends 34 panic 'event=1 end=cf9'
check 'the watchdog is 36' watchdog_ends
check 'the time limit is 37' ends 37 timeout end=halt '"timeout_s": 1'
check 'a payload that does not start in time is 37' ends 37 hangup end=halt '"start_timeout_s": 1'
check 'output that is lost is an error' unwritten
check 'what is no kernel is 1' not_a_kernel
check 'bad files are called as their owner calls them' bad_files_are_named
check 'no host protects guests' no_protection
check 'SIGTERM stops it' killed_by TERM
check 'SIGINT stops it' killed_by INT
check 'a signal of somebody else to vmm is a crash' vmm_killed
check 'vm stop stops it' stopped_by_another
check 'a manager that dies is told of' manager_dies
check 'with vm run the manager ends' run_dies
check 'the console is stdin and stdout' streams
check 'the console is files' files
check 'characters that are none' no_characters
check 'events are JSON' json_events
check 'others join the console' joined
check 'Ctrl-A x ends the VM' escaped
check 'Ctrl-A x leaves the console, and the VM goes on' console_left
check 'the terminal is stopped with its job' stopped_and_continued
check 'SIGTERM restores the terminal' terminal_after_sigterm
check 'vm list tells what there is' lists
check 'and when there is nothing' nothing_listed
check 'vm info tells of the host' host_info
check 'options go before the file' options_go_before
check 'a VM without a name has one' default_name
check "other options are vmm's, too" passed_on
check 'the log is hvc2' logged
check 'a panic leaves the memory' dumped
check 'gdb is waited for' debugged
own_network=(unshare -n)
[ "$(id -u)" = 0 ] || own_network=(unshare -rn)
if "${own_network[@]}" test -w /dev/net/tun 2>/dev/null; then
	check 'a tap is the network' networked
else
	t_skip 'a tap is the network' 'needs network namespaces and /dev/net/tun'
fi
check '--enable-earlycon has the kernel print early' earlycon
check 'VMs that are not there are errors' not_there
check 'so are managers' no_manager
check 'suspend, resume, balloon and dump do as they say' commanded
check 'a shell needs an agent that serves it' shells
check 'the power button reaches the guest' pressed
check 'create-partition makes files that begin right' partitions
check 'create-disk makes disks' disks
check 'a guest uses its disk' seen_by_guest
check 'the manual has all keys' manual
check 'bash completes what --help tells' completion
t_done
