/* SPDX-License-Identifier: MIT */
/* A growing run of bytes. Ends the program when memory runs out: a command line has nothing better to do. */
#ifndef BUFFER_H
#define BUFFER_H

#include <stdarg.h>
#include <stddef.h>

typedef struct buffer {
    char *bytes; /* NULL while empty */
    size_t size;
    size_t capacity;
} buffer;

/* Makes room for `more` bytes behind the content, and returns where they go. The size is the caller's to raise. */
char *buffer_reserve(buffer *self, size_t more);
void buffer_add(buffer *self, const void *bytes, size_t size);
void buffer_add_text(buffer *self, const char *text);
__attribute__((format(printf, 2, 0))) void buffer_add_format(buffer *self, const char *format, va_list values);
__attribute__((format(printf, 2, 3))) void buffer_printf(buffer *self, const char *format, ...);
/* The content as a NUL-terminated text; valid until the next change. */
const char *buffer_text(buffer *self);
/* Drops the first `size` bytes. */
void buffer_drop(buffer *self, size_t size);
void buffer_free(buffer *self);

/* malloc and strdup that do not fail. */
void *memory_new(size_t size);
char *memory_copy(const char *text);

#endif
