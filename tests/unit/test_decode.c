/* SPDX-License-Identifier: MIT */
/* CloudEvents read from JSON: what must be accepted, what must be refused and where, and that data keeps its bytes. */
#include "test.h"

#include <busbar/busbar.h>
#include <cjson/cJSON.h>

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

/* A complete event but for its closing brace. */
#define START "{\"specversion\":\"1.0\",\"id\":\"i\",\"source\":\"/s\",\"type\":\"a.b\""

/* Decodes a copy that ends with its last byte, and checks that the outcome is told in one way only. */
static int decode(const char *json, busbar_decoded **out_decoded, busbar_error *out_error)
{
    size_t size = strlen(json);
    char *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, json, size);
    int result = busbar_decode(copy, size, out_decoded, out_error);
    free(copy);
    return result;
}

static busbar_decoded *accept(const char *json)
{
    busbar_decoded *decoded = NULL;
    busbar_error error = {.code = 4711};
    if (decode(json, &decoded, &error) != BUSBAR_OK)
        fail_msg("%s: %s", json, error.text);
    assert_int_equal(error.code, 4711);
    assert_non_null(decoded);
    assert_int_equal(busbar_decoded_event(decoded)->size, sizeof(busbar_event));
    return decoded;
}

static busbar_error refuse(const char *json, int code)
{
    busbar_decoded *decoded = NULL;
    busbar_error error = {.code = 4711};
    int result = decode(json, &decoded, &error);
    if (result != code)
        fail_msg("%s: %d (%s), not %d", json, result, result < 0 ? error.text : "accepted", code);
    assert_null(decoded);
    assert_int_equal(error.code, code);
    assert_true(strlen(error.text) > 0 && !strchr(error.text, '\n'));
    return error;
}

/* ---- Attributes ---- */

static void the_least_event(void **state)
{
    (void)state;
    busbar_decoded *decoded = accept("{\"specversion\":\"1.0\",\"id\":\"minimal\",\"type\":\"io.cloudevents.test\","
                                     "\"source\":\"https://cloudevents.io\"}");
    const busbar_event *event = busbar_decoded_event(decoded);
    assert_string_equal(event->id, "minimal");
    assert_string_equal(event->type, "io.cloudevents.test");
    assert_string_equal(event->source, "https://cloudevents.io");
    assert_null(event->subject);
    assert_null(event->key);
    assert_null(event->time);
    assert_null(event->datacontenttype);
    assert_null(event->dataschema);
    assert_null(event->data);
    assert_int_equal(event->data_size_bytes, 0);
    assert_null(event->extensions);
    assert_int_equal(event->extension_count, 0);
    assert_int_equal(event->kind.slot, 0);
    assert_int_equal(event->lane, BUSBAR_NORMAL);
    assert_int_equal(event->ttl_ms, 0);
    busbar_decoded_free(decoded);
}

static void null_is_absent(void **state)
{
    (void)state;
    busbar_decoded *decoded =
        accept(START ",\"subject\":null,\"time\":null,\"datacontenttype\":null,\"dataschema\":null,"
                     "\"partitionkey\":null,\"ext\":null,\"data_base64\":null}");
    const busbar_event *event = busbar_decoded_event(decoded);
    assert_null(event->subject);
    assert_null(event->key);
    assert_null(event->time);
    assert_null(event->datacontenttype);
    assert_null(event->dataschema);
    assert_null(event->data);
    assert_int_equal(event->extension_count, 0);
    busbar_decoded_free(decoded);
}

static void all_attributes(void **state)
{
    (void)state;
    busbar_decoded *decoded =
        accept(" { \"id\" : \"A234\", \"specversion\":\"1.0\" ,\"source\":\"#fragment\",\"type\":\"com.example.x\","
               "\"datacontenttype\":\"text/xml;charset=utf-8\",\"dataschema\":\"http://a.b/c\",\"subject\":\"a "
               "\\\"b\\\" \\u20ac \\ud83d\\ude00\","
               "\"time\":\"2018-04-05T17:31:00.123456789+01:00\",\"partitionkey\":\"k\\/1\" } ");
    const busbar_event *event = busbar_decoded_event(decoded);
    assert_string_equal(event->id, "A234");
    assert_string_equal(event->source, "#fragment");
    assert_string_equal(event->type, "com.example.x");
    assert_string_equal(event->datacontenttype, "text/xml;charset=utf-8");
    assert_string_equal(event->dataschema, "http://a.b/c");
    assert_string_equal(event->subject, "a \"b\" \xe2\x82\xac \xf0\x9f\x98\x80");
    assert_string_equal(event->time, "2018-04-05T17:31:00.123456789+01:00");
    assert_string_equal(event->key, "k/1");
    assert_null(event->data);
    busbar_decoded_free(decoded);
}

static void names_may_be_written_with_escapes(void **state)
{
    (void)state;
    busbar_decoded *decoded = accept(START ",\"\\u0073ubject\":\"x\",\"e\\u0078t\":1}");
    const busbar_event *event = busbar_decoded_event(decoded);
    assert_string_equal(event->subject, "x");
    assert_string_equal(event->extensions[0].name, "ext");
    busbar_decoded_free(decoded);
    refuse(START ",\"\\u0069d\":\"again\"}", BUSBAR_EEVENT);
    refuse(START ",\"ext\":1,\"\\u0065xt\":1}", BUSBAR_EEVENT);
}

static void times_of_every_form(void **state)
{
    (void)state;
    static const char *const times[] = {"2018-04-05T17:31:00Z", "2018-04-05T17:31:00.123456789Z",
                                        "2018-04-05T18:31:00+01:00", "2018-04-05T16:31:00-01:00"};
    for (size_t i = 0; i < COUNT(times); i++) {
        char json[256] = START ",\"time\":\"";
        busbar_decoded *decoded = accept(strcat(strcat(json, times[i]), "\"}"));
        assert_string_equal(busbar_decoded_event(decoded)->time, times[i]);
        busbar_decoded_free(decoded);
    }
}

static void extensions_of_every_type(void **state)
{
    (void)state;
    busbar_decoded *decoded =
        accept(START ",\"extstring\":\"a\\u00e4\",\"extempty\":\"\",\"exttrue\":true,\"extfalse\":false,"
                     "\"extmin\":-2147483648,\"extmax\":2147483647,\"extzero\":-0}");
    const busbar_event *event = busbar_decoded_event(decoded);
    static const busbar_attribute expected[] = {
        {"extstring", BUSBAR_ATTRIBUTE_STRING, "a\xc3\xa4", 0}, {"extempty", BUSBAR_ATTRIBUTE_STRING, "", 0},
        {"exttrue", BUSBAR_ATTRIBUTE_BOOLEAN, NULL, 1},         {"extfalse", BUSBAR_ATTRIBUTE_BOOLEAN, NULL, 0},
        {"extmin", BUSBAR_ATTRIBUTE_INTEGER, NULL, INT32_MIN},  {"extmax", BUSBAR_ATTRIBUTE_INTEGER, NULL, INT32_MAX},
        {"extzero", BUSBAR_ATTRIBUTE_INTEGER, NULL, 0},
    };
    assert_int_equal(event->extension_count, COUNT(expected));
    for (size_t i = 0; i < COUNT(expected); i++) {
        assert_string_equal(event->extensions[i].name, expected[i].name);
        assert_int_equal(event->extensions[i].type, expected[i].type);
        assert_int_equal(event->extensions[i].integer, expected[i].integer);
        if (expected[i].string)
            assert_string_equal(event->extensions[i].string, expected[i].string);
    }
    busbar_decoded_free(decoded);
}

/* ---- Data ---- */

static void assert_data(const char *members, const void *data, size_t size)
{
    char json[512] = START ",";
    busbar_decoded *decoded = accept(strcat(strcat(json, members), "}"));
    const busbar_event *event = busbar_decoded_event(decoded);
    assert_non_null(event->data);
    assert_int_equal(event->data_size_bytes, size);
    assert_memory_equal(event->data, data, size);
    busbar_decoded_free(decoded);
}

static void json_data_keeps_its_bytes(void **state)
{
    (void)state;
    static const char *const texts[] = {"9007199254740993", "1.0",  "1e400", "\"x\\u0000y\"",
                                        "\"\\ud800\"",      "null", "true",  "{ \"a\" : [ 1 , 2.50 ] , \"a\" : 1 }",
                                        "\"{}\"",           "[]",   "-0.0",  "\"\""};
    for (size_t i = 0; i < COUNT(texts); i++) {
        char members[128] = "\"data\": ";
        assert_data(strcat(members, texts[i]), texts[i], strlen(texts[i]));
        char typed[128] = "\"data\":";
        assert_data(strcat(strcat(typed, texts[i]), ",\"datacontenttype\":\"Application/X+JSON;a=b\""), texts[i],
                    strlen(texts[i]));
    }
}

static void text_data_is_the_text(void **state)
{
    (void)state;
    assert_data("\"datacontenttype\":\"text/plain\",\"data\":\"say \\\"hi\\\"\\n\"", "say \"hi\"\n", 9);
    assert_data("\"data\":\"<a\\/>\",\"datacontenttype\":\"application/xml\"", "<a/>", 4);
    assert_data("\"datacontenttype\":\"text/plain\",\"data\":\"\"", "", 0);
    assert_data("\"datacontenttype\":\"text/plain\",\"data\":{\"a\": 1}", "{\"a\": 1}", 8);
    assert_data("\"datacontenttype\":\"text/plain\",\"data\":null", "null", 4);
}

static const char HEX[] = "0123456789aBcDeF";

static void append_escape(char *text, unsigned unit)
{
    char escape[] = "\\u0000";
    for (int i = 5; i >= 2; i--, unit >>= 4)
        escape[i] = HEX[unit & 15];
    strcat(text, escape);
}

/* The characters of two \u escapes, if text can hold them. */
static bool text_of_units(unsigned first, unsigned second)
{
    char json[256] = START ",\"datacontenttype\":\"text/plain\",\"data\":\"";
    append_escape(json, first);
    append_escape(json, second);
    strcat(json, "\"}");
    busbar_decoded *decoded = NULL;
    int result = decode(json, &decoded, NULL);
    assert_true(result == BUSBAR_OK || result == BUSBAR_EEVENT);
    busbar_decoded_free(decoded);
    return result == BUSBAR_OK;
}

static bool is_high(unsigned unit)
{
    return unit >= 0xd800 && unit <= 0xdbff;
}

static bool is_low(unsigned unit)
{
    return unit >= 0xdc00 && unit <= 0xdfff;
}

static void escapes_make_whole_characters(void **state)
{
    (void)state;
    static const unsigned units[] = {0,      1,      0x39,   0x7f,   0xd7ff, 0xd800, 0xd801, 0xda9f, 0xdbfe,
                                     0xdbff, 0xdc00, 0xdc01, 0xde00, 0xdffe, 0xdfff, 0xe000, 0xffff, 0x9a0f};
    for (size_t i = 0; i < COUNT(units); i++) {
        for (size_t j = 0; j < COUNT(units); j++) {
            unsigned a = units[i];
            unsigned b = units[j];
            bool pair = is_high(a) && is_low(b);
            bool both = a != 0 && b != 0 && !is_high(a) && !is_low(a) && !is_high(b) && !is_low(b);
            if (text_of_units(a, b) != (pair || both))
                fail_msg("%04x %04x", a, b);
        }
    }
}

static void a_bad_escape_is_found_behind_others(void **state)
{
    (void)state;
    refuse(START ",\"subject\":\"\\/\\u0000\"}", BUSBAR_ESUBJECT);
    refuse(START ",\"subject\":\"\\u0041\\u0000\"}", BUSBAR_ESUBJECT);
    refuse(START ",\"subject\":\"\\ud83d\\ude00\\u0000\"}", BUSBAR_ESUBJECT);
    assert_data("\"datacontenttype\":\"text/plain\",\"data\":\"\\\\u0000\"", "\\u0000", 6);
}

/* Decoding in place leaves the string before it alone. */
static void base64_data_spoils_no_neighbour(void **state)
{
    (void)state;
    busbar_decoded *decoded = accept(START ",\"data_base64\":\"QUJD\",\"subject\":\"abc\"}");
    assert_string_equal(busbar_decoded_event(decoded)->subject, "abc");
    assert_memory_equal(busbar_decoded_event(decoded)->data, "ABC", 3);
    busbar_decoded_free(decoded);
}

static void base64_data_is_decoded(void **state)
{
    (void)state;
    assert_data("\"data_base64\":\"AAH/\"", "\x00\x01\xff", 3);
    assert_data("\"data_base64\":\"AAH\\/\"", "\x00\x01\xff", 3);
    assert_data("\"data_base64\":\"\"", "", 0);
    assert_data("\"data\":1,\"data_base64\":null", "1", 1);
    assert_data("\"datacontenttype\":\"application/json\",\"data_base64\":\"e30=\"", "{}", 2);
}

/* Data may be nested as deeply as publishing allows, and the event around it is one level more. */
static void data_of_the_greatest_depth(void **state)
{
    (void)state;
    char data[2 * BUSBAR_JSON_DEPTH_MAX + 5];
    memset(data, '[', BUSBAR_JSON_DEPTH_MAX);
    memset(data + BUSBAR_JSON_DEPTH_MAX, ']', BUSBAR_JSON_DEPTH_MAX);
    data[2 * BUSBAR_JSON_DEPTH_MAX] = '\0';
    char json[1024] = START ",\"data\":";
    busbar_decoded_free(accept(strcat(strcat(json, data), "}")));
    char deeper[1024] = START ",\"data\":[";
    refuse(strcat(strcat(deeper, data), "]}"), BUSBAR_EEVENT);
}

/* ---- What must be refused ---- */

static void other_texts(void **state)
{
    (void)state;
    assert_int_equal(refuse("", BUSBAR_EEVENT).offset, 0);
    assert_int_equal(refuse("{\"id\":01}", BUSBAR_EEVENT).offset, 7);
    assert_int_equal(refuse(START "} x", BUSBAR_EEVENT).offset, strlen(START) + 2);
    assert_int_equal(refuse("\xef\xbb\xbf" START "}", BUSBAR_EEVENT).offset, 0);
    assert_int_equal(refuse(" \n[" START "}]", BUSBAR_EEVENT).offset, 2);
    assert_int_equal(refuse("\"x\"", BUSBAR_EEVENT).offset, 0);
    refuse("{}", BUSBAR_EEVENT);
    refuse("null", BUSBAR_EEVENT);
    busbar_decoded *decoded = NULL;
    busbar_error error;
    assert_int_equal(busbar_decode(NULL, 0, &decoded, &error), BUSBAR_EINVAL);
    assert_int_equal(busbar_decode("{}", 2, NULL, &error), BUSBAR_EINVAL);
    assert_int_equal(busbar_decode("{", 1, &decoded, NULL), BUSBAR_EEVENT);
    assert_int_equal(busbar_decode("{}", 2, &decoded, NULL), BUSBAR_EEVENT);
    assert_null(decoded);
}

static void missing_or_empty_required_attributes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *value;
        int code; /* when empty or of another type */
    } required[] = {{"specversion", "1.0", BUSBAR_EEVENT},
                    {"id", "i", BUSBAR_EID},
                    {"source", "/s", BUSBAR_ESOURCE},
                    {"type", "a.b", BUSBAR_ETYPE}};
    static const char *const wrong[] = {"\"\"", "1", "true", "{}", "[\"x\"]"};
    for (size_t i = 0; i < COUNT(required); i++) {
        char others[256] = "";
        for (size_t j = 0; j < COUNT(required); j++) {
            if (j != i)
                strcat(strcat(strcat(strcat(strcat(others, ",\""), required[j].name), "\":\""), required[j].value),
                       "\"");
        }
        char json[512] = "{\"x\":1";
        busbar_error error = refuse(strcat(strcat(json, others), "}"), BUSBAR_EEVENT);
        assert_non_null(strstr(error.text, required[i].name));
        char null[512] = "{\"";
        strcat(strcat(strcat(strcat(null, required[i].name), "\":null"), others), "}");
        refuse(null, BUSBAR_EEVENT);
        for (size_t k = 0; k < COUNT(wrong); k++) {
            char bad[512] = "{\"";
            strcat(strcat(strcat(strcat(bad, required[i].name), "\":"), wrong[k]), others);
            error = refuse(strcat(bad, "}"), required[i].code);
            assert_int_equal(error.offset, strlen(required[i].name) + 4);
        }
    }
}

static const struct {
    const char *member;
    int code;
} refused_members[] = {
    /* optional attributes */
    {"\"subject\":\"\"", BUSBAR_ESUBJECT},
    {"\"subject\":1", BUSBAR_ESUBJECT},
    {"\"subject\":\"a\\u0000b\"", BUSBAR_ESUBJECT},
    {"\"subject\":\"a\\nb\"", BUSBAR_ESUBJECT},
    {"\"subject\":\"\\ud800\"", BUSBAR_ESUBJECT},
    {"\"subject\":\"\\udc00\\ud800\"", BUSBAR_ESUBJECT},
    {"\"subject\":\"\\ud83d x\"", BUSBAR_ESUBJECT},
    {"\"subject\":\"\\ud83d\\u0041\"", BUSBAR_ESUBJECT},
    {"\"subject\":\"\\ud83d\\\\dc00\"", BUSBAR_ESUBJECT},
    {"\"subject\":\"\\uffff\"", BUSBAR_ESUBJECT},
    {"\"partitionkey\":\"\"", BUSBAR_EKEY},
    {"\"partitionkey\":7", BUSBAR_EKEY},
    {"\"datacontenttype\":\"\"", BUSBAR_ECONTENTTYPE},
    {"\"datacontenttype\":\"xyz\"", BUSBAR_ECONTENTTYPE},
    {"\"datacontenttype\":{}", BUSBAR_ECONTENTTYPE},
    {"\"dataschema\":\"\"", BUSBAR_EDATASCHEMA},
    {"\"dataschema\":\"/relative\"", BUSBAR_EDATASCHEMA},
    {"\"dataschema\":false", BUSBAR_EDATASCHEMA},
    {"\"time\":\"garbage\"", BUSBAR_ETIME},
    {"\"time\":\"\"", BUSBAR_ETIME},
    {"\"time\":1522949460", BUSBAR_ETIME},
    {"\"time\":\"2018-04-05T17:31Z\"", BUSBAR_ETIME},
    {"\"time\":\"2018-04-05T17:31:00X\"", BUSBAR_ETIME},
    {"\"time\":\"2018-04-05T17:31:00+25:00\"", BUSBAR_ETIME},
    {"\"time\":\"2018-04-05T17:31:00+xx:00\"", BUSBAR_ETIME},
    {"\"time\":\"2018-04-05T17:31:00+01\"", BUSBAR_ETIME},
    /* names of extensions */
    {"\"Ext\":1", BUSBAR_EEXTENSION},
    {"\"EXT\":null", BUSBAR_EEXTENSION},
    {"\"a.b\":1", BUSBAR_EEXTENSION},
    {"\"a_invalid_name\":\"x\"", BUSBAR_EEXTENSION},
    {"\"\":1", BUSBAR_EEXTENSION},
    {"\"ID\":\"x\"", BUSBAR_EEXTENSION},
    {"\"Data\":1", BUSBAR_EEXTENSION},
    {"\"a\\u0000b\":1", BUSBAR_EEXTENSION},
    {"\"id\\u0000\":\"x\"", BUSBAR_EEXTENSION},
    {"\"\\ud800\":1", BUSBAR_EEXTENSION},
    /* values of extensions */
    {"\"ext\":42.42", BUSBAR_EEXTENSION},
    {"\"ext\":1.0", BUSBAR_EEXTENSION},
    {"\"ext\":1e2", BUSBAR_EEXTENSION},
    {"\"ext\":4247483647", BUSBAR_EEXTENSION},
    {"\"ext\":2147483648", BUSBAR_EEXTENSION},
    {"\"ext\":-2147483649", BUSBAR_EEXTENSION},
    {"\"ext\":123456789012345678901234567890", BUSBAR_EEXTENSION},
    {"\"ext\":{}", BUSBAR_EEXTENSION},
    {"\"ext\":[]", BUSBAR_EEXTENSION},
    {"\"ext\":\"a\\u0000\"", BUSBAR_EEXTENSION},
    {"\"ext\":\"a\\tb\"", BUSBAR_EEXTENSION},
    /* what is given twice */
    {"\"id\":\"i\"", BUSBAR_EEVENT},
    {"\"subject\":null,\"subject\":\"x\"", BUSBAR_EEVENT},
    {"\"ext\":1,\"ext\":1", BUSBAR_EEVENT},
    {"\"ext\":null,\"ext\":1", BUSBAR_EEVENT},
    {"\"data\":1,\"data\":1", BUSBAR_EEVENT},
    {"\"data\":1,\"data_base64\":\"AAH/\"", BUSBAR_EEVENT},
    {"\"data_base64\":\"AAH/\",\"data\":null", BUSBAR_EEVENT},
    /* data */
    {"\"data_base64\":\"AAH\"", BUSBAR_EEVENT},
    {"\"data_base64\":\"AA H\"", BUSBAR_EEVENT},
    {"\"data_base64\":1", BUSBAR_EEVENT},
    {"\"data_base64\":\"AAH\\u0000\"", BUSBAR_EEVENT},
    {"\"data_base64\":{}", BUSBAR_EEVENT},
    {"\"datacontenttype\":\"text/plain\",\"data\":\"a\\u0000b\"", BUSBAR_EEVENT},
    {"\"datacontenttype\":\"text/plain\",\"data\":\"\\ud800\"", BUSBAR_EEVENT},
};

static void bad_members(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(refused_members); i++) {
        char json[512] = START ",";
        refuse(strcat(strcat(json, refused_members[i].member), "}"), refused_members[i].code);
    }
}

static void other_versions(void **state)
{
    (void)state;
    static const char *const versions[] = {"\"0.9\"", "\"\"", "\"1\"", "\"1.0 \"", "\"1.1\"", "\"0.3\"", "1.0"};
    for (size_t i = 0; i < COUNT(versions); i++) {
        char json[256] = "{\"specversion\":";
        strcat(strcat(json, versions[i]), ",\"id\":\"i\",\"source\":\"/s\",\"type\":\"t\"}");
        assert_int_equal(refuse(json, BUSBAR_EEVENT).offset, 15);
    }
}

static void more_extensions_than_are_kept(void **state)
{
    (void)state;
    char json[1024] = START;
    for (size_t i = 0; i < BUSBAR_EXTENSION_COUNT_MAX; i++) {
        char member[] = ",\"aa\":1";
        member[2] = (char)('a' + i / 26);
        member[3] = (char)('a' + i % 26);
        strcat(json, member);
    }
    char more[1100];
    strcat(strcpy(more, json), ",\"one\":1}");
    refuse(more, BUSBAR_EEXTENSION);
    busbar_decoded *decoded = accept(strcat(json, "}"));
    assert_int_equal(busbar_decoded_event(decoded)->extension_count, BUSBAR_EXTENSION_COUNT_MAX);
    busbar_decoded_free(decoded);
}

static void errors_name_the_member_and_the_place(void **state)
{
    (void)state;
    busbar_error error = refuse(START ",\"subject\":\"x\\u0000\"}", BUSBAR_ESUBJECT);
    assert_int_equal(error.offset, strlen(START ",\"subject\":\"x"));
    assert_non_null(strstr(error.text, "\"subject\""));
    error = refuse(START ",\"ext\": 1.5}", BUSBAR_EEXTENSION);
    assert_int_equal(error.offset, strlen(START ",\"ext\": "));
    assert_non_null(strstr(error.text, "\"ext\""));
    assert_int_equal(error.native, 0);
    error = refuse("{\"specversion\":\"0.3\"}", BUSBAR_EEVENT);
    assert_non_null(strstr(error.text, "1.0"));
    error = refuse(START ",\"subject\":\"\"}", BUSBAR_ESUBJECT);
    assert_non_null(strstr(error.text, busbar_error_text(BUSBAR_ESUBJECT)));
}

/* What a stranger wrote is repeated only where it can do no harm on a terminal or in a log. */
static void errors_repeat_only_printable_names(void **state)
{
    (void)state;
    busbar_error error = refuse(START ",\"A\x7f\":1}", BUSBAR_EEXTENSION);
    assert_null(strchr(error.text, '\x7f'));
    error = refuse(START ",\"\":1}", BUSBAR_EEXTENSION);
    assert_null(strstr(error.text, "member"));
    char name[BUSBAR_EXTENSION_NAME_MAX + 2];
    memset(name, 'A', sizeof name);
    for (size_t size = BUSBAR_EXTENSION_NAME_MAX; size <= BUSBAR_EXTENSION_NAME_MAX + 1; size++) {
        name[size] = '\0';
        char json[512] = START ",\"";
        error = refuse(strcat(strcat(json, name), "\":1}"), BUSBAR_EEXTENSION);
        assert_int_equal(strstr(error.text, "AAAA") != NULL, size == BUSBAR_EXTENSION_NAME_MAX);
        name[size] = 'A';
    }
}

/* ---- Both ways ---- */

/* What Busbar writes, Busbar reads (P5: identity and data unchanged). */
static void reads_what_it_writes(void **state)
{
    (void)state;
    static const char data[] = "{\"big\": 9007199254740993, \"t\": \"\\u0000\"}";
    const busbar_record record = {
        .size = sizeof record,
        .lane = BUSBAR_BULK,
        .seq = 12,
        .id = "tok\\en-b12",
        .source = "urn:x",
        .type = "a.b",
        .subject = "s \"q\" \\ \xe2\x82\xac",
        .key = "k",
        .datacontenttype = "application/json",
        .dataschema = "x:y",
        .extensions = "{\"n\":-5,\"b\":true,\"s\":\"\\\"\"}",
        .given_time = "2018-04-05T17:31:00+01:00",
        .data = data,
        .data_size_bytes = sizeof data - 1,
        .data_is_json = true,
    };
    char json[1024];
    size_t size = busbar_record_encode(&record, json, sizeof json - 1);
    assert_true(size < sizeof json);
    json[size] = '\0';
    busbar_decoded *decoded = accept(json);
    const busbar_event *event = busbar_decoded_event(decoded);
    assert_string_equal(event->id, record.id);
    assert_string_equal(event->source, record.source);
    assert_string_equal(event->type, record.type);
    assert_string_equal(event->subject, record.subject);
    assert_string_equal(event->key, record.key);
    assert_string_equal(event->time, record.given_time);
    assert_string_equal(event->dataschema, record.dataschema);
    assert_int_equal(event->extension_count, 4);
    assert_string_equal(event->extensions[0].name, "sequence");
    assert_string_equal(event->extensions[0].string, "0000000000000000012");
    assert_int_equal(event->extensions[1].integer, -5);
    assert_string_equal(event->extensions[3].string, "\"");
    assert_int_equal(event->data_size_bytes, sizeof data - 1);
    assert_memory_equal(event->data, data, sizeof data - 1);
    busbar_decoded_free(decoded);
}

static void *no_memory(size_t size)
{
    (void)size;
    return NULL;
}

/* P12: out of memory is a code, and nothing leaks. */
static void no_memory_is_an_error(void **state)
{
    (void)state;
    cJSON_Hooks failing = {.malloc_fn = no_memory, .free_fn = free};
    cJSON_InitHooks(&failing);
    busbar_decoded *decoded = NULL;
    busbar_error error = {.code = 4711};
    int result = decode(START ",\"subject\":\"a\\tb\"}", &decoded, &error);
    cJSON_InitHooks(NULL);
    assert_int_equal(result, BUSBAR_ENOMEM);
    assert_int_equal(error.code, BUSBAR_ENOMEM);
    assert_null(decoded);
}

static void freeing_nothing_is_allowed(void **state)
{
    (void)state;
    busbar_decoded_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_event),
        cmocka_unit_test(null_is_absent),
        cmocka_unit_test(all_attributes),
        cmocka_unit_test(names_may_be_written_with_escapes),
        cmocka_unit_test(times_of_every_form),
        cmocka_unit_test(extensions_of_every_type),
        cmocka_unit_test(json_data_keeps_its_bytes),
        cmocka_unit_test(text_data_is_the_text),
        cmocka_unit_test(escapes_make_whole_characters),
        cmocka_unit_test(a_bad_escape_is_found_behind_others),
        cmocka_unit_test(base64_data_spoils_no_neighbour),
        cmocka_unit_test(base64_data_is_decoded),
        cmocka_unit_test(data_of_the_greatest_depth),
        cmocka_unit_test(other_texts),
        cmocka_unit_test(missing_or_empty_required_attributes),
        cmocka_unit_test(bad_members),
        cmocka_unit_test(other_versions),
        cmocka_unit_test(more_extensions_than_are_kept),
        cmocka_unit_test(errors_name_the_member_and_the_place),
        cmocka_unit_test(errors_repeat_only_printable_names),
        cmocka_unit_test(reads_what_it_writes),
        cmocka_unit_test(no_memory_is_an_error),
        cmocka_unit_test(freeing_nothing_is_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
