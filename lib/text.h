/* SPDX-License-Identifier: MIT */
/*
 * Bounded text building without stdio. A bb_text writes into the caller's buffer, counts what would have been written, and
 * is NUL-terminated whenever the buffer has room for anything at all, unless it was begun without a terminator.
 */
#ifndef BB_TEXT_H
#define BB_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bb_text {
    char *buffer;
    size_t capacity; /* of buffer, in bytes; text beyond it is counted but not stored */
    size_t length;   /* of the whole text, whether stored or not */
    bool bare;       /* no terminating NUL: the buffer may be filled to its last byte */
} bb_text;

bb_text bb_text_on(char *buffer, size_t capacity);
/* Without a terminating NUL. */
bb_text bb_text_bare_on(char *buffer, size_t capacity);
/* Copies a text, NULL as an empty one, and cuts what does not fit. */
void bb_text_copy(char *buffer, size_t capacity, const char *string);

void bb_text_add(bb_text *text, const char *string);
void bb_text_add_bytes(bb_text *text, const void *bytes, size_t size_bytes);
void bb_text_add_char(bb_text *text, char c);
void bb_text_add_int(bb_text *text, int64_t value);
/* `digits` digits, zero-padded on the left; more if the value needs them. */
void bb_text_add_padded(bb_text *text, uint64_t value, unsigned digits);
/* Where the next `size_bytes` bytes of the text go, counted as written; NULL, counted all the same, if they do not fit. */
char *bb_text_reserve(bb_text *text, size_t size_bytes);
/* Everything was stored, the terminating NUL included where there is one. */
bool bb_text_fits(const bb_text *text);

#endif
