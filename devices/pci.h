/*
 * A PCI function: its configuration space, base address registers and MSI-X,
 * to be embedded by devices; and the host bridge that guests reach them by.
 *
 * Configuration accesses come from the host bridge (devices/pci_host.c) with
 * the owner's dev->lock held. BARs are 32-bit memory, assigned before the guest runs,
 * mapped as window @bar of the owner while memory decoding is on, and may be moved by
 * the guest anywhere within [PCI_WINDOW_BASE, PCI_WINDOW_END), or on a PC's bus up to
 * PCI_PC_WINDOW_END; elsewhere they are not mapped. PCI Local Bus 3.0
 * sections 6.1-6.2, 6.8.2 (MSI-X).
 */
#pragma once

#include "base/log.h"
#include "devices/device.h"

#define PCI_WINDOW_BASE 0xd0000000u
#define PCI_WINDOW_END 0xf4000000u
#define PCI_PC_WINDOW_END 0xfec00000u /* where a PC's I/O APIC is */
#define PCI_ECAM_BASE 0xf4000000u /* bus 0 only: 1 MiB */
#define PCI_ECAM_SIZE 0x100000u
#define PCI_MAX_SLOTS 32
#define PCI_INTX_GSI(slot) (16 + (slot) % 8) /* the DSDT's _PRT says the same */

#define PCI_NUM_BARS 6
#define PCI_CONFIG_SIZE 256

struct pci_msix_vector {
	unsigned msi_id;
	int fd; /* -1 until first unmasked; atomic, read by any thread */
	bool early; /* atomic: signalled before there was an fd */
	bool live; /* unmasked, as the machine was told */
	uint64_t addr;
	uint32_t data;
	uint32_t ctrl; /* bit 0: masked */
};

struct pci_func {
	struct device *dev; /* the owner, whose lock guards all of this */
	unsigned slot; /* set by pci_add, as the next is */
	uint32_t window_end; /* where BARs may reach to */
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t wmask[PCI_CONFIG_SIZE]; /* bits that the guest may write */
	uint32_t bar_size[PCI_NUM_BARS]; /* 0: none */
	uint32_t bar_addr[PCI_NUM_BARS]; /* where it is mapped; 0: nowhere */
	unsigned cap_end; /* where the next capability goes */
	unsigned last_cap; /* offset of the last capability, 0: none */

	/* MSI-X; n_vectors 0: none */
	unsigned n_vectors;
	struct pci_msix_vector *vectors;
	unsigned msix_cap, msix_bar;
	uint32_t msix_table, msix_pba; /* offsets within the BAR */

	/* INTx, under intx_lock: what the owner wants, and the wire as driven */
	pthread_mutex_t intx_lock;
	bool intx_asserted, intx_level;

	/* Called after a write to configuration bytes; may be NULL. */
	void (*config_written)(struct pci_func *f, unsigned off, size_t len);
	/* Called before a read of a capability's bytes; may be NULL. */
	void (*config_reading)(struct pci_func *f, unsigned off, size_t len);
	/* Called with the BAR already mapped (@on) or about to go; may be NULL. */
	void (*bar_mapped)(struct pci_func *f, unsigned bar, bool on);

	struct log_limit refused; /* BARs and interrupts that the host refused */
};

struct pci_ids {
	uint16_t vendor, device;
	uint16_t sub_vendor, sub_device;
	uint8_t revision;
	uint32_t class; /* 24 bits: base, sub, interface */
};

/* Prepare @f, which is all zeroes, with INTA# and no BARs. */
void pci_func_init(struct pci_func *f, struct device *dev, const struct pci_ids *ids);
void pci_func_free(struct pci_func *f); /* takes zeroes, too */

/* Give it a BAR of @size bytes: a power of two, at least 4096. */
void pci_add_bar(struct pci_func *f, unsigned bar, uint32_t size);

/*
 * Append a capability of @len bytes (header included, whose ID is @id; the
 * next pointer is filled in). Returns its offset.
 */
unsigned pci_add_cap(struct pci_func *f, uint8_t id, const void *cap, size_t len);

/* MSI-X with @n vectors, table and PBA at these offsets of @bar. -ENOMEM. */
int pci_add_msix(struct pci_func *f, unsigned n, unsigned bar, uint32_t table,
		 uint32_t pba);

/* Guest accesses; @off + @len within the configuration space of 4096 bytes. */
void pci_config_read(struct pci_func *f, unsigned off, void *buf, size_t len);
void pci_config_write(struct pci_func *f, unsigned off, const void *buf, size_t len);

/*
 * For the owner's BAR access functions: true when the access was to the MSI-X
 * table or PBA, and has been carried out.
 */
bool pci_msix_read(struct pci_func *f, unsigned bar, uint64_t off, void *buf,
		   size_t len);
bool pci_msix_write(struct pci_func *f, unsigned bar, uint64_t off, const void *buf,
		    size_t len);

/* Whether MSI-X is enabled now. Any thread. */
bool pci_msix_enabled(const struct pci_func *f);

/* Signal vector @v; nothing when there is no such vector. Any thread. */
void pci_msix_signal(struct pci_func *f, unsigned v);

/*
 * The eventfd of vector @v, made if need be; -1: there is no such vector, or the host
 * refused it. The owner's dev->lock held.
 */
int pci_msix_fd(struct pci_func *f, unsigned v);

/*
 * Drive INTA#; hidden while the guest has set Interrupt Disable or enabled
 * MSI-X. Any thread.
 */
void pci_intx_set(struct pci_func *f, bool level);

/* Back to power-on: BARs keep their addresses, decoding off, MSI-X off. */
void pci_func_reset(struct pci_func *f);

/* The bus: at most PCI_MAX_SLOTS functions; slot 0 is the host bridge. */
struct pci_bus {
	struct pci_func *slots[PCI_MAX_SLOTS];
	uint32_t next_bar; /* where the next BAR is assigned */
	bool pc; /* a PC's: set before the first function is added */
};

/*
 * Put @f in the next free slot and assign its BARs; -ENOSPC with a sentence
 * when there is no slot, or no room, left.
 */
int pci_bus_add(struct pci_bus *bus, struct pci_func *f, struct err *err);

/*
 * The host bridge: CF8/CFC, ECAM, and the reset register 0xcf9 (which ends the
 * VM). Its configuration is the bus that it serves; on a PC's it is the i440FX of
 * QEMU's machines, as far as their firmware looks.
 */
struct pci_host_cfg {
	struct pci_bus *bus;
};
extern const struct dev_class pci_host_class;
