/*
 * A disk for a PC's firmware: its boot sector has firmware read the second one, which
 * tries what boot software uses of a PC, says PASS or FAIL on COM1, and ends the VM by
 * debug-exit: 0, or 1 after a FAIL.
 */
	.code16
	.section .text
	.globl _start

#define NEXT 0x7e00
#define COM1 0x3f8
#define DEBUG_EXIT 0xf4
#define TICKS 0x46c /* in the BIOS's data; the PIT's interrupt counts them */

_start:	ljmp	$0, $1f
1:	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movw	$_start, %sp
	sti
	movb	%dl, drive
	movw	$packet, %si
	movb	$0x42, %ah /* extended read */
	int	$0x13
	jc	fail
	cmpl	$0x32415453, NEXT /* STA2 */
	je	next
fail:	movw	$failed, %si
	call	say
	movb	$1, %al
end:	outb	%al, $DEBUG_EXIT
	hlt

say:	movw	$COM1, %dx
1:	lodsb
	testb	%al, %al
	jz	2f
	outb	%al, %dx
	jmp	1b
2:	ret

/* Who has passed says so; carry: it has not. */
verdict:
	jc	fail
	pushw	%si
	movw	$passed, %si
	call	say
	popw	%si
	call	say
	movw	$newline, %si
	jmp	say

drive:	.byte	0
passed:	.asciz	"\nPASS "
failed:	.asciz	"\nFAIL\n"
newline:
	.asciz	"\n"
	.balign	4
packet:	.byte	16, 0
	.word	1, NEXT, 0
	.quad	1 /* the sector */

	.org	510
	.word	0xaa55

	.ascii	"STA2"
next:	movw	$n_disk, %si
	clc
	call	verdict

	/* The timer: IRQ 0 through the PIC. */
	movw	TICKS, %ax
1:	hlt
	cmpw	TICKS, %ax
	je	1b
	movw	$n_timer, %si
	clc
	call	verdict

	/* A wait of 3 ms: the clock's periodic interrupt, IRQ 8. */
	movb	$0x86, %ah
	xorw	%cx, %cx
	movw	$3000, %dx
	int	$0x15
	movw	$n_wait, %si
	call	verdict

	/* Line 20 is opened, and said to be open. */
	movw	$0x2401, %ax
	int	$0x15
	jc	fail
	movw	$0x2402, %ax
	int	$0x15
	jc	fail
	cmpb	$1, %al
	movw	$n_a20, %si
	call	verdict

	/* The memory map begins with low memory, which is RAM. */
	movl	$0xe820, %eax
	movl	$0x534d4150, %edx
	xorl	%ebx, %ebx
	movl	$20, %ecx
	movw	$0x9000, %di
	int	$0x15
	jc	fail
	cmpl	$0, 0x9000
	jne	fail
	cmpl	$1, 0x9010
	jne	fail
	cmpl	$0x9f000, 0x9008
	movw	$n_map, %si
	call	verdict

	xorb	%al, %al
	jmp	end

n_disk:	.asciz	"firmware reads the disk"
n_timer:
	.asciz	"the timer ticks"
n_wait:	.asciz	"firmware waits"
n_a20:	.asciz	"address line 20 is open"
n_map:	.asciz	"there is a memory map"

	.org	1 << 20 /* firmware counts whole cylinders, of half a MiB */
