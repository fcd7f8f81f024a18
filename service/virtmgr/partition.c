/*
 * Writable partitions and instance identifiers; see partition.h. The magics are those
 * that AVF's guests look for.
 */
#include "service/virtmgr/partition.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "service/virtmgr/images.h"

#define SIZE_ALIGN 4096

/* A name, and its version 1, little-endian. */
static const char instance_magic[] = "Android-VM-instance\x01\x00";
static const char store_magic[] = "UNFORMATTED-STORAGE";

int partition_initialize(int fd, uint64_t size, uint32_t format, struct err *err)
{
	static const struct {
		const char *bytes;
		size_t len;
	} magic[PARTITION_FORMATS] = {
		[PARTITION_INSTANCE] = { instance_magic, sizeof(instance_magic) - 1 },
		[PARTITION_ENCRYPTED_STORE] = { store_magic, sizeof(store_magic) - 1 },
	};
	size_t len;
	int r;

	if (format >= PARTITION_FORMATS)
		return err_set(
			err, -EINVAL,
			"format: %u is none: 0 raw, 1 instance, 2 encrypted store",
			format);
	if (size == 0 || size > INT64_MAX || size % SIZE_ALIGN)
		return err_set(err, -EINVAL,
			       "size: %" PRIu64 " is not a multiple of %d", size,
			       SIZE_ALIGN);
	r = images_check(fd, FILE_WRITE, err);
	if (r < 0)
		return err_prefix(err, -EINVAL, "file");
	len = magic[format].len;
	if (ftruncate(fd, 0) < 0 || ftruncate(fd, (off_t)size) < 0 ||
	    (len && pwrite(fd, magic[format].bytes, len, 0) != (ssize_t)len))
		return err_sys(err, -errno, "file");
	return 0;
}

int partition_instance_id(uint8_t id[PARTITION_ID_LEN], struct err *err)
{
	if (getrandom(id, PARTITION_ID_LEN, 0) != PARTITION_ID_LEN)
		return err_sys(err, -EIO, "random numbers");
	memset(id, 0x77, 4);
	return 0;
}
