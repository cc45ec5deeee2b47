/* SPDX-License-Identifier: MIT */
/* SHA-256 (FIPS 180-4) and HMAC (RFC 2104) of short inputs in memory. Written for size, not for speed. */
#include "digest.h"

#include <assert.h>
#include <string.h>

#define HMAC_DATA_MAX 256

static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate(uint32_t word, unsigned bits)
{
    return word >> bits | word << (32 - bits);
}

static void expand(const uint8_t block[BB_LINUX_DIGEST_BLOCK], uint32_t words[64])
{
    for (unsigned i = 0; i < 16; i++)
        words[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
                   block[4 * i + 3];
    for (unsigned i = 16; i < 64; i++) {
        uint32_t low = rotate(words[i - 15], 7) ^ rotate(words[i - 15], 18) ^ words[i - 15] >> 3;
        uint32_t high = rotate(words[i - 2], 17) ^ rotate(words[i - 2], 19) ^ words[i - 2] >> 10;
        words[i] = words[i - 16] + low + words[i - 7] + high;
    }
}

static void compress(uint32_t state[8], const uint8_t block[BB_LINUX_DIGEST_BLOCK])
{
    uint32_t words[64];
    uint32_t v[8];
    expand(block, words);
    memcpy(v, state, sizeof v);
    for (unsigned i = 0; i < 64; i++) {
        uint32_t choice = (v[4] & v[5]) ^ (~v[4] & v[6]);
        uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
        uint32_t first =
            v[7] + (rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25)) + choice + round_constants[i] + words[i];
        uint32_t second = (rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22)) + majority;
        memmove(v + 1, v, 7 * sizeof v[0]);
        v[4] += first;
        v[0] = first + second;
    }
    for (unsigned i = 0; i < 8; i++)
        state[i] += v[i];
}

/* The last one or two blocks: what is left of the data, a one bit, zeros, the length in bits. */
static void finish(uint32_t state[8], const uint8_t *rest, size_t rest_bytes, uint64_t total_bytes)
{
    uint8_t tail[2 * BB_LINUX_DIGEST_BLOCK] = {0};
    size_t tail_bytes = rest_bytes < BB_LINUX_DIGEST_BLOCK - 8 ? BB_LINUX_DIGEST_BLOCK : 2 * BB_LINUX_DIGEST_BLOCK;
    if (rest_bytes > 0)
        memcpy(tail, rest, rest_bytes);
    tail[rest_bytes] = 0x80;
    for (unsigned i = 0; i < 8; i++)
        tail[tail_bytes - 1 - i] = (uint8_t)(total_bytes * 8 >> 8 * i);
    for (size_t at = 0; at < tail_bytes; at += BB_LINUX_DIGEST_BLOCK)
        compress(state, tail + at);
}

void bb_linux_digest_sha256(const void *data, size_t size_bytes, uint8_t out[BB_LINUX_DIGEST_SIZE])
{
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    const uint8_t *next = data;
    size_t rest_bytes = size_bytes;
    for (; rest_bytes >= BB_LINUX_DIGEST_BLOCK; rest_bytes -= BB_LINUX_DIGEST_BLOCK, next += BB_LINUX_DIGEST_BLOCK)
        compress(state, next);
    finish(state, next, rest_bytes, size_bytes);
    for (unsigned i = 0; i < BB_LINUX_DIGEST_SIZE; i++)
        out[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}

void bb_linux_digest_hmac(const void *key, size_t key_bytes, const void *data, size_t size_bytes,
                          uint8_t out[BB_LINUX_DIGEST_SIZE])
{
    assert(key_bytes <= BB_LINUX_DIGEST_BLOCK && size_bytes <= HMAC_DATA_MAX);
    uint8_t inner[BB_LINUX_DIGEST_BLOCK + HMAC_DATA_MAX] = {0};
    uint8_t outer[BB_LINUX_DIGEST_BLOCK + BB_LINUX_DIGEST_SIZE] = {0};
    memcpy(inner, key, key_bytes);
    memcpy(outer, key, key_bytes);
    for (unsigned i = 0; i < BB_LINUX_DIGEST_BLOCK; i++) {
        inner[i] ^= 0x36;
        outer[i] ^= 0x5c;
    }
    memcpy(inner + BB_LINUX_DIGEST_BLOCK, data, size_bytes);
    bb_linux_digest_sha256(inner, BB_LINUX_DIGEST_BLOCK + size_bytes, outer + BB_LINUX_DIGEST_BLOCK);
    bb_linux_digest_sha256(outer, sizeof outer, out);
}
