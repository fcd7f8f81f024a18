#!/bin/bash
# The signed formats, by what is not ours: tests/vm/avb/parse (from the specifications),
# openssl, the kernel's bootconfig and Android's unpack_bootimg read what guest/bootloader/avb
# makes; and what mkbootimg and sfdisk make, the bootloader's code reads (tests/bootplan.c).
# The keys in tests/vm/avb are for this only; their signatures are the same in every run.
# shellcheck source=tests/vm/vm.sh
. "$(dirname "$0")/vm.sh"

avb=guest/bootloader/avb
here=tests/vm/avb
pem=$here/key-2048.pem
plan=${BUILD:-build}/tests/bootplan
bootconfig=${BUILD:-build}/lab/bootconfig
kernel=$GUESTS/info.bzImage
p=$dir/p o=$dir/o
mkdir "$p" "$o"

# The same bytes always.
seq 1 2000 >"$dir/kernel"
seq 5000 6000 >"$dir/ramdisk"
seq 7000 7100 >"$dir/vendor"
printf 'androidboot.hardware = "vmm"\nof.vendor = 1, 2\n' >"$dir/config"

# raw NAME=FILE...: a disk of these partitions, $dir/raw, by sfdisk.
raw() {
	local part at=2048 script='label: gpt'
	rm -f "$dir/raw"
	for part; do
		script+=$'\n'"start=$at, size=$((($(stat -c %s "${part#*=}") + 511) / 512)), name=\"${part%%=*}\""
		at=$((at + ($(stat -c %s "${part#*=}") + 1048575) / 1048576 * 2048))
	done
	truncate -s $(((at + 2048) * 512)) "$dir/raw"
	PATH=$PATH:/usr/sbin:/sbin sfdisk -q "$dir/raw" <<<"$script" || return
	at=1
	for part; do
		dd if="${part#*=}" of="$dir/raw" bs=1M seek=$at conv=notrunc status=none || return
		at=$((at + ($(stat -c %s "${part#*=}") + 1048575) / 1048576))
	done
}

# plans STATUS KEY NAME=FILE...: what the bootloader says of them is in $dir/plan.
plans() {
	local want=$1 got=0
	raw "${@:3}" || return
	"$plan" "$dir/raw" "$2" "$dir/initrd" >"$dir/plan" || got=$?
	[ $got = "$want" ] || { cat "$dir/plan" && return 1; }
}

# signed IMAGE ALG [NAME=IMAGE]...: its signature is one, of exactly what must be signed, by
# the key that it names, which is the one that we have.
signed() {
	"$here/parse" vbmeta "$1" "$o" "${@:3}" >"$dir/parsed" &&
		openssl rsa -in "$pem" -pubout -outform DER -out "$dir/public.der" 2>/dev/null &&
		cmp "$o/key.der" "$dir/public.der" &&
		openssl dgst "-$2" -verify "$o/key.der" -keyform DER -signature "$o/signature" "$o/signed"
}

# --- what we make ----------------------------------------------------------

# Every image, with the digest that is frozen in the tree.
frozen() {
	"$avb" key "$pem" "$p/key" && "$avb" key "$here/key-4096.pem" "$p/key-4096" &&
		for v in 2 3 4; do
			"$avb" boot "$p/boot-$v" --version $v --kernel "$dir/kernel" --ramdisk "$dir/ramdisk" \
				--cmdline "of=boot$v" || return
		done && "$avb" vendor_boot "$p/vendor_boot-3" --version 3 --ramdisk "$dir/vendor" --cmdline of=vendor3 &&
		"$avb" vendor_boot "$p/vendor_boot-4" --version 4 --ramdisk "$dir/vendor" --cmdline of=vendor4 \
			--bootconfig "$dir/config" && "$avb" init_boot "$p/init_boot" --ramdisk "$dir/ramdisk" && "$avb" misc "$p/misc" 15,0,1 14,2,0 &&
		cp "$p/boot-3" "$p/footer" && "$avb" footer "$p/footer" 65536 --name boot --key "$pem" &&
		"$avb" vbmeta "$p/vbmeta" --key "$pem" --rollback-index 7 --salt 0123456789abcdef --cmdline 'a=b c' \
			--hash boot="$p/boot-3" --hash init_boot="$p/init_boot" --chain "other=$p/key-4096" \
			--hashtree "system=$(printf '%064d' 1),abcd,1048576" &&
		(cd "$p" && sha256sum --strict -c "$OLDPWD/$here/digests")
}

described() {
	signed "$p/vbmeta" sha256 "boot=$p/boot-3" "init_boot=$p/init_boot" || return
	diff - "$dir/parsed" <<-END
		vbmeta sha256 2048 7 0
		hash boot $(stat -c %s "$p/boot-3") sha256 0123456789abcdef 0
		hash init_boot $(stat -c %s "$p/init_boot") sha256 0123456789abcdef 0
		hashtree system 1 1048576 1048576 0 4096 4096 0 sha256 $(printf '%064d' 1) abcd 0
		chain other 1 $(sha256sum <"$p/key-4096" | cut -d' ' -f1) 0
		cmdline 0 a=b c
	END
}

footed() {
	"$here/parse" footer "$p/footer" "$o" && cmp "$o/content" "$p/boot-3" &&
		signed "$o/vbmeta" sha256 "boot=$p/footer"
}

unpacks() { # VERSION
	unpack_bootimg --boot_img "$p/boot-$1" --out "$o" >"$dir/said" && cmp "$o/kernel" "$dir/kernel" &&
		cmp "$o/ramdisk" "$dir/ramdisk" && says "^boot image header version: $1$" "$dir/said" &&
		says "^command line args: of=boot$1$" "$dir/said" || return
	[ "$1" = 2 ] || {
		unpack_bootimg --boot_img "$p/vendor_boot-3" --out "$o" >"$dir/said" &&
			cmp "$o/vendor_ramdisk" "$dir/vendor" && says ' args: of=vendor3$' "$dir/said"
	}
}

# Where the newer unpack_bootimg cannot be had, this one still looks.
version_4() {
	"$here/parse" boot "$p/boot-4" "$o" >"$dir/said" && says '^cmdline of=boot4$' "$dir/said" &&
		cmp "$o/kernel" "$dir/kernel" && cmp "$o/ramdisk" "$dir/ramdisk" &&
		"$here/parse" boot "$p/init_boot" "$o" >"$dir/said" && [ ! -s "$o/kernel" ] &&
		cmp "$o/ramdisk" "$dir/ramdisk" && "$here/parse" vendor "$p/vendor_boot-4" "$o" >"$dir/said" &&
		says '^cmdline of=vendor4$' "$dir/said" && cmp "$o/ramdisk" "$dir/vendor" &&
		cmp "$o/bootconfig" "$dir/config"
}

# tells WORDS AVB-ARGUMENT...: one sentence, no traceback, and nothing is written.
tells() {
	local words=$1 got=0
	shift
	"$avb" "$@" 2>"$dir/said" || got=$?
	[ $got = 1 ] && [ "$(wc -l <"$dir/said")" = 1 ] && [ ! -e "$o/bad" ] && says "^avb: .*$words" "$dir/said" ||
		{ echo "$*:" && cat "$dir/said" && return 1; }
}
bad_values() {
	local sign=(vbmeta "$o/bad" --key "$pem")
	tells '--salt: "xyz" is not hex' "${sign[@]}" --salt xyz && tells '--salt: "abc" is not hex' "${sign[@]}" --salt abc &&
		tells '--hashtree a: "00,11" must be ROOT,SALT,SIZE' "${sign[@]}" --hashtree a=00,11 &&
		tells '--hashtree a: "0g" is not hex' "${sign[@]}" --hashtree a=0g,11,4096 &&
		tells '--hashtree a: "4k" is not a number' "${sign[@]}" --hashtree a=00,11,4k &&
		tells '--hashtree a: "-1" is not a number' "${sign[@]}" --hashtree a=00,11,-1 &&
		tells '"18446744073709551616" is not a number' "${sign[@]}" --rollback-index 18446744073709551616 &&
		tells '--flags: "x" is not a number' "${sign[@]}" --flags x &&
		tells '"15,7" must be PRIORITY,TRIES,SUCCESSFUL' misc "$o/bad" 15,7 &&
		tells '"16" is not a number from 0 to 15' misc "$o/bad" 16,0,0 &&
		tells '"" is not a number' misc "$o/bad" 1,,0 && tells 'more than 4 slots' misc "$o/bad" 1,1,1 1,1,1 1,1,1 1,1,1 1,1,1 &&
		cp "$dir/kernel" "$o/image" && tells 'footer: "64K" is not a number' footer "$o/image" 64K --name a --key "$pem"
}

check 'what avb makes has the digests that are frozen' frozen
check 'bad values are told in a sentence' bad_values
check 'an independent parser and openssl agree with vbmeta' described
check 'and with a footer' footed
check 'unpack_bootimg agrees with version 2' unpacks 2
check 'and with version 3' unpacks 3
check 'an independent parser agrees with version 4' version_4

# --- what the bootloader makes of it ----------------------------------------

# algorithm NAME HASH BITS: from the key to the digest on the command line; one bit of the
# signature, and another key, are seen.
algorithm() {
	local size at pem=$here/key-$3.pem
	"$avb" key "$pem" "$o/key" && "$avb" boot "$o/boot" --version 2 --kernel "$kernel" &&
		"$avb" vbmeta "$o/vbmeta" --key "$pem" --algorithm "$1" --hash "boot=$o/boot" &&
		signed "$o/vbmeta" "$2" "boot=$o/boot" && says "^vbmeta $2 $3 " "$dir/parsed" &&
		plans 0 "$o/key" vbmeta_a="$o/vbmeta" boot_a="$o/boot" || return
	size=$(stat -c %s "$o/image")
	says "\.hash_alg=$2 .*\.size=$size .*\.digest=$("$2sum" <"$o/image" | cut -d' ' -f1) " "$dir/plan" || return
	at=$((256 + ${2#sha} / 8 + $3 / 8 - 1)) # its last byte
	cp "$o/vbmeta" "$o/flipped"
	printf '%b' "\\x$(printf %x $(($(od -An -tu1 -j $at -N 1 "$o/vbmeta") ^ 1)))" |
		dd of="$o/flipped" bs=1 seek=$at conv=notrunc status=none
	plans 1 "$o/key" vbmeta_a="$o/flipped" boot_a="$o/boot" &&
		says '^BOOTLOADER_BAD_SIGNATURE vbmeta_a' "$dir/plan" &&
		"$avb" key "$here/key-$((6144 - $3)).pem" "$o/other" &&
		plans 1 "$o/other" vbmeta_a="$o/vbmeta" boot_a="$o/boot" &&
		says '^PVM_FIRMWARE_PUBLIC_KEY_MISMATCH vbmeta_a' "$dir/plan"
}
for hash in 256 512; do
	for bits in 2048 4096; do
		check "SHA-$hash with RSA-$bits" algorithm SHA${hash}_RSA$bits sha$hash $bits
	done
done

# mkbootimg VERSION PAGESIZE: its images, signed, and what must come out.
of_mkbootimg() {
	local parts=(boot_a="$o/boot") hashes=(--hash boot="$o/boot") vendor=()
	[ "$1" = 2 ] && vendor=(--dtb "$dir/config" --pagesize "$2") ||
		vendor=(--vendor_boot "$o/vendor" --vendor_ramdisk "$dir/vendor" --vendor_cmdline of=vendor
			--dtb "$dir/config" --pagesize "$2")
	mkbootimg --header_version "$1" --kernel "$kernel" --ramdisk "$dir/ramdisk" --cmdline 'of=mkbootimg' \
		"${vendor[@]}" -o "$o/boot" || return
	cp "$dir/ramdisk" "$dir/expected"
	[ "$1" = 2 ] || {
		cat "$dir/vendor" "$dir/ramdisk" >"$dir/expected"
		parts+=(vendor_boot_a="$o/vendor") hashes+=(--hash vendor_boot="$o/vendor")
	}
	"$avb" key "$pem" "$o/key" && "$avb" vbmeta "$o/vbmeta" --key "$pem" "${hashes[@]}" &&
		plans 0 "$o/key" vbmeta_a="$o/vbmeta" "${parts[@]}" && cmp "$dir/initrd" "$dir/expected" &&
		says "^cmdline $([ "$1" = 2 ] || echo 'of=vendor ')of=mkbootimg androidboot" "$dir/plan"
}
check 'what mkbootimg makes of version 2' of_mkbootimg 2 2048
check 'and with larger pages' of_mkbootimg 2 16384
check 'and of version 3' of_mkbootimg 3 4096

# Those of Debian 12 end at version 3; its backports have one that knows 4.
unpacks_4() {
	unpack_bootimg --boot_img "$p/boot-4" --out "$o" >"$dir/said" && cmp "$o/kernel" "$dir/kernel" &&
		cmp "$o/ramdisk" "$dir/ramdisk" && says '^boot image header version: 4$' "$dir/said" &&
		says '^command line args: of=boot4$' "$dir/said" && rm "$o"/* &&
		unpack_bootimg --boot_img "$p/init_boot" --out "$o" >"$dir/said" && cmp "$o/ramdisk" "$dir/ramdisk" &&
		unpack_bootimg --boot_img "$p/vendor_boot-4" --out "$o" >"$dir/said" &&
		says ' args: of=vendor4$' "$dir/said" && cmp "$o"/vendor_ramdisk00 "$dir/vendor" &&
		cmp "$o/bootconfig" "$dir/config"
}
of_mkbootimg_4() {
	local name hashes=() parts=()
	mkbootimg --header_version 4 --kernel "$kernel" --cmdline of=mkbootimg -o "$o/boot" &&
		mkbootimg --header_version 4 --ramdisk "$dir/ramdisk" -o "$o/init_boot" &&
		mkbootimg --header_version 4 --vendor_boot "$o/vendor_boot" --vendor_ramdisk "$dir/vendor" \
			--vendor_cmdline of=vendor --dtb "$dir/config" --vendor_bootconfig "$dir/config" || return
	for name in boot init_boot vendor_boot; do
		hashes+=(--hash "$name=$o/$name") parts+=("${name}_a=$o/$name")
	done
	cat "$dir/vendor" "$dir/ramdisk" >"$dir/expected"
	"$avb" key "$pem" "$o/key" && "$avb" vbmeta "$o/vbmeta" --key "$pem" "${hashes[@]}" &&
		plans 0 "$o/key" vbmeta_a="$o/vbmeta" "${parts[@]}" &&
		cmp -n "$(stat -c %s "$dir/expected")" "$dir/initrd" "$dir/expected" &&
		grep -aqF "$(cat "$dir/config")" "$dir/initrd" && says '^cmdline of=vendor of=mkbootimg' "$dir/plan"
}
if newer=$("$here/mkbootimg34" 2>"$dir/why"); then
	PATH=$newer:$PATH
	check 'unpack_bootimg 34 agrees with version 4' unpacks_4
	check 'what mkbootimg 34 makes of version 4' of_mkbootimg_4
else
	t_skip 'unpack_bootimg 34 agrees with version 4' "$(tail -n 1 "$dir/why")"
	t_skip 'what mkbootimg 34 makes of version 4' "$(tail -n 1 "$dir/why")"
fi

# The kernel's own tool finds the boot configuration behind the ramdisks.
configured() {
	cp "$dir/ramdisk" "$dir/odd" && printf '%s' "$1" >>"$dir/odd"
	"$avb" boot "$o/boot" --version 4 --kernel "$kernel" && "$avb" init_boot "$o/init" --ramdisk "$dir/odd" &&
		"$avb" vendor_boot "$o/vendor" --ramdisk "$dir/vendor" --bootconfig "$dir/config" &&
		"$avb" vbmeta "$o/vbmeta" --key "$pem" --hash boot="$o/boot" --hash init_boot="$o/init" \
			--hash vendor_boot="$o/vendor" && "$avb" key "$pem" "$o/key" &&
		signed "$o/vbmeta" sha256 && plans 0 "$o/key" vbmeta_a="$o/vbmeta" boot_a="$o/boot" \
			init_boot_a="$o/init" vendor_boot_a="$o/vendor" &&
		cmp -n "$(stat -c %s "$dir/vendor")" "$dir/initrd" "$dir/vendor" &&
		cat "$dir/vendor" "$dir/odd" | cmp -n "$(cat "$dir/vendor" "$dir/odd" | wc -c)" - "$dir/initrd" &&
		"$bootconfig" -l "$dir/initrd" >"$dir/listed" || return
	sed 's/PARTUUID=[0-9a-f-]*/PARTUUID=X/' "$dir/listed" | diff - <(cat <<-END
		androidboot.hardware = "vmm"
		androidboot.slot_suffix = "_a"
		androidboot.verifiedbootstate = "green"
		androidboot.vbmeta.device = "PARTUUID=X"
		androidboot.vbmeta.avb_version = "1.3"
		androidboot.vbmeta.device_state = "locked"
		androidboot.vbmeta.hash_alg = "sha256"
		androidboot.vbmeta.size = "$(stat -c %s "$o/image")"
		androidboot.vbmeta.digest = "$(sha256sum <"$o/image" | cut -d' ' -f1)"
		androidboot.veritymode = "enforcing"
		of.vendor = "1", "2"
	END
	)
}
for rest in '' 1 12 123; do
	name="the kernel's bootconfig reads what follows ramdisks of $(($(cat "$dir/vendor" "$dir/ramdisk" | wc -c) + ${#rest})) bytes"
	if [ -x "$bootconfig" ]; then
		check "$name" configured "$rest"
	else
		t_skip "$name" "$(cat "$bootconfig.why" 2>&1)"
	fi
done
t_done
