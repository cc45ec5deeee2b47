/* SPDX-License-Identifier: MIT */
/*
 * Making foreign text safe to look at. Whoever published an event chose its texts; shown raw, they could move the cursor,
 * recolour the terminal or turn the writing direction round.
 */
#ifndef ESCAPE_H
#define ESCAPE_H

#include <stdbool.h>

#include "buffer.h"

/* Reads one UTF-8 character. Returns its length and sets *out_code, or 0 if the bytes are not UTF-8. */
size_t utf8_read(const char *text, size_t size, unsigned *out_code);

/* True for characters that steer a terminal instead of showing something: C0, DEL, C1, and the bidirectional ones. */
bool escape_needed(unsigned code);

/* Appends the text with steering characters and broken bytes written as \x1b, \u202e and \xff. */
void escape_add(buffer *out, const char *text, size_t size);

/* Appends the text as a JSON string with its quotes. Broken bytes become U+FFFD. */
void escape_add_json(buffer *out, const char *text, size_t size);

#endif
