/* SPDX-License-Identifier: MIT */
/* Patterns against a matcher that fills the whole table of (segments of the pattern, segments of the type). */
#include "fuzz.h"

#include <stdbool.h>
#include <string.h>

#include <busbar/busbar.h>

#include "attribute.h"
#include "pattern.h"

/* An input is a pattern, a line feed, and a type. */
const char *const fuzz_samples[] = {
    "a.b.c\na.b.c", "#\na", "a.#.c\na.b.b.c", "*.b.*\na.b.c", "#.a.#.b.#\nx.a.y.b.z", "#.a.*.a\na.a.a.a.a",
    "a.#\na",       NULL,
};

const char *const fuzz_pieces[] = {
    ".",
    "*",
    "#",
    "\n",
    "a",
    "b",
    "ab",
    ".*",
    ".#",
    "#.",
    "*.",
    "+",
    " ",
    "..",
    "\xc3\xa4",
    "a.a.a.a.a.a.a.a",
    "#.a.#.a.#.a.#.a",
    "\x7f",
    NULL,
};

#define TEXT_MAX     600
#define SEGMENTS_MAX 300

typedef struct segments {
    const char *at[SEGMENTS_MAX];
    size_t size[SEGMENTS_MAX];
    size_t count;
} segments;

static void split(const char *text, segments *out)
{
    out->count = 0;
    for (;;) {
        size_t size = strcspn(text, ".");
        out->at[out->count] = text;
        out->size[out->count++] = size;
        if (text[size] == '\0')
            return;
        text += size + 1;
    }
}

static bool is(const segments *s, size_t index, const char *text)
{
    return s->size[index] == strlen(text) && memcmp(s->at[index], text, s->size[index]) == 0;
}

/* row[t]: do the first p segments of the pattern match the first t of the type? */
static bool table_match(const segments *pattern, const segments *type)
{
    static bool row[SEGMENTS_MAX + 1];
    memset(row, 0, sizeof row);
    row[0] = true;
    for (size_t p = 0; p < pattern->count; p++) {
        bool hash = is(pattern, p, "#");
        bool diagonal = row[0];
        row[0] = row[0] && hash;
        for (size_t t = 0; t < type->count; t++) {
            bool above = row[t + 1];
            bool same = is(pattern, p, "*") ||
                        (pattern->size[p] == type->size[t] && memcmp(pattern->at[p], type->at[t], type->size[t]) == 0);
            row[t + 1] = hash ? above || row[t] : diagonal && same;
            diagonal = above;
        }
    }
    return row[type->count];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char pattern[TEXT_MAX];
    if (size >= sizeof pattern || memchr(data, '\0', size))
        return 0;
    memcpy(pattern, data, size);
    pattern[size] = '\0';
    char *type = strchr(pattern, '\n');
    if (!type)
        return 0;
    *type++ = '\0';
    bool pattern_valid = bb_pattern_valid(pattern);
    bool type_valid = bb_attribute_type_check(type) == BUSBAR_OK;
    FUZZ_CHECK(!type_valid || bb_pattern_valid(type), data, size); /* a type is the pattern that matches only itself */
    if (!pattern_valid || !type_valid)
        return 0;
    static segments p;
    static segments t;
    split(pattern, &p);
    split(type, &t);
    FUZZ_CHECK(bb_pattern_match(pattern, type) == table_match(&p, &t), data, size);
    FUZZ_CHECK(bb_pattern_match(type, type), data, size);
    FUZZ_CHECK(bb_pattern_match("#", type) && bb_pattern_match(NULL, type), data, size);
    return 0;
}
