/* SPDX-License-Identifier: MIT */
#include "attribute.h"

#include <string.h>

#include "media.h"
#include "rfc3339.h"
#include "uri.h"
#include "utf8.h"

/* The length of a text of 1..max bytes, 0 for any other. */
static size_t bounded_size(const char *text, size_t max)
{
    size_t size = text ? strlen(text) : 0;
    return size <= max ? size : 0;
}

static int printable_check(const char *text, size_t max, int code)
{
    size_t size = bounded_size(text, max);
    return size > 0 && bb_utf8_printable(text, size) ? BUSBAR_OK : code;
}

int bb_attribute_type_check(const char *type)
{
    if (printable_check(type, BUSBAR_TYPE_MAX, BUSBAR_ETYPE) < 0)
        return BUSBAR_ETYPE;
    char before = '.';
    for (const char *at = type; *at; at++) {
        bool empty_segment = *at == '.' && before == '.';
        if (empty_segment || *at == ' ' || *at == '*' || *at == '#' || *at == '+')
            return BUSBAR_ETYPE;
        before = *at;
    }
    return before != '.' ? BUSBAR_OK : BUSBAR_ETYPE;
}

int bb_attribute_source_check(const char *source)
{
    size_t size = bounded_size(source, BUSBAR_SOURCE_MAX);
    return size > 0 && bb_uri_reference_valid(source, size) ? BUSBAR_OK : BUSBAR_ESOURCE;
}

int bb_attribute_id_check(const char *id)
{
    return printable_check(id, BUSBAR_ID_MAX, BUSBAR_EID);
}

int bb_attribute_subject_check(const char *subject)
{
    return printable_check(subject, BUSBAR_SUBJECT_MAX, BUSBAR_ESUBJECT);
}

int bb_attribute_key_check(const char *key)
{
    return printable_check(key, BUSBAR_KEY_MAX, BUSBAR_EKEY);
}

int bb_attribute_content_type_check(const char *datacontenttype)
{
    bool valid = bounded_size(datacontenttype, BUSBAR_CONTENT_TYPE_MAX) > 0 && bb_media_type_valid(datacontenttype);
    return valid ? BUSBAR_OK : BUSBAR_ECONTENTTYPE;
}

int bb_attribute_dataschema_check(const char *dataschema)
{
    size_t size = bounded_size(dataschema, BUSBAR_SCHEMA_URI_MAX);
    return size > 0 && bb_uri_valid(dataschema, size) ? BUSBAR_OK : BUSBAR_EDATASCHEMA;
}

int bb_attribute_time_check(const char *time)
{
    bool valid = bounded_size(time, BUSBAR_TIME_MAX) > 0 && bb_rfc3339_parse(time, NULL);
    return valid ? BUSBAR_OK : BUSBAR_ETIME;
}

/* ---- Extensions ---- */

/* Names that no extension can have: the core attributes, the data, and what busbar_event has a member for. */
static bool is_reserved(const char *name)
{
    static const char *const reserved[] = {"id",         "source",  "specversion", "type", "datacontenttype",
                                           "dataschema", "subject", "time",        "data", "partitionkey"};
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        if (strcmp(name, reserved[i]) == 0)
            return true;
    }
    return false;
}

static bool extension_name_valid(const char *name)
{
    if (bounded_size(name, BUSBAR_EXTENSION_NAME_MAX) == 0)
        return false;
    for (const char *at = name; *at; at++) {
        if (!((*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9')))
            return false;
    }
    return !is_reserved(name);
}

static bool extension_string_valid(const char *string)
{
    size_t size = string ? strlen(string) : SIZE_MAX;
    return size <= BUSBAR_EXTENSION_VALUE_MAX && bb_utf8_printable(string, size);
}

int bb_attribute_extension_check(const busbar_attribute *attribute)
{
    if (!attribute || !extension_name_valid(attribute->name))
        return BUSBAR_EEXTENSION;
    switch (attribute->type) {
    case BUSBAR_ATTRIBUTE_STRING:
        return extension_string_valid(attribute->string) ? BUSBAR_OK : BUSBAR_EEXTENSION;
    case BUSBAR_ATTRIBUTE_INTEGER:
    case BUSBAR_ATTRIBUTE_BOOLEAN:
        return BUSBAR_OK;
    }
    return BUSBAR_EEXTENSION;
}

/* ---- Names of consumers, media types ---- */

int bb_attribute_name_check(const char *name)
{
    if (bounded_size(name, BUSBAR_NAME_MAX) == 0)
        return BUSBAR_ENAME;
    for (const char *at = name; *at; at++) {
        bool letter = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z');
        bool digit = *at >= '0' && *at <= '9';
        if (!letter && !digit && *at != '.' && *at != '_' && *at != '-')
            return BUSBAR_ENAME;
    }
    return BUSBAR_OK;
}

bool bb_attribute_is_json(const char *datacontenttype)
{
    return !datacontenttype || bb_media_type_is_json(datacontenttype);
}
