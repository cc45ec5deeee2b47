/* SPDX-License-Identifier: MIT */
#include "identity.h"

#include <string.h>

#define TOKEN_LENGTH (BB_IDENTITY_TOKEN_SIZE - 1)

static const char ALPHABET[] = "0123456789abcdefghjkmnpqrstvwxyz";

/* ---- The token ---- */

/* Two words of hash state. Not a cryptographic hash: nothing here is secret, inputs must only stay apart. */
typedef struct hash {
    uint64_t a;
    uint64_t b;
} hash;

/* A bijection in which every bit of the input moves half of the bits of the output. */
static uint64_t stir(uint64_t x)
{
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    return x ^ x >> 32;
}

static void absorb(hash *h, uint64_t word)
{
    h->a = stir(h->a ^ word) + h->b;
    h->b = stir(h->b + word * UINT64_C(0x9e3779b97f4a7c15)) ^ h->a;
}

/* The length goes first, so that no two pairs of strings look the same. */
static void absorb_string(hash *h, const char *string)
{
    size_t left = string ? strlen(string) : 0;
    absorb(h, left);
    while (left > 0) {
        size_t count = left < 8 ? left : 8;
        uint64_t word = 0;
        for (size_t i = 0; i < count; i++)
            word = word << 8 | (unsigned char)*string++;
        absorb(h, word);
        left -= count;
    }
}

/* Writes 32 high and 64 low bits, the highest first; the first character has four zero bits before its one. */
static void write_token(uint32_t high, uint64_t low, char out[BB_IDENTITY_TOKEN_SIZE])
{
    for (int i = TOKEN_LENGTH - 1; i >= 0; i--) {
        out[i] = ALPHABET[low & 31];
        low = low >> 5 | (uint64_t)(high & 31) << 59;
        high >>= 5;
    }
    out[TOKEN_LENGTH] = '\0';
}

void bb_identity_mix(const uint8_t random[12], uint64_t counter, const char *device, const char *boot, uint64_t mono_us,
                     int64_t wall_ms, char out[BB_IDENTITY_TOKEN_SIZE])
{
    hash h = {UINT64_C(0x6275736261722031), UINT64_C(0x3c6ef372fe94f82b)};
    absorb(&h, counter);
    absorb_string(&h, device);
    absorb_string(&h, boot);
    absorb(&h, mono_us);
    absorb(&h, (uint64_t)wall_ms);
    uint64_t low = stir(h.a ^ stir(h.b));
    uint32_t high = (uint32_t)(stir(h.b + low) >> 32);
    for (int i = 0; i < 8; i++)
        low ^= (uint64_t)random[i] << (8 * i);
    for (int i = 0; i < 4; i++)
        high ^= (uint32_t)random[8 + i] << (8 * i);
    write_token(high, low, out);
}

/* ---- Ids ---- */

static char lane_letter(busbar_lane lane)
{
    const char *name = busbar_lane_name(lane);
    return name ? name[0] : '?';
}

void bb_identity_format(const char *token, busbar_lane lane, int64_t seq, bb_text *out)
{
    const char middle[2] = {'-', lane_letter(lane)};
    bb_text_add(out, token);
    bb_text_add_bytes(out, middle, sizeof middle);
    bb_text_add_int(out, seq);
}

static bool read_lane(char letter, busbar_lane *out_lane)
{
    for (int i = 0; i < BUSBAR_LANE_COUNT; i++) {
        if (lane_letter((busbar_lane)i) == letter) {
            *out_lane = (busbar_lane)i;
            return true;
        }
    }
    return false;
}

/* A position as it is written: from 1, no leading zero. */
static bool read_seq(const char *digits, int64_t *out_seq)
{
    if (*digits < '1' || *digits > '9')
        return false;
    int64_t seq = 0;
    for (; *digits >= '0' && *digits <= '9'; digits++) {
        int digit = *digits - '0';
        if (seq > (INT64_MAX - digit) / 10)
            return false;
        seq = seq * 10 + digit;
    }
    if (*digits != '\0')
        return false;
    *out_seq = seq;
    return true;
}

bool bb_identity_parse(const char *id, char out_token[BB_IDENTITY_TOKEN_SIZE], busbar_lane *out_lane, int64_t *out_seq)
{
    busbar_lane lane;
    int64_t seq;
    if (strspn(id, ALPHABET) != TOKEN_LENGTH || id[TOKEN_LENGTH] != '-')
        return false;
    const char *letter = id + TOKEN_LENGTH + 1;
    if (!read_lane(*letter, &lane) || !read_seq(letter + 1, &seq))
        return false;
    memcpy(out_token, id, TOKEN_LENGTH);
    out_token[TOKEN_LENGTH] = '\0';
    *out_lane = lane;
    *out_seq = seq;
    return true;
}
