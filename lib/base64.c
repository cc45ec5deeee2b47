/* SPDX-License-Identifier: MIT */
#include "base64.h"

#include <stdint.h>

static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t bb_base64_size(size_t size_bytes)
{
    size_t groups = size_bytes / 3 + (size_bytes % 3 != 0 ? 1 : 0);
    return groups <= (SIZE_MAX - 1) / 4 ? groups * 4 : SIZE_MAX;
}

void bb_base64_encode(const void *data, size_t size_bytes, char *out)
{
    const unsigned char *at = data;
    for (; size_bytes >= 3; size_bytes -= 3, at += 3, out += 4) {
        uint32_t group = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];
        out[0] = ALPHABET[group >> 18];
        out[1] = ALPHABET[group >> 12 & 63];
        out[2] = ALPHABET[group >> 6 & 63];
        out[3] = ALPHABET[group & 63];
    }
    if (size_bytes == 0)
        return;
    uint32_t group = (uint32_t)at[0] << 16 | (size_bytes == 2 ? (uint32_t)at[1] << 8 : 0);
    out[0] = ALPHABET[group >> 18];
    out[1] = ALPHABET[group >> 12 & 63];
    out[2] = size_bytes == 2 ? ALPHABET[group >> 6 & 63] : '=';
    out[3] = '=';
}

/* The six bits of a character, or 64 for any other. */
static uint32_t six_bits(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (uint32_t)(c - 'A');
    if (c >= 'a' && c <= 'z')
        return (uint32_t)(c - 'a') + 26;
    if (c >= '0' && c <= '9')
        return (uint32_t)(c - '0') + 52;
    if (c == '+')
        return 62;
    return c == '/' ? 63 : 64;
}

/* Reads one group of `count` characters (2..4, the rest padding) to `count` - 1 bytes. */
static bool decode_group(const char *text, size_t count, unsigned char *out)
{
    uint32_t group = 0;
    for (size_t i = 0; i < 4; i++) {
        uint32_t bits = i < count ? six_bits(text[i]) : 0;
        if (bits > 63)
            return false;
        group = group << 6 | bits;
    }
    size_t bytes = count - 1;
    if ((group & ((UINT32_C(1) << (24 - 8 * bytes)) - 1)) != 0)
        return false; /* two texts would mean the same bytes */
    for (size_t i = 0; i < bytes; i++)
        out[i] = (unsigned char)(group >> (16 - 8 * i) & 0xff);
    return true;
}

bool bb_base64_decode(const char *text, size_t size_bytes, void *out, size_t *out_size_bytes)
{
    if (size_bytes % 4 != 0)
        return false;
    unsigned char *to = out;
    size_t written = 0;
    for (size_t at = 0; at < size_bytes; at += 4) {
        size_t count = 4;
        if (at + 4 == size_bytes && text[at + 3] == '=')
            count = text[at + 2] == '=' ? 2 : 3;
        if (!decode_group(text + at, count, to + written))
            return false;
        written += count - 1;
    }
    *out_size_bytes = written;
    return true;
}
