/* SPDX-License-Identifier: MIT */
/* Which of the known words a mistyped one was meant to be. Knows words only. */
#ifndef NEAREST_H
#define NEAREST_H

#include <stddef.h>

/* The known word number `index`. */
typedef const char *nearest_fn(size_t index, const void *ctx);

/* The closest of `count` known words, or NULL if none is close enough to be worth a question. */
const char *nearest(const char *word, size_t length, size_t count, nearest_fn *known, const void *ctx);

#endif
