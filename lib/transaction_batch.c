/* SPDX-License-Identifier: MIT */
/*
 * Transactional delivery: many events per transaction, each in a savepoint. What handlers write, what they publish and the
 * cursor commit together. The batch ends by time, so that the write lock is never held long.
 */
#include <stdlib.h>
#include <string.h>

#include "expiry.h"
#include "log.h"
#include "subscription.h"

typedef struct batch {
    bb_subscription *subscription;
    busbar *bus;
    uint64_t started_us;
    uint64_t hold_us;
    int64_t number;
    uint32_t handled; /* events handed to the handler */
    int gone_native;  /* SQLite's code when the transaction was found gone */
    bool stop;        /* time is up */
    int64_t heads[BUSBAR_LANE_COUNT];
    bb_advance advance[BUSBAR_LANE_COUNT];
    bool standing[BUSBAR_LANE_COUNT]; /* the lane must stand still */
    bb_outcome outcome;
    busbar_record record; /* what the handler got last; its memory is the subscription's copy */
} batch;

/* The handler ended the transaction it ran in; positive, and never leaves this file. */
#define BROKEN 1

static const char BROKEN_TEXT[] =
    "the handler ended the transaction it ran in (COMMIT or ROLLBACK): remove that from it";

static void check_time(batch *b)
{
    bool careful = b->subscription->worker.careful > 0; /* then each event has a transaction of its own */
    uint64_t held_us = careful ? bb_handle_now_us(b->bus) - b->started_us : bb_store_held_us(&b->bus->store);
    b->stop = b->stop || (b->subscription->one_by_one > 0 && b->handled > 0) || held_us >= b->hold_us;
}

/*
 * The transaction is gone. Because SQLite gave it up (disk full, I/O error): a fault of the environment, which costs the
 * event nothing. Or because the handler ended it. The code tells, unless the batch turns out to be committed.
 */
static int note_gone(batch *b)
{
    bb_store *store = &b->bus->store;
    b->gone_native = store->sql->extended_errcode(store->db);
    return BROKEN;
}

static bool given_up(const batch *b)
{
    switch (b->gone_native & 0xff) {
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_NOMEM:
    case SQLITE_BUSY:
    case SQLITE_CORRUPT:
        return true;
    default:
        return false;
    }
}

/* ---- The transaction ---- */

static int load(batch *b)
{
    bb_cursor cursors[BUSBAR_LANE_COUNT] = {{0}};
    bb_store *store = &b->bus->store;
    bb_worker *worker = &b->subscription->worker;
    bb_ahead_clear(&b->subscription->ahead);
    int result = bb_consumer_begin_batch(store, worker->consumer, &b->number);
    if (result == BUSBAR_OK)
        result = bb_consumer_cursors(store, worker->consumer, cursors);
    if (result == BUSBAR_OK)
        result = bb_log_heads(store, b->heads);
    for (int lane = 0; result == BUSBAR_OK && lane < BUSBAR_LANE_COUNT; lane++)
        b->advance[lane] = (bb_advance){.cursor = cursors[lane].cursor};
    return result == BUSBAR_OK ? bb_outcome_begin(&b->outcome, worker, b->bus, b->advance) : result;
}

static int begin(batch *b)
{
    bb_worker *worker = &b->subscription->worker;
    bool noting = worker->careful > 0; /* what is noted must survive what ends the process, a power cut too */
    int result = noting ? bb_worker_begin_synced(worker, b->bus) : bb_worker_begin(worker, b->bus);
    if (result < 0)
        return result;
    bb_reader_refresh(&b->bus->reader);
    result = load(b);
    if (result < 0)
        bb_store_rollback(&b->bus->store);
    return result;
}

static int64_t passed_by(const batch *b)
{
    int64_t passed = 0;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        passed += b->advance[lane].passed;
    return passed;
}

static int finish(batch *b, int result)
{
    if (result == BUSBAR_OK) {
        bb_meter_add(&b->subscription->worker.meter, passed_by(b), bb_handle_now_us(b->bus), !b->stop);
        result = bb_outcome_write(&b->outcome);
    }
    result = bb_store_finish(&b->bus->store, result);
    uint32_t *left = &b->subscription->one_by_one;
    if (result == BUSBAR_OK) {
        bb_reader_keep(&b->bus->reader);
        *left = *left > b->handled ? *left - b->handled : 0;
    }
    return result;
}

/* ---- One event ---- */

/* No room for one more open exception: the lane stops before this event. */
static int stand_still(batch *b, busbar_lane lane)
{
    b->standing[lane] = true;
    bb_subscription_block(b->subscription, b->bus, lane);
    bb_outcome_say(&b->outcome, b->outcome.no_room);
    return BUSBAR_OK;
}

static int fail_event(batch *b, const bb_trial *trial, const busbar_record *record, const bb_fault *fault)
{
    int result = bb_outcome_failed(&b->outcome, trial, record, fault);
    return result == BB_NO_ROOM ? stand_still(b, trial->key.lane) : result;
}

/*
 * After a bad end: what was done so far is committed with a note of the event in hand. *out_poison: it has ended the
 * process too often, and must not be handed over again.
 */
static int note(batch *b, const bb_trial *trial, bool *out_poison)
{
    int result = bb_worker_note(&b->subscription->worker, b->bus, trial->key.lane, trial->key.seq, out_poison);
    if (result < 0 || *out_poison)
        return result;
    result = finish(b, BUSBAR_OK);
    b->handled = 0; /* what was handled is recorded: a handler that rolls back undoes only its own event */
    return result < 0 ? result : begin(b);
}

/* Runs the handler in its savepoint. BROKEN, or the outcome of recording. */
static int call(batch *b, const bb_trial *trial, const busbar_record *record)
{
    bb_store *store = &b->bus->store;
    busbar_reason reason;
    int result = bb_store_execute(store, "SAVEPOINT busbar_event");
    if (result < 0)
        return result;
    b->handled++;
    b->record = *record;
    busbar_verdict verdict = bb_subscription_call(b->subscription, b->bus, record, &reason);
    if (!bb_store_in_transaction(store))
        return note_gone(b);
    if (verdict != BUSBAR_DONE && bb_store_execute(store, "ROLLBACK TO busbar_event") < 0)
        return BROKEN;
    if (bb_store_execute(store, "RELEASE busbar_event") < 0)
        return bb_store_in_transaction(store) ? BROKEN : note_gone(b);
    bb_fault fault = {verdict, reason.retry_after_ms, reason.text};
    return verdict == BUSBAR_DONE ? bb_outcome_done(&b->outcome, trial, record) : fail_event(b, trial, record, &fault);
}

static int handle(batch *b, const bb_trial *trial, const busbar_record *record)
{
    bb_worker *worker = &b->subscription->worker;
    bool poison = false;
    if (worker->careful == 0)
        return call(b, trial, record);
    int result = note(b, trial, &poison);
    if (result < 0)
        return result;
    const bb_fault fault = {.verdict = BUSBAR_DEAD, .text = bb_worker_poison_text};
    result = poison ? fail_event(b, trial, record, &fault) : call(b, trial, record);
    return result == BUSBAR_OK ? bb_worker_passed(worker, b->bus) : result;
}

/* ---- A handler that ends the transaction ---- */

struct bb_broken {
    batch b;
    bb_trial trial;
};

static int write_broken(batch *b, const bb_trial *trial)
{
    const bb_fault fault = {.verdict = BUSBAR_RETRY, .text = BROKEN_TEXT};
    int result = fail_event(b, trial, &b->record, &fault);
    if (result == BUSBAR_OK)
        result = bb_worker_passed(&b->subscription->worker, b->bus); /* it did not end the process */
    return result == BUSBAR_OK ? bb_outcome_write(&b->outcome) : result;
}

/*
 * The batch is a copy: what is counted here must not be counted twice if the commit fails. That commit may have been done
 * all the same (an I/O error after its end): it counts as a batch of its own, whose number tells.
 */
static int record_broken(batch b, const bb_trial *trial)
{
    bb_store *store = &b.bus->store;
    int64_t number = 0;
    b.outcome.advance = b.advance;
    int result = bb_worker_begin(&b.subscription->worker, b.bus);
    if (result < 0)
        return result;
    result = bb_consumer_begin_batch(store, b.subscription->worker.consumer, &number);
    bool recorded = result == BUSBAR_OK && number > b.number + 1;
    if (result == BUSBAR_OK && !recorded)
        result = write_broken(&b, trial);
    if (result < 0 || recorded) {
        bb_store_rollback(store);
        return result;
    }
    return bb_store_commit(store);
}

/* Without memory for it the events of the batch come once more: a handler that commits is not worth more. */
static void keep_broken(const batch *b, const bb_trial *trial)
{
    struct bb_broken *broken = b->subscription->broken;
    if (broken)
        return;
    broken = malloc(sizeof *broken);
    if (!broken)
        return;
    broken->b = *b;
    broken->trial = *trial;
    b->subscription->broken = broken;
}

static void forget_broken(bb_subscription *subscription)
{
    free(subscription->broken);
    subscription->broken = NULL;
}

static int read_committed(const batch *b, bool *out_committed)
{
    int64_t number = 0;
    int result = bb_consumer_last_batch(&b->bus->store, b->subscription->worker.consumer, &number);
    if (result == BUSBAR_OK)
        *out_committed = number >= b->number;
    return result;
}

/*
 * The handler took the batch's transaction away. If it committed, everything before the event in hand is kept: the cursor
 * follows, and the event counts as failed. If it rolled back, everything is undone: the events come again, one by one, so
 * that the guilty one stands alone next time. *out_again: this is to be tried again, before anything more is handled.
 */
static int settle_broken(const batch *b, const bb_trial *trial, bool *out_again)
{
    bb_store *store = &b->bus->store;
    uint32_t *left = &b->subscription->one_by_one;
    bool committed = false;
    bb_store_rollback(store); /* one that the handler may have begun */
    int result = read_committed(b, &committed);
    *out_again = result < 0;
    if (result < 0)
        return result;
    if (!committed && given_up(b))
        return bb_store_fail_sqlite(store, b->gone_native, "run a handler's statements");
    if (!committed && b->handled > 1) {
        *left = b->handled;
        return BUSBAR_OK;
    }
    result = record_broken(*b, trial);
    *out_again = result < 0 && committed;
    if (result == BUSBAR_OK && *left > 0)
        --*left;
    return result;
}

static int recover(const batch *b, const bb_trial *trial)
{
    bool again = false;
    int result = settle_broken(b, trial, &again);
    if (again)
        keep_broken(b, trial);
    else
        forget_broken(b->subscription);
    return result;
}

/* What a former batch could not find out or record: nothing more is handled before. */
static int recover_kept(bb_subscription *subscription)
{
    const struct bb_broken *broken = subscription->broken;
    return broken ? recover(&broken->b, &broken->trial) : BUSBAR_OK;
}

/* ---- Exceptions ---- */

/* Something that cannot be read (written by hand, damaged) must not stop what is behind it. */
static int bury_unreadable(batch *b, const bb_trial *trial)
{
    char text[BUSBAR_DETAIL_SIZE];
    memcpy(text, b->bus->store.error.text, sizeof text);
    const bb_fault fault = {.verdict = BUSBAR_DEAD, .text = text};
    return fail_event(b, trial, NULL, &fault);
}

/* Outcomes of looking at one row; positive, and never leaving this file. */
#define PASSED  2 /* nothing to handle: go on in the same scan */
#define PARKED  3 /* it waits behind another */
#define EXPIRED 4 /* its time is over */

static int take_exception(batch *b, sqlite3_stmt *stmt, bb_trial *out_trial, busbar_record *out_copy)
{
    bb_store *store = &b->bus->store;
    busbar_record record;
    bool over = false;
    bb_trial_read(store, stmt, out_trial);
    int result = bb_reader_record(&b->bus->reader, stmt, BB_EXCEPTION_LOG, out_trial->key.lane, &record);
    if (result == BUSBAR_OK)
        result = bb_expiry_over(&b->subscription->worker, b->bus, stmt, BB_EXCEPTION_LOG, &record, &over);
    if (result == BUSBAR_OK && over)
        result = EXPIRED;
    if (result == BUSBAR_OK && bb_record_copy(&record, &b->subscription->copy, out_copy) < 0)
        result = bb_store_fail_plain(store, BUSBAR_ENOMEM);
    bb_store_end(store, stmt);
    out_copy->attempt = out_trial->number;
    return result;
}

static int run_exceptions(batch *b, bb_trial *trial)
{
    bb_store *store = &b->bus->store;
    while (!b->stop) {
        sqlite3_stmt *stmt;
        busbar_record record;
        int64_t now_ms = (int64_t)(b->started_us / 1000);
        int result = bb_exception_read_due(store, b->subscription->worker.consumer, b->bus->boot.id, now_ms,
                                           trial->key.n, &stmt);
        if (result != BB_ROW)
            return result;
        result = take_exception(b, stmt, trial, &record);
        if (result == BUSBAR_OK)
            result = handle(b, trial, &record);
        else if (result == EXPIRED)
            result = bb_outcome_expired(&b->outcome, trial);
        else if (result == BUSBAR_ENOTFOUND)
            result = bury_unreadable(b, trial);
        if (result != BUSBAR_OK)
            return result;
        check_time(b);
    }
    return BUSBAR_OK;
}

/* ---- The log ---- */

/* Reads the row in hand. BUSBAR_OK, PASSED (it is not wanted), EXPIRED, or a code. */
static int read_row(batch *b, sqlite3_stmt *stmt, busbar_lane lane, busbar_record *out_record)
{
    bb_worker *worker = &b->subscription->worker;
    const char *type = NULL;
    bool over = false;
    int result = bb_reader_type(&b->bus->reader, stmt, 0, &type);
    if (result == BUSBAR_OK && !bb_worker_wants(worker, type))
        return PASSED;
    if (result == BUSBAR_OK)
        result = bb_reader_record(&b->bus->reader, stmt, 0, lane, out_record);
    if (result == BUSBAR_OK && !bb_worker_wants_event(worker, out_record))
        return PASSED;
    if (result == BUSBAR_OK)
        result = bb_expiry_over(worker, b->bus, stmt, 0, out_record, &over);
    return result == BUSBAR_OK && over ? EXPIRED : result;
}

/* BB_ROW when the event is to be handled now, or PARKED. */
static int check_order(batch *b, busbar_lane lane, const char *key)
{
    bool park = false;
    int result = bb_outcome_must_park(&b->outcome, lane, key, &park);
    return result < 0 ? result : park ? PARKED : BB_ROW;
}

/* Takes the row in hand: an event that is wanted is copied, so that no statement is open while its handler runs. */
static int take_row(batch *b, sqlite3_stmt *stmt, bb_trial *trial, busbar_record *out_copy)
{
    busbar_record record;
    busbar_lane lane = trial->key.lane;
    trial->key.seq = bb_column_integer(&b->bus->store, stmt, BB_LOG_SEQ);
    int result = read_row(b, stmt, lane, &record);
    if (result == PASSED)
        bb_outcome_filtered(&b->outcome, lane, trial->key.seq, trial->key.seq);
    if (result == EXPIRED)
        return bb_outcome_expired(&b->outcome, trial) < 0 ? b->bus->store.error.code : PASSED;
    if (result != BUSBAR_OK)
        return result;
    if (bb_record_copy(&record, &b->subscription->copy, out_copy) < 0)
        return bb_store_fail_plain(&b->bus->store, BUSBAR_ENOMEM);
    return check_order(b, lane, record.key);
}

/* The events behind the one in hand, up to the first that is not wanted or cannot be read: that is found again. */
static int read_ahead(batch *b, sqlite3_stmt *stmt, busbar_lane lane)
{
    busbar_record record;
    bool room = b->subscription->worker.careful == 0 && b->subscription->one_by_one == 0;
    while (room) {
        int result = bb_store_step(&b->bus->store, stmt);
        if (result != BB_ROW)
            return result;
        result = read_row(b, stmt, lane, &record);
        if (result < 0 && result != BUSBAR_ENOTFOUND)
            return result;
        room = result == BUSBAR_OK && bb_ahead_add(&b->subscription->ahead, &record);
    }
    return BUSBAR_OK;
}

/* Passes unwanted events up to the next one that is wanted. BB_ROW with its copy, PARKED, or BUSBAR_OK: none now. */
static int next_row(batch *b, bb_trial *trial, busbar_record *out_copy)
{
    bb_store *store = &b->bus->store;
    sqlite3_stmt *stmt = NULL;
    busbar_lane lane = trial->key.lane;
    const busbar_record *at_hand = bb_ahead_take(&b->subscription->ahead, lane);
    if (at_hand) {
        trial->key.seq = at_hand->seq;
        *out_copy = *at_hand;
        return check_order(b, lane, at_hand->key);
    }
    int result = bb_log_scan(store, lane, b->advance[lane].cursor, b->heads[lane], &stmt);
    if (result < 0)
        return result;
    do {
        result = bb_store_step(store, stmt);
        if (result == BB_ROW)
            result = take_row(b, stmt, trial, out_copy);
        check_time(b);
    } while (result == PASSED && !b->stop);
    if (result == BB_ROW && !b->stop && read_ahead(b, stmt, lane) < 0)
        result = store->error.code; /* SQLite may have given the transaction up */
    bb_store_end(store, stmt);
    b->standing[lane] = b->standing[lane] || result == BUSBAR_OK; /* a handler has had the rest of it evicted */
    return result == PASSED ? BUSBAR_OK : result;
}

static int run_one(batch *b, busbar_lane lane, bb_trial *trial)
{
    busbar_record record;
    *trial = (bb_trial){.key = {.lane = lane}, .number = 1};
    int result = next_row(b, trial, &record);
    if (result == BB_ROW)
        result = handle(b, trial, &record);
    else if (result == PARKED)
        result = bb_outcome_parked(&b->outcome, trial);
    else if (result == BUSBAR_ENOTFOUND)
        result = bury_unreadable(b, trial);
    return result == BB_NO_ROOM ? stand_still(b, lane) : result;
}

/* A bit per lane that has an event for the handler now. Lanes that it does not want are passed over. */
static unsigned waiting_lanes(batch *b)
{
    unsigned waiting = 0;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        bool more = b->advance[lane].cursor < b->heads[lane];
        if (more && !bb_worker_wants_lane(&b->subscription->worker, (busbar_lane)lane))
            bb_outcome_filtered(&b->outcome, (busbar_lane)lane, b->advance[lane].cursor + 1, b->heads[lane]);
        else if (more && !b->standing[lane] && !bb_outcome_held(&b->outcome, (busbar_lane)lane) &&
                 !bb_subscription_blocked(b->subscription, (busbar_lane)lane, b->started_us))
            waiting |= 1u << (unsigned)lane;
    }
    return waiting;
}

static int run_lanes(batch *b, bb_trial *trial)
{
    bb_turns *turns = &b->subscription->worker.turns;
    unsigned waiting;
    int result = run_exceptions(b, trial);
    while (result == BUSBAR_OK && !b->stop && (waiting = waiting_lanes(b)) != 0) {
        busbar_lane lane = bb_turns_choose(turns, waiting);
        result = run_one(b, lane, trial);
        bb_turns_took(turns, lane, waiting, 1);
        check_time(b);
    }
    return result;
}

int bb_transaction_batch(bb_subscription *subscription, busbar *bus, uint64_t deadline_us, uint64_t *out_wait_us)
{
    batch b = {.subscription = subscription, .bus = bus, .started_us = bb_handle_now_us(bus)};
    *out_wait_us = bb_worker_courtesy_us(bus, b.started_us);
    if (*out_wait_us > 0)
        return BUSBAR_OK;
    b.hold_us = deadline_us > b.started_us ? deadline_us - b.started_us : 0;
    if (b.hold_us > bus->options.write_hold_us)
        b.hold_us = bus->options.write_hold_us;
    int result = recover_kept(subscription);
    if (result == BUSBAR_OK)
        result = begin(&b);
    if (result < 0)
        return result;
    bb_trial trial = {.number = 1};
    result = run_lanes(&b, &trial);
    result = result == BROKEN ? recover(&b, &trial) : finish(&b, result);
    bb_worker_wrote(bus);
    return result;
}
