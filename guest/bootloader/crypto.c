/* Hashes and signatures; see crypto.h. */
#include "crypto.h"

#include <string.h>

size_t hash_size(enum hash_alg alg)
{
	return alg == HASH_SHA256 ? br_sha256_SIZE : br_sha512_SIZE;
}

const char *hash_name(enum hash_alg alg)
{
	return alg == HASH_SHA256 ? "sha256" : "sha512";
}

void hash_init(struct hash *h, enum hash_alg alg)
{
	h->alg = alg;
	if (alg == HASH_SHA256)
		br_sha256_init(&h->u.sha256);
	else
		br_sha512_init(&h->u.sha512);
}

void hash_update(struct hash *h, const void *data, size_t len)
{
	if (h->alg == HASH_SHA256)
		br_sha256_update(&h->u.sha256, data, len);
	else
		br_sha512_update(&h->u.sha512, data, len);
}

void hash_final(const struct hash *h, uint8_t *ret_digest)
{
	if (h->alg == HASH_SHA256)
		br_sha256_out(&h->u.sha256, ret_digest);
	else
		br_sha512_out(&h->u.sha512, ret_digest);
}

bool rsa_verify(const uint8_t *n, size_t len, enum hash_alg alg, const uint8_t *digest,
		const uint8_t *sig)
{
	static const unsigned char exponent[] = { 1, 0, 1 };
	unsigned char modulus[RSA_MAX_BITS / 8], found[HASH_MAX];
	br_rsa_public_key key = {
		.n = modulus,
		.nlen = len,
		.e = (unsigned char *)(uintptr_t)exponent,
		.elen = sizeof(exponent),
	};

	if (len > sizeof(modulus))
		return false;
	memcpy(modulus, n, len);
	return br_rsa_i62_pkcs1_vrfy(sig, len,
				     alg == HASH_SHA256 ? BR_HASH_OID_SHA256
							: BR_HASH_OID_SHA512,
				     hash_size(alg), &key, found) &&
	       memcmp(found, digest, hash_size(alg)) == 0;
}
