/*
 * ACPI power management: the PM1 registers, through which the guest powers off
 * and learns of a pressed power button. ACPI 6.4 section 4.8.3.
 *
 * The FADT (boot/x86_64/acpi.c) names these ports, and \_S5 of the DSDT the
 * sleep type. The SCI's wire follows (status & enable) != 0.
 */
#include "devices/acpi_pm.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "devices/list.h"

/* boot/x86_64/layout.h says the same; a unit test compares. */
#define PM1_EVENT 0x600
#define PM1_CONTROL 0x604
#define GSI_SCI 9

enum { WIN_EVENT, WIN_CONTROL };

/* Table 4.13: timer, global lock, power button, sleep button, RTC. */
#define PM1_ENABLE_BITS 0x0721
#define PM1_POWER_BUTTON 0x0100

/* Table 4.15 */
#define PM1_SCI_EN 0x0001 /* always: there is no legacy mode to leave */
#define PM1_SLP_TYP(v) ((v) >> 10 & 7)
#define PM1_SLP_EN 0x2000 /* reads as 0 */

#define SLP_TYP_S5 0

struct acpi_pm {
	struct device dev;
	uint16_t status, enable, control;
	bool level; /* of the wire */
};

static void update_sci(struct acpi_pm *pm)
{
	bool level = (pm->status & pm->enable) != 0;

	if (level == pm->level)
		return;
	pm->level = level;
	pm->dev.host->ops->irq(pm->dev.host->ctx, GSI_SCI, level);
}

static void acpi_pm_read(struct device *dev, unsigned win, uint64_t off, void *buf,
			 size_t len)
{
	struct acpi_pm *pm = (struct acpi_pm *)dev;
	uint8_t regs[4];

	le16_put(regs, win == WIN_EVENT ? pm->status : pm->control | PM1_SCI_EN);
	le16_put(regs + 2, pm->enable);
	memcpy(buf, regs + off, len);
}

/* Any bytes of a register may be written on their own (section 4.8.3). */
static void write_event(struct acpi_pm *pm, uint64_t off, const void *buf, size_t len)
{
	uint8_t regs[4];

	le16_put(regs, 0); /* status: only ones that are written clear */
	le16_put(regs + 2, pm->enable);
	memcpy(regs + off, buf, len);
	pm->status &= (uint16_t)~le16_get(regs);
	pm->enable = le16_get(regs + 2) & PM1_ENABLE_BITS;
	update_sci(pm);
}

static void write_control(struct acpi_pm *pm, uint64_t off, const void *buf, size_t len)
{
	uint8_t reg[2];
	uint16_t v;

	le16_put(reg, pm->control);
	memcpy(reg + off, buf, len);
	v = le16_get(reg);
	pm->control = v & (uint16_t)~PM1_SLP_EN;
	/* No other sleep state is announced: what else is asked for is ignored. */
	if ((v & PM1_SLP_EN) && PM1_SLP_TYP(v) == SLP_TYP_S5)
		pm->dev.host->ops->end(pm->dev.host->ctx, VM_END_SHUTDOWN, 0);
}

static void acpi_pm_write(struct device *dev, unsigned win, uint64_t off,
			  const void *buf, size_t len)
{
	struct acpi_pm *pm = (struct acpi_pm *)dev;

	if (win == WIN_EVENT)
		write_event(pm, off, buf, len);
	else
		write_control(pm, off, buf, len);
}

int acpi_pm_press(struct device *dev, struct err *err)
{
	struct acpi_pm *pm = (struct acpi_pm *)dev;
	AUTO_LOCK(&dev->lock);

	if (!(pm->enable & PM1_POWER_BUTTON))
		return err_set(err, -ENOTCONN,
			       "the guest does not listen to its power button");
	pm->status |= PM1_POWER_BUTTON;
	update_sci(pm);
	return 0;
}

static void acpi_pm_reset(struct device *dev)
{
	struct acpi_pm *pm = (struct acpi_pm *)dev;

	pm->status = pm->enable = pm->control = 0;
	update_sci(pm);
}

static void acpi_pm_free(struct device *dev)
{
	free(dev);
}

static int acpi_pm_create(const void *cfg, const struct dev_host *host,
			  struct device **ret_dev, struct err *err)
{
	struct acpi_pm *pm = calloc(1, sizeof(*pm));
	int r;

	(void)cfg;
	if (!pm)
		return err_sys(err, -ENOMEM, "%s", host->name);
	device_init(&pm->dev, &acpi_pm_class, host);
	r = host->ops->map(host->ctx, &pm->dev, WIN_EVENT, DEV_PIO, PM1_EVENT, 4);
	if (r == 0) {
		r = host->ops->map(host->ctx, &pm->dev, WIN_CONTROL, DEV_PIO,
				   PM1_CONTROL, 2);
		if (r < 0)
			host->ops->unmap(host->ctx, &pm->dev, WIN_EVENT);
	}
	if (r < 0) {
		free(pm);
		return err_sys(err, r, "%s: I/O port 0x%x", host->name, PM1_EVENT);
	}
	*ret_dev = &pm->dev;
	return 0;
}

const struct dev_class acpi_pm_class = {
	.name = "acpi-pm",
	.help = "ACPI power management: power-off and power button",
	.flags = DEV_ALWAYS,
	.create = acpi_pm_create,
	.read = acpi_pm_read,
	.write = acpi_pm_write,
	.reset = acpi_pm_reset,
	.free = acpi_pm_free,
};
