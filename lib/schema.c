/* SPDX-License-Identifier: MIT */
#include "schema.h"

#include <assert.h>

#include "text.h"

/* One shape for every lane. No index: an event is written once and read by position. */
#define LOG_TABLE(name)                                                                                                \
    "CREATE TABLE main.busbar_log_" name " ("                                                                          \
    " seq INTEGER PRIMARY KEY,"                                                                                        \
    " kind INTEGER NOT NULL,"                                                                                          \
    " session INTEGER NOT NULL DEFAULT 0,"                                                                             \
    " at_ms INTEGER NOT NULL DEFAULT 0,"                                                                               \
    " id TEXT, subject TEXT, key TEXT, ext TEXT, ttl_ms INTEGER, data ANY) STRICT;"

#define LOG_VIEW(name, letter)                                                                                         \
    "SELECT '" name "' AS lane, l.seq AS seq, coalesce(l.id, coalesce(s.token, '') || '-" letter "' || l.seq) AS id,"  \
    " k.type AS type, k.source AS source, l.subject AS subject, l.key AS key,"                                         \
    " nullif(k.datacontenttype, '') AS datacontenttype, nullif(k.dataschema, '') AS dataschema,"                       \
    " l.ext AS extensions, l.ttl_ms AS ttl_ms, b.boot AS boot, s.mono_ms + l.at_ms AS boot_ms, l.data AS data"         \
    " FROM busbar_log_" name " AS l JOIN busbar_kind AS k ON k.id = l.kind"                                            \
    " LEFT JOIN busbar_session AS s ON s.id = l.session LEFT JOIN busbar_boot AS b ON b.id = s.boot"

static const char VERSION_1_EVENTS[] = "CREATE TABLE main.busbar_meta ("
                                       " id INTEGER PRIMARY KEY CHECK (id = 1),"
                                       " schema_version INTEGER NOT NULL,"
                                       " next_session INTEGER NOT NULL,"
                                       " next_consumer INTEGER NOT NULL,"
                                       " watermark_normal INTEGER NOT NULL,"
                                       " watermark_urgent INTEGER NOT NULL,"
                                       " watermark_bulk INTEGER NOT NULL) STRICT;"
                                       "INSERT INTO main.busbar_meta VALUES (1, 1, 1, 1, 0, 0, 0);"

                                       "CREATE TABLE main.busbar_kind ("
                                       " id INTEGER PRIMARY KEY,"
                                       " type TEXT NOT NULL,"
                                       " source TEXT NOT NULL,"
                                       " datacontenttype TEXT NOT NULL DEFAULT '',"
                                       " dataschema TEXT NOT NULL DEFAULT '',"
                                       " UNIQUE (type, source, datacontenttype, dataschema)) STRICT;"

                                       "CREATE TABLE main.busbar_boot ("
                                       " id INTEGER PRIMARY KEY,"
                                       " boot TEXT NOT NULL UNIQUE) STRICT;"

                                       "CREATE TABLE main.busbar_clock ("
                                       " boot INTEGER NOT NULL,"
                                       " mono_ms INTEGER NOT NULL,"
                                       " wall_ms INTEGER NOT NULL,"
                                       " quality INTEGER NOT NULL,"
                                       " PRIMARY KEY (boot, mono_ms)) STRICT, WITHOUT ROWID;"

                                       "CREATE TABLE main.busbar_session ("
                                       " id INTEGER PRIMARY KEY,"
                                       " token TEXT NOT NULL UNIQUE,"
                                       " boot INTEGER NOT NULL,"
                                       " mono_ms INTEGER NOT NULL) STRICT;"

    LOG_TABLE("normal") LOG_TABLE("urgent") LOG_TABLE("bulk")

        "CREATE TABLE main.busbar_given ("
        " n INTEGER PRIMARY KEY,"
        " id TEXT NOT NULL,"
        " source TEXT NOT NULL,"
        " lane INTEGER NOT NULL,"
        " seq INTEGER NOT NULL,"
        " UNIQUE (id, source)) STRICT;";

static const char VERSION_1_CONSUMERS[] =
    "CREATE TABLE main.busbar_consumer ("
    " id INTEGER PRIMARY KEY,"
    " name TEXT NOT NULL UNIQUE,"
    " class INTEGER NOT NULL,"
    " pattern TEXT NOT NULL,"
    " busy INTEGER NOT NULL DEFAULT 0,"
    " owner TEXT,"
    " owner_boot TEXT,"
    " claim TEXT,"
    " claim_boot TEXT,"
    " claim_until_ms INTEGER,"
    " last_error TEXT) STRICT;"

    "CREATE TABLE main.busbar_cursor ("
    " consumer INTEGER NOT NULL,"
    " lane INTEGER NOT NULL,"
    " start INTEGER NOT NULL,"
    " cursor INTEGER NOT NULL,"
    " filtered INTEGER NOT NULL DEFAULT 0,"
    " delivered INTEGER NOT NULL DEFAULT 0,"
    " dead INTEGER NOT NULL DEFAULT 0,"
    " expired INTEGER NOT NULL DEFAULT 0,"
    " evicted INTEGER NOT NULL DEFAULT 0,"
    " rate_mhz INTEGER NOT NULL DEFAULT 0,"
    " batch INTEGER NOT NULL DEFAULT 0,"
    " PRIMARY KEY (consumer, lane)) STRICT, WITHOUT ROWID;"

    /* The columns from `seq` to `data` are those of the logs: an exception owns a copy of its event. */
    "CREATE TABLE main.busbar_exception ("
    " n INTEGER PRIMARY KEY,"
    " consumer INTEGER NOT NULL,"
    " lane INTEGER NOT NULL,"
    " state INTEGER NOT NULL,"
    " attempts INTEGER NOT NULL,"
    " due_boot INTEGER NOT NULL DEFAULT 0,"
    " due_ms INTEGER NOT NULL DEFAULT 0,"
    " reason TEXT,"
    " first_boot INTEGER NOT NULL DEFAULT 0,"
    " first_ms INTEGER NOT NULL DEFAULT 0,"
    " last_boot INTEGER NOT NULL DEFAULT 0,"
    " last_ms INTEGER NOT NULL DEFAULT 0,"
    " seq INTEGER NOT NULL,"
    " kind INTEGER NOT NULL,"
    " session INTEGER NOT NULL,"
    " at_ms INTEGER NOT NULL,"
    " id TEXT, subject TEXT, key TEXT, ext TEXT, ttl_ms INTEGER, data ANY,"
    " UNIQUE (consumer, lane, seq)) STRICT;"
    /* Dead letters may gather: what is open must be found without walking over them. */
    "CREATE INDEX main.busbar_exception_open ON busbar_exception (consumer, n) WHERE state <> 3;";

/* For a person with the sqlite3 shell. Inside a view no name carries a schema: the file may be attached under any name. */
static const char VERSION_1_EVENTS_VIEW[] = "CREATE VIEW main.busbar_events AS " LOG_VIEW(
    "urgent", "u") " UNION ALL " LOG_VIEW("normal", "n") " UNION ALL " LOG_VIEW("bulk", "b") ";";

static const char VERSION_1_PROGRESS_VIEW[] =
    "CREATE VIEW main.busbar_progress AS "
    "SELECT c.name AS consumer, CASE p.lane WHEN 1 THEN 'urgent' WHEN 0 THEN 'normal' ELSE 'bulk' END AS lane,"
    " p.start, p.cursor, p.filtered, p.delivered, p.dead, p.expired, p.evicted,"
    " (SELECT count(*) FROM busbar_exception AS e"
    "  WHERE e.consumer = p.consumer AND e.lane = p.lane AND e.state <> 3) AS retrying "
    "FROM busbar_cursor AS p JOIN busbar_consumer AS c ON c.id = p.consumer;";

/* ---- Version 2: retry policies of events, order, poison, scheduling, what people did ---- */

static const char VERSION_2_TABLES[] =
    "ALTER TABLE main.busbar_kind ADD COLUMN redact INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE main.busbar_kind ADD COLUMN ttl_ms INTEGER NOT NULL DEFAULT 0;"
    /* Of the few events that have one of their own: the logs stay as narrow as they were. */
    "CREATE TABLE main.busbar_policy ("
    " lane INTEGER NOT NULL,"
    " seq INTEGER NOT NULL,"
    " retry TEXT NOT NULL,"
    " PRIMARY KEY (lane, seq)) STRICT, WITHOUT ROWID;"
    "ALTER TABLE main.busbar_exception ADD COLUMN retry TEXT;"
    "ALTER TABLE main.busbar_exception ADD COLUMN age_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE main.busbar_exception ADD COLUMN wait_ms INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX main.busbar_exception_key ON busbar_exception (consumer, lane, key, seq) WHERE state <> 3;"
    "CREATE INDEX main.busbar_exception_dead ON busbar_exception (consumer, n) WHERE state = 3;"
    "ALTER TABLE main.busbar_consumer ADD COLUMN ordering INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE main.busbar_consumer ADD COLUMN filter TEXT;"
    "ALTER TABLE main.busbar_consumer ADD COLUMN limit_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE main.busbar_consumer ADD COLUMN suspect_lane INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE main.busbar_consumer ADD COLUMN suspect_seq INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE main.busbar_cursor ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE main.busbar_cursor ADD COLUMN replayed INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE main.busbar_cursor ADD COLUMN unmatched INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE main.busbar_cursor ADD COLUMN moved_boot INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE main.busbar_cursor ADD COLUMN moved_ms INTEGER NOT NULL DEFAULT 0;"

    /* Of each event by itself: what is handed over before it, after a bad end, must not make its ends forgotten. */
    "CREATE TABLE main.busbar_suspect ("
    " consumer INTEGER NOT NULL,"
    " lane INTEGER NOT NULL,"
    " seq INTEGER NOT NULL,"
    " ends INTEGER NOT NULL,"
    " PRIMARY KEY (consumer, lane, seq)) STRICT, WITHOUT ROWID;"

    /* The columns from `kind` to `data` are those of the logs. */
    "CREATE TABLE main.busbar_later ("
    " n INTEGER PRIMARY KEY,"
    " lane INTEGER NOT NULL,"
    " due_boot INTEGER NOT NULL,"
    " due_ms INTEGER NOT NULL,"
    " delay_ms INTEGER NOT NULL,"
    " kind INTEGER NOT NULL,"
    " session INTEGER NOT NULL,"
    " at_ms INTEGER NOT NULL,"
    " id TEXT, subject TEXT, key TEXT, ext TEXT, ttl_ms INTEGER, data ANY, retry TEXT) STRICT;"
    "CREATE INDEX main.busbar_later_due ON busbar_later (due_boot, due_ms);"
    "CREATE INDEX main.busbar_later_id ON busbar_later (id);"
    "DROP VIEW main.busbar_progress;";

static const char VERSION_2_PROGRESS_VIEW[] =
    "CREATE VIEW main.busbar_progress AS "
    "SELECT c.name AS consumer, CASE p.lane WHEN 1 THEN 'urgent' WHEN 0 THEN 'normal' ELSE 'bulk' END AS lane,"
    " p.start, p.cursor, p.filtered, p.delivered, p.dead, p.expired, p.evicted,"
    " (SELECT count(*) FROM busbar_exception AS e"
    "  WHERE e.consumer = p.consumer AND e.lane = p.lane AND e.state <> 3) AS retrying,"
    " p.dropped, p.replayed, p.unmatched "
    "FROM busbar_cursor AS p JOIN busbar_consumer AS c ON c.id = p.consumer;";

/* What a consumer has missed. `token` is set when its event begins to be sent: from then on it does not change. */
static const char VERSION_2_GAPS[] = "CREATE TABLE main.busbar_gap ("
                                     " n INTEGER PRIMARY KEY,"
                                     " consumer INTEGER NOT NULL,"
                                     " lane INTEGER NOT NULL,"
                                     " reason INTEGER NOT NULL,"
                                     " first INTEGER NOT NULL,"
                                     " last INTEGER NOT NULL,"
                                     " count INTEGER NOT NULL,"
                                     " token TEXT) STRICT;"
                                     "CREATE INDEX main.busbar_gap_order ON busbar_gap (consumer, lane, n);";

#define RANGE_COLUMNS(table, if_not_given)                                                                             \
    "ALTER TABLE main." table " ADD COLUMN begin_normal INTEGER" if_not_given ";"                                      \
    "ALTER TABLE main." table " ADD COLUMN begin_urgent INTEGER" if_not_given ";"                                      \
    "ALTER TABLE main." table " ADD COLUMN begin_bulk INTEGER" if_not_given ";"                                        \
    "ALTER TABLE main." table " ADD COLUMN end_normal INTEGER;"                                                        \
    "ALTER TABLE main." table " ADD COLUMN end_urgent INTEGER;"                                                        \
    "ALTER TABLE main." table " ADD COLUMN end_bulk INTEGER;"

/* Between which heads of the lanes the events of a session, and of a kind, lie. The end is NULL while there may be more.
 * A kind's beginning is NULL if plain SQL (or version 1) made it: it is kept. */
static const char VERSION_2_COLLECTION[] =
    "ALTER TABLE main.busbar_meta ADD COLUMN collected INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE main.busbar_consumer ADD COLUMN idle_boot INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE main.busbar_consumer ADD COLUMN idle_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE main.busbar_consumer ADD COLUMN idle_for_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE main.busbar_session ADD COLUMN owner TEXT;" RANGE_COLUMNS("busbar_session", " NOT NULL DEFAULT 0")
        RANGE_COLUMNS("busbar_kind", "");

/* Whether last_error is that of a connection, since when that is lost, and since when events fail. */
static const char VERSION_2_HEALTH[] =
    "ALTER TABLE main.busbar_consumer ADD COLUMN offline INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE main.busbar_consumer ADD COLUMN offline_boot INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE main.busbar_consumer ADD COLUMN offline_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE main.busbar_consumer ADD COLUMN failed_boot INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE main.busbar_consumer ADD COLUMN failed_ms INTEGER NOT NULL DEFAULT 0;";

const bb_schema_step bb_schema_steps[] = {
    {1, VERSION_1_EVENTS},        {1, VERSION_1_CONSUMERS},  {1, VERSION_1_EVENTS_VIEW},
    {1, VERSION_1_PROGRESS_VIEW}, {2, VERSION_2_TABLES},     {2, VERSION_2_PROGRESS_VIEW},
    {2, VERSION_2_GAPS},          {2, VERSION_2_COLLECTION}, {2, VERSION_2_HEALTH}};
const size_t bb_schema_step_count = sizeof bb_schema_steps / sizeof bb_schema_steps[0];

static const char HAS_META[] = "SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = 'busbar_meta'";
static const char READ_VERSION[] = "SELECT schema_version FROM main.busbar_meta WHERE id = 1";
static const char WRITE_VERSION[] = "UPDATE main.busbar_meta SET schema_version = ?1 WHERE id = 1";

int bb_schema_version(bb_store *store, int *out_version)
{
    int64_t version = 0;
    int result = bb_store_integer(store, HAS_META, NULL, 0, &version);
    if (result == BB_ROW)
        result = bb_store_integer(store, READ_VERSION, NULL, 0, &version);
    if (result < 0)
        return result;
    *out_version = (int)version;
    return BUSBAR_OK;
}

static int fail_version(bb_store *store, int code, int version, const char *advice)
{
    char text[BUSBAR_DETAIL_SIZE];
    bb_text detail = bb_text_on(text, sizeof text);
    bb_text_add(&detail, "the database's Busbar tables have version ");
    bb_text_add_int(&detail, version);
    bb_text_add(&detail, " and this library writes version ");
    bb_text_add_int(&detail, BUSBAR_SCHEMA_VERSION);
    bb_text_add(&detail, advice);
    return bb_store_fail(store, code, text);
}

static int fail_newer(bb_store *store, int version)
{
    return fail_version(store, BUSBAR_ESCHEMANEWER, version, ": use a newer Busbar");
}

static int take_steps(bb_store *store, const bb_schema_step *steps, size_t count)
{
    int version = 0;
    int result = bb_schema_version(store, &version); /* again: another process may have migrated meanwhile */
    if (result == BUSBAR_OK && version > steps[count - 1].to)
        return fail_newer(store, version);
    for (size_t i = 0; result == BUSBAR_OK && i < count; i++) {
        if (steps[i].to <= version)
            continue;
        int64_t to = steps[i].to;
        result = bb_store_execute_once(store, steps[i].sql);
        if (result == BUSBAR_OK)
            result = bb_store_change(store, WRITE_VERSION, &to, 1);
    }
    return result;
}

int bb_schema_migrate(bb_store *store, const bb_schema_step *steps, size_t count)
{
    assert(count > 0);
    int version = 0;
    int result = bb_schema_version(store, &version);
    if (result < 0 || version == steps[count - 1].to)
        return result;
    if (version > steps[count - 1].to)
        return fail_newer(store, version);
    bb_scope scope;
    result = bb_store_enter(store, &scope);
    if (result < 0)
        return result;
    return bb_store_leave(store, &scope, take_steps(store, steps, count));
}

int bb_schema_check(bb_store *store)
{
    int version = 0;
    int result = bb_schema_version(store, &version);
    if (result < 0 || version == BUSBAR_SCHEMA_VERSION)
        return result;
    if (version == 0)
        return bb_store_fail(store, BUSBAR_ENOTBUS,
                             "the database has no Busbar tables: create them with `busbar init`, or publish into it");
    if (version > BUSBAR_SCHEMA_VERSION)
        return fail_newer(store, version);
    return fail_version(store, BUSBAR_ESCHEMAOLDER, version, ": migrate them with `busbar init`");
}
