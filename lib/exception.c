/* SPDX-License-Identifier: MIT */
#include "exception.h"

#include <assert.h>

#define LOG_COLUMNS "seq, kind, session, at_ms, id, subject, key, ext, ttl_ms, data"
#define ADD_TEXT(lane)                                                                                                 \
    "INSERT INTO main.busbar_exception (consumer, lane, state, attempts, reason, due_boot, due_ms, first_boot, "       \
    "first_ms,"                                                                                                        \
    " last_boot, last_ms, " LOG_COLUMNS ") SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?6, ?8, ?6, ?8, " LOG_COLUMNS            \
    " FROM main.busbar_log_" lane " WHERE seq = ?9"                                                                    \
    " ON CONFLICT (consumer, lane, seq) DO UPDATE SET state = excluded.state, attempts = excluded.attempts,"           \
    " reason = excluded.reason, due_boot = excluded.due_boot, due_ms = excluded.due_ms, last_boot = "                  \
    "excluded.last_boot,"                                                                                              \
    " last_ms = excluded.last_ms"
#define READ_COLUMNS "SELECT n, lane, state, attempts, reason, " LOG_COLUMNS " FROM main.busbar_exception"

static const char *const ADD[BUSBAR_LANE_COUNT] = {ADD_TEXT("normal"), ADD_TEXT("urgent"), ADD_TEXT("bulk")};
static const char UPDATE[] = "UPDATE main.busbar_exception SET state = ?1, attempts = ?2, reason = ?3, due_boot = ?4,"
                             " due_ms = ?5, last_boot = ?4, last_ms = ?6 WHERE n = ?7";
static const char DELETE[] = "DELETE FROM main.busbar_exception WHERE n = ?1";
static const char IS_OPEN[] =
    "SELECT 1 FROM main.busbar_exception WHERE n = ?1 AND consumer = ?2 AND lane = ?3 AND seq = ?4 AND state <> 3";
static const char COUNT[] = "SELECT count(*) FROM main.busbar_exception WHERE consumer = ?1 AND state <> 3";
static const char NEXT_DUE[] = "SELECT min(CASE WHEN due_boot = ?2 THEN due_ms ELSE 0 END) FROM main.busbar_exception"
                               " WHERE consumer = ?1 AND state <> 3 AND state = 2";
static const char READ_DUE[] = READ_COLUMNS " WHERE consumer = ?1 AND state <> 3 AND state = 2 AND n > ?4"
                                            " AND (due_boot <> ?2 OR due_ms <= ?3) ORDER BY n LIMIT 1";
static const char READ_AFTER[] = READ_COLUMNS " WHERE consumer = ?1 AND lane = ?2 AND seq > ?3 ORDER BY seq LIMIT 1";
static const char READ_AT[] = READ_COLUMNS " WHERE consumer = ?1 AND lane = ?2 AND seq = ?3";
static const char READ_ANY[] = READ_COLUMNS " WHERE lane = ?1 AND seq = ?2 ORDER BY n LIMIT 1";

int bb_exception_add(bb_store *store, const bb_failure *failure, int64_t seq)
{
    assert((unsigned)failure->lane < BUSBAR_LANE_COUNT);
    sqlite3_stmt *stmt;
    int result = bb_store_prepare(store, ADD[failure->lane], &stmt);
    if (result < 0)
        return result;
    bb_bind_integer(store, stmt, 1, failure->consumer);
    bb_bind_integer(store, stmt, 2, (int64_t)failure->lane);
    bb_bind_integer(store, stmt, 3, (int64_t)failure->state);
    bb_bind_integer(store, stmt, 4, failure->attempts);
    bb_bind_text(store, stmt, 5, failure->reason);
    bb_bind_integer(store, stmt, 6, failure->boot);
    bb_bind_integer(store, stmt, 7, failure->due_ms);
    bb_bind_integer(store, stmt, 8, failure->now_ms);
    bb_bind_integer(store, stmt, 9, seq);
    return bb_store_run(store, stmt);
}

int bb_exception_update(bb_store *store, const bb_failure *failure, int64_t n)
{
    sqlite3_stmt *stmt;
    int result = bb_store_prepare(store, UPDATE, &stmt);
    if (result < 0)
        return result;
    bb_bind_integer(store, stmt, 1, (int64_t)failure->state);
    bb_bind_integer(store, stmt, 2, failure->attempts);
    bb_bind_text(store, stmt, 3, failure->reason);
    bb_bind_integer(store, stmt, 4, failure->boot);
    bb_bind_integer(store, stmt, 5, failure->due_ms);
    bb_bind_integer(store, stmt, 6, failure->now_ms);
    bb_bind_integer(store, stmt, 7, n);
    return bb_store_run(store, stmt);
}

int bb_exception_delete(bb_store *store, int64_t n)
{
    return bb_store_change(store, DELETE, &n, 1);
}

int bb_exception_is_open(bb_store *store, int64_t n, int64_t consumer, busbar_lane lane, int64_t seq, bool *out_open)
{
    int64_t values[] = {n, consumer, (int64_t)lane, seq};
    int64_t ignored = 0;
    int result = bb_store_integer(store, IS_OPEN, values, 4, &ignored);
    if (result >= 0)
        *out_open = result == BB_ROW;
    return result < 0 ? result : BUSBAR_OK;
}

int bb_exception_count(bb_store *store, int64_t consumer, int64_t *out_count)
{
    int result = bb_store_integer(store, COUNT, &consumer, 1, out_count);
    return result < 0 ? result : BUSBAR_OK;
}

int bb_exception_next_due(bb_store *store, int64_t consumer, int64_t boot, int64_t *out_due_ms)
{
    int64_t values[] = {consumer, boot};
    sqlite3_stmt *stmt;
    int result = bb_store_find(store, NEXT_DUE, values, 2, &stmt);
    if (result < 0)
        return result;
    *out_due_ms = INT64_MAX;
    if (result == BB_ROW && !bb_column_is_null(store, stmt, 0))
        *out_due_ms = bb_column_integer(store, stmt, 0);
    if (result == BB_ROW)
        bb_store_end(store, stmt);
    return BUSBAR_OK;
}

int bb_exception_read_due(bb_store *store, int64_t consumer, int64_t boot, int64_t now_ms, int64_t after,
                          sqlite3_stmt **out_stmt)
{
    int64_t values[] = {consumer, boot, now_ms, after};
    return bb_store_find(store, READ_DUE, values, 4, out_stmt);
}

int bb_exception_read_after(bb_store *store, int64_t consumer, busbar_lane lane, int64_t after, sqlite3_stmt **out_stmt)
{
    int64_t values[] = {consumer, (int64_t)lane, after};
    return bb_store_find(store, READ_AFTER, values, 3, out_stmt);
}

int bb_exception_read_at(bb_store *store, int64_t consumer, busbar_lane lane, int64_t seq, sqlite3_stmt **out_stmt)
{
    int64_t values[] = {consumer, (int64_t)lane, seq};
    return bb_store_find(store, READ_AT, values, 3, out_stmt);
}

int bb_exception_read_any(bb_store *store, busbar_lane lane, int64_t seq, sqlite3_stmt **out_stmt)
{
    int64_t values[] = {(int64_t)lane, seq};
    return bb_store_find(store, READ_ANY, values, 2, out_stmt);
}
