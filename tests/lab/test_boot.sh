#!/usr/bin/env bash
# Debian's own kernels, unmodified: from the smallest memory that they boot in,
# by each boot protocol, with one and more CPUs, to the end that they ask for.
set -euo pipefail
. tests/lab/guest.sh

report='echo "cpus=$(nproc) clock=$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"'
# boots CPUS MEMORY IMAGE: to a user-space line, and powered off.
boots() {
	boot 0 -c "$1" -m "$2" -i "$(initrd cloud "$report")" -p quiet "$3" && said HELLO-FROM-INIT &&
		said "cpus=$1 clock=kvm-clock" && said 'GUEST-EXIT 0'
}

cloud=$(kernel cloud) standard=$(kernel standard)
check 'cloud kernel, 1 CPU, 96 MiB' boots 1 96 "$cloud/vmlinuz"
check 'cloud kernel, 4 CPUs, above 4 GiB' boots 4 4096 "$cloud/vmlinuz"
check 'cloud kernel as ELF by PVH, 2 CPUs' boots 2 256 "$cloud/vmlinux"

# The ELF without its PVH note enters by the 64-bit protocol.
sed 's/\x04\x00\x00\x00\x08\x00\x00\x00\x12\x00\x00\x00Xen\x00/\x04\x00\x00\x00\x08\x00\x00\x00\x12\x00\x00\x00Nex\x00/' \
	"$cloud/vmlinux" >"$dir/vmlinux64"
check 'cloud kernel as ELF by the 64-bit protocol' boots 1 256 "$dir/vmlinux64"
rm "$dir/vmlinux64"

check 'standard kernel, 1 CPU' boots 1 256 "$standard/vmlinuz"
check 'standard kernel, 2 CPUs, 128 MiB' boots 2 128 "$standard/vmlinuz"

too_small() {
	boot 1 -m 32 "$1" && [ "$(wc -l <"$dir/err")" = 1 ] && grep -q 'MiB of memory' "$dir/err"
}
check 'too little memory is an error that says so' too_small "$cloud/vmlinuz"

ends() { # STATUS COMMAND
	boot "$1" -m 128 -i "$(initrd cloud "$2")" -p quiet "$cloud/vmlinuz"
}
check 'reboot -f gives 32' ends 32 'reboot -f; sleep 60'
check 'poweroff -f gives 0' ends 0 'poweroff -f; sleep 60'
check 'a panic with panic=-1 gives 32' ends 32 'echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger; sleep 60'

warnings() {
	boot 0 -c 2 -m 256 -i "$(initrd cloud 'dmesg -r | grep -E "^<[0-4]>" | grep -vE "XSAVE|fpu__init|CPUID|Call Trace|TASK|RIP|RSP|R[A-Z0-9]{2}:|FS:|CS:|CR[0-9]|PKRU|Modules|Code:|Hardware|cut here|end trace|xstate|fpu|start_kernel|secondary_startup|arch_cpu_finalize|Comm:|static_key" | sed "s/^/WARN /"; dmesg | grep -c "irq = 4" | sed "s/^/irq4=/"')" -p quiet "$cloud/vmlinuz"
	cat "$dir/out"
	! grep -qE 'WARN.*(ACPI (BIOS )?(Error|Warning)|PCI.*(fail|error)|irq.*nobody cared|8250.*fail)' "$dir/out"
}
check 'the kernel finds no fault with ACPI, PCI and interrupts' warnings
t_done
