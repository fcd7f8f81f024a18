/*
 * Where a guest begins: the PVH entry (32-bit protected mode, ebx = hvm_start_info;
 * Xen's pvh.h), Multiboot's (ebx = multiboot_info), and the two of the Linux boot
 * protocol (esi = zero page; Documentation/arch/x86/boot.rst), of which a bzImage must
 * have the 32-bit one at its load address and the 64-bit one 0x200 bytes behind. Then page tables, descriptor tables and the
 * stubs of the interrupt vectors.
 *
 * The tables are data, not code: filling them would cost thousands of instructions.
 */
#include "layout.h"

	.section .head, "ax"
	.globl	image_start
image_start:
	.code32
	.globl	entry_linux32
entry_linux32:
	mov	$ENTRY_LINUX32, %edi
	jmp	enter_long
	.org	0x200

	.code64
	.globl	entry_linux64
entry_linux64:
	cli
	cld
	/* A loader may put a relocatable image elsewhere: move it where it was linked. */
	mov	%rsi, %rdx
	lea	image_start(%rip), %rsi
	mov	$image_start, %rdi
	cmp	%rsi, %rdi
	je	1f
	mov	$image_size, %rcx
	rep movsb
1:	mov	$stack_top, %rsp
	lgdt	gdt_pointer
	mov	$pml4, %rax
	mov	%rax, %cr3
	pushq	$SEL_CODE64
	pushq	$2f
	lretq
2:	mov	$ENTRY_LINUX64, %edi
	mov	%rdx, %rsi
	jmp	enter

	.text
	.code32
	.globl	entry_multiboot
entry_multiboot:
	mov	%ebx, %esi
	mov	$ENTRY_MULTIBOOT, %edi
	jmp	enter_long
	.globl	entry_pvh
entry_pvh:
	mov	%ebx, %esi
	mov	$ENTRY_PVH, %edi
enter_long:
	cli
	cld
	lgdt	gdt_pointer
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
	or	$(CR0_PE | CR0_PG), %eax
	mov	%eax, %cr0
	ljmp	$SEL_CODE64, $1f
	.code64
1:	mov	$stack_top, %rsp
	mov	%esi, %esi		/* what is above is undefined after the switch */

enter:	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs
	xor	%ebp, %ebp
	call	start
	ud2

/*
 * Interrupt stubs, 16 bytes each: every one leaves the same frame (struct trap_frame),
 * with a zero where the processor pushes no error code.
 */
	.globl	trap_stubs
	.balign	16
trap_stubs:
	vector = 0
	.rept	TRAP_VECTORS
	.balign	16
	.if	(vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || \
		(vector == 21) || (vector == 29) || (vector == 30)
	.else
	pushq	$0
	.endif
	pushq	$vector
	jmp	trap_common
	vector = vector + 1
	.endr

trap_common:
	push	%rax
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	cld
	mov	%rsp, %rdi
	call	trap
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	pop	%rax
	add	$16, %rsp
	iretq

	.data
	.balign	8
	.globl	gdt, gdt_pointer
gdt:	.quad	0
	.quad	0x00af9b000000ffff	/* SEL_CODE64 */
	.quad	0x00cf93000000ffff	/* SEL_DATA */
	.quad	0x00cf9b000000ffff	/* SEL_CODE32: processors on their way up */
gdt_end:
gdt_pointer:
	.word	gdt_end - gdt - 1
	.quad	gdt

/* Identity map of the first 4 GiB in 2 MiB pages, and a window behind it. */
	.section .tables, "aw"
	.balign	4096
	.globl	pml4
pml4:	.quad	pdpt + PAGE_PRESENT_WRITE
	.fill	511, 8, 0
pdpt:	.quad	pages_low + 0x0000 + PAGE_PRESENT_WRITE
	.quad	pages_low + 0x1000 + PAGE_PRESENT_WRITE
	.quad	pages_low + 0x2000 + PAGE_PRESENT_WRITE
	.quad	pages_low + 0x3000 + PAGE_PRESENT_WRITE
	.quad	pages_window + PAGE_PRESENT_WRITE
	.fill	507, 8, 0
pages_low:
	page = 0
	.rept	2048
	.quad	(page << 21) + PAGE_LARGE + PAGE_PRESENT_WRITE
	page = page + 1
	.endr
	.globl	pages_window
pages_window:
	.fill	512, 8, 0

	.section .bss
	.balign	16
	.skip	STACK_SIZE
stack_top:

	.section .note.GNU-stack, "", @progbits
