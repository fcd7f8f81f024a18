#!/bin/bash
# The argument list that AVF's virtmgr builds for crosvm, as it stands: options before the
# command, every file an inherited descriptor, in virtmgr's order.
# shellcheck source=tests/vm/vm.sh
. "$(dirname "$0")/vm.sh"

# spec FILE LENGTH PATH: a composite disk of one writable component, as virtmgr writes it.
spec() {
	perl -e '
		sub number { my $n = shift; my $s = "";
			while ($n > 127) { $s .= chr($n & 127 | 128); $n >>= 7 }
			$s . chr($n) }
		sub bytes { chr($_[0] << 3 | 2) . number(length $_[1]) . $_[1] }
		my ($length, $path) = @ARGV;
		print "composite_disk\x1d", "\x08\x02",
			bytes(2, bytes(1, $path) . "\x18\x01"), "\x18" . number($length)
		' "$2" "$3" >"$1"
}

# Opens what virtmgr opens: 30 the console's end, 31 the failure pipe, 32 the ramdump, 33
# the log, 34 the console's input, 35 the kernel, 36 the initrd, 37 a raw disk, 38 a
# composite, 39 what it is made of and 40 the control socket, by listening(). (From 10 on
# bash takes some for itself.)
open_files() { # GUEST
	rm -f "$dir"/{console,failure,ramdump,log,input}
	mkfifo "$dir/input" "$dir/failure"
	exec 30>"$dir/console" 31<>"$dir/failure" 32>"$dir/ramdump" 33>"$dir/log" \
		34<>"$dir/input" 35<"$GUESTS/$1.elf"
	head -c 5000 /dev/urandom >"$dir/initrd"
	truncate -s 1M "$dir/raw" "$dir/part"
	spec "$dir/spec" 1048576 /proc/self/fd/39
	exec 36<"$dir/initrd" 37<"$dir/raw" 38<"$dir/spec" 39<>"$dir/part"
	rm "$dir/raw" "$dir/spec" # so that only a descriptor can be meant
}

close_files() { exec 30>&- 31>&- 32>&- 33>&- 34>&- 35>&- 36>&- 37>&- 38>&- 39>&-; }

# listening COMMAND...: with a control socket at descriptor 40.
listening() {
	perl -MSocket -MPOSIX -e '
		my ($path, $s) = shift; unlink $path;
		$^F = 255;
		socket($s, AF_UNIX, SOCK_SEQPACKET, 0) && bind($s, sockaddr_un($path)) &&
			listen($s, 5) && POSIX::dup2(fileno($s), 40) or die "$path: $!\n";
		exec @ARGV; die "$ARGV[0]: $!\n"' "$dir/crosvm.sock" "$@"
}

# avf CPUS INPUT_DEVICE PARAMS: fills in args.
avf() {
	local out=type=file,path=/proc/self/fd
	local com1=$out/30 hvc0=$out/30
	if [ "$2" = ttyS0 ]; then
		com1+=,input=/proc/self/fd/34
	else
		hvc0+=,input=/proc/self/fd/34
	fi
	args=(--extended-status --log-level 'info,disk=warn' run --disable-sandbox)
	[ ! -e /dev/vhost-vsock ] || args+=(--cid $((RANDOM + 2048)))
	args+=(--balloon-page-reporting)
	args+=(--no-usb)
	args+=(--params crashkernel=17M)
	args+=(--params printk.devkmsg=on --params console=hvc0)
	args+=(--mem 128)
	case $1 in
	host) args+=(--host-cpu-topology) ;;
	*) args+=(--cpus "$1") ;;
	esac
	args+=("--serial=$com1,hardware=serial,num=1")
	args+=("--serial=$out/31,hardware=serial,num=2")
	args+=("--serial=$hvc0,hardware=virtio-console,num=1")
	args+=("--serial=$out/32,hardware=virtio-console,num=2")
	args+=("--serial=$out/33,hardware=virtio-console,num=3")
	args+=(--initrd /proc/self/fd/36)
	args+=(--params "$3")
	args+=(--block 'path=/proc/self/fd/37,ro=true,lock=false')
	args+=(--block 'path=/proc/self/fd/38,ro=false,lock=false')
	args+=(/proc/self/fd/35)
	args+=(--socket /proc/self/fd/40)
	args+=(--hugepages)
	args+=(--boost-uclamp)
}

# runs STATUS GUEST CPUS INPUT_DEVICE PARAMS [ARGUMENT...]
runs() {
	local status=$1 guest=$2 got=0
	open_files "$guest"
	avf "$3" "$4" "$5"
	shift 5
	echo 'typed by somebody' >&34
	listening timeout 60 "$VMM" "${args[@]}" "$@" >"$dir/out" 2>"$dir/err" || got=$?
	timeout 0.1 cat <&31 >"$dir/reason"
	close_files
	[ $got = "$status" ] && [ ! -s "$dir/out" ] && return
	echo "exit status $got, not $status:" && tail -n 20 "$dir/err" "$dir/console"
	return 1
}

boots() { # CPUS
	runs 0 hello "$1" hvc0 end=poweroff && says \
		'^hello: panic=-1 crashkernel=17M printk.devkmsg=on console=hvc0 end=poweroff$' \
		"$dir/console" && [ ! -s "$dir/reason" ] && [ ! -s "$dir/log" ]
}

resets() {
	runs 32 hello 1 hvc0 end=cf9
}

# Its verdicts are on ttyS0, which shares hvc0's file.
input_on_hvc0() {
	runs 64 con 1 hvc0 'read=1 lines=3' --debug-exit &&
		says '^got typed by somebody$' "$dir/console" &&
		[ "$(grep -c '^hello from the console guest$' "$dir/console")" = 3 ] &&
		! grep '^FAIL' "$dir/console"
}

input_on_com1() {
	runs 65 hello 1 ttyS0 end=echo --debug-exit && says '^typed by somebody' "$dir/console"
}

# The third virtio console is for the log.
log_on_hvc2() {
	runs 64 con 1 hvc0 'console=2 lines=5' --debug-exit &&
		[ "$(grep -cx 'hello from the console guest' "$dir/log")" = 5 ] &&
		[ ! -s "$dir/ramdump" ]
}

# The guest's own words go to the second serial port, from which virtmgr reads why.
failure_on_com2() {
	runs 64 uart 1 hvc0 'port=0x2f8 gsi=3' --debug-exit &&
		says '^string output$' "$dir/reason"
}

# The composite may be written, the raw disk only read.
disks() {
	runs 64 blk 1 hvc0 'disk=1 queues=2 irq=msix' --debug-exit &&
		! grep '^FAIL' "$dir/console" && says '^q01 s' "$dir/part" &&
		runs 64 blk 1 hvc0 'disk=0 ro=1 irq=msix' --debug-exit &&
		! grep '^FAIL' "$dir/console"
}

# What a client may ask virtmgr for, and this VMM has not: by its name, and no guest.
refused() { # OPTION [VALUE]
	local got=0
	open_files hello
	avf 1 hvc0 end=poweroff
	listening "$VMM" "${args[@]}" "$@" >"$dir/out" 2>"$dir/err" || got=$?
	close_files
	[ $got = 35 ] && [ "$(cat "$dir/err")" = "vmm: ${1%%=*}: not supported by this VMM" ] &&
		[ ! -s "$dir/console" ] && return
	echo "exit status $got:" && cat "$dir/err" && return 1
}

misspelt() {
	local got=0
	"$VMM" run --gpus x "$GUESTS/hello.elf" >"$dir/out" 2>"$dir/err" || got=$?
	[ $got = 35 ] && [ "$(cat "$dir/err")" = 'vmm: --gpus: unknown option' ]
}

bad_global() { # WORDS ARGUMENT...
	local got=0 words=$1
	shift
	"$VMM" "$@" run "$GUESTS/hello.elf" >"$dir/out" 2>"$dir/err" || got=$?
	[ $got = 35 ] && says "$words" "$dir/err"
}

# The commands by which virtmgr watches and suspends a VM.
commands() {
	local got=0
	open_files hello
	avf 1 hvc0 end=spin
	listening timeout 60 "$VMM" "${args[@]}" >"$dir/out" 2>"$dir/err" &
	for _ in $(seq 100); do grep -qs ^hello "$dir/console" && break; sleep 0.1; done
	for command in suspend resume 'balloon 1048576' stop; do
		"$VMM" $command "$dir/crosvm.sock" || got=1
	done
	close_files
	wait $! && [ $got = 0 ]
}

silent() {
	"$VMM" --no-syslog --syslog-tag=tag --syslog-tag tag --extended-status --log-level=off \
		run --debug-exit "$GUESTS/hello.elf" >"$dir/out" 2>"$dir/err"
	[ $? = 64 ] && [ ! -s "$dir/err" ] && says '^hello'
}

check 'one CPU' boots 1
check "as many CPUs as the host's" boots host
check 'a reset' resets
check 'input on hvc0' input_on_hvc0
check 'input on ttyS0' input_on_com1
check 'the log on hvc2' log_on_hvc2
check 'the failure pipe on ttyS1' failure_on_com2
check 'disks, raw and composite' disks
check 'commands over the inherited socket' commands
check 'refused: --protected-vm' refused --protected-vm
check 'refused: --protected-vm-with-firmware' refused --protected-vm-with-firmware /x
check 'refused: --swiotlb' refused --swiotlb 12
check 'refused: --virt-cpufreq' refused --virt-cpufreq
check 'refused: --device-tree-overlay' refused --device-tree-overlay /proc/self/fd/35,filter
check 'refused: --gpu' refused --gpu=backend=2d,vulkan=true
check 'refused: --gpu-display' refused '--gpu-display=mode=windowed[640,480],dpi=[96,96]'
check 'refused: --android-display-service' refused --android-display-service=name
check 'refused: --input' refused --input 'single-touch[path=/x,width=1,height=1]'
check 'refused: --vfio' refused --vfio=/sys/x,iommu=pkvm-iommu,dt-symbol=l
check 'refused: --virtio-snd' refused --virtio-snd backend=aaudio,num_input_devices=1
check 'refused: --vhost-user' refused --vhost-user fs,socket=/x
check 'a misspelt option is unknown, not unsupported' misspelt
check 'no such option before the command' bad_global 'unknown command' --nonsense
check 'a log level that there is not' bad_global '"loud" is not one of' --log-level info,disk=loud
check 'options before the command' silent
t_done
