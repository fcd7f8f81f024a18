#!/bin/bash
# Guests that attack: vmm must live, the attacked device must work again after a reset, a
# flood of log lines must not come, and nothing outside the guest may change.
# shellcheck source=tests/vm/vm.sh
. "$(dirname "$0")/vm.sh"

# All at the same time: most of it is waiting.
attack() { # NAME DEVICE DISK
	"$VMM" run --timeout 90 --debug-exit --watchdog -c 2 --block "$3" --serial type=stdout \
		--serial type=sink,hardware=virtio-console -p "dev=$2" \
		"$GUESTS/hostile.elf" >"$dir/$1.out" 2>"$dir/$1.err" </dev/null
	echo $? >"$dir/$1.status"
}

verdict() { # NAME
	local status lines
	status=$(cat "$dir/$1.status")
	lines=$(wc -l <"$dir/$1.err")
	! grep -a '^FAIL' "$dir/$1.out" && grep -aq '^PASS attacks made' "$dir/$1.out" &&
		[ "$status" = 64 ] && [ "$lines" -le 40 ] && return
	echo "exit status $status; $lines lines from vmm, the last ones and the guest's:"
	tail -n 5 "$dir/$1.err" "$dir/$1.out" | tr -d '\0'
	return 1
}

truncate -s 1M "$dir/disk1" "$dir/disk2" "$dir/disk3" "$dir/disk4"
yes | head -c 1M >"$dir/read-only"
cp "$dir/read-only" "$dir/before"
attack disk blk "$dir/disk1" &
attack read-only blk "$dir/read-only,ro" &
attack console con "$dir/disk2" &
attack random rng "$dir/disk3" &
attack balloon balloon "$dir/disk4" &
wait

check 'attacks on a disk' verdict disk
check 'attacks on a read-only disk' verdict read-only
check 'attacks on a console' verdict console
check 'attacks on the random numbers' verdict random
check 'attacks on the balloon' verdict balloon
check 'a disk is as large as it was' test "$(stat -c %s "$dir/disk1")" = 1048576
check 'a read-only disk is as it was' cmp "$dir/read-only" "$dir/before"
check 'a disk that was not attacked is as it was' cmp -n 1048576 "$dir/disk3" /dev/zero
t_done
