# The bare-metal test guests: guest/bare/NAME.c (or NAME/*.c) becomes build/guest/NAME.elf,
# a PVH image, which QEMU's -kernel takes too; info also becomes info64.elf (no PVH note:
# the Linux 64-bit boot protocol) and info.bzImage. Included by the top Makefile; alone:
#   make -f guest/bare/bare.mk guests
BUILD ?= build
OBJCOPY ?= objcopy

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
guests: $(BARE_OUT)/info64.elf $(BARE_OUT)/info.bzImage

$(BARE_OBJ)/%.o: $(BARE)/% $(BARE)/bare.mk
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BARE_CFLAGS) -MMD -MP -c -o $@ $<

$(BARE_LIB): $(call BARE_OBJS,$(BARE)/lib/*.c) $(BARE_OBJ)/lib/ap.S.o
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

# $(1): name, $(2): objects, $(3): entry
define BARE_IMAGE
guests: $(BARE_OUT)/$(1).elf
$(BARE_OUT)/$(1).elf: $(BARE_START) $(2) $(BARE_LIB) $(BARE)/lib/bare.ld
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(BARE_LDFLAGS) -Wl,-e,$(3) -o $$@ $$(filter-out %.ld,$$^)
endef
$(foreach g,$(patsubst $(BARE)/%.c,%,$(wildcard $(BARE)/*.c)),$(eval \
	$(call BARE_IMAGE,$(g),$(BARE_NOTE) $(BARE_OBJ)/$(g).c.o,entry_pvh)))
$(eval $(call BARE_IMAGE,hostile,$(BARE_NOTE) \
	$(call BARE_OBJS,$(BARE)/hostile/*.c),entry_pvh))
$(eval $(call BARE_IMAGE,info64,$(BARE_OBJ)/info.c.o,entry_linux64))

# .bss becomes part of the file, since no loader clears memory behind a flat image.
$(BARE_OBJ)/info.bin: $(BARE_OUT)/info64.elf
	$(Q)$(OBJCOPY) -O binary --set-section-flags .bss=alloc,load,contents $< $@

$(BARE_OUT)/info.bzImage: $(BARE)/lib/bzimage.S $(BARE_OBJ)/info.bin
	$(call say,AS,$@)
	$(Q)$(CC) -DBARE_PAYLOAD='"$(BARE_OBJ)/info.bin"' -c -o $(BARE_OBJ)/bzimage.o $<
	$(Q)$(OBJCOPY) -O binary -j .data $(BARE_OBJ)/bzimage.o $@

-include $(wildcard $(BARE_OBJ)/*.d $(BARE_OBJ)/*/*.d)
