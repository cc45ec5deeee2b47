/* SPDX-License-Identifier: MIT */
#include "escape.h"

/* The length that a first byte announces, with the smallest code that needs it; 0 for a byte that cannot come first. */
static size_t utf8_length(unsigned char first, unsigned *out_code, unsigned *out_least)
{
    if (first < 0x80) {
        *out_code = first;
        *out_least = 0;
        return 1;
    }
    if (first >= 0xc2 && first <= 0xdf) {
        *out_code = first & 0x1fu;
        *out_least = 0x80;
        return 2;
    }
    if (first >= 0xe0 && first <= 0xef) {
        *out_code = first & 0x0fu;
        *out_least = 0x800;
        return 3;
    }
    *out_code = first & 0x07u;
    *out_least = 0x10000;
    return first >= 0xf0 && first <= 0xf4 ? 4 : 0;
}

size_t utf8_read(const char *text, size_t size, unsigned *out_code)
{
    unsigned code;
    unsigned least;
    size_t length = size > 0 ? utf8_length((unsigned char)text[0], &code, &least) : 0;
    if (length == 0 || length > size)
        return 0;
    for (size_t i = 1; i < length; i++) {
        unsigned byte = (unsigned char)text[i];
        if ((byte & 0xc0u) != 0x80u)
            return 0;
        code = code << 6 | (byte & 0x3fu);
    }
    if (code < least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return 0;
    *out_code = code;
    return length;
}

bool escape_needed(unsigned code)
{
    return code < 0x20 || (code >= 0x7f && code <= 0x9f) || code == 0x061c || code == 0x200e || code == 0x200f ||
           (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || code == 0xfeff;
}

void escape_add(buffer *out, const char *text, size_t size)
{
    for (size_t i = 0; i < size;) {
        unsigned code;
        size_t length = utf8_read(text + i, size - i, &code);
        if (length == 0)
            buffer_printf(out, "\\x%02x", (unsigned)(unsigned char)text[i]);
        else if (escape_needed(code))
            buffer_printf(out, code < 0x80 ? "\\x%02x" : "\\u%04x", code);
        else
            buffer_add(out, text + i, length);
        i += length > 0 ? length : 1;
    }
}

static void add_json_character(buffer *out, const char *text, size_t length, unsigned code)
{
    if (code == '"' || code == '\\')
        buffer_printf(out, "\\%c", (int)code);
    else if (code == '\n')
        buffer_add_text(out, "\\n");
    else if (escape_needed(code))
        buffer_printf(out, "\\u%04x", code);
    else
        buffer_add(out, text, length);
}

void escape_add_json(buffer *out, const char *text, size_t size)
{
    buffer_add_text(out, "\"");
    for (size_t i = 0; i < size;) {
        unsigned code = 0xfffd;
        size_t length = utf8_read(text + i, size - i, &code);
        if (length > 0)
            add_json_character(out, text + i, length, code);
        else
            buffer_add_text(out, "\xef\xbf\xbd");
        i += length > 0 ? length : 1;
    }
    buffer_add_text(out, "\"");
}
