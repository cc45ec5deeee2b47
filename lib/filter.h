/* SPDX-License-Identifier: MIT */
/*
 * Filters: which events a consumer wants by their attributes. Checks and compiles what the application gave, decides, and
 * says it in words. Pure; knows nothing of storage, and of extensions only how lib/extension.c writes them.
 */
#ifndef BB_FILTER_H
#define BB_FILTER_H

#include <stdbool.h>

#include <busbar/busbar.h>

#include "text.h"

/* A checked copy, in one allocation. NULL is the filter that lets everything through. */
typedef struct bb_filter bb_filter;

/* What is to be said to who gives a filter; NULL where this library has them. */
const char *bb_filter_refusal(void);

/*
 * Checks `filter` and copies it with all it points to; NULL gives NULL. *out_filter is then the caller's (bb_filter_free).
 * Trees of any shape end here, cyclic ones too. Returns BUSBAR_OK; BUSBAR_ENOMEM; BUSBAR_EFILTER: an unknown operation; an
 * attribute that no event can have, or `time`; a value that is not 1..BUSBAR_EXTENSION_VALUE_MAX bytes of printable UTF-8;
 * ALL or ANY of none, NOT of other than one; a comparison with filters or a combination with an attribute or a value; deeper
 * than BUSBAR_FILTER_DEPTH_MAX, more nodes than BUSBAR_FILTER_NODES_MAX.
 */
int bb_filter_copy(const busbar_filter *filter, bb_filter **out_filter);
void bb_filter_free(bb_filter *filter);

/* Does the event pass? `partitionkey` is the key. Allocates nothing; compares no more often than the filter has nodes. */
bool bb_filter_match(const bb_filter *filter, const busbar_record *record);

/* Is everything it asks for in the event's kind: type, source, datacontenttype, dataschema? So it is for NULL. */
bool bb_filter_needs_only_kind(const bb_filter *filter);

/*
 * Adds the filter in words: `source^="/pump/" and not (subject="a" or subject$=".tmp")`, with = for EXACT, ^= for PREFIX,
 * $= for SUFFIX, values as JSON strings, every combination inside another in parentheses. NULL adds nothing. What does not
 * fit is cut between two characters, and `...` stands at the end.
 */
void bb_filter_text(const bb_filter *filter, bb_text *out);

#endif
