#!/bin/bash
# Crash dumps of a guest that panics, as readelf and gdb see them.
# shellcheck source=tests/vm/vm.sh
. "$(dirname "$0")/vm.sh"

hello=$GUESTS/hello.elf
core=$dir/core

elf() { # its headers go to $dir/elf
	readelf -hlnW "$1" >"$dir/elf" 2>"$dir/elf.err" && [ ! -s "$dir/elf.err" ] && return
	echo 'readelf complains:' && cat "$dir/elf.err" && return 1
}

dumps() {
	vm 34 -m 256 -c 2 --dump-on-panic "$core" -p 'event=1 end=cf9' "$hello" &&
		says "crash dump written to $core" "$dir/err" && elf "$core" &&
		says 'CORE \(Core file\)' "$dir/elf" && says 'X86-64' "$dir/elf" &&
		says 'LOAD +0x[0-9a-f]+ 0x0+ 0x0+ 0x0*10000000 0x0*10000000' "$dir/elf" &&
		[ "$(grep -c NT_PRSTATUS "$dir/elf")" = 2 ] && grep -q 'event=1 end=cf9' "$core"
}

no_more_than_was_touched() {
	[ "$(stat -c %a "$core")" = 600 ] && [ "$(du -m "$core" | cut -f1)" -lt 64 ] && return
	stat "$core"
	return 1
}

# The guest's addresses are physical ones.
opens_in_gdb() {
	HOME=$dir timeout 60 gdb -nx -q --batch -ex 'info threads' -ex 'info registers rip' -ex 'bt' \
		-ex 'p boot.cmdline' "$hello" "$core" >"$dir/gdb" 2>&1 </dev/null
	says '^\* 1 .* guest_main|^\* 1 .* in ' "$dir/gdb" && says '^  2 ' "$dir/gdb" &&
		says '^rip .*0x10[0-9a-f]+ ' "$dir/gdb" && says '^#[0-9]+ .*guest_main' "$dir/gdb" &&
		says 'event=1 end=cf9' "$dir/gdb"
}

two_ranges() {
	vm 34 -m 4096 --dump-on-panic "$core" -p 'event=1 end=cf9' "$hello" && elf "$core" &&
		says 'LOAD .* 0x0*100000000 0x0*100000000 ' "$dir/elf" &&
		[ "$(du -m "$core" | cut -f1)" -lt 64 ]
}

to_descriptors() {
	vm 34 -m 64 --dump-on-panic /proc/self/fd/9 -p 'event=1 end=cf9' "$hello" 9>"$dir/file" &&
		elf "$dir/file" || return
	mkfifo "$dir/fifo"
	cat "$dir/fifo" >"$dir/piped" &
	vm 34 -m 64 --dump-on-panic "$dir/fifo" -p 'event=1 end=cf9' "$hello" || return
	wait $!
	elf "$dir/piped" && [ "$(stat -c %s "$dir/piped")" = "$(stat -c %s "$dir/file")" ]
}

empty_without_panic() {
	echo junk >"$dir/none"
	vm 0 --dump-on-panic "$dir/none" -p end=poweroff "$hello" && [ -f "$dir/none" ] && [ ! -s "$dir/none" ]
}

errors() {
	vm 1 --dump-on-panic "$dir/no/such" "$hello" &&
		says "crash dump $dir/no/such: No such file" "$dir/err" &&
		vm 34 --dump-on-panic /dev/full -p 'event=1 end=cf9' "$hello" &&
		says '/dev/full: crash dump: No space left on device' "$dir/err"
}

# Nobody reads, and the user does not want to wait.
given_up() {
	local got=0
	mkfifo "$dir/stuck"
	in_background -m 64 --dump-on-panic "$dir/stuck" -p 'event=1 end=cf9' "$hello" || return
	sleep 0.5
	kill -TERM "$pid"
	ended "$pid" 5 && wait "$pid" || got=$?
	[ $got = 34 ] && says 'crash dump: given up' "$dir/err"
}

# Of a guest that goes on.
by_command() {
	in_background -m 128 -c 2 --socket "$dir/vm.sock" -p end=spin "$hello" || return
	touch "$dir/asked" && chmod 644 "$dir/asked"
	"$VMM" dump "$dir/asked" "$dir/vm.sock" && elf "$dir/asked" && grep -q end=spin "$dir/asked" &&
		[ "$(stat -c %a "$dir/asked")" = 600 ] &&
		"$VMM" dump /proc/self/fd/1 "$dir/vm.sock" | cat >"$dir/piped" && elf "$dir/piped" &&
		[ "$(stat -c %s "$dir/piped")" = "$(stat -c %s "$dir/asked")" ] || return
	"$VMM" dump /dev/full "$dir/vm.sock" 2>"$dir/full" && return 1
	says 'crash dump: No space left on device' "$dir/full" || return
	"$VMM" dump "$dir/no/such" "$dir/vm.sock" 2>"$dir/full" && return 1
	says 'no/such: No such file' "$dir/full" || return
	"$VMM" dump "$dir/vm.sock" 2>"$dir/full"
	[ $? = 35 ] && says 'Usage: vmm dump FILE SOCKET' "$dir/full" || return
	tests/vm/packets "$dir/vm.sock" ask '"Dump"' >"$dir/full" && says 'a dump needs a descriptor' "$dir/full" &&
		"$VMM" stop "$dir/vm.sock" && wait "$pid"
}

# A note such as Linux keeps, at the start of a page: here that is the initrd's.
vmcoreinfo() {
	printf '\013\0\0\0\033\0\0\0\0\0\0\0VMCOREINFO\0\0OSRELEASE=6.6.6\nPAGESIZE=\n\n' >"$dir/note"
	vm 34 -m 64 -i "$dir/note" --dump-on-panic "$core" -p 'event=1 end=cf9' "$hello" && elf "$core" &&
		says '^ +VMCOREINFO +0x0000001b' "$dir/elf" && [ "$(crash --osrelease "$core")" = 6.6.6 ]
}

check 'a panic gives 34 and a core that readelf accepts' dumps
check 'it is its owner'"'"'s, and has holes' no_more_than_was_touched
check 'gdb finds registers, stack and variables in it' opens_in_gdb
check 'memory on both sides of the hole' two_ranges
check 'to descriptors and pipes' to_descriptors
check 'the file is empty when there was no panic' empty_without_panic
check 'what cannot be opened or written is an error' errors
check 'a dump that nobody reads ends by a signal' given_up
check 'a Linux kernel'"'"'s VMCOREINFO is found, and crash reads it' vmcoreinfo
check 'vmm dump writes one at any time' by_command
t_done
