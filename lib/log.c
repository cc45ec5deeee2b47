/* SPDX-License-Identifier: MIT */
#include "log.h"

#include <assert.h>

const busbar_lane bb_lane_order[BUSBAR_LANE_COUNT] = {BUSBAR_URGENT, BUSBAR_NORMAL, BUSBAR_BULK};

#define TABLE_NORMAL "main.busbar_log_normal"
#define TABLE_URGENT "main.busbar_log_urgent"
#define TABLE_BULK   "main.busbar_log_bulk"

/* A text per lane, indexed by lane. */
#define PER_LANE(text)                                                                                                 \
    {                                                                                                                  \
        text(TABLE_NORMAL), text(TABLE_URGENT), text(TABLE_BULK)                                                       \
    }

#define APPEND_TEXT(table)                                                                                             \
    "INSERT INTO " table " (kind, session, at_ms, id, subject, key, ext, ttl_ms, data)"                                \
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
#define COLUMNS               "seq, kind, session, at_ms, id, subject, key, ext, ttl_ms, data"
#define SCAN_TEXT(table)      "SELECT " COLUMNS " FROM " table " WHERE seq > ?1 AND seq <= ?2 ORDER BY seq"
#define READ_NEXT_TEXT(table) "SELECT " COLUMNS " FROM " table " WHERE seq > ?1 ORDER BY seq LIMIT 1"
#define READ_DATED_TEXT(table)                                                                                         \
    "SELECT " COLUMNS " FROM " table " WHERE seq > ?1 AND seq <= ?1 + 256 AND session <> 0 ORDER BY seq LIMIT 1"
#define FIRST_TEXT(table) "SELECT coalesce(min(seq), 0) FROM " table
#define PRUNE_TEXT(table)                                                                                              \
    "DELETE FROM " table " WHERE seq < (SELECT min(seq) FROM " table ") + ?2 AND seq <= ?1"                            \
    " AND seq < (SELECT max(seq) FROM " table ")"

static const char *const APPEND[BUSBAR_LANE_COUNT] = PER_LANE(APPEND_TEXT);
static const char *const SCAN[BUSBAR_LANE_COUNT] = PER_LANE(SCAN_TEXT);
static const char *const READ_NEXT[BUSBAR_LANE_COUNT] = PER_LANE(READ_NEXT_TEXT);
static const char *const READ_DATED[BUSBAR_LANE_COUNT] = PER_LANE(READ_DATED_TEXT);
static const char *const FIRST[BUSBAR_LANE_COUNT] = PER_LANE(FIRST_TEXT);
static const char *const PRUNE[BUSBAR_LANE_COUNT] = PER_LANE(PRUNE_TEXT);
#define FORGET_TEXT(table) "DELETE FROM main.busbar_policy WHERE lane = ?1 AND seq < (SELECT min(seq) FROM " table ")"
static const char *const FORGET_POLICIES[BUSBAR_LANE_COUNT] = PER_LANE(FORGET_TEXT);
static const char ADD_POLICY[] = "INSERT INTO main.busbar_policy (lane, seq, retry) VALUES (?1, ?2, ?3)";
static const char READ_POLICY[] = "SELECT retry FROM main.busbar_policy WHERE lane = ?1 AND seq = ?2";
static const char HEADS[] = "SELECT (SELECT max(seq) FROM " TABLE_NORMAL "), (SELECT max(seq) FROM " TABLE_URGENT
                            "), (SELECT max(seq) FROM " TABLE_BULK ")";

int bb_log_prepare(bb_store *store, const char *sql, const bb_log_row *row, sqlite3_stmt **out_stmt)
{
    const int64_t values[] = {row->kind, row->session, row->at_ms};
    sqlite3_stmt *stmt = NULL;
    int result = bb_store_prepare_with(store, sql, values, 3, &stmt);
    if (result < 0)
        return result;
    bb_bind_text(store, stmt, 4, row->id);
    bb_bind_text(store, stmt, 5, row->subject);
    bb_bind_text(store, stmt, 6, row->key);
    bb_bind_text(store, stmt, 7, row->extensions);
    if (row->ttl_ms > 0)
        bb_bind_integer(store, stmt, 8, row->ttl_ms);
    else
        bb_bind_null(store, stmt, 8);
    if (row->data)
        bb_bind_bytes(store, stmt, 9, row->data, row->data_size_bytes, row->data_is_text);
    else
        bb_bind_null(store, stmt, 9);
    *out_stmt = stmt;
    return BUSBAR_OK;
}

int bb_log_append(bb_store *store, busbar_lane lane, const bb_log_row *row, int64_t *out_seq)
{
    assert((unsigned)lane < BUSBAR_LANE_COUNT);
    sqlite3_stmt *stmt;
    int result = bb_log_prepare(store, APPEND[lane], row, &stmt);
    if (result < 0)
        return result;
    sqlite3_int64 application_rowid = store->sql->last_insert_rowid(store->db);
    result = bb_store_run(store, stmt);
    if (result == BUSBAR_OK)
        *out_seq = store->sql->last_insert_rowid(store->db);
    store->sql->set_last_insert_rowid(store->db, application_rowid);
    return result == BUSBAR_OK && row->retry ? bb_log_add_policy(store, lane, *out_seq, row->retry) : result;
}

int bb_log_add_policy(bb_store *store, busbar_lane lane, int64_t seq, const char *retry)
{
    const int64_t values[] = {(int64_t)lane, seq};
    sqlite3_stmt *stmt;
    int result = bb_store_prepare_with(store, ADD_POLICY, values, 2, &stmt);
    if (result < 0)
        return result;
    bb_bind_text(store, stmt, 3, retry);
    return bb_store_run(store, stmt);
}

int bb_log_policy(bb_store *store, busbar_lane lane, int64_t seq, sqlite3_stmt **out_stmt)
{
    int64_t values[] = {(int64_t)lane, seq};
    return bb_store_find(store, READ_POLICY, values, 2, out_stmt);
}

int bb_log_heads(bb_store *store, int64_t out_heads[BUSBAR_LANE_COUNT])
{
    sqlite3_stmt *stmt;
    int result = bb_store_prepare(store, HEADS, &stmt);
    if (result == BUSBAR_OK)
        result = bb_store_step(store, stmt);
    if (result < 0)
        return result;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        out_heads[lane] = bb_column_integer(store, stmt, lane);
    bb_store_end(store, stmt);
    return BUSBAR_OK;
}

int bb_log_first(bb_store *store, busbar_lane lane, int64_t *out_first)
{
    int result = bb_store_integer(store, FIRST[lane], NULL, 0, out_first);
    return result < 0 ? result : BUSBAR_OK;
}

int bb_log_scan(bb_store *store, busbar_lane lane, int64_t after, int64_t until, sqlite3_stmt **out_stmt)
{
    const int64_t values[] = {after, until};
    return bb_store_prepare_with(store, SCAN[lane], values, 2, out_stmt);
}

int bb_log_read_next(bb_store *store, busbar_lane lane, int64_t after, sqlite3_stmt **out_stmt)
{
    return bb_store_find_after(store, READ_NEXT[lane], &after, 1, BB_LOG_SEQ, out_stmt);
}

int bb_log_read_dated(bb_store *store, busbar_lane lane, int64_t after, sqlite3_stmt **out_stmt)
{
    return bb_store_find_after(store, READ_DATED[lane], &after, 1, BB_LOG_SEQ, out_stmt);
}

int bb_log_prune(bb_store *store, busbar_lane lane, int64_t until, uint32_t count_max, int64_t *out_count)
{
    int64_t values[] = {until, count_max};
    int64_t lane_value = (int64_t)lane;
    int result = bb_store_change(store, PRUNE[lane], values, 2);
    if (result < 0)
        return result;
    *out_count = store->sql->changes(store->db);
    return bb_store_change(store, FORGET_POLICIES[lane], &lane_value, 1);
}
