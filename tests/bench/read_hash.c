/*
 * read_hash FILE: reads it into memory in requests of 1 MiB and hashes it, with the
 * hash of guest/bootloader; prints the milliseconds.
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "guest/bootloader/crypto.h"

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

int main(int argc, char **argv)
{
	double start = now_ms();
	uint8_t digest[HASH_MAX], *data;
	size_t at = 0, len;
	struct hash h;
	struct stat st;
	int fd;

	if (argc != 2)
		errx(2, "usage: read_hash FILE");
	fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		err(1, "%s", argv[1]);
	len = (size_t)st.st_size;
	data = malloc(len);
	if (!data)
		err(1, "%zu bytes", len);
	while (at < len) {
		ssize_t n = read(fd, data + at,
				 len - at < 1 << 20 ? len - at : 1 << 20);

		if (n <= 0)
			err(1, "%s", argv[1]);
		at += (size_t)n;
	}
	hash_init(&h, HASH_SHA256);
	hash_update(&h, data, len);
	hash_final(&h, digest);
	printf("%.3f %02x\n", now_ms() - start, digest[0]);
	return 0;
}
