/*
 * The PC's CMOS clock: Motorola MC146818A data sheet, and IBM's century byte.
 *
 * It shows the host's time in UTC and cannot be set: writes to the time are
 * ignored. It raises interrupts on the PC of a firmware only; elsewhere alarms never
 * come. The time is computed here because libc's would open time zone files.
 */
#include "devices/rtc.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"

#define BASE 0x70
#define NUM_PORTS 2

#define IRQ 8
#define NS 1000000000ll /* a second's */

enum {
	REG_SECONDS = 0,
	REG_MINUTES = 2,
	REG_HOURS = 4,
	REG_WEEKDAY = 6, /* 1: Sunday */
	REG_DAY = 7,
	REG_MONTH = 8,
	REG_YEAR = 9,
	REG_A = 10,
	REG_B = 11,
	REG_C = 12,
	REG_D = 13,
	REG_CENTURY = 0x32, /* the FADT says so too */
	/* What a PC's firmware finds: IBM's, and from 0x34 on that of QEMU's machines.
	 */
	REG_BASE_KIB = 0x15,
	REG_EXTENDED_KIB = 0x17,
	REG_EXTENDED_KIB_TESTED = 0x30,
	REG_ABOVE_16_MIB = 0x34, /* in units of 64 KiB, as is the next */
	REG_ABOVE_4_GIB = 0x5b, /* three bytes */
	REG_MORE_CPUS = 0x5f, /* than one */
};

#define BASE_KIB 640
#define KIB 1024u
#define MIB (1024u * KIB)

/* Update-in-progress, bit 7, is never set: see refresh(). */
#define A_WRITABLE 0x7f
#define A_DEFAULT 0x26 /* 32768 Hz, 1024 Hz */
#define A_RATE 0x0f /* of the periodic interrupt; 0: none */
#define B_SET 0x80 /* stop the clock */
/* Causes of an interrupt: enabled in B, seen in C. */
#define CAUSE_PERIODIC 0x40
#define CAUSE_ALARM 0x20
#define CAUSE_UPDATE 0x10
#define CAUSES (CAUSE_PERIODIC | CAUSE_ALARM | CAUSE_UPDATE)
#define C_INTERRUPT 0x80
#define B_BINARY 0x04
#define B_24H 0x02
#define D_VALID 0x80 /* the battery is good */
#define HOUR_PM 0x80
#define ALARM_ANY 0xc0 /* and above: each second, minute or hour */

#define INDEX_MASK 0x7f /* bit 7 masks NMIs, of which there are none */

struct rtc {
	struct device dev;
	uint8_t index;
	uint8_t ram[128]; /* the time's bytes and D are not used */
	time_t shown; /* what the time's registers show */

	/* Interrupts; without them timer_fd is -1. */
	int timer_fd;
	struct loop_watch *watch;
	time_t updated; /* the last second that was one of the causes */
};

static struct timespec time_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t;
}

/*
 * The registers must show one moment, though they are read one by one. Drivers start
 * each reading with register A, for its update bit, or with the seconds, so
 * that is when time moves on; and for any other order, when it is a second old.
 */
static void refresh(struct rtc *rtc, unsigned reg)
{
	time_t now = time_now().tv_sec;

	if (rtc->ram[REG_B] & B_SET)
		return;
	if (reg == REG_SECONDS || reg == REG_A || now > rtc->shown + 1 ||
	    now < rtc->shown)
		rtc->shown = now;
}

/* The Gregorian date of a day since 1970-01-01, in years that start in March. */
static void civil(int64_t days, unsigned *ret_y, unsigned *ret_m, unsigned *ret_d)
{
	/* 400 years have 146097 days; those from 0000-03-01 to 1970 come first. */
	uint64_t n = (uint64_t)(days + 719468);
	unsigned era = (unsigned)(n / 146097);
	unsigned doe = (unsigned)(n % 146097);
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	unsigned mp = (5 * doy + 2) / 153; /* months since March */

	*ret_d = doy - (153 * mp + 2) / 5 + 1;
	*ret_m = mp < 10 ? mp + 3 : mp - 9;
	*ret_y = era * 400 + yoe + (*ret_m <= 2);
}

static uint8_t encode(const struct rtc *rtc, unsigned v)
{
	return (uint8_t)(rtc->ram[REG_B] & B_BINARY ? v : v / 10 << 4 | v % 10);
}

static uint8_t hours(const struct rtc *rtc, unsigned h)
{
	if (rtc->ram[REG_B] & B_24H)
		return encode(rtc, h);
	return encode(rtc, h % 12 ? h % 12 : 12) | (h >= 12 ? HOUR_PM : 0);
}

/* What register @reg of the time shows at @t. */
static uint8_t time_reg(const struct rtc *rtc, time_t t, unsigned reg)
{
	int64_t days = t / 86400;
	unsigned year, month, day, second = (unsigned)(t % 86400);

	civil(days, &year, &month, &day);
	switch (reg) {
	case REG_SECONDS:
		return encode(rtc, second % 60);
	case REG_MINUTES:
		return encode(rtc, second / 60 % 60);
	case REG_HOURS:
		return hours(rtc, second / 3600);
	case REG_WEEKDAY: /* day 0 was a Thursday */
		return encode(rtc, (unsigned)((days + 4) % 7) + 1);
	case REG_DAY:
		return encode(rtc, day);
	case REG_MONTH:
		return encode(rtc, month);
	case REG_YEAR:
		return encode(rtc, year % 100);
	default:
		return encode(rtc, year / 100);
	}
}

static bool is_time(unsigned reg)
{
	/* The odd ones up to the hours are the alarm's: mere memory. */
	return reg == REG_SECONDS || reg == REG_MINUTES || reg == REG_HOURS ||
	       (reg >= REG_WEEKDAY && reg <= REG_YEAR) || reg == REG_CENTURY;
}

/* The alarm's registers stand behind those that they are compared with. */
static bool alarm_rings(const struct rtc *rtc, time_t t)
{
	for (unsigned reg = REG_SECONDS; reg <= REG_HOURS; reg += 2) {
		uint8_t want = rtc->ram[reg + 1];

		if (want < ALARM_ANY && want != time_reg(rtc, t, reg))
			return false;
	}
	return true;
}

/* The wire is high from an enabled cause on until C is read. */
static void update_wire(struct rtc *rtc)
{
	const struct dev_host *host = rtc->dev.host;
	uint8_t *c = &rtc->ram[REG_C];
	bool was = *c & C_INTERRUPT, is = *c & rtc->ram[REG_B] & CAUSES;

	*c = (uint8_t)((*c & CAUSES) | (is ? C_INTERRUPT : 0));
	if (is != was)
		host->ops->irq(host->ctx, IRQ, is);
}

/* Of the periodic interrupt; 0: it is off. */
static int64_t period_ns(const struct rtc *rtc)
{
	unsigned rate = rtc->ram[REG_A] & A_RATE;

	if (!rate || !(rtc->ram[REG_B] & CAUSE_PERIODIC))
		return 0;
	/* The first two rates are those of the eighth and ninth. */
	return NS * (1 << ((rate < 3 ? rate + 7 : rate) - 1)) / 32768;
}

static void set_timer(const struct rtc *rtc)
{
	int64_t period = period_ns(rtc), first = period;
	struct itimerspec spec;

	if (rtc->timer_fd < 0)
		return;
	if (!period && (rtc->ram[REG_B] & (CAUSE_ALARM | CAUSE_UPDATE)))
		first = NS - time_now().tv_nsec;
	spec = (struct itimerspec){
		.it_value = { (time_t)(first / NS), (long)(first % NS) },
		.it_interval = { 0, (long)period }, /* half a second at most */
	};
	/* Cannot fail. */
	timerfd_settime(rtc->timer_fd, 0, &spec, NULL);
}

static void on_timer(void *arg, uint32_t events)
{
	struct rtc *rtc = arg;
	uint8_t *c = &rtc->ram[REG_C];
	time_t now = time_now().tv_sec;
	uint64_t n;

	(void)events;
	AUTO_LOCK(&rtc->dev.lock);
	/* Set anew meanwhile? */
	if (read(rtc->timer_fd, &n, sizeof(n)) != sizeof(n))
		return;
	if (period_ns(rtc))
		*c |= CAUSE_PERIODIC;
	if (now != rtc->updated && !(rtc->ram[REG_B] & B_SET)) {
		rtc->updated = now;
		*c |= CAUSE_UPDATE | (alarm_rings(rtc, now) ? CAUSE_ALARM : 0);
	}
	update_wire(rtc);
	if (!period_ns(rtc))
		set_timer(rtc);
}

static uint8_t read_causes(struct rtc *rtc)
{
	uint8_t c = rtc->ram[REG_C];

	rtc->ram[REG_C] &= C_INTERRUPT;
	update_wire(rtc);
	return c;
}

static uint8_t read_reg(struct rtc *rtc)
{
	unsigned reg = rtc->index;

	if (is_time(reg) || reg == REG_A)
		refresh(rtc, reg);
	if (is_time(reg))
		return time_reg(rtc, rtc->shown, reg);
	if (reg == REG_C)
		return read_causes(rtc);
	return reg == REG_D ? D_VALID : rtc->ram[reg];
}

static void write_reg(struct rtc *rtc, uint8_t v)
{
	unsigned reg = rtc->index;

	/* Once stopped, the clock stands still at what it is now. */
	if (reg == REG_B)
		refresh(rtc, REG_SECONDS);
	if (reg == REG_A)
		v &= A_WRITABLE;
	if (!is_time(reg) && reg != REG_C)
		rtc->ram[reg] = v;
	if (reg == REG_A || reg == REG_B) {
		rtc->updated = time_now().tv_sec;
		update_wire(rtc);
		set_timer(rtc);
	}
}

/* Wider accesses are consecutive ones, as on an 8-bit bus. */
static void rtc_read(struct device *dev, unsigned win, uint64_t off, void *buf,
		     size_t len)
{
	struct rtc *rtc = (struct rtc *)dev;
	uint8_t *bytes = buf;

	(void)win;
	for (size_t i = 0; i < len; i++)
		bytes[i] = off + i == 1 ? read_reg(rtc) : 0xff;
}

static void rtc_write(struct device *dev, unsigned win, uint64_t off, const void *buf,
		      size_t len)
{
	struct rtc *rtc = (struct rtc *)dev;
	const uint8_t *bytes = buf;

	(void)win;
	for (size_t i = 0; i < len; i++) {
		if (off + i == 0)
			rtc->index = bytes[i] & INDEX_MASK;
		else
			write_reg(rtc, bytes[i]);
	}
}

static void rtc_reset(struct device *dev)
{
	struct rtc *rtc = (struct rtc *)dev;

	/* A battery keeps the rest. */
	rtc->index = 0;
	rtc->ram[REG_A] = A_DEFAULT;
	rtc->ram[REG_B] = B_24H;
	read_causes(rtc);
	set_timer(rtc);
}

static void rtc_free(struct device *dev)
{
	struct rtc *rtc = (struct rtc *)dev;

	loop_del(rtc->watch);
	cleanup_close(&rtc->timer_fd);
	free(rtc);
}

static int open_timer(struct rtc *rtc, struct err *err)
{
	const struct dev_host *host = rtc->dev.host;

	rtc->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (rtc->timer_fd < 0)
		return err_sys(err, -errno, "%s", host->name);
	return loop_add(host->loop, rtc->timer_fd, EPOLLIN, on_timer, rtc, &rtc->watch,
			err);
}

/* How many units fit behind @start in a memory of @size; at most @max. */
static uint32_t units(uint64_t size, uint64_t start, uint64_t unit, uint32_t max)
{
	uint64_t n = size > start ? (size - start) / unit : 0;

	return n < max ? (uint32_t)n : max;
}

static void tell_firmware(struct rtc *rtc, const struct rtc_cfg *c)
{
	uint32_t extended = units(c->low_mem, MIB, KIB, UINT16_MAX);
	uint32_t high = units(c->high_mem, 0, 64 * KIB, 0xffffff);

	le16_put(&rtc->ram[REG_BASE_KIB], BASE_KIB);
	le16_put(&rtc->ram[REG_EXTENDED_KIB], (uint16_t)extended);
	le16_put(&rtc->ram[REG_EXTENDED_KIB_TESTED], (uint16_t)extended);
	le16_put(&rtc->ram[REG_ABOVE_16_MIB],
		 (uint16_t)units(c->low_mem, 16 * MIB, 64 * KIB, UINT16_MAX));
	le16_put(&rtc->ram[REG_ABOVE_4_GIB], (uint16_t)high);
	rtc->ram[REG_ABOVE_4_GIB + 2] = (uint8_t)(high >> 16);
	rtc->ram[REG_MORE_CPUS] = (uint8_t)(c->n_cpus - 1);
}

static int rtc_create(const void *cfg, const struct dev_host *host,
		      struct device **ret_dev, struct err *err)
{
	struct rtc *rtc = calloc(1, sizeof(*rtc));
	int r = 0;

	if (!rtc)
		return err_sys(err, -ENOMEM, "%s", host->name);
	device_init(&rtc->dev, &rtc_class, host);
	rtc->timer_fd = -1;
	rtc_reset(&rtc->dev);
	if (cfg) {
		tell_firmware(rtc, cfg);
		r = open_timer(rtc, err);
	}
	if (r == 0) {
		r = host->ops->map(host->ctx, &rtc->dev, 0, DEV_PIO, BASE, NUM_PORTS);
		if (r < 0)
			err_sys(err, r, "%s: I/O port 0x%x", host->name, BASE);
	}
	if (r < 0) {
		rtc_free(&rtc->dev);
		return r;
	}
	*ret_dev = &rtc->dev;
	return 0;
}

const struct dev_class rtc_class = {
	.name = "rtc",
	.help = "CMOS clock with the host's time",
	.flags = DEV_ALWAYS,
	.create = rtc_create,
	.read = rtc_read,
	.write = rtc_write,
	.reset = rtc_reset,
	.free = rtc_free,
};
