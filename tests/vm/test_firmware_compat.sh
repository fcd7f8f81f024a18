#!/bin/bash
# Debian's SeaBIOS boots a disk of ours, which tries what boot software uses of a PC.
# (A kernel's boot is tests/lab/test_seabios.sh's.)
# shellcheck source=tests/vm/vm.sh
. "$(dirname "$0")/vm.sh"

VM_TIMEOUT=100
bios=/usr/share/seabios/bios-256k.bin

refused() { # WORDS OPTION...
	local words=$1
	shift
	vm 35 "$@" && says "$words" "$dir/err"
}

boots() {
	vm 64 --debug-exit --firmware-compat --bios "$bios" --block "$GUESTS/pc.img" -c 2 -m 4096 \
		--serial stdout --serial "type=file,path=$dir/debug,hardware=debugcon" &&
		[ "$(grep -ac '^PASS' "$dir/out")" = 5 ]
}
# It has found what it looks for.
finds() { says "$1" "$dir/debug"; }

check 'firmware boots a disk and serves its boot software' boots
check 'its screen is the serial port' says 'Booting from Hard Disk'
check 'it takes the machine for one that it knows' finds 'Running on QEMU \(i440fx\)'
check 'it starts all CPUs' finds 'Found 2 cpu\(s\)'
check 'it has the memory map' finds 'addr 0x0000000100000000 len 0x0000000030000000 \[RAM\]'
check 'it installs the ACPI tables' finds 'ACPI: parse DSDT'
check 'a PC without firmware' refused '--firmware-compat: needs --bios' --firmware-compat "$GUESTS/hello.elf"
t_done
