/* SPDX-License-Identifier: MIT */
#include "gap.h"

#include "text.h"

#define LAST "(SELECT max(n) FROM main.busbar_gap WHERE consumer = ?1 AND lane = ?2)"
#define MANY "(SELECT count(*) FROM main.busbar_gap WHERE consumer = ?1 AND lane = ?2) >= ?7"

static const char GROW[] = "UPDATE main.busbar_gap SET first = min(first, ?4), last = max(last, ?5), count = count + ?6"
                           " WHERE n = " LAST " AND token IS NULL AND ((reason = ?3 AND last = ?4 - 1) OR " MANY ")";
/* A number is never used again as long as a later one is there, and the id of an event is not made of it. */
static const char ADD[] = "INSERT INTO main.busbar_gap (consumer, lane, reason, first, last, count)"
                          " VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
static const char LAST_OPEN[] = "SELECT n, count FROM main.busbar_gap WHERE n = " LAST " AND token IS NULL";
static const char SHRINK[] = "UPDATE main.busbar_gap SET count = count - ?2 WHERE n = ?1";
static const char SEAL[] = "UPDATE main.busbar_gap SET token = ?2 WHERE n = ?1";
static const char DELETE[] = "DELETE FROM main.busbar_gap WHERE n = ?1 AND token = ?2";
static const char DELETE_OPEN[] = "DELETE FROM main.busbar_gap WHERE n = ?1 AND token IS NULL";
static const char DELETE_ALL[] = "DELETE FROM main.busbar_gap WHERE consumer = ?1";
static const char TOTAL[] = "SELECT count(*), coalesce(sum(count), 0) FROM main.busbar_gap WHERE consumer = ?1";
static const char NEXT[] = "SELECT n, reason, first, last, count, token FROM main.busbar_gap"
                           " WHERE consumer = ?1 AND lane = ?2 AND n > ?3 ORDER BY n LIMIT 1";
static const char ANY[] = "SELECT 1 FROM main.busbar_gap WHERE consumer = ?1 LIMIT 1";

const char *bb_gap_reason_name(int64_t reason)
{
    static const char *const names[] = {"missing", "expired", "evicted", "aged", "idle"};
    return reason >= BB_GAP_EXPIRED && reason <= BB_GAP_IDLE ? names[reason] : names[0];
}

int bb_gap_add(bb_store *store, int64_t consumer, busbar_lane lane, const bb_gap *gap)
{
    int64_t values[] = {consumer, (int64_t)lane, gap->reason, gap->first, gap->last, gap->count, BB_GAP_MAX};
    int result = bb_store_change(store, GROW, values, 7);
    if (result < 0 || store->sql->changes(store->db) > 0)
        return result;
    return bb_store_change(store, ADD, values, 6);
}

int bb_gap_shrink(bb_store *store, int64_t consumer, busbar_lane lane, int64_t count)
{
    int64_t place[] = {consumer, (int64_t)lane};
    while (count > 0) {
        sqlite3_stmt *stmt;
        int result = bb_store_find(store, LAST_OPEN, place, 2, &stmt);
        if (result != BB_ROW) /* it was told already: the receiver knows of more than was lost */
            return result;
        int64_t n = bb_column_integer(store, stmt, 0);
        int64_t lost = bb_column_integer(store, stmt, 1);
        bb_store_end(store, stmt);
        int64_t values[] = {n, count};
        result =
            lost > count ? bb_store_change(store, SHRINK, values, 2) : bb_store_change(store, DELETE_OPEN, values, 1);
        if (result < 0)
            return result;
        count -= lost;
    }
    return BUSBAR_OK;
}

static int change_with_token(bb_store *store, const char *sql, int64_t n, const char *token)
{
    sqlite3_stmt *stmt;
    int result = bb_store_prepare(store, sql, &stmt);
    if (result < 0)
        return result;
    bb_bind_integer(store, stmt, 1, n);
    bb_bind_text(store, stmt, 2, token);
    return bb_store_run(store, stmt);
}

int bb_gap_seal(bb_store *store, int64_t n, const char *token)
{
    return change_with_token(store, SEAL, n, token);
}

int bb_gap_delete(bb_store *store, const bb_gap *gap)
{
    return change_with_token(store, DELETE, gap->n, gap->token);
}

int bb_gap_delete_all(bb_store *store, int64_t consumer)
{
    return bb_store_change(store, DELETE_ALL, &consumer, 1);
}

int bb_gap_any(bb_store *store, int64_t consumer)
{
    int64_t found = 0;
    return bb_store_integer(store, ANY, &consumer, 1, &found);
}

int bb_gap_next(bb_store *store, int64_t consumer, busbar_lane lane, int64_t after, bb_gap *out_gap)
{
    int64_t values[] = {consumer, (int64_t)lane, after};
    sqlite3_stmt *stmt;
    int result = bb_store_find_after(store, NEXT, values, 3, 0, &stmt);
    if (result != BB_ROW)
        return result;
    *out_gap = (bb_gap){
        .n = bb_column_integer(store, stmt, 0),
        .reason = bb_column_integer(store, stmt, 1),
        .first = bb_column_integer(store, stmt, 2),
        .last = bb_column_integer(store, stmt, 3),
        .count = bb_column_integer(store, stmt, 4),
    };
    const char *token = bb_column_text(store, stmt, 5);
    bb_text_copy(out_gap->token, sizeof out_gap->token, token);
    bb_store_end(store, stmt);
    return BB_ROW;
}

int bb_gap_total(bb_store *store, int64_t consumer, int64_t *out_count, int64_t *out_events)
{
    sqlite3_stmt *stmt;
    int result = bb_store_find(store, TOTAL, &consumer, 1, &stmt);
    if (result != BB_ROW)
        return result;
    *out_count = bb_column_integer(store, stmt, 0);
    *out_events = bb_column_integer(store, stmt, 1);
    bb_store_end(store, stmt);
    return BUSBAR_OK;
}
