# The bare-metal test guests: guest/bare/NAME.c (or NAME/*.c) becomes build/guest/NAME.elf,
# a PVH image, which QEMU's -kernel takes too; info also becomes an image of every other
# shape: info64.elf (no PVH note: the Linux 64-bit boot protocol), info.bzImage and
# info32.bzImage (no 64-bit entry), info32.elf (ELF32, PVH), multiboot.elf (ELF32),
# multiboot.bin (flat), info.rom (for the reset vector); pc.img is a disk. Included by the top Makefile; alone:
#   make -f guest/bare/bare.mk guests
BUILD ?= build
OBJCOPY ?= objcopy
# One compiler, whichever builds vmm: tests stop guests at their lines.
BARE_CC ?= gcc

BARE := guest/bare
BARE_OUT := $(BUILD)/guest
BARE_OBJ := $(BARE_OUT)/obj

# No SSE, which software KVM backends lack, and no sanitizers: CFLAGS stay outside.
BARE_CFLAGS := -std=gnu17 -O2 -g -ffreestanding -mgeneral-regs-only -mno-red-zone \
	-fno-stack-protector -fno-pic -fno-pie -fcf-protection=none -fno-strict-aliasing \
	-fno-asynchronous-unwind-tables -fno-common \
	-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wcast-qual -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wimplicit-fallthrough \
	$(if $(WERROR),-Werror) -I$(BARE)/lib
BARE_LDFLAGS := -nostdlib -static -T $(BARE)/lib/bare.ld \
	-Wl,--build-id=none,-z,max-page-size=0x1000,-z,noexecstack,--no-warn-rwx-segments

BARE_OBJS = $(patsubst $(BARE)/%,$(BARE_OBJ)/%.o,$(wildcard $(1)))
BARE_START := $(BARE_OBJ)/lib/start.S.o
BARE_NOTE := $(BARE_OBJ)/lib/note.S.o
# An archive, so that a guest carries only what it uses.
BARE_LIB := $(BARE_OUT)/bare.a

.PHONY: guests
guests: $(addprefix $(BARE_OUT)/,info64.elf info.bzImage info32.bzImage info32.elf \
	multiboot.elf multiboot.bin info.rom)

$(BARE_OBJ)/%.o: $(BARE)/% $(BARE)/bare.mk
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(BARE_CC) $(BARE_CFLAGS) -MMD -MP -c -o $@ $<

$(BARE_LIB): $(call BARE_OBJS,$(BARE)/lib/*.c) $(BARE_OBJ)/lib/ap.S.o
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

# $(1): name, $(2): objects, $(3): entry
define BARE_IMAGE
guests: $(BARE_OUT)/$(1).elf
$(BARE_OUT)/$(1).elf: $(BARE_START) $(2) $(BARE_LIB) $(BARE)/lib/bare.ld
	$$(call say,LD,$$@)
	$$(Q)$$(BARE_CC) $$(BARE_LDFLAGS) -Wl,-e,$(3) -o $$@ $$(filter-out %.ld,$$^)
endef
$(foreach g,$(patsubst $(BARE)/%.c,%,$(wildcard $(BARE)/*.c)),$(eval \
	$(call BARE_IMAGE,$(g),$(BARE_NOTE) $(BARE_OBJ)/$(g).c.o,entry_pvh)))
$(eval $(call BARE_IMAGE,hostile,$(BARE_NOTE) \
	$(call BARE_OBJS,$(BARE)/hostile/*.c),entry_pvh))
$(eval $(call BARE_IMAGE,info64,$(BARE_OBJ)/info.c.o,entry_linux64))

# .bss becomes part of the file, since no loader clears memory behind a flat image.
$(BARE_OBJ)/info.bin: $(BARE_OUT)/info64.elf
	$(Q)$(OBJCOPY) -O binary --set-section-flags .bss=alloc,load,contents $< $@

$(BARE_OUT)/info32.bzImage: BARE_ASFLAGS := -DBARE_32BIT
$(BARE_OUT)/%.bzImage: $(BARE)/lib/bzimage.S $(BARE_OBJ)/info.bin
	$(call say,AS,$@)
	$(Q)$(BARE_CC) -DBARE_PAYLOAD='"$(BARE_OBJ)/info.bin"' $(BARE_ASFLAGS) -c \
		-o $(BARE_OBJ)/$*.bzImage.o $<
	$(Q)$(OBJCOPY) -O binary -j .data $(BARE_OBJ)/$*.bzImage.o $@

$(BARE_OUT)/info32.elf: $(BARE_OUT)/info.elf
	$(Q)$(OBJCOPY) -O elf32-i386 $< $@

# Multiboot: an ELF32 file, and a flat one.
$(BARE_OBJ)/flat.S.o: $(BARE)/lib/multiboot.S
	$(Q)$(BARE_CC) $(BARE_CFLAGS) -DBARE_FLAT -c -o $@ $<
$(BARE_OBJ)/multiboot.elf $(BARE_OBJ)/flat.elf: $(BARE_OBJ)/%.elf: $(BARE_START) \
		$(BARE_OBJ)/info.c.o $(BARE_LIB) $(BARE_OBJ)/lib/multiboot.S.o \
		$(BARE_OBJ)/flat.S.o $(BARE)/lib/bare.ld
	$(call say,LD,$@)
	$(Q)$(BARE_CC) $(BARE_LDFLAGS) -Wl,-e,entry_multiboot -o $@ $(BARE_START) \
		$(BARE_OBJ)/$(if $(filter flat,$*),flat,lib/multiboot).S.o \
		$(BARE_OBJ)/info.c.o $(BARE_LIB)
$(BARE_OUT)/multiboot.elf: $(BARE_OBJ)/multiboot.elf
	$(Q)$(OBJCOPY) -O elf32-i386 $< $@
$(BARE_OUT)/multiboot.bin: $(BARE_OBJ)/flat.elf
	$(Q)$(OBJCOPY) -O binary $< $@

$(BARE_OUT)/info.rom: $(BARE)/lib/rom.S $(BARE)/lib/rom.ld $(BARE_OBJ)/info.bin
	$(call say,LD,$@)
	$(Q)$(BARE_CC) -DBARE_PAYLOAD='"$(BARE_OBJ)/info.bin"' -nostdlib -static \
		-Wl,--build-id=none,--no-warn-rwx-segments -T $(BARE)/lib/rom.ld \
		-o $(BARE_OBJ)/rom.elf $<
	$(Q)$(OBJCOPY) -O binary $(BARE_OBJ)/rom.elf $@

# What bootloaders start: small, with a linker script of its own.
guests: $(BARE_OUT)/payload.bzImage
$(BARE_OUT)/payload.bzImage: $(call BARE_OBJS,$(BARE)/payload/*.[cS]) $(BARE)/payload/payload.ld
	$(call say,LD,$@)
	$(Q)$(BARE_CC) -nostdlib -static -T $(BARE)/payload/payload.ld \
		-Wl,--build-id=none,--no-warn-rwx-segments \
		-o $(BARE_OBJ)/payload.elf $(filter %.o,$^)
	$(Q)$(OBJCOPY) -O binary $(BARE_OBJ)/payload.elf $@

# A disk for a PC's firmware.
guests: $(BARE_OUT)/pc.img
$(BARE_OUT)/pc.img: $(BARE)/pc/boot.S
	$(call say,AS,$@)
	@mkdir -p $(BARE_OBJ)
	$(Q)$(BARE_CC) -m16 -nostdlib -static -Wl,--build-id=none,-Ttext=0x7c00,--oformat=binary -o $@ $<

-include $(wildcard $(BARE_OBJ)/*.d $(BARE_OBJ)/*/*.d)
