/* SPDX-License-Identifier: MIT */
/* What is well-formed UTF-8, and what of it CloudEvents lets into a string. Knows nothing of JSON or of events. */
#ifndef BB_UTF8_H
#define BB_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Reads the character at the start of `text`, of which `size_bytes` bytes are there. Returns its length in bytes, 1..4, and
 * sets *out_code; returns 0, leaving *out_code alone, if there is none or it is not well-formed.
 */
size_t bb_utf8_read(const char *text, size_t size_bytes, uint32_t *out_code);

/* Well-formed throughout: nothing overlong or cut off, no surrogate, nothing above U+10FFFF. Empty text is. */
bool bb_utf8_valid(const char *text, size_t size_bytes);

/* Well-formed, and without control characters (U+0000-001F, U+007F-009F) and noncharacters. Empty text is. */
bool bb_utf8_printable(const char *text, size_t size_bytes);

#endif
