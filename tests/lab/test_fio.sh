#!/usr/bin/env bash
# fio in a guest: requests of random size at random places and depths, whose content it
# verifies, on a raw image, an Android sparse one and a composite of five components, by
# both engines. Then udev's names for the partitions, and block devices of the host.
set -euo pipefail
. tests/lab/guest.sh
cloud=$(kernel cloud)
tools=${BUILD:-build}/lab/fio

# Five components; the first two are read-only, and of odd length but for the filler.
# Between the third and the fourth there is an edge that requests cross.
one=1052672 two=1404928
make_disks() {
	truncate -s 4M "$dir/raw.img"
	head -c 1000001 /dev/urandom >"$dir/odd.img"
	truncate -s $one "$dir/one.img"
	truncate -s $two "$dir/two.img"
	truncate -s 8M "$dir/data.img"
	mke2fs -q -t ext4 -L data "$dir/data.img"
	echo 'the host wrote this' >"$dir/hello"
	debugfs -w -R "write $dir/hello hello" "$dir/data.img" 2>/dev/null
	"$vmm" create_composite "$dir/disk.img" odd:"$dir/odd.img" system:"$tools/data.simg" \
		one:"$dir/one.img:writable" two:"$dir/two.img:writable" data:"$dir/data.img:writable"
}
first=$((20480 + 1003520 + 12582912)) # where the writable ones begin

prepare='set -e
mkdir -p /mnt
mount -t ext4 -o ro /dev/vda /mnt
for fs in dev sys proc; do mount --bind /$fs /mnt/$fs; done
mount -t tmpfs run /mnt/run
export SYSTEMD_IGNORE_CHROOT=1 # udevadm does nothing in one
in_tools() { chroot /mnt "$@"; }
fio() { # its report is of interest only if it fails
	in_tools fio --thread --ioengine=libaio --direct=1 --blockalign=512 --verify=crc32c \
		--verify_interval=512 --verify_fatal=1 --verify_state_save=0 --eta=never --output=/run/fio "$@" || { cat /mnt/run/fio; false; }
	echo "VERIFIED $*"
}
'

# depth MAX: a random one; small ones as often as large ones.
depth() { echo $((1 + RANDOM % (1 << RANDOM % 7))); }

# What is written is read back, at once or at the end; then once more as one stream.
writes() { # NAME DEVICE SIZE [OFFSET]
	local where="--filename=$2 --size=$3 --offset=${4:-0}"
	echo "fio --name=$1 $where --rw=randwrite --bsrange=512-64k --iodepth=$(depth) \
		--iodepth_batch_submit=$((1 + RANDOM % 8)) --verify_backlog=$((8 + RANDOM % 64)) \
		--fsync=$((8 + RANDOM % 64)) --randseed=$RANDOM --random_generator=tausworthe64"
	again "$@"
}
again() {
	echo "fio --name=$1-again --readonly --filename=$2 --size=$3 --offset=${4:-0} --rw=read --bs=32k --iodepth=$(depth)"
}
reads() { # NAME DEVICE OFFSET
	echo "fio --name=$1 --readonly --filename=$2 --offset=$3 --size=4M --rw=randread --bsrange=512-128k \
		--iodepth=$(depth) --randseed=$RANDOM --random_generator=tausworthe64"
}

# run ENGINE JOB: boots with all disks; the engine is what vmm itself says.
run() {
	local name=$1 engine=async-executor=$1
	boot 0 -m 256 -p quiet -i "$(initrd drivers "$prepare$2")" --log-level debug \
		--block "$tools/tools.img,ro=true" --block "$dir/raw.img,direct=true,$engine" \
		--block "$dir/disk.img,format=composite,$engine" \
		--block "$tools/data.simg,ro=true,format=sparse,$engine" "$cloud/vmlinuz" &&
		said 'GUEST-EXIT 0' || { cat "$dir/job" "$dir/out" && return 1; }
	[ "$name" = uring ] && name=io_uring || name=sync
	for kind in raw composite sparse; do
		grep -qE "image .*: $kind, $name\$" "$dir/err" ||
			{ echo "not $kind by $name:" && grep image "$dir/err"; return 1; }
	done
}

verified() { # NAME...
	local name
	for name; do said "VERIFIED --name=$name " || return; done
}

whole="sha256sum /dev/vdd"
by_uring() {
	run uring "$(writes raw /dev/vdb 4M; writes composite /dev/vdc $((one + two)) $first
		reads sparse-begin /dev/vdd 0; reads sparse-end /dev/vdd 8M
		reads component /dev/vdc2 0; echo "$whole")" &&
		verified raw raw-again composite composite-again sparse-begin sparse-end component &&
		said "$(sha256sum <"$tools/data.raw" | cut -d' ' -f1)"
}
# What the other engine wrote is there, before it is written anew.
by_calls() {
	run epoll "$(again kept-raw /dev/vdb 4M; again kept-composite /dev/vdc $((one + two)) $first
		writes raw /dev/vdb 4M; writes composite /dev/vdc $((one + two)) $first
		reads sparse-end /dev/vdd 8M
		echo 'in_tools systemd-udevd --daemon
			in_tools udevadm trigger --action=add --subsystem-match=block
			in_tools udevadm settle
			ls /dev/disk/by-partlabel | xargs echo LABELS
			mkdir /data
			mount -t ext4 /dev/disk/by-partlabel/data /data
			cat /data/hello
			echo "the guest wrote this" >/data/reply
			umount /data
			head -c 1000001 /dev/disk/by-partlabel/odd | sha256sum')" &&
		verified kept-raw-again kept-composite-again raw composite sparse-end
}
by_partlabel() { # from what that guest has printed and written already
	said 'LABELS data odd one system two' && said 'the host wrote this' &&
		said "$(sha256sum <"$dir/odd.img" | cut -d' ' -f1)" &&
		e2fsck -fn "$dir/data.img" && debugfs -R 'cat reply' "$dir/data.img" 2>/dev/null | grep -q 'the guest wrote this'
}

# The unit tests' own program, where no device may be missing.
block_devices() {
	modprobe null_blk memory_backed=1 discard=1 gb=1 &&
		"${BUILD:-build}/tests/unit/test_block_device" >"$dir/out" 2>&1 &&
		! grep -i skip "$dir/out" && grep -c 'OK' "$dir/out" || { cat "$dir/out" && return 1; }
}

make_disks
check 'io_uring: fio verifies raw, sparse and composite disks' by_uring
check 'system calls: fio verifies what io_uring wrote, and its own' by_calls
check 'by-partlabel: udev names the partitions, and ext4 is mounted by its name' by_partlabel
check 'loop devices, and one that discards but does not write zeroes' block_devices
t_done
