/* SPDX-License-Identifier: MIT */
#include "text.h"

#include <string.h>

bb_text bb_text_on(char *buffer, size_t capacity)
{
    bb_text text = {buffer, capacity, 0, false};
    if (capacity > 0)
        buffer[0] = '\0';
    return text;
}

bb_text bb_text_bare_on(char *buffer, size_t capacity)
{
    bb_text text = {buffer, capacity, 0, true};
    return text;
}

void bb_text_copy(char *buffer, size_t capacity, const char *string)
{
    bb_text text = bb_text_on(buffer, capacity);
    bb_text_add(&text, string ? string : "");
}

/* How many bytes still fit before the terminator. */
static size_t room(const bb_text *text)
{
    size_t end = text->capacity - (text->bare || text->capacity == 0 ? 0 : 1);
    return text->length < end ? end - text->length : 0;
}

void bb_text_add_bytes(bb_text *text, const void *bytes, size_t size_bytes)
{
    size_t left = room(text);
    size_t count = size_bytes < left ? size_bytes : left;
    if (count > 0) {
        memcpy(text->buffer + text->length, bytes, count);
        if (!text->bare)
            text->buffer[text->length + count] = '\0';
    }
    text->length += size_bytes;
}

void bb_text_add(bb_text *text, const char *string)
{
    bb_text_add_bytes(text, string, strlen(string));
}

void bb_text_add_char(bb_text *text, char c)
{
    bb_text_add_bytes(text, &c, 1);
}

void bb_text_add_padded(bb_text *text, uint64_t value, unsigned digits)
{
    static const char zeros[] = "00000000000000000000";
    char written[20];
    unsigned first = sizeof written;
    do {
        written[--first] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    unsigned count = (unsigned)sizeof written - first;
    while (digits > count) {
        unsigned step = digits - count < sizeof zeros - 1 ? digits - count : (unsigned)sizeof zeros - 1;
        bb_text_add_bytes(text, zeros, step);
        digits -= step;
    }
    bb_text_add_bytes(text, written + first, count);
}

void bb_text_add_int(bb_text *text, int64_t value)
{
    if (value < 0)
        bb_text_add_char(text, '-');
    bb_text_add_padded(text, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 1);
}

char *bb_text_reserve(bb_text *text, size_t size_bytes)
{
    char *at = NULL;
    if (size_bytes <= room(text) && text->capacity > 0) {
        at = text->buffer + text->length;
        if (!text->bare)
            at[size_bytes] = '\0';
    }
    text->length += size_bytes;
    return at;
}

bool bb_text_fits(const bb_text *text)
{
    return text->bare ? text->length <= text->capacity : text->length < text->capacity;
}
