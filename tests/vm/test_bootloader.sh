#!/bin/bash
# The bootloader, from the reset vector on: a signed disk of five partitions and more boots,
# and whatever is wrong with one is told by its name. (The many ways to be wrong are the unit
# tests': each boot here hashes and verifies at the speed of a software KVM.)
# shellcheck source=tests/vm/vm.sh
. "$(dirname "$0")/vm.sh"

avb=guest/bootloader/avb
VM_TIMEOUT=100
rom=$GUESTS/bootloader.rom
p=$dir/p
mkdir "$p"

sign() { "$avb" vbmeta "$p/vbmeta_$1" --key "$dir/key.pem" --rollback-index 5 --hash "boot=$p/boot_$1" "${@:2}"; }

# Another disk of all that is in $p, and of nothing else.
disk() {
	local part parts=()
	for part in "$p"/*; do parts+=("${part##*/}:$part:writable"); done
	rm -f "$dir"/disk*
	"$VMM" create_composite "$dir/disk" "${parts[@]}"
}

# boots STATUS OPTION...: the bootloader's last word is in $dir/failure.
boots() {
	local want=$1
	shift
	rm -f "$dir/failure"
	vm "$want" --debug-exit --bios "$rom" --block "$dir/disk,format=composite" \
		--serial "type=file,path=$dir/failure,num=2" "$@"
}

refuses() { # NAME
	disk && boots 1 --bios-key "path=$dir/key,rollback-index=5" --status-fd "$dir/status" &&
		says "^bootloader: .* \($1\)" && [ "$(cat "$dir/failure")" = "$1|" ] &&
		[ "$(jq -r '.reason + " " + .failure_code' "$dir/status")" = "bootloader $1" ]
}

no_key() { disk && boots 1 && says BOOTLOADER_NO_KEY; }

# with CHANGE... -- COMMAND...: on a copy of the partitions, which comes back afterwards.
with() {
	local r=0
	cp -a "$p" "$dir/saved"
	while [ "$1" != -- ]; do eval "$1" && shift || return 1; done
	shift
	"$@" || r=1
	rm -rf "$p"
	mv "$dir/saved" "$p"
	return $r
}

# flip PART OFFSET: one bit.
flip() {
	local byte
	byte=$(od -An -tu1 -j "$2" -N 1 "$p/$1")
	printf '%b' "\\x$(printf %x $((byte ^ 16)))" |
		dd of="$p/$1" bs=1 seek="$2" conv=notrunc status=none
}

good() {
	disk && boots 64 --bios-key "path=$dir/key,rollback-index=5" -p host=1 &&
		says '^bootloader: starting slot _a$' &&
		says '^payload: panic=-1 .*host=1 .*of=boot .*slot_suffix=_a .*state=green' &&
		says '^initrd: 8 bytes: ramdisk$' && [ ! -s "$dir/failure" ]
}

# The best slot is broken: the other one starts, with one try less, and that is written.
falls_back() {
	disk && boots 64 --bios-key "path=$dir/key" && says 'BOOTLOADER_BAD_HASH' &&
		says '^bootloader: starting slot _b$' && says 'slot_suffix=_b' &&
		[ "$(od -An -tx1 -j 2060 -N 4 "$p/misc")" = ' 00 00 1e 00' ]
}

# A chained image is compared with what is given for its location.
chained() {
	disk && boots 64 --bios-key "path=$dir/key,rollback-indices=[3]" && says '^bootloader: starting' &&
		boots 1 --bios-key "path=$dir/key,rollback-indices=[4]" && says 'vbmeta_extra_a.*BOOTLOADER_ROLLBACK'
}

# Kernel, generic ramdisk and vendor ramdisk in partitions of their own.
version_4() {
	"$avb" boot "$p/boot_a" --version 4 --kernel "$GUESTS/payload.bzImage" &&
		"$avb" init_boot "$p/init_boot_a" --ramdisk "$dir/ramdisk" &&
		echo 'vendor.key = "value"' >"$dir/config" && echo vendor >"$dir/vendor" &&
		"$avb" vendor_boot "$p/vendor_boot_a" --ramdisk "$dir/vendor" --bootconfig "$dir/config" \
			--cmdline of=vendor &&
		sign a --hash "init_boot=$p/init_boot_a" --hash "vendor_boot=$p/vendor_boot_a"
}

bootconfig() {
	disk && boots 64 --bios-key "$dir/key" && says '^PASS bootconfig' &&
		says '^payload: .*of=vendor.* bootconfig$' &&
		says '^vendor.key = "value"' && says '^androidboot.slot_suffix="_a"$' &&
		says '^androidboot.vbmeta.digest="[0-9a-f]{64}"$' && says '^initrd: [0-9]* bytes: vendor'
}

bad_gpt() {
	disk
	for f in header footer; do # 16 bytes into the header: its sum
		at=16
		[ $f = header ] && at=$((512 + 16)) || at=$(($(stat -c %s "$dir/disk.$f") - 512 + 16))
		printf 'bad!' | dd of="$dir/disk.$f" bs=1 seek=$at conv=notrunc status=none
	done
	boots 1 --bios-key "$dir/key" && says 'BOOTLOADER_BAD_GPT'
}

openssl genrsa -out "$dir/key.pem" 2048 2>"$dir/log" && "$avb" key "$dir/key.pem" "$dir/key" &&
	openssl genrsa -out "$dir/other.pem" 2048 2>"$dir/log" && "$avb" key "$dir/other.pem" "$dir/other" &&
	echo ramdisk >"$dir/ramdisk" &&
	"$avb" boot "$p/boot_a" --version 2 --kernel "$GUESTS/payload.bzImage" --ramdisk "$dir/ramdisk" \
		--cmdline 'of=boot' && sign a && "$avb" misc "$p/misc" 15,0,1 &&
	head -c 4096 /dev/urandom >"$p/super" && head -c 8192 /dev/urandom >"$p/userdata" ||
	{ cat "$dir/log"; echo 'Bail out! the disk cannot be made'; exit 1; }

check 'signed disk of five partitions boots' good
check 'flipped bit in the kernel' with 'flip boot_a 5200' -- refuses BOOTLOADER_BAD_HASH
check 'flipped bit in the ramdisk' with 'flip boot_a $(($(stat -c %s "$p/boot_a") - 4096))' -- \
	refuses BOOTLOADER_BAD_HASH
check 'flipped bit in vbmeta' with 'flip vbmeta_a 600' -- refuses BOOTLOADER_BAD_SIGNATURE
check 'flipped bit in the signature' with 'flip vbmeta_a 300' -- refuses BOOTLOADER_BAD_SIGNATURE
check 'another key' with 'sign a --key "$dir/other.pem"' -- refuses PVM_FIRMWARE_PUBLIC_KEY_MISMATCH
check 'no key' no_key
check 'older image' with 'sign a --rollback-index 4' -- refuses BOOTLOADER_ROLLBACK
check 'older chained image' with '"$avb" vbmeta "$p/vbmeta_extra_a" --key "$dir/other.pem" --rollback-index 3' \
	'sign a --chain "vbmeta_extra=$dir/other"' -- chained
check 'truncated partition' with 'truncate -s 8192 "$p/boot_a"' -- refuses BOOTLOADER_TRUNCATED
check 'missing partition' with 'mv "$p/boot_a" "$p/boot_b"' -- refuses BOOTLOADER_MISSING_PARTITION
check 'sums of both partition tables wrong' bad_gpt
check 'no disk' eval 'vm 1 --bios "$rom" && says BOOTLOADER_NO_DISK'
check 'broken slot falls back, and that is recorded' with \
	'cp "$p/boot_a" "$p/boot_b"' 'sign b' 'flip boot_a 5200' \
	'"$avb" misc "$p/misc" 15,0,1 14,2,0' -- falls_back
check 'version 4: three ramdisks and a bootconfig' with version_4 -- bootconfig
t_done
