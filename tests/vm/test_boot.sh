#!/bin/bash
# How guests are started: three shapes of image, command line, initrd, memory, processors.
# shellcheck source=tests/vm/vm.sh
. "$(dirname "$0")/vm.sh"

shape() { # IMAGE ENTRY
	vm 64 --debug-exit "$GUESTS/$1" -p 'one two' --params three &&
		says '^PASS image lies in RAM' && ! grep '^FAIL' "$dir/out" &&
		says "^entry $2\$" &&
		says '^cmdline panic=-1 console=ttyS0 one two three$'
}

# By firmware: from the reset vector, over a ROM.
firmware() {
	vm 64 --debug-exit --bios "$1" -p rom --params three && ! grep '^FAIL' "$dir/out" &&
		says '^entry linux32$' && says '^cmdline panic=-1 console=ttyS0 rom three$' &&
		says '^PASS ROM below 1 MiB'
}

firmware_by_descriptor() {
	exec 8<"$GUESTS/info.rom"
	firmware /proc/self/fd/8
}

# No multiple of the page size: what counts is that its end is at the end.
odd_firmware() {
	{ printf odd && cat "$GUESTS/info.rom"; } >"$dir/odd.rom"
	firmware "$dir/odd.rom"
}

firmware_memory() { # MIB
	local kib
	vm 64 --debug-exit -m "$1" --bios "$GUESTS/info.rom" && ! grep '^FAIL' "$dir/out" || return
	kib=$(sed -n 's/^ram \([0-9]*\) KiB$/\1/p' "$dir/out")
	[ "$kib" -ge $(($1 * 1024 - 1024)) ]
}

seed() {
	vm 64 --debug-exit "$GUESTS/info.bzImage" && says '^PASS RNG seed' &&
		says '^PASS set-up header'
}

# Adler-32, as the guest computes it.
adler() {
	od -An -v -tu1 "$1" | awk '{ for (i = 1; i <= NF; i++) { a += $i; b += a + 1 } }
		END { printf "%08x\n", b % 65521 * 65536 + (a + 1) % 65521 }'
}

initrd() { # IMAGE FILE
	vm 64 --debug-exit -i "$2" "$GUESTS/$1" && says '^PASS initrd lies in RAM' &&
		! grep '^FAIL' "$dir/out" &&
		says "^initrd $(stat -Lc %s "$2") bytes adler $(adler "$dir/initrd")"
}

by_descriptors() {
	exec 8<"$dir/initrd" 9<"$GUESTS/info.elf"
	vm 64 --debug-exit -i /proc/self/fd/8 /proc/self/fd/9 &&
		says "^initrd $(stat -c %s "$dir/initrd") bytes adler $(adler "$dir/initrd")"
}

# All memory that was asked for, but for the hole below 1 MiB.
memory() { # MIB IMAGE
	local kib
	vm 64 --debug-exit -m "$1" "$GUESTS/$2" && ! grep '^FAIL' "$dir/out" || return
	kib=$(sed -n 's/^ram \([0-9]*\) KiB$/\1/p' "$dir/out")
	[ "$kib" -le $(($1 * 1024)) ] && [ "$kib" -ge $(($1 * 1024 - 1024)) ] && return
	echo "$kib KiB are not $1 MiB" && return 1
}

above_hole() {
	memory 5120 info.elf && says '^range 0000000100000000-.* type 1'
}

processors() {
	guest smp -c "$1" && says "^processors $1\$"
}

clock() {
	local guest_time now
	guest info || return
	now=$(date -u +%s)
	guest_time=$(date -u -d "$(sed -n 's/^time //p' "$dir/out")" +%s) || return
	[ $((now - guest_time)) -ge 0 ] && [ $((now - guest_time)) -le 5 ] && return
	echo "the guest's clock is $((now - guest_time)) s behind" && return 1
}

head -c 5000 "$VMM" >"$dir/initrd"

check 'ELF image by PVH' shape info.elf pvh
check 'ELF image by the 64-bit protocol' shape info64.elf linux64
check 'bzImage by the 64-bit protocol' shape info.bzImage linux64
check 'bzImage by the 32-bit protocol' shape info32.bzImage linux32
check 'ELF32 image by PVH' shape info32.elf pvh
check 'ELF32 image by Multiboot' shape multiboot.elf multiboot
check 'flat image by Multiboot' shape multiboot.bin multiboot
check 'firmware from the reset vector' firmware "$GUESTS/info.rom"
check 'firmware by descriptor' firmware_by_descriptor
check 'firmware of an odd size' odd_firmware
check 'firmware and 5120 MiB of memory' firmware_memory 5120
check 'bzImage gets a seed and its own header' seed
check 'initrd for PVH' initrd info.elf "$dir/initrd"
check 'initrd for an ELF image by the 64-bit protocol' initrd info64.elf "$dir/initrd"
check 'initrd for a bzImage' initrd info.bzImage "$dir/initrd"
check 'initrd for a 32-bit bzImage' initrd info32.bzImage "$dir/initrd"
check 'initrd as a Multiboot module' initrd multiboot.elf "$dir/initrd"
check 'kernel and initrd by descriptors' by_descriptors
for mib in 64 3328 3329 5120; do
	check "$mib MiB of memory" memory $mib info.elf
done
check '5120 MiB for a bzImage' memory 5120 info.bzImage
check 'memory above 4 GiB' above_hole
for n in 1 2 4; do
	check "$n processors" processors $n
done
check 'the CMOS clock has the time of the host' clock
t_done
