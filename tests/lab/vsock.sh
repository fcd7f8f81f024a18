# shellcheck shell=bash
# For the lab's tests of vsock, to be sourced: VMs in the background, each with a console
# to be told commands by, and one program (vsock.c) at both ends. SOAK=1 takes longer.
. tests/lab/guest.sh
agent=${BUILD:-build}/lab/vsock-agent
cloud=$(kernel cloud)

job='stty -echo; ip link set lo up; /vsock serve &
while read -r line; do eval "$line"; done'
image=$(initrd vsock "$job")

# start NAME [OPTION]...: a VM, in the background, that does what tell says.
declare -A vm
start() {
	local name=$1
	[ -p "$dir/$name.in" ] || mkfifo "$dir/$name.in"
	"$vmm" run --timeout 3600 -m 192 -i "$image" "${@:2}" "$cloud/vmlinuz" \
		<>"$dir/$name.in" >"$dir/$name.out" 2>"$dir/$name.err" &
	vm[$name]=$!
}
tell() { echo "$2" >"$dir/$1.in"; }
# says NAME TEXT: waits until that guest's console has it.
says() {
	for _ in {1..1500}; do
		! grep -qF -- "$2" "$dir/$1.out" || return 0
		kill -0 "${vm[$1]}" 2>/dev/null || break
		sleep 0.2
	done
	echo "VM $1 did not say '$2':"
	tail -n 20 "$dir/$1.out" "$dir/$1.err"
	return 1
}
serves() { says "$1" 'vsock: serving'; }
# check_ends TITLE NAME STATUS: its VM, which has been told to.
check_ends() {
	local status=0
	wait "${vm[$2]}" || status=$?
	check "$1" test $status = "$3"
}

here() { "$agent" "$@"; }
there() { "$agent" run "$1" "${@:2}"; } # CID COMMAND...
# both CID TEST NUMBER: from the host to the guest, and back.
both() { here "$2" "$1" "$3" && there "$1" /vsock "$2" 2 "$3"; }

# rebind NAME CID TIMES
rebind() {
	local i
	for ((i = 1; i <= $3; i++)); do
		# Closed sockets hold the module until the other end has answered.
		tell "$1" "until rmmod vmw_vsock_virtio_transport 2>/dev/null; do sleep 0.2; done; echo GONE-$i"
		says "$1" "GONE-$i" && tell "$1" "insmod /lib/modules/vmw_vsock_virtio_transport.ko; echo BACK-$i" &&
			says "$1" "BACK-$i" && both "$2" short 20 || return 1
	done
}

# check_reboot NAME CID
check_reboot() {
	local cut status=0
	here recv "$2" 100000 >"$dir/cut" &
	cut=$!
	sleep 1
	tell "$1" 'reboot -f'
	check_ends 'a reboot of the guest gives 32' "$1" 32
	wait $cut || status=$?
	check 'connections that were open end with it' test $status = 1
}

# The program at the host's end, and the end of all.
serve_here() {
	here serve >"$dir/host.out" &
	trap 'jobs -p | xargs -r kill 2>/dev/null; rm -rf "$dir"' EXIT
}
check_end() { # NAME
	tell "$1" 'poweroff -f'
	check_ends 'the guest powers off' "$1" 0
	check 'nothing went wrong at the host' test "$(cat "$dir/host.out")" = 'vsock: serving'
}
