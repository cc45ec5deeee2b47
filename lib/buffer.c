/* SPDX-License-Identifier: MIT */
#include "buffer.h"

#include <stdlib.h>

#include <busbar/busbar.h>

int bb_buffer_reserve(bb_buffer *buffer, size_t size_bytes)
{
    if (size_bytes <= buffer->capacity)
        return BUSBAR_OK;
    size_t capacity = size_bytes < 256 ? 256 : size_bytes;
    char *bytes = malloc(capacity);
    if (!bytes)
        return BUSBAR_ENOMEM;
    free(buffer->bytes);
    buffer->bytes = bytes;
    buffer->capacity = capacity;
    return BUSBAR_OK;
}

void bb_buffer_free(bb_buffer *buffer)
{
    free(buffer->bytes);
    buffer->bytes = NULL;
    buffer->capacity = 0;
}
