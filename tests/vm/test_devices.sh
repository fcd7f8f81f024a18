#!/bin/bash
# PCI, UARTs, consoles, random numbers: guests that test them, and where bytes go.
# shellcheck source=tests/vm/vm.sh
. "$(dirname "$0")/vm.sh"

hello=$GUESTS/hello.elf

pci() {
	truncate -s 1M "$dir/disk"
	guest pci --block "$dir/disk"
}

# Consoles, disks, rng, balloon: guests rely on it.
slots() {
	truncate -s 1M "$dir/disk" "$dir/other"
	guest pci --block "$dir/disk" --block "$dir/other" --serial type=stdout \
		--serial type=sink,hardware=virtio-console --rng --watchdog || return
	sed -n 's/^pci 00:\(..\)\.0 \(....:....\) .*/\1=\2/p' "$dir/out" | xargs |
		grep -qx '00=8086:1237 01=1af4:1043 02=1af4:1042 03=1af4:1042 04=1af4:1044 05=1af4:1045 06=1b36:0011 07=8086:25ab' &&
		return
	grep '^pci' "$dir/out"
	return 1
}

# A disk for each slot that host bridge, random numbers, balloon and pvpanic leave; not
# one more.
all_slots() {
	local i disks=()
	for ((i = 0; i < 28; i++)); do
		truncate -s 1M "$dir/disk$i"
		disks+=(--block "$dir/disk$i")
	done
	guest pci "${disks[@]}" && says '^pci 00:1e\.0 1af4:1045' && says '^pci 00:1f\.0 1b36:0011' || return
	vm 1 "${disks[@]}" --block "$dir/disk" "$hello" && says slot "$dir/err"
}

# INTx of slot s is wired to pin 16 + s % 8.
routing() {
	guest pci || return
	sed -n 's/^pci 00:\(..\).* gsi \([0-9]*\)$/\1 \2/p' "$dir/out" |
		while read -r slot gsi; do
			[ "$gsi" = $((16 + 0x$slot % 8)) ] || { echo "slot $slot: $gsi" && exit 1; }
		done
}

no_rng() {
	vm 65 --debug-exit --no-rng "$GUESTS/rng.elf" && says '^FAIL open: there is no such'
}

no_balloon() {
	vm 65 --debug-exit --no-balloon "$GUESTS/balloon.elf" && says '^FAIL open: there is no such'
}

# The second UART, which nothing prints on but the guest's string output.
uart2() {
	guest uart --serial type=stdout --serial "type=file,num=2,path=$dir/com2" \
		-p 'port=0x2f8 gsi=3' && says '^string output$' "$dir/com2"
}

uart_absent() {
	guest uart -p 'port=0x3e8 gsi=4'
}

to_file() {
	local i
	rm -f "$dir/log"
	for i in 1 2; do
		vm 64 --debug-exit --serial "type=file,path=$dir/log,console=true" -p "n=$i" \
			"$hello" || return
	done
	[ ! -s "$dir/out" ] && says '^hello:.*n=1' "$dir/log" && says '^hello:.*n=2' "$dir/log"
}

to_descriptor() {
	rm -f "$dir/log"
	exec 8>"$dir/log"
	vm 64 --debug-exit --serial type=file,path=/proc/self/fd/8 "$hello" &&
		says '^hello' "$dir/log"
}

to_sink() {
	vm 64 --debug-exit --serial type=sink "$hello" && [ ! -s "$dir/out" ]
}

from_file() {
	printf 'abc defq' >"$dir/in"
	vm 64 --debug-exit --serial "type=stdout,input=$dir/in,console=true" -p end=echo \
		"$hello" && says '^abc def'
}

from_stdin() {
	printf 'some wordsq' | vm 64 --debug-exit -p end=echo "$hello" && says '^some words'
}

# More input than the FIFO holds must not be lost.
much_input() {
	seq 100 | tr '\n' ' ' >"$dir/in"
	echo q >>"$dir/in"
	vm 64 --debug-exit --serial "type=stdout,input=$dir/in" -p end=echo "$hello" &&
		says "^$(seq 100 | tr '\n' ' ')"
}

console() { # WORDS
	printf 'a line from outside\n' >"$dir/in"
	rm -f "$dir/hvc"
	guest con --serial type=stdout -p "read=1 $1" --serial \
		"type=file,hardware=virtio-console,path=$dir/hvc,input=$dir/in" &&
		says '^got a line from outside$' && says '^got a line from outside$' "$dir/hvc" &&
		says '^hello from the console guest$' "$dir/hvc"
}

two_consoles() {
	rm -f "$dir/hvc0" "$dir/hvc1"
	guest con --serial type=stdout -p 'console=1 lines=100' \
		--serial "type=file,hardware=virtio-console,num=1,path=$dir/hvc0" \
		--serial "type=file,hardware=virtio-console,num=2,path=$dir/hvc1" || return
	[ ! -s "$dir/hvc0" ] &&
		[ "$(grep -c '^hello from the console guest$' "$dir/hvc1")" = 100 ]
}

words() { # PATTERN SERIAL...
	local pattern=$1
	shift
	vm 64 --debug-exit "$@" "$hello" && says "$pattern"
}

check 'PCI' pci
check 'PCI slots are in order' slots
check 'all PCI slots taken' all_slots
check 'INTx pins' routing
check 'UART' guest uart
check 'second UART, into a file' uart2
check 'UART that was not asked for' uart_absent
check 'UART into a file, appended' to_file
check 'UART into a descriptor' to_descriptor
check 'UART into a sink' to_sink
check 'UART input from a file' from_file
check 'UART input from stdin' from_stdin
check 'UART input in quantity' much_input
for irq in poll intx msix; do
	check "console, irq=$irq" console irq=$irq
done
check 'second console' two_consoles
check 'random numbers' guest rng
check 'no random numbers' no_rng
check 'no balloon' no_balloon
check 'console= for a UART' words '^hello: panic=-1 console=ttyS0$'
check 'console= for a virtio console' words '^hello: panic=-1 console=hvc0$' \
	--serial type=stdout --serial type=sink,hardware=virtio-console,console=true
check 'earlycon=' words '^hello: .*earlycon=uart8250,io,0x3f8' \
	--serial type=stdout,earlycon=true,console=true
t_done
