# shellcheck shell=bash
# For the vm tier's tests, to be sourced from the repository's root: TAP, a folder that
# goes away, and ways to run a guest. A check's function prints why it returns 1.
set -u
# shellcheck source=tests/tap.sh
. "$(dirname "${BASH_SOURCE[0]}")/../tap.sh"

VMM=${VMM:-build/vmm}
GUESTS=${GUESTS:-build/guest}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# vm STATUS ARGUMENT...: vmm run must end with this status; what the guest says is in
# $dir/out, and vmm's own words are in $dir/err.
vm() {
	local want=$1 got=0
	shift
	"$VMM" run --timeout "${VM_TIMEOUT:-30}" "$@" >"$dir/out" 2>"$dir/err" || got=$?
	[ "$got" = "$want" ] && return
	echo "exit status $got, not $want; the guest and vmm said:"
	tail -n 20 "$dir/out" "$dir/err" | tr -d '\0'
	return 1
}

# guest NAME ARGUMENT...: a guest that gives verdicts must give some, and all good.
guest() {
	local name=$1
	shift
	vm 64 --debug-exit "$@" "$GUESTS/$name.elf" || return
	grep -aq '^PASS' "$dir/out" && ! grep -a '^FAIL' "$dir/out"
}

# says TEXT [FILE]: a line that matches must be there.
says() {
	grep -aqE -- "$1" "${2:-$dir/out}" && return
	echo "no line matches '$1' in:"
	head -n 40 "${2:-$dir/out}"
	return 1
}

# ended PID SECONDS: the process, a child or not, must end in time.
ended() {
	local turns=$(($2 * 20))
	while [ -d "/proc/$1" ] && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; do
		[ $turns -gt 0 ] || { echo "process $1 goes on" && return 1; }
		turns=$((turns - 1))
		sleep 0.05
	done
}

# vm_process: the process of the VM that vmm at $pid supervises.
vm_process() { pgrep -P "$pid" -x vmm; }

# gone FILE: within 5 s, since it may be removed just after vmm's end.
gone() {
	local turns=100
	while [ -e "$1" ]; do
		[ $turns -gt 0 ] || { echo "$1 is still there" && return 1; }
		turns=$((turns - 1))
		sleep 0.05
	done
}

# stale_socket FILE TYPE: a socket at which nobody listens.
stale_socket() {
	perl -MSocket -e 'socket(S, AF_UNIX, eval "SOCK_$ARGV[1]", 0) &&
		bind(S, sockaddr_un($ARGV[0])) or die $!' "$1" "$2"
}

# in_background ARGUMENT...: vmm run, as $pid; returns when the guest says hello.
in_background() {
	local turns=200
	rm -f "$dir/out" # an earlier guest's hello is not this one's
	"$VMM" run --timeout 30 "$@" >"$dir/out" 2>"$dir/err" </dev/null &
	# shellcheck disable=SC2034 # the tests use it
	pid=$!
	until grep -qs '^hello' "$dir/out"; do
		[ $turns -gt 0 ] || { echo "the guest does not start" && cat "$dir/err" && return 1; }
		turns=$((turns - 1))
		sleep 0.05
	done
}
