/* SPDX-License-Identifier: MIT */
/* Extension attributes as they are stored, and the given time in front of them. */
#include "test.h"

#include "extension.h"
#include "json.h"

static const char *const TIME = "2026-11-20T20:41:37.123+01:00";

static int write_to(char *buffer, size_t capacity, const char *time, const busbar_attribute *attributes, size_t count)
{
    bb_text out = bb_text_on(buffer, capacity);
    int result = bb_extension_write(time, attributes, count, &out);
    if (result == BUSBAR_OK) {
        assert_true(bb_text_fits(&out));
        assert_true(bb_json_valid(buffer, out.length, NULL));
    }
    return result;
}

static const busbar_attribute attributes[] = {
    {.name = "traceparent", .type = BUSBAR_ATTRIBUTE_STRING, .string = "00-0af7-01"},
    {.name = "note", .type = BUSBAR_ATTRIBUTE_STRING, .string = "a \"quote\", a \\ and }"},
    {.name = "severity", .type = BUSBAR_ATTRIBUTE_INTEGER, .integer = INT32_MIN},
    {.name = "yes", .type = BUSBAR_ATTRIBUTE_BOOLEAN, .integer = 2},
    {.name = "no", .type = BUSBAR_ATTRIBUTE_BOOLEAN, .integer = 0},
};

#define MEMBERS                                                                                                        \
    "\"traceparent\":\"00-0af7-01\",\"note\":\"a \\\"quote\\\", a \\\\ and }\",\"severity\":-2147483648,"              \
    "\"yes\":true,\"no\":false"

static void writes_one_object(void **state)
{
    (void)state;
    char buffer[512];
    assert_int_equal(write_to(buffer, sizeof buffer, NULL, attributes, 5), BUSBAR_OK);
    assert_string_equal(buffer, "{" MEMBERS "}");
    assert_int_equal(write_to(buffer, sizeof buffer, TIME, attributes, 5), BUSBAR_OK);
    assert_string_equal(buffer, "{\"time\":\"2026-11-20T20:41:37.123+01:00\"," MEMBERS "}");
    assert_int_equal(write_to(buffer, sizeof buffer, TIME, NULL, 0), BUSBAR_OK);
    assert_string_equal(buffer, "{\"time\":\"2026-11-20T20:41:37.123+01:00\"}");
    assert_int_equal(write_to(buffer, sizeof buffer, NULL, NULL, 0), BUSBAR_OK);
    assert_string_equal(buffer, "{}");
}

static void counts_what_does_not_fit(void **state)
{
    (void)state;
    char buffer[512];
    bb_text whole = bb_text_on(buffer, sizeof buffer);
    bb_text none = bb_text_on(NULL, 0);
    assert_int_equal(bb_extension_write(TIME, attributes, 5, &whole), BUSBAR_OK);
    assert_int_equal(bb_extension_write(TIME, attributes, 5, &none), BUSBAR_OK);
    assert_int_equal(none.length, whole.length);
    assert_false(bb_text_fits(&none));
}

static void refuses_bad_attributes(void **state)
{
    (void)state;
    char buffer[1024];
    busbar_attribute bad[2] = {{.name = "a", .type = BUSBAR_ATTRIBUTE_INTEGER},
                               {.name = "time", .type = BUSBAR_ATTRIBUTE_STRING, .string = "x"}};
    assert_int_equal(write_to(buffer, sizeof buffer, NULL, bad, 1), BUSBAR_OK);
    assert_int_equal(write_to(buffer, sizeof buffer, NULL, bad, 2), BUSBAR_EEXTENSION);
    bad[1].name = "a";
    assert_int_equal(write_to(buffer, sizeof buffer, NULL, bad, 2), BUSBAR_EEXTENSION);
    bad[1].name = "b";
    assert_int_equal(write_to(buffer, sizeof buffer, NULL, bad, 2), BUSBAR_OK);
    bad[1].string = "\x01";
    assert_int_equal(write_to(buffer, sizeof buffer, NULL, bad, 2), BUSBAR_EEXTENSION);
    bad[1].name = NULL;
    assert_int_equal(write_to(buffer, sizeof buffer, NULL, bad, 2), BUSBAR_EEXTENSION);
    assert_int_equal(write_to(buffer, sizeof buffer, "now", bad, 1), BUSBAR_ETIME);
    assert_int_equal(write_to(buffer, sizeof buffer, "2026-11-20T20:41:37\"", bad, 1), BUSBAR_ETIME);
}

static void takes_no_more_than_the_limit(void **state)
{
    (void)state;
    char names[BUSBAR_EXTENSION_COUNT_MAX + 1][3];
    busbar_attribute many[BUSBAR_EXTENSION_COUNT_MAX + 1];
    for (size_t i = 0; i <= BUSBAR_EXTENSION_COUNT_MAX; i++) {
        names[i][0] = (char)('a' + i / 26);
        names[i][1] = (char)('a' + i % 26);
        names[i][2] = '\0';
        many[i] = (busbar_attribute){.name = names[i], .type = BUSBAR_ATTRIBUTE_INTEGER};
    }
    char buffer[1024];
    assert_int_equal(write_to(buffer, sizeof buffer, NULL, many, BUSBAR_EXTENSION_COUNT_MAX), BUSBAR_OK);
    assert_int_equal(write_to(buffer, sizeof buffer, NULL, many, BUSBAR_EXTENSION_COUNT_MAX + 1), BUSBAR_EEXTENSION);
}

static void assert_split(const char *stored, const char *time, const char *members)
{
    size_t size = strlen(stored);
    char *copy = malloc(size + 1); /* ends with its last byte, for sanitizers */
    assert_non_null(copy);
    const char *text = memcpy(copy + 1, stored, size);
    const char *found = NULL;
    size_t found_size = 4711;
    assert_int_equal(bb_extension_time(text, size, &found, &found_size), time != NULL);
    assert_int_equal(found_size, time ? strlen(time) : 4711);
    if (time)
        assert_memory_equal(found, time, found_size);
    bb_extension_members(text, size, &found, &found_size);
    assert_int_equal(found_size, strlen(members));
    assert_memory_equal(found, members, found_size);
    free(copy);
}

static void splits_what_it_wrote(void **state)
{
    (void)state;
    assert_split("{" MEMBERS "}", NULL, MEMBERS);
    assert_split("{\"time\":\"2026-11-20T20:41:37.123+01:00\"," MEMBERS "}", TIME, MEMBERS);
    assert_split("{\"time\":\"2026-11-20T20:41:37.123+01:00\"}", TIME, "");
    assert_split("{}", NULL, "");
    assert_split("{\"timer\":\"x\"}", NULL, "\"timer\":\"x\"");
}

/* P12: a damaged row is no crash. */
static void damaged_text_is_not_read_beyond_its_end(void **state)
{
    (void)state;
    static const char *const damaged[] = {"{",
                                          "}",
                                          "",
                                          "{\"time\":\"",
                                          "{\"time\":\"2026",
                                          "{\"time\":\"2026\"",
                                          "{\"time\":\"2026\",",
                                          "{\"time\":\"\"}",
                                          "x",
                                          "{\"time\":",
                                          "[]"};
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        size_t size = strlen(damaged[i]);
        char *copy = malloc(size + 1);
        assert_non_null(copy);
        const char *text = memcpy(copy + 1, damaged[i], size);
        const char *found = text;
        size_t found_size = 0;
        bool has_time = bb_extension_time(text, size, &found, &found_size);
        assert_int_equal(has_time, size > 9 && text[size - 1] != '6');
        assert_true(found >= text && found + found_size <= text + size);
        bb_extension_members(text, size, &found, &found_size);
        assert_true(found >= text && found + found_size <= text + size);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_one_object),      cmocka_unit_test(counts_what_does_not_fit),
        cmocka_unit_test(refuses_bad_attributes), cmocka_unit_test(takes_no_more_than_the_limit),
        cmocka_unit_test(splits_what_it_wrote),   cmocka_unit_test(damaged_text_is_not_read_beyond_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
