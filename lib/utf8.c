/* SPDX-License-Identifier: MIT */
#include "utf8.h"

#include "word.h"

static bool continues(unsigned char byte)
{
    return (byte & 0xc0) == 0x80;
}

size_t bb_utf8_read(const char *text, size_t size_bytes, uint32_t *out_code)
{
    const unsigned char *at = (const unsigned char *)text;
    if (size_bytes == 0)
        return 0;
    if (at[0] < 0x80) {
        *out_code = at[0];
        return 1;
    }
    if (size_bytes < 2 || !continues(at[1]))
        return 0;
    uint32_t code;
    size_t length;
    if (at[0] < 0xe0) {
        code = (uint32_t)(at[0] & 0x1f) << 6 | (at[1] & 0x3f);
        length = at[0] >= 0xc2 ? 2 : 0; /* below are continuation bytes and overlong forms */
    } else if (at[0] < 0xf0) {
        if (size_bytes < 3 || !continues(at[2]))
            return 0;
        code = (uint32_t)(at[0] & 0x0f) << 12 | (uint32_t)(at[1] & 0x3f) << 6 | (at[2] & 0x3f);
        length = code >= 0x800 && (code < 0xd800 || code > 0xdfff) ? 3 : 0;
    } else {
        if (size_bytes < 4 || !continues(at[2]) || !continues(at[3]))
            return 0;
        code = (uint32_t)(at[0] & 0x0f) << 18 | (uint32_t)(at[1] & 0x3f) << 12 | (uint32_t)(at[2] & 0x3f) << 6 |
               (at[3] & 0x3f);
        length = code >= 0x10000 && code <= 0x10ffff ? 4 : 0;
    }
    if (length > 0)
        *out_code = code;
    return length;
}

/* Skips whole words of ASCII; with `printable`, of ASCII without control characters. */
static size_t skip_ascii(const char *text, size_t at, size_t size_bytes, bool printable)
{
    for (; size_bytes - at >= BB_WORD_BYTES; at += BB_WORD_BYTES) {
        bb_word word = bb_word_load(text + at);
        bb_word marks = printable ? bb_word_below(word, 0x20) | bb_word_equal(word, 0x7f) | word : word;
        if ((marks & BB_WORD_TOPS) != 0)
            break;
    }
    return at;
}

bool bb_utf8_valid(const char *text, size_t size_bytes)
{
    size_t at = skip_ascii(text, 0, size_bytes, false);
    while (at < size_bytes) {
        uint32_t code;
        size_t length = bb_utf8_read(text + at, size_bytes - at, &code);
        if (length == 0)
            return false;
        at += length;
    }
    return true;
}

static bool printable(uint32_t code)
{
    bool control = code < 0x20 || (code >= 0x7f && code < 0xa0);
    bool noncharacter = (code >= 0xfdd0 && code <= 0xfdef) || (code & 0xfffe) == 0xfffe;
    return !control && !noncharacter;
}

bool bb_utf8_printable(const char *text, size_t size_bytes)
{
    size_t at = skip_ascii(text, 0, size_bytes, true);
    while (at < size_bytes) {
        uint32_t code;
        size_t length = bb_utf8_read(text + at, size_bytes - at, &code);
        if (length == 0 || !printable(code))
            return false;
        at += length;
    }
    return true;
}
