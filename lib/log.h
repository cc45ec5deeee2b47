/* SPDX-License-Identifier: MIT */
/* The append-only logs, one table per lane. A position (seq) is never used again: the newest row of a lane is never deleted. */
#ifndef BB_LOG_H
#define BB_LOG_H

#include "store.h"

/* One row to append. Absent members are NULL or 0. */
typedef struct bb_log_row {
    int64_t kind;
    int64_t session;
    int64_t at_ms;
    const char *id;
    const char *subject;
    const char *key;
    const char *extensions;
    int64_t ttl_ms;
    const char *retry;
    const void *data;
    size_t data_size_bytes;
    bool data_is_text;
} bb_log_row;

/* The columns that bb_log_read and bb_log_scan give, in this order. */
enum bb_log_column {
    BB_LOG_SEQ,
    BB_LOG_KIND,
    BB_LOG_SESSION,
    BB_LOG_AT_MS,
    BB_LOG_ID,
    BB_LOG_SUBJECT,
    BB_LOG_KEY,
    BB_LOG_EXTENSIONS,
    BB_LOG_TTL_MS,
    BB_LOG_DATA
};

/* Lanes in the order in which workers take them. */
extern const busbar_lane bb_lane_order[BUSBAR_LANE_COUNT];

/* Prepares a statement whose parameters 1 to 9 are a row's kind, session, at_ms, id, subject, key, ext, ttl_ms and data. */
int bb_log_prepare(bb_store *store, const char *sql, const bb_log_row *row, sqlite3_stmt **out_stmt);

/* Appends a row, keeps the connection's last_insert_rowid, gives the position. */
int bb_log_append(bb_store *store, busbar_lane lane, const bb_log_row *row, int64_t *out_seq);

/* The retry policy of an event that has one of its own (bb_backoff_write): bb_log_append adds that of the row by itself. */
int bb_log_add_policy(bb_store *store, busbar_lane lane, int64_t seq, const char *retry);
/* BB_ROW with the policy as the first column (bb_store_end it), or BUSBAR_OK: it has none. */
int bb_log_policy(bb_store *store, busbar_lane lane, int64_t seq, sqlite3_stmt **out_stmt);

/* Positions of the newest rows (0: never any), indexed by lane. */
int bb_log_heads(bb_store *store, int64_t out_heads[BUSBAR_LANE_COUNT]);
/* Position of the oldest stored row of a lane, 0 if none. */
int bb_log_first(bb_store *store, busbar_lane lane, int64_t *out_first);

/*
 * A scan of the rows after < seq <= until, in order, with bb_log_column's columns. bb_store_step it; bb_store_end it before
 * the next scan of the lane.
 */
int bb_log_scan(bb_store *store, busbar_lane lane, int64_t after, int64_t until, sqlite3_stmt **out_stmt);
/* One row: the first after `after`. BB_ROW with the statement on it (bb_store_end it), or BUSBAR_OK: none. */
int bb_log_read_next(bb_store *store, busbar_lane lane, int64_t after, sqlite3_stmt **out_stmt);

/* The same, but rows of plain SQL, which have no session and no age, are passed over: up to 256 of them. */
int bb_log_read_dated(bb_store *store, busbar_lane lane, int64_t after, sqlite3_stmt **out_stmt);

/* Deletes at most `count_max` of the oldest rows, none above `until` and never the newest. *out_count: how many. */
int bb_log_prune(bb_store *store, busbar_lane lane, int64_t until, uint32_t count_max, int64_t *out_count);

#endif
