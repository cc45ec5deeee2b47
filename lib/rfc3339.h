/* SPDX-License-Identifier: MIT */
/* Timestamps as text (RFC 3339) and as milliseconds since 1970-01-01T00:00:00Z. Knows no clock. */
#ifndef BB_RFC3339_H
#define BB_RFC3339_H

#include <stdbool.h>
#include <stdint.h>

/* "2026-11-20T20:41:37.123Z", terminating NUL included. */
#define BB_RFC3339_SIZE 25

/*
 * Strict: date-time of RFC 3339, section 5.6, with days that the month has. A fraction of any length is cut to
 * milliseconds. A leap second is accepted where one can be (23:59:60 UTC) and counts as the last millisecond before it.
 * *out_ms is untouched on false; it may be NULL.
 */
bool bb_rfc3339_parse(const char *text, int64_t *out_ms);

/* Writes UTC. What lies outside of the years 0000..9999 becomes the first or last millisecond of them. */
void bb_rfc3339_format(int64_t ms, char out[BB_RFC3339_SIZE]);

#endif
