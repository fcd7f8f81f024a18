#!/usr/bin/env bash
# How Debian's kernels end when something goes wrong, by their own drivers.
set -euo pipefail
. tests/lab/guest.sh
cloud=$(kernel cloud) standard=$(kernel standard)

# told FILTER: the status object has it.
told() {
	jq -e "$1" "$dir/status" >/dev/null && return
	cat "$dir/status"
	return 1
}

crash='echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger; sleep 60'
# panics KERNEL CMDLINE [OPTION]...
panics() {
	boot 34 --status-fd "$dir/status" -m 256 -i "$(initrd drivers "$crash")" -p "quiet $1" \
		"${@:2}" "$cloud/vmlinuz" &&
		told '.reason == "panic" and .exit_status == 34 and .requested_by == "guest" and .guest_panicked' &&
		told '.console_tail | test("Kernel panic - not syncing: sysrq triggered crash")'
}
check 'a panic gives 34, its last words, and the registers of all CPUs' panics '' -c 2
check 'of each CPU, in the kernel' told \
	'(.registers | length == 2) and (.registers | all(.rip | startswith("0xffffffff")))'
check 'a panic without a reboot gives 34, too' panics panic=0

# Fed for longer than it waits, and then no more.
watchdog() {
	boot 36 --status-fd "$dir/status" --watchdog -m 128 -p quiet -i "$(initrd standard \
		'busybox watchdog -F -T 10 -t 1 /dev/watchdog & sleep 15
		echo "still here"; kill -9 $!; sleep 100')" "$standard/vmlinuz" &&
		said 'still here' && told '.reason == "watchdog" and .exit_status == 36' &&
		told '.console_tail | test("still here")'
}
check 'a watchdog that is fed no more gives 36' watchdog
t_done
