#!/usr/bin/env bash
# Debian's SeaBIOS starts a disk (tests/lab/pc_disk) from its boot sector on: SYSLINUX, Debian's
# kernel, userspace.
set -euo pipefail
. tests/lab/guest.sh
disk=${BUILD:-build}/lab/pc-disk
want="disk: $(dd if="$disk" bs=1M count=1 skip=1 status=none | sha256sum | cut -d' ' -f1)"

# starts STATUS ENTRY CPUS: that entry of the boot loader's is typed on its serial console.
starts() {
	printf '%s\r' "$2" >"$dir/in"
	boot "$1" -m 256 -c "$3" --firmware-compat --bios /usr/share/seabios/bios-256k.bin \
		--block "$disk,ro=true" --serial "type=stdout,input=$dir/in" || return
	# From userspace; what the boot loader says itself has firmware's cursor moves in it,
	# and may be overwritten.
	said 'BOOT_IMAGE=vmlinuz initrd=initrd'
}
# interrupts PATTERN: a line of /proc/interrupts, whose first count is not 0.
interrupts() { grep -qE "$1" "$dir/out" || { grep -E '^ *[0-9]+:' "$dir/out"; return 1; }; }

check 'a disk boots to userspace, which powers off' starts 0 acpi 2
check 'the kernel has the command line of the disk' said 'BOOT_IMAGE=vmlinuz initrd=initrd console=ttyS0 quiet of=disk'
check 'it found the other CPU by the tables that firmware installed' said 'cpus: 2'
check 'it reads the disk' said "$want"
check 'with message interrupts' interrupts '^ *[0-9]+: +[0-9]+ .*PCI-MSI.*virtio0-req'

check 'without ACPI and APICs it does, too, and resets' starts 32 pic 1
check 'the timer is the PIT, by way of the PIC' interrupts '^ *0: +[1-9][0-9]* +XT-PIC +timer'
check 'the disk interrupts where firmware says' interrupts '^ *10: +[1-9][0-9]* +XT-PIC +virtio0'
check 'and is read' said "$want"
t_done
