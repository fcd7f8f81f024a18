# A page of "make bench": disk requests through the block device, raw and composite,
# beside a bare io_uring loop. See tests/bench/run.
# shellcheck shell=bash
set -euo pipefail

rounds=${N:-12} # all six orders, twice
file=$(mktemp "$BENCH/disks.XXXXXX")
trap 'rm -f "$file"' EXIT

# Written, not only allocated: the first write of a block costs the file system more.
dd if=/dev/zero of="$file" bs=1M count=256 conv=fsync status=none

echo "Disks: $(df --output=fstype,source "$file" | tail -1), Linux $(uname -r), $(nproc) CPUs, load $(cut -d' ' -f1 /proc/loadavg)"
echo "The programs take turns, $rounds rounds of 0.1 s, on a file of 256 MiB."
echo
"$BENCH/disks" -n "$rounds" "$file"
echo
cat "$file" >/dev/null # into the page cache
"$BENCH/disks" -n "$rounds" -c "$file"
cat <<'EOF'

bare: an io_uring loop on the file, the same requests and depth. raw; composite, of
four parts of the same file: through the device, its queue and engine, on one thread
with the driver, which is kicked and interrupted by eventfds as KVM would do it. /s:
requests a second, medians.
x: medians of each round's ratio, with its quartiles in brackets: the noise. Through
the page cache a read takes a microsecond, so that table shows what the device costs
and nothing else; with direct I/O a real disk has its share.
EOF
