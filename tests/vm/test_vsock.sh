#!/bin/bash
# vsock in user space: a guest connects to Unix sockets, and clients to the guest.
# shellcheck source=tests/vm/vm.sh
. "$(dirname "$0")/vm.sh"

sock=$dir/vsock
vsock=(--vsock "cid=42,backend=unix,path=$sock")
mib=1048576

# server: sends back what the guest sends to port 52.
server() {
	socat "UNIX-LISTEN:${sock}_52,fork" PIPE &
	server=$!
	until [ -S "${sock}_52" ]; do sleep 0.05; done
}

with_server() {
	server
	"$@"
	local status=$?
	kill "$server"
	wait "$server" 2>/dev/null
	return $status
}

# With vmm, not after it.
left_none() { [ ! -e "$sock" ] || { echo "$sock is still there" && return 1; }; }

cid() { guest vsock "${vsock[@]}" -p refused=99 && says '^hello from cid 42$' && left_none; }

# client INPUT OUTPUT: one client of the guest's port 7.
client() {
	{ echo 'CONNECT 7' && cat "$1"; } | socat -t 20 - "UNIX-CONNECT:$sock" >"$2"
}

listening() {
	in_background --debug-exit "${vsock[@]}" "$@" "$GUESTS/vsock.elf" || return
	until grep -q '^listening' "$dir/out"; do sleep 0.05; done
}

# What the clients sent comes back behind the answer, which counts host ports.
clients() { # COUNT BYTES
	local i status=0
	listening -p "listen=7 count=$1"
	head -c "$2" /dev/urandom >"$dir/data"
	for ((i = 0; i < $1; i++)); do
		client "$dir/data" "$dir/back"
		{ echo "OK $(((1 << 30) + i))" && cat "$dir/data"; } | cmp - "$dir/back" || break
	done
	wait "$pid"
	[ $? = 64 ] && [ $i = "$1" ] && left_none && return
	cat "$dir/out" "$dir/err"
	return 1
}

# reports STATUS LETTERS ORDER LINE...: the guest tells port 42 of the host the letters'
# lines, obeys the order, and has ended with the status; the lines came.
reports() {
	local want=$1 tell=$2 order=$3 status=0
	shift 3
	timeout 30 socat -u "UNIX-LISTEN:${sock}_42" "CREATE:$dir/report" &
	until [ -S "${sock}_42" ]; do sleep 0.05; done
	in_background "${vsock[@]}" -p "tell=$tell" "$GUESTS/agent.elf" &&
		{ echo 'CONNECT 1025' && printf %s "$order"; } |
			socat -t 20 - "UNIX-CONNECT:$sock" >"$dir/back" || return
	wait "$pid" || status=$?
	wait
	printf '%s\n' "$@" | diff - "$dir/report" && [ $status = "$want" ] && left_none && return
	cat "$dir/out" "$dir/err"
	return 1
}

# A guest that sleeps answers several at once.
asleep() {
	local i clients=()
	in_background "${vsock[@]}" "$GUESTS/agent.elf" || return
	head -c 20000 /dev/urandom >"$dir/data"
	for i in 1 2 3 4 5; do
		{ echo 'CONNECT 1024' && cat "$dir/data" && sleep 0.$i; } |
			socat -t 20 - "UNIX-CONNECT:$sock" >"$dir/back$i" &
		clients+=($!)
	done
	wait "${clients[@]}"
	for i in 1 2 3 4 5; do tail -n +2 "$dir/back$i" | cmp - "$dir/data" || break; done
	kill "$pid"
	ended "$pid" 5 && left_none && [ $i = 5 ]
}

# A second VM must not take the first one's socket away.
in_use() {
	listening -p 'listen=7'
	vm 1 --debug-exit "${vsock[@]}" "$GUESTS/vsock.elf" && says "$sock: somebody answers there already" "$dir/err"
	local status=$?
	[ -S "$sock" ] || status=1
	kill "$pid"
	ended "$pid" 5 && left_none && return $status
}

killed() {
	listening -p 'listen=7'
	kill -KILL "$pid"
	ended "$pid" 5 && gone "$sock"
}

killed_vm() {
	local status
	listening -p 'listen=7'
	kill -KILL "$(vm_process)"
	wait "$pid"
	status=$?
	[ $status = 33 ] && left_none
}

# The broker keeps its channel and the name that it will remove, and can only connect.
confined() {
	local broker facts fds status
	listening -p 'listen=7'
	broker=$(pgrep -P "$pid" vmm-broker)
	facts=$(grep -E '^(Seccomp|NoNewPrivs|Cap(Eff|Prm)):' "/proc/$broker/status" | tr -d '\n\t')
	fds=("/proc/$broker/fd"/*)
	echo "$facts, ${#fds[@]} descriptors"
	[[ ${#fds[@]} = 2 && $facts =~ ^CapPrm:0{15}[02]CapEff:0{15}[02]NoNewPrivs:1Seccomp:2$ ]]
	status=$?
	kill "$pid"
	ended "$pid" 5 && ended "$broker" 5 && return $status
}

relative() {
	local vmm
	vmm=$(realpath "$VMM")
	cd "$dir" && "$vmm" run --timeout 30 --debug-exit --vsock 42,backend=unix,path=vsock \
		-p 'connect=52 bytes=100' "$OLDPWD/$GUESTS/vsock.elf" >out 2>err
	[ $? = 64 ] || { cat out err && return 1; }
}

# Listens, and becomes vmm.
inherited() {
	perl -MSocket -MFcntl -e 'socket(S, AF_UNIX, SOCK_STREAM, 0) && bind(S, sockaddr_un(shift)) &&
		listen(S, 8) && fcntl(S, F_SETFD, 0) or die $!;
		$n = fileno(S); exec map { s/FD/$n/r } @ARGV' "$sock" \
		"$VMM" run --timeout 30 --debug-exit --vsock 42,backend=unix,path=/proc/self/fd/FD \
		-p connect=52 "$GUESTS/vsock.elf" >"$dir/out" 2>"$dir/err"
	[ $? = 64 ] || { cat "$dir/out" "$dir/err" && return 1; }
	[ -S "$sock" ] && rm "$sock" # it is not vmm's to remove
}

# managed FLAG...: vmm's manager is asked for port 99, and refuses; nothing has a path.
managed() {
	perl -MSocket -MFcntl -e 'socketpair(A, B, AF_UNIX, SOCK_SEQPACKET, 0) && fcntl(B, F_SETFD, 0) or die $!;
		unless (fork) { close A; $n = fileno(B); exec map { s/FD/$n/r } @ARGV }
		close B; sysread A, $q, 64; ($id, $port) = unpack "QLL", $q;
		print STDERR "asked for port $port\n"; syswrite A, pack "Qq", $id, -111;
		sysread A, $q, 64 and die "another request"; wait; exit $? >> 8' \
		"$VMM" run --timeout 30 --debug-exit --vsock 42,backend=unix,fd=FD "$@" -p refused=99 \
		"$GUESTS/vsock.elf" >"$dir/out" 2>"$dir/err"
	[ $? = 64 ] && says 'asked for port 99' "$dir/err"
}

# refused STATUS TEXT OPTION: a sentence, and no VM.
refused() { vm "$1" --vsock "42,$3" "$GUESTS/vsock.elf" && says "$2" "$dir/err"; }

check 'a backend of Unix sockets needs a path' \
	refused 35 '--vsock: backend=unix needs path= or fd=' backend=unix
check 'a path is not for vhost' refused 35 '--vsock: path= is not for backend=vhost' "path=$sock"
check 'a device is not for Unix sockets' \
	refused 35 '--vsock: device= is not for backend=unix' "backend=unix,path=$sock,device=/dev/null"
check 'a folder that is not there is an error that names it' \
	refused 1 "$dir/none/vsock: No such file" "backend=unix,path=$dir/none/vsock"
check 'the guest has its CID, and a port where nobody listens refuses' cid
check 'the guest connects, 1 MiB goes and comes back' \
	with_server guest vsock "${vsock[@]}" -p "connect=52 bytes=$mib"
check 'a hundred short connections of the guest' \
	with_server guest vsock "${vsock[@]}" -p 'connect=52 count=100'
check 'the same without the jail' \
	with_server guest vsock --disable-sandbox "${vsock[@]}" -p 'connect=52 bytes=5000 count=3'
check 'a client connects, 1 MiB goes and comes back' clients 1 $mib
check 'twenty clients, one after the other' clients 20 1000
check 'a guest that sleeps serves five clients at once' asleep
check 'a guest tells of its steps, and powers off as ordered' \
	reports 0 sr feo started ready 'finished 7' 'error 2 it has changed'
check 'and resets' reports 32 s b started
check 'and panics' reports 34 r po ready
check 'a relative path' with_server relative
check 'an inherited socket' with_server inherited
check 'a manager instead of a path' managed
check 'a manager, without the jail' managed --disable-sandbox
check 'no manager is an error' refused 1 'descriptor 99 is not open' backend=unix,fd=99
check 'a socket that is in use stays' in_use
check 'the socket goes when vmm is killed' killed
check "and when the VM's process is" killed_vm
check 'the broker is confined' confined
t_done
