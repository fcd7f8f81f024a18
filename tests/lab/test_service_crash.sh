#!/usr/bin/env bash
# Crashes of the service where VMs have cgroups, of which none is left, and vhost-vsock.
# The programs and what they check are those of the vm tier.
set -euo pipefail
build=${BUILD:-build}
export CGROUPS=1 GUESTS=${GUESTS:-$PWD/$build/guest}
[[ $GUESTS = /* ]] || GUESTS=$PWD/$GUESTS
exec "$build/tests/vm/test_service_crash"
