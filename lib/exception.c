/* SPDX-License-Identifier: MIT */
#include "exception.h"

#include <assert.h>

#include "backoff.h"
#include "log.h"

#define LOG_COLUMNS "seq, kind, session, at_ms, id, subject, key, ext, ttl_ms, data"
#define ADD_TEXT(lane)                                                                                                 \
    "INSERT INTO main.busbar_exception (consumer, lane, state, attempts, reason, due_boot, due_ms, wait_ms, age_ms,"   \
    " first_boot, first_ms, last_boot, last_ms, retry, " LOG_COLUMNS                                                   \
    ") SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?6 * ?12, ?10 * ?12, ?6 * ?12, ?10 * ?12,"                           \
    " (SELECT retry FROM main.busbar_policy WHERE lane = ?2 AND seq = ?11), " LOG_COLUMNS                              \
    " FROM main.busbar_log_" lane " WHERE seq = ?11"                                                                   \
    " ON CONFLICT (consumer, lane, seq) DO UPDATE SET state = excluded.state, attempts = excluded.attempts,"           \
    " reason = excluded.reason, due_boot = excluded.due_boot, due_ms = excluded.due_ms, wait_ms = excluded.wait_ms,"   \
    " age_ms = excluded.age_ms, last_boot = excluded.last_boot, last_ms = excluded.last_ms"
#define BYTES_TEXT(lane)                                                                                               \
    "SELECT ifnull(length(CAST(data AS BLOB)), 0) + ifnull(length(id), 0) + ifnull(length(subject), 0)"                \
    " + 2 * ifnull(length(key), 0) + ifnull(length(ext), 0) FROM main.busbar_log_" lane " WHERE seq = ?1"
#define READ_COLUMNS                                                                                                   \
    "SELECT n, lane, state, attempts, reason, first_boot, first_ms, last_boot, last_ms, " LOG_COLUMNS                  \
    " FROM main.busbar_exception"
/* The first that is parked is due, unless another than the one that leaves is to go before it; a number may be used anew. */
#define RELEASE_TEXT(among)                                                                                            \
    "UPDATE main.busbar_exception SET state = 2, due_boot = 0, due_ms = 0 WHERE n = (SELECT e.n FROM"                  \
    " main.busbar_exception AS e WHERE e.consumer = ?1 AND e.lane = ?2 AND e.state <> 3 AND e.state = 4" among         \
    " ORDER BY e.seq LIMIT 1) AND NOT EXISTS (SELECT 1 FROM main.busbar_exception AS e WHERE e.consumer = ?1 AND "     \
    "e.lane = ?2"                                                                                                      \
    " AND e.state <> 3 AND e.state = 2 AND e.n <> ?3" among ")"                                                        \
    " AND EXISTS (SELECT 1 FROM main.busbar_exception WHERE n = ?3 AND consumer = ?1 AND lane = ?2 AND seq = ?4)"
#define OF_THE_KEY " AND e.key = (SELECT key FROM main.busbar_exception WHERE n = ?3)"
/* The first of those that are parked behind nobody any more is due. */
#define FREE_TEXT(among)                                                                                               \
    "UPDATE main.busbar_exception SET state = 2, due_boot = 0, due_ms = 0 WHERE consumer = ?1 AND state <> 3 AND "     \
    "state = 4"                                                                                                        \
    " AND NOT EXISTS (SELECT 1 FROM main.busbar_exception AS e WHERE e.consumer = ?1 AND e.lane ="                     \
    " busbar_exception.lane" among " AND e.state <> 3 AND (e.state = 2 OR e.seq < busbar_exception.seq))"
/* Of those that wait for retry, all but the first are parked behind it. */
#define PARK_TEXT(among)                                                                                               \
    "UPDATE main.busbar_exception SET state = 4 WHERE consumer = ?1 AND state <> 3 AND state = 2 AND EXISTS"           \
    " (SELECT 1 FROM main.busbar_exception AS e WHERE e.consumer = ?1 AND e.lane = busbar_exception.lane" among        \
    " AND e.state <> 3 AND e.state = 2 AND e.seq < busbar_exception.seq)"
#define OF_ITS_KEY " AND e.key = busbar_exception.key"

static const char *const ADD[BUSBAR_LANE_COUNT] = {ADD_TEXT("normal"), ADD_TEXT("urgent"), ADD_TEXT("bulk")};
static const char *const BYTES[BUSBAR_LANE_COUNT] = {BYTES_TEXT("normal"), BYTES_TEXT("urgent"), BYTES_TEXT("bulk")};
static const char UPDATE[] = "UPDATE main.busbar_exception SET state = ?1, attempts = ?2, reason = ?3, due_boot = ?4,"
                             " due_ms = ?5, wait_ms = ?6, age_ms = ?7,"
                             " last_boot = CASE WHEN ?13 OR first_boot <> 0 THEN ?4 ELSE 0 END,"
                             " last_ms = CASE WHEN ?13 OR first_boot <> 0 THEN ?8 ELSE 0 END,"
                             " first_ms = CASE WHEN first_boot = 0 THEN ?8 * ?13 ELSE first_ms END,"
                             " first_boot = CASE WHEN first_boot = 0 THEN ?4 * ?13 ELSE first_boot END"
                             " WHERE n = ?9 AND lane = ?10 AND seq = ?11 AND consumer = ?12 AND state <> 3";
static const char DELETE[] = "DELETE FROM main.busbar_exception WHERE n = ?1 AND lane = ?2 AND seq = ?3"
                             " AND consumer = ?4 AND state <> 3";
static const char FORGET[] = "DELETE FROM main.busbar_exception WHERE n = ?1";
static const char HISTORY[] = "SELECT wait_ms, age_ms, last_boot, last_ms, attempts, retry FROM main.busbar_exception"
                              " WHERE n = ?1 AND lane = ?2 AND seq = ?3";
static const char RELEASE_LANE[] = RELEASE_TEXT("");
static const char RELEASE_KEY[] = RELEASE_TEXT(OF_THE_KEY);
static const char *const FREE[] = {"UPDATE main.busbar_exception SET state = 2, due_boot = 0, due_ms = 0 WHERE "
                                   "consumer = ?1 AND state <> 3 AND state = 4",
                                   FREE_TEXT(OF_ITS_KEY), FREE_TEXT("")};
static const char *const PARK[] = {NULL, PARK_TEXT(OF_ITS_KEY), PARK_TEXT("")};
static const char UNPARK[] = "UPDATE main.busbar_exception SET state = 2 WHERE consumer = ?1 AND lane = ?2 AND seq = ?3"
                             " AND state = 4 AND NOT EXISTS (SELECT 1 FROM main.busbar_exception AS e"
                             " WHERE e.consumer = ?1 AND e.lane = ?2 AND e.key = busbar_exception.key"
                             " AND e.state <> 3 AND e.n <> busbar_exception.n)";
/* As if it had never failed; only the reason stays, for people. */
static const char REVIVE[] = "UPDATE main.busbar_exception SET state = ?2, attempts = 0, due_boot = 0, due_ms = 0,"
                             " wait_ms = 0, age_ms = 0, first_boot = 0, first_ms = 0, last_boot = 0, last_ms = 0"
                             " WHERE n = ?1";
static const char HURRY[] = "UPDATE main.busbar_exception SET due_boot = 0, due_ms = 0 WHERE n = ?1 AND state = 2";
static const char OTHERS_LANE[] = "SELECT 1 FROM main.busbar_exception WHERE consumer = ?1 AND lane = ?2 AND n <> ?3"
                                  " AND state <> 3 LIMIT 1";
static const char OTHERS_KEY[] = "SELECT 1 FROM main.busbar_exception WHERE consumer = ?1 AND lane = ?2 AND n <> ?3"
                                 " AND state <> 3 AND key = (SELECT key FROM main.busbar_exception WHERE n = ?3)"
                                 " LIMIT 1";
static const char BEYOND[] = "SELECT n FROM main.busbar_exception WHERE consumer = ?1 AND state = 3"
                             " ORDER BY n DESC LIMIT 1 OFFSET ?2";
static const char DEAD_UNTIL[] = "SELECT n, lane FROM main.busbar_exception WHERE consumer = ?1 AND state = 3"
                                 " AND n > ?2 AND n <= ?3 ORDER BY n LIMIT 1";
static const char DEAD_OLDER[] = "SELECT n, lane FROM main.busbar_exception WHERE consumer = ?1 AND state = 3"
                                 " AND n > ?2 AND last_ms <= CASE WHEN last_boot = ?3 THEN ?4 ELSE ?5 END"
                                 " ORDER BY n LIMIT 1";
static const char COUNT[] = "SELECT lane, count(*) FROM main.busbar_exception WHERE consumer = ?1 AND state <> 3"
                            " GROUP BY lane";
static const char HOLDS[] = "SELECT 1 FROM main.busbar_exception WHERE consumer = ?1 AND lane = ?2 AND key = ?3"
                            " AND state <> 3 LIMIT 1";
static const char NEXT_DUE[] = "SELECT min(CASE WHEN due_boot = ?2 THEN due_ms ELSE 0 END) FROM main.busbar_exception"
                               " WHERE consumer = ?1 AND state <> 3 AND state = 2";
static const char READ_DUE[] = READ_COLUMNS " WHERE consumer = ?1 AND state <> 3 AND state = 2 AND n > ?4"
                                            " AND lane IN (0, 1, 2)"
                                            " AND (due_boot <> ?2 OR due_ms <= ?3) ORDER BY n LIMIT 1";
static const char READ_AFTER[] = READ_COLUMNS " WHERE consumer = ?1 AND lane = ?2 AND seq > ?3 ORDER BY seq LIMIT 1";
static const char READ_AT[] = READ_COLUMNS " WHERE consumer = ?1 AND lane = ?2 AND seq = ?3";
static const char READ_ANY[] = READ_COLUMNS " WHERE lane = ?1 AND seq = ?2 ORDER BY n LIMIT 1";

int bb_exception_add(bb_store *store, const bb_failure *failure)
{
    assert((unsigned)failure->key.lane < BUSBAR_LANE_COUNT);
    const int64_t values[] = {failure->consumer,
                              (int64_t)failure->key.lane,
                              (int64_t)failure->state,
                              failure->attempts,
                              0,
                              failure->boot,
                              failure->due_ms,
                              failure->wait_ms,
                              failure->age_ms,
                              failure->now_ms,
                              failure->key.seq,
                              failure->spent};
    sqlite3_stmt *stmt;
    int result = bb_store_prepare_with(store, ADD[failure->key.lane], values, 12, &stmt);
    if (result < 0)
        return result;
    bb_bind_text(store, stmt, 5, failure->reason);
    return bb_store_run(store, stmt);
}

int bb_exception_bytes(bb_store *store, busbar_lane lane, int64_t seq, int64_t *out_size_bytes)
{
    *out_size_bytes = 0;
    int result = bb_store_integer(store, BYTES[lane], &seq, 1, out_size_bytes);
    return result < 0 ? result : BUSBAR_OK;
}

/* BB_ROW if the statement that has just run changed a row. */
static int changed(bb_store *store, int result)
{
    return result == BUSBAR_OK && store->sql->changes(store->db) > 0 ? BB_ROW : result;
}

int bb_exception_update(bb_store *store, const bb_failure *failure)
{
    const int64_t values[] = {(int64_t)failure->state,
                              failure->attempts,
                              0,
                              failure->boot,
                              failure->due_ms,
                              failure->wait_ms,
                              failure->age_ms,
                              failure->now_ms,
                              failure->key.n,
                              (int64_t)failure->key.lane,
                              failure->key.seq,
                              failure->consumer,
                              failure->spent};
    sqlite3_stmt *stmt;
    int result = bb_store_prepare_with(store, UPDATE, values, 13, &stmt);
    if (result < 0)
        return result;
    bb_bind_text(store, stmt, 3, failure->reason);
    return changed(store, bb_store_run(store, stmt));
}

int bb_exception_delete(bb_store *store, int64_t consumer, const bb_exception_key *key)
{
    int64_t values[] = {key->n, (int64_t)key->lane, key->seq, consumer};
    return changed(store, bb_store_change(store, DELETE, values, 4));
}

int bb_exception_forget(bb_store *store, int64_t n)
{
    return bb_store_change(store, FORGET, &n, 1);
}

static void take_retry(bb_store *store, sqlite3_stmt *stmt, int column, busbar_retry *inout_retry)
{
    const char *text = bb_column_text(store, stmt, column);
    if (text)
        (void)bb_backoff_read(text, inout_retry); /* what is no policy (written by hand) is the consumer's own */
}

int bb_exception_history(bb_store *store, const bb_exception_key *key, bb_history *inout_history)
{
    int64_t values[] = {key->n, (int64_t)key->lane, key->seq};
    bool logged = key->n == 0;
    sqlite3_stmt *stmt;
    int result =
        logged ? bb_log_policy(store, key->lane, key->seq, &stmt) : bb_store_find(store, HISTORY, values, 3, &stmt);
    if (result != BB_ROW)
        return result;
    if (!logged) {
        inout_history->wait_ms = bb_column_integer(store, stmt, 0);
        inout_history->age_ms = bb_column_integer(store, stmt, 1);
        inout_history->last_boot = bb_column_integer(store, stmt, 2);
        inout_history->last_ms = bb_column_integer(store, stmt, 3);
        inout_history->attempts = (uint32_t)bb_column_integer(store, stmt, 4);
    }
    take_retry(store, stmt, logged ? 0 : 5, &inout_history->retry);
    bb_store_end(store, stmt);
    return BUSBAR_OK;
}

int bb_exception_release(bb_store *store, int64_t consumer, busbar_order order, const bb_exception_key *key)
{
    int64_t values[] = {consumer, (int64_t)key->lane, key->n, key->seq};
    if (order == BUSBAR_ORDER_NONE || key->n == 0)
        return BUSBAR_OK;
    return bb_store_change(store, order == BUSBAR_ORDER_STRICT ? RELEASE_LANE : RELEASE_KEY, values, 4);
}

int bb_exception_unpark(bb_store *store, int64_t consumer, const bb_exception_key *key)
{
    int64_t values[] = {consumer, (int64_t)key->lane, key->seq};
    return bb_store_change(store, UNPARK, values, 3);
}

int bb_exception_free(bb_store *store, int64_t consumer, busbar_order order)
{
    return changed(store, bb_store_change(store, FREE[order], &consumer, 1));
}

int bb_exception_reorder(bb_store *store, int64_t consumer, busbar_order order)
{
    int result = bb_exception_free(store, consumer, order);
    return result < 0 || order == BUSBAR_ORDER_NONE ? result : bb_store_change(store, PARK[order], &consumer, 1);
}

int bb_exception_blocked(bb_store *store, int64_t consumer, busbar_order order, const bb_exception_key *key,
                         bool *out_blocked)
{
    int64_t values[] = {consumer, (int64_t)key->lane, key->n};
    int64_t found = 0;
    *out_blocked = false;
    if (order == BUSBAR_ORDER_NONE)
        return BUSBAR_OK;
    int result = bb_store_integer(store, order == BUSBAR_ORDER_STRICT ? OTHERS_LANE : OTHERS_KEY, values, 3, &found);
    *out_blocked = result == BB_ROW;
    return result < 0 ? result : BUSBAR_OK;
}

int bb_exception_revive(bb_store *store, const bb_exception_key *key, busbar_state state)
{
    int64_t values[] = {key->n, (int64_t)state};
    return bb_store_change(store, REVIVE, values, 2);
}

int bb_exception_hurry(bb_store *store, const bb_exception_key *key)
{
    return bb_store_change(store, HURRY, &key->n, 1);
}

int bb_exception_beyond(bb_store *store, int64_t consumer, uint32_t keep, int64_t *out_until)
{
    int64_t values[] = {consumer, keep};
    *out_until = 0;
    int result = bb_store_integer(store, BEYOND, values, 2, out_until);
    return result < 0 ? result : BUSBAR_OK;
}

int bb_exception_next_dead(bb_store *store, const bb_dead_choice *choice, int64_t after, bb_exception_key *out_key)
{
    int64_t values[] = {choice->consumer, after, choice->until, choice->before_ms, INT64_MIN};
    sqlite3_stmt *stmt;
    if (choice->boot != 0) {
        values[2] = choice->boot;
        values[4] = choice->former_boots ? INT64_MAX : INT64_MIN;
    }
    int result = choice->boot != 0 ? bb_store_find(store, DEAD_OLDER, values, 5, &stmt)
                                   : bb_store_find(store, DEAD_UNTIL, values, 3, &stmt);
    if (result != BB_ROW)
        return result;
    out_key->n = bb_column_integer(store, stmt, 0);
    out_key->lane = (busbar_lane)bb_column_integer(store, stmt, 1);
    bb_store_end(store, stmt);
    return BB_ROW;
}

int bb_exception_count(bb_store *store, int64_t consumer, int32_t out_count[BUSBAR_LANE_COUNT])
{
    const int64_t values[] = {consumer};
    sqlite3_stmt *stmt;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        out_count[lane] = 0;
    int result = bb_store_prepare_with(store, COUNT, values, 1, &stmt);
    if (result < 0)
        return result;
    while ((result = bb_store_step(store, stmt)) == BB_ROW) {
        int64_t lane = bb_column_integer(store, stmt, 0);
        if (lane >= 0 && lane < BUSBAR_LANE_COUNT)
            out_count[lane] = (int32_t)bb_column_integer(store, stmt, 1);
    }
    if (result == BUSBAR_OK)
        bb_store_end(store, stmt);
    return result;
}

int bb_exception_holds(bb_store *store, int64_t consumer, busbar_lane lane, const char *key, bool *out_holds)
{
    const int64_t values[] = {consumer, (int64_t)lane};
    sqlite3_stmt *stmt;
    int result = bb_store_prepare_with(store, HOLDS, values, 2, &stmt);
    if (result < 0)
        return result;
    bb_bind_text(store, stmt, 3, key);
    result = bb_store_step(store, stmt);
    if (result < 0)
        return result;
    bb_store_end(store, stmt);
    *out_holds = result == BB_ROW;
    return BUSBAR_OK;
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
    return bb_store_find_after(store, READ_DUE, values, 4, BB_EXCEPTION_N, out_stmt);
}

int bb_exception_read_after(bb_store *store, int64_t consumer, busbar_lane lane, int64_t after, sqlite3_stmt **out_stmt)
{
    int64_t values[] = {consumer, (int64_t)lane, after};
    return bb_store_find_after(store, READ_AFTER, values, 3, BB_EXCEPTION_LOG + BB_LOG_SEQ, out_stmt);
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
