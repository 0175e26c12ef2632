/* SHA-256 (FIPS 180-4), the digest over all received payloads. */
#ifndef LVMM_GUEST_SHA256_H
#define LVMM_GUEST_SHA256_H

#include <stddef.h>
#include <stdint.h>

struct sha256 {
    uint32_t state[8];
    uint64_t length; /* bytes so far */
    uint8_t block[64];
};

void sha256_init(struct sha256 *hash);
void sha256_update(struct sha256 *hash, const void *data, size_t length);
void sha256_final(struct sha256 *hash, uint8_t digest[32]);

#endif
