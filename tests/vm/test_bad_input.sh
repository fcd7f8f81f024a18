#!/bin/bash
# Bad input: one line that names the object and the reason, the right status, and nothing
# started. What the loader does with hostile bytes is the fuzzers' job; here is one of
# each kind, seen from outside.
# shellcheck source=tests/vm/vm.sh
. "$(dirname "$0")/vm.sh"

hello=$GUESTS/hello.elf
elf=$dir/elf
bzimage=$dir/bzimage

# refused STATUS OBJECT ARGUMENT...: within 10 s (a FIFO must not be waited for).
refused() {
	local got=0 want=$1 object=$2
	shift 2
	timeout 10 "$VMM" run --timeout 5 "$@" >"$dir/out" 2>"$dir/err" </dev/null || got=$?
	one_line "$got" "$want" "$object"
}

one_line() { # GOT WANTED OBJECT
	[ "$1" = "$2" ] && [ ! -s "$dir/out" ] && [ "$(wc -l <"$dir/err")" = 1 ] &&
		grep -qF -- "$3" "$dir/err" && return
	echo "exit status $1, not $2, or not one line about $3:"
	head -n 5 "$dir/err" "$dir/out" | tr -d '\0'
	return 1
}

# patched FILE OFFSET BYTES [OFFSET BYTES]...: refused, with these bytes of it changed.
patched() {
	local file=$1
	shift
	cp "$file" "$dir/patched"
	while [ $# -gt 0 ]; do
		printf '%b' "$2" | dd of="$dir/patched" bs=1 seek=$(($1)) conv=notrunc status=none
		shift 2
	done
	refused 1 "$dir/patched" "$dir/patched"
}

# truncated FILE SIZE
truncated() {
	head -c "$2" "$1" >"$dir/truncated"
	refused 1 "$dir/truncated" "$dir/truncated"
}

cp "$GUESTS/info64.elf" "$elf"
cp "$GUESTS/info.bzImage" "$bzimage"
mkfifo "$dir/fifo"
mkdir "$dir/folder"
: >"$dir/empty"
head -c 64K /dev/urandom >"$dir/noise"
truncate -s 1G "$dir/large"
truncate -s 1M "$dir/disk"

# --- kernel ---
check 'kernel: missing' refused 1 "$dir/none" "$dir/none"
check 'kernel: a folder' refused 1 "$dir/folder" "$dir/folder"
check 'kernel: a FIFO' refused 1 "$dir/fifo" "$dir/fifo"
check 'kernel: empty' refused 1 "$dir/empty" "$dir/empty"
check 'kernel: noise' refused 1 "$dir/noise" "$dir/noise"
check 'kernel: zeros, 1 GiB of them' refused 1 "$dir/large" "$dir/large"
check 'kernel: a descriptor that is closed' refused 1 /proc/self/fd/77 /proc/self/fd/77
for size in 3 40 63 100 4096 $(($(stat -c %s "$elf") / 4)); do
	check "ELF: truncated to $size bytes" truncated "$elf" "$size"
done
for size in 500 600 1023 1024 2000 $(($(stat -c %s "$bzimage") / 2)); do
	check "bzImage: truncated to $size bytes" truncated "$bzimage" "$size"
done

# e_phoff is at 32, e_phnum at 56; the first program header, at 64, has p_offset at +8,
# p_paddr at +24, p_filesz at +32, p_memsz at +40.
all='\xff\xff\xff\xff\xff\xff\xff\xff'
large='\0\0\0\0\xff\0\0\0'
check 'ELF: 32-bit' patched "$elf" 4 '\x01'
check 'ELF: big-endian' patched "$elf" 5 '\x02'
check 'ELF: for another processor' patched "$elf" 18 '\xb7'
check 'ELF: program headers outside the file' patched "$elf" 32 "$all"
check 'ELF: program headers far outside the file' patched "$elf" 32 "$large"
check 'ELF: no program headers' patched "$elf" 56 '\0\0'
check 'ELF: too many program headers' patched "$elf" 56 '\xff\xff'
check 'ELF: segment outside the file' patched "$elf" 72 "$large"
check 'ELF: segment offset that overflows' patched "$elf" 72 "$all"
check 'ELF: segment longer than the file' patched "$elf" 96 "$large" 104 "$large"
check 'ELF: segment length that overflows' patched "$elf" 96 "$all" 104 "$all"
check 'ELF: segment larger in the file than in memory' patched "$elf" 104 '\x01\0\0\0\0\0\0\0'
check 'ELF: segment address outside memory' patched "$elf" 88 "$large"
check 'ELF: segment address that overflows' patched "$elf" 88 "$all"
check 'ELF: segment over the tables at 0' patched "$elf" 88 '\0\0\0\0\0\0\0\0'
check 'ELF: segment larger than memory' patched "$elf" 104 "$large"
check 'ELF: entry outside the image' patched "$elf" 24 "$all"

# setup_sects is at 0x1f1, syssize at 0x1f4, version at 0x206, loadflags at 0x211,
# xloadflags at 0x236, pref_address at 0x258, init_size at 0x260.
check 'bzImage: no header' patched "$bzimage" 0x202 'XXXX'
check 'bzImage: old protocol' patched "$bzimage" 0x206 '\x01\x02'
check 'bzImage: a zImage' patched "$bzimage" 0x211 '\0'
check 'bzImage: set-up code longer than the file' patched "$bzimage" 0x1f1 '\xff'
check 'bzImage: init_size larger than memory' patched "$bzimage" 0x260 '\xff\xff\xff\xff'
check 'bzImage: address outside memory' patched "$bzimage" 0x258 "$large" 0x234 '\0'
check 'bzImage: address that overflows' patched "$bzimage" 0x258 "$all" 0x234 '\0'
check 'kernel: memory too small' refused 1 "$GUESTS/info.elf" -m 16 "$GUESTS/info.elf"
check 'bzImage: memory too small' refused 1 "$bzimage" -m 16 "$bzimage"
check 'command line: too long' refused 1 'command line' -p "$(printf '%5000s' x)" "$bzimage"

# --- firmware ---
check 'firmware: missing' refused 1 "$dir/none" --bios "$dir/none"
check 'firmware: empty' refused 1 "$dir/empty" --bios "$dir/empty"
check 'firmware: too large' refused 1 "$dir/large" --bios "$dir/large"
check 'firmware: a folder' refused 1 "$dir/folder" --bios "$dir/folder"
head -c 520 /dev/urandom >"$dir/random"
check 'firmware: a key that is none' refused 1 "$dir/random" --bios "$hello" --bios-key "$dir/random"
check 'firmware and a kernel' refused 35 '--bios' --bios "$hello" "$hello"
check 'firmware and an initrd' refused 35 '--initrd' --bios "$hello" -i "$hello"

# --- initrd ---
check 'initrd: missing' refused 1 "$dir/none" -i "$dir/none" "$hello"
check 'initrd: a folder' refused 1 "$dir/folder" -i "$dir/folder" "$hello"
check 'initrd: a FIFO' refused 1 "$dir/fifo" -i "$dir/fifo" "$hello"
check 'initrd: a closed descriptor' refused 1 /proc/self/fd/77 -i /proc/self/fd/77 "$hello"
check 'initrd: does not fit' refused 1 "$dir/large" -i "$dir/large" -m 512 "$hello"
check 'initrd: does not fit a bzImage' refused 1 "$dir/large" -i "$dir/large" "$bzimage"

# --- disks and serial ports ---
check 'disk: missing' refused 1 "$dir/none" --block "$dir/none" "$hello"
check 'disk: a folder' refused 1 "$dir/folder" --block "$dir/folder" "$hello"
check 'disk: a folder, ro' refused 1 "$dir/folder" --block "$dir/folder,ro" "$hello"
check 'disk: a FIFO' refused 1 "$dir/fifo" --block "$dir/fifo" "$hello"
check 'disk: a character device' refused 1 /dev/null --block /dev/null "$hello"
check 'disk: a closed descriptor' refused 1 /proc/self/fd/77 --block /proc/self/fd/77 "$hello"
exec 8<"$dir/disk"
check 'disk: a descriptor that cannot be written' refused 1 /proc/self/fd/8 \
	--block /proc/self/fd/8 "$hello"
check 'serial: a folder' refused 1 "$dir/folder" --serial "type=file,path=$dir/folder" "$hello"
check 'serial: in a folder that is not there' refused 1 "$dir/none/log" \
	--serial "type=file,path=$dir/none/log" "$hello"
check 'serial: input is missing' refused 1 "$dir/none" \
	--serial "type=stdout,input=$dir/none" "$hello"

# --- vsock ---
check 'vsock: no such device' refused 1 "$dir/none" --vsock "3,device=$dir/none" "$hello"
check 'vsock: another device' refused 1 /dev/null --vsock 3,device=/dev/null "$hello"
check 'vsock: a closed descriptor' refused 1 /proc/self/fd/77 \
	--vsock cid=3,device=/proc/self/fd/77 "$hello"

# --- memory and KVM ---
check 'memory: more than can be mapped' refused 1 memory -m 60000000 "$hello"

# In a mount namespace of its own, where this lies over /dev/kvm.
kvm_is() { # FILE
	local got=0
	unshare -m sh -c 'mount --bind "$1" /dev/kvm && shift && exec "$@"' sh "$1" \
		timeout 10 "$VMM" run "$hello" >"$dir/out" 2>"$dir/err" </dev/null || got=$?
	one_line $got 1 /dev/kvm
}

kvm_missing() {
	local got=0
	mkdir "$dir/dev" && : >"$dir/dev/null"
	unshare -m sh -c 'mount --bind /dev/null "$1/null" && mount --rbind "$1" /dev &&
		shift && exec "$@"' sh "$dir/dev" timeout 10 "$VMM" run "$hello" >"$dir/out" 2>"$dir/err" </dev/null || got=$?
	one_line $got 1 /dev/kvm
}

# The binary and the guest where nobody may read them.
kvm_forbidden() {
	local got=0
	cp "$VMM" "$dir/vmm" && cp "$hello" "$dir/hello" && chmod 755 "$dir" "$dir/vmm"
	setpriv --reuid=65534 --regid=65534 --clear-groups timeout 10 "$dir/vmm" run \
		"$dir/hello" >"$dir/out" 2>"$dir/err" </dev/null || got=$?
	one_line $got 1 /dev/kvm
}

if unshare -m mount --bind "$dir/empty" /dev/kvm 2>/dev/null; then
	check '/dev/kvm: missing' kvm_missing
	check '/dev/kvm: an empty file' kvm_is "$dir/empty"
	check '/dev/kvm: another device' kvm_is /dev/null
else
	t_skip '/dev/kvm: missing' 'this user may not make mount namespaces'
fi
if ! setpriv --reuid=65534 --regid=65534 --clear-groups true 2>/dev/null; then
	t_skip '/dev/kvm: no permission' 'this user cannot become another'
elif setpriv --reuid=65534 --regid=65534 --clear-groups test -r /dev/kvm; then
	t_skip '/dev/kvm: no permission' 'everyone may use /dev/kvm here'
else
	check '/dev/kvm: no permission' kvm_forbidden
fi

# --- arguments: status 35, and the words that are wrong ---
bad() { # OBJECT ARGUMENT...
	check "arguments: ${*:2}" refused 35 "$@"
}
bad kernel
bad "$dir/two" "$hello" "$dir/two"
bad --nonsense --nonsense "$hello"
bad gpu --gpu "$hello"
bad vfio --vfio /sys/devices/x "$hello"
bad cpus -c 0 "$hello"
bad cpus -c 65 "$hello"
bad cpus -c two "$hello"
bad cpus -c -1 "$hello"
bad cpus -c 1 -c 2 "$hello"
bad cpus -c
bad mem -m 0 "$hello"
bad mem -m 1k "$hello"
bad mem -m 99999999999999999999 "$hello"
bad '1 to 67108864' -m 67108865 "$hello"
bad mem -m 64 --mem 65 "$hello"
bad initrd -i "$dir/disk" -i "$dir/disk" "$hello"
bad name --name a --name b "$hello"
bad timeout --timeout x "$hello"
bad timeout --timeout -1 "$hello"
bad log-level --log-level loud "$hello"
bad iobase --debug-exit iobase=0x10000 "$hello"
bad iobase --debug-exit iobase=x "$hello"
bad debug-exit --debug-exit=nonsense=1 "$hello"
bad path --block ro=true "$hello"
bad nonsense --block "$dir/disk,nonsense=1" "$hello"
bad ro --block "$dir/disk,ro=maybe" "$hello"
bad ro --block "$dir/disk,ro=true,ro=false" "$hello"
bad path --block "$dir/disk,path=$dir/disk" "$hello"
bad id --block "$dir/disk,id=012345678901234567890" "$hello"
bad block-size --block "$dir/disk,block-size=100" "$hello"
bad block-size --block "$dir/disk,block-size=0" "$hello"
for cid in 0 1 2 0xffffffff 0x100000003 x; do
	bad cid --vsock $cid "$hello"
	bad cid --cid $cid "$hello"
done
bad vsock --vsock 3 --cid 3 "$hello"
bad vsock --cid 3 --vsock cid=3 "$hello"
bad cid --vsock device=/dev/null "$hello"
bad type --serial type=pigeon "$hello"
bad hardware --serial hardware=pigeon "$hello"
bad num --serial num=0 "$hello"
bad num --serial num=5 "$hello"
bad 'serial 1' --serial num=1 --serial num=1,type=sink "$hello"
bad path --serial type=file "$hello"
bad stdin --serial stdin=true --serial num=2,stdin=true "$hello"
t_done
