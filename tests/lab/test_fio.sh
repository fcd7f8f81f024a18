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
	raw=$(losetup -f --show "$dir/raw.img") # /tmp has no direct I/O, but this has
	head -c 1000001 /dev/urandom >"$dir/odd.img"
	truncate -s $one "$dir/one.img"
	truncate -s $two "$dir/two.img"
	truncate -s 8M "$dir/data.img"
	mke2fs -q -t ext4 -L data "$dir/data.img"
	echo 'the host wrote this' >"$dir/hello"
	debugfs -w -R "write $dir/hello hello" "$dir/data.img" >/dev/null 2>&1
	"$vmm" create_composite "$dir/disk.img" odd:"$dir/odd.img" system:"$tools/data.simg" \
		one:"$dir/one.img:writable" two:"$dir/two.img:writable" data:"$dir/data.img:writable"
}
first=$((20480 + 1003520 + 12582912)) # where the writable ones begin

# One fio for all jobs, one after the other: it takes long to start.
prepare='set -e
mkdir -p /mnt
mount -t ext4 -o ro /dev/vda /mnt
for fs in dev sys proc; do mount --bind /$fs /mnt/$fs; done
mount -t tmpfs run /mnt/run
export SYSTEMD_IGNORE_CHROOT=1 # udevadm does nothing in one
in_tools() { chroot /mnt "$@"; }
fio() {
	in_tools fio --eta=never --output=/run/report - || { cat /mnt/run/report; false; }
	grep "^[a-z-]*: (groupid=" /mnt/run/report # names and errors
}
fio <<END
[global]
thread
stonewall
ioengine=libaio
direct=1
blockalign=512
random_generator=tausworthe64
verify=crc32c
verify_interval=512
verify_fatal=1
verify_state_save=0
'

# Small depths as often as large ones.
depth() { echo $((1 + RANDOM % (1 << RANDOM % 7))); }

job() { # NAME DEVICE SIZE OFFSET OPTION...
	printf '%s\n' "[$1]" "filename=$2" "size=$3" "offset=$4" "iodepth=$(depth)" "randseed=$RANDOM" "${@:5}"
}
# What is written is read back soon, and once more as one stream.
writes() { # NAME DEVICE SIZE OFFSET
	job "$@" rw=randwrite bsrange=512-64k iodepth_batch_submit=$((1 + RANDOM % 8)) \
		verify_backlog=$((8 + RANDOM % 64)) fsync=$((8 + RANDOM % 64))
	again "$1-again" "${@:2}"
}
again() { job "$@" rw=read bs=32k; }
reads() { job "$@" rw=randread bsrange=512-128k; }

# run ENGINE JOB: boots with all disks; the engine is what vmm itself says.
run() {
	local name=$1 engine=async-executor=$1
	boot 0 -m 512 -p quiet -i "$(initrd drivers "$prepare$2")" --log-level debug \
		--block "$tools/tools.img,ro=true" --block "$raw,direct=true,$engine" \
		--block "$dir/disk.img,format=composite,$engine" \
		--block "$tools/data.simg,ro=true,format=sparse,$engine" "$cloud/vmlinuz" &&
		said 'GUEST-EXIT 0' || { cat "$dir/job" "$dir/out" && return 1; }
	[ "$name" = uring ] && name=io_uring || name=sync
	for what in "${raw#/dev/}: raw" 'disk.img: composite' 'data.simg: sparse'; do
		grep -q "/$what, $name\$" "$dir/err" ||
			{ echo "not $what, $name:" && grep image "$dir/err"; return 1; }
	done
}

verified() { # NAME...
	local name
	for name; do
		grep -qE "^$name: \(groupid=.* err= 0:" "$dir/out" || { echo "$name was not verified" && return 1; }
	done
}

by_uring() {
	run uring "$(writes raw /dev/vdb 4M 0; writes composite /dev/vdc $((one + two)) $first
		reads sparse-begin /dev/vdd 4M 0; reads sparse-end /dev/vdd 4M 8M
		reads component /dev/vdc2 4M 0; printf '%s\n' END 'sha256sum /dev/vdd')" &&
		verified raw raw-again composite composite-again sparse-begin sparse-end component &&
		said "$(sha256sum <"$tools/data.raw" | cut -d' ' -f1)"
}
# What the other engine wrote is there, before it is written anew.
by_calls() {
	run epoll "$(again kept-raw /dev/vdb 4M 0; again kept-composite /dev/vdc $((one + two)) $first
		writes raw /dev/vdb 4M 0; writes composite /dev/vdc $((one + two)) $first
		reads sparse-end /dev/vdd 4M 8M
		echo 'END
			in_tools systemd-udevd --daemon
			in_tools udevadm trigger --action=add --subsystem-match=block
			in_tools udevadm settle
			ls /dev/disk/by-partlabel | xargs echo LABELS
			mkdir /data
			mount -t ext4 /dev/disk/by-partlabel/data /data
			cat /data/hello
			echo "the guest wrote this" >/data/reply
			umount /data
			head -c 1000001 /dev/disk/by-partlabel/odd | sha256sum')" &&
		verified kept-raw kept-composite raw raw-again composite composite-again sparse-end
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
		! grep -i skip "$dir/out" && grep -qiw ok "$dir/out" || { cat "$dir/out" && return 1; }
}

make_disks
check 'io_uring: fio verifies raw, sparse and composite disks' by_uring
check 'system calls: fio verifies what io_uring wrote, and its own' by_calls
check 'by-partlabel: udev names the partitions, and ext4 is mounted by its name' by_partlabel
check 'loop devices, and one that discards but does not write zeroes' block_devices
t_done
