/* SPDX-License-Identifier: MIT */
#include "collect.h"

#include <string.h>

/* One step in so many sessions, which looks at so many: faster than new ones come. */
#define SESSIONS_PER_STEP  16
#define SESSIONS_LOOKED_AT 64

/* Fewer kinds are never collected: an application has its own few, and uses them again. */
#define KINDS_KEPT 256

/* The lanes' ranges: nothing between the heads at the beginning and at the end is stored any more. */
#define PASSED(lane)                                                                                                   \
    "(begin_" lane " >= end_" lane " OR end_" lane " < (SELECT min(seq) FROM main.busbar_log_" lane "))"
#define ALL_PASSED PASSED("normal") " AND " PASSED("urgent") " AND " PASSED("bulk")
#define STAMP                                                                                                          \
    " SET end_normal = (SELECT coalesce(max(seq), 0) FROM main.busbar_log_normal),"                                    \
    " end_urgent = (SELECT coalesce(max(seq), 0) FROM main.busbar_log_urgent),"                                        \
    " end_bulk = (SELECT coalesce(max(seq), 0) FROM main.busbar_log_bulk)"

static const char PLACE[] = "SELECT collected FROM main.busbar_meta WHERE id = 1";
static const char SET_PLACE[] = "UPDATE main.busbar_meta SET collected = ?1 WHERE id = 1";
static const char NEXT[] =
    "SELECT s.id, s.end_normal IS NOT NULL, s.owner, b.boot FROM main.busbar_session AS s"
    " JOIN main.busbar_boot AS b ON b.id = s.boot WHERE s.id > ?1 AND s.id <> ?2 ORDER BY s.id LIMIT 1";
/* What waits for its time is appended later, and names its session then. */
static const char END[] = "UPDATE main.busbar_session" STAMP
                          " WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM main.busbar_later WHERE session = ?1)";
static const char END_OWN[] = "UPDATE main.busbar_session" STAMP " WHERE id = ?1 AND token = ?2 AND end_normal IS NULL"
                              " AND NOT EXISTS (SELECT 1 FROM main.busbar_later WHERE session = ?1)";
static const char DELETE[] = "DELETE FROM main.busbar_session WHERE id > ?1 AND id <= ?2 AND end_normal IS NOT NULL"
                             " AND " ALL_PASSED " AND id NOT IN (SELECT session FROM main.busbar_exception)";
static const char DELETE_SOME[] = "DELETE FROM main.busbar_session WHERE id IN (SELECT id FROM main.busbar_session"
                                  " WHERE end_normal IS NOT NULL AND " ALL_PASSED
                                  " AND id NOT IN (SELECT session FROM main.busbar_exception) LIMIT ?1)";
static const char LIVES[] = "SELECT 1 FROM main.busbar_session WHERE id <> ?1 AND end_normal IS NULL LIMIT 1";
static const char COUNT_KINDS[] = "SELECT count(*) FROM main.busbar_kind";
/* A kind of plain SQL has no beginning: who uses it has no session that would be seen. */
static const char END_KINDS[] = "UPDATE main.busbar_kind" STAMP " WHERE end_normal IS NULL AND begin_normal IS NOT NULL"
                                " AND id NOT IN (SELECT kind FROM main.busbar_later)";
/* SQLite gives the next kind one more than the highest number: while that stays, none is given twice, and readers may keep
 * what they have looked up. */
static const char DELETE_KINDS[] = "DELETE FROM main.busbar_kind WHERE id IN (SELECT id FROM main.busbar_kind"
                                   " WHERE end_normal IS NOT NULL AND redact = 0 AND ttl_ms = 0 AND " ALL_PASSED
                                   " AND id < (SELECT max(id) FROM main.busbar_kind)"
                                   " AND id NOT IN (SELECT kind FROM main.busbar_exception)"
                                   " AND id NOT IN (SELECT kind FROM main.busbar_later) LIMIT 1024)";
/* The numbers of boots are compared, so the highest stays: it is not given to another one. */
static const char DELETE_BOOTS[] = "DELETE FROM main.busbar_boot WHERE id <> ?1"
                                   " AND id < (SELECT max(id) FROM main.busbar_boot)"
                                   " AND id NOT IN (SELECT boot FROM main.busbar_session)"
                                   " AND id NOT IN (SELECT idle_boot FROM main.busbar_consumer)";
static const char DELETE_FIXES[] = "DELETE FROM main.busbar_clock WHERE boot NOT IN (SELECT id FROM main.busbar_boot)";

static bool has_ended(const busbar_port *port, const bb_boot *own, const char *owner, const char *boot)
{
    if (owner && port->worker_gone && port->worker_gone(port->ctx, owner))
        return true;
    return boot && strcmp(boot, own->text) != 0 && !bb_boot_made_up(boot) && !bb_boot_made_up(own->text);
}

/* Notes which of the next sessions have ended. *inout_last: the last one looked at; 0: the end was reached. */
static int end_sessions(bb_store *store, const busbar_port *port, const bb_session *session, const bb_boot *boot,
                        int64_t *inout_last)
{
    for (int i = 0; i < SESSIONS_LOOKED_AT; i++) {
        int64_t values[] = {*inout_last, session->id};
        sqlite3_stmt *stmt;
        int result = bb_store_find(store, NEXT, values, 2, &stmt);
        if (result == BUSBAR_OK)
            *inout_last = 0;
        if (result != BB_ROW)
            return result;
        int64_t id = bb_column_integer(store, stmt, 0);
        bool known = bb_column_integer(store, stmt, 1) != 0;
        bool ended = !known && has_ended(port, boot, bb_column_text(store, stmt, 2), bb_column_text(store, stmt, 3));
        bb_store_end(store, stmt);
        *inout_last = id;
        if (!ended)
            continue;
        result = bb_store_change(store, END, &id, 1);
        if (result < 0)
            return result;
    }
    return BUSBAR_OK;
}

static int collect_kinds(bb_store *store, const bb_session *session)
{
    int64_t found = 0;
    int64_t count = 0;
    int result = bb_store_integer(store, COUNT_KINDS, NULL, 0, &count);
    if (result < 0 || count <= KINDS_KEPT)
        return result < 0 ? result : BUSBAR_OK;
    result = bb_store_integer(store, LIVES, &session->id, 1, &found);
    if (result != BUSBAR_OK)
        return result < 0 ? result : BUSBAR_OK;
    result = bb_store_execute(store, END_KINDS);
    return result == BUSBAR_OK ? bb_store_execute(store, DELETE_KINDS) : result;
}

int bb_collect_end(bb_store *store, const bb_session *session)
{
    sqlite3_stmt *stmt;
    int result = bb_store_prepare_with(store, END_OWN, &session->id, 1, &stmt);
    if (result < 0)
        return result;
    bb_bind_text(store, stmt, 2, session->token); /* a rolled-back session's number may be another's by now */
    return bb_store_run(store, stmt);
}

int bb_collect_some(bb_store *store, int64_t count_max, int64_t *out_count)
{
    *out_count = 0;
    int result = bb_store_change(store, DELETE_SOME, &count_max, 1);
    if (result == BUSBAR_OK)
        *out_count = store->sql->changes(store->db);
    return result;
}

int bb_collect_step(bb_store *store, const busbar_port *port, const bb_session *session, const bb_boot *boot)
{
    int64_t range[] = {0, 0};
    if (session->id % SESSIONS_PER_STEP != 0)
        return BUSBAR_OK;
    int result = bb_store_integer(store, PLACE, NULL, 0, &range[0]);
    range[1] = range[0];
    if (result >= 0)
        result = end_sessions(store, port, session, boot, &range[1]);
    int64_t next = range[1];
    if (range[1] == 0)
        range[1] = INT64_MAX;
    if (result == BUSBAR_OK)
        result = bb_store_change(store, DELETE, range, 2);
    if (result == BUSBAR_OK)
        result = bb_store_change(store, SET_PLACE, &next, 1);
    if (result == BUSBAR_OK)
        result = bb_store_change(store, DELETE_BOOTS, &session->boot, 1);
    if (result == BUSBAR_OK)
        result = bb_store_execute(store, DELETE_FIXES);
    return result == BUSBAR_OK ? collect_kinds(store, session) : result;
}
