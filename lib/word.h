/* SPDX-License-Identifier: MIT */
/*
 * Looking at eight characters at once, in plain C. A "mark" is the top bit of each byte that was looked for. Borrows run
 * upwards only, so the lowest mark is always right and marks above it may not be: "any?" and "where is the first?" are the
 * questions to ask.
 */
#ifndef BB_WORD_H
#define BB_WORD_H

#include <stddef.h>
#include <stdint.h>

#define BB_WORD_ONES UINT64_C(0x0101010101010101)
#define BB_WORD_TOPS UINT64_C(0x8080808080808080)

/* The first character becomes the lowest byte on every machine; compilers make one load of it where the machine allows. */
static inline uint64_t bb_word_load(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    return (uint64_t)at[0] | (uint64_t)at[1] << 8 | (uint64_t)at[2] << 16 | (uint64_t)at[3] << 24 |
           (uint64_t)at[4] << 32 | (uint64_t)at[5] << 40 | (uint64_t)at[6] << 48 | (uint64_t)at[7] << 56;
}

/* Marks of ASCII bytes below `limit` (at most 128), before the tops of other bytes are taken away. */
static inline uint64_t bb_word_below(uint64_t word, unsigned char limit)
{
    return word - BB_WORD_ONES * limit;
}

/* Marks of the ASCII byte `c`, before the tops of other bytes are taken away. */
static inline uint64_t bb_word_equal(uint64_t word, unsigned char c)
{
    return (word ^ (BB_WORD_ONES * c)) - BB_WORD_ONES;
}

/* How many bytes come before the lowest mark. `marks` is not 0 and has no other bits than tops. */
static inline size_t bb_word_first(uint64_t marks)
{
    uint64_t below = (((marks & (0 - marks)) >> 7) - 1) & BB_WORD_ONES;
    return (size_t)((below * BB_WORD_ONES) >> 56);
}

#endif
