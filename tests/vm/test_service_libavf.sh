#!/bin/bash
# libavf as its users have it: installed, found by pkg-config, its examples compiled and
# run; and the manager as other languages' D-Bus libraries see it.
# shellcheck source=tests/vm/vm.sh
. "$(dirname "$0")/vm.sh"

BUILD=${BUILD:-build}
export VMM
VIRTMGR=$(realpath "$BUILD/virtmgr")
export VIRTMGR
# A private service of this test's own.
export XDG_RUNTIME_DIR=$dir
# As what there is was built.
read -r cc _ <"$BUILD/flags"
sanitizers=${BUILD#build} sanitizers=${sanitizers#/} sanitizers=${sanitizers//-/,}
prefix=$(cat "$BUILD/prefix")
root=$dir/root
export PKG_CONFIG_PATH=$root$prefix/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root
export LD_LIBRARY_PATH=$root$prefix/lib
include=$root$prefix/include

install_it() {
	make -s install-libavf DESTDIR="$root" PREFIX="$prefix" CC="$cc" SAN="$sanitizers"
}

header() { # COMPILER STANDARD HEADER
	printf '#include <%s>\nint x;\n' "$3" |
		$1 -std="$2" -Wall -Wextra -Wshadow -pedantic -Werror -fsyntax-only -I"$include" -
}

# The names of Android's API level 36, and those that our header declares.
wanted() {
	cat <<-'END'
		AVirtualMachineRawConfig_addCustomMemoryBackingFile
		AVirtualMachineRawConfig_addDisk
		AVirtualMachineRawConfig_create
		AVirtualMachineRawConfig_destroy
		AVirtualMachineRawConfig_setDeviceTreeOverlay
		AVirtualMachineRawConfig_setHypervisorSpecificAuthMethod
		AVirtualMachineRawConfig_setInitRd
		AVirtualMachineRawConfig_setInstanceId
		AVirtualMachineRawConfig_setKernel
		AVirtualMachineRawConfig_setMemoryMiB
		AVirtualMachineRawConfig_setName
		AVirtualMachineRawConfig_setProtectedVm
		AVirtualMachineRawConfig_setSwiotlbMiB
		AVirtualMachineRawConfig_setVCpuCount
		AVirtualMachine_connectVsock
		AVirtualMachine_createRaw
		AVirtualMachine_destroy
		AVirtualMachine_start
		AVirtualMachine_stop
		AVirtualMachine_waitForStop
		AVirtualizationService_create
		AVirtualizationService_destroy
	END
	# Declarations only: comments name functions, too.
	gcc -E -P -I"$include" -x c "$include/vmm/avf.h" | grep -o '\bavf_[a-z_]*(' | tr -d '('
}

dynamic_symbols() {
	diff <(wanted | sort -u | sed 's/$/@@LIBAVF_1.0/') \
		<(nm -D --defined-only --with-symbol-versions "$LD_LIBRARY_PATH/libavf.so" |
			sed -n 's/.* T //p' | sort)
}

static_symbols() {
	diff <(wanted | sort -u) \
		<(nm -g --defined-only "$LD_LIBRARY_PATH/libavf.a" | sed -n 's/.* [A-Z] //p' | sort)
}

needed() {
	readelf -d "$LD_LIBRARY_PATH/libavf.so" >"$dir/dynamic"
	says 'SONAME.*\[libavf.so.0\]' "$dir/dynamic" &&
		[ "$(grep NEEDED "$dir/dynamic" | grep -cv 'libsystemd.so.0\|libc.so.6')" = 0 ]
}

compile() { # EXAMPLE NAME ARGUMENT...
	local source=service/libavf/examples/$1.c name=$2
	shift 2
	"$cc" ${sanitizers:+"-fsanitize=$sanitizers"} -std=gnu17 -Wall -Wextra -Werror -o "$dir/$name" "$source" "$@"
}

dynamic() {
	# shellcheck disable=SC2046 # flags
	compile "$1" "$1" $(pkg-config --cflags --libs libavf)
}

static() {
	# shellcheck disable=SC2046 # flags
	compile run run-static $(pkg-config --cflags libavf) "$LD_LIBRARY_PATH/libavf.a" -lsystemd &&
		! readelf -d "$dir/run-static" | grep libavf
}

run() { # PROGRAM
	local status=0
	timeout 60 "$dir/$1" "$GUESTS/hello.elf" >"$dir/out" 2>"$dir/err" </dev/null || status=$?
	# The API has no command line, by which this guest could be told to power off.
	says '^hello: panic=-1' && says '^the virtual machine stopped to reboot' "$dir/err" &&
		[ $status = 1 ]
}

not_a_kernel() {
	! timeout 60 "$dir/run" /dev/null >"$dir/out" 2>"$dir/err" </dev/null &&
		says '^no virtual machine: |^the virtual machine stopped since it could not start' "$dir/err"
}

no_manager() {
	! VIRTMGR=/nonexistent/virtmgr "$dir/run" "$GUESTS/hello.elf" 2>"$dir/err" &&
		says '^no manager: No such file or directory' "$dir/err"
}

events() {
	timeout 60 "$dir/events" "$GUESTS/hello.elf" end=halt >"$dir/out" || return
	says '^cid [0-9]+$' && says '^state 1$' && says '^hello: .*end=halt' &&
		says "^child: $(grep '^cid' "$dir/out"), state 1\$" && says '^died: ' &&
		says '^killed: '
}

listen() {
	local turns=200
	"$VIRTMGR" --listen "$dir/manager" 2>"$dir/err" &
	pid=$!
	until [ -S "$dir/manager" ]; do
		[ $turns -gt 0 ] || { cat "$dir/err" && return 1; }
		turns=$((turns - 1))
		sleep 0.05
	done
}

bus() {
	timeout 60 busctl --address="unix:path=$dir/manager" --timeout=50 "$@" >"$dir/out"
}

introspect() {
	bus introspect org.vmm /org/vmm/VirtualizationService || return
	for method in $(sed -n '/org.vmm.VirtualizationService1/,/<\/interface>/s/.*<method name="\(.*\)".*/\1/p' \
		service/org.vmm.xml); do
		says "^\.$method  *method" || return
	done
}

tree() { bus tree org.vmm && says '/org/vmm/VirtualizationService$'; }

call() {
	bus call org.vmm /org/vmm/VirtualizationService org.vmm.VirtualizationService1 \
		AllocateInstanceId && says '^ay 64 119 119 119 119 '
}

# What the manager says is what the caller of another tool reads.
call_that_fails() {
	! bus call org.vmm /org/vmm/VirtualizationService org.vmm.VirtualizationService1 \
		CreateVm 'a{sv}' 1 memry_mib t 5 2>"$dir/err" &&
		says 'memry_mib: is not known; did you mean memory_mib' "$dir/err"
}

python() {
	timeout 60 service/examples/list_and_run.py "$dir/manager" "$GUESTS/hello.elf" \
		end=poweroff >"$dir/out" || return
	says '^manager: .*kvm=True' && says '^VMs:' && says '^hello: .*end=poweroff' &&
		says '^VM [0-9]+ died: shutdown \(3\): '
}

check 'it is installed' install_it
for header in android/virtualization.h vmm/avf.h; do
	check "$header is C11" header 'gcc -x c' c11 $header
	check "$header is C11 to clang" header 'clang -x c' c11 $header
	check "$header is C++11" header 'clang++ -x c++' c++11 $header
done
check 'the library exports the API, versioned, and nothing else' dynamic_symbols
check 'the static library has the same names' static_symbols
check 'it needs libsystemd only' needed
check 'a program of Android'\''s header compiles' dynamic run
check 'and runs a guest' run run
check 'it is told that there is no kernel in a file' not_a_kernel
check 'it is told that there is no manager' no_manager
check 'a program with the static library compiles' static
check 'and runs a guest, too' run run-static
check 'a program of our header compiles' dynamic events
check 'it sees events and console, and gives a handle away' events
listen
check 'busctl introspects a manager that listens' introspect
check 'and shows its objects' tree
check 'and calls it' call
check 'and tells why a call fails' call_that_fails
check 'a Python program runs a guest there' python
kill "$pid" && wait "$pid"
t_done
