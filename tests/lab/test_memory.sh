#!/usr/bin/env bash
# Debian's balloon driver: the host's memory really falls and rises.
set -euo pipefail
. tests/lab/guest.sh
cloud=$(kernel cloud)
# A key on the console leads the guest from one step to the next.
common='step() { echo "STEP $1"; read -r _; }
fill() { dd if=/dev/zero of=/mnt/file bs=1M count=$1 2>/dev/null && echo "filled $(stat -c %s /mnt/file)"; }
mkdir /mnt; mount -t tmpfs -o size=100% none /mnt
'

# start JOB [OPTION]...: boots in the background, with keys on descriptor 7.
start() {
	local initrd
	initrd=$(initrd drivers "$common$1")
	shift
	rm -f "$dir/out" "$dir/keys"
	mkfifo "$dir/keys"
	"$vmm" run --timeout 300 -m 256 -p quiet -i "$initrd" "$@" "$cloud/vmlinuz" \
		<"$dir/keys" >"$dir/out" 2>"$dir/err" &
	pid=$!
	exec 7>"$dir/keys"
}

resident() { local vm pages; vm=$(pgrep -P "$pid" -x vmm) && read -r _ pages _ <"/proc/$vm/statm" && echo $((pages / 256)); }

# at STEP: waits for it, sets $now to the VM's MiB, and lets the guest go on.
at() {
	local turns=1500
	until grep -qs "STEP $1" "$dir/out"; do
		[ $turns -gt 0 ] && kill -0 $pid || { echo "the guest does not come to '$1'"; tail "$dir/out" "$dir/err"; return 1; }
		turns=$((turns - 1))
		sleep 0.2
	done
	now=$(resident)
	echo "$1: $now MiB"
	echo >&7
}

ended() {
	local status=0
	wait $pid || status=$?
	exec 7>&-
	[ $status = 0 ] && said 'GUEST-EXIT 0' && return
	tail "$dir/out" "$dir/err"
	return 1
}

# The driver inflates by 128 of 256 MiB as it comes. Then 150 MiB do not fit, unless the
# balloon gives way to them.
balloon() {
	local full inflated
	start 'rmmod virtio_balloon; fill 150 && rm /mnt/file && step full
		insmod /lib/modules/virtio_balloon.ko
		until [ "$(sed -n "s/^balloon_inflate //p" /proc/vmstat)" -ge 32768 ]; do sleep 1; done; step inflated
		fill 150 && step deflated' --init-mem 128
	at full && full=$now && at inflated && inflated=$now && at deflated && ended || return
	[ $((full - inflated)) -ge 50 ] && [ $((now - inflated)) -ge 50 ]
}

# Free pages are reported in pieces of at least 2 MiB, some seconds after they are free.
reporting() {
	local full turns=300
	start 'fill 150 && step full && rm /mnt/file && step free' --balloon-page-reporting
	at full && full=$now || return
	until [ $((full - $(resident))) -ge 100 ]; do
		[ $turns -gt 0 ] || { echo "at the end $(resident) MiB"; return 1; }
		turns=$((turns - 1))
		sleep 0.2
	done
	at free && ended
}

check 'the balloon inflates, and deflates when the guest has no memory left' balloon
check 'what the guest frees is given back to the host' reporting
t_done
