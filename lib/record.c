/* SPDX-License-Identifier: MIT */
#include "record.h"

#include <string.h>

static size_t text_size(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

static const char *place(char **cursor, const char *text)
{
    if (!text)
        return NULL;
    size_t size = text_size(text);
    char *copy = *cursor;
    memcpy(copy, text, size);
    *cursor += size;
    return copy;
}

static size_t texts_size(const busbar_record *record)
{
    return text_size(record->id) + text_size(record->source) + text_size(record->type) + text_size(record->subject) +
           text_size(record->key) + text_size(record->datacontenttype) + text_size(record->dataschema) +
           text_size(record->extensions) + text_size(record->given_time);
}

size_t bb_record_size(const busbar_record *record)
{
    return texts_size(record) + record->data_size_bytes + 1;
}

void bb_record_place(const busbar_record *record, char *room, busbar_record *out_copy)
{
    busbar_record copy = *record;
    char *cursor = room;
    copy.id = place(&cursor, record->id);
    copy.source = place(&cursor, record->source);
    copy.type = place(&cursor, record->type);
    copy.subject = place(&cursor, record->subject);
    copy.key = place(&cursor, record->key);
    copy.datacontenttype = place(&cursor, record->datacontenttype);
    copy.dataschema = place(&cursor, record->dataschema);
    copy.extensions = place(&cursor, record->extensions);
    copy.given_time = place(&cursor, record->given_time);
    if (record->data) {
        memcpy(cursor, record->data, record->data_size_bytes);
        cursor[record->data_size_bytes] = '\0';
        copy.data = cursor;
    }
    *out_copy = copy;
}

int bb_record_copy(const busbar_record *record, bb_buffer *buffer, busbar_record *out_copy)
{
    int result = bb_buffer_reserve(buffer, bb_record_size(record));
    if (result == BUSBAR_OK)
        bb_record_place(record, buffer->bytes, out_copy);
    return result;
}
