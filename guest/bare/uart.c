/*
 * The 16550A UART (PC16550D data sheet): registers, loopback, FIFO and its overrun, and
 * interrupts. Word: port=0x3f8 (COM1, which also carries the verdicts: nothing is
 * printed while the UART is spoilt), gsi=4.
 */
#include "apic.h"
#include "bare.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCRATCH, FCR = IIR };
enum {
	IER_RECEIVED = 1,
	IER_EMPTY = 2,
	IIR_NONE = 0x01,
	IIR_EMPTY = 0x02,
	IIR_RECEIVED = 0x04,
	IIR_TIMEOUT = 0x0c,
	LCR_LATCH = 0x80,
	LCR_8N1 = 0x03,
	MCR_OUT2 = 0x08,
	MCR_LOOP = 0x10,
	LSR_READY = 0x01,
	LSR_OVERRUN = 0x02,
	LSR_IDLE = 0x60,
	FIFO = 16,
};

static uint16_t port;
static volatile unsigned irqs;
static volatile uint8_t irq_cause;

static uint8_t get(unsigned reg)
{
	return port_in8((uint16_t)(port + reg));
}

static void set(unsigned reg, uint8_t value)
{
	port_out8((uint16_t)(port + reg), value);
}

static void plain(void)
{
	set(IER, 0);
	set(LCR, LCR_8N1);
	set(FCR, 0x07);
	set(MCR, 0x03);
}

static void interrupt(void *arg)
{
	(void)arg;
	irq_cause = get(IIR);
	set(IER, 0);
	irqs++;
}

static void registers(void)
{
	uint8_t a, b, low, high, lsr, ier, iir;

	set(SCRATCH, 0x5a);
	a = get(SCRATCH);
	set(SCRATCH, 0xa5);
	b = get(SCRATCH);
	set(LCR, LCR_LATCH | LCR_8N1);
	set(DATA, 0x34);
	set(IER, 0x12);
	low = get(DATA);
	high = get(IER);
	set(DATA, 1);
	set(IER, 0);
	set(LCR, LCR_8N1);
	set(IER, 0xff);
	ier = get(IER);
	set(IER, 0);
	lsr = get(LSR);
	iir = get(IIR);
	plain();
	test_check(a == 0x5a && b == 0xa5, "scratch register", "%02x and %02x", a, b);
	test_check(low == 0x34 && high == 0x12, "divisor latch", "%02x%02x", high, low);
	test_check((ier & 0xf0) == 0, "interrupt enable keeps 4 bits", "%02x", ier);
	test_check((lsr & LSR_IDLE) == LSR_IDLE, "transmitter idle", "LSR %02x", lsr);
	test_check((iir & 0xc0) == 0xc0, "FIFO seen", "IIR %02x", iir);
	test_check(iir & IIR_NONE, "no interrupt pending", "IIR %02x", iir);
}

/* In loopback the modem outputs appear as inputs: DTR-DSR, RTS-CTS, OUT1-RI, OUT2-DCD.
 */
static void loopback(void)
{
	uint8_t modem, ready, data, after, overrun, count = 0;

	set(MCR, MCR_LOOP | 0x0a);
	modem = get(MSR) & 0xf0;
	set(DATA, 0x42);
	ready = get(LSR);
	data = get(DATA);
	after = get(LSR);
	for (unsigned i = 0; i < FIFO + 4; i++)
		set(DATA, (uint8_t)i);
	overrun = get(LSR);
	while (count < 2 * FIFO && (get(LSR) & LSR_READY)) {
		get(DATA);
		count++;
	}
	plain();
	test_check(modem == 0x90, "loopback of modem lines", "MSR %02x", modem);
	test_check((ready & LSR_READY) && data == 0x42 && !(after & LSR_READY),
		   "loopback of data", "%02x, LSR %02x before and %02x after", data,
		   ready, after);
	test_check((overrun & LSR_OVERRUN) && count >= FIFO && count < 2 * FIFO,
		   "overrun", "LSR %02x, %u characters kept", overrun, count);
}

static bool interrupts_by(uint8_t enable)
{
	unsigned before = irqs;

	set(IER, enable);
	return apic_sleep_until_changed(&irqs, before);
}

static void interrupts(unsigned gsi)
{
	bool came, again, received;
	uint8_t cause, received_cause;

	trap_set(VECTOR_DEVICES, interrupt, NULL);
	ioapic_route(gsi, VECTOR_DEVICES, false);
	cpu_irq_on();
	set(MCR, 0x0b);
	came = interrupts_by(IER_EMPTY);
	cause = irq_cause & 0x0f;
	/* Enabling it again with the transmitter still empty must raise it again. */
	again = interrupts_by(IER_EMPTY);
	set(MCR, MCR_LOOP | MCR_OUT2);
	set(DATA, 0x42);
	received = interrupts_by(IER_RECEIVED);
	received_cause = irq_cause & 0x0f;
	get(DATA);
	ioapic_mask(gsi);
	plain();
	test_check(came && cause == IIR_EMPTY, "interrupt: transmitter empty",
		   came ? "IIR %02x" : "none came", cause);
	test_check(again, "interrupt: empty once more", "none came");
	test_check(received && (received_cause == IIR_RECEIVED ||
				received_cause == IIR_TIMEOUT),
		   "interrupt: received", received ? "IIR %02x" : "none came",
		   received_cause);
}

/* Several characters in one instruction: the machine may hand them over in one exit. */
static void strings(void)
{
	static const char text[] = "string output\n";
	const char *from = text;
	size_t n = sizeof(text) - 1;
	uint8_t in[4] = { 0 }, *to = in;

	__asm__ volatile("rep outsb" : "+S"(from), "+c"(n) : "d"(port) : "memory");
	set(SCRATCH, 0x77);
	n = sizeof(in);
	__asm__ volatile("rep insb"
			 : "+D"(to), "+c"(n)
			 : "d"((uint16_t)(port + SCRATCH))
			 : "memory");
	test_check(in[0] == 0x77 && in[1] == 0x77 && in[2] == 0x77 && in[3] == 0x77,
		   "string input", "%02x %02x %02x %02x", in[0], in[1], in[2], in[3]);
}

void guest_main(void)
{
	port = (uint16_t)arg_number("port", 0x3f8);
	apic_init();
	plain();
	registers();
	loopback();
	interrupts((unsigned)arg_number("gsi", 4));
	strings();
}
