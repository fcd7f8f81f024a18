# A page of "make bench": sockets between guest and host, vmm beside QEMU, in one run in
# the lab, whose clock counts instructions. See tests/bench/run.
# shellcheck shell=bash
set -euo pipefail

rounds=${N:-5}
out=$BENCH/vsock.tsv

# In the lab: boots them all, then measures them in turn. Prints samples.
measure() {
	. tests/lab/guest.sh
	local agent=$BUILD/lab/vsock-agent cloud image name result
	cloud=$(kernel cloud)
	image=$(initrd vsock 'exec /vsock serve')
	local -A cid=([QEMU]=43 [vmm]=42) pid
	local common=(-kernel "$cloud/vmlinuz" -initrd "$image" -append "console=ttyS0 quiet panic=-1")
	qemu-system-x86_64 -M microvm,pcie=on,rtc=on,acpi=on -accel kvm -cpu host -m 192 -nodefaults \
		-no-user-config -display none -serial "file:$dir/QEMU.out" \
		-device vhost-vsock-pci,guest-cid=43 "${common[@]}" 2>"$dir/QEMU.err" >&2 </dev/null &
	pid[QEMU]=$!
	"$VMM" run -m 192 --vsock 42 -i "$image" -p quiet "$cloud/vmlinuz" \
		>"$dir/vmm.out" 2>"$dir/vmm.err" </dev/null &
	pid[vmm]=$!
	for name in QEMU vmm; do
		until grep -q 'vsock: serving' "$dir/$name.out" 2>/dev/null; do
			kill -0 "${pid[$name]}" || { cat "$dir/$name".*; return 1; } >&2
			sleep 0.2
		done
	done
	value() { "$agent" "$1" "${cid[$name]}" "$2" | sed 's/[^:]*: \([0-9.]*\).*/\1/'; }
	printf 'round\tprogram\terror\techo_us\tshort_us\tsend\trecv\n'
	for ((round = 1; round <= rounds; round++)); do
		for name in QEMU vmm; do
			result=$(value echo 200) && result+=$'\t'$(value short 50) &&
				result+=$'\t'$(value send 8) && result+=$'\t'$(value recv 8)
			printf '%d\t%s\t\t%s\n' "$round" "$name" "$result"
		done
	done
	kill "${pid[@]}"
}
if [ "${1-}" = measure ]; then
	measure
	exit
fi

echo
echo "vsock by the host's vhost-vsock, in the lab; $rounds rounds in turn."
tests/lab/run --icount --timeout 280 -- bash tests/bench/page_vsock.sh measure >"$out"
tests/bench/table "$out" "to a guest with Debian's kernel" \
	"echo, us=echo_us:median" "x paired=echo_us:xpaired:2" \
	"short, us=short_us:median" "x paired=short_us:xpaired:2" \
	send=send:median:1 "x paired=send:xpaired:2" recv=recv:median:1 "x paired=recv:xpaired:2"
cat <<'EOF'

echo: 64 bytes to the guest and back. short: connect, 4 bytes to and fro, close. send,
recv: MiB/s to and from the guest, 64 KiB at a time, checked at both ends. x: how many
times QEMU's. The clock counts instructions of the emulated host, one processor for the
guest, its VMM and the host's kernel: compare these numbers with each other only.
EOF
echo "Every sample: $out"
