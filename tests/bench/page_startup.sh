# The first page of "make bench": start-up, and one small guest's whole life,
# natively on this machine's /dev/kvm. See tests/bench/run.
# shellcheck shell=bash
set -euo pipefail

rounds=${N:-20}
mem=128 # MiB; the smallest that suits Debian's kernel
hello=$GUESTS/hello.elf
kernel=${XDG_CACHE_HOME:-$HOME/.cache}/vmm/kernels/cloud/vmlinuz
vmm=("$VMM" run -m "$mem" --log-level warn)
qemu=(qemu-system-x86_64 -M "microvm,rtc=on" -accel kvm -cpu host -smp 1 -m "$mem"
	-nodefaults -no-user-config -no-reboot -display none -monitor none -serial stdio)
exit_device=(-device "isa-debug-exit,iobase=0xf4,iosize=4")
linux="console=ttyS0 panic=-1 quiet"

[ -w /dev/kvm ] || {
	echo "start-up: /dev/kvm: cannot be opened, nothing can be measured"
	exit 1
}
# Absolute: the dynamic linker looks for it from wherever a program goes.
preload=$(realpath "$BENCH/preload.so")

echo "Start-up, natively on /dev/kvm: Linux $(uname -r), $(nproc) CPUs, load $(cut -d' ' -f1 /proc/loadavg)"
echo "The programs take turns, $rounds rounds; 1 vCPU and $mem MiB each."
programs=(
	:: "floor" 0 "$BENCH/floor" --mem "$mem"
	:: "floor --no-jail" 0 "$BENCH/floor" --mem "$mem" --no-jail
	:: "exec alone" 0 "$BENCH/floor" --exec-only
	:: "vmm, hello.elf" 0 "${vmm[@]}" --debug-exit "$hello"
	:: "vmm --disable-sandbox, hello.elf" 0 "${vmm[@]}" --debug-exit --disable-sandbox "$hello"
)
whole=(
	:: "vmm" 66 "${vmm[@]}" --debug-exit -p "lines=50 exit=2" "$hello"
	:: "vmm --disable-sandbox" 66 "${vmm[@]}" --debug-exit --disable-sandbox -p "lines=50 exit=2" "$hello"
)
if [ -e "$kernel" ]; then
	programs+=(:: "vmm, Debian's bzImage" 0 "${vmm[@]}" -p "$linux" "$kernel")
else
	echo "skipped: Debian's kernel: not in the cache (guest/linux/kernel cloud fetches it)"
fi
if command -v "${qemu[0]}" >/dev/null; then
	programs+=(:: "QEMU microvm, hello.elf" "?0" "${qemu[@]}" "${exit_device[@]}" -kernel "$hello")
	[ ! -e "$kernel" ] ||
		programs+=(:: "QEMU microvm, Debian's bzImage" "?0" "${qemu[@]}" -kernel "$kernel" -append "$linux")
	whole+=(:: "QEMU microvm" "?5" "${qemu[@]}" "${exit_device[@]}" -kernel "$hello" -append "lines=50 exit=2")
else
	echo "skipped: QEMU: ${qemu[0]} is not installed"
fi

status=0
out=$BENCH/startup.tsv
"$BENCH/launch" -n "$rounds" "$preload" "${programs[@]}" >"$out" || status=1
tests/bench/table "$out" "exec to first KVM_RUN, ms" \
	min=total_ms:min:2 median=total_ms:median:2 max=total_ms:max:2 \
	"x min=total_ms:xmin:2" "x median=total_ms:xmedian:2" "x paired=total_ms:xpaired:2" \
	CPU=cpu_ms:median:2 "x CPU=cpu_ms:xmedian:2" spin=spin_ms:median:2
tests/bench/table "$out" "its parts, ms, medians" \
	exec=exec_ms:median:2 "to VM=to_vm_ms:median:2" "to vCPU=to_vcpu_ms:median:2" \
	"to run=to_run_ms:median:2" "in KVM=in_kvm_ms:median:2" spin=spin_ms:median:2
tests/bench/table "$out" "until then, counts and KiB" \
	ioctls=ioctls:median faults=minor_faults:median "max RSS=max_rss_kib:median" \
	Pss=pss_kib:median dirty=dirty_kib:median guest=guest_kib:median
cat <<'EOF'

floor: only the KVM calls without which no guest starts, in vmm's own jail; no
devices, no kernel, one thread. exec alone: a dynamic program that does nothing.
x: how many times the floor's: of the minima, of the medians, and (paired) the
median of each round's ratio. CPU: ms that all processes had computed by then.
spin: a fixed loop just before each start; where it differs between two lines,
the machine's speed did. parts: exec and linking; then until KVM_CREATE_VM, until
KVM_CREATE_VCPU, until KVM_RUN; and what of it all was spent in KVM's ioctls.
ioctls: KVM's. faults: minor. max RSS: of the largest process, guest memory
included. Pss, dirty (private): all processes, guest memory aside. guest: guest
memory in use. -: not known, or there is none.
EOF

rounds=${N:-5}
echo
echo "hello.elf prints 50 lines and ends by debug-exit; $rounds rounds."
out=$BENCH/hello.tsv
"$BENCH/launch" -w -n "$rounds" "$preload" "${whole[@]}" >"$out" || status=1
tests/bench/table "$out" "exec to exit, ms" \
	min=total_ms:min median=total_ms:median max=total_ms:max \
	"x median=total_ms:xmedian:2" CPU=cpu_ms:median spin=spin_ms:median:2
tests/bench/table "$out" "counts; KiB" \
	runs=runs:median port=port_exits:median MMIO=mmio_exits:median other=other_exits:median \
	exits=exits:median emulated=emulated:median "guest pf=guest_faults:median" \
	faults=minor_faults:median "max RSS=max_rss_kib:median"
cat <<'EOF'

x: how many times vmm's. runs: calls of KVM_RUN; port, MMIO, other: what they
returned for. exits, emulated (instructions), guest pf (page faults): KVM's own
counters. faults, max RSS: as wait4 tells, guest memory included.
EOF
echo "Every sample: $BENCH/startup.tsv, $BENCH/hello.tsv"
exit $status
