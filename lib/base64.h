/* SPDX-License-Identifier: MIT */
/* Base64 of RFC 4648, section 4: the standard alphabet, always padded, no line breaks. */
#ifndef BB_BASE64_H
#define BB_BASE64_H

#include <stdbool.h>
#include <stddef.h>

/* Length of the encoded text, without a terminating NUL; SIZE_MAX when size_t cannot hold it. */
size_t bb_base64_size(size_t size_bytes);

/* Writes exactly bb_base64_size(size_bytes) characters and no NUL. `data` may be NULL when size_bytes is 0. */
void bb_base64_encode(const void *data, size_t size_bytes, char *out);

/*
 * Reads `size_bytes` characters into `out`, which has room for size_bytes / 4 * 3 bytes and may be where the text is, and
 * sets *out_size_bytes. False if the text is not exactly what an encoder writes (padding missing, other characters, bits
 * set that padding drops); `out` is then unspecified and *out_size_bytes untouched.
 */
bool bb_base64_decode(const char *text, size_t size_bytes, void *out, size_t *out_size_bytes);

#endif
