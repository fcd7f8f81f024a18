# A page of "make bench": from reset to the kernel's entry through the bootloader, beside
# reading and hashing the same bytes, in one run in the lab, whose clock counts
# instructions. See tests/bench/run.
# shellcheck shell=bash
set -euo pipefail

rounds=${N:-3}
out=$BENCH/bootloader.tsv
images=$BENCH/bootloader

# The smallest kernel, in 14 MB, and a ramdisk of 8 MB.
prepare() {
	local avb=guest/bootloader/avb
	mkdir -p "$images"
	[ -e "$images/key.pem" ] || openssl genrsa -out "$images/key.pem" 2048 2>/dev/null
	python3 - "$GUESTS/payload.bzImage" "$images/kernel" <<-'END'
		import os, struct, sys
		data = bytearray(open(sys.argv[1], 'rb').read())
		struct.pack_into('<I', data, 0x1f4, 14000000 // 16 - (data[0x1f1] + 1) * 32)
		open(sys.argv[2], 'wb').write(data + os.urandom(14000000 - len(data)))
	END
	head -c 8000000 /dev/urandom >"$images/ramdisk"
	"$avb" key "$images/key.pem" "$images/key"
	"$avb" boot "$images/boot" --version 2 --kernel "$images/kernel" --ramdisk "$images/ramdisk"
	"$avb" vbmeta "$images/vbmeta" --key "$images/key.pem" --hash boot="$images/boot"
}

# In the lab. What starting vmm and ending the guest takes is measured and taken off.
measure() {
	local start none verified hashed
	cp "$images"/{boot,vbmeta,key} "$GUESTS/bootloader.rom" "$GUESTS/payload.bzImage" /tmp/
	"$VMM" create_composite /tmp/disk boot_a:/tmp/boot vbmeta_a:/tmp/vbmeta
	took() {
		local status=0
		start=${EPOCHREALTIME/./}
		"$VMM" run --timeout 200 --debug-exit -m 256 "$@" >/tmp/out 2>&1 </dev/null || status=$?
		ms=$(((${EPOCHREALTIME/./} - start) / 10))
		[ $status = 64 ] || { echo "status $status" && cat /tmp/out; return 1; } >&2
	}
	printf 'round\tprogram\terror\tms\n'
	for ((round = 0; round <= rounds; round++)); do
		took /tmp/payload.bzImage && none=$ms
		took --bios /tmp/bootloader.rom --bios-key /tmp/key --block /tmp/disk,format=composite,ro=true &&
			verified=$((ms - none))
		hashed=$("$BENCH/read_hash" /tmp/boot) && hashed=${hashed% *}
		[ $round = 0 ] || printf '%d\t%s\t\t%s\n' $round 'read and hash' "$hashed" \
			$round bootloader "${verified%??}.${verified: -2}"
	done
}
if [ "${1-}" = measure ]; then
	measure
	exit
fi

prepare
echo
echo "Verified boot of a kernel of 14 MB with a ramdisk of 8 MB, in the lab; $rounds rounds in turn."
tests/lab/run --icount --timeout 280 -- bash tests/bench/page_bootloader.sh measure >"$out"
tests/bench/table "$out" "from reset to the kernel's entry" \
	"ms=ms:median:1" "min=ms:min:1" "max=ms:max:1" "x paired=ms:xpaired:2"
cat <<'EOF'

read and hash: the boot image from a file into memory, and SHA-256 of it by the bootloader's
own code, in a process of the host. bootloader: firmware, disks, signature, the same bytes
through virtio-blk and their hash, kernel and ramdisk put into place; the time of a run
that starts a kernel of two kilobytes directly is taken off. The clock counts instructions
of the emulated host: compare these numbers with each other only.
EOF
echo "Every sample: $out"
