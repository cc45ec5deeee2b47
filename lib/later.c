/* SPDX-License-Identifier: MIT */
#include "later.h"

#include <assert.h>

/* The first ten parameters are those of bb_log_prepare. */
static const char ADD[] = "INSERT INTO main.busbar_later (kind, session, at_ms, id, subject, key, ext, ttl_ms, data,"
                          " retry, lane, due_boot, due_ms, delay_ms)"
                          " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";

/* The span of the numbers is found at once, and is no smaller than their count. */
static const char SPAN[] = "SELECT coalesce((SELECT max(n) FROM main.busbar_later), 0)"
                           " - coalesce((SELECT min(n) FROM main.busbar_later), 1) + 1";
static const char COUNT[] = "SELECT count(*) FROM main.busbar_later";

#define COLUMNS                                                                                                        \
    "SELECT 0, l.kind, l.session, l.at_ms, l.id, l.subject, l.key, l.ext, l.ttl_ms, l.data, l.n, l.lane,"              \
    " l.due_boot, l.due_ms FROM main.busbar_later AS l"
static const char READ[] = COLUMNS " WHERE l.n = ?1";
static const char READ_NEXT[] = COLUMNS " WHERE l.n > ?1 ORDER BY l.n LIMIT 1";
static const char READ_ID[] = COLUMNS " WHERE l.id = ?1 AND l.n > ?2 ORDER BY l.n LIMIT 1";
static const char FIND[] = "SELECT l.lane FROM main.busbar_later AS l JOIN main.busbar_kind AS k ON k.id = l.kind"
                           " WHERE l.id = ?1 AND k.source = ?2";
static const char DROP[] = "DELETE FROM main.busbar_later WHERE n = ?1 AND id = ?2";
static const char DELETE[] = "DELETE FROM main.busbar_later WHERE n = ?1";

static const char LOOK[] = "SELECT (SELECT min(due_ms) FROM main.busbar_later WHERE due_boot = ?1),"
                           " (SELECT min(due_ms) FROM main.busbar_later WHERE due_boot = 0),"
                           " EXISTS (SELECT 1 FROM main.busbar_later WHERE due_boot > 0 AND due_boot < ?2)";
static const char HAS_REBASED[] = "SELECT 1 FROM main.busbar_later AS l JOIN main.busbar_session AS s"
                                  " ON s.id = l.session WHERE l.due_boot = ?1 AND s.boot <> ?1 LIMIT 1";

/*
 * The wall time at which row `l` is due, by the trusted fixes of the boot it was published in; NULL: there are none. Of
 * several that contradict each other the latest counts, and 2 s more, because a fix may be off by that much (clock.c notes
 * no smaller step): rather late than early.
 */
#define WALL_DUE                                                                                                       \
    "(SELECT s.mono_ms + l.at_ms + l.delay_ms + max(c.wall_ms - c.mono_ms) + 2000 FROM main.busbar_session AS s"       \
    " JOIN main.busbar_clock AS c ON c.boot = s.boot AND c.quality >= 2 WHERE s.id = l.session)"
/* The same, by those of the boot that last measured the row. */
#define WALL_DUE_SINCE                                                                                                 \
    "(SELECT l.due_ms + max(c.wall_ms - c.mono_ms) + 2000 FROM main.busbar_clock AS c"                                 \
    " WHERE c.boot = l.due_boot AND c.quality >= 2)"
/* When row `l` is due by a wall time, in this boot's monotonic time: ?2 is now, ?3 the wall time now, NULL if not trusted. */
#define MONOTONIC(wall_due) "?2 + max(0, " wall_due " - ?3)"
#define NEARER              MONOTONIC(WALL_DUE)
#define BY_WALL_TIME        MONOTONIC("coalesce(" WALL_DUE ", " WALL_DUE_SINCE ")")
#define WHOLE_DELAY         "?2 + l.delay_ms"

static const char REBASE[] = "UPDATE main.busbar_later AS l SET due_boot = ?1,"
                             " due_ms = min(" WHOLE_DELAY ", coalesce(" BY_WALL_TIME ", " WHOLE_DELAY "))"
                             " WHERE l.n IN"
                             " (SELECT n FROM main.busbar_later WHERE due_boot > 0 AND due_boot < ?1 LIMIT ?4)";

/*
 * Only what comes at least a second nearer, so that the rounding of two clocks causes no write. The sign keeps SQLite from
 * walking over all rows of the boot instead of the range.
 */
static const char FORWARD[] = "UPDATE main.busbar_later AS l SET due_ms = " NEARER
                              " WHERE l.n > ?4 AND l.n <= ?5 AND +l.due_boot = ?1 AND l.due_ms - 1000 > " NEARER
                              " AND (SELECT p.boot FROM main.busbar_session AS p WHERE p.id = l.session) <> ?1";
static const char PIECE_END[] = "SELECT max(n) FROM (SELECT n FROM main.busbar_later WHERE n > ?1 ORDER BY n LIMIT ?2)"
                                " HAVING max(n) IS NOT NULL";

/* The first that is due by the clock of boot ?1, or by wall time (boot 0), at ?2. */
static const char FIRST_DUE[] = "SELECT l.n, l.lane, l.due_ms, coalesce(s.boot, 0), coalesce(s.mono_ms + l.at_ms, 0)"
                                " FROM main.busbar_later AS l LEFT JOIN main.busbar_session AS s ON s.id = l.session"
                                " WHERE l.due_boot = ?1 AND l.due_ms <= ?2 ORDER BY l.due_ms, l.n LIMIT 1";

/* The time to live runs from when the event was due; stored, it counts from when it was published, ?2 before. */
#define TTL "coalesce(l.ttl_ms, (SELECT nullif(k.ttl_ms, 0) FROM main.busbar_kind AS k WHERE k.id = l.kind))"
#define APPEND_TEXT(table)                                                                                             \
    "INSERT INTO main." table " (kind, session, at_ms, id, subject, key, ext, ttl_ms, data)"                           \
    " SELECT l.kind, l.session, l.at_ms, l.id, l.subject, l.key, l.ext,"                                               \
    " min(" TTL ", 9223372036854775807 - ?2) + ?2, l.data FROM main.busbar_later AS l WHERE l.n = ?1"
static const char *const APPEND[BUSBAR_LANE_COUNT] = {APPEND_TEXT("busbar_log_normal"),
                                                      APPEND_TEXT("busbar_log_urgent"), APPEND_TEXT("busbar_log_bulk")};
static const char POLICY[] = "INSERT INTO main.busbar_policy (lane, seq, retry)"
                             " SELECT lane, ?2, retry FROM main.busbar_later WHERE n = ?1 AND retry IS NOT NULL";
/* The log has no index on ids: from now on the event is found, and its id refused, by this. */
static const char REMEMBER[] = "INSERT OR IGNORE INTO main.busbar_given (id, source, lane, seq)"
                               " SELECT l.id, k.source, l.lane, ?2 FROM main.busbar_later AS l"
                               " JOIN main.busbar_kind AS k ON k.id = l.kind WHERE l.n = ?1";

/* ---- Putting off ---- */

static int check_room(bb_store *store)
{
    int64_t count = 0;
    int result = bb_store_integer(store, SPAN, NULL, 0, &count);
    if (result >= 0 && count >= BB_LATER_MAX)
        result = bb_later_count(store, &count);
    if (result < 0 || count < BB_LATER_MAX)
        return result < 0 ? result : BUSBAR_OK;
    return bb_store_fail(store, BUSBAR_EBOUND,
                         "100,000 scheduled events wait, the most there may be: go on when some are due, or drop some");
}

int bb_later_add(bb_store *store, busbar_lane lane, const bb_log_row *row, const bb_later_due *due, int64_t *out_n)
{
    assert((unsigned)lane < BUSBAR_LANE_COUNT && row->id);
    sqlite3_stmt *stmt = NULL;
    int result = check_room(store);
    if (result == BUSBAR_OK)
        result = bb_log_prepare(store, ADD, row, &stmt);
    if (result < 0)
        return result;
    bb_bind_text(store, stmt, 10, row->retry);
    bb_bind_integer(store, stmt, 11, (int64_t)lane);
    bb_bind_integer(store, stmt, 12, due->boot);
    bb_bind_integer(store, stmt, 13, due->ms);
    bb_bind_integer(store, stmt, 14, due->delay_ms);
    result = bb_store_run(store, stmt);
    if (result == BUSBAR_OK)
        *out_n = store->sql->last_insert_rowid(store->db);
    return result;
}

/* ---- Looking ---- */

int bb_later_find(bb_store *store, const char *id, const char *source, busbar_lane *out_lane)
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
    if (result == BB_ROW)
        *out_lane = (busbar_lane)bb_column_integer(store, stmt, 0);
    bb_store_end(store, stmt);
    return result;
}

int bb_later_read(bb_store *store, int64_t n, sqlite3_stmt **out_stmt)
{
    return bb_store_find(store, READ, &n, 1, out_stmt);
}

int bb_later_read_next(bb_store *store, int64_t after, sqlite3_stmt **out_stmt)
{
    return bb_store_find_after(store, READ_NEXT, &after, 1, BB_LATER_N, out_stmt);
}

int bb_later_read_id(bb_store *store, const char *id, int64_t after, sqlite3_stmt **out_stmt)
{
    sqlite3_stmt *stmt;
    int result = bb_store_prepare(store, READ_ID, &stmt);
    if (result < 0)
        return result;
    bb_bind_text(store, stmt, 1, id);
    bb_bind_integer(store, stmt, 2, after);
    result = bb_store_step(store, stmt);
    if (result == BB_ROW)
        result = bb_store_check_after(store, stmt, BB_LATER_N, after);
    if (result == BB_ROW)
        *out_stmt = stmt;
    else if (result == BUSBAR_OK)
        bb_store_end(store, stmt);
    return result;
}

int bb_later_count(bb_store *store, int64_t *out_count)
{
    int result = bb_store_integer(store, COUNT, NULL, 0, out_count);
    return result < 0 ? result : BUSBAR_OK;
}

int bb_later_drop(bb_store *store, int64_t n, const char *id)
{
    sqlite3_stmt *stmt;
    int result = bb_store_prepare(store, DROP, &stmt);
    if (result < 0)
        return result;
    bb_bind_integer(store, stmt, 1, n);
    bb_bind_text(store, stmt, 2, id);
    result = bb_store_run(store, stmt);
    return result == BUSBAR_OK && store->sql->changes(store->db) > 0 ? BB_ROW : result;
}

/* ---- Becoming due ---- */

static int64_t time_at(bb_store *store, sqlite3_stmt *stmt, int index)
{
    return bb_column_is_null(store, stmt, index) ? INT64_MAX : bb_column_integer(store, stmt, index);
}

int bb_later_look(bb_store *store, int64_t boot, bb_later_view *out_view)
{
    sqlite3_stmt *stmt;
    int64_t values[] = {boot > 0 ? boot : -1, boot > 0 ? boot : INT64_MAX};
    int result = bb_store_find(store, LOOK, values, 2, &stmt);
    if (result != BB_ROW)
        return result;
    out_view->relative_ms = time_at(store, stmt, 0);
    out_view->absolute_ms = time_at(store, stmt, 1);
    out_view->foreign = bb_column_integer(store, stmt, 2) != 0;
    bb_store_end(store, stmt);
    return BUSBAR_OK;
}

int bb_later_has_rebased(bb_store *store, int64_t boot, bool *out_has)
{
    int64_t found = 0;
    int result = bb_store_integer(store, HAS_REBASED, &boot, 1, &found);
    if (result < 0)
        return result;
    *out_has = result == BB_ROW;
    return BUSBAR_OK;
}

static void bind_now(bb_store *store, sqlite3_stmt *stmt, const bb_later_now *now)
{
    bb_bind_integer(store, stmt, 1, now->boot);
    bb_bind_integer(store, stmt, 2, now->mono_ms);
    if (now->trusted)
        bb_bind_integer(store, stmt, 3, now->wall_ms);
    else
        bb_bind_null(store, stmt, 3);
}

int bb_later_rebase(bb_store *store, const bb_later_now *now, uint32_t count_max)
{
    assert(now->boot > 0);
    sqlite3_stmt *stmt;
    int result = bb_store_prepare(store, REBASE, &stmt);
    if (result < 0)
        return result;
    bind_now(store, stmt, now);
    bb_bind_integer(store, stmt, 4, count_max);
    return bb_store_run(store, stmt);
}

int bb_later_forward(bb_store *store, const bb_later_now *now, uint32_t count_max, int64_t *after)
{
    assert(now->boot > 0 && now->trusted);
    sqlite3_stmt *stmt;
    int64_t piece[] = {*after, count_max};
    int64_t end = 0;
    int result = bb_store_integer(store, PIECE_END, piece, 2, &end);
    if (result != BB_ROW)
        return result;
    result = bb_store_prepare(store, FORWARD, &stmt);
    if (result < 0)
        return result;
    bind_now(store, stmt, now);
    bb_bind_integer(store, stmt, 4, *after);
    bb_bind_integer(store, stmt, 5, end);
    result = bb_store_run(store, stmt);
    if (result < 0)
        return result;
    *after = end;
    return BB_ROW;
}

static int find_first(bb_store *store, int64_t boot, int64_t until_ms, bb_later_first *out_first)
{
    sqlite3_stmt *stmt;
    int64_t values[] = {boot, until_ms};
    int result = bb_store_find(store, FIRST_DUE, values, 2, &stmt);
    *out_first = (bb_later_first){.n = 0};
    if (result != BB_ROW)
        return result;
    out_first->n = bb_column_integer(store, stmt, 0);
    out_first->lane = bb_column_integer(store, stmt, 1);
    out_first->due_ms = bb_column_integer(store, stmt, 2);
    out_first->boot = bb_column_integer(store, stmt, 3);
    out_first->mono_ms = bb_column_integer(store, stmt, 4);
    bb_store_end(store, stmt);
    return BUSBAR_OK;
}

/* Of the first by this boot's clock and the first by wall time, the one that was due first. */
int bb_later_first_due(bb_store *store, const bb_later_now *now, bb_later_first *out_first)
{
    bb_later_first first = {.n = 0};
    bb_later_first absolute = {.n = 0};
    int result = now->boot > 0 ? find_first(store, now->boot, now->mono_ms, &first) : BUSBAR_OK;
    if (result == BUSBAR_OK && now->trusted)
        result = find_first(store, 0, now->wall_ms, &absolute);
    if (result < 0)
        return result;
    absolute.due_ms -= now->wall_ms - now->mono_ms;
    if (absolute.n != 0 &&
        (first.n == 0 || absolute.due_ms < first.due_ms || (absolute.due_ms == first.due_ms && absolute.n < first.n)))
        first = absolute;
    if (first.n == 0)
        return BUSBAR_OK;
    if (first.lane < 0 || first.lane >= BUSBAR_LANE_COUNT)
        return bb_store_fail(store, BUSBAR_ECORRUPT, "a scheduled event has no lane: the database is damaged");
    *out_first = first;
    return BB_ROW;
}

int bb_later_append(bb_store *store, const bb_later_first *first, int64_t waited_ms)
{
    assert(first->lane >= 0 && first->lane < BUSBAR_LANE_COUNT && waited_ms >= 0);
    int64_t values[] = {first->n, waited_ms};
    int result = bb_store_change(store, APPEND[first->lane], values, 2);
    if (result < 0)
        return result;
    values[1] = store->sql->last_insert_rowid(store->db);
    result = bb_store_change(store, POLICY, values, 2);
    if (result == BUSBAR_OK)
        result = bb_store_change(store, REMEMBER, values, 2);
    if (result == BUSBAR_OK)
        result = bb_store_change(store, DELETE, values, 1);
    return result;
}
