/*
 * Hashes and signatures, by BearSSL: SHA-256, SHA-512, and RSA signatures by PKCS#1
 * v1.5 (RFC 8017 section 8.2) with the exponent 65537.
 */
#pragma once

#include <bearssl_hash.h>
#include <bearssl_rsa.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HASH_MAX 64 /* bytes of the longest digest */
#define RSA_MAX_BITS 4096

enum hash_alg { HASH_SHA256, HASH_SHA512 };

struct hash {
	enum hash_alg alg;
	union {
		br_sha256_context sha256;
		br_sha512_context sha512;
	} u;
};

size_t hash_size(enum hash_alg alg);
const char *hash_name(enum hash_alg alg); /* "sha256" */
void hash_init(struct hash *h, enum hash_alg alg);
void hash_update(struct hash *h, const void *data, size_t len);
void hash_final(const struct hash *h, uint8_t *ret_digest); /* hash_size() bytes */

/*
 * Whether @sig, of @len bytes like the modulus @n, is a signature of @digest by the key
 * with that modulus. @len: 256 or 512.
 */
bool rsa_verify(const uint8_t *n, size_t len, enum hash_alg alg, const uint8_t *digest,
		const uint8_t *sig);
