#!/bin/bash
# virtio-blk end to end: what the guest writes is what the image holds.
# shellcheck source=tests/vm/vm.sh
. "$(dirname "$0")/vm.sh"

# The lines that blk.c writes through N queues, 8 sectors each.
expected() {
	local queue sector line
	for ((sector = 0; sector < $1 * 8; sector++)); do
		queue=$((sector / 8))
		printf -v line 'q%02d s%010d\n' $queue $sector
		for ((i = 0; i < 32; i++)); do
			printf '%s' "$line"
		done
	done
}

image() { # NAME KIB
	rm -f "$dir/$1"
	truncate -s "$2K" "$dir/$1"
}

# The image begins with what was written, is zero behind it, and is as large as it was.
holds() { # NAME QUEUES KIB
	expected "$2" >"$dir/expected"
	truncate -s "$3K" "$dir/expected"
	cmp "$dir/expected" "$dir/$1"
}

transfers() { # WORDS [ARGUMENT...]
	local words=$1 queues
	shift
	queues=${words#queues=} queues=${queues%% *}
	image disk 1024
	guest blk --block "$dir/disk" -p "$words" "$@" && says '^capacity 2048$' &&
		holds disk "$queues" 1024
}

option() { # OPTIONS PATTERN
	image disk 1024
	guest blk --block "$dir/disk,$1" && says "$2" && holds disk 1 1024
}

read_only() {
	expected 2 >"$dir/disk"
	cp "$dir/disk" "$dir/before"
	guest blk --block "path=$dir/disk,ro=true" -p ro=1 &&
		says '^first line q00 s0000000000$' && cmp "$dir/disk" "$dir/before"
}

# A file that vmm may not write is good enough for ro.
read_only_file() {
	expected 1 >"$dir/disk"
	exec 8<"$dir/disk"
	guest blk --block /proc/self/fd/8,ro -p ro=1
}

second_disk() {
	image disk 1024 && image other 512
	guest blk --block "$dir/disk" --block "$dir/other,id=second" -p 'disk=1 irq=intx' &&
		says '^capacity 1024$' && says '^id second$' &&
		holds other 1 512 && holds disk 0 1024
}

by_descriptor() {
	image disk 1024
	exec 8<>"$dir/disk"
	guest blk --block /proc/self/fd/8 && holds disk 1 1024
}

# Whoever has the image for writing has it alone.
locked() {
	local got=0
	image disk 1024
	in_background --block "$dir/disk" -p end=halt "$GUESTS/hello.elf" || return
	"$VMM" run --timeout 5 --block "$dir/disk" "$GUESTS/hello.elf" >/dev/null 2>"$dir/err2" ||
		got=$?
	says "$dir/disk" "$dir/err2" || got=$got-unnamed
	"$VMM" run --timeout 5 --debug-exit --block "$dir/disk,lock=false" \
		"$GUESTS/hello.elf" >/dev/null 2>"$dir/err2" || got=$got-$?
	kill "$pid"
	ended "$pid" 5 && [ $got = 1-64 ] && return
	echo "with and without lock: $got, not 1-64"
	return 1
}

shared() {
	image disk 1024
	in_background --block "$dir/disk,ro" -p end=halt "$GUESTS/hello.elf" || return
	"$VMM" run --timeout 5 --debug-exit --block "$dir/disk,ro" "$GUESTS/hello.elf" \
		>/dev/null 2>"$dir/err2"
	local got=$?
	kill "$pid"
	ended "$pid" 5 && [ $got = 64 ] && return
	cat "$dir/err2" && return 1
}

for irq in poll intx msix; do
	check "one queue, irq=$irq" transfers "queues=1 irq=$irq"
	check "four queues, irq=$irq" transfers "queues=4 irq=$irq indirect=1 eventidx=1"
done
check 'sixteen queues, eventidx' transfers 'queues=16 irq=msix eventidx=1'
check 'four queues, indirect' transfers 'queues=4 irq=msix indirect=1'
check 'two processors' transfers 'queues=4 irq=msix eventidx=1' -c 2
check 'a buffer above 4 GiB' transfers 'queues=1 irq=msix high=1' -m 5120
check 'without the jail' transfers 'queues=2 irq=msix' --disable-sandbox
check 'id' option id=the-very-disk '^id the-very-disk$'
check 'block size' option block-size=4096 '^block size 4096$'
image disk 1024
if dd if=/dev/zero of="$dir/disk" bs=4096 count=1 oflag=direct conv=notrunc 2>/dev/null; then
	check 'direct' option direct=true '^PASS write and read back'
else
	t_skip direct "the file system of $dir has no O_DIRECT"
fi
check 'read-only' read_only
check 'read-only descriptor' read_only_file
check 'second disk' second_disk
check 'disk by a descriptor' by_descriptor
check 'one writer locks others out' locked
check 'readers share' shared
t_done
