/* SPDX-License-Identifier: MIT */
/* Checks of event fields: the right code for each, limits to the byte. The grammars have tests of their own. */
#include "test.h"

#include "attribute.h"

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

typedef int check_fn(const char *value);

/* `size` bytes: `prefix` and then the letter a. */
static const char *long_text(const char *prefix, size_t size)
{
    static char text[8192];
    assert_true(size < sizeof text && size >= strlen(prefix));
    memset(text, 'a', size);
    memcpy(text, prefix, strlen(prefix));
    text[size] = '\0';
    return text;
}

static void each_field_has_its_code_and_limit(void **state)
{
    (void)state;
    static const struct {
        check_fn *check;
        int code;
        size_t max;
        const char *prefix;
    } fields[] = {
        {bb_attribute_type_check, BUSBAR_ETYPE, BUSBAR_TYPE_MAX, ""},
        {bb_attribute_source_check, BUSBAR_ESOURCE, BUSBAR_SOURCE_MAX, ""},
        {bb_attribute_id_check, BUSBAR_EID, BUSBAR_ID_MAX, ""},
        {bb_attribute_subject_check, BUSBAR_ESUBJECT, BUSBAR_SUBJECT_MAX, ""},
        {bb_attribute_key_check, BUSBAR_EKEY, BUSBAR_KEY_MAX, ""},
        {bb_attribute_content_type_check, BUSBAR_ECONTENTTYPE, BUSBAR_CONTENT_TYPE_MAX, "a/"},
        {bb_attribute_dataschema_check, BUSBAR_EDATASCHEMA, BUSBAR_SCHEMA_URI_MAX, "x:"},
        {bb_attribute_name_check, BUSBAR_ENAME, BUSBAR_NAME_MAX, ""},
    };
    for (size_t i = 0; i < COUNT(fields); i++) {
        assert_int_equal(fields[i].check(NULL), fields[i].code);
        assert_int_equal(fields[i].check(""), fields[i].code);
        assert_int_equal(fields[i].check("\xff"), fields[i].code);
        assert_int_equal(fields[i].check("a\nb"), fields[i].code);
        assert_int_equal(fields[i].check(long_text(fields[i].prefix, fields[i].max)), BUSBAR_OK);
        assert_int_equal(fields[i].check(long_text(fields[i].prefix, fields[i].max + 1)), fields[i].code);
    }
}

static void types_are_segments(void **state)
{
    (void)state;
    static const char *const good[] = {
        "a", "a.b", "com.example.Someevent", "door-opened", "a/b", "t\xc3\xbcr.auf", "io.cloudevents.test:v1", "1"};
    static const char *const bad[] = {".", "a.",  ".a", "a..b", "a b",  " a",    "a*",        "a.*",
                                      "#", "a#b", "+",  "a.+",  "a\tb", "a\x7f", "a\xc2\x80", "a\xef\xbf\xbf"};
    for (size_t i = 0; i < COUNT(good); i++)
        assert_int_equal(bb_attribute_type_check(good[i]), BUSBAR_OK);
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(bb_attribute_type_check(bad[i]), BUSBAR_ETYPE);
}

static void sources_and_schemas_are_uris(void **state)
{
    (void)state;
    assert_int_equal(bb_attribute_source_check("https://github.com/cloudevents"), BUSBAR_OK);
    assert_int_equal(bb_attribute_source_check("#fragment"), BUSBAR_OK);
    assert_int_equal(bb_attribute_source_check("a"), BUSBAR_OK);
    assert_int_equal(bb_attribute_source_check("//authority/path"), BUSBAR_OK);
    assert_int_equal(bb_attribute_source_check("pump 17"), BUSBAR_ESOURCE);
    assert_int_equal(bb_attribute_source_check("9:a"), BUSBAR_ESOURCE);
    assert_int_equal(bb_attribute_dataschema_check("https://example.com/schema#/definitions/a"), BUSBAR_OK);
    assert_int_equal(bb_attribute_dataschema_check("/relative"), BUSBAR_EDATASCHEMA);
    assert_int_equal(bb_attribute_dataschema_check("#fragment"), BUSBAR_EDATASCHEMA);
}

static void free_texts_are_printable(void **state)
{
    (void)state;
    static check_fn *const checks[] = {bb_attribute_id_check, bb_attribute_subject_check, bb_attribute_key_check};
    for (size_t i = 0; i < COUNT(checks); i++) {
        assert_int_equal(checks[i]("A234-1234-1234"), BUSBAR_OK);
        assert_int_equal(checks[i]("with space + * # \" \\ \xe2\x82\xac"), BUSBAR_OK);
        assert_true(checks[i]("\xed\xa0\x80") < 0);
        assert_true(checks[i]("\xc2\x9f") < 0);
    }
}

static void times_are_rfc_3339(void **state)
{
    (void)state;
    assert_int_equal(bb_attribute_time_check("2018-04-05T17:31:00Z"), BUSBAR_OK);
    assert_int_equal(bb_attribute_time_check("2018-04-05T17:31:00.123456789+01:00"), BUSBAR_OK);
    assert_int_equal(bb_attribute_time_check("2018-04-05T17:31:00.12345678901234567890Z"), BUSBAR_ETIME); /* 41 bytes */
    assert_int_equal(bb_attribute_time_check("2018-04-05T17:31:00.1234567890123456789Z"), BUSBAR_OK);
    assert_int_equal(bb_attribute_time_check("yesterday"), BUSBAR_ETIME);
    assert_int_equal(bb_attribute_time_check(""), BUSBAR_ETIME);
    assert_int_equal(bb_attribute_time_check(NULL), BUSBAR_ETIME);
}

static int extension_name(const char *name)
{
    busbar_attribute attribute = {.name = name, .type = BUSBAR_ATTRIBUTE_INTEGER, .integer = 1};
    return bb_attribute_extension_check(&attribute);
}

static void extensions_have_names_of_their_own(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "traceparent", "sequence", "expirytime", "ext1", "1", "ids", "datas"};
    static const char *const bad[] = {"A",
                                      "traceParent",
                                      "a-b",
                                      "a_b",
                                      "a.b",
                                      "a b",
                                      "\xc3\xa4",
                                      "data_base64",
                                      "id",
                                      "source",
                                      "specversion",
                                      "type",
                                      "datacontenttype",
                                      "dataschema",
                                      "subject",
                                      "time",
                                      "data",
                                      "partitionkey"};
    for (size_t i = 0; i < COUNT(good); i++)
        assert_int_equal(extension_name(good[i]), BUSBAR_OK);
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(extension_name(bad[i]), BUSBAR_EEXTENSION);
    assert_int_equal(extension_name(NULL), BUSBAR_EEXTENSION);
    assert_int_equal(extension_name(""), BUSBAR_EEXTENSION);
    assert_int_equal(extension_name(long_text("", BUSBAR_EXTENSION_NAME_MAX)), BUSBAR_OK);
    assert_int_equal(extension_name(long_text("", BUSBAR_EXTENSION_NAME_MAX + 1)), BUSBAR_EEXTENSION);
    assert_int_equal(bb_attribute_extension_check(NULL), BUSBAR_EEXTENSION);
}

static int extension_string(const char *string)
{
    busbar_attribute attribute = {.name = "a", .type = BUSBAR_ATTRIBUTE_STRING, .string = string};
    return bb_attribute_extension_check(&attribute);
}

static void extensions_have_values(void **state)
{
    (void)state;
    assert_int_equal(extension_string("x \xe2\x82\xac"), BUSBAR_OK);
    assert_int_equal(extension_string(""), BUSBAR_OK);
    assert_int_equal(extension_string(NULL), BUSBAR_EEXTENSION);
    assert_int_equal(extension_string("a\nb"), BUSBAR_EEXTENSION);
    assert_int_equal(extension_string("\xc3"), BUSBAR_EEXTENSION);
    assert_int_equal(extension_string(long_text("", BUSBAR_EXTENSION_VALUE_MAX)), BUSBAR_OK);
    assert_int_equal(extension_string(long_text("", BUSBAR_EXTENSION_VALUE_MAX + 1)), BUSBAR_EEXTENSION);
    busbar_attribute attribute = {.name = "a", .type = BUSBAR_ATTRIBUTE_BOOLEAN, .integer = 5};
    assert_int_equal(bb_attribute_extension_check(&attribute), BUSBAR_OK);
    attribute.type = (busbar_attribute_type)3;
    assert_int_equal(bb_attribute_extension_check(&attribute), BUSBAR_EEXTENSION);
}

static void consumers_have_plain_names(void **state)
{
    (void)state;
    assert_int_equal(bb_attribute_name_check("Cloud.relay_2-a"), BUSBAR_OK);
    static const char *const bad[] = {"a b", "a/b", "a:b", "\xc3\xa4", "a*", "a\n"};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(bb_attribute_name_check(bad[i]), BUSBAR_ENAME);
}

static void every_byte_of_a_name(void **state)
{
    (void)state;
    static const char lower[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    static const char more[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ._-";
    for (int byte = 1; byte < 256; byte++) {
        const char name[2] = {(char)byte, '\0'};
        bool extension = strchr(lower, byte) != NULL;
        assert_int_equal(extension_name(name) == BUSBAR_OK, extension);
        assert_int_equal(bb_attribute_name_check(name) == BUSBAR_OK, extension || strchr(more, byte));
    }
}

static void data_without_media_type_is_json(void **state)
{
    (void)state;
    assert_true(bb_attribute_is_json(NULL));
    assert_true(bb_attribute_is_json("application/json"));
    assert_false(bb_attribute_is_json("text/plain"));
    assert_false(bb_attribute_is_json(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_field_has_its_code_and_limit),
        cmocka_unit_test(types_are_segments),
        cmocka_unit_test(sources_and_schemas_are_uris),
        cmocka_unit_test(free_texts_are_printable),
        cmocka_unit_test(times_are_rfc_3339),
        cmocka_unit_test(extensions_have_names_of_their_own),
        cmocka_unit_test(extensions_have_values),
        cmocka_unit_test(consumers_have_plain_names),
        cmocka_unit_test(every_byte_of_a_name),
        cmocka_unit_test(data_without_media_type_is_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
