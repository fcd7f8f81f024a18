#!/bin/bash
# Guest memory: given back by the balloon and by reports, huge, locked.
# shellcheck source=tests/vm/vm.sh
. "$(dirname "$0")/vm.sh"

hello=$GUESTS/hello.elf

# resident PID: MiB of the VM's process, which is the child of vmm.
resident() {
	local vm pages
	vm=$(pgrep -P "$1") && read -r _ pages _ <"/proc/$vm/statm" && echo $((pages / 256))
}

# after LINE: waits for a line of the guest's, and sets $now to what the VM has then.
after() {
	local turns=200
	until grep -qs "^$1\$" "$dir/out"; do
		[ $turns -gt 0 ] || { echo "the guest does not say '$1'" && cat "$dir/out" "$dir/err" && return 1; }
		turns=$((turns - 1))
		sleep 0.05
	done
	now=$(resident "$pid")
}

# 48 MiB come, go and come again; 4 MiB of anything else may come or go.
falls_and_rises() { # ARGUMENT...
	local pid now full given taken
	rm -f "$dir/out" "$dir/keys"
	mkfifo "$dir/keys"
	"$VMM" run --timeout 30 --debug-exit -m 128 --init-mem 80 "$@" "$GUESTS/balloon.elf" \
		<"$dir/keys" >"$dir/out" 2>"$dir/err" &
	pid=$!
	exec 7>"$dir/keys"
	after full && full=$now && printf . >&7 && after given && given=$now && printf . >&7 &&
		after taken && taken=$now && printf . >&7 || return
	exec 7>&-
	wait "$pid" || [ $? = 64 ] || { cat "$dir/out" "$dir/err" && return 1; }
	echo "full $full MiB, given $given MiB, taken back $taken MiB"
	[ $((full - given)) -ge 44 ] && [ $((taken - given)) -ge 44 ] && ! grep '^FAIL' "$dir/out"
}

refused() { # STATUS PATTERN ARGUMENT...
	local status=$1 pattern=$2
	shift 2
	vm "$status" "$@" "$hello" && says "$pattern" "$dir/err"
}

# pool N COMMAND...: with a pool of N huge pages, as far as they may be had.
pool() {
	local old status=0 file=/proc/sys/vm/nr_hugepages
	old=$(cat $file)
	echo "$1" >$file
	shift
	"$@" || status=$?
	echo "$old" >$file
	return $status
}
from_pool() { vm 64 --debug-exit -m 64,hugetlb "$hello"; }
no_pool() { refused 1 'huge pages: cannot reserve 64 pages of 2 MiB.*nr_hugepages' -m 128,hugetlb; }
odd_size() { refused 1 'huge pages: .*multiple of 2 MiB' -m 33,hugetlb; }

# counts FILE FIELD COMPARISON ARGUMENT...: a field of the running VM's /proc/PID/FILE, in MiB.
counts() {
	local file=$1 field=$2 comparison=$3 vm got
	shift 3
	in_background --debug-exit -m 32 -p end=spin "$@" "$hello" || return
	vm=$(pgrep -P "$pid")
	got=$(awk -v field="$field:" '$1 == field { print int($2 / 1024) }' "/proc/$vm/$file")
	kill "$pid" && wait "$pid"
	[ "$got" $comparison ] || { echo "$field: $got MiB" && return 1; }
}

no_limit() {
	local status=0 prefix=()
	# Root might raise the limit again.
	[ "$(id -u)" != 0 ] ||
		prefix=(setpriv --bounding-set -sys_resource --inh-caps -sys_resource)
	(ulimit -l 1024 && exec "${prefix[@]}" "$VMM" run --lock-guest-memory -m 64 "$hello") \
		>"$dir/out" 2>"$dir/err" || status=$?
	[ "$status" = 1 ] && says 'cannot lock 64 MiB of guest memory.*RLIMIT_MEMLOCK' "$dir/err"
}

check 'the balloon: memory falls and rises' falls_and_rises
if [ "$(id -u)" = 0 ]; then
	# In no user namespace root needs no limit.
	check 'locked memory' counts status VmLck '-eq 32' --lock-guest-memory --disable-sandbox
	check 'the balloon, of locked memory' falls_and_rises --lock-guest-memory --disable-sandbox
else
	t_skip 'locked memory' 'needs root'
fi
check 'reported pages: memory falls and rises' falls_and_rises --balloon-page-reporting -p by=report
check 'more memory at the start than there is' refused 35 '--init-mem: 65 MiB' -m 64 --init-mem 65
check '--init-mem without a balloon' refused 35 '--no-balloon: contradicts --init-mem' --no-balloon --init-mem 1
check '--hugepages is taken' vm 64 --debug-exit --hugepages "$hello"
if [ "$(id -u)" = 0 ] && ! grep -qs '\[never\]' /sys/kernel/mm/transparent_hugepage/enabled; then
	check 'transparent huge pages' counts smaps_rollup AnonHugePages '-ge 2' --hugepages
else
	t_skip 'transparent huge pages' 'needs root, and a host that has them'
fi
if [ -w /proc/sys/vm/nr_hugepages ]; then
	check 'the pool of huge pages' pool 40 from_pool
	check 'a pool that is too small' pool 40 no_pool
else
	t_skip 'the pool of huge pages' 'needs root'
fi
check 'huge pages for an odd size' odd_size
check 'both kinds of huge pages' refused 35 'contradicts' --hugepages -m 64,hugetlb
check 'memory that is not locked' counts status VmLck '-eq 0'
check 'a limit of locked memory' no_limit
t_done
