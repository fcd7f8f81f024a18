# The bare-metal test guests: guest/bare/NAME.c becomes build/guest/NAME.elf, a PVH image
# (QEMU's -kernel takes it too); info also becomes info64.elf (no PVH note: the Linux
# 64-bit boot protocol) and info.bzImage. Included by the top Makefile, and usable alone:
#   make -f guest/bare/bare.mk guests
BUILD ?= build
OBJCOPY ?= objcopy

BARE := guest/bare
BARE_OUT := $(BUILD)/guest
BARE_OBJ := $(BARE_OUT)/obj

# No SSE (software KVM backends have none), no sanitizers: CFLAGS stay outside.
BARE_CFLAGS := -std=gnu17 -O2 -g -ffreestanding -mgeneral-regs-only -mno-red-zone \
	-fno-stack-protector -fno-pic -fno-pie -fcf-protection=none -fno-strict-aliasing \
	-fno-asynchronous-unwind-tables -fno-common -fno-omit-frame-pointer \
	-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wcast-qual -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wimplicit-fallthrough \
	$(if $(WERROR),-Werror) -I$(BARE)/lib
BARE_LDFLAGS := -nostdlib -static -no-pie -T $(BARE)/lib/bare.ld \
	-Wl,--build-id=none,-z,max-page-size=0x1000,-z,noexecstack,--no-warn-rwx-segments

BARE_GUESTS := $(patsubst $(BARE)/%.c,%,$(wildcard $(BARE)/*.c)) hostile
BARE_HOSTILE := $(patsubst $(BARE)/%,$(BARE_OBJ)/%.o,$(wildcard $(BARE)/hostile/*.c))
BARE_LIB := $(patsubst $(BARE)/lib/%,$(BARE_OBJ)/lib/%.o,\
	$(wildcard $(BARE)/lib/*.c) $(BARE)/lib/start.S $(BARE)/lib/ap.S)
BARE_NOTE := $(BARE_OBJ)/lib/note.S.o
BARE_IMAGES := $(BARE_GUESTS:%=$(BARE_OUT)/%.elf) $(BARE_OUT)/info64.elf \
	$(BARE_OUT)/info.bzImage

.PHONY: guests
guests: $(BARE_IMAGES)

$(BARE_OBJ)/%.o: $(BARE)/% $(BARE)/bare.mk
	@mkdir -p $(@D)
	$(CC) $(BARE_CFLAGS) -MMD -MP -c -o $@ $<

$(BARE_OUT)/%.elf: $(BARE_OBJ)/%.c.o $(BARE_NOTE) $(BARE_LIB) $(BARE)/lib/bare.ld
	$(CC) $(BARE_LDFLAGS) -Wl,-e,entry_pvh -o $@ $(filter %.o,$^)

$(BARE_OUT)/hostile.elf: $(BARE_HOSTILE) $(BARE_NOTE) $(BARE_LIB) $(BARE)/lib/bare.ld
	$(CC) $(BARE_LDFLAGS) -Wl,-e,entry_pvh -o $@ $(filter %.o,$^)

$(BARE_OUT)/info64.elf: $(BARE_OBJ)/info.c.o $(BARE_LIB) $(BARE)/lib/bare.ld
	$(CC) $(BARE_LDFLAGS) -o $@ $(filter %.o,$^)

# .bss becomes part of the file, since no loader clears memory behind a flat image.
$(BARE_OBJ)/info.bin: $(BARE_OUT)/info64.elf
	$(OBJCOPY) -O binary --set-section-flags .bss=alloc,load,contents $< $@

$(BARE_OUT)/info.bzImage: $(BARE)/lib/bzimage.S $(BARE_OBJ)/info.bin
	$(CC) -DBARE_PAYLOAD='"$(BARE_OBJ)/info.bin"' -c -o $(BARE_OBJ)/bzimage.o $<
	$(OBJCOPY) -O binary -j .data $(BARE_OBJ)/bzimage.o $@

.SECONDARY: $(BARE_GUESTS:%=$(BARE_OBJ)/%.c.o)
-include $(wildcard $(BARE_OBJ)/*.d $(BARE_OBJ)/*/*.d)
