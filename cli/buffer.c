/* SPDX-License-Identifier: MIT */
#include "buffer.h"

#include "command.h"
#include "out.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 256

static _Noreturn void out_of_memory(void)
{
    out_error("out of memory");
    exit(EXIT_FAILED);
}

void *memory_new(size_t size)
{
    void *memory = calloc(1, size > 0 ? size : 1);
    if (memory == NULL)
        out_of_memory();
    return memory;
}

char *memory_copy(const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(memory_new(size), text, size);
}

char *buffer_reserve(buffer *self, size_t more)
{
    if (more <= self->capacity - self->size)
        return self->bytes + self->size;
    if (more > SIZE_MAX / 2 - self->size)
        out_of_memory();
    size_t capacity = self->capacity > 0 ? self->capacity : FIRST_CAPACITY;
    while (capacity - self->size < more)
        capacity *= 2;
    char *bytes = realloc(self->bytes, capacity);
    if (bytes == NULL)
        out_of_memory();
    self->bytes = bytes;
    self->capacity = capacity;
    return bytes + self->size;
}

void buffer_add(buffer *self, const void *bytes, size_t size)
{
    if (size == 0)
        return;
    memcpy(buffer_reserve(self, size), bytes, size);
    self->size += size;
}

void buffer_add_text(buffer *self, const char *text)
{
    buffer_add(self, text, strlen(text));
}

void buffer_add_format(buffer *self, const char *format, va_list values)
{
    va_list again;
    va_copy(again, values);
    int length = vsnprintf(NULL, 0, format, values);
    if (length > 0) {
        vsnprintf(buffer_reserve(self, (size_t)length + 1), (size_t)length + 1, format, again);
        self->size += (size_t)length;
    }
    va_end(again);
}

void buffer_printf(buffer *self, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    buffer_add_format(self, format, values);
    va_end(values);
}

const char *buffer_text(buffer *self)
{
    *buffer_reserve(self, 1) = '\0';
    return self->bytes;
}

void buffer_drop(buffer *self, size_t size)
{
    if (size == 0)
        return;
    memmove(self->bytes, self->bytes + size, self->size - size);
    self->size -= size;
}

void buffer_free(buffer *self)
{
    free(self->bytes);
    *self = (buffer){0};
}
