# A page of "make bench": what the service adds to vmm and to sockets. See
# tests/bench/run.
# shellcheck shell=bash
set -euo pipefail

[ -w /dev/kvm ] || {
	echo "service: /dev/kvm: cannot be opened, nothing can be measured"
	exit 1
}
rounds=${N:-40}
echo "The service, natively: Linux $(uname -r), $(nproc) CPUs, load $(cut -d' ' -f1 /proc/loadavg)"
echo "What is compared takes turns; $rounds rounds, a tenth of it for calls."
echo
"$BENCH/service" -n "$rounds" start
echo
"$BENCH/service" memory
echo
"$BENCH/service" -n $((rounds < 20 ? 2 : rounds / 10)) calls
cat <<'EOT'

directly: vmm is given a kernel of 120 KB, 32 MiB and a control socket, until it answers
there. createVm and Start: the same answer, heard by the manager; the VM also has a
console, a balloon, a vsock device and its lease. Target: 10 ms more.
private memory: of the processes that there are once, vmm aside; a VM adds to both.
Targets: less than 256 KiB for a VM, 3 MiB for the manager.
sockets: two processes pass a byte to and fro. x: how many times theirs, the median of
the rounds' ratios. Each client has a manager of its own; all share the CPUs.
EOT
