/* SPDX-License-Identifier: MIT */
/*
 * Patterns on event types. Both are segments between dots; in a pattern the segment `*` stands for exactly one segment and
 * `#` for any number of them, none included, anywhere and as often as wanted. NULL is the pattern `#`.
 */
#ifndef BB_PATTERN_H
#define BB_PATTERN_H

#include <stdbool.h>

/* 1..BUSBAR_PATTERN_MAX bytes of printable UTF-8, no empty segment, no space, no `+`, wildcards only as whole segments. */
bool bb_pattern_valid(const char *pattern);

/* Does a valid pattern match a valid type? Time is at most the product of both lengths, whatever the pattern. */
bool bb_pattern_match(const char *pattern, const char *type);

#endif
