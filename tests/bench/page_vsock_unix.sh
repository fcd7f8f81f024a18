# A page of "make bench": the user-space vsock device beside a Unix socket pair. See
# tests/bench/run.
# shellcheck shell=bash
set -euo pipefail

rounds=${N:-12}
echo "vsock over Unix sockets: Linux $(uname -r), $(nproc) CPUs, load $(cut -d' ' -f1 /proc/loadavg)"
echo "The two take turns, $rounds rounds of 0.1 s."
echo
"$BENCH/vsock_unix" -n "$rounds"
cat <<'EOT'

bare: a Unix socket pair, written and read by one thread. device: the same through
queues and device, on one thread with guest and host, without KVM and the scheduler.
x: medians of each round's ratio, with its quartiles in brackets: the noise.
EOT
