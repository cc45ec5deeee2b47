/* SPDX-License-Identifier: MIT */
/* Filters: which events pass, which filters are refused, how they read; a slow, obvious evaluator must agree. */
#include "test.h"

#include <stdio.h>

#include <busbar/busbar.h>

#include "extension.h"
#include "filter.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const busbar_record reading = {
    .size = sizeof(busbar_record),
    .id = "token-n7",
    .source = "/pump/7",
    .type = "pump.read",
    .subject = "valve/3",
    .key = "k1",
    .datacontenttype = "text/plain",
    .dataschema = "https://example.org/s#1",
    .extensions =
        "{\"site\":\"north\",\"quoted\":\"a\\\"b\\\\\",\"count\":-12,\"hot\":true,\"cold\":false,\"empty\":\"\","
        "\"umlaut\":\"\xc3\xb6l\",\"last\":\"end\"}",
};

static busbar_filter leaf(busbar_filter_op op, const char *attribute, const char *value)
{
    return (busbar_filter){.op = op, .attribute = attribute, .value = value};
}

static busbar_filter group(busbar_filter_op op, const busbar_filter *filters, size_t count)
{
    return (busbar_filter){.op = op, .filters = filters, .filter_count = count};
}

static bool passes(const busbar_filter *filter, const busbar_record *record)
{
    bb_filter *copy = NULL;
    assert_int_equal(bb_filter_copy(filter, &copy), BUSBAR_OK);
    bool result = bb_filter_match(copy, record);
    bb_filter_free(copy);
    return result;
}

static void assert_refused(const busbar_filter *filter)
{
    bb_filter *untouched = (bb_filter *)&filter;
    assert_int_equal(bb_filter_copy(filter, &untouched), BUSBAR_EFILTER);
    assert_ptr_equal(untouched, &filter);
}

/* ---- Comparisons ---- */

static const struct {
    const char *attribute;
    const char *value;
    const char *matches; /* of "=", "^", "$": the operations that hold */
} documented[] = {
    {"type", "pump.read", "=^$"},
    {"type", "pump", "^"},
    {"type", "read", "$"},
    {"type", "pump.reads", ""},
    {"type", "Pump.read", ""},
    {"source", "/pump/7", "=^$"},
    {"source", "/pump/", "^"},
    {"source", "/7", "$"},
    {"source", "pump", ""},
    {"subject", "valve/3", "=^$"},
    {"subject", "valve/", "^"},
    {"id", "token-n7", "=^$"},
    {"id", "-n7", "$"},
    {"key", "k1", "=^$"},
    {"partitionkey", "k1", "=^$"},
    {"partitionkey", "k", "^"},
    {"datacontenttype", "text/", "^"},
    {"dataschema", "#1", "$"},
    {"site", "north", "=^$"},
    {"site", "nor", "^"},
    {"site", "rth", "$"},
    {"site", "\"north\"", ""},
    {"site", "north\"", ""},
    {"quoted", "a\"b\\", "=^$"},
    {"quoted", "a\"", "^"},
    {"quoted", "a\\", ""},
    {"quoted", "a", "^"},
    {"quoted", "\\", "$"},
    {"quoted", "\\\\", ""},
    {"quoted", "\"b\\", "$"},
    {"quoted", "b\\", "$"},
    {"quoted", "a\\\"b\\\\", ""},
    {"count", "-12", "=^$"},
    {"count", "-1", "^"},
    {"count", "12", "$"},
    {"count", "-12.0", ""},
    {"hot", "true", "=^$"},
    {"hot", "t", "^"},
    {"hot", "1", ""},
    {"cold", "false", "=^$"},
    {"empty", "a", ""},
    {"empty", "\"", ""},
    {"umlaut", "\xc3\xb6l", "=^$"},
    {"umlaut", "\xc3\xb6", "^"},
    {"last", "end", "=^$"},
    {"last", "end\"}", ""},
    {"absent", "a", ""},
    {"sit", "north", ""},
    {"sites", "north", ""},
    {"north", "north", ""},
};

static void compares_as_documented(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(documented); i++) {
        for (size_t op = 0; op < 3; op++) {
            busbar_filter filter =
                leaf((busbar_filter_op)(BUSBAR_FILTER_EXACT + op), documented[i].attribute, documented[i].value);
            bool expected = strchr(documented[i].matches, "=^$"[op]) != NULL;
            if (passes(&filter, &reading) != expected)
                fail_msg("%s %c= %s", documented[i].attribute, "=^$"[op], documented[i].value);
        }
    }
}

static void an_absent_attribute_fails_every_comparison(void **state)
{
    (void)state;
    static const char *const names[] = {"subject", "key", "partitionkey", "datacontenttype", "dataschema", "site"};
    const busbar_record bare = {.size = sizeof bare, .id = "x", .source = "/s", .type = "a"};
    busbar_record nothing = bare;
    nothing.extensions = "{}";
    for (size_t i = 0; i < COUNT(names); i++) {
        for (int op = BUSBAR_FILTER_EXACT; op <= BUSBAR_FILTER_SUFFIX; op++) {
            busbar_filter filter = leaf((busbar_filter_op)op, names[i], "a");
            busbar_filter not_it = group(BUSBAR_FILTER_NOT, &filter, 1);
            assert_false(passes(&filter, &bare));
            assert_false(passes(&filter, &nothing));
            assert_true(passes(&not_it, &bare));
        }
    }
}

static void no_filter_lets_everything_through(void **state)
{
    (void)state;
    bb_filter *filter = (bb_filter *)&reading;
    assert_int_equal(bb_filter_copy(NULL, &filter), BUSBAR_OK);
    assert_null(filter);
    assert_true(bb_filter_match(NULL, &reading));
    assert_true(bb_filter_needs_only_kind(NULL));
    bb_filter_free(NULL);
}

/* An end of the stored text is not always an end of the value: a backslash may belong to what follows it. */
static void an_end_does_not_begin_within_an_escape(void **state)
{
    (void)state;
    static const struct {
        const char *stored;
        const char *value;
        bool holds;
    } ends[] = {
        {"{\"e\":\"a\\\\\\\"\"}", "\"", true},      /* a \ "  */
        {"{\"e\":\"a\\\\\\\"\"}", "\\\"", true},    /* … ends with \ " */
        {"{\"e\":\"a\\\\\\\"\"}", "\\\\\"", false}, /* but has no second \ */
        {"{\"e\":\"\\\\n\"}", "n", true},           /* a backslash, n */
        {"{\"e\":\"\\\\\\\\\"}", "\\\\", true},     {"{\"e\":\"\\\\\\\\\"}", "\\", true},
        {"{\"e\":\"\\\\\"}", "\\\\", false},
    };
    for (size_t i = 0; i < COUNT(ends); i++) {
        busbar_record record = reading;
        record.extensions = ends[i].stored;
        busbar_filter filter = leaf(BUSBAR_FILTER_SUFFIX, "e", ends[i].value);
        if (passes(&filter, &record) != ends[i].holds)
            fail_msg("%s ends with %s", ends[i].stored, ends[i].value);
    }
}

/* ---- Combinations ---- */

static void combinations_follow_their_truth_tables(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 8; bits++) {
        busbar_filter parts[3];
        for (unsigned i = 0; i < 3; i++)
            parts[i] = leaf(BUSBAR_FILTER_EXACT, "site", bits >> i & 1 ? "north" : "south");
        for (size_t count = 1; count <= 3; count++) {
            unsigned mask = (1u << count) - 1;
            busbar_filter all = group(BUSBAR_FILTER_ALL, parts, count);
            busbar_filter any = group(BUSBAR_FILTER_ANY, parts, count);
            busbar_filter not_all = group(BUSBAR_FILTER_NOT, &all, 1);
            busbar_filter not_any = group(BUSBAR_FILTER_NOT, &any, 1);
            busbar_filter twice = group(BUSBAR_FILTER_NOT, &not_any, 1);
            assert_int_equal(passes(&all, &reading), (bits & mask) == mask);
            assert_int_equal(passes(&any, &reading), (bits & mask) != 0);
            assert_int_equal(passes(&not_all, &reading), (bits & mask) != mask);
            assert_int_equal(passes(&not_any, &reading), (bits & mask) == 0);
            assert_int_equal(passes(&twice, &reading), (bits & mask) != 0);
        }
    }
}

/* The tree and its texts may be gone: they are copied. */
static void a_filter_outlives_what_it_was_copied_from(void **state)
{
    (void)state;
    char name[] = "site";
    char value[] = "north";
    busbar_filter parts[2] = {leaf(BUSBAR_FILTER_EXACT, name, value), leaf(BUSBAR_FILTER_PREFIX, "source", value)};
    busbar_filter any = group(BUSBAR_FILTER_ANY, parts, 2);
    bb_filter *copy = NULL;
    assert_int_equal(bb_filter_copy(&any, &copy), BUSBAR_OK);
    memset(name, 'x', sizeof name);
    memset(value, 'x', sizeof value);
    memset(parts, 0xff, sizeof parts);
    memset(&any, 0xff, sizeof any);
    assert_true(bb_filter_match(copy, &reading));
    bb_filter_free(copy);
}

static void tells_whether_the_kind_decides(void **state)
{
    (void)state;
    static const struct {
        const char *attribute;
        bool of_kind;
    } attributes[] = {{"type", true},       {"source", true},        {"datacontenttype", true},
                      {"dataschema", true}, {"subject", false},      {"id", false},
                      {"key", false},       {"partitionkey", false}, {"site", false}};
    for (size_t i = 0; i < COUNT(attributes); i++) {
        busbar_filter parts[2] = {leaf(BUSBAR_FILTER_EXACT, "type", "a"),
                                  leaf(BUSBAR_FILTER_EXACT, attributes[i].attribute, "a")};
        busbar_filter all = group(BUSBAR_FILTER_ALL, parts, 2);
        bb_filter *copy = NULL;
        assert_int_equal(bb_filter_copy(&all, &copy), BUSBAR_OK);
        assert_int_equal(bb_filter_needs_only_kind(copy), attributes[i].of_kind);
        bb_filter_free(copy);
    }
}

/* ---- Limits and hostile input ---- */

static void refuses_malformed_comparisons(void **state)
{
    (void)state;
    static char long_value[BUSBAR_EXTENSION_VALUE_MAX + 2];
    static char long_name[BUSBAR_EXTENSION_NAME_MAX + 2];
    static const char *const names[] = {NULL,   "",     "Site",        "a b",         "a-b",    "\xc3\xb6",
                                        "time", "data", "specversion", "data_base64", long_name};
    static const char *const values[] = {NULL, "", "a\n", "\x7f", "\xff", "a\xc3", long_value};
    memset(long_value, 'v', sizeof long_value - 1);
    memset(long_name, 'n', sizeof long_name - 1);
    for (size_t i = 0; i < COUNT(names); i++) {
        busbar_filter filter = leaf(BUSBAR_FILTER_EXACT, names[i], "a");
        assert_refused(&filter);
    }
    for (size_t i = 0; i < COUNT(values); i++) {
        busbar_filter filter = leaf(BUSBAR_FILTER_SUFFIX, "site", values[i]);
        assert_refused(&filter);
    }
    long_value[sizeof long_value - 2] = '\0';
    long_name[sizeof long_name - 2] = '\0';
    busbar_filter largest = leaf(BUSBAR_FILTER_EXACT, long_name, long_value);
    assert_false(passes(&largest, &reading));
}

static void refuses_malformed_combinations(void **state)
{
    (void)state;
    const busbar_filter good[2] = {leaf(BUSBAR_FILTER_EXACT, "site", "a"), leaf(BUSBAR_FILTER_EXACT, "site", "b")};
    const busbar_filter bad[] = {
        {.op = (busbar_filter_op)0, .attribute = "site", .value = "a"},
        {.op = (busbar_filter_op)7, .filters = good, .filter_count = 1},
        {.op = (busbar_filter_op)-1, .attribute = "site", .value = "a"},
        group(BUSBAR_FILTER_ALL, good, 0),
        group(BUSBAR_FILTER_ANY, NULL, 0),
        group(BUSBAR_FILTER_ANY, NULL, 2),
        group(BUSBAR_FILTER_NOT, good, 0),
        group(BUSBAR_FILTER_NOT, good, 2),
        group(BUSBAR_FILTER_ALL, good, SIZE_MAX),
        {.op = BUSBAR_FILTER_ALL, .attribute = "site", .filters = good, .filter_count = 2},
        {.op = BUSBAR_FILTER_ALL, .value = "a", .filters = good, .filter_count = 2},
        {.op = BUSBAR_FILTER_EXACT, .attribute = "site", .value = "a", .filters = good},
        {.op = BUSBAR_FILTER_EXACT, .attribute = "site", .value = "a", .filter_count = 1},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        const busbar_filter second[2] = {good[0], bad[i]};
        const busbar_filter all = group(BUSBAR_FILTER_ALL, second, 2);
        assert_refused(&bad[i]);
        assert_refused(&all);
    }
}

static void filters_have_a_largest_depth(void **state)
{
    (void)state;
    busbar_filter chain[BUSBAR_FILTER_DEPTH_MAX + 1];
    chain[0] = leaf(BUSBAR_FILTER_EXACT, "site", "north");
    for (size_t i = 1; i < COUNT(chain); i++)
        chain[i] = group(BUSBAR_FILTER_NOT, &chain[i - 1], 1);
    assert_false(passes(&chain[BUSBAR_FILTER_DEPTH_MAX - 1], &reading)); /* seven times not */
    assert_refused(&chain[BUSBAR_FILTER_DEPTH_MAX]);
}

static void filters_have_a_largest_number_of_nodes(void **state)
{
    (void)state;
    busbar_filter parts[BUSBAR_FILTER_NODES_MAX];
    for (size_t i = 0; i < COUNT(parts); i++)
        parts[i] = leaf(BUSBAR_FILTER_EXACT, "site", "north");
    busbar_filter all = group(BUSBAR_FILTER_ALL, parts, BUSBAR_FILTER_NODES_MAX - 1);
    assert_true(passes(&all, &reading));
    parts[BUSBAR_FILTER_NODES_MAX - 2].value = "south"; /* the very last one counts */
    assert_false(passes(&all, &reading));
    all.filter_count++;
    assert_refused(&all);
    busbar_filter nested[2] = {leaf(BUSBAR_FILTER_EXACT, "site", "north"),
                               group(BUSBAR_FILTER_ANY, parts, BUSBAR_FILTER_NODES_MAX - 3)};
    busbar_filter outer = group(BUSBAR_FILTER_ALL, nested, 2);
    assert_true(passes(&outer, &reading));
    nested[1].filter_count++;
    assert_refused(&outer);
}

static void a_tree_that_contains_itself_is_refused(void **state)
{
    (void)state;
    busbar_filter self = {.op = BUSBAR_FILTER_NOT};
    self = group(BUSBAR_FILTER_NOT, &self, 1);
    busbar_filter wide[2] = {leaf(BUSBAR_FILTER_EXACT, "site", "a"), group(BUSBAR_FILTER_ALL, wide, 2)};
    busbar_filter many[32];
    for (size_t i = 0; i < COUNT(many); i++)
        many[i] = group(BUSBAR_FILTER_ANY, many, COUNT(many));
    assert_refused(&self);
    assert_refused(&wide[1]);
    assert_refused(&many[0]);
}

/* What no Busbar wrote must do no harm, whatever it decides. */
static void damaged_extensions_do_no_harm(void **state)
{
    (void)state;
    static const char *const damaged[] = {
        "",           "{",          "[]",          "\"",       "{\"",         "{\"e",        "{\"e\"", "{\"e\":",
        "{\"e\":\"",  "{\"e\":\"a", "{\"e\":\"\\", "{\"e\":}", "{\"e\":\"\\", "{\"\":\"a\"", "null",   "{\"e\":\"a\"",
        "{\"e\":{}}", "{\"e\":\"}"};
    for (size_t i = 0; i < COUNT(damaged); i++) {
        char *text = malloc(strlen(damaged[i]) + 1);
        assert_non_null(text);
        strcpy(text, damaged[i]);
        busbar_record record = reading;
        record.extensions = text;
        for (int op = BUSBAR_FILTER_EXACT; op <= BUSBAR_FILTER_SUFFIX; op++) {
            busbar_filter filter = leaf((busbar_filter_op)op, "e", "no such value");
            assert_false(passes(&filter, &record));
        }
        free(text);
    }
}

/* ---- Words ---- */

static void assert_text(const busbar_filter *filter, const char *expected)
{
    char buffer[512];
    bb_filter *copy = NULL;
    assert_int_equal(bb_filter_copy(filter, &copy), BUSBAR_OK);
    bb_text text = bb_text_on(buffer, sizeof buffer);
    bb_filter_text(copy, &text);
    assert_true(bb_text_fits(&text));
    assert_string_equal(buffer, expected);
    bb_filter_free(copy);
}

static void reads_like_what_it_means(void **state)
{
    (void)state;
    const busbar_filter a = leaf(BUSBAR_FILTER_PREFIX, "source", "/pump/");
    const busbar_filter b = leaf(BUSBAR_FILTER_EXACT, "subject", "x");
    const busbar_filter c = leaf(BUSBAR_FILTER_SUFFIX, "site", "a\"\\b");
    const busbar_filter key = leaf(BUSBAR_FILTER_EXACT, "partitionkey", "\"k\"");
    const busbar_filter not_b = group(BUSBAR_FILTER_NOT, &b, 1);
    const busbar_filter a_not_b[2] = {a, not_b};
    const busbar_filter all = group(BUSBAR_FILTER_ALL, a_not_b, 2);
    const busbar_filter b_c[2] = {b, c};
    const busbar_filter any = group(BUSBAR_FILTER_ANY, b_c, 2);
    const busbar_filter not_any = group(BUSBAR_FILTER_NOT, &any, 1);
    const busbar_filter nested[3] = {any, a, not_any};
    const busbar_filter outer = group(BUSBAR_FILTER_ALL, nested, 3);
    const busbar_filter only = group(BUSBAR_FILTER_ANY, &not_b, 1);
    const busbar_filter not_only = group(BUSBAR_FILTER_NOT, &only, 1);
    const busbar_filter outer_any[2] = {outer, all};
    const busbar_filter top = group(BUSBAR_FILTER_ANY, outer_any, 2);
    assert_text(NULL, "");
    assert_text(&a, "source^=\"/pump/\"");
    assert_text(&c, "site$=\"a\\\"\\\\b\"");
    assert_text(&key, "key=\"\\\"k\\\"\"");
    assert_text(&all, "source^=\"/pump/\" and not subject=\"x\"");
    assert_text(&not_any, "not (subject=\"x\" or site$=\"a\\\"\\\\b\")");
    assert_text(&not_only, "not not subject=\"x\"");
    assert_text(&outer, "(subject=\"x\" or site$=\"a\\\"\\\\b\") and source^=\"/pump/\""
                        " and not (subject=\"x\" or site$=\"a\\\"\\\\b\")");
    assert_text(&top, "((subject=\"x\" or site$=\"a\\\"\\\\b\") and source^=\"/pump/\""
                      " and not (subject=\"x\" or site$=\"a\\\"\\\\b\"))"
                      " or (source^=\"/pump/\" and not subject=\"x\")");
}

static void a_text_without_room_ends_with_dots(void **state)
{
    (void)state;
    const busbar_filter filter = leaf(BUSBAR_FILTER_EXACT, "subject", "\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6");
    static const struct {
        size_t capacity;
        const char *text;
    } cuts[] = {{18, "subject=\"\xc3\xb6\xc3\xb6..."},
                {17, "subject=\"\xc3\xb6\xc3\xb6..."},
                {16, "subject=\"\xc3\xb6..."},
                {4, "..."}};
    bb_filter *copy = NULL;
    assert_int_equal(bb_filter_copy(&filter, &copy), BUSBAR_OK);
    for (size_t i = 0; i < COUNT(cuts); i++) {
        char *buffer = malloc(cuts[i].capacity);
        assert_non_null(buffer);
        bb_text text = bb_text_on(buffer, cuts[i].capacity);
        bb_filter_text(copy, &text);
        assert_int_equal(text.length, 18);
        assert_string_equal(buffer, cuts[i].text);
        free(buffer);
    }
    char tiny[3];
    bb_text text = bb_text_on(tiny, sizeof tiny);
    bb_filter_text(copy, &text);
    assert_false(bb_text_fits(&text));
    text = bb_text_on(NULL, 0);
    bb_filter_text(copy, &text);
    bb_filter_free(copy);
}

/* ---- Against the definition ---- */

static const char *const texts[] = {"a",   "b",    "ab",   "ba",  "aa", "\\",    "\"", "\\\\",  "\\\"",
                                    "\"a", "a\\a", "true", "12",  "-1", "\\n",   "n",  "bb",    "\xc3\xa4",
                                    "/a",  "\\a",  "a\"",  "tru", "1",  "false", "e",  "\\\\\\"};
static const char *const sought[] = {"type", "source", "subject", "id", "key", "partitionkey", "x", "y", "z", "xx"};

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static size_t below(uint64_t *state, size_t limit)
{
    return (size_t)((next_random(state) >> 20) % limit);
}

static const char *some_text(uint64_t *state)
{
    return texts[below(state, COUNT(texts))];
}

/* An event, its extensions still as values. */
typedef struct event {
    busbar_record record;
    busbar_attribute extensions[3];
    size_t count;
    char stored[256];
} event;

static void compose_event(uint64_t *state, event *out)
{
    static const char *const extension_names[] = {"x", "y", "xx"};
    const char *members[5];
    for (size_t i = 0; i < COUNT(members); i++)
        members[i] = below(state, 4) > 0 ? some_text(state) : NULL;
    *out = (event){.record = {.size = sizeof out->record,
                              .type = members[0] ? members[0] : "a",
                              .source = members[1] ? members[1] : "b",
                              .subject = members[2],
                              .id = members[3] ? members[3] : "ab",
                              .key = members[4]}};
    for (size_t i = 0; i < COUNT(extension_names); i++) {
        if (below(state, 4) == 0)
            continue;
        out->extensions[out->count++] = (busbar_attribute){.name = extension_names[i],
                                                           .type = (busbar_attribute_type)below(state, 3),
                                                           .string = some_text(state),
                                                           .integer = (int32_t)below(state, 15) - 2};
    }
    bb_text text = bb_text_on(out->stored, sizeof out->stored);
    assert_int_equal(bb_extension_write(NULL, out->extensions, out->count, &text), BUSBAR_OK);
    assert_true(bb_text_fits(&text));
    out->record.extensions = out->count > 0 ? out->stored : NULL;
}

static const char *extension_of(const event *e, const char *name, char out[16])
{
    for (size_t i = 0; i < e->count; i++) {
        const busbar_attribute *attribute = &e->extensions[i];
        if (strcmp(attribute->name, name) != 0)
            continue;
        if (attribute->type == BUSBAR_ATTRIBUTE_STRING)
            return attribute->string;
        if (attribute->type == BUSBAR_ATTRIBUTE_BOOLEAN)
            return attribute->integer != 0 ? "true" : "false";
        snprintf(out, 16, "%d", (int)attribute->integer);
        return out;
    }
    return NULL;
}

static const char *attribute_of(const event *e, const char *name, char out[16])
{
    const char *const values[] = {e->record.type, e->record.source, e->record.subject,
                                  e->record.id,   e->record.key,    e->record.key};
    for (size_t i = 0; i < COUNT(values); i++) {
        if (strcmp(sought[i], name) == 0)
            return values[i];
    }
    return extension_of(e, name, out);
}

static bool obvious(const busbar_filter *filter, const event *e)
{
    char number[16];
    if (filter->op == BUSBAR_FILTER_NOT)
        return !obvious(&filter->filters[0], e);
    if (filter->op == BUSBAR_FILTER_ALL || filter->op == BUSBAR_FILTER_ANY) {
        bool all = true;
        bool any = false;
        for (size_t i = 0; i < filter->filter_count; i++) {
            bool part = obvious(&filter->filters[i], e);
            all = all && part;
            any = any || part;
        }
        return filter->op == BUSBAR_FILTER_ALL ? all : any;
    }
    const char *text = attribute_of(e, filter->attribute, number);
    if (!text)
        return false;
    size_t size = strlen(filter->value);
    if (filter->op == BUSBAR_FILTER_EXACT)
        return strcmp(text, filter->value) == 0;
    if (filter->op == BUSBAR_FILTER_PREFIX)
        return strncmp(text, filter->value, size) == 0;
    return strlen(text) >= size && strcmp(text + strlen(text) - size, filter->value) == 0;
}

/* Builds a tree from below, each combination over some of the last nodes that are free; returns its root. */
static const busbar_filter *compose_filter(uint64_t *state, busbar_filter pool[40])
{
    size_t used = 0;
    size_t free_from = 0;
    size_t combinations = below(state, 5);
    for (size_t round = 0; round <= combinations; round++) {
        size_t leaves = 1 + below(state, 4);
        for (size_t i = 0; i < leaves; i++) {
            busbar_filter_op op = (busbar_filter_op)(BUSBAR_FILTER_EXACT + (int)below(state, 3));
            pool[used++] = leaf(op, sought[below(state, COUNT(sought))], some_text(state));
        }
        size_t first = below(state, 2) == 0 ? free_from : used - 1;
        busbar_filter_op op = (busbar_filter_op)(BUSBAR_FILTER_ALL + (int)below(state, 3));
        size_t count = op == BUSBAR_FILTER_NOT ? 1 : used - first;
        pool[used] = group(op, &pool[used - count], count);
        free_from = used++;
    }
    return &pool[used - 1];
}

static void agrees_with_the_definition(void **state)
{
    (void)state;
    uint64_t random = 88172645463325252u;
    size_t passed = 0;
    for (int i = 0; i < 40000; i++) {
        busbar_filter pool[40];
        const busbar_filter *filter = compose_filter(&random, pool);
        bb_filter *copy = NULL;
        assert_int_equal(bb_filter_copy(filter, &copy), BUSBAR_OK);
        for (int j = 0; j < 4; j++) {
            event e;
            compose_event(&random, &e);
            bool expected = obvious(filter, &e);
            if (bb_filter_match(copy, &e.record) != expected)
                fail_msg("filter %d on event %d", i, j);
            passed += expected;
        }
        bb_filter_free(copy);
    }
    assert_in_range(passed, 16000, 144000); /* neither outcome is rare */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares_as_documented),
        cmocka_unit_test(an_absent_attribute_fails_every_comparison),
        cmocka_unit_test(no_filter_lets_everything_through),
        cmocka_unit_test(an_end_does_not_begin_within_an_escape),
        cmocka_unit_test(combinations_follow_their_truth_tables),
        cmocka_unit_test(a_filter_outlives_what_it_was_copied_from),
        cmocka_unit_test(tells_whether_the_kind_decides),
        cmocka_unit_test(refuses_malformed_comparisons),
        cmocka_unit_test(refuses_malformed_combinations),
        cmocka_unit_test(filters_have_a_largest_depth),
        cmocka_unit_test(filters_have_a_largest_number_of_nodes),
        cmocka_unit_test(a_tree_that_contains_itself_is_refused),
        cmocka_unit_test(damaged_extensions_do_no_harm),
        cmocka_unit_test(reads_like_what_it_means),
        cmocka_unit_test(a_text_without_room_ends_with_dots),
        cmocka_unit_test(agrees_with_the_definition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
