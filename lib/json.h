/* SPDX-License-Identifier: MIT */
/*
 * JSON as text: checks it, finds the members of an object, writes a string. Builds no tree, allocates nothing, changes no
 * byte. Knows nothing of events.
 */
#ifndef BB_JSON_H
#define BB_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "text.h"

/*
 * Is this one JSON text of RFC 8259 in well-formed UTF-8, nested no deeper than BUSBAR_JSON_DEPTH_MAX? Strict: no byte order
 * mark, nothing after the value but white space. Any \uXXXX is accepted, as the grammar does, a lone surrogate too. On false
 * *out_offset is the position of the first byte at fault, size_bytes if the text ends too early; otherwise it is untouched.
 * out_offset may be NULL.
 */
bool bb_json_valid(const char *text, size_t size_bytes, size_t *out_offset);

/* The same for a text that wraps JSON data in one more level, as a structured CloudEvent does. */
bool bb_json_valid_envelope(const char *text, size_t size_bytes, size_t *out_offset);

/* Gets one member: the name as it stands between its quotes (escapes and all), the value as it stands. Return 0 to go on. */
typedef int bb_json_member_fn(const char *name, size_t name_size_bytes, const char *value, size_t value_size_bytes,
                              void *ctx);

/*
 * Calls `fn` for each top-level member, in order. `text` is known to be valid and to be an object; nothing beyond its
 * end is read if it is not. Returns 0, or what `fn` returned when that was not 0: it is then not called again.
 */
int bb_json_members(const char *text, size_t size_bytes, bb_json_member_fn *fn, void *ctx);

/* Adds well-formed UTF-8 as a JSON string: quoted, and escaped where it must be. */
void bb_json_add_string(bb_text *out, const char *string, size_t size_bytes);

#endif
