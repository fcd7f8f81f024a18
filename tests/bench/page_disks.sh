# A page of "make bench": disk requests through the block device, raw and composite,
# beside a bare io_uring loop. See tests/bench/run.
# shellcheck shell=bash
set -euo pipefail

rounds=${N:-10}
dir=$(mktemp -d "$BENCH/disks.XXXXXX")
trap 'rm -rf "$dir"' EXIT

# Written, not only allocated: the first write of a block costs the file system more.
zeroes() { # NAME MIB
	dd if=/dev/zero of="$dir/$1" bs=1M count="$2" status=none
}
zeroes raw 256
for i in 1 2 3 4; do
	zeroes "part$i" 64
done
vmm=$(realpath "$VMM")
(cd "$dir" && "$vmm" create_composite disk p1:part1:writable p2:part2:writable p3:part3:writable \
	p4:part4:writable)
sync -f "$dir"

echo "Disks: $(df --output=fstype,source "$dir" | tail -1), Linux $(uname -r), $(nproc) CPUs, load $(cut -d' ' -f1 /proc/loadavg)"
echo "The programs take turns, $rounds rounds of 0.1 s; a file of 256 MiB, four of 64 MiB."
echo
"$BENCH/disks" -n "$rounds" "$dir/raw" "$dir/disk"
echo
cat "$dir"/* >/dev/null # into the page cache
"$BENCH/disks" -n "$rounds" -c "$dir/raw" "$dir/disk"
cat <<'EOF'

bare: an io_uring loop on the raw file, the same requests and depth. raw, composite:
through the device, its queue and engine, on one thread with the driver, which is
kicked and interrupted by eventfds as KVM would do it. /s: requests a second, medians.
x: medians of each round's ratio, with its quartiles in brackets: the noise. Through
the page cache a read takes a microsecond, so that table shows what the device costs
and nothing else; with direct I/O a real disk has its share.
EOF
