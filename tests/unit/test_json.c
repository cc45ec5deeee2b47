/* SPDX-License-Identifier: MIT */
/* The JSON scanner: strict where cJSON is not, and exact about where the fault is. */
#include "test.h"

#include <busbar/busbar.h>

#include "json.h"

/* Checks a copy that ends with its last byte, so that a sanitizer sees a read beyond it. */
static bool valid(const char *text, size_t size, size_t *out_offset)
{
    char *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, text, size);
    bool result = bb_json_valid(copy, size, out_offset);
    free(copy);
    return result;
}

static void accepts_json(void **state)
{
    (void)state;
    static const char *const good[] = {
        "0",
        "-0",
        "1",
        "-1",
        "10",
        "1.5",
        "-0.0",
        "0e0",
        "1E+5",
        "1e-5",
        "1.25e10",
        "9007199254740993",
        "1e400",
        "123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890",
        "true",
        "false",
        "null",
        "\"\"",
        "\"a\"",
        "[]",
        "{}",
        " [ ] ",
        "\t{\r\n}\n",
        "[1]",
        "[1,2,3]",
        "[[],{},[[]]]",
        "{\"a\":1}",
        "{ \"a\" : 1 , \"b\" : [ true , false , null ] }",
        "{\"\":{}}",
        "{\"a\":1,\"a\":2}",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        "\"\\u0000\"",
        "\"\\uABCD\\uabcd\\u09aF\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud800\"",
        "\"\\udc00 \\ud800x\"",
        "\"\x7f\"",
        "\"\xc2\x80\"",
        "\"Euro \xe2\x82\xac\"",
        "\"\xf0\x9f\x98\x80\xf0\x9f\x98\x80\"",
        "\"\xf4\x8f\xbf\xbf\"",
        "\"1234567\"",
        "\"12345678\"",
        "\"123456789\"",
        "\"1234567\\n\"",
        "\"12345678\\n9\xc3\xa4\"",
        "\"a long string without anything to look at in it, as texts are\"",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        size_t offset = 4711;
        if (!valid(good[i], strlen(good[i]), &offset))
            fail_msg("%s: refused at %zu", good[i], offset);
        assert_int_equal(offset, 4711);
    }
}

static const struct {
    const char *text;
    size_t offset;
} bad_texts[] = {
    {"", 0},
    {" ", 1},
    {"\xef\xbb\xbf{}", 0},
    {"\xef\xbb\xbf", 0},
    {"1 2", 2},
    {"{}x", 2},
    {"null,", 4},
    {"[]]", 2},
    {"01", 1},
    {"-01", 2},
    {"1.", 2},
    {".5", 0},
    {"+1", 0},
    {"-", 1},
    {"--1", 1},
    {"1e", 2},
    {"1e+", 3},
    {"1.e5", 2},
    {"0x10", 1},
    {"1:", 1},
    {"[1:2]", 2},
    {"1d5", 1},
    {"1D5", 1},
    {":1", 0},
    {"1_0", 1},
    {"NaN", 0},
    {"Infinity", 0},
    {"-Infinity", 1},
    {"tru", 3},
    {"trux", 3},
    {"True", 0},
    {"nul", 3},
    {"nulL", 3},
    {"falsey", 5},
    {"nan", 1},
    {"'a'", 0},
    {"a", 0},
    {"[", 1},
    {"[1", 2},
    {"[1,", 3},
    {"[1,]", 3},
    {"[,1]", 1},
    {"[1 2]", 3},
    {"[1}", 2},
    {"]", 0},
    {"}", 0},
    {"{", 1},
    {"{1:2}", 1},
    {"{\"a\"", 4},
    {"{\"a\" 1}", 5},
    {"{\"a\":", 5},
    {"{\"a\":}", 5},
    {"{\"a\":1", 6},
    {"{\"a\":1,", 7},
    {"{\"a\":1,}", 7},
    {"{\"a\x01\":1}", 3},
    {"{\"a\\x\":1}", 4},
    {"{,}", 1},
    {"{\"a\":1 \"b\":2}", 7},
    {"{\"a\":1]", 6},
    {"{a:1}", 1},
    {"\"", 1},
    {"\"a", 2},
    {"\"abcdefgh", 9},
    {"\"abcdefghijklmnopq", 18},
    {"\"a\nb\"", 2},
    {"\"a\tb\"", 2},
    {"\"abcdefghijk\x1f\"", 12},
    {"\"\\", 2},
    {"\"\\x41\"", 2},
    {"\"\\'\"", 2},
    {"\"\\u\"", 3},
    {"\"\\u12\"", 5},
    {"\"\\u12g4\"", 5},
    {"\"\\u123", 6},
    {"\"\\U1234\"", 2},
    {"\"\x80\"", 1},
    {"\"\xc0\xaf\"", 1},
    {"\"a\xe2\x82\"", 2},
    {"\"\xed\xa0\x80\"", 1},
    {"\"\xf4\x90\x80\x80\"", 1},
    {"\"\xff\"", 1},
    {"\"1234567890\xc3", 11},
    {"[1] // no", 4},
    {"/* no */ 1", 0},
    {"{\"a\":undefined}", 5},
    {"\x0b[]", 0},
    {"[\xc2\xa0]", 1},
    {"[1\f]", 2},
};

static void refuses_other_text_at_its_first_fault(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_texts / sizeof bad_texts[0]; i++) {
        size_t offset = 4711;
        if (valid(bad_texts[i].text, strlen(bad_texts[i].text), &offset))
            fail_msg("%s: accepted", bad_texts[i].text);
        if (offset != bad_texts[i].offset)
            fail_msg("%s: fault at %zu, not %zu", bad_texts[i].text, offset, bad_texts[i].offset);
    }
}

static void a_nul_is_no_end(void **state)
{
    (void)state;
    size_t offset = 4711;
    assert_false(valid("1\0", 2, &offset));
    assert_int_equal(offset, 1);
    assert_false(valid("\"a\0b\"", 5, &offset));
    assert_int_equal(offset, 2);
    assert_false(bb_json_valid(NULL, 0, &offset));
    assert_int_equal(offset, 0);
    assert_false(bb_json_valid("[", 1, NULL));
}

/* Puts each byte into each place of a string: only what RFC 8259 allows alone may pass. */
static void every_byte_in_every_place_of_a_string(void **state)
{
    (void)state;
    for (size_t place = 1; place <= 20; place++) {
        for (int byte = 0; byte < 256; byte++) {
            char text[] = "\"abcdefghijklmnopqrst\"";
            text[place] = (char)byte;
            bool good = byte >= 0x20 && byte < 0x80 && byte != '"';
            if (byte == '\\')
                good = strchr("bfnrt\\/", text[place + 1]) != NULL; /* the last one escapes the closing quote */
            size_t offset = 4711;
            bool accepted = valid(text, sizeof text - 1, &offset);
            if (accepted != good)
                fail_msg("byte %d in place %zu", byte, place);
            if (!good && byte != '"' && byte != '\\')
                assert_int_equal(offset, place);
        }
    }
}

/* Writes `depth` opening brackets and as many closing ones. */
static size_t nest(char *out, size_t depth, bool objects)
{
    char *at = out;
    for (size_t i = 0; i < depth; i++) {
        memcpy(at, objects && i % 3 != 0 ? "{\"a\":" : "[", objects && i % 3 != 0 ? 5 : 1);
        at += objects && i % 3 != 0 ? 5 : 1;
    }
    *at++ = '1';
    for (size_t i = depth; i-- > 0;)
        *at++ = objects && i % 3 != 0 ? '}' : ']';
    return (size_t)(at - out);
}

static void nests_to_the_limit(void **state)
{
    (void)state;
    static char text[4096];
    for (int objects = 0; objects < 2; objects++) {
        for (size_t depth = 1; depth <= BUSBAR_JSON_DEPTH_MAX; depth++) {
            size_t size = nest(text, depth, objects != 0);
            assert_true(valid(text, size, NULL));
            size_t offset = 4711;
            text[size - 1] = text[size - 1] == ']' ? '}' : ']'; /* every level remembers what it is */
            assert_false(valid(text, size, &offset));
            assert_int_equal(offset, size - 1);
        }
    }
    size_t offset = 4711;
    size_t size = nest(text, BUSBAR_JSON_DEPTH_MAX + 1, false);
    assert_false(valid(text, size, &offset));
    assert_int_equal(offset, BUSBAR_JSON_DEPTH_MAX);
    assert_true(bb_json_valid_envelope(text, size, NULL));
    size = nest(text, BUSBAR_JSON_DEPTH_MAX + 2, false);
    assert_false(bb_json_valid_envelope(text, size, &offset));
    assert_int_equal(offset, BUSBAR_JSON_DEPTH_MAX + 1);
    memset(text, '[', sizeof text);
    assert_false(valid(text, sizeof text, &offset));
    assert_int_equal(offset, BUSBAR_JSON_DEPTH_MAX);
}

/* ---- Members ---- */

typedef struct members {
    char seen[256];
    size_t count;
    size_t stop_at;
} members;

static int note_member(const char *name, size_t name_size, const char *value, size_t value_size, void *ctx)
{
    members *m = ctx;
    size_t used = strlen(m->seen);
    assert_true(used + name_size + value_size + 3 < sizeof m->seen);
    memcpy(m->seen + used, name, name_size);
    m->seen[used + name_size] = '=';
    memcpy(m->seen + used + name_size + 1, value, value_size);
    strcpy(m->seen + used + name_size + 1 + value_size, ";");
    return ++m->count == m->stop_at ? 17 : 0;
}

static void hands_out_the_members_as_they_stand(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *expected;
    } cases[] = {
        {"{}", ""},
        {" { } ", ""},
        {"{\"a\":1}", "a=1;"},
        {"{ \"a\" : -1.50e3 , \"b\":\"x\" }", "a=-1.50e3;b=\"x\";"},
        {"{\"\":null,\"a\":true}", "=null;a=true;"},
        {"{\"a\":{\"b\":[1,{\"c\":\"}]\"}]},\"d\":[[],\"\\\"]\"]}", "a={\"b\":[1,{\"c\":\"}]\"}]};d=[[],\"\\\"]\"];"},
        {"{\"q\\\"\\\\\":\"\\\\\",\"z\":\"\\\\\\\"\"}", "q\\\"\\\\=\"\\\\\";z=\"\\\\\\\"\";"},
        {"{\"a\":1\n,\"a\":[ 2 ]\t}", "a=1;a=[ 2 ];"},
        {"{\"\xc3\xa4\":\"a long value, \xe2\x82\xac, more than eight\"}",
         "\xc3\xa4=\"a long value, \xe2\x82\xac, more than eight\";"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        members m = {.count = 0};
        assert_int_equal(bb_json_members(cases[i].text, strlen(cases[i].text), note_member, &m), 0);
        assert_string_equal(m.seen, cases[i].expected);
    }
}

static void stops_when_told_to(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":1,\"b\":2,\"c\":3}";
    members m = {.stop_at = 2};
    assert_int_equal(bb_json_members(text, sizeof text - 1, note_member, &m), 17);
    assert_string_equal(m.seen, "a=1;b=2;");
}

static int touch_member(const char *name, size_t name_size, const char *value, size_t value_size, void *ctx)
{
    size_t *sum = ctx;
    for (size_t i = 0; i < name_size; i++)
        *sum += (unsigned char)name[i];
    for (size_t i = 0; i < value_size; i++)
        *sum += (unsigned char)value[i];
    return 0;
}

/* P12: a damaged row is no crash. A sanitizer watches the copy's end. */
static void damaged_objects_are_not_read_beyond_their_end(void **state)
{
    (void)state;
    static const char text[] = "{\"a\\\"\":{\"b\":[1,\"}\\\\\"]},\"c\":\"long enough for a word\\\"\",\"d\":-1}";
    size_t sum = 0;
    for (size_t size = 0; size < sizeof text; size++) {
        for (size_t damage = 0; damage < size; damage++) {
            char *copy = malloc(size + 1);
            assert_non_null(copy);
            char *at = copy + 1; /* ends with the allocation */
            memcpy(at, text, size);
            bb_json_members(at, size, touch_member, &sum);
            at[damage] = "\"\\{}[]:, 1"[damage % 10];
            bb_json_members(at, size, touch_member, &sum);
            free(copy);
        }
    }
    assert_true(sum > 0);
}

/* ---- Writing ---- */

static void writes_strings(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t size;
        const char *expected;
    } cases[] = {
        {"", 0, "\"\""},
        {"plain", 5, "\"plain\""},
        {"a\"b\\c/", 6, "\"a\\\"b\\\\c/\""},
        {"\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\""},
        {"\0\x01\x1f\x7f", 4, "\"\\u0000\\u0001\\u001f\x7f\""},
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xc3\xa4\"", 12, "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xc3\xa4\\\"\""},
        {"12345678\"12345678", 17, "\"12345678\\\"12345678\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char buffer[64];
        bb_text out = bb_text_on(buffer, sizeof buffer);
        bb_json_add_string(&out, cases[i].text, cases[i].size);
        assert_string_equal(buffer, cases[i].expected);
        assert_true(valid(buffer, out.length, NULL));
    }
}

static void escapes_every_byte_in_every_place(void **state)
{
    (void)state;
    for (int byte = 0; byte < 128; byte++) {
        for (size_t place = 0; place < 19; place++) {
            char text[] = "abcdefghijklmnopqrs";
            text[place] = (char)byte;
            char buffer[64];
            bb_text out = bb_text_on(buffer, sizeof buffer);
            bb_json_add_string(&out, text, 19);
            assert_true(valid(buffer, out.length, NULL));
            bool escaped = byte < 0x20 || byte == '"' || byte == '\\';
            assert_int_equal(buffer[place + 1] == '\\', escaped);
            assert_int_equal(out.length > 21, escaped);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_json),       cmocka_unit_test(refuses_other_text_at_its_first_fault),
        cmocka_unit_test(a_nul_is_no_end),    cmocka_unit_test(every_byte_in_every_place_of_a_string),
        cmocka_unit_test(nests_to_the_limit), cmocka_unit_test(hands_out_the_members_as_they_stand),
        cmocka_unit_test(stops_when_told_to), cmocka_unit_test(damaged_objects_are_not_read_beyond_their_end),
        cmocka_unit_test(writes_strings),     cmocka_unit_test(escapes_every_byte_in_every_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
