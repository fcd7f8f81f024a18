/* The ELF note by which a loader finds the PVH entry (XEN_ELFNOTE_PHYS32_ENTRY). */
	.section .note.pvh, "a", @note
	.balign	4
	.long	4			/* length of the name */
	.long	4			/* length of the descriptor */
	.long	18			/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
	.long	entry_pvh

	.section .note.GNU-stack, "", @progbits
