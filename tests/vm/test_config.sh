#!/bin/bash
# vmm run --config: a VM from a JSON file.
# shellcheck source=tests/vm/vm.sh
. "$(dirname "$0")/vm.sh"

hello=$GUESTS/hello.elf

cat >"$dir/vm.json" <<END
{
	"kernel": "$hello",
	"name": "from the file",
	"params": ["one=1", "two=2"],
	"mem": 64,
	"cpus": { "num-cores": 2 },
	"block": { "path": "$dir/disk, \"quoted\"", "ro": true },
	"serial": { "type": "stdout", "console": true },
	"debug-exit": true
}
END
truncate -s 1M "$dir/disk, \"quoted\""

file() {
	vm 64 --config "$dir/vm.json" && says '^hello: panic=-1 console=ttyS0 one=1 two=2$' &&
		says 'vmm\[from the file\]' "$dir/err"
}

# Lists go on, single values are replaced, wherever --config stands.
both() {
	vm 65 -p exit=1 --name other --config "$dir/vm.json" &&
		says '^hello: panic=-1 console=ttyS0 one=1 two=2 exit=1$' &&
		says 'vmm\[other\]' "$dir/err"
}

# In a folder of another name: paths are the caller's, as those of options are.
relative() {
	mkdir -p "$dir/sub" && cp "$hello" "$dir/kernel.elf" &&
		echo '{"kernel": "kernel.elf", "debug-exit": true}' >"$dir/sub/vm.json"
	(VMM=$(realpath "$VMM") && cd "$dir" && vm 64 --config sub/vm.json)
}

piped() {
	vm 64 --config /dev/fd/3 3< <(cat "$dir/vm.json")
}

refused() { # STATUS WORDS JSON
	printf '%s' "$3" >"$dir/bad.json"
	vm "$1" --config "$dir/bad.json" && says "$2" "$dir/err" && [ ! -s "$dir/out" ] &&
		[ "$(wc -l <"$dir/err")" = 1 ]
}

# A wish of which the user hears, and a promise that is kept or refused.
scheduling() {
	vm 64 --boost-uclamp --core-scheduling false --debug-exit "$hello" || return
	grep -v 'uclamp: \|the guest ended by' "$dir/err" && return 1
	vm 64 --core-scheduling true --debug-exit "$hello" >/dev/null ||
		{ vm 1 --core-scheduling true "$hello" && says '^vmm: --core-scheduling: ' "$dir/err"; }
}

manual() {
	local option headings
	headings=$(sed '/^# OPTIONS/,/^# CONF/!d' vmm/vmm.1.scd | grep '^\*-' | grep -oE '\*--?[a-z0-9-]+' | tr -d '*' | sort -u)
	for option in $("$VMM" run --help | grep -E '^ +-' | grep -oE -- ' --?[a-z0-9-]+'); do
		grep -qxe "$option" <<<"$headings" || { echo "$option is not in the manual" && return 1; }
	done
	for option in $headings; do
		! "$VMM" run "$option" 2>&1 | grep 'unknown option' || return
	done
}

check 'a VM from a file' file
check 'the command line goes before the file' both
check 'paths are relative to the current folder' relative
check 'the file may be a pipe' piped
check 'no such file' vm 1 --config "$dir/none"
check 'syntax error' refused 35 'bad.json:2: ' $'{"mem": 1,\n}'
check 'unknown key' refused 35 'bad.json:3: --memory: unknown option' $'{\n\n"memory": 1}'
check 'wrong value' refused 35 'bad.json:2: --mem: ' $'{\n"mem": "much"}'
check 'no kernel' refused 35 'no kernel' '{}'
check 'scheduling' scheduling
check 'the manual has every option of --help, and none that is unknown' manual
t_done
