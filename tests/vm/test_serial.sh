#!/bin/bash
# Consoles beyond the first: sockets, the debug console, the wiring of AVF's manager,
# readers that stop, and the way out of a terminal.
# shellcheck source=tests/vm/vm.sh
. "$(dirname "$0")/vm.sh"

hello=$GUESTS/hello.elf
con=$GUESTS/con.elf

# lines: a datagram socket at $dir/sock; prints what comes until $dir/done exists.
lines() {
	perl -MIO::Socket::UNIX -MIO::Select -e '
		my $s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ARGV[0]) or die;
		$| = 1;
		my $sel = IO::Select->new($s);
		for (;;) {
			if ($sel->can_read(0.1)) { $s->recv(my $m, 4096); print "<$m>\n" }
			elsif (-e $ARGV[1]) { exit }
		}' "$dir/sock" "$dir/done"
}

# Of a listener that comes late, one datagram a line, and the last without its newline.
datagrams() {
	rm -f "$dir/sock" "$dir/done"
	(sleep 0.3 && lines >"$dir/lines") &
	guest con --serial type=stdout \
		--serial "type=unix,path=$dir/sock,hardware=virtio-console" -p 'lines=300' || return
	touch "$dir/done"
	wait $!
	[ "$(grep -cx '<hello from the console guest>' "$dir/lines")" = 300 ] && return
	tail -n 3 "$dir/lines"
	return 1
}

# stream PERL: a stream socket at $dir/sock; runs PERL with the first connection as $c.
# Always in the background, which it then is.
stream() {
	exec perl -MIO::Socket::UNIX -e '
		my $s = IO::Socket::UNIX->new(Type => SOCK_STREAM, Local => $ARGV[0], Listen => 1);
		alarm 20;
		my $c = $s->accept or die; $c->autoflush; eval $ARGV[1]; die $@ if $@' \
		"$dir/sock" "$1"
}

both_ways() {
	rm -f "$dir/sock"
	# shellcheck disable=SC2016 # perl's own variables
	stream 'print $c "spoken q"; print while <$c>' >"$dir/heard" &
	vm 64 --debug-exit -p end=echo --serial \
		"type=unix-stream,path=$dir/sock,input-unix-stream,console=true" "$hello" || return
	wait $!
	says '^hello: panic=-1 console=ttyS0 end=echo' "$dir/heard" &&
		says '^spoken ' "$dir/heard"
}

both_ways_hvc() {
	rm -f "$dir/sock"
	# shellcheck disable=SC2016
	stream 'print $c "typed into the socket\n"; print while <$c>' >"$dir/heard" &
	guest con --serial type=stdout -p read=1 --serial \
		"type=unix-stream,path=$dir/sock,input-unix-stream,hardware=virtio-console" || return
	wait $!
	says '^got typed into the socket$' && says '^got typed into the socket$' "$dir/heard"
}

output_only() {
	rm -f "$dir/sock"
	# shellcheck disable=SC2016
	stream 'print while <$c>' >"$dir/heard" &
	vm 64 --debug-exit --serial "type=unix-stream,path=$dir/sock" "$hello" || return
	wait $!
	says '^hello' "$dir/heard"
}

# Its peer goes while the guest speaks.
peer_leaves() {
	rm -f "$dir/sock"
	# shellcheck disable=SC2016
	stream 'close $c' &
	guest con --serial type=stdout -p 'flood=40' --serial \
		"type=unix-stream,path=$dir/sock,hardware=virtio-console"
}

inherited_socket() {
	perl -MSocket -e '
		socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, 0) or die;
		$^F = 255; fcntl($b, 2, 0);
		my $n = fileno $b;
		my $pid = fork // die;
		if (!$pid) {
			exec @ARGV[0..$#ARGV-1], "--serial",
				"type=unix-stream,path=/proc/self/fd/$n,input-unix-stream", $ARGV[-1];
		}
		close $b; alarm 20;
		syswrite $a, "through a descriptor q";
		print while <$a>;
		waitpid $pid, 0; exit $? >> 8' \
		"$VMM" run --debug-exit -p end=echo "$hello" >"$dir/heard" 2>"$dir/err"
	[ $? = 64 ] && says '^through a descriptor ' "$dir/heard"
}

no_socket() {
	vm 1 --serial "type=unix-stream,path=$dir/nothing" "$hello" && says nothing "$dir/err" &&
		vm 1 --serial "type=unix,path=$dir/nothing" "$hello" && says nothing "$dir/err"
}

debugcon() { # PORT OPTIONS
	rm -f "$dir/debug"
	guest hello --serial type=stdout -p "debugcon=$1" \
		--serial "hardware=debugcon,type=file,path=$dir/debug$2" &&
		says '^hello from the debug console$' "$dir/debug"
}

two_debugcons() {
	vm 1 --serial type=stdout --serial hardware=debugcon --serial hardware=debugcon,num=2 \
		"$hello" && says 'debugcon1: debugcon-port=0x402' "$dir/err"
}

stamped() {
	vm 64 --debug-exit --serial type=stdout,out-timestamp "$hello" &&
		says '^\[20[0-9-]{8} [0-9:]{8}\.[0-9]{9}\]: hello'
}

queue_sizes() {
	guest con --serial type=stdout -p 'size=32 lines=100' \
		--serial 'type=sink,hardware=virtio-console,max-queue-sizes=[2,32]'
}

# ttyS0 and hvc0 to one descriptor, a pipe for the reason of a failure on ttyS1, hvc1 and
# hvc2; input from a descriptor.
five_ports() { # CONSOLE
	local out=$dir/out5 log=$dir/log5
	rm -f "$out" "$log" "$dir/in" "$dir/ramdump"
	mkfifo "$dir/in"
	exec 5>>"$out" 6>"$dir/ramdump" 7>>"$log" 8<>"$dir/in"
	echo 'typed by somebody' >&8
	"$VMM" --extended-status run --timeout 30 --debug-exit \
		--serial=type=file,path=/proc/self/fd/5,hardware=serial,num=1 \
		--serial=type=file,path=/proc/self/fd/4,hardware=serial,num=2 \
		--serial=type=file,path=/proc/self/fd/5,input=/proc/self/fd/8,hardware=virtio-console,num=1 \
		--serial=type=file,path=/proc/self/fd/6,hardware=virtio-console,num=2 \
		--serial=type=file,path=/proc/self/fd/7,hardware=virtio-console,num=3 \
		-p "read=1 lines=2 console=$1" "$con" 4> >(cat >"$dir/failure") 2>"$dir/err"
	[ $? = 64 ]
	local status=$?
	exec 5>&- 6>&- 7>&- 8>&-
	return $status
}

avf_wiring() {
	five_ports 0 && says '^got typed by somebody$' "$dir/out5" &&
		[ "$(grep -c '^hello from the console guest$' "$dir/out5")" = 2 ] &&
		[ ! -s "$dir/ramdump" ] && [ ! -s "$dir/log5" ]
}

# The same, with the guest's words in the log port: its own file, and nothing else's.
avf_log() {
	rm -f "$dir/out5" "$dir/log5"
	echo 'what an earlier VM said' >"$dir/log5"
	exec 5>>"$dir/out5" 7>>"$dir/log5"
	"$VMM" run --timeout 30 --debug-exit \
		--serial=type=file,path=/proc/self/fd/5,hardware=serial,num=1 \
		--serial=type=sink,hardware=serial,num=2 \
		--serial=type=file,path=/proc/self/fd/5,hardware=virtio-console,num=1 \
		--serial=type=sink,hardware=virtio-console,num=2 \
		--serial=type=file,path=/proc/self/fd/7,hardware=virtio-console,num=3 \
		-p "lines=50 console=2" "$con" 2>"$dir/err"
	[ $? = 64 ] || { cat "$dir/err" && return 1; }
	exec 5>&- 7>&-
	[ "$(head -n 1 "$dir/log5")" = 'what an earlier VM said' ] &&
		[ "$(grep -cx 'hello from the console guest' "$dir/log5")" = 50 ] &&
		says '^PASS' "$dir/out5"
}

# Whoever has the other end reads nothing, and the guest has 10 MB to say.
stopped_reader() { # OUTPUT
	guest con --serial type=stdout -p 'lines=0 flood=160' \
		--serial "$1,hardware=virtio-console" && says 'some output was lost' "$dir/err"
}

stopped_pipe() {
	mkfifo "$dir/pipe"
	exec 9<>"$dir/pipe"
	stopped_reader "type=file,path=$dir/pipe"
	local status=$?
	exec 9>&-
	return $status
}

# vmm's own words go there, too.
stopped_stderr() {
	local got=0
	mkfifo "$dir/both"
	exec 9<>"$dir/both"
	timeout -k 1 25 "$VMM" run --timeout 20 --debug-exit --serial "type=file,path=$dir/out" \
		--serial type=stdout,hardware=virtio-console -p 'lines=0 flood=160' "$con" \
		>"$dir/both" 2>&1 || got=$?
	exec 9>&-
	[ $got = 64 ] || { echo "exit status $got" && return 1; }
}

stopped_socket() {
	rm -f "$dir/sock"
	# shellcheck disable=SC2016
	stream 'sleep 15' &
	local server=$!
	stopped_reader "type=unix-stream,path=$dir/sock"
	local status=$?
	kill "$server"
	wait "$server" 2>/dev/null
	return $status
}

# All of what a slow reader is sent, the end of it after the guest's own end.
slow_reader() {
	mkfifo "$dir/slow"
	perl -e 'open my $f, "<", $ARGV[0]; my $n = 0;
		while (my $r = sysread $f, my $b, 8192) { $n += $r; select undef, undef, undef, 0.02 }
		print $n' "$dir/slow" >"$dir/count" &
	guest con --serial type=stdout -p 'lines=0 flood=4' \
		--serial "type=file,path=$dir/slow,hardware=virtio-console" || return
	wait $!
	[ "$(cat "$dir/count")" = $((4 * 65536)) ] && return
	echo "$(cat "$dir/count") bytes came" && return 1
}

# What is typed into the terminal of a guest that never reads it; how vmm ends.
leaves() { # KEYS STATUS ARGUMENT...
	local keys=$1 status=$2
	shift 2
	rm -f "$dir/out"
	cat >"$dir/session" <<-END
		"$VMM" run --timeout 4 $* "$hello"
		echo status \$?
	END
	(
		for _ in $(seq 200); do
			grep -qs '^hello' "$dir/out" && break
			sleep 0.05
		done
		# shellcheck disable=SC2059 # the keys are a format
		printf "$keys"
		for _ in $(seq 200); do
			grep -qs '^status' "$dir/out" && break
			sleep 0.05
		done
	) | timeout 25 script -qec "bash $dir/session" /dev/null >"$dir/out" 2>&1
	says "^status $status" || { cat "$dir/out" && return 1; }
}

escape() { leaves 'ab\001x' 0 -p end=halt && says 'stopped from the terminal'; }
told() { says 'Ctrl-A x ends the VM'; }
other_escape() {
	leaves '\001x\035x' 0 --escape '^]' -p end=halt && says 'Ctrl-] x ends the VM' &&
		says 'stopped from the terminal'
}
no_escape() { leaves '\001x' 37 --escape none -p end=halt && ! says 'ends the VM' >/dev/null; }
not_a_terminal() {
	printf '\001xq' | vm 64 --debug-exit -p end=echo "$hello" && says $'^\001xPASS' &&
		! says 'ends the VM' "$dir/err" >/dev/null
}

check 'each line is a datagram' datagrams
check 'a stream socket, both ways' both_ways
check 'a stream socket, both ways, on hvc0' both_ways_hvc
check 'a stream socket, output alone' output_only
check 'a peer that leaves does not matter' peer_leaves
check 'a socket that is inherited' inherited_socket
check 'a socket that is not there is named' no_socket
check 'debug console' debugcon 0x402 ''
check 'debug console at another port' debugcon 0xe9 ,debugcon-port=0xe9
check 'debug consoles at the same port' two_debugcons
check 'lines with their time, in the jail' stamped
check 'queue sizes' queue_sizes
check 'five ports as AVF has them' avf_wiring
check 'the log port of the five, appended' avf_log
check 'a pipe that nobody reads blocks no guest' stopped_pipe
check 'a standard error that nobody reads blocks nobody' stopped_stderr
check 'a socket that nobody reads blocks no guest' stopped_socket
check 'a slow reader gets all' slow_reader
if command -v script >/dev/null; then
	check 'Ctrl-A x leaves the terminal of a guest that hangs' escape
	check 'the user is told so' told
	check 'another escape key' other_escape
	check 'no escape key' no_escape
else
	t_skip 'the escape key' 'there is no script(1)'
fi
check 'the escape key is data where no terminal is' not_a_terminal
t_done
