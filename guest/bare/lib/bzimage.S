/*
 * A bzImage around the flat payload BARE_PAYLOAD: boot sector and one set-up sector
 * with the header of boot protocol 2.15 (Documentation/arch/x86/boot.rst), which are
 * all that a loader for the 64-bit entry reads. There is no real-mode code: whoever
 * enters there stops.
 */
#define PREF_ADDRESS 0x1000000
#define KERNEL_ALIGNMENT 0x200000

	.data
	.org	0x1f1
	.byte	1			/* setup_sects, beside the boot sector */
	.word	0			/* root_flags */
	.long	(payload_end - payload) / 16	/* syssize */
	.word	0			/* ram_size */
	.word	0xffff			/* vid_mode: normal */
	.word	0			/* root_dev */
	.word	0xaa55			/* boot_flag */
	.byte	0xeb, header_end - header	/* jump over the header */
header:
	.ascii	"HdrS"
	.word	0x20f			/* version */
	.long	0			/* realmode_swtch */
	.word	0			/* start_sys_seg */
	.word	version - 0x200		/* kernel_version */
	.byte	0			/* type_of_loader: the loader's to fill in */
	.byte	0x01			/* loadflags: LOADED_HIGH */
	.word	0			/* setup_move_size */
	.long	PREF_ADDRESS		/* code32_start */
	.long	0			/* ramdisk_image */
	.long	0			/* ramdisk_size */
	.long	0			/* bootsect_kludge */
	.word	0			/* heap_end_ptr */
	.byte	0			/* ext_loader_ver */
	.byte	0			/* ext_loader_type */
	.long	0			/* cmd_line_ptr */
	.long	0x7fffffff		/* initrd_addr_max */
	.long	KERNEL_ALIGNMENT
	.byte	1			/* relocatable_kernel */
	.byte	21			/* min_alignment, as a power of two */
#ifdef BARE_32BIT
	.word	0			/* xloadflags: no 64-bit entry */
#else
	.word	0x3			/* KERNEL_64, CAN_BE_LOADED_ABOVE_4G */
#endif
	.long	2047			/* cmdline_size */
	.long	0			/* hardware_subarch */
	.quad	0			/* hardware_subarch_data */
	.long	0			/* payload_offset: not compressed */
	.long	0			/* payload_length */
	.quad	0			/* setup_data */
	.quad	PREF_ADDRESS		/* pref_address */
	.long	payload_end - payload	/* init_size */
	.long	0			/* handover_offset */
	.long	0			/* kernel_info_offset */
header_end:
0:	.byte	0xf4, 0xeb, 0xfd	/* hlt; jmp back to it */
version:
	.asciz	"bare-metal test guest"
	.org	0x400
payload:
	.incbin	BARE_PAYLOAD
	.balign	16
payload_end:
	.section .note.GNU-stack, "", @progbits
