# The guest's agent, build/guest/agent: with musl, so that it is small and needs nothing of
# the guest. musl has no headers of the kernel's, so they come behind its own.
AGENT_CFLAGS := -std=gnu17 -D_GNU_SOURCE $(WARN) -Os -static -s -fno-asynchronous-unwind-tables \
	-fstack-protector-strong -Wl,-z,noexecstack -I. -idirafter /usr/include \
	-idirafter /usr/include/$(shell gcc -print-multiarch)
AGENT_SRC := $(wildcard guest/agent/*.c) base/shell_proto.c
AGENT_HEADERS := guest/agent/shell.h base/shell_proto.h base/bytes.h
$(BUILD)/guest/agent: $(AGENT_SRC) $(AGENT_HEADERS) guest/agent/agent.mk | $(BUILD)/setup
	@tests/setup agent
	$(call say,GUEST,$@)
	@mkdir -p $(@D)
	$(Q)musl-gcc $(AGENT_CFLAGS) -o $@ $(AGENT_SRC)
