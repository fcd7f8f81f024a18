#!/usr/bin/env bash
# Debian's kernel through the bootloader, from signed disks to userspace (tests/lab/signed).
set -euo pipefail
. tests/lab/guest.sh
disks=${BUILD:-build}/lab/signed

# starts VERSION: to the guest's job, by what was signed.
starts() {
	boot 0 -m 512 --bios "${GUESTS:-build/guest}/bootloader.rom" --bios-key "$disks/key" \
		--block "$disks/v$1/disk,format=composite,ro=true" -p of=host &&
		said 'bootloader: starting slot _a' && said 'GUEST-EXIT 0'
}
# has WORDS...: the guest's command line, in this order.
has() {
	local cmdline
	cmdline=$(sed -n 's/^cmdline: \(.*[^\r]\)\r*$/ \1 /p' "$dir/out")
	for word; do
		# shellcheck disable=SC2053,SC2295 # it is a pattern
		[[ $cmdline = *' '$word' '* ]] || { echo "no '$word' behind what came before it in: $cmdline"; return 1; }
		cmdline=" ${cmdline#*' '$word' '}"
	done
}
lacks() { said 'cmdline: ' && ! grep '^cmdline: ' "$dir/out" | grep -F -- "$1"; }

tree='androidboot.vbmeta.hashtree.system=1,4096,4096,1048576,1048576,sha256,0000*1,abcd'
avb=(androidboot.slot_suffix=_a androidboot.verifiedbootstate=green 'androidboot.vbmeta.device=PARTUUID=*-*-*-*-*'
	androidboot.vbmeta.avb_version=1.3 androidboot.vbmeta.device_state=locked androidboot.vbmeta.hash_alg=sha256
	'androidboot.vbmeta.size=[1-9]*' 'androidboot.vbmeta.digest=*' androidboot.veritymode=enforcing)

check 'a kernel and its ramdisk of version 2 boot' starts 2
check 'its command line is the host'\''s, the image'\''s, and what AVB says' \
	has of=host quiet of=boot "$tree" of=vbmeta "${avb[@]}"
check 'version 3 boots with both ramdisks' starts 3
check 'its command line has the vendor'\''s, too' has of=host quiet of=vendor of=boot "$tree" of=vbmeta "${avb[@]}"
check 'version 4 boots with init_boot' starts 4
check 'its command line asks for bootconfig' has of=host quiet of=vendor of=boot of=vbmeta bootconfig
check 'which has what AVB says' lacks androidboot.verifiedbootstate
check 'the kernel finds no fault with what follows the ramdisks' said 'initrd: whole'
t_done
