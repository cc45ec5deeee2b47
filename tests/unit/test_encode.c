/* SPDX-License-Identifier: MIT */
/* Records as CloudEvents JSON: what is written, in which order, and that data keeps its bytes. */
#include "test.h"

#include <busbar/busbar.h>

#include "json.h"

#define TYPE "{\"specversion\":\"1.0\",\"id\":\"t-n7\",\"source\":\"/site/7\",\"type\":\"door.opened\""
/* An event without a time says so. */
#define START    TYPE ",\"timequality\":\"unknown\""
#define SEQUENCE ",\"sequence\":\"0000000000000000007\""

static busbar_record minimal(void)
{
    return (busbar_record){.size = sizeof(busbar_record),
                           .seq = 7,
                           .id = "t-n7",
                           .source = "/site/7",
                           .type = "door.opened",
                           .time_ms = BUSBAR_TIME_UNKNOWN};
}

static void set_data(busbar_record *record, const char *data, bool json)
{
    record->data = data;
    record->data_size_bytes = strlen(data);
    record->data_is_json = json;
}

/* Encodes into exactly as many bytes as it needs, so that a sanitizer sees one more. */
static void assert_encoded(const busbar_record *record, const char *expected)
{
    size_t size = busbar_record_encode(record, NULL, 0);
    assert_int_equal(size, strlen(expected));
    char *buffer = malloc(size);
    assert_non_null(buffer);
    assert_int_equal(busbar_record_encode(record, buffer, size), size);
    assert_memory_equal(buffer, expected, size);
    assert_true(bb_json_valid_envelope(buffer, size, NULL));
    free(buffer);
}

static void the_least_event(void **state)
{
    (void)state;
    busbar_record record = minimal();
    assert_encoded(&record, START SEQUENCE "}");
}

static void all_attributes_in_their_order(void **state)
{
    (void)state;
    busbar_record record = minimal();
    record.subject = "front \"door\"\\1";
    record.time_ms = 1795207297123;
    record.datacontenttype = "application/geo+json; charset=\"utf-8\"";
    record.dataschema = "https://example.com/s#1";
    record.key = "k\xc3\xa4y";
    record.extensions = "{\"traceparent\":\"00-0af7-01\",\"severity\":3}";
    record.seq = INT64_MAX;
    set_data(&record, " {\"a\": 1.0}\n", true);
    assert_encoded(&record, TYPE ",\"subject\":\"front \\\"door\\\"\\\\1\",\"time\":\"2026-11-20T20:41:37.123Z\","
                                 "\"datacontenttype\":\"application/geo+json; charset=\\\"utf-8\\\"\","
                                 "\"dataschema\":\"https://example.com/s#1\",\"partitionkey\":\"k\xc3\xa4y\","
                                 "\"sequence\":\"9223372036854775807\",\"traceparent\":\"00-0af7-01\",\"severity\":3,"
                                 "\"data\": {\"a\": 1.0}\n}");
}

static void json_data_keeps_its_bytes(void **state)
{
    (void)state;
    static const char *const texts[] = {"9007199254740993", "1.0", "1e400", "\"x\\u0000y\"", "null", "\"\"",
                                        "[ 1 , 2 ]",        "-0.0"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char expected[256] = START SEQUENCE ",\"data\":";
        strcat(strcat(expected, texts[i]), "}");
        busbar_record record = minimal();
        set_data(&record, texts[i], true);
        assert_encoded(&record, expected);
    }
}

static void other_data_goes_as_base64(void **state)
{
    (void)state;
    busbar_record record = minimal();
    set_data(&record, "hello", false);
    assert_encoded(&record, START SEQUENCE ",\"data_base64\":\"aGVsbG8=\"}");
    record.datacontenttype = "text/plain";
    assert_encoded(&record, START ",\"datacontenttype\":\"text/plain\"" SEQUENCE ",\"data_base64\":\"aGVsbG8=\"}");
    record.datacontenttype = "application/json";
    assert_encoded(&record,
                   START ",\"datacontenttype\":\"application/json\"" SEQUENCE ",\"data_base64\":\"aGVsbG8=\"}");
    set_data(&record, "", false);
    assert_encoded(&record, START ",\"datacontenttype\":\"application/json\"" SEQUENCE ",\"data_base64\":\"\"}");
}

/* The value 12 as `data` under text/plain would reach nobody as the text "12". */
static void json_text_of_another_media_type_goes_as_base64(void **state)
{
    (void)state;
    busbar_record record = minimal();
    record.datacontenttype = "text/plain";
    set_data(&record, "12", true);
    assert_encoded(&record, START ",\"datacontenttype\":\"text/plain\"" SEQUENCE ",\"data_base64\":\"MTI=\"}");
}

static void a_given_time_is_sent_as_it_was_given(void **state)
{
    (void)state;
    busbar_record record = minimal();
    record.given_time = "2018-04-05T17:31:00.123456789+01:00";
    record.time_ms = 1795207297123;
    assert_encoded(&record, TYPE ",\"time\":\"2018-04-05T17:31:00.123456789+01:00\"" SEQUENCE "}");
}

static void the_epoch_is_a_time(void **state)
{
    (void)state;
    busbar_record record = minimal();
    record.time_ms = 0;
    assert_encoded(&record, TYPE ",\"time\":\"1970-01-01T00:00:00.000Z\"" SEQUENCE "}");
}

static void p10_a_time_that_is_not_trusted_says_so(void **state)
{
    (void)state;
    busbar_record record = minimal();
    record.time_ms = 0;
    record.time_quality = BUSBAR_CLOCK_ESTIMATED;
    assert_encoded(&record, TYPE ",\"time\":\"1970-01-01T00:00:00.000Z\",\"timequality\":\"estimated\"" SEQUENCE "}");
    record.recorded_ms = 1795207297123;
    assert_encoded(&record, TYPE ",\"time\":\"1970-01-01T00:00:00.000Z\",\"timequality\":\"estimated\","
                                 "\"recordedtime\":\"2026-11-20T20:41:37.123Z\"" SEQUENCE "}");
    record.extensions = "{\"recordedtime\":\"2026-01-01T00:00:00Z\"}"; /* the publisher's stand */
    assert_encoded(&record, TYPE ",\"time\":\"1970-01-01T00:00:00.000Z\",\"timequality\":\"estimated\"" SEQUENCE
                                 ",\"recordedtime\":\"2026-01-01T00:00:00Z\"}");
    record.time_quality = BUSBAR_CLOCK_TRUSTED;
    record.extensions = NULL;
    assert_encoded(&record, TYPE ",\"time\":\"1970-01-01T00:00:00.000Z\"" SEQUENCE "}");
}

static void a_given_sequence_stays_the_only_one(void **state)
{
    (void)state;
    busbar_record record = minimal();
    record.extensions = "{\"a\":true,\"sequence\":\"x9\"}";
    assert_encoded(&record, START ",\"a\":true,\"sequence\":\"x9\"}");
    record.extensions = "{\"sequencetype\":\"Integer\"}";
    assert_encoded(&record, START SEQUENCE ",\"sequencetype\":\"Integer\"}");
    record.extensions = "{\"a\":\"sequence\"}";
    assert_encoded(&record, START SEQUENCE ",\"a\":\"sequence\"}");
    record.extensions = "{}";
    assert_encoded(&record, START SEQUENCE "}");
}

/* P5: whatever the attempt, the same event. */
static void attempts_do_not_change_the_event(void **state)
{
    (void)state;
    busbar_record record = minimal();
    record.attempt = 9;
    record.lane = BUSBAR_BULK;
    record.ttl_ms = 1000;
    assert_encoded(&record, START SEQUENCE "}");
}

static void tells_what_it_needs_and_stays_within_capacity(void **state)
{
    (void)state;
    busbar_record record = minimal();
    set_data(&record, "{\"a\":[1,2,3]}", true);
    for (int base64 = 0; base64 < 2; base64++) {
        record.data_is_json = base64 == 0;
        size_t needed = busbar_record_encode(&record, NULL, 0);
        for (size_t capacity = 0; capacity <= needed; capacity++) {
            char buffer[512];
            memset(buffer, '#', sizeof buffer);
            assert_int_equal(busbar_record_encode(&record, buffer, capacity), needed);
            for (size_t i = capacity; i < sizeof buffer; i++)
                assert_int_equal(buffer[i], '#');
        }
    }
}

static void data_beyond_all_limits_is_refused(void **state)
{
    (void)state;
    busbar_record record = minimal();
    record.data = "";
    record.data_size_bytes = BUSBAR_DATA_MAX;
    assert_true(busbar_record_encode(&record, NULL, 0) > BUSBAR_DATA_MAX / 3 * 4);
    assert_true(busbar_record_encode(&record, NULL, 0) < SIZE_MAX);
    record.data_size_bytes = (size_t)BUSBAR_DATA_MAX + 1;
    assert_true(busbar_record_encode(&record, NULL, 0) == SIZE_MAX);
    record.data_size_bytes = SIZE_MAX;
    record.data_is_json = true;
    assert_true(busbar_record_encode(&record, NULL, 0) == SIZE_MAX);
}

/* P12: a damaged row is no crash. */
static void damaged_extensions_are_no_crash(void **state)
{
    (void)state;
    static const char *const damaged[] = {"",    "{", "}", "x", "{\"", "{\"a", "{\"a\"", "{\"a\":", "{\"time\":\"",
                                          "[1]", "\""};
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        busbar_record record = minimal();
        record.extensions = damaged[i];
        char buffer[512];
        assert_true(busbar_record_encode(&record, buffer, sizeof buffer) < sizeof buffer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_event),
        cmocka_unit_test(all_attributes_in_their_order),
        cmocka_unit_test(json_data_keeps_its_bytes),
        cmocka_unit_test(other_data_goes_as_base64),
        cmocka_unit_test(json_text_of_another_media_type_goes_as_base64),
        cmocka_unit_test(a_given_time_is_sent_as_it_was_given),
        cmocka_unit_test(the_epoch_is_a_time),
        cmocka_unit_test(p10_a_time_that_is_not_trusted_says_so),
        cmocka_unit_test(a_given_sequence_stays_the_only_one),
        cmocka_unit_test(attempts_do_not_change_the_event),
        cmocka_unit_test(tells_what_it_needs_and_stays_within_capacity),
        cmocka_unit_test(data_beyond_all_limits_is_refused),
        cmocka_unit_test(damaged_extensions_are_no_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
