#!/usr/bin/env bash
# Debian's drivers on our devices: disks, random numbers, consoles.
set -euo pipefail
. tests/lab/guest.sh
cloud=$(kernel cloud)

image=$dir/disk.img
truncate -s 64M "$image"
mke2fs -q -t ext4 -L lab "$image"

# with JOB [OPTION]...: boots the cloud kernel with all drivers.
with() {
	local job=$1
	shift
	boot 0 -m 256 -i "$(initrd drivers "$job")" "$@" "$cloud/vmlinuz"
	said 'GUEST-EXIT 0'
}

# The file that guests write, and what the host must find in it.
pattern='i=0; while [ $i -lt 2000 ]; do echo "line $i of the file that the guest wrote"; i=$((i + 1)); done'
expected=$(sh -c "$pattern" | sha256sum | cut -d' ' -f1)
write_job="set -e; mkdir -p /mnt; mount -t ext4 /dev/vda /mnt
($pattern) >/mnt/file; sync; umount /mnt; mount -t ext4 -o ro /dev/vda /mnt
sha256sum /mnt/file; umount /mnt"

# host_finds: the image is sound and holds the file, byte for byte.
host_finds() {
	e2fsck -fn "$image" && debugfs -R "cat /file" "$image" 2>/dev/null >"$dir/file"
	[ "$(sha256sum <"$dir/file" | cut -d' ' -f1)" = "$expected" ]
}
disk_kept() {
	with "$write_job" "$@" && said "$expected" && host_finds
	debugfs -w -R 'rm /file' "$image" 2>/dev/null
}
check 'a file system on a raw disk is mounted, written, read back by the host' \
	disk_kept -c 2 -p quiet --block "$image,id=lab-disk"
check 'the same with INTx only (pci=nomsi)' disk_kept -c 2 -p 'quiet pci=nomsi' --block "$image"

facts() {
	with 'cat /sys/block/vda/serial; echo; ls /sys/block/vda/mq | wc -l | sed "s/^/queues=/"
		cat /sys/block/vda/queue/write_cache; blockdev --getro /dev/vdb | sed "s/^/ro=/"
		dd if=/dev/zero of=/dev/vdb bs=4096 count=1 2>&1; cat /sys/block/vdb/queue/logical_block_size | sed "s/^/bs=/"
		cat /sys/class/misc/hw_random/rng_current; head -c 32 /dev/hwrng | xxd -p -c 64 | sed "s/^/rng=/"
		cat /proc/interrupts' \
		-c 2 -p quiet --block "$image,id=lab-disk" --block "$image.ro,ro=true,block-size=4096"
	said lab-disk && said queues=2 && said 'write back' && said ro=1 && said bs=4096 && said 'not permitted'
}
random_bytes() { # from what that guest has printed already
	said virtio_rng && grep -qE 'rng=[0-9a-f]{64}' "$dir/out"
}
interrupts() { grep -qE 'PCI-MSI.*virtio.-req' "$dir/out"; }
truncate -s 8M "$image.ro"
check 'serial number, queues, cache, read-only and block size reach the guest' facts
check 'the guest reads from /dev/hwrng' random_bytes
check 'queues interrupt by MSI-X' interrupts

no_rng() { with 'ls /sys/bus/virtio/devices | wc -l | sed "s/^/devices=/"' -p quiet --no-rng --no-balloon && said devices=0; }
check '--no-rng and --no-balloon leave them out' no_rng

hvc() {
	# Held open: the last close of a terminal throws its input away.
	with 'exec 3<>/dev/hvc0; stty -echo <&3; echo "to hvc0" >&3; read line <&3; echo "from hvc0: $line"; echo "to ttyS1" >/dev/ttyS1' -p quiet \
		--serial type=stdout,console=true \
		--serial "type=file,path=$dir/hvc,hardware=virtio-console,input=$dir/in" \
		--serial "type=file,path=$dir/com2,num=2"
	grep -q 'to hvc0' "$dir/hvc" && said 'from hvc0: hello from the host' &&
		grep -q 'to ttyS1' "$dir/com2" && return
	head "$dir/hvc" "$dir/com2"
	return 1
}
echo 'hello from the host' >"$dir/in"
check 'hvc0 and ttyS1 write to files, hvc0 reads one' hvc

hvc_console() {
	with 'echo on the console' -p quiet --serial type=stdout,hardware=virtio-console,console=true && said 'on the console'
}
check 'hvc0 alone is the console' hvc_console

# Input on hvc0, which shares its output with ttyS0; words on ttyS1; a flood on hvc2.
avf_ports() {
	local job='exec 3<>/dev/hvc0; stty -echo <&3; read line <&3; echo "got: $line" >&3
		echo "the reason" >/dev/ttyS1; seq 5000 >/dev/hvc2; stty -F /dev/hvc2 | head -n 1'
	rm -f "$dir"/{both,reason,ramdump,log}
	exec 5>>"$dir/both"
	boot 0 -m 256 -i "$(initrd drivers "$job")" --no-i8042 -p quiet -p console=hvc0 \
		--serial=type=file,path=/proc/self/fd/5,hardware=serial,num=1 \
		--serial="type=file,path=$dir/reason,hardware=serial,num=2" \
		--serial="type=file,path=/proc/self/fd/5,input=$dir/in,hardware=virtio-console,num=1" \
		--serial="type=file,path=$dir/ramdump,hardware=virtio-console,num=2" \
		--serial="type=file,path=$dir/log,hardware=virtio-console,num=3,max-queue-sizes=[2,32]" \
		"$cloud/vmlinuz" || return
	exec 5>&-
	grep -q 'GUEST-EXIT 0' "$dir/both" && grep -q 'got: hello from the host' "$dir/both" &&
		grep -q 'the reason' "$dir/reason" && [ ! -s "$dir/ramdump" ] &&
		tr -d '\r' <"$dir/log" | cmp - <(seq 5000) && return
	tail "$dir/both" "$dir/reason"
	return 1
}
check "the five ports of AVF, small queues, no keyboard controller" avf_ports

t_done
