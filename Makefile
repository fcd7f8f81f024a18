# vmm: a minimal virtual machine monitor for Linux KVM.
# make help lists the targets and variables.

ARCH ?= $(shell uname -m)
# Not ?=, which make's own default of cc would win over.
ifeq ($(origin CC),default)
CC := gcc
endif
SAN ?=
WERROR ?=
V ?=
PREFIX ?= /usr/local
DESTDIR ?=
TIME ?= 10

comma := ,
# A sanitizer build has a folder of its own, so both can live side by side.
BUILD ?= build$(if $(SAN),/$(subst $(comma),-,$(SAN)))
export BUILD
export VMM ?= $(BUILD)/vmm
export GUESTS ?= $(BUILD)/guest

ifeq ($(filter $(ARCH),x86_64),)
$(error ARCH=$(ARCH): only x86_64 hosts are supported so far)
endif

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-7s %s\n' $(1) '$(2)')

# --- flags -----------------------------------------------------------------

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wcast-qual -Wwrite-strings -Wundef -Wvla -Wformat=2 \
	-Wimplicit-fallthrough $(if $(WERROR),-Werror)
# Where bytes that we did not write are parsed.
WARN_STRICT := -Wconversion -Wno-sign-conversion
# Sanitizers replace the checks of FORTIFY and want frames.
HARDEN := -fstack-protector-strong -fstack-clash-protection -fno-strict-aliasing \
	-fno-common -fvisibility=hidden -fPIE -fcf-protection \
	$(if $(SAN),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all \
	-fno-omit-frame-pointer -DSANITIZED=1)
CFLAGS ?= -O2 -g
ALL_CFLAGS := -std=gnu17 -D_GNU_SOURCE -I. -I$(BUILD)/gen -Iservice/libavf/include -pthread $(WARN) $(HARDEN) $(SANFLAGS) $(CFLAGS)
# Static, so that vmm needs no library but libc at run time.
STATIC_LIBS := -l:liburing.a -l:libjansson.a
ALL_LDFLAGS := -pie -pthread -Wl,-z,relro,-z,now,-z,noexecstack $(SANFLAGS) $(LDFLAGS)

# --- sources ---------------------------------------------------------------

LIBS := base disk devices virtio boot vmm
base_SRC := $(wildcard base/*.c)
disk_SRC := $(wildcard disk/*.c)
devices_SRC := $(wildcard devices/*.c)
virtio_SRC := $(wildcard virtio/*.c)
boot_SRC := $(wildcard boot/*.c boot/$(ARCH)/*.c)
vmm_SRC := $(filter-out vmm/main.c vmm/seccomp_gen.c,$(wildcard vmm/*.c vmm/$(ARCH)/*.c))
UNIT_SRC := $(wildcard tests/unit/test_*.c)
UNIT_HELP_SRC := $(filter-out $(UNIT_SRC) %/bootloader_rig.c,$(wildcard tests/unit/*.c))
SERVICE_ROOMS := common client virtmgr early_virtmgr virtualizationservice vm libavf
$(foreach r,$(SERVICE_ROOMS),$(eval service/$(r)_SRC := $(filter-out %/main.c,$(wildcard service/$(r)/*.c))))
SERVICE_PROGRAMS := $(patsubst service/%/main.c,$(BUILD)/%,$(wildcard service/*/main.c))
VM_TEST_SRC := $(wildcard tests/vm/test_*.c)
VM_HELP_SRC := $(filter-out $(VM_TEST_SRC),$(wildcard tests/vm/*.c))
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
BENCH_SRC := $(wildcard tests/bench/*.c)

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
# Link order: what uses comes before what is used.
ARCHIVES := $(foreach l,vmm boot virtio devices disk base,$(BUILD)/lib/$(l).a)
UNITS := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(UNIT_SRC))
VM_TESTS := $(patsubst tests/vm/%.c,$(BUILD)/tests/vm/%,$(VM_TEST_SRC))
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(FUZZ_SRC))
BENCHES := $(BUILD)/bench/preload.so \
	$(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(filter-out %/preload.c,$(BENCH_SRC)))


.PHONY: all services libavf help run test test-unit test-vm test-lab test-programs bench fuzz soak install install-libavf \
	format lint lint-format lint-arrows clean guests bench-programs
.DELETE_ON_ERROR:
.SECONDARY:

all: $(BUILD)/vmm services libavf
services: $(SERVICE_PROGRAMS)

help:
	@echo 'make              build $(BUILD)/vmm'
	@echo 'make run          boot a demo guest'
	@echo 'make test         all tests; test-unit, test-vm, test-lab: one tier'
	@echo 'make bench        start-up time and counts beside a floor and QEMU'
	@echo 'make soak         the long variants of some tests'
	@echo 'make fuzz TIME=S  run every fuzz target for S seconds (default $(TIME))'
	@echo 'make guests       the tests'\'' guests and the bootloader, in $(BUILD)/guest'
	@echo 'make install      into DESTDIR=$(DESTDIR) PREFIX=$(PREFIX)'
	@echo 'make format lint clean'
	@echo 'Variables: SAN=address,undefined|thread  WERROR=1  CC=clang  V=1  ARCH='

# Objects are rebuilt when the flags change.
FLAGS_NOW := $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(FLAGS_NOW)' | cmp -s - $@ || printf '%s\n' '$(FLAGS_NOW)' >$@
# Phony: after .SECONDARY, a file that is not there makes nothing out of date.
.PHONY: FORCE

# The tools that a first build needs; a few milliseconds when they are there.
$(BUILD)/setup: tests/setup
	@mkdir -p $(@D)
	@tests/setup build
	@touch $@
# Those that tests and benchmarks need, some of them to be built.
$(BUILD)/setup-test: tests/setup | $(BUILD)/setup
	@tests/setup test
	@touch $@
$(call obj,$(wildcard tests/*/*.c)): | $(BUILD)/setup-test

$(BUILD)/obj/%.o: %.c $(BUILD)/flags | $(BUILD)/setup
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(EXTRA_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/obj/virtio/%.o $(BUILD)/obj/disk/%.o $(BUILD)/obj/boot/%.o: EXTRA_CFLAGS = $(WARN_STRICT)

define archive
$(BUILD)/lib/$(1).a: $(call obj,$($(1)_SRC))
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(Q)ar rcs $$@ $$^
endef
$(foreach l,$(LIBS) $(addprefix service/,$(SERVICE_ROOMS)),$(eval $(call archive,$(l))))

$(BUILD)/vmm: $(call obj,vmm/main.c) $(ARCHIVES)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(STATIC_LIBS)

include service/service.mk

# --- generated -------------------------------------------------------------

# The DSDTs, compiled by ACPICA; its C output holds a time stamp, so od makes ours.
$(BUILD)/gen/dsdt_pc.h: IASL_FLAGS = -D PC
$(BUILD)/gen/dsdt.h $(BUILD)/gen/dsdt_pc.h: %.h: boot/x86_64/dsdt.asl | $(BUILD)/setup
	$(call say,IASL,$@)
	@mkdir -p $(@D)
	$(Q)iasl -we $(IASL_FLAGS) -p $* $< >$*.log || { cat $*.log; false; }
	$(Q)od -An -v -tx1 $*.aml | sed 's/ \(..\)/0x\1,/g' >$@
$(BUILD)/obj/boot/x86_64/acpi.o: $(BUILD)/gen/dsdt.h $(BUILD)/gen/dsdt_pc.h

# Seccomp filters are compiled here, by libseccomp, and are mere tables at run time.
$(BUILD)/gen/seccomp-gen: vmm/seccomp_gen.c vmm/seccomp_rules.h $(BUILD)/flags | $(BUILD)/setup
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)gcc -std=gnu17 -D_GNU_SOURCE -I. $(WARN) $(if $(SAN),-DSANITIZED=1) -O1 -o $@ $< -lseccomp
$(BUILD)/gen/seccomp_filters.h: $(BUILD)/gen/seccomp-gen
	$(call say,GEN,$@)
	$(Q)$< >$@
$(BUILD)/obj/vmm/jail.o: $(BUILD)/gen/seccomp_filters.h

# --- running and testing ---------------------------------------------------

-include guest/bare/bare.mk
include guest/bootloader/bootloader.mk
include guest/agent/agent.mk

run: all $(BUILD)/tests/kvm-probe
	@guest/linux/demo

$(BUILD)/tests/kvm-probe: $(BUILD)/obj/tests/kvm-probe.o
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^

$(BUILD)/tests/unit/%: $(BUILD)/obj/tests/unit/%.o $(call obj,$(UNIT_HELP_SRC)) $(ARCHIVES)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka $(STATIC_LIBS)
# Those of the service link it, and nothing of vmm but the control protocol.
SERVICE_ARCHIVES := $(foreach r,libavf vm early_virtmgr virtmgr virtualizationservice client common,$(call service_lib,$(r))) \
	$(BUILD)/obj/vmm/control_proto.o $(BUILD)/lib/disk.a $(BUILD)/lib/base.a
$(filter $(BUILD)/tests/unit/test_service_%,$(UNITS)): $(BUILD)/tests/unit/%: $(BUILD)/obj/tests/unit/%.o $(SERVICE_ARCHIVES)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka $(SERVICE_LIBS)
# They start the program.
$(addprefix $(BUILD)/tests/unit/test_service_,global daemon hostile): | $(BUILD)/virtualizationservice
$(BUILD)/tests/unit/test_service_agent: | $(BUILD)/guest/agent

test-programs: $(UNITS)

# Programs of the vm tier are clients of the service.
$(VM_TESTS): $(BUILD)/tests/vm/%: $(BUILD)/obj/tests/vm/%.o $(call obj,$(VM_HELP_SRC)) \
		$(call service_lib,libavf) $(call service_lib,client) $(SERVICE_SHARED)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka $(SERVICE_LIBS)
$(call obj,$(VM_TEST_SRC) $(VM_HELP_SRC)): | $(INTERFACE_HEADERS)

# What guests in the lab boot from; made here, where it takes less time than there.
LAB_IMAGES := $(addprefix $(BUILD)/lab/,cloud drivers standard fio vsock service signed pc-disk)
MODULES_drivers := virtio_pci virtio_blk virtio_rng virtio_console virtio_balloon virtio_net button evdev ext4 pvpanic-pci
MODULES_standard := i6300esb
MODULES_pc := virtio_pci virtio_blk
MODULES_vsock := virtio_pci vmw_vsock_virtio_transport
MODULES_service := virtio_pci virtio_blk vmw_vsock_virtio_transport pvpanic-pci virtio_console
FILES_service := agent=$(BUILD)/guest/agent:755
FILES_vsock := vsock=$(BUILD)/lab/vsock-agent:755
$(BUILD)/lab/%: guest/linux/initramfs guest/linux/init guest/linux/kernel
	@tests/setup run
	$(call say,GUEST,$@)
	@mkdir -p $(@D)
	$(Q)guest/linux/initramfs $@ "$$(guest/linux/kernel $(or $(filter standard,$*),cloud))" \
		$(addprefix -m ,$(MODULES_$*)) $(addprefix -f ,$(FILES_$*))
$(BUILD)/lab/vsock: $(BUILD)/lab/vsock-agent
$(BUILD)/lab/service: $(BUILD)/guest/agent
# For guests, too, so it is a program that needs nothing.
$(BUILD)/lab/vsock-agent: tests/lab/vsock.c | $(BUILD)/setup
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)gcc -std=gnu17 -D_GNU_SOURCE $(WARN) -O2 -static -pthread -o $@ $<

# fio, udev, and data for them.
$(BUILD)/lab/fio: tests/lab/tools
	@tests/setup test
	$(call say,GUEST,$@)
	$(Q)rm -rf $@ && $< $@
# Signed disks for the bootloader.
$(BUILD)/lab/signed: tests/lab/signed $(BUILD)/lab/cloud $(BUILD)/vmm
	@tests/setup test
	$(call say,GUEST,$@)
	$(Q)$< $@
# A disk as PCs boot it.
$(BUILD)/lab/pc-disk: tests/lab/pc_disk $(BUILD)/lab/pc
	@tests/setup test
	$(call say,GUEST,$@)
	$(Q)$< $@ $(BUILD)/lab/pc
# The kernel's own programs; without one, its test is skipped and tells why.
$(BUILD)/lab/vsock_test $(BUILD)/lab/bootconfig: $(BUILD)/lab/%: guest/linux/% | $(BUILD)/setup
	$(call say,GUEST,$@)
	@mkdir -p $(@D)
	$(Q)guest/linux/$* $@ 2>$@.why || cat $@.why
# The service's other client there.
$(BUILD)/obj/tests/lab/service_client.o: | $(INTERFACE_HEADERS)
$(BUILD)/lab/service_client: $(BUILD)/obj/tests/lab/service_client.o $(call service_lib,client) $(SERVICE_SHARED)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(SERVICE_LIBS)
LAB_PROGRAMS := $(BUILD)/lab/vsock_test $(BUILD)/lab/service_client $(BUILD)/tests/vm/test_service_crash $(BUILD)/tests/vm/test_service_early
# What tests/vm runs beside vmm.
VM_PROGRAMS := $(BUILD)/tests/bootplan $(BUILD)/lab/bootconfig $(VM_TESTS)

test: all guests $(BUILD)/tests/kvm-probe $(LAB_IMAGES) $(LAB_PROGRAMS) $(VM_PROGRAMS)
	@tests/setup test
	@$(MAKE) --no-print-directory test-programs
	@tests/run all
test-unit:
	@tests/setup test
	@$(MAKE) --no-print-directory test-programs
	@tests/run unit
test-vm: all guests $(VM_PROGRAMS)
	@tests/setup test
	@tests/run vm
test-lab: all guests $(LAB_IMAGES) $(LAB_PROGRAMS) $(BUILD)/tests/unit/test_block_device
	@tests/setup test
	@tests/run lab
# More of the same, of the tests that know SOAK.
soak: all guests $(LAB_IMAGES) $(LAB_PROGRAMS)
	@tests/setup test
	@SOAK=1 tests/run lab 'test_vsock*'

$(BUILD)/bench/launch: $(call obj,$(wildcard tests/bench/launch/*.c))
$(BUILD)/obj/tests/bench/preload.o: EXTRA_CFLAGS = -fPIC
$(BUILD)/bench/preload.so: $(BUILD)/obj/tests/bench/preload.o
	@mkdir -p $(@D)
	$(Q)$(CC) -shared $(SANFLAGS) $(LDFLAGS) -o $@ $^
# These drive the real device in a fake machine.
$(BUILD)/bench/disks $(BUILD)/bench/vsock_unix: $(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o \
		$(call obj,$(wildcard tests/unit/fake_*.c)) $(ARCHIVES)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(STATIC_LIBS)
# This is a client, as the tests of the service are.
$(BUILD)/obj/tests/bench/service.o: | $(INTERFACE_HEADERS)
$(BUILD)/bench/service: $(BUILD)/obj/tests/bench/service.o $(call obj,$(VM_HELP_SRC)) \
		$(call service_lib,client) $(SERVICE_SHARED)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(SERVICE_LIBS)
$(BUILD)/bench/read_hash: $(BUILD)/obj/tests/bench/read_hash.o $(BOOTLOADER_HOST)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^
$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(ARCHIVES)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(STATIC_LIBS)
bench-programs: $(BENCHES)
bench: all guests bench-programs $(BUILD)/lab/vsock
	@tests/setup test
	@tests/bench/run

# Fuzzers are their own build: clang, libFuzzer, both sanitizers.
FUZZ_BUILD := build/fuzzing
fuzz:
	@tests/setup test
	@$(MAKE) --no-print-directory BUILD=$(FUZZ_BUILD) CC=clang SAN=address,undefined \
		CFLAGS='-O1 -g -fsanitize=fuzzer-no-link' fuzz-programs
	@tests/fuzz/run $(FUZZ_BUILD) $(TIME)
.PHONY: fuzz-programs
fuzz-programs: $(FUZZERS)
$(BUILD)/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(call obj,$(wildcard tests/unit/fake_*.c)) $(ARCHIVES)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(STATIC_LIBS)
SERVICE_FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(shell grep -l '^#include "service/' $(FUZZ_SRC)))
$(SERVICE_FUZZERS): $(BUILD)/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(SERVICE_ARCHIVES)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(SERVICE_LIBS)

# --- the rest --------------------------------------------------------------

MANUALS := $(wildcard vmm/*.scd service/*/*.scd)
manual = $(BUILD)/$(notdir $(basename $(1)))
UNITS_DIR := service/virtualizationservice/systemd
install: all install-libavf $(foreach m,$(MANUALS),$(call manual,$m)) $(BUILD)/virtualizationservice.service bootloader $(BUILD)/guest/agent
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(BUILD)/vmm $(SERVICE_PROGRAMS) $(DESTDIR)$(PREFIX)/bin
	$(foreach m,$(MANUALS),install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man$(subst .,,$(suffix $(basename $m))) $(call manual,$m) &&) :
	install -D -m 644 service/vm/completion.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/vm
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib/systemd/system $(UNITS_DIR)/virtualizationservice.socket $(BUILD)/virtualizationservice.service
	install -D -m 644 $(UNITS_DIR)/sysusers.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d/virtualizationservice.conf
	install -D -m 644 $(UNITS_DIR)/tmpfiles.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/virtualizationservice.conf
	install -D -m 644 $(BARE_OUT)/bootloader.rom $(DESTDIR)$(PREFIX)/share/vmm/bootloader.rom
	install -D -m 755 $(BOOTLOADER)/avb $(DESTDIR)$(PREFIX)/share/vmm/avb
	install -D -m 755 $(BUILD)/guest/agent $(DESTDIR)$(PREFIX)/share/vmm/agent
install-libavf: libavf $(BUILD)/libavf.3
	install -d $(DESTDIR)$(PREFIX)/include/android $(DESTDIR)$(PREFIX)/include/vmm $(DESTDIR)$(PREFIX)/lib/pkgconfig
	install -m 644 service/libavf/include/android/virtualization.h $(DESTDIR)$(PREFIX)/include/android
	install -m 644 service/libavf/include/vmm/avf.h $(DESTDIR)$(PREFIX)/include/vmm
	install -m 644 $(BUILD)/libavf.a $(BUILD)/libavf.so.0 $(DESTDIR)$(PREFIX)/lib
	ln -sf libavf.so.0 $(DESTDIR)$(PREFIX)/lib/libavf.so
	install -m 644 $(BUILD)/libavf.pc $(DESTDIR)$(PREFIX)/lib/pkgconfig
	install -D -m 644 $(BUILD)/libavf.3 $(DESTDIR)$(PREFIX)/share/man/man3/libavf.3
$(foreach m,$(MANUALS),$(eval $(call manual,$m): $m))
$(foreach m,$(MANUALS),$(call manual,$m)): | $(BUILD)/setup
	$(Q)scdoc <$< >$@
$(BUILD)/virtualizationservice.service: $(UNITS_DIR)/virtualizationservice.service.in $(BUILD)/prefix
	$(Q)sed 's|@BINDIR@|$(PREFIX)/bin|' $< >$@

C_FILES = $(shell git ls-files -co --exclude-standard '*.c' '*.h')
GENERATED := $(BUILD)/gen/seccomp_filters.h $(BUILD)/gen/dsdt.h $(BUILD)/gen/dsdt_pc.h $(BUILD)/gen/bearssl $(INTERFACE_HEADERS)
format:
	@tests/setup lint
	clang-format -i $(C_FILES)
lint-format:
	@tests/setup lint
	@clang-format --dry-run --Werror $(C_FILES)
lint-arrows: $(GENERATED)
	@tests/arrows
lint: lint-format lint-arrows
	@tests/lint

clean:
	rm -rf build

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
