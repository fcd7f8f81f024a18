/* Interrupt controllers: the local APIC (Intel SDM volume 3, chapter 11) and the I/O
 * APIC (82093AA data sheet). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Vectors of this library's own; devices take theirs from VECTOR_DEVICES upward. */
enum { VECTOR_TIMER = 0x20, VECTOR_IPI = 0x21, VECTOR_DEVICES = 0x28 };

/* Message address of an MSI to the processor with this APIC id; its data is the vector.
 */
#define APIC_MSI_ADDRESS(id) (0xfee00000u | (uint32_t)(id) << 12)

void apic_init(void); /* of the processor that calls; masks the PIC, if there is one */
uint8_t apic_id(void);
void apic_eoi(void);
enum { APIC_INIT = 0x4500, APIC_STARTUP = 0x4600, APIC_FIXED = 0x4000 };
bool apic_send(uint8_t id, uint32_t command); /* waits until it is sent */

/* Sleeps until *counter differs from `old`; false when some seconds brought no change.
 */
bool apic_sleep_until_changed(const volatile unsigned *counter, unsigned old);

void ioapic_route(unsigned gsi, uint8_t vector, bool pci); /* pci: level, active low */
void ioapic_mask(unsigned gsi);
uint32_t ioapic_read(uint8_t index);
void ioapic_write(uint8_t index, uint32_t value);
