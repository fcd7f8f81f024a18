/*
 * The jump into Linux by its 64-bit boot protocol (Documentation/arch/x86/boot.rst):
 * descriptors 0x10 and 0x18, the zero page in rsi, interrupts off. The page tables stay:
 * they map the first 4 GiB one to one. rdi: entry, rsi: zero page.
 */
#define BOOT_CS 0x10
#define BOOT_DS 0x18

	.text
	.globl	start_linux
start_linux:
	cli
	cld
	lgdt	gdt_pointer_linux
	mov	$BOOT_DS, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	xor	%ebp, %ebp
	xor	%ebx, %ebx
	pushq	$BOOT_CS
	push	%rdi
	xor	%edi, %edi
	lretq

	.section .rodata
	.balign	8
gdt_linux:
	.quad	0, 0
	.quad	0x00af9b000000ffff
	.quad	0x00cf93000000ffff
gdt_pointer_linux:
	.word	. - gdt_linux - 1
	.quad	gdt_linux

	.globl	builtin_key, builtin_key_end
builtin_key:
#ifdef BOOTLOADER_KEY
	.incbin	BOOTLOADER_KEY
#endif
builtin_key_end:
	.section .note.GNU-stack, "", @progbits
