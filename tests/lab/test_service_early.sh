#!/usr/bin/env bash
# Early VMs where their CIDs are the host's, by vhost-vsock. The program and what it
# checks are those of the vm tier.
set -euo pipefail
build=${BUILD:-build}
export GUESTS=${GUESTS:-$PWD/$build/guest}
[[ $GUESTS = /* ]] || GUESTS=$PWD/$GUESTS
[ -c /dev/vhost-vsock ] || { echo 'Bail out! there is no /dev/vhost-vsock' && exit 1; }
exec "$build/tests/vm/test_service_early"
