#!/usr/bin/env bash
# Composite disks under Debian's drivers: partitions by label, over files that have no
# name any more and belong to somebody else.
set -euo pipefail
. tests/lab/guest.sh
cloud=$(kernel cloud)
real=$(realpath "$vmm")

# What every job begins with: the block device of a partition.
find_part='mkdir /mnt; part() { for u in /sys/class/block/*/uevent; do
	if grep -qx "PARTNAME=$1" $u; then u=${u%/uevent}; echo /dev/${u##*/}; fi; done; }'

# The file that guests write, and what the host must find in it.
pattern='i=0; while [ $i -lt 2000 ]; do echo "line $i of the file that the guest wrote"; i=$((i + 1)); done'
expected=$(sh -c "$pattern" | sha256sum | cut -d' ' -f1)

make_files() {
	truncate -s 64M "$dir/data.img"
	mke2fs -q -t ext4 -L data "$dir/data.img"
	head -c 1000000 /dev/urandom >"$dir/system.img" # odd, so read-only
	head -c 1048576 /dev/urandom >"$dir/other.img"
}

sums() { for n; do sha256sum <"/proc/self/fd/$n"; done; }

# Descriptors 30 to 38 are all that vmm gets, and it is nobody's, the files are daemon's.
by_descriptors() {
	make_files
	exec 31<"$dir/system.img" 32<>"$dir/data.img" 33<>"$dir/other.img"
	"$vmm" create_composite "$dir/disk.img" system:/proc/self/fd/31 \
		data:/proc/self/fd/32:writable other:/proc/self/fd/33:writable || return
	# As a service does it: the tables are descriptors, too, of the same length as names.
	exec 34<"$dir/disk.img.header" 35<"$dir/disk.img.footer" 36<"$dir/disk.img.filler"
	cat >"$dir/c.proto" <<-END
		syntax = "proto3";
		enum Capability { READ_ONLY = 0; READ_WRITE = 1; }
		message Component { string file_path = 1; uint64 offset = 2; Capability capability = 3; uint64 file_offset = 4; }
		message Composite { uint64 version = 1; repeated Component component_disks = 2; uint64 length = 3; }
	END
	{
		printf 'composite_disk\x1d'
		tail -c +16 "$dir/disk.img" | protoc -I"$dir" --decode=Composite "$dir/c.proto" |
			sed 's|"disk.img.header"|"/proc/self/fd/34"|; s|"disk.img.footer"|"/proc/self/fd/35"|
				s|"disk.img.filler"|"/proc/self/fd/36"|' |
			protoc -I"$dir" --encode=Composite "$dir/c.proto"
	} >"$dir/fds.img" || return
	initrd drivers "set -e; $find_part
		mount -t ext4 \$(part data) /mnt
		($pattern) >/mnt/file; dd if=/dev/zero of=/mnt/gone bs=1M count=16; sync
		rm /mnt/gone; sync; fstrim /mnt; umount /mnt
		mount -t ext4 -o ro \$(part data) /mnt; sha256sum /mnt/file; umount /mnt
		sha256sum \$(part system)
		dd if=/dev/zero of=\$(part system) bs=4096 count=1 conv=fsync 2>&1 && echo written
		:" >/dev/null
	mkdir -p "$dir/mnt"
	exec 30<"$dir/fds.img" 37<"$dir/initrd" 38<"$cloud/vmlinuz"
	chown daemon "$dir"/*.img && chmod 600 "$dir"/*.img*
	rm "$dir"/*.img "$dir"/*.img.*
	before=$(sums 31 33 34 35 36)
	printf '#!/bin/sh\nexec setpriv --reuid nobody --regid nogroup --groups %s "%s" "$@"\n' \
		"$(stat -c %g /dev/kvm)" "$real" >"$dir/as-nobody"
	chmod 755 "$dir/as-nobody" && chmod 711 "$dir"
	vmm=$dir/as-nobody
	boot 0 -m 256 -p quiet --block /proc/self/fd/30 -i /proc/self/fd/37 /proc/self/fd/38 &&
		said 'GUEST-EXIT 0' && said "$expected" || return
	# Nowhere else.
	[ "$before" = "$(sums 31 33 34 35 36)" ] || { echo 'a file has changed' && return 1; }
	said "$( (cat /proc/self/fd/31 && head -c 3520 /dev/zero) | sha256sum | cut -d' ' -f1)" || return
	said 'dd: ' && ! grep -q '^written' "$dir/out" || { tail "$dir/out" && return 1; }
	# And there, and what was trimmed is a hole.
	cp --sparse=always /proc/self/fd/32 "$dir/copy"
	e2fsck -fn "$dir/copy" && debugfs -R 'cat /file' "$dir/copy" 2>/dev/null >"$dir/file"
	[ "$(sha256sum <"$dir/file" | cut -d' ' -f1)" = "$expected" ] || return
	used=$(stat -Lc %b /proc/self/fd/32)
	[ "$used" -lt 30000 ] || { echo "$used blocks are in use: not trimmed" && return 1; }
}

# By name, with a sparse component, and the guest's own tools.
by_name() {
	make_files
	(cd "$dir" && img2simg data.img data.simg &&
		"$real" create_composite disk.img packed:data.simg system:system.img other:other.img:writable) || return
	initrd drivers "set -e; $find_part
		mount -t ext4 -o ro \$(part packed) /mnt; ls -a /mnt; umount /mnt
		sha256sum \$(part packed) \$(part other)
		blockdev --getsize64 /dev/vda | sed 's/^/size=/'; ls /sys/class/block | grep -c vda. | sed 's/^/parts=/'" >/dev/null
	boot 0 -m 256 -p quiet -i "$dir/initrd" \
		--block "$dir/disk.img,format=composite" "$cloud/vmlinuz" &&
		said 'GUEST-EXIT 0' && said 'lost+found' && said parts=3 &&
		said "size=$((2 * 20480 + 67108864 + 1003520 + 1048576))" &&
		said "$(sha256sum <"$dir/data.img" | cut -d' ' -f1)" && said "$(sha256sum <"$dir/other.img" | cut -d' ' -f1)"
}

check 'ext4 by label over unlinked files of somebody else' by_descriptors
check 'a composite by name, with a sparse component' by_name
t_done
