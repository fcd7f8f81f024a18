/*
 * What the guest cannot find out by itself: the PCI host bridge with its windows and
 * interrupt wires, the serial ports, the clock, and how to power off. The addresses
 * are those of boot/x86_64/layout.h; tests/unit/test_acpi.c compares. With PC defined
 * it is that of a machine for a PC's firmware, which assigns BARs.
 */
DefinitionBlock ("", "DSDT", 2, "VMM", "VMM", 1)
{
	/* Power off: SLP_TYP 0. */
	Name (\_S5, Package () { 0, 0, 0, 0 })

	Scope (\_SB)
	{
		Device (PCI0)
		{
			Name (_HID, EisaId ("PNP0A08"))
			Name (_CID, EisaId ("PNP0A03"))
			Name (_UID, 0)
			Name (_SEG, 0)
			Name (_BBN, 0)
			Name (_CRS, ResourceTemplate ()
			{
				WordBusNumber (ResourceProducer, MinFixed, MaxFixed,
					PosDecode, 0, 0, 0, 0, 1)
				IO (Decode16, 0x0CF8, 0x0CF8, 1, 8)
				WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode,
					EntireRange, 0, 0x0000, 0x0CF7, 0, 0x0CF8)
				WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode,
					EntireRange, 0, 0x0D00, 0xFFFF, 0, 0xF300)
				DWordMemory (ResourceProducer, PosDecode, MinFixed,
					MaxFixed, NonCacheable, ReadWrite, 0,
					0xD0000000, 0xF3FFFFFF, 0, 0x24000000)
#ifdef PC
				DWordMemory (ResourceProducer, PosDecode, MinFixed,
					MaxFixed, NonCacheable, ReadWrite, 0,
					0xF4100000, 0xFEBFFFFF, 0, 0x0AB00000)
#endif
			})

			/* The functions have INTA only; slot s: GSI 16 + s % 8. */
			Name (_PRT, Package ()
			{
				Package () { 0x0000FFFF, 0, 0, 16 }, Package () { 0x0001FFFF, 0, 0, 17 },
				Package () { 0x0002FFFF, 0, 0, 18 }, Package () { 0x0003FFFF, 0, 0, 19 },
				Package () { 0x0004FFFF, 0, 0, 20 }, Package () { 0x0005FFFF, 0, 0, 21 },
				Package () { 0x0006FFFF, 0, 0, 22 }, Package () { 0x0007FFFF, 0, 0, 23 },
				Package () { 0x0008FFFF, 0, 0, 16 }, Package () { 0x0009FFFF, 0, 0, 17 },
				Package () { 0x000AFFFF, 0, 0, 18 }, Package () { 0x000BFFFF, 0, 0, 19 },
				Package () { 0x000CFFFF, 0, 0, 20 }, Package () { 0x000DFFFF, 0, 0, 21 },
				Package () { 0x000EFFFF, 0, 0, 22 }, Package () { 0x000FFFFF, 0, 0, 23 },
				Package () { 0x0010FFFF, 0, 0, 16 }, Package () { 0x0011FFFF, 0, 0, 17 },
				Package () { 0x0012FFFF, 0, 0, 18 }, Package () { 0x0013FFFF, 0, 0, 19 },
				Package () { 0x0014FFFF, 0, 0, 20 }, Package () { 0x0015FFFF, 0, 0, 21 },
				Package () { 0x0016FFFF, 0, 0, 22 }, Package () { 0x0017FFFF, 0, 0, 23 },
				Package () { 0x0018FFFF, 0, 0, 16 }, Package () { 0x0019FFFF, 0, 0, 17 },
				Package () { 0x001AFFFF, 0, 0, 18 }, Package () { 0x001BFFFF, 0, 0, 19 },
				Package () { 0x001CFFFF, 0, 0, 20 }, Package () { 0x001DFFFF, 0, 0, 21 },
				Package () { 0x001EFFFF, 0, 0, 22 }, Package () { 0x001FFFFF, 0, 0, 23 }
			})
		}

		/* The configuration space that the MCFG tells of. */
		Device (ECAM)
		{
			Name (_HID, EisaId ("PNP0C02"))
			Name (_UID, 0)
			Name (_CRS, ResourceTemplate ()
			{
				Memory32Fixed (ReadWrite, 0xF4000000, 0x00100000)
			})
		}

		/*
		 * There is no PIC, so nothing but this tells a guest how the wires of
		 * the serial ports reach the IOAPIC.
		 */
		Device (COM1)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 1)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x03F8, 0x03F8, 1, 8)
				Interrupt (ResourceConsumer, Edge, ActiveHigh, Shared) { 4 }
			})
		}

		Device (COM2)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 2)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x02F8, 0x02F8, 1, 8)
				Interrupt (ResourceConsumer, Edge, ActiveHigh, Shared) { 3 }
			})
		}

		Device (COM3)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 3)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x03E8, 0x03E8, 1, 8)
				Interrupt (ResourceConsumer, Edge, ActiveHigh, Shared) { 4 }
			})
		}

		Device (COM4)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 4)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x02E8, 0x02E8, 1, 8)
				Interrupt (ResourceConsumer, Edge, ActiveHigh, Shared) { 3 }
			})
		}

		/* Without an interrupt it has no alarm, and keeps time only. */
		Device (RTC)
		{
			Name (_HID, EisaId ("PNP0B00"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x0070, 0x0070, 1, 2)
#ifdef PC
				IRQNoFlags () { 8 }
#endif
			})
		}
	}
}
