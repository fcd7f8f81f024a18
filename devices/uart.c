/*
 * A 16550A UART: National Semiconductor PC16550D data sheet, sections named below.
 *
 * What is sent leaves at once, so the transmitter is always empty. Received
 * bytes come from the chardev on the loop's thread, as many as the FIFO has room
 * for and only when somebody reads them; nothing overruns outside of loopback.
 * No modem is there: CTS, DSR and DCD are on.
 */
#include "devices/uart.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"

#define FIFO_SIZE 16
#define NUM_PORTS 8

/* Section 8.0, table II; by offset, and by what DLAB selects. */
enum {
	REG_DATA = 0, /* RBR, THR; DLL */
	REG_IER = 1, /* DLM */
	REG_IIR = 2, /* FCR */
	REG_LCR = 3,
	REG_MCR = 4,
	REG_LSR = 5,
	REG_MSR = 6,
	REG_SCR = 7,
};

#define IER_RDI 0x01 /* received data available */
#define IER_THRI 0x02 /* transmitter holding register empty */
#define IER_RLSI 0x04 /* line status */
#define IER_MSI 0x08 /* modem status */
#define IER_ALL 0x0f

#define IIR_MSI 0x00
#define IIR_NONE 0x01
#define IIR_THRI 0x02
#define IIR_RDI 0x04
#define IIR_RLSI 0x06
#define IIR_TIMEOUT 0x0c
#define IIR_FIFOS 0xc0

#define FCR_ENABLE 0x01
#define FCR_CLEAR_RX 0x02
#define FCR_TRIGGER(fcr) ((fcr) >> 6)

#define LCR_DLAB 0x80

#define MCR_DTR 0x01
#define MCR_RTS 0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08 /* on a PC, the gate between the UART and its wire */
#define MCR_LOOP 0x10
#define MCR_ALL 0x1f

#define LSR_DR 0x01
#define LSR_OE 0x02
#define LSR_TX_EMPTY 0x60 /* THRE and TEMT */

#define MSR_DELTA 0x0f
#define MSR_TERI 0x04
#define MSR_CTS 0x10
#define MSR_DSR 0x20
#define MSR_RI 0x40
#define MSR_DCD 0x80

/* Line status reads in a row that show a guest waiting for input. */
#define POLLS 4

struct uart {
	struct device dev;
	struct chardev *chr;
	unsigned gsi;

	uint8_t ier, lcr, mcr, scr, fcr, dll, dlm;
	uint8_t msr; /* the delta bits are kept, the others follow from mcr */
	bool overrun;
	bool thr_pending; /* a THRE interrupt has not been read from IIR yet */
	bool level; /* of the wire */

	uint8_t rx[FIFO_SIZE];
	unsigned rx_head, rx_used;
	unsigned polls;
	bool starved; /* the chardev waits for chardev_resume() */
};

static const uint16_t ports[] = { 0x3f8, 0x2f8, 0x3e8, 0x2e8 };

uint16_t uart_port(unsigned num)
{
	assert(num >= 1 && num <= 4);
	return ports[num - 1];
}

/* Section 8.5: what interrupts now, by priority. */
static uint8_t interrupt_id(const struct uart *u)
{
	static const uint8_t triggers[] = { 1, 4, 8, 14 };
	unsigned trigger = u->fcr & FCR_ENABLE ? triggers[FCR_TRIGGER(u->fcr)] : 1;

	if ((u->ier & IER_RLSI) && u->overrun)
		return IIR_RLSI;
	/* Bytes below the trigger level time out at once. */
	if ((u->ier & IER_RDI) && u->rx_used > 0)
		return u->rx_used >= trigger ? IIR_RDI : IIR_TIMEOUT;
	if ((u->ier & IER_THRI) && u->thr_pending)
		return IIR_THRI;
	if ((u->ier & IER_MSI) && (u->msr & MSR_DELTA))
		return IIR_MSI;
	return IIR_NONE;
}

static void update_wire(struct uart *u)
{
	bool level = (u->mcr & MCR_OUT2) && interrupt_id(u) != IIR_NONE;

	if (level == u->level)
		return;
	u->level = level;
	u->dev.host->ops->irq(u->dev.host->ctx, u->gsi, level);
}

/* --- receiving ------------------------------------------------------------- */

static unsigned rx_room(const struct uart *u)
{
	return (u->fcr & FCR_ENABLE ? FIFO_SIZE : 1) - u->rx_used;
}

static void rx_push(struct uart *u, uint8_t byte)
{
	u->rx[(u->rx_head + u->rx_used) % FIFO_SIZE] = byte;
	u->rx_used++;
}

static uint8_t rx_pop(struct uart *u)
{
	uint8_t byte = u->rx[u->rx_head];

	if (u->rx_used == 0)
		return 0;
	u->rx_head = (u->rx_head + 1) % FIFO_SIZE;
	u->rx_used--;
	return byte;
}

/*
 * Whether the guest reads its input, by interrupt or by polling. Before that,
 * input stays in the chardev: a driver that starts up reads and throws away what
 * is in the FIFO, which would be the head of whatever is piped into the VMM.
 */
static bool wants_input(const struct uart *u)
{
	return !(u->mcr & MCR_LOOP) && ((u->ier & IER_RDI) || u->polls >= POLLS);
}

/* On the loop's thread. */
static size_t uart_input(void *arg, const uint8_t *buf, size_t len)
{
	struct uart *u = arg;
	AUTO_LOCK(&u->dev.lock);
	size_t n = 0;

	if (wants_input(u)) {
		while (n < len && rx_room(u) > 0)
			rx_push(u, buf[n++]);
	}
	u->starved = n < len;
	update_wire(u);
	return n;
}

/* Ask for more only when all is read: once for 16 bytes. */
static void refill(struct uart *u)
{
	if (!u->starved || u->rx_used > 0 || !wants_input(u))
		return;
	u->starved = false;
	chardev_resume(u->chr);
}

/* --- registers ------------------------------------------------------------- */

/* Section 8.8: the modem's lines; in loopback they are the UART's own outputs. */
static uint8_t modem_lines(uint8_t mcr)
{
	if (!(mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (uint8_t)((mcr & MCR_RTS ? MSR_CTS : 0) | (mcr & MCR_DTR ? MSR_DSR : 0) |
			 (mcr & MCR_OUT1 ? MSR_RI : 0) |
			 (mcr & MCR_OUT2 ? MSR_DCD : 0));
}

static void write_mcr(struct uart *u, uint8_t v)
{
	uint8_t old = modem_lines(u->mcr), now = modem_lines(v & MCR_ALL);
	uint8_t changed = (uint8_t)((old ^ now) >> 4);

	/* Of the ring indicator only the trailing edge counts. */
	if (now & MSR_RI)
		changed &= (uint8_t)~MSR_TERI;
	u->msr |= changed;
	u->mcr = v & MCR_ALL;
}

static void write_fcr(struct uart *u, uint8_t v)
{
	/* Section 8.4: switching the FIFOs on or off empties them. */
	if (((v ^ u->fcr) & FCR_ENABLE) || (v & FCR_CLEAR_RX))
		u->rx_used = 0;
	/* The other bits count only together with the first. */
	u->fcr = v & FCR_ENABLE ? v : 0;
}

static void send(struct uart *u, uint8_t v)
{
	if (u->mcr & MCR_LOOP) {
		if (rx_room(u) > 0)
			rx_push(u, v);
		else
			u->overrun = true;
	} else if (u->chr) {
		chardev_write(u->chr, &v, 1);
	}
	u->thr_pending = true;
}

static uint8_t read_iir(struct uart *u)
{
	uint8_t id = interrupt_id(u);

	/* Section 8.5: reading it as the source acknowledges this one. */
	if (id == IIR_THRI)
		u->thr_pending = false;
	return id | (u->fcr & FCR_ENABLE ? IIR_FIFOS : 0);
}

static uint8_t read_lsr(struct uart *u)
{
	uint8_t v = LSR_TX_EMPTY | (u->rx_used > 0 ? LSR_DR : 0) |
		    (u->overrun ? LSR_OE : 0);

	u->overrun = false;
	if (u->polls < POLLS)
		u->polls++;
	return v;
}

static uint8_t read_reg(struct uart *u, unsigned reg)
{
	bool dlab = u->lcr & LCR_DLAB;
	uint8_t v;

	if (reg != REG_LSR)
		u->polls = 0;
	switch (reg) {
	case REG_DATA:
		return dlab ? u->dll : rx_pop(u);
	case REG_IER:
		return dlab ? u->dlm : u->ier;
	case REG_IIR:
		return read_iir(u);
	case REG_LCR:
		return u->lcr;
	case REG_MCR:
		return u->mcr;
	case REG_LSR:
		return read_lsr(u);
	case REG_MSR:
		v = modem_lines(u->mcr) | u->msr;
		u->msr = 0;
		return v;
	default:
		return u->scr;
	}
}

static void write_reg(struct uart *u, unsigned reg, uint8_t v)
{
	bool dlab = u->lcr & LCR_DLAB;

	u->polls = 0;
	switch (reg) {
	case REG_DATA:
		if (dlab)
			u->dll = v;
		else
			send(u, v);
		break;
	case REG_IER:
		if (dlab) {
			u->dlm = v;
			break;
		}
		/* The transmitter is empty: enabling its interrupt raises it. */
		if (v & ~u->ier & IER_THRI)
			u->thr_pending = true;
		u->ier = v & IER_ALL;
		break;
	case REG_IIR:
		write_fcr(u, v);
		break;
	case REG_LCR:
		u->lcr = v;
		break;
	case REG_MCR:
		write_mcr(u, v);
		break;
	case REG_SCR:
		u->scr = v;
		break;
	default: /* LSR, MSR: factory tests */
		break;
	}
}

/* Wider accesses are consecutive ones, as on an 8-bit bus. */
static void uart_read(struct device *dev, unsigned win, uint64_t off, void *buf,
		      size_t len)
{
	struct uart *u = (struct uart *)dev;
	uint8_t *bytes = buf;

	(void)win;
	for (size_t i = 0; i < len; i++)
		bytes[i] = read_reg(u, (unsigned)(off + i));
	update_wire(u);
	refill(u);
}

static void uart_write(struct device *dev, unsigned win, uint64_t off, const void *buf,
		       size_t len)
{
	struct uart *u = (struct uart *)dev;
	const uint8_t *bytes = buf;

	(void)win;
	for (size_t i = 0; i < len; i++)
		write_reg(u, (unsigned)(off + i), bytes[i]);
	update_wire(u);
	refill(u);
}

/* Section 8.1; what the chardev holds stays. */
static void uart_reset(struct device *dev)
{
	struct uart *u = (struct uart *)dev;
	AUTO_LOCK(&dev->lock);

	u->ier = u->lcr = u->mcr = u->scr = u->fcr = u->msr = 0;
	u->dll = 12; /* 9600 baud, as a BIOS leaves it */
	u->dlm = 0;
	u->overrun = u->thr_pending = false;
	u->rx_head = u->rx_used = u->polls = 0;
	update_wire(u);
}

static void uart_free(struct device *dev)
{
	free(dev);
}

static int uart_create(const void *cfg, const struct dev_host *host,
		       struct device **ret_dev, struct err *err)
{
	const struct uart_cfg *c = cfg;
	struct uart *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return err_sys(err, -ENOMEM, "%s", host->name);
	device_init(&u->dev, &uart_class, host);
	u->chr = c->chr;
	u->gsi = c->num % 2 ? 4 : 3;
	uart_reset(&u->dev);
	r = host->ops->map(host->ctx, &u->dev, 0, DEV_PIO, uart_port(c->num),
			   NUM_PORTS);
	if (r < 0) {
		uart_free(&u->dev);
		return err_sys(err, r, "%s: I/O port 0x%x", host->name,
			       uart_port(c->num));
	}
	if (u->chr)
		chardev_attach(u->chr, uart_input, u);
	*ret_dev = &u->dev;
	return 0;
}

const struct dev_class uart_class = {
	.name = "serial",
	.help = "A 16550A serial port",
	.cfg_size = sizeof(struct uart_cfg),
	.create = uart_create,
	.read = uart_read,
	.write = uart_write,
	.reset = uart_reset,
	.free = uart_free,
};
