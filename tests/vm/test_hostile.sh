#!/bin/bash
# Guests that attack: vmm must live, the attacked device must work again after a reset, a
# flood of log lines must not come, and nothing outside the guest may change.
. "$(dirname "$0")/vm.sh"

truncate -s 1M "$dir/disk"
yes | head -c 1M >"$dir/read-only"
cp "$dir/read-only" "$dir/before"

attack() { # DEVICE DISK
	guest hostile -c 2 --block "$2" --serial type=stdout \
		--serial type=sink,hardware=virtio-console -p "dev=$1" || return
	[ "$(wc -l <"$dir/err")" -le 40 ] && return
	echo "vmm said $(wc -l <"$dir/err") lines:" && head -n 40 "$dir/err"
	return 1
}

read_only() {
	attack blk "$dir/read-only,ro" && cmp "$dir/read-only" "$dir/before"
}

check 'attacks on a disk' attack blk "$dir/disk"
check 'attacks on a read-only disk leave it as it was' read_only
check 'attacks on a console' attack con "$dir/disk"
check 'attacks on the random numbers' attack rng "$dir/disk"
check 'the disk is as large as it was' test "$(stat -c %s "$dir/disk")" = 1048576
t_done
