/* SPDX-License-Identifier: MIT */
/* Unpredictable bytes from the kernel. */
#ifndef BB_LINUX_RANDOM_H
#define BB_LINUX_RANDOM_H

#include <stddef.h>

/* The port's slot. */
int bb_linux_random_fill(void *ctx, void *out, size_t size_bytes);

#endif
