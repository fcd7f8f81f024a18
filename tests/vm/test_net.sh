#!/bin/bash
# The network: a guest that answers pings over a tap, in a network of the test's own.
if [ "${NETNS-}" != own ]; then
	own=(unshare -n)
	[ "$(id -u)" = 0 ] || own=(unshare -rn)
	"${own[@]}" test -w /dev/net/tun 2>/dev/null && NETNS=own exec "${own[@]}" bash "$0"
fi
# shellcheck source=tests/vm/vm.sh
. "$(dirname "$0")/vm.sh"

hello=$GUESTS/hello.elf

# with_tap NAME FLAGS COMMAND...: runs it with a tap as descriptor 3.
with_tap() {
	perl -MPOSIX -e '$^F = 99; my ($name, $flags) = splice @ARGV, 0, 2;
		open T, "+<", "/dev/net/tun" and
		ioctl T, 0x400454ca, pack "a16 S x22", $name, oct $flags or die "$name: $!";
		POSIX::dup2(fileno T, 3); exec @ARGV' -- "$@"
}

# pinged SIZE: both ways, while the guest of $pid runs.
pinged() {
	local turns=200
	until busybox ip link show vmtap >/dev/null 2>&1; do
		[ $turns -gt 0 ] || { echo "there is no tap" && cat "$dir/err" && return 1; }
		turns=$((turns - 1))
		sleep 0.05
	done
	busybox ip addr add 10.0.2.1/24 dev vmtap && busybox ip link set vmtap up &&
		busybox ping -c 3 -W 10 -s "$1" 10.0.2.2
}

answers() { # SIZE COMMAND...
	local size=$1 status=0
	shift
	"$@" >"$dir/out" 2>"$dir/err" </dev/null &
	pid=$!
	pinged "$size" || { cat "$dir/out" "$dir/err" && kill $pid && return 1; }
	wait $pid || status=$?
	[ $status = 64 ] && says '^PASS answers' && ! grep '^FAIL' "$dir/out"
}

run() { echo "$VMM" run --timeout 30 --debug-exit "$@" "$GUESTS/net.elf"; }

by_name() { # IRQ SIZE
	# shellcheck disable=SC2046 # words
	answers "$2" $(run -p pings=3 -p "irq=$1" --net tap-name=vmtap,mac=02:03:04:05:06:aB) &&
		says '^address 02:03:04:05:06:ab$'
}

by_descriptor() {
	# shellcheck disable=SC2046 # words
	answers 100 with_tap vmtap 0x5002 $(run -p pings=3 --net "tap-fd=$1")
}

refused() { # STATUS PATTERN ARGUMENT...
	local status=$1 pattern=$2
	shift 2
	vm "$status" "$@" "$hello" && says "$pattern" "$dir/err"
}

wrong_tap() { # FLAGS
	local status=0
	with_tap vmtap "$1" "$VMM" run --net tap-fd=3 "$hello" >"$dir/out" 2>"$dir/err" || status=$?
	[ $status = 1 ] && says 'must have IFF_TAP, IFF_NO_PI and IFF_VNET_HDR' "$dir/err"
}

taken() {
	in_background --debug-exit -p end=spin --net tap-name=vmtap "$hello" &&
		refused 1 'tap vmtap: Device or resource busy' --net tap-name=vmtap
	set -- $?
	kill "$pid" && wait "$pid"
	return "$1"
}

# Both have a place after the balloon, in the order of the options.
slots() {
	guest pci --net tap-name=vmtap0 --net tap-name=vmtap1 || return
	[ "$(sed -n 's/^pci 00:\(..\)\.0 \(....:....\) .*/\1=\2/p' "$dir/out" | xargs)" = \
		'00=8086:1237 01=1af4:1044 02=1af4:1045 03=1af4:1041 04=1af4:1041 05=1b36:0011' ] && return
	grep '^pci' "$dir/out"
	return 1
}

exec 9<>/dev/null
attacked() {
	local status=0
	"$VMM" run --timeout 90 --debug-exit -c 2 --net tap-name=vmtap -p dev=net \
		"$GUESTS/hostile.elf" >"$dir/out" 2>"$dir/err" </dev/null || status=$?
	[ $status = 64 ] && ! grep -a '^FAIL' "$dir/out" && says '^PASS attacks made'
}

check 'neither name nor descriptor' refused 35 'needs tap-fd or tap-name' --net mac=02:00:00:00:00:01
check 'both name and descriptor' refused 35 'needs tap-fd or tap-name' --net tap-fd=3,tap-name=vmtap
check 'an address that is none' refused 35 'mac: "02:00" is not like' --net tap-name=vmtap,mac=02:00
check 'a descriptor that is no tap' refused 1 'tap /proc/self/fd/9: is not a tap' --net tap-fd=9
if [ -e /dev/vhost-net ]; then
	t_skip 'vhost-net where there is none' 'this host has it'
else
	check 'vhost-net where there is none' refused 1 '/dev/vhost-net' --net tap-name=vmtap,vhost-net=on
fi
if [ "${NETNS-}" = own ]; then
	for irq in poll intx msix; do
		check "ping, irq=$irq" by_name $irq 56
	done
	check 'ping with full frames' by_name msix 1472
	check 'ping over an inherited tap' by_descriptor 3
	check 'ping over an inherited tap, by its path' by_descriptor /proc/self/fd/3
	check 'a tap without headers' wrong_tap 0x1002
	check 'a tun' wrong_tap 0x5001
	check 'a tap that is in use' taken
	check 'an interface that is no tap' refused 1 'tap lo: is another kind of interface' --net tap-name=lo
	check 'interfaces take PCI slots in order' slots
	check 'a guest attacks' attacked
else
	t_skip 'ping' 'needs /dev/net/tun and a network namespace'
fi
t_done
