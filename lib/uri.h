/* SPDX-License-Identifier: MIT */
/* The grammar of RFC 3986: ASCII only, %HH for the rest. Knows nothing of what a URI is used for. */
#ifndef BB_URI_H
#define BB_URI_H

#include <stdbool.h>
#include <stddef.h>

/* An absolute or relative reference, not empty. Of an IP-literal only the characters are checked. */
bool bb_uri_reference_valid(const char *text, size_t size_bytes);

/* The same, and it has a scheme. */
bool bb_uri_valid(const char *text, size_t size_bytes);

#endif
