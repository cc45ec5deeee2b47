/* SPDX-License-Identifier: MIT */
#include "consumer.h"

#include <assert.h>
#include <string.h>

#include "exception.h"
#include "gap.h"
#include "log.h"
#include "poison.h"
#include "text.h"

static const char FIND[] =
    "SELECT id, class, pattern IS ?2 AND filter IS ?3 AND limit_ms = ?4, ordering FROM main.busbar_consumer"
    " WHERE name = ?1";
static const char INSERT[] = "INSERT INTO main.busbar_consumer (id, name, class, pattern, filter, limit_ms, ordering)"
                             " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
/* Numbers are never used again: a worker of a consumer that was removed must not drive another one. */
static const char NEXT_ID[] = "SELECT next_consumer FROM main.busbar_meta WHERE id = 1";
static const char COUNT_ID[] = "UPDATE main.busbar_meta SET next_consumer = next_consumer + 1 WHERE id = 1";
static const char DESCRIBE[] = "UPDATE main.busbar_consumer SET pattern = ?2, filter = ?3, limit_ms = ?4, ordering = ?5"
                               " WHERE id = ?1";
static const char INSERT_CURSOR[] =
    "INSERT INTO main.busbar_cursor (consumer, lane, start, cursor) VALUES (?1, ?2, ?3, ?3)";
static const char CURSORS[] = "SELECT lane, start, cursor FROM main.busbar_cursor WHERE consumer = ?1";
static const char ADVANCE[] =
    "UPDATE main.busbar_cursor SET cursor = ?3, evicted = evicted + ?12, filtered = filtered + ?4, delivered = "
    "delivered + ?5, dead = dead + ?6,"
    " expired = expired + ?7, unmatched = unmatched + ?8, rate_mhz = ?9, moved_boot = ?10, moved_ms = ?11"
    " WHERE consumer = ?1 AND lane = ?2";
static const char CURSOR[] = "SELECT cursor FROM main.busbar_cursor WHERE consumer = ?1 AND lane = ?2";
static const char BEHIND[] = "SELECT consumer FROM main.busbar_cursor WHERE consumer > ?1 AND lane = ?2 AND cursor < ?3"
                             " ORDER BY consumer LIMIT 1";
static const char EVICT[] = "UPDATE main.busbar_cursor SET evicted = evicted + (?3 - cursor), cursor = ?3"
                            " WHERE consumer = ?1 AND lane = ?2 AND cursor < ?3";
static const char ACCOUNT[] = "UPDATE main.busbar_cursor SET dead = dead + ?3, dropped = dropped + ?4,"
                              " replayed = replayed + ?5 WHERE consumer = ?1 AND lane = ?2";
/* On the row of one lane: the page is written by the batch's end anyway. */
static const char BEGIN_BATCH[] = "UPDATE main.busbar_cursor SET batch = batch + 1 WHERE consumer = ?1 AND lane = 0";
static const char LAST_BATCH[] = "SELECT batch FROM main.busbar_cursor WHERE consumer = ?1 AND lane = 0";
/* ?6: something was delivered. Only that ends a failure of events; each sort keeps its own instant while the other lasts. */
#define FAILED(instant, column)                                                                                        \
    " " column " = CASE WHEN ?2 IS NULL OR ?3 THEN CASE WHEN ?6 THEN 0 ELSE " column " END"                            \
    " WHEN ?6 OR failed_ms = 0 THEN " instant " ELSE " column " END,"
#define OFFLINE(instant, column)                                                                                       \
    " " column " = CASE WHEN NOT ?3 THEN 0 WHEN offline THEN " column " ELSE " instant " END"
static const char NOTE_ERROR[] =
    "UPDATE main.busbar_consumer SET last_error = ?2, offline = ?3," FAILED("?4", "failed_boot")
        FAILED("?5", "failed_ms") OFFLINE("?4", "offline_boot") "," OFFLINE(
            "?5", "offline_ms") " WHERE id = ?1 AND (last_error IS NOT ?2 OR offline <> ?3 OR (?6 AND failed_ms <> 0))";
static const char FAILING[] = "SELECT offline, CASE WHEN offline THEN offline_boot ELSE failed_boot END,"
                              " CASE WHEN offline THEN offline_ms ELSE failed_ms END"
                              " FROM main.busbar_consumer WHERE id = ?1";
static const char FLOOR[] = "SELECT min(cursor) FROM main.busbar_cursor WHERE lane = ?1";
static const char NEXT[] =
    "SELECT id, class, name, pattern, owner, last_error, ordering, limit_ms, filter FROM main.busbar_consumer"
    " WHERE name > ?1 ORDER BY name LIMIT 1";
static const char PROGRESS[] = "SELECT lane, start, cursor, filtered, delivered, dead, expired, evicted, rate_mhz,"
                               " (SELECT count(*) FROM main.busbar_exception AS e"
                               "  WHERE e.consumer = c.consumer AND e.lane = c.lane AND e.state <> 3),"
                               " (SELECT count(*) FROM main.busbar_exception AS e"
                               "  WHERE e.consumer = c.consumer AND e.lane = c.lane AND e.state <> 3 AND e.state = 4),"
                               " dropped, replayed, unmatched"
                               " FROM main.busbar_cursor AS c WHERE consumer = ?1 ORDER BY moved_boot, moved_ms";
static const char MOVED[] = "SELECT coalesce(max(moved_ms), 0) FROM main.busbar_cursor"
                            " WHERE consumer = ?1 AND moved_boot = ?2";
static const char DELETE_CONSUMER[] = "DELETE FROM main.busbar_consumer WHERE id = ?1";
static const char DELETE_CURSORS[] = "DELETE FROM main.busbar_cursor WHERE consumer = ?1";
static const char DELETE_EXCEPTIONS[] = "DELETE FROM main.busbar_exception WHERE consumer = ?1";

typedef struct found {
    int64_t id;
    int64_t class_;
    bool same; /* but for the order */
    busbar_order order;
} found;

/* BB_ROW when found. */
static int find(bb_store *store, const bb_consumer_desc *desc, found *out)
{
    sqlite3_stmt *stmt;
    int result = bb_store_prepare(store, FIND, &stmt);
    if (result < 0)
        return result;
    bb_bind_text(store, stmt, 1, desc->name);
    bb_bind_text(store, stmt, 2, desc->pattern);
    bb_bind_text(store, stmt, 3, desc->filter);
    bb_bind_integer(store, stmt, 4, desc->limit_ms);
    result = bb_store_step(store, stmt);
    if (result < 0)
        return result;
    if (result == BB_ROW) {
        out->id = bb_column_integer(store, stmt, 0);
        out->class_ = bb_column_integer(store, stmt, 1);
        out->same = bb_column_integer(store, stmt, 2) != 0;
        out->order = (busbar_order)bb_column_integer(store, stmt, 3);
    }
    bb_store_end(store, stmt);
    return result;
}

static int insert(bb_store *store, const bb_consumer_desc *desc, int64_t *out_id)
{
    sqlite3_stmt *stmt = NULL;
    int64_t id = 0;
    int result = bb_store_integer(store, NEXT_ID, NULL, 0, &id);
    if (result == BB_ROW)
        result = bb_store_execute(store, COUNT_ID);
    const int64_t values[] = {id, 0, (int64_t)desc->class_, 0, 0, desc->limit_ms, (int64_t)desc->order};
    if (result == BUSBAR_OK)
        result = bb_store_prepare_with(store, INSERT, values, 7, &stmt);
    if (result < 0)
        return result;
    bb_bind_text(store, stmt, 2, desc->name);
    bb_bind_text(store, stmt, 4, desc->pattern);
    bb_bind_text(store, stmt, 5, desc->filter);
    *out_id = id;
    return bb_store_run(store, stmt);
}

/* The beginning is the oldest event that the log still has. */
static int start_of(bb_store *store, busbar_lane lane, const int64_t *heads, bool from_beginning, int64_t *out_start)
{
    *out_start = heads[lane];
    if (!from_beginning || heads[lane] == 0)
        return BUSBAR_OK;
    int64_t first = 0;
    int result = bb_log_first(store, lane, &first);
    *out_start = first - 1;
    return result;
}

static int create(bb_store *store, const bb_consumer_desc *desc, int64_t *out_id)
{
    int64_t heads[BUSBAR_LANE_COUNT];
    int result = bb_log_heads(store, heads);
    if (result == BUSBAR_OK)
        result = insert(store, desc, out_id);
    for (int lane = 0; result == BUSBAR_OK && lane < BUSBAR_LANE_COUNT; lane++) {
        int64_t values[] = {*out_id, lane, 0};
        result = start_of(store, (busbar_lane)lane, heads, desc->from_beginning, &values[2]);
        if (result == BUSBAR_OK)
            result = bb_store_change(store, INSERT_CURSOR, values, 3);
    }
    return result;
}

static int describe(bb_store *store, int64_t id, const bb_consumer_desc *desc)
{
    const int64_t values[] = {id, 0, 0, desc->limit_ms, (int64_t)desc->order};
    sqlite3_stmt *stmt;
    int result = bb_store_prepare_with(store, DESCRIBE, values, 5, &stmt);
    if (result < 0)
        return result;
    bb_bind_text(store, stmt, 2, desc->pattern);
    bb_bind_text(store, stmt, 3, desc->filter);
    return bb_store_run(store, stmt);
}

static int fail_named(bb_store *store, int code, const char *before, const char *name, const char *after)
{
    char text[BUSBAR_DETAIL_SIZE];
    bb_text detail = bb_text_on(text, sizeof text);
    bb_text_add(&detail, before);
    bb_text_add(&detail, name);
    bb_text_add(&detail, after);
    return bb_store_fail(store, code, text);
}

int bb_consumer_ensure(bb_store *store, const bb_consumer_desc *desc, int64_t *out_id)
{
    found row = {.id = 0};
    int result = find(store, desc, &row);
    if (result == BUSBAR_OK)
        return create(store, desc, out_id);
    if (result < 0)
        return result;
    if (row.class_ != (int64_t)desc->class_)
        return fail_named(store, BUSBAR_ECLASS, "the name \"", desc->name,
                          desc->class_ == BUSBAR_CLASS_ROUTE
                              ? "\" belongs to a subscription: choose another for the route"
                              : "\" belongs to a route: choose another for the subscription");
    *out_id = row.id;
    if (row.same && row.order == desc->order)
        return BUSBAR_OK;
    result = describe(store, row.id, desc);
    return result == BUSBAR_OK && row.order != desc->order ? bb_exception_reorder(store, row.id, desc->order) : result;
}

int bb_consumer_find(bb_store *store, const char *name, int64_t *out_id)
{
    found row = {.id = 0};
    bb_consumer_desc desc = {.name = name};
    int result = find(store, &desc, &row);
    if (result == BUSBAR_OK)
        return fail_named(store, BUSBAR_ENOTFOUND, "there is no consumer named \"", name, "\"");
    if (result == BB_ROW)
        *out_id = row.id;
    return result < 0 ? result : BUSBAR_OK;
}

int bb_consumer_delete(bb_store *store, int64_t id)
{
    int result = bb_store_change(store, DELETE_EXCEPTIONS, &id, 1);
    if (result == BUSBAR_OK)
        result = bb_gap_delete_all(store, id);
    if (result == BUSBAR_OK)
        result = bb_poison_forget(store, id);
    if (result == BUSBAR_OK)
        result = bb_store_change(store, DELETE_CURSORS, &id, 1);
    if (result == BUSBAR_OK)
        result = bb_store_change(store, DELETE_CONSUMER, &id, 1);
    return result;
}

int bb_consumer_cursors(bb_store *store, int64_t id, bb_cursor out_cursors[BUSBAR_LANE_COUNT])
{
    const int64_t values[] = {id};
    sqlite3_stmt *stmt;
    int result = bb_store_prepare_with(store, CURSORS, values, 1, &stmt);
    if (result < 0)
        return result;
    int count = 0;
    while ((result = bb_store_step(store, stmt)) == BB_ROW) {
        int64_t lane = bb_column_integer(store, stmt, 0);
        if (lane < 0 || lane >= BUSBAR_LANE_COUNT)
            continue;
        out_cursors[lane].start = bb_column_integer(store, stmt, 1);
        out_cursors[lane].cursor = bb_column_integer(store, stmt, 2);
        count++;
    }
    if (result < 0)
        return result;
    bb_store_end(store, stmt);
    return count == BUSBAR_LANE_COUNT
               ? BUSBAR_OK
               : bb_store_fail(store, BUSBAR_EREMOVED, "the consumer was removed by another handle: register it again");
}

static void copy_column(bb_store *store, sqlite3_stmt *stmt, int index, char *out, size_t capacity)
{
    bb_text_copy(out, capacity, bb_column_text(store, stmt, index));
}

int bb_consumer_next(bb_store *store, const char *after, bb_consumer_view *out_view)
{
    sqlite3_stmt *stmt;
    int result = bb_store_prepare(store, NEXT, &stmt);
    if (result < 0)
        return result;
    bb_bind_text(store, stmt, 1, after);
    result = bb_store_step(store, stmt);
    if (result < 0)
        return result;
    if (result == BB_ROW) {
        out_view->id = bb_column_integer(store, stmt, 0);
        out_view->class_ = bb_column_integer(store, stmt, 1);
        copy_column(store, stmt, 2, out_view->name, sizeof out_view->name);
        copy_column(store, stmt, 3, out_view->pattern, sizeof out_view->pattern);
        copy_column(store, stmt, 4, out_view->worker, sizeof out_view->worker);
        copy_column(store, stmt, 5, out_view->last_error, sizeof out_view->last_error);
        out_view->order = (busbar_order)bb_column_integer(store, stmt, 6);
        out_view->limit_ms = bb_column_integer(store, stmt, 7);
        copy_column(store, stmt, 8, out_view->filter, sizeof out_view->filter);
    }
    bb_store_end(store, stmt);
    return result;
}

int bb_consumer_progress(bb_store *store, int64_t id, busbar_progress out_progress[BUSBAR_LANE_COUNT],
                         int64_t *out_rate_mhz)
{
    const int64_t values[] = {id};
    sqlite3_stmt *stmt;
    int result = bb_store_prepare_with(store, PROGRESS, values, 1, &stmt);
    if (result < 0)
        return result;
    *out_rate_mhz = 0;
    while ((result = bb_store_step(store, stmt)) == BB_ROW) {
        int64_t lane = bb_column_integer(store, stmt, 0);
        if (lane < 0 || lane >= BUSBAR_LANE_COUNT)
            continue;
        out_progress[lane] = (busbar_progress){
            .start = bb_column_integer(store, stmt, 1),
            .cursor = bb_column_integer(store, stmt, 2),
            .filtered = bb_column_integer(store, stmt, 3),
            .delivered = bb_column_integer(store, stmt, 4),
            .dead = bb_column_integer(store, stmt, 5),
            .expired = bb_column_integer(store, stmt, 6),
            .evicted = bb_column_integer(store, stmt, 7),
            .retrying = bb_column_integer(store, stmt, 9),
            .parked = bb_column_integer(store, stmt, 10),
            .dropped = bb_column_integer(store, stmt, 11),
            .replayed = bb_column_integer(store, stmt, 12),
            .unmatched = bb_column_integer(store, stmt, 13),
        };
        *out_rate_mhz = bb_column_integer(store, stmt, 8); /* that of the lane that moved last is the newest */
    }
    if (result == BUSBAR_OK)
        bb_store_end(store, stmt);
    return result;
}

int bb_consumer_moved(bb_store *store, int64_t id, int64_t boot, int64_t *out_moved_ms)
{
    int64_t values[] = {id, boot};
    int result = bb_store_integer(store, MOVED, values, 2, out_moved_ms);
    return result < 0 ? result : BUSBAR_OK;
}

int bb_consumer_cursor(bb_store *store, int64_t id, busbar_lane lane, int64_t *out_cursor)
{
    int64_t values[] = {id, (int64_t)lane};
    int result = bb_store_integer(store, CURSOR, values, 2, out_cursor);
    return result < 0 ? result : BUSBAR_OK;
}

int bb_consumer_behind(bb_store *store, busbar_lane lane, int64_t position, int64_t *inout_id)
{
    int64_t values[] = {*inout_id, (int64_t)lane, position};
    return bb_store_integer(store, BEHIND, values, 3, inout_id);
}

int bb_consumer_evict(bb_store *store, int64_t id, busbar_lane lane, int64_t position)
{
    int64_t values[] = {id, (int64_t)lane, position};
    return bb_store_change(store, EVICT, values, 3);
}

/* `lost`: positions between the two cursors that nobody had an outcome for; negative: so many were evicted in vain. */
static int tell_difference(bb_store *store, int64_t id, busbar_lane lane, int64_t stored, int64_t cursor, int64_t lost)
{
    bb_gap gap = {.reason = BB_GAP_MISSING, .first = stored + 1, .last = cursor, .count = lost};
    if (lost == 0)
        return BUSBAR_OK;
    return lost > 0 ? bb_gap_add(store, id, lane, &gap) : bb_gap_shrink(store, id, lane, -lost);
}

int bb_consumer_advance(bb_store *store, int64_t id, busbar_lane lane, const bb_advance *advance, const bb_pace *pace)
{
    int64_t stored = 0;
    int result = bb_consumer_cursor(store, id, lane, &stored);
    int64_t cursor = advance->cursor > stored ? advance->cursor : stored;
    int64_t lost = cursor - stored - advance->passed;
    if (result == BUSBAR_OK)
        result = tell_difference(store, id, lane, stored, cursor, lost);
    if (result < 0)
        return result;
    int64_t values[] = {id,
                        (int64_t)lane,
                        cursor,
                        advance->filtered,
                        advance->delivered,
                        advance->dead,
                        advance->expired,
                        advance->unmatched,
                        pace->rate_mhz,
                        pace->boot,
                        pace->now_ms,
                        lost};
    return bb_store_change(store, ADVANCE, values, sizeof values / sizeof *values);
}

int bb_consumer_account(bb_store *store, int64_t id, busbar_lane lane, const bb_account *account)
{
    int64_t values[] = {id, (int64_t)lane, account->dead, account->dropped, account->replayed};
    return bb_store_change(store, ACCOUNT, values, sizeof values / sizeof *values);
}

int bb_consumer_last_batch(bb_store *store, int64_t id, int64_t *out_batch)
{
    int result = bb_store_integer(store, LAST_BATCH, &id, 1, out_batch);
    return result < 0 ? result : BUSBAR_OK;
}

int bb_consumer_begin_batch(bb_store *store, int64_t id, int64_t *out_batch)
{
    int result = bb_store_change(store, BEGIN_BATCH, &id, 1);
    return result < 0 ? result : bb_consumer_last_batch(store, id, out_batch);
}

int bb_consumer_note_error(bb_store *store, int64_t id, const char *text, bool offline, bool delivered,
                           const bb_pace *now)
{
    const int64_t values[] = {id, 0, text && offline, now->boot, now->now_ms, delivered};
    sqlite3_stmt *stmt;
    int result = bb_store_prepare_with(store, NOTE_ERROR, values, 6, &stmt);
    if (result < 0)
        return result;
    bb_bind_text(store, stmt, 2, text);
    return bb_store_run(store, stmt);
}

int bb_consumer_failing(bb_store *store, int64_t id, bool *out_offline, int64_t *out_boot, int64_t *out_since_ms)
{
    sqlite3_stmt *stmt;
    int result = bb_store_find(store, FAILING, &id, 1, &stmt);
    if (result != BB_ROW)
        return result;
    *out_offline = bb_column_integer(store, stmt, 0) != 0;
    *out_boot = bb_column_integer(store, stmt, 1);
    *out_since_ms = bb_column_ms(store, stmt, 2);
    bb_store_end(store, stmt);
    return BUSBAR_OK;
}

int bb_consumer_floor(bb_store *store, busbar_lane lane, int64_t *out_floor)
{
    int64_t value = (int64_t)lane;
    sqlite3_stmt *stmt;
    int result = bb_store_find(store, FLOOR, &value, 1, &stmt);
    if (result < 0)
        return result;
    *out_floor = INT64_MAX;
    if (result == BB_ROW && !bb_column_is_null(store, stmt, 0))
        *out_floor = bb_column_integer(store, stmt, 0);
    if (result == BB_ROW)
        bb_store_end(store, stmt);
    return BUSBAR_OK;
}
