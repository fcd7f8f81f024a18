/*
 * A ROM around the flat payload BARE_PAYLOAD: from the reset vector to 32-bit protected
 * mode, where the payload is copied to where it was linked and entered like a kernel,
 * with the zero page that the machine has left. Linked to end at 4 GiB.
 */
#ifndef PAYLOAD_ADDRESS
#define PAYLOAD_ADDRESS 0x1000000
#endif
#define ZERO_PAGE 0x7000
#define SEL_CODE 0x10
#define SEL_DATA 0x18

	.section .rom, "ax"
payload:
	.incbin	BARE_PAYLOAD
	.balign	16
payload_end:
	.code32
start32:
	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	$payload, %esi
	mov	$PAYLOAD_ADDRESS, %edi
	mov	$(payload_end - payload) / 4, %ecx
	cld
	rep movsl
	mov	$ZERO_PAGE, %esi
	mov	$PAYLOAD_ADDRESS, %eax
	jmp	*%eax

	.balign	8
gdt:	.quad	0, 0
	.quad	0x00cf9b000000ffff	/* SEL_CODE */
	.quad	0x00cf93000000ffff	/* SEL_DATA */

	/* The last page: reachable from the reset vector, whose segment has 64 KiB. */
	.section .reset, "ax"
	.code16
start16:
	cli
	lgdtl	%cs:(gdt_pointer - start16 + 0xf000)
	mov	%cr0, %eax
	or	$1, %al
	mov	%eax, %cr0
	ljmpl	$SEL_CODE, $start32
gdt_pointer:
	.word	4 * 8 - 1
	.long	gdt
	.org	0xff0
	jmp	start16			/* 0xfffffff0 */
	.org	0x1000
	.section .note.GNU-stack, "", @progbits
