/* SPDX-License-Identifier: MIT */
/* Filters against an evaluator that follows the tree and unescaped values; and on extensions that no Busbar wrote. */
#include "fuzz.h"

#include <stdbool.h>
#include <string.h>

#include <busbar/busbar.h>

#include "attribute.h"
#include "extension.h"
#include "filter.h"
#include "utf8.h"

/*
 * An input is a filter, the subject, the extension `e`, and extensions as no Busbar wrote them, with line feeds between. A
 * filter is `&` or `|` before two filters, `!` before one, or `=`, `^` or `$`, the attribute's letter (s or e) and the
 * value up to a semicolon.
 */
const char *const fuzz_samples[] = {
    "=sabc;\nabc\nx\n{\"e\":\"abc\"}",
    "&^sa;$ec;\nabc\nabc\n{\"e\":\"abc\",\"f\":1}",
    "!|=sa;=eb;\na\nb\n{\"e\":12}",
    "$e\";\n\na\\\"\n{\"e\":\"a\\\\\\\"\"}",
    "|$e\\\\;^e\\;\nx\n\\\\\\\n{\"e\":true}",
    "&&&=sa;^sa;$sa;!|=ea;=eb;\na\nc\n{}",
    "!!!!!!!=sa;\na\na\n{\"a\":\"e\",\"e\":\"a\"}",
    NULL,
};

const char *const fuzz_pieces[] = {
    "&",        "|",    "!",          "=s",    "^e", "$e",      "$s",    ";",        "\\",   "\"",
    "\\\\",     "\\\"", "a",          "ab",    "\n", "{\"e",    "\":\"", "\xc3\xa4", "\xc3", "{}",
    "\"e\":\"", "!!!!", "&=sa;&=ea;", "$e\\;", "}",  "\\u0061", "true",  NULL,
};

#define INPUT_MAX 2100
#define POOL_MAX  1200

/* ---- Reading an input ---- */

typedef struct reading {
    char *at;
    busbar_filter pool[POOL_MAX];
    size_t used;
} reading;

static bool read_filter(reading *in, busbar_filter *out, size_t depth);

static bool read_combination(reading *in, busbar_filter *out, size_t count, size_t depth)
{
    if (in->used + count > POOL_MAX)
        return false;
    busbar_filter *parts = &in->pool[in->used];
    in->used += count;
    out->filters = parts;
    out->filter_count = count;
    for (size_t i = 0; i < count; i++) {
        if (!read_filter(in, &parts[i], depth + 1))
            return false;
    }
    return true;
}

static bool read_comparison(reading *in, busbar_filter *out)
{
    char *end = strchr(in->at, ';');
    if (!end || (*in->at != 's' && *in->at != 'e'))
        return false;
    out->attribute = *in->at == 's' ? "subject" : "e";
    out->value = in->at + 1;
    *end = '\0';
    in->at = end + 1;
    return true;
}

static bool read_filter(reading *in, busbar_filter *out, size_t depth)
{
    static const char letters[] = "=^$&|!";
    const char *letter = *in->at ? strchr(letters, *in->at) : NULL;
    if (!letter || depth > 100)
        return false;
    in->at++;
    *out = (busbar_filter){.op = (busbar_filter_op)(BUSBAR_FILTER_EXACT + (letter - letters))};
    if (letter - letters >= 3)
        return read_combination(in, out, *letter == '!' ? 1 : 2, depth);
    return read_comparison(in, out);
}

/* ---- The definition ---- */

static bool is_comparison(const busbar_filter *filter)
{
    return filter->op <= BUSBAR_FILTER_SUFFIX;
}

static size_t depth_of(const busbar_filter *filter)
{
    size_t deepest = 0;
    for (size_t i = 0; i < filter->filter_count; i++) {
        size_t depth = depth_of(&filter->filters[i]);
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest + 1;
}

static bool values_good(const busbar_filter *filter)
{
    bool good = !is_comparison(filter) || (filter->value[0] && bb_utf8_printable(filter->value, strlen(filter->value)));
    for (size_t i = 0; i < filter->filter_count; i++)
        good = good && values_good(&filter->filters[i]);
    return good;
}

static bool compares(const busbar_filter *filter, const char *text)
{
    size_t value_size = strlen(filter->value);
    size_t size = text ? strlen(text) : 0;
    if (size < value_size)
        return false;
    if (filter->op == BUSBAR_FILTER_PREFIX)
        return memcmp(text, filter->value, value_size) == 0;
    return memcmp(text + size - value_size, filter->value, value_size) == 0 &&
           (filter->op == BUSBAR_FILTER_SUFFIX || size == value_size);
}

static bool obvious(const busbar_filter *filter, const char *subject, const char *extension)
{
    if (is_comparison(filter))
        return compares(filter, strcmp(filter->attribute, "e") == 0 ? extension : subject);
    bool first = obvious(&filter->filters[0], subject, extension);
    if (filter->op == BUSBAR_FILTER_NOT)
        return !first;
    bool second = obvious(&filter->filters[1], subject, extension);
    return filter->op == BUSBAR_FILTER_ALL ? first && second : first || second;
}

/* ---- The properties ---- */

static void check_text(const uint8_t *data, size_t size, const bb_filter *filter)
{
    static char words[8 * INPUT_MAX];
    bb_text text = bb_text_on(words, sizeof words);
    bb_filter_text(filter, &text);
    FUZZ_CHECK(text.length > 0 && bb_text_fits(&text) && bb_utf8_printable(words, text.length), data, size);
    char few[24];
    text = bb_text_on(few, sizeof few);
    bb_filter_text(filter, &text);
    FUZZ_CHECK(strlen(few) < sizeof few && bb_utf8_printable(few, strlen(few)), data, size);
    FUZZ_CHECK(bb_text_fits(&text) || strcmp(few + strlen(few) - 3, "...") == 0, data, size);
}

static void check_match(const uint8_t *data, size_t size, const busbar_filter *filter, const bb_filter *copy,
                        char *lines[3])
{
    static char stored[8 * INPUT_MAX];
    const char *subject = bb_attribute_subject_check(lines[0]) == BUSBAR_OK ? lines[0] : NULL;
    busbar_record record = {.size = sizeof record, .id = "x", .source = "/s", .type = "a", .subject = subject};
    const busbar_attribute extension = {.name = "e", .string = lines[1]};
    bool given = bb_attribute_extension_check(&extension) == BUSBAR_OK;
    bb_text text = bb_text_on(stored, sizeof stored);
    if (given && bb_extension_write(NULL, &extension, 1, &text) == BUSBAR_OK)
        record.extensions = stored;
    FUZZ_CHECK(bb_filter_match(copy, &record) == obvious(filter, subject, given ? lines[1] : NULL), data, size);
    record.extensions = lines[2]; /* must only do no harm */
    bool once = bb_filter_match(copy, &record);
    FUZZ_CHECK(bb_filter_match(copy, &record) == once, data, size);
}

static void check_filter(const uint8_t *data, size_t size, const busbar_filter *filter, size_t nodes, char *lines[3])
{
    bool good = values_good(filter) && depth_of(filter) <= BUSBAR_FILTER_DEPTH_MAX && nodes <= BUSBAR_FILTER_NODES_MAX;
    bb_filter *copy = NULL;
    FUZZ_CHECK(bb_filter_copy(filter, &copy) == (good ? BUSBAR_OK : BUSBAR_EFILTER), data, size);
    FUZZ_CHECK(good == (copy != NULL), data, size);
    if (!good)
        return;
    check_match(data, size, filter, copy, lines);
    check_text(data, size, copy);
    bb_filter_free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static reading in;
    char *input = malloc(size + 1); /* of its own size, so that a sanitizer sees a read beyond the last line */
    char *lines[4] = {input};
    if (!input || size >= INPUT_MAX || memchr(data, '\0', size)) {
        free(input);
        return 0;
    }
    memcpy(input, data, size);
    input[size] = '\0';
    for (size_t i = 1; i < 4; i++) {
        char *feed = strchr(lines[i - 1], '\n');
        lines[i] = feed ? feed + 1 : input + size;
        if (feed)
            *feed = '\0';
    }
    busbar_filter root;
    in.at = lines[0];
    in.used = 0;
    if (read_filter(&in, &root, 1))
        check_filter(data, size, &root, in.used + 1, &lines[1]);
    free(input);
    return 0;
}
