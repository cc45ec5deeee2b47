/* SPDX-License-Identifier: MIT */
/* SHA-256 (FIPS 180-4) and HMAC (RFC 2104) of short inputs in memory. */
#ifndef BB_LINUX_DIGEST_H
#define BB_LINUX_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#define BB_LINUX_DIGEST_SIZE  32
#define BB_LINUX_DIGEST_BLOCK 64

void bb_linux_digest_sha256(const void *data, size_t size_bytes, uint8_t out[BB_LINUX_DIGEST_SIZE]);

/* `key_bytes` is at most BB_LINUX_DIGEST_BLOCK, `size_bytes` at most 256. */
void bb_linux_digest_hmac(const void *key, size_t key_bytes, const void *data, size_t size_bytes,
                          uint8_t out[BB_LINUX_DIGEST_SIZE]);

#endif
