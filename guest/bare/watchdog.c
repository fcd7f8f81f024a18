/*
 * The i6300esb watchdog (Intel 300641-004, chapter 16): its registers open only to the
 * right sequence, fed it does nothing, and then it ends the machine. Words: count=N
 * (each of the two counts, in ms), feeds=N (how often it is fed, every 1 to 2 ms),
 * lock=1, end=stop (stop it instead, and end with a verdict).
 */
#include "bare.h"
#include "pci.h"

enum { CONFIG = 0x60, LOCK = 0x68, LOCKED = 1, ENABLE = 2 };
enum { PRELOAD1 = 0, PRELOAD2 = 4, RELOAD = 0xc, COUNT = 0x100 };

static uint8_t devfn;
static uint64_t bar;

static void write_open(unsigned reg, uint32_t value)
{
	mmio_write16(bar + RELOAD, 0x80);
	mmio_write16(bar + RELOAD, 0x86);
	mmio_write32(bar + reg, value);
}

static void registers(uint32_t count)
{
	pci_write16(devfn, CONFIG, 3);
	mmio_write32(bar + PRELOAD1, 77);
	test_check(mmio_read32(bar + PRELOAD1) == 0xfffff, "closed registers",
		   "%x was written", mmio_read32(bar + PRELOAD1));
	write_open(PRELOAD1, count);
	write_open(PRELOAD2, count);
	test_check(mmio_read32(bar + PRELOAD1) == count &&
			   mmio_read32(bar + PRELOAD2) == count,
		   "open registers", "%x %x", mmio_read32(bar + PRELOAD1),
		   mmio_read32(bar + PRELOAD2));
}

static void feed(uint64_t times)
{
	while (times--) {
		struct wait w = wait_briefly();

		while (wait_more(&w))
			;
		write_open(RELOAD, COUNT);
	}
}

void guest_main(void)
{
	int found = pci_find(0x8086, 0x25ab, 0);
	uint8_t lock = arg_number("lock", 0) ? LOCKED : 0;
	struct wait w;

	if (!test_check(found >= 0, "watchdog", "there is none"))
		return;
	devfn = (uint8_t)found;
	pci_enable(devfn, true);
	bar = pci_bar(devfn, 0);
	registers((uint32_t)arg_number("count", 100));
	pci_write8(devfn, LOCK, ENABLE | lock);
	feed(arg_number("feeds", 0));
	print("fed\n");
	if (arg_is("end", "stop") || lock) {
		pci_write8(devfn, LOCK, 0);
		test_check(pci_read8(devfn, LOCK) == (lock ? (ENABLE | lock) : 0),
			   "lock register", "%02x", pci_read8(devfn, LOCK));
	}
	w = wait_start();
	while (wait_more(&w))
		;
	if (!arg_is("end", "stop"))
		test_fail("watchdog", "it does not end the machine");
}
