/* SPDX-License-Identifier: MIT */
/*
 * Looking at as many characters at once as a register has bytes, in plain C. A "mark" is the top bit of each byte that was
 * looked for. Borrows run upwards only, so the lowest mark is always right and marks above it may not be: "any?" and "where
 * is the first?" are the questions to ask.
 */
#ifndef BB_WORD_H
#define BB_WORD_H

#include <stddef.h>
#include <stdint.h>

/* Of four or eight bytes. */
typedef size_t bb_word;

#define BB_WORD_BYTES sizeof(bb_word)
#define BB_WORD_ONES  ((bb_word)-1 / 255)
#define BB_WORD_TOPS  (BB_WORD_ONES * 128)

static inline bb_word bb_word_half(const unsigned char *at)
{
    return (bb_word)at[0] | (bb_word)at[1] << 8 | (bb_word)at[2] << 16 | (bb_word)at[3] << 24;
}

/* The first character becomes the lowest byte on every machine; compilers make one load of it where the machine allows. */
static inline bb_word bb_word_load(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    return BB_WORD_BYTES == 4 ? bb_word_half(at) : bb_word_half(at) | bb_word_half(at + 4) << 16 << 16;
}

/* Marks of ASCII bytes below `limit` (at most 128), before the tops of other bytes are taken away. */
static inline bb_word bb_word_below(bb_word word, unsigned char limit)
{
    return word - BB_WORD_ONES * limit;
}

/* Marks of the ASCII byte `c`, before the tops of other bytes are taken away. */
static inline bb_word bb_word_equal(bb_word word, unsigned char c)
{
    return (word ^ (BB_WORD_ONES * c)) - BB_WORD_ONES;
}

/* How many bytes come before the lowest mark. `marks` is not 0 and has no other bits than tops. */
static inline size_t bb_word_first(bb_word marks)
{
    bb_word below = (((marks & (0 - marks)) >> 7) - 1) & BB_WORD_ONES;
    return (below * BB_WORD_ONES) >> (8 * (BB_WORD_BYTES - 1));
}

#endif
