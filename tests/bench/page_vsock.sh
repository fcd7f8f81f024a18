# A page of "make bench": sockets between guest and host, vmm beside QEMU, in the lab.
# See tests/bench/run.
# shellcheck shell=bash
set -euo pipefail

rounds=${N:-6}
out=$BENCH/vsock.tsv

# In the lab: boots them all, then measures them in turn. Prints samples.
measure() {
	. tests/lab/guest.sh
	local agent=$BUILD/lab/vsock-agent cloud image name order result
	cloud=$(kernel cloud)
	image=$(initrd vsock 'exec /vsock serve')
	local -A cid=([QEMU]=43 [vmm]=42 [unix]=44) pid
	local common=(-kernel "$cloud/vmlinuz" -initrd "$image" -append "console=ttyS0 quiet panic=-1")
	qemu-system-x86_64 -M microvm,pcie=on,rtc=on,acpi=on -accel kvm -cpu host -m 192 -nodefaults \
		-no-user-config -display none -serial "file:$dir/QEMU.out" \
		-device vhost-vsock-pci,guest-cid=43 "${common[@]}" 2>"$dir/QEMU.err" >&2 </dev/null &
	pid[QEMU]=$!
	"$VMM" run -m 192 --vsock 42 -i "$image" -p quiet "$cloud/vmlinuz" \
		>"$dir/vmm.out" 2>"$dir/vmm.err" </dev/null &
	pid[vmm]=$!
	"$VMM" run -m 192 --vsock "44,backend=unix,path=$dir/sock" -i "$image" -p quiet \
		"$cloud/vmlinuz" >"$dir/unix.out" 2>"$dir/unix.err" </dev/null &
	pid[unix]=$!
	for name in QEMU vmm unix; do
		until grep -q 'vsock: serving' "$dir/$name.out" 2>/dev/null; do
			kill -0 "${pid[$name]}" || { cat "$dir/$name".*; return 1; } >&2
			sleep 0.2
		done
	done
	value() {
		[ "$name" != unix ] || export VSOCK_UNIX=$dir/sock
		[ "$name" = unix ] || unset VSOCK_UNIX
		"$agent" "$1" "${cid[$name]}" "$2" | sed 's/[^:]*: \([0-9.]*\).*/\1/'
	}
	printf 'round\tprogram\terror\techo_us\tshort_us\tsend\trecv\n'
	for ((round = 1; round <= rounds; round++)); do
		[ $((round % 2)) = 0 ] && order=(unix vmm QEMU) || order=(QEMU vmm unix)
		for name in "${order[@]}"; do
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
echo "vsock by the host's vhost-vsock, and by backend=unix, in the lab; $rounds rounds in turn."
tests/lab/run --timeout 280 -- bash tests/bench/page_vsock.sh measure >"$out"
tests/bench/table "$out" "to a guest with Debian's kernel" \
	echo=echo_us:median x=echo_us:xpaired:2 short=short_us:median x=short_us:xpaired:2 \
	send=send:median:1 x=send:xpaired:2 recv=recv:median:1 x=recv:xpaired:2
cat <<'EOF'

echo: us for 64 bytes to the guest and back. short: us to connect, send 4 bytes to and
fro, and close. send, recv: MiB/s to and from the guest, 64 KiB at a time, checked at both
ends. vmm: by vhost, as QEMU's. x: how many times QEMU's, the median of the rounds' ratios.
One emulated processor serves all guests, their VMMs and the host's kernel, and its speed
varies.
EOF
echo "Every sample: $out"
