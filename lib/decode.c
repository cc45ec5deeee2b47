/* SPDX-License-Identifier: MIT */
/*
 * A structured CloudEvent in JSON as an event. The only file of the library that includes cJSON, and only for strings with
 * escapes: structure and numbers are read from the text itself, so that data keeps its bytes. Knows nothing of storage.
 */
#include <busbar/busbar.h>

#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "attribute.h"
#include "base64.h"
#include "json.h"
#include "text.h"
#include "utf8.h"

struct busbar_decoded {
    busbar_event event;
    const char *specversion;
    busbar_attribute extensions[BUSBAR_EXTENSION_COUNT_MAX];
    char strings[]; /* as large as the JSON: no name or value is longer, with its NUL, than with its quotes */
};

/* A piece of the JSON. Of a string: what is between the quotes. */
typedef struct slice {
    const char *text;
    size_t size;
} slice;

/* The members that are not extensions. Those before MEMBER_DATA are attributes, all strings. */
typedef enum member {
    MEMBER_SPECVERSION,
    MEMBER_ID,
    MEMBER_SOURCE,
    MEMBER_TYPE,
    MEMBER_DATACONTENTTYPE,
    MEMBER_DATASCHEMA,
    MEMBER_SUBJECT,
    MEMBER_TIME,
    MEMBER_PARTITIONKEY,
    MEMBER_DATA,
    MEMBER_DATA_BASE64,
    MEMBER_COUNT
} member;

typedef struct decoding {
    busbar_decoded *decoded;
    char *free; /* in decoded->strings */
    slice json;
    busbar_error *error; /* may be NULL */
    unsigned seen;       /* one bit for each member */
    slice data;          /* the JSON value, quotes and all; text is NULL if there is none */
    slice data_base64;   /* likewise */
    const char *extension_names[BUSBAR_EXTENSION_COUNT_MAX]; /* null ones too: a name given twice is found by it */
    size_t extension_name_count;
} decoding;

/* ---- Errors ---- */

static void report(busbar_error *out_error, int code, size_t offset, slice name, const char *text)
{
    if (!out_error)
        return;
    busbar_error error = {.code = code, .offset = offset};
    bb_text detail = bb_text_on(error.text, sizeof error.text);
    if (name.size > 0 && name.size <= BUSBAR_EXTENSION_NAME_MAX && bb_utf8_printable(name.text, name.size)) {
        bb_text_add(&detail, "member \"");
        bb_text_add_bytes(&detail, name.text, name.size);
        bb_text_add(&detail, "\": ");
    }
    bb_text_add(&detail, text);
    bb_text_add(&detail, ", at byte ");
    bb_text_add_int(&detail, (int64_t)offset);
    *out_error = error;
}

static int fail(decoding *d, int code, const char *at, slice name, const char *text)
{
    report(d->error, code, (size_t)(at - d->json.text), name, text);
    return code;
}

static slice slice_of(const char *text)
{
    return (slice){text, strlen(text)};
}

/* ---- Strings ---- */

static unsigned read_hex(const char *at)
{
    unsigned value = 0;
    for (int i = 0; i < 4; i++) {
        unsigned char c = (unsigned char)at[i];
        value = value << 4 | (c <= '9' ? c - 0x30u : (c | 0x20u) - 0x61u + 10u);
    }
    return value;
}

/* The size of the \u escape at `at`, both halves of a surrogate pair included; 0 if no string can hold its character. */
static size_t escape_size(const char *at, const char *end)
{
    unsigned unit = read_hex(at + 2);
    if (unit == 0 || (unit >= 0xdc00 && unit <= 0xdfff))
        return 0;
    if (unit < 0xd800 || unit > 0xdbff)
        return 6;
    if (end - at < 12 || at[6] != '\\' || at[7] != 'u')
        return 0;
    unsigned low = read_hex(at + 8);
    return low >= 0xdc00 && low <= 0xdfff ? 12 : 0;
}

/* The first escape in valid JSON that stands for U+0000 or for half a character, or NULL. */
static const char *find_bad_escape(slice body)
{
    const char *end = body.text + body.size;
    const char *at = body.text;
    while (at < end && (at = memchr(at, '\\', (size_t)(end - at))) != NULL) {
        size_t size = at[1] == 'u' ? escape_size(at, end) : 2;
        if (size == 0)
            return at;
        at += size;
    }
    return NULL;
}

/* Copies a string of valid JSON, unescaped and NUL-terminated. cJSON can only fail for want of memory on what it gets. */
static int take_string(decoding *d, slice body, slice name, int code, slice *out)
{
    slice taken = body;
    cJSON *parsed = NULL;
    if (body.size > 0 && memchr(body.text, '\\', body.size)) {
        const char *bad = find_bad_escape(body);
        if (bad)
            return fail(d, code, bad, name, "an escape stands for U+0000 or for a lone surrogate");
        parsed = cJSON_ParseWithLength(body.text - 1, body.size + 2);
        if (!parsed)
            return fail(d, BUSBAR_ENOMEM, body.text, name, busbar_error_text(BUSBAR_ENOMEM));
        taken = slice_of(parsed->valuestring);
    }
    memcpy(d->free, taken.text, taken.size);
    d->free[taken.size] = '\0';
    *out = (slice){d->free, taken.size};
    d->free += taken.size + 1;
    cJSON_Delete(parsed);
    return BUSBAR_OK;
}

static bool is_string(slice value)
{
    return value.text[0] == '"';
}

static bool is_null(slice value)
{
    return value.text[0] == 'n';
}

static slice body_of(slice value)
{
    return (slice){value.text + 1, value.size - 2};
}

/* ---- Core attributes ---- */

static int specversion_check(const char *specversion)
{
    return strcmp(specversion, "1.0") == 0 ? BUSBAR_OK : BUSBAR_EEVENT;
}

typedef struct core_attribute {
    const char *name;
    int (*check)(const char *value);
    size_t offset; /* of the pointer in busbar_decoded */
    int code;
    bool required;
} core_attribute;

static const core_attribute core_attributes[] = {
    [MEMBER_SPECVERSION] = {"specversion", specversion_check, offsetof(busbar_decoded, specversion), BUSBAR_EEVENT,
                            true},
    [MEMBER_ID] = {"id", bb_attribute_id_check, offsetof(busbar_decoded, event.id), BUSBAR_EID, true},
    [MEMBER_SOURCE] = {"source", bb_attribute_source_check, offsetof(busbar_decoded, event.source), BUSBAR_ESOURCE,
                       true},
    [MEMBER_TYPE] = {"type", bb_attribute_type_check, offsetof(busbar_decoded, event.type), BUSBAR_ETYPE, true},
    [MEMBER_DATACONTENTTYPE] = {"datacontenttype", bb_attribute_content_type_check,
                                offsetof(busbar_decoded, event.datacontenttype), BUSBAR_ECONTENTTYPE, false},
    [MEMBER_DATASCHEMA] = {"dataschema", bb_attribute_dataschema_check, offsetof(busbar_decoded, event.dataschema),
                           BUSBAR_EDATASCHEMA, false},
    [MEMBER_SUBJECT] = {"subject", bb_attribute_subject_check, offsetof(busbar_decoded, event.subject), BUSBAR_ESUBJECT,
                        false},
    [MEMBER_TIME] = {"time", bb_attribute_time_check, offsetof(busbar_decoded, event.time), BUSBAR_ETIME, false},
    [MEMBER_PARTITIONKEY] = {"partitionkey", bb_attribute_key_check, offsetof(busbar_decoded, event.key), BUSBAR_EKEY,
                             false},
};

/* The pointer that an attribute is kept in. */
static const char **core_slot(busbar_decoded *decoded, const core_attribute *attribute)
{
    return (const char **)(void *)((char *)decoded + attribute->offset);
}

static int take_core(decoding *d, const core_attribute *attribute, slice value)
{
    slice name = slice_of(attribute->name);
    if (!is_string(value))
        return fail(d, attribute->code, value.text, name, "the value is not a string");
    slice taken = {0};
    int result = take_string(d, body_of(value), name, attribute->code, &taken);
    if (result < 0)
        return result;
    if (attribute->check(taken.text) < 0) {
        const char *text = attribute->check == specversion_check ? "only version \"1.0\" of CloudEvents is understood"
                                                                 : busbar_error_text(attribute->code);
        return fail(d, attribute->code, value.text, name, text);
    }
    *core_slot(d->decoded, attribute) = taken.text;
    return BUSBAR_OK;
}

/* ---- Extension attributes ---- */

/* CloudEvents' Integer: 32 bits, no fraction, no exponent. `value` is a number of valid JSON. */
static bool read_integer(slice value, int32_t *out)
{
    bool negative = value.text[0] == '-';
    int64_t number = 0;
    for (size_t i = negative ? 1 : 0; i < value.size; i++) {
        if (value.text[i] < '0' || value.text[i] > '9')
            return false;
        number = number * 10 + (value.text[i] - '0');
        if (number > (int64_t)INT32_MAX + 1)
            return false;
    }
    number = negative ? -number : number;
    if (number > INT32_MAX)
        return false;
    *out = (int32_t)number;
    return true;
}

static int take_extension_value(decoding *d, slice name, slice value, busbar_attribute *attribute)
{
    slice taken;
    int result;
    switch (value.text[0]) {
    case '"':
        result = take_string(d, body_of(value), name, BUSBAR_EEXTENSION, &taken);
        if (result < 0)
            return result;
        attribute->type = BUSBAR_ATTRIBUTE_STRING;
        attribute->string = taken.text;
        return BUSBAR_OK;
    case 't':
    case 'f':
        attribute->type = BUSBAR_ATTRIBUTE_BOOLEAN;
        attribute->integer = value.text[0] == 't';
        return BUSBAR_OK;
    case '{':
    case '[':
        return fail(d, BUSBAR_EEXTENSION, value.text, name, "an attribute cannot be an object or an array");
    default:
        attribute->type = BUSBAR_ATTRIBUTE_INTEGER;
        if (read_integer(value, &attribute->integer))
            return BUSBAR_OK;
        return fail(d, BUSBAR_EEXTENSION, value.text, name, "a number must be an integer of 32 bits");
    }
}

/* Notes the name, also of an absent (null) attribute, so that it is found when it comes again. */
static int note_extension_name(decoding *d, slice name, const char *at)
{
    for (size_t i = 0; i < d->extension_name_count; i++) {
        if (strcmp(d->extension_names[i], name.text) == 0)
            return fail(d, BUSBAR_EEVENT, at, name, "the member occurs twice");
    }
    if (d->extension_name_count == BUSBAR_EXTENSION_COUNT_MAX)
        return fail(d, BUSBAR_EEXTENSION, at, name, "there are more extension attributes than Busbar keeps");
    d->extension_names[d->extension_name_count++] = name.text;
    return BUSBAR_OK;
}

static int take_extension(decoding *d, slice name, const char *name_at, slice value)
{
    busbar_attribute attribute = {.name = name.text, .type = BUSBAR_ATTRIBUTE_BOOLEAN};
    if (bb_attribute_extension_check(&attribute) < 0)
        return fail(d, BUSBAR_EEXTENSION, name_at, name, "an attribute's name has 1 to 64 of a-z and 0-9");
    int result = note_extension_name(d, name, name_at);
    if (result < 0 || is_null(value))
        return result;
    result = take_extension_value(d, name, value, &attribute);
    if (result < 0)
        return result;
    if (bb_attribute_extension_check(&attribute) < 0)
        return fail(d, BUSBAR_EEXTENSION, value.text, name, "the string is too long or not printable UTF-8");
    d->decoded->extensions[d->decoded->event.extension_count++] = attribute;
    return BUSBAR_OK;
}

/* ---- Data ---- */

static int take_base64(decoding *d)
{
    slice name = slice_of("data_base64");
    slice value = d->data_base64;
    slice taken;
    if (!is_string(value))
        return fail(d, BUSBAR_EEVENT, value.text, name, "the value is not a string");
    int result = take_string(d, body_of(value), name, BUSBAR_EEVENT, &taken);
    if (result < 0)
        return result;
    char *bytes = d->free - taken.size - 1;
    size_t size;
    if (!bb_base64_decode(taken.text, taken.size, bytes, &size))
        return fail(d, BUSBAR_EEVENT, value.text, name, "the value is not padded base64");
    d->decoded->event.data = bytes;
    d->decoded->event.data_size_bytes = size;
    d->decoded->event.binary = true;
    return BUSBAR_OK;
}

/* Under a media type other than JSON, a string is the text itself; everything else keeps its bytes as JSON. */
static int take_data(decoding *d)
{
    busbar_event *event = &d->decoded->event;
    if (d->data.text && d->data_base64.text)
        return fail(d, BUSBAR_EEVENT, d->data_base64.text, slice_of("data_base64"), "there is also a member \"data\"");
    if (d->data_base64.text)
        return take_base64(d);
    if (!d->data.text)
        return BUSBAR_OK;
    slice taken = d->data;
    if (is_string(d->data) && !bb_attribute_is_json(event->datacontenttype)) {
        int result = take_string(d, body_of(d->data), slice_of("data"), BUSBAR_EEVENT, &taken);
        if (result < 0)
            return result;
    } else {
        memcpy(d->free, d->data.text, d->data.size);
        taken.text = d->free;
        d->free += d->data.size;
    }
    event->data = taken.text;
    event->data_size_bytes = taken.size;
    return BUSBAR_OK;
}

/* ---- The event ---- */

static member find_member(const char *name)
{
    for (int i = 0; i < MEMBER_DATA; i++) {
        if (strcmp(name, core_attributes[i].name) == 0)
            return (member)i;
    }
    if (strcmp(name, "data") == 0)
        return MEMBER_DATA;
    return strcmp(name, "data_base64") == 0 ? MEMBER_DATA_BASE64 : MEMBER_COUNT;
}

static int take_member(const char *name_text, size_t name_size, const char *value_text, size_t value_size, void *ctx)
{
    decoding *d = ctx;
    slice value = {value_text, value_size};
    slice raw_name = {name_text, name_size};
    slice name;
    int result = take_string(d, raw_name, raw_name, BUSBAR_EEXTENSION, &name);
    if (result < 0)
        return result;
    member which = find_member(name.text);
    if (which == MEMBER_COUNT)
        return take_extension(d, name, name_text, value);
    if ((d->seen & 1u << which) != 0)
        return fail(d, BUSBAR_EEVENT, name_text, name, "the member occurs twice");
    d->seen |= 1u << which;
    if (which == MEMBER_DATA)
        d->data = value; /* null too: it is a payload */
    else if (is_null(value))
        return BUSBAR_OK; /* absent */
    else if (which == MEMBER_DATA_BASE64)
        d->data_base64 = value;
    else
        return take_core(d, &core_attributes[which], value);
    return BUSBAR_OK;
}

static int check_required(decoding *d)
{
    for (int i = 0; i < MEMBER_DATA; i++) {
        const core_attribute *attribute = &core_attributes[i];
        if (attribute->required && !*core_slot(d->decoded, attribute))
            return fail(d, BUSBAR_EEVENT, d->json.text, slice_of(attribute->name), "this required member is missing");
    }
    return BUSBAR_OK;
}

static int decode_members(decoding *d)
{
    int result = bb_json_members(d->json.text, d->json.size, take_member, d);
    if (result == BUSBAR_OK)
        result = check_required(d);
    if (result == BUSBAR_OK)
        result = take_data(d);
    return result;
}

/* Is the text an object of valid JSON? */
static int check_json(const char *json, size_t size_bytes, busbar_error *out_error)
{
    static const slice no_name = {NULL, 0};
    size_t offset = 0;
    if (!bb_json_valid_envelope(json, size_bytes, &offset)) {
        report(out_error, BUSBAR_EEVENT, offset, no_name, "the text is not valid JSON");
        return BUSBAR_EEVENT;
    }
    while (strchr(" \t\r\n", json[offset]))
        offset++;
    if (json[offset] == '{')
        return BUSBAR_OK;
    report(out_error, BUSBAR_EEVENT, offset, no_name, "the JSON is not an object");
    return BUSBAR_EEVENT;
}

int busbar_decode(const char *json, size_t size_bytes, busbar_decoded **out_decoded, busbar_error *out_error)
{
    static const slice no_name = {NULL, 0};
    if (!json || !out_decoded) {
        report(out_error, BUSBAR_EINVAL, 0, no_name, "json or out_decoded is NULL");
        return BUSBAR_EINVAL;
    }
    int result = check_json(json, size_bytes, out_error);
    if (result < 0)
        return result;
    busbar_decoded *decoded = size_bytes <= SIZE_MAX / 2 ? calloc(1, sizeof *decoded + size_bytes + 1) : NULL;
    if (!decoded) {
        report(out_error, BUSBAR_ENOMEM, 0, no_name, busbar_error_text(BUSBAR_ENOMEM));
        return BUSBAR_ENOMEM;
    }
    decoded->event.size = sizeof decoded->event;
    decoding d = {.decoded = decoded, .free = decoded->strings, .json = {json, size_bytes}, .error = out_error};
    result = decode_members(&d);
    if (result < 0) {
        busbar_decoded_free(decoded);
        return result;
    }
    if (decoded->event.extension_count > 0)
        decoded->event.extensions = decoded->extensions;
    *out_decoded = decoded;
    return BUSBAR_OK;
}

const busbar_event *busbar_decoded_event(const busbar_decoded *decoded)
{
    return &decoded->event;
}

void busbar_decoded_free(busbar_decoded *decoded)
{
    free(decoded);
}
