#!/usr/bin/env bash
# What developers of kernels need, with Debian's own: a crash dump of a panic, and gdb on
# a running guest. (Breakpoints are shown in the vm tier: this lab's CPU reports none.)
# shellcheck disable=SC2016 # variables of gdb
set -euo pipefail
. tests/lab/guest.sh
cloud=$(kernel cloud)
version=$(cat "$cloud/version")

panics() {
	boot 34 -m 256 -c 2 -i "$(initrd drivers 'echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger; sleep 60')" \
		--dump-on-panic "$dir/core" --status-fd 9 -p quiet "$cloud/vmlinuz" 9>"$dir/status" &&
		grep -q '"reason": *"panic"' "$dir/status"
}
check 'echo c >/proc/sysrq-trigger gives 34, and says so' panics

readable() {
	readelf -hlnW "$dir/core" >"$dir/elf" 2>&1 && ! grep -iE 'warning|error' "$dir/elf" &&
		[ "$(grep -c NT_PRSTATUS "$dir/elf")" = 2 ] && grep -q VMCOREINFO "$dir/elf"
}
check 'readelf accepts the core' readable

tells() {
	head -c 8192 "$dir/core" | grep -aq "OSRELEASE=$version" && grep -aq "Linux version $version (" "$dir/core" &&
		grep -aq 'sysrq: Trigger a crash' "$dir/core"
}
check 'it holds VMCOREINFO, the kernel'"'"'s banner and its log' tells
check 'crash reads it' sh -c '[ "$(crash --osrelease "$0")" = "$1" ]' "$dir/core" "$version"

# banner: the address of linux_banner, from where it is in the kernel's ELF file.
banner() {
	local at type off vaddr size _
	at=$(grep -abom1 "Linux version $version (" "$cloud/vmlinux" | cut -d: -f1)
	readelf -lW "$cloud/vmlinux" | while read -r type off vaddr _ size _; do
		[ "$type" != LOAD ] || ((at < off || at >= off + size)) || printf '0x%x\n' $((vaddr + at - off))
	done
}

busy='(while :; do :; done) & echo BUSY; while :; do :; done'
attaches() {
	local vmm_pid gdb_pid turns=1200 at
	at=$(banner)
	"$vmm" run --timeout 300 --gdb "$dir/gdb.sock" -m 256 -c 2 -i "$(initrd cloud "$busy")" \
		-p 'quiet nokaslr nopti' "$cloud/vmlinuz" >"$dir/out" 2>"$dir/err" </dev/null &
	vmm_pid=$!
	until grep -q 'waits for a debugger' "$dir/err"; do sleep 0.1; done
	HOME=$dir gdb -nx -q --batch -ex 'set pagination off' -ex 'set remotetimeout 60' \
		-ex "target remote $dir/gdb.sock" -ex continue -ex "x/s $at" -ex 'info threads' \
		-ex 'set $before = $rip' -ex stepi -ex 'p $rip != $before' -ex 'info registers rip cr3' \
		-ex 'thread 2' -ex 'p $cs & 0xff' -ex 'kill' >"$dir/gdb" 2>&1 </dev/null &
	gdb_pid=$!
	until grep -q '^BUSY' "$dir/out" || [ $turns = 0 ]; do
		turns=$((turns - 1))
		sleep 0.1
	done
	kill -INT $gdb_pid
	wait $gdb_pid
	wait $vmm_pid || { echo "exit status $?" && cat "$dir/err" "$dir/gdb"; return 1; }
	grep -q 'received signal SIGINT' "$dir/gdb" && grep -q "\"Linux version $version (" "$dir/gdb" &&
		grep -q 'Thread 2 (vCPU 1)' "$dir/gdb" && grep -q '^\$1 = 1$' "$dir/gdb" && return
	cat "$dir/gdb" "$dir/err"
	return 1
}
check 'gdb attaches, interrupts, reads the banner and steps' attaches
t_done
