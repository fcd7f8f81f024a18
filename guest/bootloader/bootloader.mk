# The bootloader: build/guest/bootloader.rom, for vmm run --bios. Built on the library of
# the bare-metal test guests; included by the top Makefile behind guest/bare/bare.mk.
#   BOOTLOADER_KEY=FILE   trust this key (avbtool extract_public_key) and no other

BOOTLOADER := guest/bootloader
BOOTLOADER_OBJ := $(BARE_OUT)/obj/bootloader
# Where it runs: at 1 MiB, below what any kernel asks for.
BOOTLOADER_ADDRESS := 0x100000

# What the verification needs of BearSSL, from Debian's source package.
BEARSSL_FILES := rsa/rsa_i62_pkcs1_vrfy rsa/rsa_i62_pub rsa/rsa_pkcs1_sig_unpad int/i62_modpow2 \
	$(addprefix int/i31_,add bitlen decmod decode decred encode fmont iszero modpow modpow2 \
	montmul mulacc muladd ninv31 reduce rshift sub tmont) int/i32_div32 \
	hash/sha2small hash/sha2big hash/dig_oid \
	$(addprefix codec/,ccopy dec32be dec64be enc32be enc64be)
BEARSSL_STAMP := $(BUILD)/gen/bearssl
$(BEARSSL_STAMP): $(BOOTLOADER)/bearssl
	@mkdir -p $(@D)
	$(Q)ln -sfn "$$($(BOOTLOADER)/bearssl)" $@

BOOTLOADER_CFLAGS = $(BARE_CFLAGS) -Wconversion -Wno-sign-conversion -I. -I$(BOOTLOADER) \
	-isystem $(BEARSSL_STAMP)/inc
BOOTLOADER_OBJS := $(patsubst $(BOOTLOADER)/%,$(BOOTLOADER_OBJ)/%.o, \
	$(wildcard $(BOOTLOADER)/*.c)) $(BOOTLOADER_OBJ)/start_linux.S.o \
	$(BEARSSL_FILES:%=$(BOOTLOADER_OBJ)/bearssl/%.o)

$(BOOTLOADER_OBJ)/%.c.o: $(BOOTLOADER)/%.c $(BOOTLOADER)/bootloader.mk $(BEARSSL_STAMP)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(BARE_CC) $(BOOTLOADER_CFLAGS) -MMD -MP -c -o $@ $<
$(BOOTLOADER_OBJ)/bearssl/%.o: $(BEARSSL_STAMP) $(BOOTLOADER)/bootloader.mk
	@mkdir -p $(@D)
	$(Q)$(BARE_CC) $(BARE_CFLAGS) -w -isystem $</inc -I$</src -c -o $@ $</src/$*.c
$(BOOTLOADER_OBJ)/start_linux.S.o: $(BOOTLOADER)/start_linux.S $(BOOTLOADER_KEY) FORCE
	@mkdir -p $(@D)
	$(Q)$(BARE_CC) $(BARE_CFLAGS) $(if $(BOOTLOADER_KEY),-DBOOTLOADER_KEY='"$(BOOTLOADER_KEY)"') \
		-c -o $@ $<

$(BARE_OBJ)/bootloader.elf: $(BARE_START) $(BOOTLOADER_OBJS) $(BARE_LIB) $(BARE)/lib/bare.ld
	$(call say,LD,$@)
	$(Q)$(BARE_CC) $(BARE_LDFLAGS) -Wl,--defsym=image_address=$(BOOTLOADER_ADDRESS) \
		-Wl,-e,entry_linux32 -o $@ $(filter-out %.ld,$^)
$(BARE_OBJ)/bootloader.bin: $(BARE_OBJ)/bootloader.elf
	$(Q)$(OBJCOPY) -O binary --set-section-flags .bss=alloc,load,contents $< $@
$(BARE_OUT)/bootloader.rom: $(BARE)/lib/rom.S $(BARE)/lib/rom.ld $(BARE_OBJ)/bootloader.bin
	$(call say,LD,$@)
	$(Q)$(BARE_CC) -DBARE_PAYLOAD='"$(BARE_OBJ)/bootloader.bin"' \
		-DPAYLOAD_ADDRESS=$(BOOTLOADER_ADDRESS) -nostdlib -static \
		-Wl,--build-id=none,--no-warn-rwx-segments -T $(BARE)/lib/rom.ld \
		-o $(BARE_OBJ)/bootloader.rom.elf $<
	$(Q)$(OBJCOPY) -O binary $(BARE_OBJ)/bootloader.rom.elf $@

# The same verification as a library of the host, for tests: all but what drives devices.
# BearSSL itself is not under test: neither sanitized nor traced by the fuzzers.
BOOTLOADER_HOST := $(BUILD)/lib/bootloader.a
BOOTLOADER_HOST_OBJS := $(call obj,$(filter-out %/main.c %/blk.c,$(wildcard $(BOOTLOADER)/*.c))) \
	$(BEARSSL_FILES:%=$(BUILD)/obj/bearssl/%.o)
$(BUILD)/obj/$(BOOTLOADER)/%.o: EXTRA_CFLAGS = $(WARN_STRICT) -isystem $(BEARSSL_STAMP)/inc
$(call obj,$(wildcard $(BOOTLOADER)/*.c)): $(BEARSSL_STAMP)
$(BUILD)/obj/bearssl/%.o: $(BEARSSL_STAMP) $(BUILD)/flags
	@mkdir -p $(@D)
	$(Q)$(CC) $(HARDEN) -O2 -g -w -isystem $</inc -I$</src -c -o $@ $</src/$*.c
# Nor are the loops over all bytes, of which a fuzzer learns nothing.
$(BUILD)/obj/$(BOOTLOADER)/crc32.o: EXTRA_CFLAGS += $(if $(findstring fuzzer,$(CFLAGS)),-O2 -fno-sanitize=all -fno-sanitize=fuzzer-no-link)
$(BOOTLOADER_HOST): $(BOOTLOADER_HOST_OBJS)
	@mkdir -p $(@D)
	@rm -f $@
	$(Q)ar rcs $@ $^

# What signs in tests.
BEARSSL_TEST_FILES := rsa/rsa_i31_pub rsa/rsa_i31_pkcs1_sign rsa/rsa_i31_priv rsa/rsa_pkcs1_sig_pad \
	rsa/rsa_i31_keygen rsa/rsa_i31_keygen_inner rand/hmac_drbg mac/hmac mac/hmac_ct \
	int/i31_moddiv codec/enc32le codec/dec32le
BOOTLOADER_RIG := $(BUILD)/obj/tests/unit/bootloader_rig.o \
	$(BEARSSL_TEST_FILES:%=$(BUILD)/obj/bearssl/%.o) $(BOOTLOADER_HOST)

# Its unit tests and fuzzers know nothing of vmm, and the names there may be the same.
BOOTLOADER_UNITS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/test_bootloader_*.c))
$(BOOTLOADER_UNITS): $(BUILD)/tests/unit/%: $(BUILD)/obj/tests/unit/%.o $(BOOTLOADER_RIG)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka
$(BUILD)/obj/tests/unit/test_bootloader_%.o $(BUILD)/obj/tests/unit/bootloader_rig.o \
$(BUILD)/obj/tests/fuzz/fuzz_bootloader_%.o: EXTRA_CFLAGS = -isystem $(BEARSSL_STAMP)/inc
$(call obj,$(wildcard tests/unit/*bootloader_*.c tests/fuzz/fuzz_bootloader_*.c)): $(BEARSSL_STAMP)
# What the bootloader would do with a disk, for tests in shell.
$(BUILD)/obj/tests/bootplan.o $(BUILD)/obj/tests/bench/read_hash.o: EXTRA_CFLAGS = -isystem $(BEARSSL_STAMP)/inc
$(call obj,tests/bootplan.c tests/bench/read_hash.c): $(BEARSSL_STAMP)
$(BUILD)/tests/bootplan: $(BUILD)/obj/tests/bootplan.o $(BOOTLOADER_HOST)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^
BOOTLOADER_FUZZERS := $(patsubst tests/%.c,$(BUILD)/%,$(wildcard tests/fuzz/fuzz_bootloader_*.c))
$(BOOTLOADER_FUZZERS): $(BUILD)/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(BOOTLOADER_RIG)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $^ -lcmocka

.PHONY: bootloader
bootloader: $(BARE_OUT)/bootloader.rom
guests: bootloader
-include $(wildcard $(BOOTLOADER_OBJ)/*.d)
