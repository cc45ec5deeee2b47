/* SPDX-License-Identifier: MIT */
#include "extension.h"

#include <string.h>

#include "attribute.h"
#include "json.h"

/* How every stored object with a given time begins. */
static const char TIME_PREFIX[] = "{\"time\":\"";

static void add_member(bb_text *out, const busbar_attribute *attribute)
{
    bb_text_add_char(out, '"');
    bb_text_add(out, attribute->name);
    bb_text_add(out, "\":");
    switch (attribute->type) {
    case BUSBAR_ATTRIBUTE_STRING:
        bb_json_add_string(out, attribute->string, strlen(attribute->string));
        break;
    case BUSBAR_ATTRIBUTE_INTEGER:
        bb_text_add_int(out, attribute->integer);
        break;
    case BUSBAR_ATTRIBUTE_BOOLEAN:
        bb_text_add(out, attribute->integer != 0 ? "true" : "false");
        break;
    }
}

static bool name_taken(const busbar_attribute *attributes, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(attributes[i].name, name) == 0)
            return true;
    }
    return false;
}

int bb_extension_write(const char *time, const busbar_attribute *attributes, size_t count, bb_text *out)
{
    if (time && bb_attribute_time_check(time) < 0)
        return BUSBAR_ETIME;
    if (count > BUSBAR_EXTENSION_COUNT_MAX)
        return BUSBAR_EEXTENSION;
    bb_text_add(out, time ? TIME_PREFIX : "{");
    if (time) {
        bb_text_add(out, time); /* a timestamp has nothing to escape */
        bb_text_add_char(out, '"');
    }
    for (size_t i = 0; i < count; i++) {
        const busbar_attribute *attribute = &attributes[i];
        if (bb_attribute_extension_check(attribute) < 0 || name_taken(attributes, i, attribute->name))
            return BUSBAR_EEXTENSION;
        if (time || i > 0)
            bb_text_add_char(out, ',');
        add_member(out, attribute);
    }
    bb_text_add_char(out, '}');
    return BUSBAR_OK;
}

bool bb_extension_time(const char *extensions, size_t size_bytes, const char **out_time, size_t *out_time_size_bytes)
{
    size_t prefix = sizeof TIME_PREFIX - 1;
    if (size_bytes < prefix || memcmp(extensions, TIME_PREFIX, prefix) != 0)
        return false;
    const char *quote = memchr(extensions + prefix, '"', size_bytes - prefix);
    if (!quote)
        return false;
    *out_time = extensions + prefix;
    *out_time_size_bytes = (size_t)(quote - *out_time);
    return true;
}

void bb_extension_members(const char *extensions, size_t size_bytes, const char **out_members, size_t *out_size_bytes)
{
    const char *end = extensions + size_bytes;
    const char *at = extensions;
    const char *time;
    size_t time_size;
    if (bb_extension_time(extensions, size_bytes, &time, &time_size)) {
        at = time + time_size + 1;
        if (at < end && *at == ',')
            at++;
    } else if (at < end && *at == '{') {
        at++;
    }
    if (at < end && end[-1] == '}')
        end--;
    *out_members = at;
    *out_size_bytes = (size_t)(end - at);
}

/* Behind a JSON string or a plain value that begins here. */
static const char *value_end(const char *at)
{
    if (*at != '"')
        return at + strcspn(at, ",}");
    for (at++; *at && *at != '"'; at++) {
        if (*at == '\\' && at[1])
            at++;
    }
    return *at ? at + 1 : at;
}

bool bb_extension_find(const char *extensions, const char *name, const char **out_value, size_t *out_value_size_bytes)
{
    size_t size = strlen(name);
    const char *at = extensions;
    while (*at == '{' || *at == ',') {
        const char *key = at + 1;
        const char *end = value_end(key);
        if (*key != '"' || *end != ':')
            return false;
        const char *value = end + 1;
        at = value_end(value);
        if ((size_t)(end - key) == size + 2 && memcmp(key + 1, name, size) == 0) {
            *out_value = value;
            *out_value_size_bytes = (size_t)(at - value);
            return true;
        }
    }
    return false;
}
