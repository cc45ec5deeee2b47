/* SPDX-License-Identifier: MIT */
/* busbar_list and busbar_show. Each event is read, copied, and let go before the callback sees it: nothing pins the WAL. */
#include <string.h>

#include "consumer.h"
#include "exception.h"
#include "given.h"
#include "handle.h"
#include "later.h"
#include "log.h"
#include "pattern.h"
#include "record.h"
#include "schema.h"
#include "text.h"

typedef struct listing {
    busbar *bus;
    const busbar_query *query;
    busbar_list_fn *fn;
    void *ctx;
    bb_reader reader;
    bb_buffer copy;
    uint64_t count;
    int64_t consumer; /* 0: none */
    bb_consumer_view view;
    bb_cursor cursors[BUSBAR_LANE_COUNT];
} listing;

static void fini(listing *l)
{
    bb_reader_fini(&l->reader);
    bb_buffer_free(&l->copy);
}

static bool too_early(const listing *l, const busbar_record *record)
{
    return l->query && l->query->since_ms != 0 && record->time_ms != BUSBAR_TIME_UNKNOWN &&
           record->time_ms < l->query->since_ms;
}

/* Takes the event from the statement, and ends the statement. *out_wanted: the query wants it, and it can be read. */
static int take(listing *l, sqlite3_stmt *stmt, int first, busbar_lane lane, const char *pattern,
                busbar_record *out_copy, bool *out_wanted)
{
    busbar_record record;
    int result = bb_reader_record(&l->reader, stmt, first, lane, &record);
    *out_wanted = result == BUSBAR_OK && bb_pattern_match(pattern, record.type) && !too_early(l, &record);
    if (*out_wanted && bb_record_copy(&record, &l->copy, out_copy) < 0)
        result = bb_store_fail_plain(&l->bus->store, BUSBAR_ENOMEM);
    bb_store_end(&l->bus->store, stmt);
    return result == BUSBAR_ENOTFOUND ? BUSBAR_OK : result;
}

static bool at_limit(const listing *l)
{
    return l->query->limit != 0 && l->count >= l->query->limit;
}

static int emit(listing *l, const busbar_record *record, const busbar_standing *standing)
{
    l->count++;
    return l->fn(record, standing, l->ctx);
}

/* ---- Standing ---- */

/* How the consumer stands to the exception that a statement is on; the reason is copied to `reason`. */
static int read_standing(listing *l, sqlite3_stmt *stmt, const char *consumer, char reason[BUSBAR_DETAIL_SIZE],
                         busbar_standing *out)
{
    bb_store *store = &l->bus->store;
    busbar_clock_quality quality;
    const char *stored = bb_column_text(store, stmt, BB_EXCEPTION_REASON);
    bb_text text = bb_text_on(reason, BUSBAR_DETAIL_SIZE);
    bb_text_add(&text, stored ? stored : "");
    *out = (busbar_standing){
        .consumer = consumer,
        .state = (busbar_state)bb_column_integer(store, stmt, BB_EXCEPTION_STATE),
        .attempts = (uint32_t)bb_column_integer(store, stmt, BB_EXCEPTION_ATTEMPTS),
        .reason = stored ? reason : NULL,
    };
    int result = bb_clock_resolve(store, &l->reader.span, bb_column_integer(store, stmt, BB_EXCEPTION_FIRST_BOOT),
                                  bb_column_ms(store, stmt, BB_EXCEPTION_FIRST_MS), &out->first_ms, &quality);
    if (result == BUSBAR_OK)
        result = bb_clock_resolve(store, &l->reader.span, bb_column_integer(store, stmt, BB_EXCEPTION_LAST_BOOT),
                                  bb_column_ms(store, stmt, BB_EXCEPTION_LAST_MS), &out->last_ms, &quality);
    if (result < 0)
        bb_store_end(store, stmt);
    return result;
}

/* To an event that never failed. */
static busbar_standing plain_standing(const char *consumer, busbar_state state)
{
    return (busbar_standing){
        .consumer = consumer, .state = state, .first_ms = BUSBAR_TIME_UNKNOWN, .last_ms = BUSBAR_TIME_UNKNOWN};
}

/* ---- The log itself, or a consumer's part of it ---- */

/* Whether a consumer has finished the event at this position although it is in the log. */
static int is_exception(listing *l, busbar_lane lane, int64_t seq, bool *out_is)
{
    sqlite3_stmt *stmt;
    int result = bb_exception_read_at(&l->bus->store, l->consumer, lane, seq, &stmt);
    if (result == BB_ROW)
        bb_store_end(&l->bus->store, stmt);
    *out_is = result == BB_ROW;
    return result < 0 ? result : BUSBAR_OK;
}

static int emit_row(listing *l, busbar_lane lane, busbar_record *record, busbar_state state)
{
    if (!l->consumer)
        return emit(l, record, NULL);
    bool exception = false;
    int result = state == BUSBAR_STATE_DONE ? is_exception(l, lane, record->seq, &exception) : BUSBAR_OK;
    if (result < 0 || exception)
        return result;
    busbar_standing standing = plain_standing(l->view.name, state);
    return emit(l, record, &standing);
}

static int list_rows(listing *l, busbar_lane lane, int64_t after, int64_t until, busbar_state state)
{
    while (!at_limit(l)) {
        sqlite3_stmt *stmt;
        int result = bb_log_read_next(&l->bus->store, lane, after, &stmt);
        if (result != BB_ROW)
            return result;
        after = bb_column_integer(&l->bus->store, stmt, BB_LOG_SEQ);
        if (after > until) {
            bb_store_end(&l->bus->store, stmt);
            return BUSBAR_OK;
        }
        busbar_record record;
        bool wanted = false;
        result = take(l, stmt, 0, lane, l->query->pattern, &record, &wanted);
        if (wanted && state == BUSBAR_STATE_PENDING)
            wanted = bb_pattern_match(l->view.pattern, record.type);
        if (result == BUSBAR_OK && wanted)
            result = emit_row(l, lane, &record, state);
        if (result != BUSBAR_OK)
            return result;
    }
    return BUSBAR_OK;
}

/* ---- A consumer's exceptions ---- */

static int emit_exception(listing *l, sqlite3_stmt *stmt, busbar_lane lane)
{
    char reason[BUSBAR_DETAIL_SIZE];
    busbar_standing standing;
    busbar_record record;
    bool wanted = false;
    int result = read_standing(l, stmt, l->view.name, reason, &standing);
    if (result < 0)
        return result;
    bool asked = l->query->state == BUSBAR_STATE_ANY || l->query->state == standing.state;
    result = take(l, stmt, BB_EXCEPTION_LOG, lane, l->query->pattern, &record, &wanted);
    return result == BUSBAR_OK && wanted && asked ? emit(l, &record, &standing) : result;
}

static int list_exceptions(listing *l, busbar_lane lane, int64_t after)
{
    while (!at_limit(l)) {
        sqlite3_stmt *stmt;
        int result = bb_exception_read_after(&l->bus->store, l->consumer, lane, after, &stmt);
        if (result != BB_ROW)
            return result;
        after = bb_column_integer(&l->bus->store, stmt, BB_EXCEPTION_LOG + BB_LOG_SEQ);
        result = emit_exception(l, stmt, lane);
        if (result != BUSBAR_OK)
            return result;
    }
    return BUSBAR_OK;
}

/* ---- What is not due yet ---- */

static int list_scheduled(listing *l)
{
    int64_t after = 0;
    while (!at_limit(l)) {
        sqlite3_stmt *stmt;
        int result = bb_later_read_next(&l->bus->store, after, &stmt);
        if (result != BB_ROW)
            return result;
        busbar_record record;
        bool wanted = false;
        int64_t lane = bb_column_integer(&l->bus->store, stmt, BB_LATER_LANE);
        after = bb_column_integer(&l->bus->store, stmt, BB_LATER_N);
        result = take(l, stmt, 0, (busbar_lane)lane, l->query->pattern, &record, &wanted);
        /* A lane is left out by beginning behind its last position. */
        wanted = wanted && lane >= 0 && lane < BUSBAR_LANE_COUNT && l->query->after_seq[lane] == 0;
        if (result == BUSBAR_OK && wanted)
            result = emit(l, &record, NULL);
        if (result != BUSBAR_OK)
            return result;
    }
    return BUSBAR_OK;
}

/* ---- Putting it together ---- */

static int list_lane(listing *l, busbar_lane lane)
{
    busbar_state state = l->query->state;
    int64_t after = l->query->after_seq[lane];
    int64_t cursor = l->cursors[lane].cursor;
    if (!l->consumer)
        return list_rows(l, lane, after, INT64_MAX, BUSBAR_STATE_ANY);
    if (state == BUSBAR_STATE_DONE)
        return list_rows(l, lane, after, cursor, BUSBAR_STATE_DONE);
    int result = state != BUSBAR_STATE_PENDING ? list_exceptions(l, lane, after) : BUSBAR_OK;
    if (result == BUSBAR_OK && (state == BUSBAR_STATE_ANY || state == BUSBAR_STATE_PENDING))
        result = list_rows(l, lane, after > cursor ? after : cursor, INT64_MAX, BUSBAR_STATE_PENDING);
    return result;
}

static int find_consumer(listing *l, const char *name)
{
    bb_store *store = &l->bus->store;
    l->view.name[0] = '\0';
    int result;
    while ((result = bb_consumer_next(store, l->view.name, &l->view)) == BB_ROW) {
        if (strcmp(l->view.name, name) == 0) {
            l->consumer = l->view.id;
            return bb_consumer_cursors(store, l->consumer, l->cursors);
        }
    }
    int64_t id = 0;
    return result < 0 ? result : bb_consumer_find(store, name, &id);
}

static int check_query(busbar *bus, const busbar_query *query)
{
    bool scheduled = query && query->state == BUSBAR_STATE_SCHEDULED;
    if (!query || query->size != sizeof *query || (unsigned)query->state > BUSBAR_STATE_SCHEDULED)
        return bb_store_fail(&bus->store, BUSBAR_EINVAL, "the query is NULL, or has a wrong size or an unknown state");
    if (query->consumer ? scheduled : query->state != BUSBAR_STATE_ANY && !scheduled)
        return bb_store_fail(&bus->store, BUSBAR_EINVAL,
                             "scheduled events are of no consumer, and every other state is one for a consumer");
    if (!bb_pattern_valid(query->pattern))
        return bb_store_fail_plain(&bus->store, BUSBAR_EPATTERN);
    return bb_schema_check(&bus->store);
}

int busbar_list(busbar *bus, const busbar_query *query, busbar_list_fn *fn, void *ctx)
{
    if (!bus || !fn)
        return BUSBAR_EINVAL;
    int result = check_query(bus, query);
    if (result < 0)
        return result;
    listing l = {.bus = bus, .query = query, .fn = fn, .ctx = ctx};
    bb_reader_init(&l.reader, &bus->store);
    if (query->consumer)
        result = find_consumer(&l, query->consumer);
    if (query->state == BUSBAR_STATE_SCHEDULED)
        result = list_scheduled(&l);
    else
        for (int i = 0; result == BUSBAR_OK && i < BUSBAR_LANE_COUNT && !at_limit(&l); i++)
            result = list_lane(&l, bb_lane_order[i]);
    fini(&l);
    return result;
}

/* ---- One event ---- */

typedef struct showing {
    listing l;
    const char *id;
    busbar_standing_fn *standing_fn;
    bool found;
} showing;

static int stand(showing *s, const bb_consumer_view *view, const busbar_record *record)
{
    bb_store *store = &s->l.bus->store;
    char reason[BUSBAR_DETAIL_SIZE];
    busbar_standing standing = plain_standing(view->name, BUSBAR_STATE_DONE);
    bb_cursor cursors[BUSBAR_LANE_COUNT];
    sqlite3_stmt *stmt = NULL;
    int result = bb_consumer_cursors(store, view->id, cursors);
    if (result == BUSBAR_OK)
        result = bb_exception_read_at(store, view->id, record->lane, record->seq, &stmt);
    if (result < 0)
        return result;
    if (result == BB_ROW) {
        result = read_standing(&s->l, stmt, view->name, reason, &standing);
        if (result < 0)
            return result;
        bb_store_end(store, stmt);
    } else if (record->seq > cursors[record->lane].cursor && bb_pattern_match(view->pattern, record->type)) {
        standing.state = BUSBAR_STATE_PENDING;
    }
    return s->standing_fn(&standing, s->l.ctx);
}

static int stand_all(showing *s, const busbar_record *record)
{
    bb_consumer_view view = {.name = ""};
    int result = BUSBAR_OK;
    while (s->standing_fn && (result = bb_consumer_next(&s->l.bus->store, view.name, &view)) == BB_ROW) {
        result = stand(s, &view, record);
        if (result != BUSBAR_OK)
            return result;
    }
    return result;
}

/* The row at a position: in the log, or kept as some consumer's exception. *out_first: its first log column. */
static int read_at(bb_store *store, busbar_lane lane, int64_t seq, sqlite3_stmt **out_stmt, int *out_first)
{
    *out_first = 0;
    int result = bb_log_read_next(store, lane, seq - 1, out_stmt);
    if (result == BB_ROW && bb_column_integer(store, *out_stmt, BB_LOG_SEQ) == seq)
        return BB_ROW;
    if (result == BB_ROW)
        bb_store_end(store, *out_stmt);
    if (result < 0)
        return result;
    *out_first = BB_EXCEPTION_LOG;
    return bb_exception_read_any(store, lane, seq, out_stmt);
}

static int show_at(busbar_lane lane, int64_t seq, void *ctx)
{
    showing *s = ctx;
    sqlite3_stmt *stmt;
    int first = 0;
    busbar_record record;
    if ((unsigned)lane >= BUSBAR_LANE_COUNT)
        return BUSBAR_OK;
    bool readable = false;
    int result = read_at(&s->l.bus->store, lane, seq, &stmt, &first);
    if (result != BB_ROW)
        return result;
    result = take(&s->l, stmt, first, lane, NULL, &record, &readable);
    if (result < 0 || !readable || strcmp(record.id, s->id) != 0)
        return result; /* the position holds another event by now, or none that can be read */
    s->found = true;
    result = s->l.fn(&record, NULL, s->l.ctx);
    return result == BUSBAR_OK ? stand_all(s, &record) : result;
}

/* An event that is not due yet has its id, and no consumers. */
static int show_scheduled(showing *s)
{
    bb_store *store = &s->l.bus->store;
    int64_t after = 0;
    for (;;) {
        sqlite3_stmt *stmt;
        busbar_record record;
        bool readable = false;
        int result = bb_later_read_id(store, s->id, after, &stmt);
        if (result != BB_ROW)
            return result;
        after = bb_column_integer(store, stmt, BB_LATER_N);
        busbar_lane lane = (busbar_lane)bb_column_integer(store, stmt, BB_LATER_LANE);
        result = take(&s->l, stmt, 0, lane, NULL, &record, &readable);
        s->found = s->found || readable;
        if (result == BUSBAR_OK && readable)
            result = s->l.fn(&record, NULL, s->l.ctx);
        if (result != BUSBAR_OK)
            return result;
    }
}

static int show(showing *s)
{
    char token[BB_IDENTITY_TOKEN_SIZE];
    busbar_lane lane;
    int64_t seq = 0;
    if (bb_identity_parse(s->id, token, &lane, &seq)) {
        int result = show_at(lane, seq, s);
        if (result != BUSBAR_OK || s->found)
            return result;
    }
    int result = bb_given_each(&s->l.bus->store, s->id, show_at, s);
    return result == BUSBAR_OK ? show_scheduled(s) : result;
}

int busbar_show(busbar *bus, const char *id, busbar_list_fn *fn, busbar_standing_fn *standing_fn, void *ctx)
{
    if (!bus || !id || !fn)
        return BUSBAR_EINVAL;
    int result = bb_schema_check(&bus->store);
    if (result < 0)
        return result;
    showing s = {.l = {.bus = bus, .fn = fn, .ctx = ctx}, .id = id, .standing_fn = standing_fn};
    bb_reader_init(&s.l.reader, &bus->store);
    result = show(&s);
    fini(&s.l);
    if (result == BUSBAR_OK && !s.found)
        return bb_store_fail(&bus->store, BUSBAR_ENOTFOUND, "no stored event has this id: it may have been pruned");
    return result;
}
