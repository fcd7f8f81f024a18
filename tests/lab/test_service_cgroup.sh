#!/usr/bin/env bash
# A VM's limits on a host that has cgroup v2 with its controllers: where its group is
# made, what is written there, and that it goes with the VM.
set -euo pipefail
# shellcheck source=tests/tap.sh
. tests/tap.sh
BUILD=${BUILD:-build}
root=/sys/fs/cgroup
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mountpoint -q $root || mount -t cgroup2 none $root
chmod 755 "$dir"
cp "$BUILD/guest/hello.elf" "$dir"

config() { # KEY:VALUE,...
	cat >"$dir/vm.json" <<-END
		{ "name": "limited", "kernel": "$dir/hello.elf", "params": "end=spin",
		  "platform_version": "~1.0", "memory_mib": 32, "vsock": "none" ${1:+,$1} }
	END
}

# start [COMMAND...]: a VM, and the folder of its group as $group.
start() {
	local turns=300
	"$@" "$BUILD/vm" run "$dir/vm.json" >"$dir/out" 2>"$dir/err" </dev/null &
	pid=$!
	until grep -qs '^hello' "$dir/out"; do
		[ $((turns -= 1)) -gt 0 ] || { cat "$dir/err" && return 1; }
		sleep 0.1
	done
	vmm=$(pgrep -n -x vmm)
	group=$root$(sed -n 's/^0:://p' "/proc/$vmm/cgroup")
	echo "$group"
}

stop_anyway() {
	kill "$pid"
	wait "$pid" || :
}

# stop: nothing of it is left, at once.
stop() {
	local turns=20
	stop_anyway
	while [ -d "$group" ]; do
		[ $((turns -= 1)) -gt 0 ] || { echo "$group is left" && return 1; }
		sleep 0.05
	done
}

limits() { # PARENT [COMMAND...]
	local parent=$1
	shift
	config '"memory_max_mib": 100, "cpu_percent": 50'
	start "$@" || return
	head "$group/memory.max" "$group/cpu.max" "$group/cgroup.procs" "$dir/err"
	[[ $group = "$parent"/vmm-* ]] && [ "$(cat "$group/memory.max")" = $((100 << 20)) ] &&
		[ "$(cat "$group/cpu.max")" = '50000 100000' ] &&
		grep -qx "$vmm" "$group/cgroup.procs" && stop
}

in_group() { # GROUP COMMAND...
	echo $BASHPID >"$1/cgroup.procs"
	shift
	exec "$@"
}

no_limits() {
	config
	start && [ "$(cat "$group/memory.max" 2>/dev/null || echo max)" = max ] && stop
}

# A user whom nobody lets make groups, and who may not come to where the tree is.
without_rights() {
	cp "$BUILD"/{vm,virtmgr,virtualizationservice,vmm} "$dir" || return
	local BUILD=$dir
	config '"memory_max_mib": 100'
	start setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/tmp XDG_RUNTIME_DIR= &&
		[[ $group != */vmm-* ]] && stop_anyway && grep 'has no cgroup, and so none of its limits' "$dir/err"
}

check 'without limits it has a group of its own' no_limits
check 'limits are set, in the root' limits $root
mkdir $root/busy
check 'beside a group that has processes itself' limits $root in_group $root/busy
mkdir -p $root/given/away
echo '+memory +cpu' >$root/given/cgroup.subtree_control
check 'beside one whose parent has the controllers' limits $root/given in_group $root/given/away
chmod 666 /dev/kvm
check 'without rights the VM runs without, and that is told' without_rights
t_done
