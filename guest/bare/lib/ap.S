/*
 * The way up of a further processor: the page at AP_PAGE holds a copy of this code, which
 * a start-up IPI enters in real mode with cs = AP_PAGE / 16. It goes straight on to long
 * mode on the first processor's tables, takes a stack, and calls smp_enter.
 */
#include "layout.h"

	.section .rodata
	.globl	ap_code, ap_code_end
	.code16
ap_code:
	cli
	cld
	mov	%cs, %ax
	mov	%ax, %ds
	lgdtl	ap_gdt_pointer - ap_code
	mov	%cr0, %eax
	or	$CR0_PE, %eax
	mov	%eax, %cr0
	ljmpl	$SEL_CODE32, $(AP_PAGE + ap_protected - ap_code)

	.code32
ap_protected:
	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	$pml4, %eax
	mov	%eax, %cr3
	mov	%cr4, %eax
	or	$CR4_PAE, %eax
	mov	%eax, %cr4
	mov	$MSR_EFER, %ecx
	rdmsr
	or	$EFER_LME, %eax
	wrmsr
	mov	%cr0, %eax
	or	$CR0_PG, %eax
	mov	%eax, %cr0
	ljmp	$SEL_CODE64, $ap_long

	.balign	8
ap_gdt_pointer:
	.word	0x1f
	.long	gdt
ap_code_end:

	.text
	.code64
ap_long:
	mov	$1, %eax
	lock xadd %eax, smp_tickets
	mov	%eax, %edi
	inc	%eax
	imul	$AP_STACK_SIZE, %eax
	lea	smp_stacks(%rax), %rsp
	call	smp_enter
	ud2

	.section .note.GNU-stack, "", @progbits
