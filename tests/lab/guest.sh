# shellcheck shell=bash
# For tests in the lab, to be sourced: Debian's kernels under vmm, with a job.
. tests/tap.sh
vmm=${VMM:-build/vmm}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

kernel() { guest/linux/kernel "$1"; }

# initrd NAME JOB: prints the path of an initramfs whose guest runs JOB. What does not
# change of it (guest/linux/initramfs) was made outside, where it takes less time:
# cloud has no modules (any kernel will do), drivers those of the cloud kernel, standard
# those that only the standard kernel has.
initrd() {
	printf '%s\n' "$2" >"$dir/job"
	(cd "$dir" && echo job | cpio --quiet -o -H newc) | cat - "${BUILD:-build}/lab/$1" >"$dir/initrd"
	echo "$dir/initrd"
}

# boot STATUS [OPTION]...: runs vmm, whose output goes to $dir/out and $dir/err.
boot() {
	local want=$1 status=0
	shift
	"$vmm" run --timeout 300 "$@" >"$dir/out" 2>"$dir/err" </dev/null || status=$?
	[ $status = "$want" ] && return 0
	echo "exit status $status instead of $want"
	tail -n 20 "$dir/out" "$dir/err"
	return 1
}

# said TEXT: the guest's console has it.
said() { grep -qF -- "$1" "$dir/out" || { echo "the guest did not say '$1'"; tail "$dir/out"; return 1; }; }
