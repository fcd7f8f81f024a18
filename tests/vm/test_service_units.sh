#!/bin/bash
# What systemd is given: the units are right, a socket activates the service, and the
# configuration is checked before it is used.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
# shellcheck source=tests/vm/vm.sh
. tests/vm/vm.sh
SERVICE=${BUILD:-build}/virtualizationservice
units=service/virtualizationservice/systemd
chmod 755 "$dir"

units_are_right() {
	mkdir -p "$dir/units"
	cp $units/*.socket "$dir/units"
	sed "s|@BINDIR@|$(realpath "$(dirname "$SERVICE")")|" $units/*.service.in \
		>"$dir/units/virtualizationservice.service"
	systemd-analyze verify --man=no "$dir"/units/*
}

a_fault_in_a_unit_would_show() {
	sed -i 's/^ProtectSystem=.*/ProtectSystm=strict/' "$dir/units/virtualizationservice.service"
	systemd-analyze verify --man=no "$dir"/units/* 2>&1 | grep -q ProtectSystm
}

groups_and_folder_are_right() {
	systemd-sysusers --dry-run "$PWD/$units/sysusers.conf" >"$dir/out" 2>&1 || return
	says "group 'virtualmachine'" && says "group 'virtualmachine-debug'" || return
	mkdir -p "$dir/root/etc"
	systemd-sysusers --root="$dir/root" "$PWD/$units/sysusers.conf" &&
		systemd-tmpfiles --root="$dir/root" --create "$PWD/$units/tmpfiles.conf" || return
	[ "$(stat -c %a "$dir/root/run/virtualizationservice")" = 755 ] &&
		[ "$(stat -c %a "$dir/root/run/early_virtmgr")" = 700 ]
}

call() { # SOCKET METHOD [ARGUMENT...]
	local socket=$1
	shift
	busctl --address="unix:path=$socket" --timeout=20 call org.vmm \
		/org/vmm/VirtualizationServiceInternal \
		org.vmm.VirtualizationServiceInternal1 "$@"
}

a_socket_activates_it() {
	mkdir "$dir/run"
	printf 'group = %s\n' "$(id -g)" >"$dir/conf"
	systemd-socket-activate -l "$dir/run/socket" \
		"$SERVICE" --config "$dir/conf" --socket "$dir/run/socket" 2>"$dir/err" &
	pid=$!
	until [ -S "$dir/run/socket" ]; do sleep 0.05; done
	[ ! -e "$dir/run/cid" ] || { echo 'it runs before anybody calls' && return 1; }
	call "$dir/run/socket" ListVms >"$dir/out" && says '^aa\{sv\} 0$' && [ -d "$dir/run/cid" ] || return
	# Whose socket it is does not depend on the service.
	kill "$pid" && wait "$pid" && [ -S "$dir/run/socket" ]
}

busctl_makes_a_vms_context() {
	"$SERVICE" --config "$dir/conf" --socket "$dir/run/other" --cids 4000-4001 &
	pid=$!
	until [ "$(stat -c %a "$dir/run/other" 2>&1)" = 666 ]; do sleep 0.05; done
	call "$dir/run/other" CreateVmContext 'a{sv}' 1 name s x >"$dir/out" || return
	says '^uh 4000 [0-9]+$' || return
	kill "$pid" && wait "$pid" && [ ! -e "$dir/run/other" ]
}

refused() { # LINES SENTENCE
	local status=0
	printf '%b' "$1" >"$dir/bad"
	"$SERVICE" --check --config "$dir/bad" 2>"$dir/err" || status=$?
	[ $status = 1 ] && says "^virtualizationservice: $dir/bad: $2\$" "$dir/err"
}

a_configuration_is_checked() {
	"$SERVICE" --check --config "$dir/conf" &&
		refused '[default]\nvm = 1\n' 'line 2: vm: there is no such key here' &&
		refused '[user nobody-of-this-name]\n' \
			'line 1: nobody-of-this-name: there is no such user'
}

it_does_not_start_with_a_bad_one() {
	local status=0
	"$SERVICE" --config "$dir/bad" --socket "$dir/run/none" 2>"$dir/err" || status=$?
	[ $status = 1 ] && [ ! -e "$dir/run/none" ]
}

options_are_checked() {
	local status=0 option
	for option in --nonsense --cids=1-2 --cids=5000-4000 --cids=2048 --private --ready-fd=1; do
		status=0
		"$SERVICE" --socket "$dir/run/none" "$option" 2>"$dir/err" || status=$?
		[ $status = 1 ] && says '^virtualizationservice: --' "$dir/err" || return
	done
	"$SERVICE" --help >"$dir/out" && says '--private DIR' && says '--cids A-B'
}

check 'systemd finds nothing wrong with the units' units_are_right
check 'systemd would find a fault' a_fault_in_a_unit_would_show
check 'groups and the folder are made' groups_and_folder_are_right
check 'a socket of systemd activates the service' a_socket_activates_it
check 'busctl makes a context' busctl_makes_a_vms_context
check 'a configuration is checked' a_configuration_is_checked
check 'a bad configuration prevents the start' it_does_not_start_with_a_bad_one
check 'options are checked' options_are_checked
t_done
