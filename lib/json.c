/* SPDX-License-Identifier: MIT */
#include "json.h"

#include <stdint.h>
#include <string.h>

#include <busbar/busbar.h>

#include "utf8.h"
#include "word.h"

#define DEPTH_WORDS ((BUSBAR_JSON_DEPTH_MAX + 1 + 31) / 32)

/*
 * The scanner walks with a pointer that each function takes and returns, moved past what it accepted. A function that meets
 * a fault notes its place here and returns NULL.
 */
typedef struct scanner {
    const char *end;
    const char *fault;
    unsigned depth;
    unsigned depth_max;
    uint32_t objects[DEPTH_WORDS]; /* one bit for each open level: is it an object? */
} scanner;

static const char *fail(scanner *s, const char *at)
{
    s->fault = at;
    return NULL;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool is_digit(char c)
{
    return (unsigned char)(c - '0') <= 9;
}

static bool is_hex(char c)
{
    return is_digit(c) || (unsigned char)((c | 0x20) - 'a') <= 5;
}

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && is_space(*at))
        at++;
    return at;
}

/* ---- Strings ---- */

/* Moves to the first quote, backslash, control character or byte beyond ASCII, or to the end. */
static const char *skip_plain(const char *at, const char *end)
{
    for (; (size_t)(end - at) >= BB_WORD_BYTES; at += BB_WORD_BYTES) {
        bb_word word = bb_word_load(at);
        bb_word marks = bb_word_below(word, 0x20) | bb_word_equal(word, '"') | bb_word_equal(word, '\\') | word;
        marks &= BB_WORD_TOPS;
        if (marks != 0)
            return at + bb_word_first(marks);
    }
    while (at < end && (unsigned char)*at >= 0x20 && (unsigned char)*at < 0x80 && *at != '"' && *at != '\\')
        at++;
    return at;
}

/* `at` is just behind the backslash. */
static const char *scan_escape(scanner *s, const char *at)
{
    if (at == s->end)
        return fail(s, at);
    switch (*at) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return at + 1;
    case 'u':
        for (int i = 1; i <= 4; i++) {
            if (at + i == s->end || !is_hex(at[i]))
                return fail(s, at + i);
        }
        return at + 5;
    default:
        return fail(s, at);
    }
}

static const char *scan_beyond_ascii(scanner *s, const char *at)
{
    while (at < s->end && (unsigned char)*at >= 0x80) {
        uint32_t code;
        size_t length = bb_utf8_read(at, (size_t)(s->end - at), &code);
        if (length == 0)
            return fail(s, at);
        at += length;
    }
    return at;
}

/* `at` is just behind the opening quote. */
static const char *scan_string(scanner *s, const char *at)
{
    while (at) {
        at = skip_plain(at, s->end);
        if (at == s->end)
            return fail(s, at);
        if (*at == '"')
            return at + 1;
        if (*at == '\\')
            at = scan_escape(s, at + 1);
        else if ((unsigned char)*at >= 0x80)
            at = scan_beyond_ascii(s, at);
        else
            return fail(s, at);
    }
    return NULL;
}

/* ---- Other scalars ---- */

static const char *scan_digits(scanner *s, const char *at)
{
    if (at == s->end || !is_digit(*at))
        return fail(s, at);
    do
        at++;
    while (at < s->end && is_digit(*at));
    return at;
}

static const char *scan_number(scanner *s, const char *at)
{
    if (*at == '-')
        at++;
    if (at < s->end && *at == '0')
        at++;
    else
        at = scan_digits(s, at);
    if (at && at < s->end && *at == '.')
        at = scan_digits(s, at + 1);
    if (at && at < s->end && (*at | 0x20) == 'e') {
        at++;
        if (at < s->end && (*at == '+' || *at == '-'))
            at++;
        at = scan_digits(s, at);
    }
    return at;
}

static const char *scan_literal(scanner *s, const char *at, const char *literal)
{
    for (; *literal; at++, literal++) {
        if (at == s->end || *at != *literal)
            return fail(s, at);
    }
    return at;
}

static const char *scan_scalar(scanner *s, const char *at)
{
    switch (*at) {
    case '"':
        return scan_string(s, at + 1);
    case 't':
        return scan_literal(s, at, "true");
    case 'f':
        return scan_literal(s, at, "false");
    case 'n':
        return scan_literal(s, at, "null");
    default:
        return *at == '-' || is_digit(*at) ? scan_number(s, at) : fail(s, at);
    }
}

/* ---- Objects and arrays ---- */

static bool push(scanner *s, bool object)
{
    if (s->depth == s->depth_max)
        return false;
    uint32_t bit = UINT32_C(1) << (s->depth % 32);
    uint32_t *word = &s->objects[s->depth / 32];
    *word = object ? *word | bit : *word & ~bit;
    s->depth++;
    return true;
}

static bool in_object(const scanner *s)
{
    unsigned level = s->depth - 1;
    return (s->objects[level / 32] >> (level % 32) & 1) != 0;
}

/* Takes `"name":` and the space around it. */
static const char *scan_name(scanner *s, const char *at)
{
    at = skip_space(at, s->end);
    if (at == s->end || *at != '"')
        return fail(s, at);
    at = scan_string(s, at + 1);
    if (!at)
        return NULL;
    at = skip_space(at, s->end);
    return at < s->end && *at == ':' ? at + 1 : fail(s, at);
}

/* Opens levels down to the first value that is finished: a scalar or an empty container. */
static const char *scan_down(scanner *s, const char *at)
{
    while (at) {
        at = skip_space(at, s->end);
        if (at == s->end)
            return fail(s, at);
        if (*at != '{' && *at != '[')
            return scan_scalar(s, at);
        bool object = *at == '{';
        if (!push(s, object))
            return fail(s, at);
        at = skip_space(at + 1, s->end);
        if (at < s->end && *at == (object ? '}' : ']')) {
            s->depth--;
            return at + 1;
        }
        if (object)
            at = scan_name(s, at);
    }
    return NULL;
}

/* Closes levels after a finished value, up to where the next one begins or, with depth 0, to the end of the text. */
static const char *scan_up(scanner *s, const char *at)
{
    for (;;) {
        at = skip_space(at, s->end);
        if (s->depth == 0)
            return at;
        if (at == s->end)
            return fail(s, at);
        bool object = in_object(s);
        if (*at == ',')
            return object ? scan_name(s, at + 1) : at + 1;
        if (*at != (object ? '}' : ']'))
            return fail(s, at);
        s->depth--;
        at++;
    }
}

static bool valid(const char *text, size_t size_bytes, unsigned depth_max, size_t *out_offset)
{
    if (size_bytes == 0)
        text = ""; /* the caller's may be NULL, which does not go with pointer arithmetic */
    scanner s = {.end = text + size_bytes, .depth_max = depth_max};
    const char *at = text;
    do {
        at = scan_down(&s, at);
        if (at)
            at = scan_up(&s, at);
    } while (at && s.depth > 0);
    if (at == s.end)
        return true;
    if (out_offset)
        *out_offset = (size_t)((at ? at : s.fault) - text);
    return false;
}

bool bb_json_valid(const char *text, size_t size_bytes, size_t *out_offset)
{
    return valid(text, size_bytes, BUSBAR_JSON_DEPTH_MAX, out_offset);
}

bool bb_json_valid_envelope(const char *text, size_t size_bytes, size_t *out_offset)
{
    return valid(text, size_bytes, BUSBAR_JSON_DEPTH_MAX + 1, out_offset);
}

/* ---- Members of a valid object ---- */

/* From behind the opening quote to behind the closing one. */
static const char *skip_string(const char *at, const char *end)
{
    for (;;) {
        at = skip_plain(at, end);
        if (at == end)
            return at;
        if (*at == '"')
            return at + 1;
        at += *at == '\\' && end - at > 1 ? 2 : 1;
    }
}

/* The end of the value that begins at `at`; in valid text brackets need only be counted. */
static const char *skip_value(const char *at, const char *end)
{
    size_t depth = 0;
    while (at < end) {
        char c = *at;
        if (depth == 0 && (c == ',' || c == '}' || c == ']' || is_space(c)))
            return at;
        at++;
        if (c == '{' || c == '[') {
            depth++;
        } else if (c == '"') {
            at = skip_string(at, end);
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return at;
}

/* Past white space, and past `c` if it stands there. */
static const char *skip_over(const char *at, const char *end, char c)
{
    at = skip_space(at, end);
    return at < end && *at == c ? at + 1 : at;
}

/* What is stored may have been damaged: text that is not valid gives wrong members, but is never read beyond its end. */
int bb_json_members(const char *text, size_t size_bytes, bb_json_member_fn *fn, void *ctx)
{
    const char *end = text + size_bytes;
    const char *at = skip_space(skip_over(text, end, '{'), end);
    while (at < end && *at == '"') {
        const char *name = at + 1;
        const char *name_end = skip_string(name, end);
        const char *value = skip_space(skip_over(name_end, end, ':'), end);
        const char *value_end = skip_value(value, end);
        size_t quote = name_end > name ? 1 : 0;
        int result = fn(name, (size_t)(name_end - name) - quote, value, (size_t)(value_end - value), ctx);
        if (result != 0)
            return result;
        at = skip_space(skip_over(value_end, end, ','), end);
    }
    return 0;
}

/* ---- Writing ---- */

/* Moves to the first character that a JSON string must escape, or to the end. */
static const char *skip_unescaped(const char *at, const char *end)
{
    for (;;) {
        at = skip_plain(at, end);
        if (at == end || (unsigned char)*at < 0x80)
            return at;
        at++;
    }
}

static void add_escaped(bb_text *out, char c)
{
    static const char digits[] = "0123456789abcdef";
    static const char plain[] = "\"\\\b\f\n\r\t";
    static const char letters[] = "\"\\bfnrt";
    const char *found = c != '\0' ? strchr(plain, c) : NULL;
    if (found) {
        const char pair[2] = {'\\', letters[found - plain]};
        bb_text_add_bytes(out, pair, sizeof pair);
    } else {
        const char code[6] = {'\\', 'u', '0', '0', digits[(unsigned char)c >> 4], digits[c & 0x0f]};
        bb_text_add_bytes(out, code, sizeof code);
    }
}

void bb_json_add_string(bb_text *out, const char *string, size_t size_bytes)
{
    const char *at = string;
    const char *end = string + size_bytes;
    bb_text_add_char(out, '"');
    for (;;) {
        const char *stop = skip_unescaped(at, end);
        bb_text_add_bytes(out, at, (size_t)(stop - at));
        if (stop == end)
            break;
        add_escaped(out, *stop);
        at = stop + 1;
    }
    bb_text_add_char(out, '"');
}
