/* SPDX-License-Identifier: MIT */
/*
 * CloudEvents from hostile text: an accepted event passes every check that publishing makes, and written and read again it
 * is the same event.
 */
#include "fuzz.h"

#include <stdbool.h>
#include <string.h>

#include <busbar/busbar.h>

#include "attribute.h"
#include "extension.h"
#include "json.h"
#include "text.h"

#define START "{\"specversion\":\"1.0\",\"id\":\"i\",\"source\":\"/s\",\"type\":\"a.b\""

const char *const fuzz_samples[] = {
    START "}",
    START ",\"subject\":\"a \\\"b\\\" \\u20ac \\ud83d\\ude00\",\"time\":\"2018-04-05T17:31:00.123456789+01:00\"}",
    START ",\"datacontenttype\":\"text/plain\",\"data\":\"say \\\"hi\\\"\\n\"}",
    START ",\"data_base64\":\"AAH/\",\"datacontenttype\":\"application/octet-stream\"}",
    START ",\"data\": { \"a\" : [ 1 , 2.50 , null ] },\"dataschema\":\"x:y\",\"partitionkey\":\"k\"}",
    START ",\"extstring\":\"x\",\"exttrue\":true,\"extint\":-2147483648,\"extnull\":null,\"sequence\":\"9\"}",
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
    "\\u0000",
    "\\ud800",
    "\\udc00",
    "\\n",
    "\\u0069d",
    "\"id\":",
    "\"data\":",
    "\"data_base64\":",
    "\"subject\":",
    "\"time\":",
    "\"ext\":",
    ",\"ext\":1",
    ",\"data\":null",
    ",\"subject\":null",
    "null",
    "true",
    "2147483648",
    "1.5",
    "\"\"",
    "\"text/plain\"",
    "\"application/json\"",
    "\xc3\xa4",
    "\xff",
    "=",
    "==",
    "A",
    NULL,
};

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool passes(int (*check)(const char *), const char *value)
{
    return !value || check(value) == BUSBAR_OK;
}

static void check_attributes(const uint8_t *data, size_t size, const busbar_event *event)
{
    FUZZ_CHECK(bb_attribute_id_check(event->id) == BUSBAR_OK, data, size);
    FUZZ_CHECK(bb_attribute_source_check(event->source) == BUSBAR_OK, data, size);
    FUZZ_CHECK(bb_attribute_type_check(event->type) == BUSBAR_OK, data, size);
    FUZZ_CHECK(passes(bb_attribute_subject_check, event->subject), data, size);
    FUZZ_CHECK(passes(bb_attribute_key_check, event->key), data, size);
    FUZZ_CHECK(passes(bb_attribute_time_check, event->time), data, size);
    FUZZ_CHECK(passes(bb_attribute_content_type_check, event->datacontenttype), data, size);
    FUZZ_CHECK(passes(bb_attribute_dataschema_check, event->dataschema), data, size);
}

/* The event as it would come out of the store. */
static busbar_record record_of(const busbar_event *event, const char *extensions)
{
    busbar_record record = {
        .size = sizeof record,
        .seq = 1,
        .id = event->id,
        .source = event->source,
        .type = event->type,
        .subject = event->subject,
        .key = event->key,
        .datacontenttype = event->datacontenttype,
        .dataschema = event->dataschema,
        .extensions = extensions,
        .given_time = event->time,
        .time_ms = BUSBAR_TIME_UNKNOWN,
        .data = event->data,
        .data_size_bytes = event->data_size_bytes,
    };
    record.data_is_json = event->data && bb_json_valid(event->data, event->data_size_bytes, NULL);
    return record;
}

static bool gives(const busbar_event *event, const char *name)
{
    for (size_t i = 0; i < event->extension_count; i++) {
        if (strcmp(event->extensions[i].name, name) == 0)
            return true;
    }
    return false;
}

static size_t added_by_writing(const busbar_event *event)
{
    return (size_t)!gives(event, "sequence") + (size_t)(!event->time && !gives(event, "timequality"));
}

static bool same_extension(const busbar_attribute *a, const busbar_attribute *b)
{
    return strcmp(a->name, b->name) == 0 && a->type == b->type && a->integer == b->integer &&
           same_text(a->string, b->string);
}

static void check_same(const uint8_t *data, size_t size, const busbar_event *a, const busbar_event *b)
{
    FUZZ_CHECK(same_text(a->id, b->id) && same_text(a->source, b->source) && same_text(a->type, b->type), data, size);
    FUZZ_CHECK(same_text(a->subject, b->subject) && same_text(a->key, b->key), data, size);
    FUZZ_CHECK(same_text(a->time, b->time) && same_text(a->dataschema, b->dataschema), data, size);
    FUZZ_CHECK(same_text(a->datacontenttype, b->datacontenttype), data, size);
    FUZZ_CHECK(!a->data == !b->data && a->data_size_bytes == b->data_size_bytes, data, size);
    FUZZ_CHECK(a->data_size_bytes == 0 || memcmp(a->data, b->data, a->data_size_bytes) == 0, data, size);
    size_t added = added_by_writing(a); /* in front */
    FUZZ_CHECK(b->extension_count == a->extension_count + added, data, size);
    for (size_t i = 0; i < a->extension_count; i++)
        FUZZ_CHECK(same_extension(&a->extensions[i], &b->extensions[i + added]), data, size);
}

static void check_round_trip(const uint8_t *data, size_t size, const busbar_event *event)
{
    static char extensions[65536];
    static char json[262144];
    bb_text text = bb_text_on(extensions, sizeof extensions);
    FUZZ_CHECK(bb_extension_write(NULL, event->extensions, event->extension_count, &text) == BUSBAR_OK, data, size);
    busbar_record record = record_of(event, extensions);
    size_t encoded = busbar_record_encode(&record, json, sizeof json);
    FUZZ_CHECK(encoded <= sizeof json, data, size);
    FUZZ_CHECK(bb_json_valid_envelope(json, encoded, NULL), json, encoded);
    if (event->extension_count + added_by_writing(event) > BUSBAR_EXTENSION_COUNT_MAX)
        return; /* more than decoding takes */
    busbar_decoded *again = NULL;
    FUZZ_CHECK(busbar_decode(json, encoded, &again, NULL) == BUSBAR_OK, json, encoded);
    check_same(data, size, event, busbar_decoded_event(again));
    busbar_decoded_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    busbar_decoded *decoded = NULL;
    busbar_error error = {.code = 1, .offset = SIZE_MAX};
    int result = busbar_decode((const char *)data, size, &decoded, &error);
    if (result != BUSBAR_OK) {
        FUZZ_CHECK(result < 0 && error.code == result && !decoded, data, size);
        FUZZ_CHECK(error.offset <= size && error.text[0] != '\0', data, size);
        return 0;
    }
    FUZZ_CHECK(error.code == 1, data, size);
    const busbar_event *event = busbar_decoded_event(decoded);
    check_attributes(data, size, event);
    check_round_trip(data, size, event);
    busbar_decoded_free(decoded);
    return 0;
}
