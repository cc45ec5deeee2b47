/* SPDX-License-Identifier: MIT */
/*
 * The JSON scanner against two others: a slow one, written straight from the grammar of RFC 8259, which must agree on every
 * input, and cJSON, which must accept whatever the scanner accepts (but for what cJSON is known not to take).
 */
#include "fuzz.h"

#include <stdbool.h>
#include <string.h>

#include <busbar/busbar.h>
#include <cjson/cJSON.h>

#include "json.h"

/* Seven levels down and up again, so that levels beyond one word of the bit stack are reached. */
#define DOWN "[{\"a\":[[{\"b\":[["
#define UP   "]]}]]}]"

const char *const fuzz_samples[] = {
    "{\"device\":\"pump-17\",\"pressure\":4.8712,\"alarms\":[],\"ok\":true,\"t\":null,\"f\":false}",
    "[[[[1,-2,3.5e+10,0,-0.0,1E-7]]],{\"a\":{\"b\":{\"c\":[{}]}}}]",
    "\"an \\\"escaped\\\" \\\\ \\/ \\b\\f\\n\\r\\t \\u20ac \\ud83d\\ude00 text\"",
    "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80 plain \xd0\xb4\xd0\xb2\"",
    " \t\r\n{ \"a\" : 1 , \"b\" : [ 2 , 3 ] } \n",
    "-12.5e3",
    "true",
    "{}",
    "[\"abcdefgh\",\"abcdefghijklmnop\",\"abcdefg\"]",
    DOWN DOWN DOWN DOWN DOWN DOWN DOWN DOWN DOWN DOWN DOWN "1" UP UP UP UP UP UP UP UP UP UP UP,
    NULL,
};

const char *const fuzz_pieces[] = {
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u",
    "\\u0000",
    "\\ud800",
    "\\udc00",
    "\\\"",
    "0",
    "-",
    ".",
    "e",
    "E+",
    "1",
    "true",
    "false",
    "null",
    " ",
    "\n",
    "\t",
    "\x01",
    "\x7f",
    "\x80",
    "\xc3\xa4",
    "\xed\xa0\x80",
    "\xf4\x90\x80\x80",
    "\xc0\xaf",
    "\xef\xbb\xbf",
    "{\"a\":",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "[1,2]",
    "\"x\"",
    NULL,
};

/* ---- The grammar, one function for each rule; recursive, and in no hurry ---- */

typedef struct text {
    const unsigned char *at;
    const unsigned char *end;
    unsigned depth;
    bool beyond_cjson; /* holds something that is JSON, and that cJSON does not take */
} text;

static bool see(const text *t, int c)
{
    return t->at < t->end && *t->at == c;
}

static bool take(text *t, int c)
{
    if (!see(t, c))
        return false;
    t->at++;
    return true;
}

static bool take_range(text *t, int first, int last)
{
    if (t->at == t->end || *t->at < first || *t->at > last)
        return false;
    t->at++;
    return true;
}

static void take_space(text *t)
{
    while (take(t, ' ') || take(t, '\t') || take(t, '\n') || take(t, '\r')) {
    }
}

static bool take_word(text *t, const char *word)
{
    while (*word && take(t, (unsigned char)*word))
        word++;
    return *word == '\0';
}

static bool take_hex(text *t)
{
    return take_range(t, '0', '9') || take_range(t, 'a', 'f') || take_range(t, 'A', 'F');
}

static bool take_escape(text *t)
{
    if (take(t, 'u')) {
        const unsigned char *digits = t->at;
        if (!take_hex(t) || !take_hex(t) || !take_hex(t) || !take_hex(t))
            return false;
        /* every pair of surrogates, good ones too, is left out of the comparison with cJSON */
        t->beyond_cjson |= (digits[0] | 0x20) == 'd' && digits[1] >= '8';
        return true;
    }
    return t->at < t->end && *t->at != '\0' && strchr("\"\\/bfnrt", *t->at++) != NULL;
}

/* The table of well-formed UTF-8 in the Unicode standard (table 3-7). */
static bool take_sequence(text *t)
{
    if (take_range(t, 0xc2, 0xdf))
        return take_range(t, 0x80, 0xbf);
    if (take(t, 0xe0))
        return take_range(t, 0xa0, 0xbf) && take_range(t, 0x80, 0xbf);
    if (take(t, 0xed))
        return take_range(t, 0x80, 0x9f) && take_range(t, 0x80, 0xbf);
    if (take_range(t, 0xe1, 0xef))
        return take_range(t, 0x80, 0xbf) && take_range(t, 0x80, 0xbf);
    if (take(t, 0xf0))
        return take_range(t, 0x90, 0xbf) && take_range(t, 0x80, 0xbf) && take_range(t, 0x80, 0xbf);
    if (take(t, 0xf4))
        return take_range(t, 0x80, 0x8f) && take_range(t, 0x80, 0xbf) && take_range(t, 0x80, 0xbf);
    return take_range(t, 0xf1, 0xf3) && take_range(t, 0x80, 0xbf) && take_range(t, 0x80, 0xbf) &&
           take_range(t, 0x80, 0xbf);
}

static bool take_string(text *t)
{
    if (!take(t, '"'))
        return false;
    while (!take(t, '"')) {
        bool ok =
            take(t, '\\') ? take_escape(t) : take_range(t, 0x20, 0x21) || take_range(t, 0x23, 0x7f) || take_sequence(t);
        if (!ok)
            return false;
    }
    return true;
}

static bool take_digits(text *t)
{
    bool any = false;
    while (take_range(t, '0', '9'))
        any = true;
    return any;
}

static bool take_number(text *t)
{
    const unsigned char *start = t->at;
    take(t, '-');
    if (!take(t, '0') && !take_digits(t))
        return false;
    if (take(t, '.') && !take_digits(t))
        return false;
    if (take(t, 'e') || take(t, 'E')) {
        if (!take(t, '+'))
            take(t, '-');
        if (!take_digits(t))
            return false;
    }
    t->beyond_cjson |= t->at - start > 60; /* cJSON reads numbers into a buffer of 64 characters */
    return true;
}

static bool take_value(text *t);

static bool take_member(text *t, bool object)
{
    if (!object)
        return take_value(t);
    take_space(t);
    if (!take_string(t))
        return false;
    take_space(t);
    return take(t, ':') && take_value(t);
}

static bool take_container(text *t, bool object)
{
    int close = object ? '}' : ']';
    if (++t->depth > BUSBAR_JSON_DEPTH_MAX)
        return false;
    take_space(t);
    if (!take(t, close)) {
        do {
            if (!take_member(t, object))
                return false;
        } while (take(t, ','));
        if (!take(t, close))
            return false;
    }
    t->depth--;
    return true;
}

static bool take_value(text *t)
{
    take_space(t);
    bool ok = false;
    if (take(t, '{'))
        ok = take_container(t, true);
    else if (take(t, '['))
        ok = take_container(t, false);
    else if (see(t, '"'))
        ok = take_string(t);
    else if (see(t, 't'))
        ok = take_word(t, "true");
    else if (see(t, 'f'))
        ok = take_word(t, "false");
    else if (see(t, 'n'))
        ok = take_word(t, "null");
    else
        ok = take_number(t);
    take_space(t);
    return ok;
}

/* ---- Properties ---- */

typedef struct reach {
    const char *at;
    const char *end;
} reach;

/* Members come in order, and inside of the text. */
static int follow(const char *name, size_t name_size, const char *value, size_t value_size, void *ctx)
{
    reach *r = ctx;
    bool inside = name > r->at && value > name + name_size && value_size > 0 && value + value_size < r->end;
    FUZZ_CHECK(inside, r->at, (size_t)(r->end - r->at));
    FUZZ_CHECK(bb_json_valid(value, value_size, NULL), value, value_size);
    r->at = value + value_size - 1;
    return 0;
}

static void check_fault(const char *json, size_t size, size_t offset)
{
    FUZZ_CHECK(offset <= size, json, size);
    size_t again = SIZE_MAX;
    size_t shorter = offset < size ? offset + 1 : size; /* what comes behind the fault plays no part in it */
    FUZZ_CHECK(!bb_json_valid(json, shorter, &again), json, size);
    FUZZ_CHECK(again == offset, json, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *json = (const char *)data;
    size_t offset = SIZE_MAX;
    bool valid = bb_json_valid(json, size, &offset);
    text t = {.at = data, .end = data + size};
    bool expected = take_value(&t) && t.at == t.end;
    FUZZ_CHECK(valid == expected, data, size);
    if (!valid) {
        check_fault(json, size, offset);
        return 0;
    }
    FUZZ_CHECK(offset == SIZE_MAX, data, size);
    if (!t.beyond_cjson) {
        cJSON *parsed = cJSON_ParseWithLength(json, size);
        FUZZ_CHECK(parsed, data, size);
        cJSON_Delete(parsed);
    }
    size_t first = strspn(json, " \t\r\n");
    if (json[first] == '{') {
        reach r = {json + first, json + size};
        bb_json_members(json, size, follow, &r);
    }
    return 0;
}
