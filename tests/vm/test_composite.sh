#!/bin/bash
# vmm create_composite: other programs find no fault with what it makes, and a guest
# reads and writes it.
. "$(dirname "$0")/vm.sh"
vmm=$(realpath "$VMM")
guid=11111111-2222-4333-8444-555555555555

# flatten PATH: what a guest would see of the composite of files beside it, which is
# their order: header, each file up to 4 KiB, footer.
flatten() {
	local image=$1 file
	shift
	cat "$image.header" >"$dir/flat"
	for file; do
		cat "$file" >>"$dir/flat"
		truncate -s %4096 "$dir/flat"
	done
	cat "$image.footer" >>"$dir/flat"
}

files() {
	seq 1 1000 | head -c 4000 >"$dir/odd.img" # as 4000 bytes, and read-only
	rm -f "$dir/data.img"
	truncate -s 1M "$dir/data.img"
	truncate -s 8K "$dir/more.img"
}

sound() { # by all who check
	local out
	out=$(sgdisk -v "$dir/flat") && grep -q '^No problems found' <<<"$out" &&
		! grep -qi 'caution\|warning\|invalid\|mismatch' <<<"$out" || { echo "$out" && return 1; }
	out=$(sfdisk --verify "$dir/flat" 2>&1) && grep -q 'No errors detected' <<<"$out" ||
		{ echo "$out" && return 1; }
}

three() {
	files
	(cd "$dir" && "$vmm" create_composite disk.img root:odd.img "data:data.img:writable:$guid" \
		'ä 💾:more.img') || return
	flatten "$dir/disk.img" "$dir/odd.img" "$dir/data.img" "$dir/more.img"
	sound || return
	sfdisk -J "$dir/flat" >"$dir/json"
	says '"label":"gpt"|"label": "gpt"' "$dir/json" && says "\"uuid\": ?\"$guid\"" "$dir/json" &&
		says '"name": ?"root"' "$dir/json" && says '"name": ?"(ä 💾|\\u00e4.*)"' "$dir/json" &&
		says '"type": ?"0FC63DAF-8483-4772-8E79-3D69D8477DE4"' "$dir/json" &&
		says '"start": ?40,' "$dir/json"
}

empty() {
	"$vmm" create_composite "$dir/empty.img" && flatten "$dir/empty.img" && sound
}

full() {
	local arguments=() paths=() i
	for ((i = 0; i < 128; i++)); do
		arguments+=("p$i:$dir/more.img") paths+=("$dir/more.img")
	done
	"$vmm" create_composite "$dir/full.img" "${arguments[@]}" &&
		flatten "$dir/full.img" "${paths[@]}" && sound &&
		[ "$(sfdisk -d "$dir/flat" | grep -c 'name="p')" = 128 ] || return
	"$vmm" create_composite "$dir/over.img" "${arguments[@]}" "x:$dir/more.img" && return 1
	! ls "$dir"/over.img* 2>/dev/null
}

refused() { # STATUS PATTERN ARGUMENT...
	local got=0 want=$1 pattern=$2
	shift 2
	"$vmm" create_composite "$@" >"$dir/out" 2>&1 || got=$?
	[ $got = "$want" ] && says "$pattern" || { echo "exit status $got" && return 1; }
}

# An image by protobuf's own tool: the guest's writes cross the edge of two files, which
# is within a sector, and are found in both, at their offsets, and nowhere else.
by_protoc() {
	cat >"$dir/c.proto" <<-END
		syntax = "proto3";
		enum ReadWriteCapability { READ_ONLY = 0; READ_WRITE = 1; }
		message ComponentDisk { string file_path = 1; uint64 offset = 2;
			ReadWriteCapability read_write_capability = 3; uint64 file_offset = 4; }
		message CompositeDisk { uint64 version = 1;
			repeated ComponentDisk component_disks = 2; uint64 length = 3; }
	END
	{
		printf 'composite_disk\x1d'
		protoc -I"$dir" --encode=CompositeDisk "$dir/c.proto" <<-END
			version: 2 length: 1048576
			component_disks { file_path: "two.img" offset: 2000 read_write_capability: READ_WRITE }
			component_disks { file_path: "one.img" read_write_capability: READ_WRITE file_offset: 100 }
		END
	} >"$dir/two-files.img"
	head -c 2200 /dev/zero | tr '\0' x >"$dir/one.img"
	truncate -s 0 "$dir/two.img" && truncate -s 1M "$dir/two.img"
	guest blk --block "$dir/two-files.img,format=composite" -p "$1" && says '^capacity 2048$' || return
	for ((sector = 0; sector < 8; sector++)); do
		printf -v line 'q00 s%010d\n' $sector
		for ((i = 0; i < 32; i++)); do printf '%s' "$line"; done
	done >"$dir/written"
	{
		head -c 100 /dev/zero | tr '\0' x
		head -c 2000 "$dir/written"
		head -c 100 /dev/zero | tr '\0' x
	} | cmp - "$dir/one.img" || return
	tail -c +2001 "$dir/written" >"$dir/rest"
	truncate -s 1M "$dir/rest"
	cmp "$dir/rest" "$dir/two.img"
}

believed() { # as a client passes it: descriptors only, and the image read-only
	files
	exec 7<"$dir/odd.img" 8<>"$dir/data.img"
	"$vmm" create_composite "$dir/fd.img" root:/proc/self/fd/7 data:/proc/self/fd/8:writable || return
	exec 5<"$dir/fd.img.header" 6<"$dir/fd.img.footer" 9<"$dir/fd.img.filler"
	vm 1 --block "$dir/fd.img" "$GUESTS/hello.elf"
	says 'say format=composite or format=raw' "$dir/err" || return
	vm 1 --block "$dir/fd.img,ro" "$GUESTS/hello.elf"
	says 'wants to open fd.img.header: without format=composite it may open nothing but' "$dir/err" || return
	rm "$dir/odd.img" "$dir/data.img"
	vm 64 --debug-exit --block "$dir/fd.img,format=composite" "$GUESTS/hello.elf"
}

# The image cannot be replaced while something is mounted on it: all stays as it was.
kept_on_failure() {
	mkdir -p "$dir/kept" && truncate -s 8K "$dir/kept/a.img" &&
		(cd "$dir/kept" && "$vmm" create_composite disk.img a:a.img) || return
	local before
	before=$(cd "$dir/kept" && sha256sum disk.img*)
	# shellcheck disable=SC2016 # for the inner shell
	unshare -rm sh -c 'cd "$1" && mount --bind disk.img disk.img && ! "$2" create_composite disk.img a:a.img b:../more.img' \
		- "$dir/kept" "$vmm" 2>"$dir/err" || { cat "$dir/err" && return 1; }
	says 'disk.img: cannot create it: .*busy' "$dir/err" &&
		[ "$before" = "$(cd "$dir/kept" && sha256sum disk.img*)" ] || { ls -l "$dir/kept" && return 1; }
}

check 'three partitions: sgdisk and sfdisk find no fault' three
check 'no partition' empty
check '128 partitions, and not 129' full
if unshare -rm true 2>/dev/null; then
	check 'a composite that cannot be replaced stays as it was' kept_on_failure
else
	t_skip 'a composite that cannot be replaced stays as it was' 'the host forbids user namespaces'
fi
check 'help' bash -c "'$vmm' create_composite --help | grep -q writable"
check 'bad arguments' refused 35 'only "writable" can stand there' "$dir/x.img" "a:$dir/odd.img:rw"
check 'no arguments' refused 35 'no PATH given'
check 'a file that is not there' refused 1 'partition a: image /nowhere: No such file' "$dir/x.img" a:/nowhere
for words in 'queues=1 irq=msix' 'queues=1 irq=poll indirect=1'; do
	check "a guest writes across two files, $words" by_protoc "$words"
done
check 'descriptors' believed
t_done
