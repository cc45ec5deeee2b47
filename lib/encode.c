/* SPDX-License-Identifier: MIT */
/* A record as structured CloudEvents JSON (format 1.0.2). Knows records and text; nothing of storage or transports. */
#include <busbar/busbar.h>

#include <string.h>

#include "attribute.h"
#include "base64.h"
#include "extension.h"
#include "json.h"
#include "rfc3339.h"
#include "text.h"

#define SEQUENCE_DIGITS 19 /* of INT64_MAX: texts of one width sort as the numbers do */

#define ADD_LITERAL(out, literal) bb_text_add_bytes(out, literal, sizeof(literal) - 1)

/* Adds `prefix` and the value as a JSON string, if there is a value. */
static void add_string(bb_text *out, const char *prefix, const char *value)
{
    if (!value)
        return;
    bb_text_add(out, prefix);
    bb_json_add_string(out, value, strlen(value));
}

static void add_time(bb_text *out, const busbar_record *record)
{
    char formatted[BB_RFC3339_SIZE];
    const char *time = record->given_time;
    if (!time && record->time_ms != BUSBAR_TIME_UNKNOWN) {
        bb_rfc3339_format(record->time_ms, formatted);
        time = formatted;
    }
    add_string(out, ",\"time\":", time);
}

typedef struct member {
    const char *name;
    size_t size;
} member;

static int is_member(const char *name, size_t name_size, const char *value, size_t value_size, void *ctx)
{
    const member *wanted = ctx;
    (void)value;
    (void)value_size;
    return name_size == wanted->size && memcmp(name, wanted->name, name_size) == 0;
}

static bool gives(const busbar_record *record, const char *name)
{
    member wanted = {name, strlen(name)};
    return record->extensions &&
           bb_json_members(record->extensions, strlen(record->extensions), is_member, &wanted) != 0;
}

/* What a receiver must know of a time that is not trusted. What the publisher says of it stands. */
static void add_time_quality(bb_text *out, const busbar_record *record)
{
    char formatted[BB_RFC3339_SIZE];
    bool unknown = record->time_ms == BUSBAR_TIME_UNKNOWN;
    if (record->given_time || (!unknown && record->time_quality != BUSBAR_CLOCK_ESTIMATED))
        return;
    if (!gives(record, "timequality"))
        add_string(out, ",\"timequality\":", busbar_clock_name(unknown ? BUSBAR_CLOCK_UNKNOWN : record->time_quality));
    if (record->recorded_ms == 0 || gives(record, "recordedtime"))
        return;
    bb_rfc3339_format(record->recorded_ms, formatted);
    add_string(out, ",\"recordedtime\":", formatted);
}

/* The lane's position as `sequence`, unless the publisher gave one, and the extensions. */
static void add_extensions(bb_text *out, const busbar_record *record)
{
    size_t size = record->extensions ? strlen(record->extensions) : 0;
    if (!gives(record, "sequence")) {
        ADD_LITERAL(out, ",\"sequence\":\"");
        bb_text_add_padded(out, (uint64_t)record->seq, SEQUENCE_DIGITS);
        bb_text_add_char(out, '"');
    }
    if (size == 0)
        return;
    const char *members;
    size_t members_size;
    bb_extension_members(record->extensions, size, &members, &members_size);
    if (members_size == 0)
        return;
    bb_text_add_char(out, ',');
    bb_text_add_bytes(out, members, members_size);
}

static void add_base64(bb_text *out, const void *data, size_t size_bytes)
{
    ADD_LITERAL(out, ",\"data_base64\":\"");
    char *at = bb_text_reserve(out, bb_base64_size(size_bytes));
    if (at)
        bb_base64_encode(data, size_bytes, at);
    bb_text_add_char(out, '"');
}

/* Under another media type than JSON, a JSON value as `data` would mean something else than its bytes. */
static void add_data(bb_text *out, const busbar_record *record)
{
    if (!record->data)
        return;
    if (!record->data_is_json || !bb_attribute_is_json(record->datacontenttype)) {
        add_base64(out, record->data, record->data_size_bytes);
        return;
    }
    ADD_LITERAL(out, ",\"data\":");
    bb_text_add_bytes(out, record->data, record->data_size_bytes);
}

size_t busbar_record_encode(const busbar_record *record, char *buffer, size_t capacity)
{
    if (record->data_size_bytes > BUSBAR_DATA_MAX)
        return SIZE_MAX;
    bb_text out = bb_text_bare_on(buffer, capacity);
    ADD_LITERAL(&out, "{\"specversion\":\"1.0\"");
    add_string(&out, ",\"id\":", record->id);
    add_string(&out, ",\"source\":", record->source);
    add_string(&out, ",\"type\":", record->type);
    add_string(&out, ",\"subject\":", record->subject);
    add_time(&out, record);
    add_time_quality(&out, record);
    add_string(&out, ",\"datacontenttype\":", record->datacontenttype);
    add_string(&out, ",\"dataschema\":", record->dataschema);
    add_string(&out, ",\"partitionkey\":", record->key);
    add_extensions(&out, record);
    add_data(&out, record);
    bb_text_add_char(&out, '}');
    return out.length;
}
