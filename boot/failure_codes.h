/*
 * Why a bootloader refused to boot: the words that it writes to its failure port
 * (ttyS1), each ended by '|'. The first ones are Android's (VirtualizationService's
 * DeathReason); the others are ours. Shared by guest/bootloader, which says them, and
 * vmm, which reads them: FAILURE(name, meaning).
 */
FAILURE(PVM_FIRMWARE_PUBLIC_KEY_MISMATCH, "signed by a key that is not trusted")
FAILURE(PVM_FIRMWARE_INSTANCE_IMAGE_CHANGED, "the instance image was changed")
FAILURE(MICRODROID_FAILED_TO_CONNECT_TO_VIRTUALIZATION_SERVICE,
	"cannot reach the service")
FAILURE(MICRODROID_PAYLOAD_HAS_CHANGED, "the payload was changed")
FAILURE(MICRODROID_PAYLOAD_VERIFICATION_FAILED, "the payload cannot be verified")
FAILURE(MICRODROID_INVALID_PAYLOAD_CONFIG, "the payload's configuration is not valid")
FAILURE(MICRODROID_UNKNOWN_RUNTIME_ERROR, "the payload failed")
FAILURE(BOOTLOADER_NO_KEY, "no trusted key was given")
FAILURE(BOOTLOADER_NO_DISK, "no disk, or none with partitions")
FAILURE(BOOTLOADER_IO_ERROR, "a disk cannot be read")
FAILURE(BOOTLOADER_BAD_GPT, "neither partition table is valid")
FAILURE(BOOTLOADER_MISSING_PARTITION, "a partition is missing")
FAILURE(BOOTLOADER_TRUNCATED, "a partition is shorter than what it should hold")
FAILURE(BOOTLOADER_BAD_VBMETA, "verification metadata is not valid")
FAILURE(BOOTLOADER_BAD_SIGNATURE, "a signature is wrong")
FAILURE(BOOTLOADER_BAD_HASH, "a partition is not what was signed")
FAILURE(BOOTLOADER_ROLLBACK, "older than what may be booted")
FAILURE(BOOTLOADER_BAD_BOOT_IMAGE, "a boot image is not valid")
FAILURE(BOOTLOADER_UNSUPPORTED, "it asks for what this bootloader cannot do")
FAILURE(BOOTLOADER_NO_MEMORY, "the VM has too little memory")
FAILURE(BOOTLOADER_NO_SLOT, "no slot may be booted")
