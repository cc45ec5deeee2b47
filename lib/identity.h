/* SPDX-License-Identifier: MIT */
/*
 * Identity of sessions, and the event ids derived from it. An id is never stored: it is the token of the session that
 * published, the lane, and the position in the lane.
 */
#ifndef BB_IDENTITY_H
#define BB_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <busbar/busbar.h>

#include "text.h"

/* 96 bits in 20 characters of lower-case base32 without i, l, o and u; terminating NUL included. */
#define BB_IDENTITY_TOKEN_SIZE 21

/*
 * Makes the token of a session: the random bits XOR a hash of everything else. A good random source so stays uniform, and
 * with a constant one tokens still differ when any other input does. `device` and `boot` may be NULL.
 */
void bb_identity_mix(const uint8_t random[12], uint64_t counter, const char *device, const char *boot, uint64_t mono_us,
                     int64_t wall_ms, char out[BB_IDENTITY_TOKEN_SIZE]);

/* Adds "<token>-<n|u|b><seq>". */
void bb_identity_format(const char *token, busbar_lane lane, int64_t seq, bb_text *out);

/* Takes such an id apart. False, outputs untouched, for anything that bb_identity_format does not write (seq from 1). */
bool bb_identity_parse(const char *id, char out_token[BB_IDENTITY_TOKEN_SIZE], busbar_lane *out_lane, int64_t *out_seq);

#endif
