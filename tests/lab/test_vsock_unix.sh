#!/usr/bin/env bash
# Sockets between guest and host by --vsock backend=unix: Debian's driver and one
# program at both ends, which connect both ways.
set -euo pipefail
. tests/lab/vsock.sh
connections=300 mib=16
[ -z "${SOAK-}" ] || connections=10000 mib=1024
export VSOCK_UNIX=$dir/vsock
device=(--vsock "42,backend=unix,path=$VSOCK_UNIX")
serve_here

start one "${device[@]}" -p quiet
check 'a guest finds the device' serves one
check 'bytes go to and fro' both 42 echo 200
check "$connections connections, one after the other" both 42 short $connections
check "$mib MiB to the other end arrive unchanged" both 42 send $mib
check "$mib MiB from the other end arrive unchanged" both 42 recv $mib
check '200 connections at once' both 42 many 200
check 'each end can stop sending and go on receiving' both 42 half 20
check 'refused, abandoned and cut connections are told as resets' both 42 reset 5
check 'the driver is removed and comes back' rebind one 42 2
check_reboot one 42
check 'and the socket is gone' test ! -e "$VSOCK_UNIX"

start one "${device[@]}" -p 'quiet pci=nomsi'
check 'the same path is free at once, now with INTx only' serves one
check 'the rebooted guest is reached' both 42 short 20
check_end one
t_done
