# shellcheck shell=bash
# For tests in shell, to be sourced: results in TAP on stdout. The last line of
# a test is t_done; without its plan (1..N) tests/run takes the test for dead.
t_count=0 t_status=0

t_ok() { t_count=$((t_count + 1)) && printf 'ok %d - %s\n' $t_count "$1"; }

# t_fail NAME [WHY]
t_fail() {
	t_count=$((t_count + 1)) t_status=1
	printf 'not ok %d - %s\n' $t_count "$1"
	[ -z "${2-}" ] || printf '%s\n' "$2" | sed 's/^/# /'
}

# t_skip NAME WHY; tests/skips.txt must list it.
t_skip() { t_count=$((t_count + 1)) && printf 'ok %d - %s # SKIP %s\n' $t_count "$1" "$2"; }

# check NAME COMMAND...: passes where the command (or function; it runs in a
# subshell) returns 0; otherwise shows what it printed.
check() {
	local name=$1 output status=0
	shift
	output=$("$@" 2>&1 </dev/null) || status=$?
	if [ $status = 0 ]; then
		t_ok "$name"
	else
		t_fail "$name" "$* returned $status${output:+: $output}"
	fi
}

t_done() { echo "1..$t_count" && exit $t_status; }
