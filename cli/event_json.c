/* SPDX-License-Identifier: MIT */
#include "event_json.h"

#include "escape.h"
#include "out.h"

#define FIRST_SIZE 1024
#define INDENT     2

bool event_json_hides(const busbar_record *event, bool reveal)
{
    return event->redact && event->data != NULL && !reveal;
}

busbar_record event_json_without_data(const busbar_record *event)
{
    busbar_record copy = *event;
    copy.data = NULL;
    copy.data_size_bytes = 0;
    return copy;
}

static bool encode(buffer *out, const busbar_record *event)
{
    size_t size = busbar_record_encode(event, buffer_reserve(out, FIRST_SIZE), FIRST_SIZE);
    if (size == SIZE_MAX)
        return false;
    if (size > FIRST_SIZE)
        busbar_record_encode(event, buffer_reserve(out, size), size);
    out->size += size;
    return true;
}

/* Appends one character of a string token. No valid JSON has a raw line end there, but the file may be anybody's. */
static size_t add_inside(buffer *out, const char *text, size_t size)
{
    unsigned code = 0xfffd;
    size_t length = utf8_read(text, size, &code);
    bool steers = length == 0 || escape_needed(code);
    if (code < 0x20 || (steers && out_is_terminal()))
        buffer_printf(out, "\\u%04x", code);
    else
        buffer_add(out, text, length > 0 ? length : 1);
    return length > 0 ? length : 1;
}

/* Appends a string token with its quotes. Returns its size. */
static size_t add_string(buffer *out, const char *text, size_t size)
{
    size_t i = 0;
    do {
        if (text[i] == '\\' && i + 1 < size)
            buffer_add(out, &text[i++], 1);
        i += add_inside(out, text + i, size - i);
    } while (i < size && text[i] != '"');
    if (i < size)
        buffer_add(out, &text[i++], 1);
    return i;
}

bool event_json_line(buffer *out, const busbar_record *event)
{
    buffer json = {0};
    bool ok = encode(&json, event);
    for (size_t i = 0; ok && i < json.size;) {
        char c = json.bytes[i];
        if (c == '"') {
            i += add_string(out, json.bytes + i, json.size - i);
            continue;
        }
        buffer_add(out, c == '\n' || c == '\r' ? " " : &json.bytes[i], 1);
        i++;
    }
    buffer_free(&json);
    return ok;
}

void event_json_member(json_writer *out, const char *key, const busbar_record *event)
{
    buffer line = {0};
    if (event_json_line(&line, event))
        json_raw(out, key, line.bytes, line.size);
    else
        json_null(out, key);
    buffer_free(&line);
}

static void add_line_end(buffer *out, size_t depth)
{
    buffer_add_text(out, "\n");
    for (size_t i = 0; i < depth * INDENT; i++)
        buffer_add_text(out, " ");
}

/* Appends a character outside strings, with the white space that belongs to it. */
static void add_outside(buffer *out, char c, char before, size_t *depth)
{
    bool opens = before == '{' || before == '[';
    if (c == '}' || c == ']') {
        *depth -= *depth > 0;
        if (!opens)
            add_line_end(out, *depth);
    } else if (opens) {
        add_line_end(out, *depth);
    }
    buffer_add(out, &c, 1);
    if (c == '{' || c == '[')
        ++*depth;
    if (c == ',')
        add_line_end(out, *depth);
    if (c == ':')
        buffer_add_text(out, " ");
}

bool event_json_pretty(buffer *out, const busbar_record *event)
{
    buffer json = {0};
    bool ok = encode(&json, event);
    size_t depth = 0;
    char before = '\0'; /* the last character that was no white space */
    for (size_t i = 0; ok && i < json.size;) {
        char c = json.bytes[i];
        if (c == '"') {
            if (before == '{' || before == '[')
                add_line_end(out, depth);
            i += add_string(out, json.bytes + i, json.size - i);
        } else {
            if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
                add_outside(out, c, before, &depth);
            i++;
        }
        before = c == ' ' || c == '\t' || c == '\n' || c == '\r' ? before : c;
    }
    buffer_add_text(out, "\n");
    buffer_free(&json);
    return ok;
}
