# shellcheck shell=bash
# For tests in the lab, to be sourced: Debian's kernels under vmm, with a job.
. tests/tap.sh
vmm=${VMM:-build/vmm}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

kernel() { guest/linux/kernel "$1"; }

# initramfs FLAVOUR [OPTION]...: prints the path of one that runs $dir/job.
initramfs() {
	local flavour=$1
	shift
	guest/linux/initramfs "$dir/initramfs" "$(kernel "$flavour")" "$@"
	echo "$dir/initramfs"
}

# job TEXT: what the guest runs; its initramfs gets it with -f /job=$dir/job.
job() { printf '%s\n' "$1" >"$dir/job"; }

# boot STATUS [OPTION]...: runs vmm, whose output goes to $dir/out and $dir/err.
boot() {
	local want=$1 status=0
	shift
	"$vmm" run --timeout 120 "$@" >"$dir/out" 2>"$dir/err" </dev/null || status=$?
	[ $status = "$want" ] && return 0
	echo "exit status $status instead of $want"
	tail -n 20 "$dir/out" "$dir/err"
	return 1
}

# said TEXT: the guest's console has it.
said() { grep -qF -- "$1" "$dir/out" || { echo "the guest did not say '$1'"; tail "$dir/out"; return 1; }; }
