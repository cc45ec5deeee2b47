/* SPDX-License-Identifier: MIT */
#include "given.h"

static const char FIND[] = "SELECT lane, seq FROM main.busbar_given WHERE id = ?1 AND source = ?2";
static const char ADD[] = "INSERT INTO main.busbar_given (id, source, lane, seq) VALUES (?1, ?2, ?3, ?4)";
static const char RANGE[] = "SELECT coalesce((SELECT max(n) FROM main.busbar_given), 0)"
                            " - coalesce((SELECT min(n) FROM main.busbar_given), 1) + 1";
static const char PRUNE[] = "DELETE FROM main.busbar_given WHERE n <= (SELECT max(n) FROM main.busbar_given) - ?1"
                            " AND n < (SELECT min(n) FROM main.busbar_given) + ?2";
/* Of the oldest ones those whose event is gone; ?2 to ?4 are the oldest positions that are stored, by lane. */
static const char FORGET[] = "DELETE FROM main.busbar_given WHERE n IN ("
                             "SELECT n FROM (SELECT n, lane, seq FROM main.busbar_given ORDER BY n LIMIT 256)"
                             " WHERE seq < CASE lane WHEN 0 THEN ?2 WHEN 1 THEN ?3 ELSE ?4 END LIMIT ?1)";
static const char EACH[] = "SELECT n, lane, seq FROM main.busbar_given WHERE id = ?1 AND n > ?2 ORDER BY n LIMIT 1";

int bb_given_find(bb_store *store, const char *id, const char *source, busbar_lane *out_lane, int64_t *out_seq)
{
    sqlite3_stmt *stmt;
    int result = bb_store_prepare(store, FIND, &stmt);
    if (result < 0)
        return result;
    bb_bind_text(store, stmt, 1, id);
    bb_bind_text(store, stmt, 2, source);
    result = bb_store_step(store, stmt);
    if (result < 0)
        return result;
    if (result == BB_ROW) {
        *out_lane = (busbar_lane)bb_column_integer(store, stmt, 0);
        *out_seq = bb_column_integer(store, stmt, 1);
    }
    bb_store_end(store, stmt);
    return result;
}

int bb_given_add(bb_store *store, const char *id, const char *source, busbar_lane lane, int64_t seq)
{
    sqlite3_stmt *stmt;
    int result = bb_store_prepare(store, ADD, &stmt);
    if (result < 0)
        return result;
    bb_bind_text(store, stmt, 1, id);
    bb_bind_text(store, stmt, 2, source);
    bb_bind_integer(store, stmt, 3, (int64_t)lane);
    bb_bind_integer(store, stmt, 4, seq);
    return bb_store_run(store, stmt);
}

int bb_given_exceeds(bb_store *store, uint32_t keep, uint32_t slack, bool *out_exceeds)
{
    int64_t range = 0;
    int result = bb_store_integer(store, RANGE, NULL, 0, &range);
    if (result < 0)
        return result;
    *out_exceeds = range >= (int64_t)keep + (int64_t)slack;
    return BUSBAR_OK;
}

int bb_given_prune(bb_store *store, uint32_t keep, uint32_t count_max)
{
    int64_t values[] = {keep, count_max};
    return bb_store_change(store, PRUNE, values, 2);
}

int bb_given_forget(bb_store *store, const int64_t firsts[BUSBAR_LANE_COUNT], uint32_t count_max, int64_t *out_count)
{
    int64_t values[] = {count_max, firsts[BUSBAR_NORMAL], firsts[BUSBAR_URGENT], firsts[BUSBAR_BULK]};
    *out_count = 0;
    int result = bb_store_change(store, FORGET, values, 4);
    if (result == BUSBAR_OK)
        *out_count = store->sql->changes(store->db);
    return result;
}

int bb_given_each(bb_store *store, const char *id, bb_given_fn *fn, void *ctx)
{
    int64_t after = 0;
    for (;;) {
        sqlite3_stmt *stmt;
        int result = bb_store_prepare(store, EACH, &stmt);
        if (result < 0)
            return result;
        bb_bind_text(store, stmt, 1, id);
        bb_bind_integer(store, stmt, 2, after);
        result = bb_store_step(store, stmt);
        if (result == BB_ROW)
            result = bb_store_check_after(store, stmt, 0, after);
        if (result < 0)
            return result;
        after = bb_column_integer(store, stmt, 0);
        busbar_lane lane = result == BB_ROW ? (busbar_lane)bb_column_integer(store, stmt, 1) : BUSBAR_NORMAL;
        int64_t seq = result == BB_ROW ? bb_column_integer(store, stmt, 2) : 0;
        bb_store_end(store, stmt);
        if (result != BB_ROW)
            return BUSBAR_OK;
        result = fn(lane, seq, ctx);
        if (result != 0)
            return result;
    }
}
