/*
 * The header of a Multiboot 1 kernel (Multiboot Specification 0.6.96, section 3.1): in
 * an ELF file its first fields are enough; BARE_FLAT adds where a flat image goes.
 */
#define MAGIC 0x1badb002
#define FLAGS 0x00000003		/* align modules, memory information */

	.section .head.multiboot, "a"
	.balign	4
multiboot_header:
	.long	MAGIC
#ifdef BARE_FLAT
	.long	FLAGS | 0x10000
	.long	-(MAGIC + (FLAGS | 0x10000))
	.long	multiboot_header
	.long	image_start
	.long	0			/* load_end_addr: the whole file */
	.long	image_end
	.long	entry_multiboot
#else
	.long	FLAGS
	.long	-(MAGIC + FLAGS)
#endif
	.section .note.GNU-stack, "", @progbits
