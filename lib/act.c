/* SPDX-License-Identifier: MIT */
/*
 * busbar_act: what people do about dead and past events. Finds them outside of any transaction, a few at a time, and acts on
 * these in short transactions that look at each once more. Knows no handler and no transport: workers find what is due.
 */
#include <assert.h>
#include <string.h>

#include "bound.h"
#include "given.h"
#include "later.h"
#include "log.h"
#include "pattern.h"
#include "schema.h"
#include "worker.h"

/* So many are found before a transaction is begun for them. */
#define CHUNK_ROWS 64u

/* No exception: for this consumer, the event is in the log only. */
#define STATE_NONE BUSBAR_STATE_ANY

typedef struct deed {
    busbar *bus;
    const busbar_selector *selector;
    busbar_action action;
    bb_reader reader;
    bb_consumer_view view;   /* the consumer in hand */
    const bb_worker *worker; /* of it on this handle; NULL: none */
    uint64_t count;
    bool full; /* a consumer has no room for more */
} deed;

/* Events of one lane that the selector chose. */
typedef struct chunk {
    busbar_lane lane;
    int64_t seqs[CHUNK_ROWS];
    uint32_t count;
} chunk;

/* What a transaction does to one lane of one consumer. */
typedef struct ledger {
    int64_t cursor;
    int64_t open; /* exceptions of the consumer, over all lanes */
    bb_account account;
    uint64_t count;
} ledger;

/* ---- Choosing ---- */

static bool at_limit(const deed *d)
{
    return d->selector->limit != 0 && d->count >= d->selector->limit;
}

static bool chooses_by_content(const busbar_selector *selector)
{
    return selector->id || selector->pattern || selector->since_ms != 0 || selector->before_ms != 0;
}

static bool meets(const busbar_selector *selector, const busbar_record *record)
{
    bool timed = selector->since_ms != 0 || selector->before_ms != 0;
    if (selector->id && strcmp(selector->id, record->id) != 0)
        return false;
    if (!bb_pattern_match(selector->pattern, record->type) || (timed && record->time_ms == BUSBAR_TIME_UNKNOWN))
        return false;
    return (selector->since_ms == 0 || record->time_ms >= selector->since_ms) &&
           (selector->before_ms == 0 || record->time_ms < selector->before_ms);
}

/* An event whose kind or session is gone can be chosen by its consumer only. Ends the statement. */
static int check(deed *d, sqlite3_stmt *stmt, int first, busbar_lane lane, bool *out_chosen)
{
    busbar_record record;
    int result = bb_reader_record(&d->reader, stmt, first, lane, &record);
    *out_chosen = result == BUSBAR_OK ? meets(d->selector, &record) : !chooses_by_content(d->selector);
    if (result == BUSBAR_OK && *out_chosen && d->action == BUSBAR_ACTION_REPLAY) {
        *out_chosen = bb_pattern_match(d->view.pattern, record.type);
        if (d->worker) /* its filter and its lanes are known to those who registered it */
            *out_chosen =
                *out_chosen && bb_worker_wants_lane(d->worker, lane) && bb_worker_wants_event(d->worker, &record);
    }
    bb_store_end(&d->bus->store, stmt);
    return result == BUSBAR_ENOTFOUND ? BUSBAR_OK : result;
}

static bool concerns(busbar_action action, busbar_state state)
{
    if (action == BUSBAR_ACTION_DROP)
        return state != STATE_NONE;
    return state == BUSBAR_STATE_DEAD || state == (action == BUSBAR_ACTION_RETRY ? BUSBAR_STATE_RETRY : STATE_NONE);
}

/* How the event stands with the consumer; *out_key's number is 0 with STATE_NONE. */
static int stand(deed *d, busbar_lane lane, int64_t seq, busbar_state *out_state, bb_exception_key *out_key)
{
    sqlite3_stmt *stmt;
    *out_state = STATE_NONE;
    *out_key = (bb_exception_key){.lane = lane, .seq = seq};
    int result = bb_exception_read_at(&d->bus->store, d->view.id, lane, seq, &stmt);
    if (result != BB_ROW)
        return result;
    *out_state = (busbar_state)bb_column_integer(&d->bus->store, stmt, BB_EXCEPTION_STATE);
    out_key->n = bb_column_integer(&d->bus->store, stmt, BB_EXCEPTION_N);
    bb_store_end(&d->bus->store, stmt);
    return BUSBAR_OK;
}

/* ---- Acting on one event, in a transaction ---- */

/* Open again: due now, or behind the others of its order. */
static int reopen(deed *d, const bb_exception_key *key, ledger *l)
{
    bool blocked = false;
    int result = bb_exception_blocked(&d->bus->store, d->view.id, d->view.order, key, &blocked);
    if (result < 0)
        return result;
    l->open++;
    return bb_exception_revive(&d->bus->store, key, blocked ? BUSBAR_STATE_PARKED : BUSBAR_STATE_RETRY);
}

static int replay(deed *d, const bb_exception_key *key, ledger *l)
{
    bb_failure again = {.consumer = d->view.id, .key = *key, .state = BUSBAR_STATE_PARKED};
    busbar_state state = STATE_NONE;
    bb_exception_key added = {.n = 0};
    if (key->seq > l->cursor)
        return BUSBAR_OK;
    int result = bb_exception_add(&d->bus->store, &again);
    if (result == BUSBAR_OK)
        result = stand(d, key->lane, key->seq, &state, &added);
    if (result < 0 || added.n == 0) /* pruned meanwhile */
        return result;
    l->account.replayed++;
    l->count++;
    return reopen(d, &added, l);
}

static int drop(deed *d, const bb_exception_key *key, busbar_state state, ledger *l)
{
    int result = BUSBAR_OK;
    if (state == BUSBAR_STATE_RETRY)
        result = bb_exception_release(&d->bus->store, d->view.id, d->view.order, key);
    if (result == BUSBAR_OK)
        result = bb_exception_forget(&d->bus->store, key->n);
    if (result < 0)
        return result;
    l->open -= state != BUSBAR_STATE_DEAD;
    l->account.dead += state != BUSBAR_STATE_DEAD;
    l->account.dropped++;
    l->count++;
    return BUSBAR_OK;
}

static int act_on_event(deed *d, busbar_lane lane, int64_t seq, ledger *l)
{
    busbar_state state;
    bb_exception_key key;
    int result = stand(d, lane, seq, &state, &key);
    if (result < 0 || !concerns(d->action, state))
        return result; /* somebody else was faster */
    if (d->action == BUSBAR_ACTION_DROP)
        return drop(d, &key, state, l);
    if (state == BUSBAR_STATE_RETRY) {
        l->count++;
        return bb_exception_hurry(&d->bus->store, &key);
    }
    if (l->open >= BB_EXCEPTION_MAX) {
        d->full = true;
        return BUSBAR_OK;
    }
    if (state == STATE_NONE)
        return replay(d, &key, l);
    l->account.dead--;
    l->count++;
    return reopen(d, &key, l);
}

/* ---- Transactions ---- */

static int open_ledger(deed *d, busbar_lane lane, ledger *out)
{
    bb_cursor cursors[BUSBAR_LANE_COUNT] = {{0}};
    int32_t open[BUSBAR_LANE_COUNT] = {0};
    int result = bb_consumer_cursors(&d->bus->store, d->view.id, cursors);
    if (result == BUSBAR_OK)
        result = bb_exception_count(&d->bus->store, d->view.id, open);
    if (result < 0)
        return result;
    *out = (ledger){.cursor = cursors[lane].cursor};
    for (int i = 0; i < BUSBAR_LANE_COUNT; i++)
        out->open += open[i];
    return BUSBAR_OK;
}

/* As many of the chunk as the write lock may be held for, from *inout_next on. */
static int act_on_some(deed *d, const chunk *c, ledger *l, uint32_t *inout_next)
{
    int result = open_ledger(d, c->lane, l);
    while (result == BUSBAR_OK && *inout_next < c->count) {
        result = act_on_event(d, c->lane, c->seqs[*inout_next], l);
        ++*inout_next;
        if (d->full || bb_store_held_us(&d->bus->store) >= d->bus->options.write_hold_us)
            break;
    }
    return result == BUSBAR_OK ? bb_consumer_account(&d->bus->store, d->view.id, c->lane, &l->account) : result;
}

static int act_on_chunk(deed *d, const chunk *c)
{
    bb_store *store = &d->bus->store;
    for (uint32_t next = 0; next < c->count && !d->full;) {
        ledger l;
        int result = bb_store_begin(store);
        if (result < 0)
            return result;
        result = act_on_some(d, c, &l, &next);
        if (result < 0) {
            bb_store_rollback(store);
            return result;
        }
        result = bb_store_commit(store);
        if (result < 0)
            return result;
        d->count += l.count;
    }
    return BUSBAR_OK;
}

/* ---- Finding ---- */

static uint32_t room(const deed *d)
{
    uint64_t left = d->selector->limit == 0 ? CHUNK_ROWS : d->selector->limit - d->count;
    return left < CHUNK_ROWS ? (uint32_t)left : CHUNK_ROWS;
}

/* The consumer's next exceptions that are chosen. *inout_after: behind what was looked at; INT64_MAX at the end. */
static int find_exceptions(deed *d, chunk *c, int64_t *inout_after)
{
    bb_store *store = &d->bus->store;
    while (c->count < room(d)) {
        sqlite3_stmt *stmt;
        bool chosen = false;
        int result = bb_exception_read_after(store, d->view.id, c->lane, *inout_after, &stmt);
        if (result != BB_ROW) {
            *inout_after = INT64_MAX;
            return result;
        }
        busbar_state state = (busbar_state)bb_column_integer(store, stmt, BB_EXCEPTION_STATE);
        *inout_after = bb_column_integer(store, stmt, BB_EXCEPTION_LOG + BB_LOG_SEQ);
        result = check(d, stmt, BB_EXCEPTION_LOG, c->lane, &chosen);
        if (result < 0)
            return result;
        if (chosen && concerns(d->action, state))
            c->seqs[c->count++] = *inout_after;
    }
    return BUSBAR_OK;
}

/* The same for the log up to a position. */
static int find_past(deed *d, chunk *c, int64_t until, int64_t *inout_after)
{
    bb_store *store = &d->bus->store;
    while (c->count < room(d)) {
        sqlite3_stmt *stmt = NULL;
        busbar_state state = STATE_NONE;
        bb_exception_key key = {.n = 0};
        bool chosen = false;
        int result = bb_log_read_next(store, c->lane, *inout_after, &stmt);
        int64_t seq = result == BB_ROW ? bb_column_integer(store, stmt, BB_LOG_SEQ) : INT64_MAX;
        if (result == BB_ROW && seq > until)
            bb_store_end(store, stmt);
        *inout_after = seq > until ? INT64_MAX : seq;
        if (result < 0 || seq > until)
            return result < 0 ? result : BUSBAR_OK;
        result = check(d, stmt, 0, c->lane, &chosen);
        if (result == BUSBAR_OK && chosen)
            result = stand(d, c->lane, seq, &state, &key);
        if (result < 0)
            return result;
        if (chosen && concerns(d->action, state))
            c->seqs[c->count++] = seq;
    }
    return BUSBAR_OK;
}

static int act_on_lane(deed *d, busbar_lane lane, int64_t after, int64_t until)
{
    while (after < until && !at_limit(d) && !d->full) {
        chunk c = {.lane = lane};
        int result =
            d->action == BUSBAR_ACTION_REPLAY ? find_past(d, &c, until, &after) : find_exceptions(d, &c, &after);
        if (result == BUSBAR_OK && d->selector->dry_run)
            d->count += c.count;
        else if (result == BUSBAR_OK)
            result = act_on_chunk(d, &c);
        if (result < 0)
            return result;
    }
    return BUSBAR_OK;
}

/* Replays what stands at one position. */
static int replay_at(busbar_lane lane, int64_t seq, void *ctx)
{
    deed *d = ctx;
    bb_cursor cursors[BUSBAR_LANE_COUNT];
    if ((unsigned)lane >= BUSBAR_LANE_COUNT || seq < 1)
        return BUSBAR_OK;
    int result = bb_consumer_cursors(&d->bus->store, d->view.id, cursors);
    if (result < 0 || seq > cursors[lane].cursor)
        return result;
    return act_on_lane(d, lane, seq - 1, seq);
}

static int replay_by_id(deed *d)
{
    char token[BB_IDENTITY_TOKEN_SIZE];
    busbar_lane lane;
    int64_t seq = 0;
    uint64_t before = d->count;
    int result = BUSBAR_OK;
    if (bb_identity_parse(d->selector->id, token, &lane, &seq))
        result = replay_at(lane, seq, d);
    if (result < 0 || d->count > before)
        return result;
    return bb_given_each(&d->bus->store, d->selector->id, replay_at, d);
}

static int act_on_consumer(deed *d)
{
    bb_cursor cursors[BUSBAR_LANE_COUNT];
    bool full = d->full;
    d->full = false;
    d->worker = bb_worker_find(d->bus, d->view.name);
    int result = bb_consumer_cursors(&d->bus->store, d->view.id, cursors);
    if (d->action == BUSBAR_ACTION_REPLAY && d->selector->id)
        result = result < 0 ? result : replay_by_id(d);
    else
        for (int i = 0; result == BUSBAR_OK && i < BUSBAR_LANE_COUNT; i++) {
            busbar_lane lane = bb_lane_order[i];
            bool past = d->action == BUSBAR_ACTION_REPLAY;
            result = act_on_lane(d, lane, 0, past ? cursors[lane].cursor : INT64_MAX);
        }
    d->full = d->full || full;
    return result;
}

/* ---- Scheduled events: they are of no consumer, and their number is their place ---- */

static int find_scheduled(deed *d, chunk *c, int64_t *inout_after)
{
    bb_store *store = &d->bus->store;
    while (c->count < room(d)) {
        sqlite3_stmt *stmt;
        bool chosen = false;
        int result = bb_later_read_next(store, *inout_after, &stmt);
        if (result != BB_ROW) {
            *inout_after = INT64_MAX;
            return result;
        }
        *inout_after = bb_column_integer(store, stmt, BB_LATER_N);
        result = check(d, stmt, 0, (busbar_lane)bb_column_integer(store, stmt, BB_LATER_LANE), &chosen);
        if (result < 0)
            return result;
        if (chosen)
            c->seqs[c->count++] = *inout_after;
    }
    return BUSBAR_OK;
}

/* A number is given again when the newest is gone: what stands there now is looked at once more. */
static int drop_scheduled(deed *d, int64_t n, uint64_t *count)
{
    bb_store *store = &d->bus->store;
    sqlite3_stmt *stmt;
    char id[BUSBAR_ID_MAX + 1];
    bool chosen = false;
    int result = bb_later_read(store, n, &stmt);
    if (result != BB_ROW)
        return result;
    const char *stored = bb_column_text(store, stmt, BB_LOG_ID);
    bb_text_copy(id, sizeof id, stored);
    result = check(d, stmt, 0, (busbar_lane)bb_column_integer(store, stmt, BB_LATER_LANE), &chosen);
    if (result < 0 || !chosen)
        return result;
    result = bb_later_drop(store, n, id);
    *count += result == BB_ROW;
    return result < 0 ? result : BUSBAR_OK;
}

static int drop_scheduled_chunk(deed *d, const chunk *c)
{
    bb_store *store = &d->bus->store;
    for (uint32_t next = 0; next < c->count;) {
        uint64_t count = 0;
        int result = bb_store_begin(store);
        if (result < 0)
            return result;
        do {
            result = drop_scheduled(d, c->seqs[next++], &count);
        } while (result == BUSBAR_OK && next < c->count && bb_store_held_us(store) < d->bus->options.write_hold_us);
        if (result < 0) {
            bb_store_rollback(store);
            return result;
        }
        result = bb_store_commit(store);
        if (result < 0)
            return result;
        d->count += count;
    }
    return BUSBAR_OK;
}

static int act_on_scheduled(deed *d)
{
    int64_t after = 0;
    while (after < INT64_MAX && !at_limit(d)) {
        chunk c = {.count = 0};
        int result = find_scheduled(d, &c, &after);
        if (result == BUSBAR_OK && d->selector->dry_run)
            d->count += c.count;
        else if (result == BUSBAR_OK)
            result = drop_scheduled_chunk(d, &c);
        if (result < 0)
            return result;
    }
    return BUSBAR_OK;
}

/* ---- The call ---- */

static int act_on_all(deed *d)
{
    bb_store *store = &d->bus->store;
    const char *only = d->selector->consumer;
    int result = BUSBAR_OK;
    while (!at_limit(d) && (result = bb_consumer_next(store, d->view.name, &d->view)) == BB_ROW) {
        if (only && strcmp(only, d->view.name) != 0)
            continue;
        result = act_on_consumer(d);
        if (result == BUSBAR_EREMOVED && !only)
            result = BUSBAR_OK; /* just now, by somebody else */
        if (result < 0)
            return result;
    }
    if (result >= 0 && d->action == BUSBAR_ACTION_DROP && !only)
        result = act_on_scheduled(d);
    if (result < 0 || !d->full)
        return result < 0 ? result : BUSBAR_OK;
    return bb_store_fail(
        store, BUSBAR_EBOUND,
        "1,000 events of the consumer wait for retry, the most there may be: go on when some are through");
}

static int check_call(busbar *bus, const busbar_selector *selector, busbar_action action, const uint64_t *out_count)
{
    if (!out_count || !selector || selector->size != sizeof *selector)
        return bb_store_fail(&bus->store, BUSBAR_EINVAL, "out_count or the selector is NULL, or its size is wrong");
    if (!selector->consumer && !selector->id && !selector->pattern)
        return bb_store_fail(&bus->store, BUSBAR_EINVAL,
                             "the selector needs a consumer, an id or a pattern: nothing is selected");
    if (action < BUSBAR_ACTION_RETRY || action > BUSBAR_ACTION_REPLAY)
        return bb_store_fail(&bus->store, BUSBAR_EINVAL, "there is no such action");
    if (action == BUSBAR_ACTION_REPLAY && !selector->consumer)
        return bb_store_fail(&bus->store, BUSBAR_EINVAL, "a replay needs a consumer: who is to get the events again?");
    if (!bb_pattern_valid(selector->pattern))
        return bb_store_fail_plain(&bus->store, BUSBAR_EPATTERN);
    return bb_handle_idle(bus);
}

static int find_consumer(busbar *bus, const char *name)
{
    int64_t id = 0;
    return name ? bb_consumer_find(&bus->store, name, &id) : BUSBAR_OK;
}

int busbar_act(busbar *bus, const busbar_selector *selector, busbar_action action, uint64_t *out_count)
{
    if (out_count)
        *out_count = 0;
    if (!bus)
        return BUSBAR_EINVAL;
    int result = check_call(bus, selector, action, out_count);
    if (result == BUSBAR_OK)
        result = bb_schema_check(&bus->store);
    if (result == BUSBAR_OK)
        result = find_consumer(bus, selector->consumer);
    if (result < 0)
        return result;
    assert(out_count);
    deed d = {.bus = bus, .selector = selector, .action = action};
    sqlite3_int64 application_rowid = bus->store.sql->last_insert_rowid(bus->store.db);
    bb_reader_init(&d.reader, &bus->store);
    result = act_on_all(&d);
    if (result == BUSBAR_EFULL && bb_bound_relieve(bus)) {
        d.view = (bb_consumer_view){.name = ""};
        result = act_on_all(&d);
    }
    bb_reader_fini(&d.reader);
    bus->store.sql->set_last_insert_rowid(bus->store.db, application_rowid);
    bus->acts++;
    *out_count = d.count;
    return result;
}
