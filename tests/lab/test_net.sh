#!/usr/bin/env bash
# Debian's network driver over a tap, in a network namespace of the test's own.
set -euo pipefail
[ "${NETNS-}" = own ] || NETNS=own exec unshare -n bash "$0"
. tests/lab/guest.sh
cloud=$(kernel cloud)
head -c 8M /dev/urandom >"$dir/data"
# nc ends when either side does, so the side that listens needs a stdin that does not end.
mkfifo "$dir/open" "$dir/keys"
exec 8<>"$dir/open" 7<>"$dir/keys"
sum=$(sha256sum <"$dir/data" | cut -d' ' -f1)

job='ip addr add 10.0.2.2/24 dev eth0; ip link set eth0 up
echo "address $(cat /sys/class/net/eth0/address) features $(cat /sys/class/net/eth0/device/features)"
until ping -c 1 -W 1 10.0.2.1 >/dev/null; do sleep 1; done; ping -c 3 -s 4000 10.0.2.1
mkfifo /tmp/open; exec 3<>/tmp/open; nc 10.0.2.1 5000 <&3 >/tmp/data; sha256sum /tmp/data; nc 10.0.2.1 5001 </tmp/data; read -r _'

# streams NET-OPTIONS OPTION...: boots, with the console in $dir/out.
streams() {
	local options=$1 pid status=0 got
	shift
	timeout 300 busybox nc -l -p 5000 <"$dir/data" >/dev/null &
	timeout 300 busybox nc -l -p 5001 <&8 >"$dir/back" &
	got=$!
	"$vmm" run --timeout 300 -m 256 -p quiet -i "$(initrd drivers "$job")" "$@" \
		--net "tap-name=vmtap,mac=02:00:00:00:00:42,$options" "$cloud/vmlinuz" \
		>"$dir/out" 2>"$dir/err" <&7 &
	pid=$!
	until busybox ip link show vmtap >/dev/null 2>&1 || ! kill -0 $pid; do sleep 0.2; done
	busybox ip addr add 10.0.2.1/24 dev vmtap && busybox ip link set vmtap up
	# Before the guest goes on, and the tap away.
	wait $got
	pgrep '^vhost-' >"$dir/vhost"
	echo >&7
	wait $pid || status=$?
	[ $status = 0 ] && said 'GUEST-EXIT 0' && return
	tail "$dir/out" "$dir/err"
	return 1
}

pings() { said '3 packets transmitted, 3 packets received'; }
streamed() { said "$sum" && [ "$(sha256sum <"$dir/back" | cut -d' ' -f1)" = "$sum" ]; }
# Checksums and segmentation both ways, merged buffers: bits 0, 1, 7, 8, 11, 12, 15.
features() { grep -E 'address 02:00:00:00:00:42 features 11...1.11..11..1' "$dir/out"; }

for vhost in off on; do
	[ $vhost = off ] || modprobe vhost_net
	check "vhost-net=$vhost: a guest boots with a network" streams vhost-net=$vhost -c 2
	check "vhost-net=$vhost: ping" pings
	check "vhost-net=$vhost: a TCP stream each way, byte for byte" streamed
	check "vhost-net=$vhost: offloads are agreed on" features
done
check 'the kernel moves the packets, with vhost-net=on' test -s "$dir/vhost"
check 'without MSI-X (pci=nomsi), vhost-net=off' streams vhost-net=off -p pci=nomsi
check 'without MSI-X, a TCP stream each way' streamed
check 'without MSI-X (pci=nomsi), vhost-net=on' streams vhost-net=on -p pci=nomsi
check 'without MSI-X, a TCP stream each way, vhost-net=on' streamed
t_done
