/*
 * PCI bus 0 (PCI Local Bus 3.0, chapter 6): configuration space through ports 0xcf8 and
 * 0xcfc, or through ECAM (PCI Express 3.0, 7.2.2) where a function's name says so. A
 * function is addressed as devfn: device << 3 | function.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

uint8_t pci_read8(uint8_t devfn, uint16_t off);
uint16_t pci_read16(uint8_t devfn, uint16_t off);
uint32_t pci_read32(uint8_t devfn, uint16_t off);
void pci_write8(uint8_t devfn, uint16_t off, uint8_t value);
void pci_write16(uint8_t devfn, uint16_t off, uint16_t value);
void pci_write32(uint8_t devfn, uint16_t off, uint32_t value);
/* Where the function's configuration space lies in memory; 0 without ECAM. */
uintptr_t pci_ecam(uint8_t devfn);

/* The n-th function with these ids; its devfn, or -1. */
int pci_find(uint16_t vendor, uint16_t device, unsigned n);
/* The capability with this id behind `after` (0: from the beginning); 0 without. */
uint8_t pci_capability(uint8_t devfn, uint8_t id, uint8_t after);
/* Address of a memory BAR; 0 when it is none or unset. */
uint64_t pci_bar(uint8_t devfn, unsigned bar);
/* Size of a 32-bit BAR, by writing ones to it; decoding is off meanwhile. */
uint32_t pci_bar_size(uint8_t devfn, unsigned bar);
/* On: memory decoding and bus mastering; off: no memory decoding. */
void pci_enable(uint8_t devfn, bool on);
/* The I/O APIC pin that the function's INTA# is wired to. */
unsigned pci_gsi(uint8_t devfn);
