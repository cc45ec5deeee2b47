/* SPDX-License-Identifier: MIT */
#include "sequel.h"

#include <string.h>

#include "extension.h"
#include "json.h"
#include "publish.h"
#include "text.h"
#include "utf8.h"

/* What an event carries on to those that follow from it, as it stands in the cause. */
static void carry(const char *extensions, const char *name, bb_text *out)
{
    const char *value;
    size_t size;
    if (!extensions || !bb_extension_find(extensions, name, &value, &size))
        return;
    bb_text_add(out, ",\"");
    bb_text_add(out, name);
    bb_text_add(out, "\":");
    bb_text_add_bytes(out, value, size);
}

static void write_extensions(const busbar_record *cause, bb_text *out)
{
    const char *value;
    size_t size;
    bb_text_add(out, "{\"causationid\":");
    bb_json_add_string(out, cause->id, strlen(cause->id));
    bool correlated = cause->extensions && bb_extension_find(cause->extensions, "correlationid", &value, &size);
    if (!correlated) {
        bb_text_add(out, ",\"correlationid\":");
        bb_json_add_string(out, cause->id, strlen(cause->id));
    }
    carry(cause->extensions, "correlationid", out);
    carry(cause->extensions, "traceparent", out);
    carry(cause->extensions, "tracestate", out);
    bb_text_add_char(out, '}');
}

/* A handler may have cut its text within a character: what is behind the last whole one would be no JSON. */
static size_t sound_size(const char *text)
{
    size_t size = strlen(text);
    size_t at = 0;
    size_t length;
    uint32_t code;
    while ((length = bb_utf8_read(text + at, size - at, &code)) > 0)
        at += length;
    return at;
}

static void write_data(const bb_sequel_failure *failure, bb_text *out)
{
    bb_text_add(out, "{\"reason\":");
    if (failure->reason)
        bb_json_add_string(out, failure->reason, sound_size(failure->reason));
    else
        bb_text_add(out, "null");
    bb_text_add(out, ",\"attempts\":");
    bb_text_add_int(out, failure->attempts);
    bb_text_add_char(out, '}');
}

/* Both texts behind each other, each with its NUL; gives the size of the first. */
static size_t write_texts(const busbar_record *cause, const bb_sequel_failure *failure, bb_text *out)
{
    write_extensions(cause, out);
    bb_text_add_char(out, '\0');
    size_t first = out->length;
    if (failure)
        write_data(failure, out);
    return first;
}

static int publish(busbar *bus, const char *type, const busbar_record *cause, const char *extensions, const char *data)
{
    busbar_event event = {
        .size = sizeof event,
        .type = type,
        .subject = cause->subject,
        .key = cause->key,
        .lane = cause->lane,
        .data = data,
        .data_size_bytes = data ? strlen(data) : 0,
    };
    int result = bb_publish_extended(bus, &event, extensions);
    if (result == BUSBAR_EDATASIZE) { /* a bus that takes hardly any data must not stand still for it */
        event.data = NULL;
        event.data_size_bytes = 0;
        result = bb_publish_extended(bus, &event, extensions);
    }
    return result == BUSBAR_EREFUSED ? BUSBAR_OK
                                     : result; /* an inline handler did not want it: that is the application's will */
}

const char *bb_sequel_refusal(void)
{
    return NULL;
}

int bb_sequel_publish(busbar *bus, const char *type, const busbar_record *cause, const bb_sequel_failure *failure)
{
    bb_buffer buffer = {.bytes = NULL};
    bb_text measure = bb_text_on(NULL, 0);
    (void)write_texts(cause, failure, &measure);
    if (bb_buffer_reserve(&buffer, measure.length + 1) < 0)
        return bb_store_fail_plain(&bus->store, BUSBAR_ENOMEM);
    bb_text text = bb_text_on(buffer.bytes, buffer.capacity);
    size_t first = write_texts(cause, failure, &text);
    int result = publish(bus, type, cause, buffer.bytes, failure ? buffer.bytes + first : NULL);
    bb_buffer_free(&buffer);
    return result;
}
