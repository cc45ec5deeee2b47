/* SPDX-License-Identifier: MIT */
/*
 * Extension attributes as they are stored: one JSON object without white space. A time attribute that the publisher gave
 * stands in it as its first member, named "time" (no extension can have that name).
 */
#ifndef BB_EXTENSION_H
#define BB_EXTENSION_H

#include <stdbool.h>
#include <stddef.h>

#include <busbar/busbar.h>

#include "text.h"

/*
 * Adds the object to `out`, "{}" if there is nothing to say; whether it fitted is the caller's to ask (bb_text_fits). `time`
 * may be NULL. Returns BUSBAR_OK; BUSBAR_ETIME; BUSBAR_EEXTENSION (a bad attribute, a name used twice, more than
 * BUSBAR_EXTENSION_COUNT_MAX). On error what `out` got is of no use.
 */
int bb_extension_write(const char *time, const busbar_attribute *attributes, size_t count, bb_text *out);

/* Finds the given time of a stored object. False if it has none; the outputs are then untouched. */
bool bb_extension_time(const char *extensions, size_t size_bytes, const char **out_time, size_t *out_time_size_bytes);

/* The members of a stored object but its time: the text between the braces, without a leading comma. May be empty. */
void bb_extension_members(const char *extensions, size_t size_bytes, const char **out_members, size_t *out_size_bytes);

/* A member of a stored object, as the JSON text of its value. False, the outputs untouched, if it is not there. */
bool bb_extension_find(const char *extensions, const char *name, const char **out_value, size_t *out_value_size_bytes);

#endif
