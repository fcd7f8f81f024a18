#!/usr/bin/env bash
# The control socket and Debian's kernel: it survives being suspended, its clock right; it
# sees its disk grow, gives memory up, and shuts down by its power button.
set -euo pipefail
. tests/lab/guest.sh
cloud=$(kernel cloud)
sock=$dir/sock

# The date and the size of the disk every second; then, from the power button, a struct
# input_event's type (EV_KEY), code (KEY_POWER) and value (pressed).
job='(while :; do echo "at $(date +%s) size $(cat /sys/block/vda/size)"; sleep 1; done) &
cat /sys/class/input/event0/device/name
dmesg -c >/dev/null
echo READY
echo "event $(dd if=/dev/input/event0 bs=24 count=1 2>/dev/null | tail -c 8 | xxd -p)"
dmesg | grep -iE "lockup|stall|blocked for|unstable" || echo "no complaints"'

ended() {
	local status=0
	wait $pid || status=$?
	[ $status = 0 ] && return
	echo "exit status $status"
	tail "$dir/out" "$dir/err"
	return 1
}

# until TEXT: waits for the guest to say it.
until_said() {
	local turns=1500
	until grep -qs -- "$1" "$dir/out"; do
		[ $turns -gt 0 ] && kill -0 $pid || { echo "the guest does not say '$1'"; tail "$dir/out" "$dir/err"; return 1; }
		turns=$((turns - 1))
		sleep 0.2
	done
}

ask() { "$vmm" "$@" "$sock"; }
dates() { grep -c '^at ' "$dir/out"; }
ticks() { awk '{ print $14 + $15 }' "/proc/$(pgrep -P $pid -x vmm)/stat"; }

# The guest's next date is the host's, but for the seconds that the line may take.
right_date() {
	local before turns=200 now
	before=$(dates)
	until [ "$(dates)" -gt "$before" ]; do
		[ $turns -gt 0 ] || { echo 'no date comes'; return 1; }
		turns=$((turns - 1))
		sleep 0.2
	done
	now=$(sed -n 's/^at \([0-9]*\) .*/\1/p' "$dir/out" | tail -n 1)
	now=$(($(date +%s) - now))
	[ $now -ge -2 ] && [ $now -le 4 ] && return
	echo "the guest's clock is $now s behind"
	return 1
}

boots() {
	truncate -s 8M "$dir/disk"
	"$vmm" run --timeout 600 -m 256 -c 2 -p quiet -i "$(initrd drivers "$job")" -s "$sock" \
		--block "$dir/disk" "$cloud/vmlinuz" </dev/null >"$dir/out" 2>"$dir/err" &
	pid=$!
	until_said READY && until_said 'Power Button' && right_date
}

# suspended SECONDS [--full]
suspended() {
	local seconds=$1 before used
	shift
	ask suspend "$@" || return
	sleep 0.5 # the console writes out what it holds
	before=$(dates) used=$(ticks)
	sleep "$seconds"
	[ "$(dates)" = "$before" ] || { echo 'it goes on'; return 1; }
	[ "$(ticks)" = "$used" ] || { echo "$(($(ticks) - used)) ticks of processor time"; return 1; }
	ask resume "$@" && right_date
}

grows() { ask disk resize 0 0x1000000 && until_said 'size 32768'; }

# balloon_at BYTES: however long the emulated guest takes.
balloon_at() {
	local turns=60
	until ask balloon --wait "$1"; do
		[ $turns -gt 0 ] || return
		turns=$((turns - 1))
		sleep 1
	done
	ask status >"$dir/status" && grep "^balloon_bytes: $1\$" "$dir/status"
}

balloon() {
	balloon_at 67108864 || return
	ask balloon_stats >"$dir/stats" && cat "$dir/stats" &&
		[ "$(sed -n 's/^total_memory: //p' "$dir/stats")" -gt $((100 << 20)) ] &&
		[ "$(sed -n 's/^free_memory: //p' "$dir/stats")" -gt 0 ] &&
		balloon_at 0
}

button() { ask powerbtn && ended && said 'event 0100740001000000' && said 'GUEST-EXIT 0'; }
quiet() { said 'no complaints'; }

# Not in a subshell, as check would: the guest is ours to wait for.
step() {
	local name=$1
	shift
	if "$@" >"$dir/step" 2>&1; then t_ok "$name"; else t_fail "$name" "$(cat "$dir/step")"; fi
}
pid=0
step 'a guest boots' boots
# Longer than Linux takes to call it a lockup.
step 'suspended, it uses no processor time, and its clock survives' suspended 25
step 'the same with its devices' suspended 5 --full
step 'its disk grows while it runs' grows
step 'it gives memory up, tells of it, and takes it back' balloon
step 'its power button shuts it down' button
step 'its kernel has not complained' quiet
t_done
