# The service's programs and libraries; included by the Makefile.

# The service's programs: each is its room, and what the rooms share.
service_lib = $(BUILD)/lib/service/$(1).a
SERVICE_SHARED := $(call service_lib,common) $(BUILD)/lib/disk.a $(BUILD)/lib/base.a
SERVICE_LIBS := -lsystemd -l:libjansson.a -l:liburing.a -l:libexpat.a
$(SERVICE_PROGRAMS): $(BUILD)/%: $(BUILD)/obj/service/%/main.o
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(SERVICE_LIBS)
MANAGER := $(call service_lib,virtmgr) $(call service_lib,client) $(BUILD)/obj/vmm/control_proto.o $(SERVICE_SHARED)
$(BUILD)/virtmgr: $(MANAGER)
$(BUILD)/early_virtmgr: $(call service_lib,early_virtmgr) $(MANAGER)
$(BUILD)/virtualizationservice: $(call service_lib,virtualizationservice) $(SERVICE_SHARED)
$(BUILD)/vm: $(call service_lib,vm) $(call service_lib,client) $(SERVICE_SHARED)
PATHS := $(BUILD)/obj/service/common/paths.o $(BUILD)/obj/pic/service/common/paths.o
$(PATHS): EXTRA_CFLAGS = -DBINDIR='"$(PREFIX)/bin"'
$(PATHS): $(BUILD)/prefix
$(BUILD)/prefix: FORCE
	@echo '$(PREFIX)' | cmp -s - $@ || echo '$(PREFIX)' >$@

# The C library: a second set of objects, one of which is the whole of the static library,
# so that only names of the API can clash with its users'.
AVF := $(BUILD)/libavf.so $(BUILD)/libavf.so.0 $(BUILD)/libavf.a $(BUILD)/libavf.pc
AVF_EXAMPLES := $(patsubst service/libavf/examples/%.c,$(BUILD)/examples/%,$(wildcard service/libavf/examples/*.c))
libavf: $(AVF) $(AVF_EXAMPLES)
pic = $(patsubst %.c,$(BUILD)/obj/pic/%.o,$(1))
AVF_PARTS := $(call pic,$(service/client_SRC) $(service/common_SRC) $(disk_SRC) $(base_SRC))
$(BUILD)/obj/pic/%.o: %.c $(BUILD)/flags | $(BUILD)/setup
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(EXTRA_CFLAGS) -fPIC -MMD -MP -c -o $@ $<
$(BUILD)/lib/service/avf-parts.a: $(AVF_PARTS)
	@mkdir -p $(@D)
	@rm -f $@
	$(Q)ar rcs $@ $^
$(BUILD)/lib/service/avf.o: $(call pic,$(service/libavf_SRC)) $(BUILD)/lib/service/avf-parts.a
	$(Q)ld -r -o $@ $^
	$(Q)objcopy --localize-hidden $@
$(BUILD)/libavf.a: $(BUILD)/lib/service/avf.o
	@rm -f $@
	$(Q)ar rcs $@ $^
# Sanitizers' run-time libraries are the program's.
$(BUILD)/libavf.so.0: $(BUILD)/lib/service/avf.o service/libavf/libavf.map
	$(call say,LD,$@)
	$(Q)$(CC) -shared $(filter-out -pie,$(ALL_LDFLAGS)) $(if $(SAN),,-Wl,-z,defs) -Wl,-soname,libavf.so.0 \
		-Wl,--version-script=service/libavf/libavf.map -o $@ $< -lsystemd
$(BUILD)/libavf.so: $(BUILD)/libavf.so.0
	@ln -sf libavf.so.0 $@
$(BUILD)/libavf.pc: service/libavf/libavf.pc.in $(BUILD)/prefix
	$(Q)sed 's|@PREFIX@|$(PREFIX)|' $< >$@
$(BUILD)/examples/%: service/libavf/examples/%.c $(BUILD)/libavf.so $(BUILD)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< -L$(BUILD) -lavf -Wl,-rpath,'$$ORIGIN/..'

# What D-Bus methods and tables the interface file makes.
INTERFACES := manager vm global backend
INTERFACE_HEADERS := $(foreach i,$(INTERFACES),$(BUILD)/gen/dbus/$(i).h $(BUILD)/gen/dbus/$(i)_vtable.h)
$(BUILD)/gen/dbus/%_vtable.h: service/org.vmm.xml service/common/interface | $(BUILD)/setup
	$(call say,GEN,$@)
	@mkdir -p $(@D)
	$(Q)service/common/interface $< $* vtable >$@
$(BUILD)/gen/dbus/%.h: service/org.vmm.xml service/common/interface | $(BUILD)/setup
	$(call say,GEN,$@)
	@mkdir -p $(@D)
	$(Q)service/common/interface $< $* names >$@
$(foreach r,$(SERVICE_ROOMS),$(call obj,$(wildcard service/$(r)/*.c))) \
	$(AVF_PARTS) $(call pic,$(service/libavf_SRC)): | $(INTERFACE_HEADERS)
