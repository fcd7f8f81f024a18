/*
 * The smallest kernel: a bzImage with a 64-bit entry, which stays in the page tables and
 * descriptors that its loader has left (Documentation/arch/x86/boot.rst). Bytes count where
 * they are hashed by a bootloader on a software KVM.
 */
#define PREF_ADDRESS 0x1000000

	.section .head, "ax"
	.org	0x1f1
	.byte	1			/* setup_sects */
	.word	0
	.long	payload_paragraphs	/* syssize */
	.word	0, 0xffff, 0
	.word	0xaa55
	.byte	0xeb, header_end - header
header:
	.ascii	"HdrS"
	.word	0x20f
	.long	0
	.word	0, 0
	.byte	0, 0x01			/* loadflags: LOADED_HIGH */
	.word	0
	.long	PREF_ADDRESS
	.long	0, 0, 0
	.word	0
	.byte	0, 0
	.long	0
	.long	0x7fffffff		/* initrd_addr_max */
	.long	0x200000
	.byte	1, 21
	.word	0x3			/* xloadflags: KERNEL_64 */
	.long	2047			/* cmdline_size */
	.long	0
	.quad	0
	.long	0, 0
	.quad	0
	.quad	PREF_ADDRESS
	.long	0x10000			/* init_size: with the stack */
	.long	0, 0
header_end:
	.org	0x400

	.section .text.start, "ax"
	.org	0x200			/* the 64-bit entry */
	mov	$PREF_ADDRESS + 0x10000, %esp
	mov	%rsi, %rdi
	call	payload
	ud2
	.section .note.GNU-stack, "", @progbits
