/* SPDX-License-Identifier: MIT */
#include "topic.h"

#include <stdbool.h>
#include <string.h>

#include "text.h"
#include "utf8.h"

typedef enum field { FIELD_TYPE, FIELD_SOURCE, FIELD_SUBJECT, FIELD_KEY, FIELD_ID, FIELD_LANE, FIELD_COUNT } field;

/* Which placeholder begins at the brace `at`? FIELD_COUNT: none. Sets *out_end to the place behind it. */
static field read_placeholder(const char *at, const char **out_end)
{
    static const char *const names[FIELD_COUNT] = {"{type}", "{source}", "{subject}", "{key}", "{id}", "{lane}"};
    for (int i = 0; i < FIELD_COUNT; i++) {
        size_t size = strlen(names[i]);
        if (strncmp(at, names[i], size) == 0) {
            *out_end = at + size;
            return (field)i;
        }
    }
    return FIELD_COUNT;
}

int bb_topic_check(const char *topic_template)
{
    size_t size = topic_template ? strlen(topic_template) : 0;
    if (size == 0 || size > BUSBAR_TOPIC_MAX || !bb_utf8_printable(topic_template, size) || topic_template[0] == '$')
        return BUSBAR_ETOPIC;
    const char *at = topic_template;
    for (;;) {
        at += strcspn(at, "{}+#");
        if (*at == '\0')
            return BUSBAR_OK;
        if (*at != '{' || read_placeholder(at, &at) == FIELD_COUNT)
            return BUSBAR_ETOPIC;
    }
}

static const char *field_value(field which, const busbar_record *record)
{
    const char *value = NULL;
    switch (which) {
    case FIELD_TYPE:
        value = record->type;
        break;
    case FIELD_SOURCE:
        value = record->source;
        break;
    case FIELD_SUBJECT:
        value = record->subject;
        break;
    case FIELD_KEY:
        value = record->key;
        break;
    case FIELD_ID:
        value = record->id;
        break;
    case FIELD_LANE:
        value = busbar_lane_name(record->lane);
        break;
    case FIELD_COUNT:
        break;
    }
    return value ? value : "none";
}

/* Adds a value with nothing in it that a topic filter would read as a wildcard. */
static void add_value(bb_text *out, const char *value)
{
    if (out->length == 0 && *value == '$') {
        bb_text_add(out, "%24");
        value++;
    }
    for (;;) {
        size_t plain = strcspn(value, "+#");
        bb_text_add_bytes(out, value, plain);
        value += plain;
        if (*value == '\0')
            return;
        bb_text_add(out, *value == '+' ? "%2B" : "%23");
        value++;
    }
}

int bb_topic_expand(const char *topic_template, const busbar_record *record, char *out, size_t capacity,
                    size_t *out_size_bytes)
{
    bb_text text = bb_text_on(out, capacity);
    const char *at = topic_template;
    while (*at != '\0') {
        size_t literal = strcspn(at, "{");
        bb_text_add_bytes(&text, at, literal);
        at += literal;
        if (*at == '\0')
            break;
        field which = read_placeholder(at, &at);
        if (which == FIELD_COUNT)
            return BUSBAR_ETOPIC;
        add_value(&text, field_value(which, record));
    }
    if (text.length == 0 || text.length > BUSBAR_TOPIC_MAX || !bb_text_fits(&text))
        return BUSBAR_ETOPIC;
    *out_size_bytes = text.length;
    return BUSBAR_OK;
}
