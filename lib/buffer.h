/* SPDX-License-Identifier: MIT */
/* A piece of memory that grows and is kept for the next use. Its content does not survive a reserve(). */
#ifndef BB_BUFFER_H
#define BB_BUFFER_H

#include <stddef.h>

typedef struct bb_buffer {
    char *bytes;
    size_t capacity;
} bb_buffer;

/* Makes room for `size_bytes`. BUSBAR_OK or BUSBAR_ENOMEM (the buffer is then as before). */
int bb_buffer_reserve(bb_buffer *buffer, size_t size_bytes);
void bb_buffer_free(bb_buffer *buffer);

#endif
