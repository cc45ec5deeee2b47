/* SPDX-License-Identifier: MIT */
#include "reader.h"

#include <stdlib.h>
#include <string.h>

#include "extension.h"
#include "log.h"

/* What is registered anew counts after so long in workers that run. */
#define KIND_AGE_US 1000000u

void bb_reader_init(bb_reader *reader, bb_store *store)
{
    memset(reader, 0, sizeof *reader);
    reader->store = store;
}

static void free_kinds(bb_reader *reader)
{
    for (size_t i = 0; i < BB_READER_KIND_SLOTS; i++) {
        free(reader->kinds[i]);
        reader->kinds[i] = NULL;
    }
}

void bb_reader_fini(bb_reader *reader)
{
    free_kinds(reader);
    bb_buffer_free(&reader->extensions);
    memset(reader, 0, sizeof *reader);
}

void bb_reader_refresh_instants(bb_reader *reader)
{
    if (reader->doubtful)
        memset(reader->sessions, 0, sizeof reader->sessions);
}

void bb_reader_keep(bb_reader *reader)
{
    reader->doubtful = false;
}

void bb_reader_refresh(bb_reader *reader)
{
    bb_reader_refresh_instants(reader);
    if (reader->doubtful)
        free_kinds(reader);
    reader->doubtful = false;
    reader->span.boot = 0;
    reader->past.boot = 0;
    reader->present.boot = 0;
    reader->asked = false;
}

void bb_reader_refresh_kinds(bb_reader *reader, uint64_t now_us)
{
    if (now_us < reader->kinds_until_us)
        return;
    free_kinds(reader);
    reader->kinds_until_us = now_us + KIND_AGE_US;
}

static int find_kind(bb_reader *reader, int64_t id, bb_kind **out_kind)
{
    bb_kind **slot = &reader->kinds[(uint64_t)id % BB_READER_KIND_SLOTS];
    if (!*slot || (*slot)->id != id) {
        bb_kind *kind = NULL;
        int result = bb_kind_load(reader->store, id, &kind);
        if (result < 0)
            return result;
        reader->doubtful |= bb_store_writing(reader->store);
        free(*slot);
        *slot = kind;
    }
    *out_kind = *slot;
    return BUSBAR_OK;
}

/* A session of 0 is none: the row was written by plain SQL with an id of its own. */
static int find_session(bb_reader *reader, int64_t id, const bb_session **out_session)
{
    bb_session *slot = &reader->sessions[(uint64_t)id % BB_READER_SESSION_SLOTS];
    if (id != 0 && slot->id != id) {
        int result = bb_session_load(reader->store, id, slot);
        if (result < 0)
            return result;
        reader->doubtful |= bb_store_writing(reader->store);
    }
    *out_session = id == 0 ? NULL : slot;
    return BUSBAR_OK;
}

int bb_reader_type(bb_reader *reader, sqlite3_stmt *stmt, int first, const char **out_type)
{
    bb_kind *kind;
    int result = find_kind(reader, bb_column_integer(reader->store, stmt, first + BB_LOG_KIND), &kind);
    if (result == BUSBAR_OK)
        *out_type = kind->type;
    return result;
}

int bb_reader_instant(bb_reader *reader, sqlite3_stmt *stmt, int first, int64_t *out_boot, int64_t *out_mono_ms)
{
    const bb_session *session;
    int result = find_session(reader, bb_column_integer(reader->store, stmt, first + BB_LOG_SESSION), &session);
    if (result < 0)
        return result;
    *out_boot = session ? session->boot : 0;
    *out_mono_ms = (session ? session->mono_ms : 0) + bb_column_ms(reader->store, stmt, first + BB_LOG_AT_MS);
    return BUSBAR_OK;
}

static int read_id(bb_reader *reader, sqlite3_stmt *stmt, int first, busbar_record *record)
{
    record->id = bb_column_text(reader->store, stmt, first + BB_LOG_ID);
    if (record->id)
        return BUSBAR_OK;
    const bb_session *session;
    int result = find_session(reader, bb_column_integer(reader->store, stmt, first + BB_LOG_SESSION), &session);
    if (result < 0)
        return result;
    bb_text text = bb_text_on(reader->id, sizeof reader->id);
    bb_identity_format(session ? session->token : "", record->lane, record->seq, &text);
    record->id = reader->id;
    return BUSBAR_OK;
}

/* The publisher's own time is the first member of the stored extensions; a record shows it apart. */
static int split_time(bb_reader *reader, const char *stored, size_t size, busbar_record *record)
{
    const char *time;
    size_t time_size;
    if (!bb_extension_time(stored, size, &time, &time_size) || time_size > BUSBAR_TIME_MAX)
        return BUSBAR_OK;
    bb_text given = bb_text_on(reader->given_time, sizeof reader->given_time);
    bb_text_add_bytes(&given, time, time_size);
    record->given_time = reader->given_time;

    const char *members;
    size_t members_size;
    bb_extension_members(stored, size, &members, &members_size);
    record->extensions = NULL;
    if (members_size == 0)
        return BUSBAR_OK;
    if (bb_buffer_reserve(&reader->extensions, members_size + 3) < 0)
        return bb_store_fail_plain(reader->store, BUSBAR_ENOMEM);
    bb_text rest = bb_text_on(reader->extensions.bytes, reader->extensions.capacity);
    bb_text_add_char(&rest, '{');
    bb_text_add_bytes(&rest, members, members_size);
    bb_text_add_char(&rest, '}');
    record->extensions = reader->extensions.bytes;
    return BUSBAR_OK;
}

static int read_extensions(bb_reader *reader, sqlite3_stmt *stmt, int first, busbar_record *record)
{
    int column = first + BB_LOG_EXTENSIONS;
    record->extensions = bb_column_text(reader->store, stmt, column);
    if (!record->extensions)
        return BUSBAR_OK;
    size_t size = (size_t)reader->store->sql->column_bytes(stmt, column);
    return split_time(reader, record->extensions, size, record);
}

static void read_data(bb_reader *reader, sqlite3_stmt *stmt, int first, bool json_kind, busbar_record *record)
{
    const busbar_sqlite *sql = reader->store->sql;
    int column = first + BB_LOG_DATA;
    int type = sql->column_type(stmt, column);
    if (type == SQLITE_NULL)
        return;
    /* Plain SQL may have stored a number: its text is valid JSON. */
    bool text = type != SQLITE_BLOB;
    record->data = text ? (const void *)sql->column_text(stmt, column) : sql->column_blob(stmt, column);
    record->data_size_bytes = (size_t)sql->column_bytes(stmt, column);
    if (!record->data)
        record->data = "";
    record->data_is_json = text && json_kind;
}

/* Where the time of an event is in doubt, a receiver may want to know when it was told of it. */
static void read_recorded(bb_reader *reader, busbar_record *record)
{
    if (!reader->asked)
        reader->wall_quality = bb_clock_wall(reader->store->port, &reader->wall_ms);
    reader->asked = true;
    if (reader->wall_quality > record->time_quality)
        record->recorded_ms = reader->wall_ms;
}

static int read_time(bb_reader *reader, sqlite3_stmt *stmt, int first, busbar_record *record)
{
    int64_t boot = 0;
    int64_t mono_ms = 0;
    int result = bb_reader_instant(reader, stmt, first, &boot, &mono_ms);
    if (result < 0)
        return result;
    result = bb_clock_resolve(reader->store, &reader->span, boot, mono_ms, &record->time_ms, &record->time_quality);
    if (result == BUSBAR_OK && record->time_quality != BUSBAR_CLOCK_TRUSTED && !record->given_time)
        read_recorded(reader, record);
    return result;
}

/* The event's own, else its kind's. INT64_MAX is stored for "never". */
static uint64_t read_ttl(const bb_reader *reader, sqlite3_stmt *stmt, int first, const bb_kind *kind)
{
    int64_t ttl_ms = bb_column_integer(reader->store, stmt, first + BB_LOG_TTL_MS);
    if (ttl_ms <= 0)
        ttl_ms = kind->ttl_ms;
    return ttl_ms > 0 && ttl_ms < INT64_MAX ? (uint64_t)ttl_ms : 0;
}

int bb_reader_record(bb_reader *reader, sqlite3_stmt *stmt, int first, busbar_lane lane, busbar_record *out_record)
{
    bb_store *store = reader->store;
    bb_kind *kind;
    int result = find_kind(reader, bb_column_integer(store, stmt, first + BB_LOG_KIND), &kind);
    if (result < 0)
        return result;
    busbar_record record = {
        .size = sizeof record,
        .lane = lane,
        .seq = bb_column_integer(store, stmt, first + BB_LOG_SEQ),
        .source = kind->source,
        .type = kind->type,
        .subject = bb_column_text(store, stmt, first + BB_LOG_SUBJECT),
        .key = bb_column_text(store, stmt, first + BB_LOG_KEY),
        .datacontenttype = kind->datacontenttype,
        .dataschema = kind->dataschema,
        .ttl_ms = read_ttl(reader, stmt, first, kind),
        .attempt = 1,
        .redact = kind->redact,
    };
    result = read_id(reader, stmt, first, &record);
    if (result == BUSBAR_OK)
        result = read_extensions(reader, stmt, first, &record);
    if (result == BUSBAR_OK)
        result = read_time(reader, stmt, first, &record);
    if (result < 0)
        return result;
    read_data(reader, stmt, first, kind->json, &record);
    *out_record = record;
    return BUSBAR_OK;
}
