/* SPDX-License-Identifier: MIT */
/*
 * Delivery outside any transaction, for slow or external effects: at least once. Only events up to the watermark are
 * handed over; results are recorded together at the end of the batch, at once after a failure.
 */
#include <string.h>

#include "expiry.h"
#include "log.h"
#include "subscription.h"
#include "text.h"

typedef struct batch {
    bb_subscription *subscription;
    busbar *bus;
    bb_outcome *outcome; /* the subscription's: what no commit has recorded yet */
    uint64_t deadline_us;
    bool standing[BUSBAR_LANE_COUNT]; /* the lane must stand still */
    int64_t due_ms;                   /* when the next retry is due, as of the last recording */
    bb_trial trial;
    busbar_record record; /* of the event in hand */
    uint64_t pause_us;    /* the write lock is the application's for so long: what has expired waits */
} batch;

/* Positive, and never leave this file. */
#define NOTHING 1 /* there is nothing to hand over */
#define PASSED  2 /* the event in hand needs no handing over: look again */
#define EXPIRED 3 /* its time is over */

static bb_worker *worker_of(const batch *b)
{
    return &b->subscription->worker;
}

/*
 * Goes on from what is recorded, or from what waits to be; unless a commit has recorded it that was done although it failed
 * (an I/O error after its end).
 */
static int load(batch *b)
{
    bb_cursor cursors[BUSBAR_LANE_COUNT];
    bb_store *store = &b->bus->store;
    bb_advance *advance = b->subscription->unrecorded;
    bb_ahead_clear(&b->subscription->ahead);
    int result = bb_consumer_cursors(store, worker_of(b)->consumer, cursors);
    if (result == BUSBAR_OK)
        result = bb_exception_next_due(store, worker_of(b)->consumer, b->bus->boot.id, &b->due_ms);
    if (result < 0)
        return result;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        if (!b->subscription->has_unrecorded || cursors[lane].cursor >= advance[lane].cursor)
            advance[lane] = (bb_advance){.cursor = cursors[lane].cursor};
    }
    if (b->subscription->has_unrecorded)
        return bb_exception_count(store, worker_of(b)->consumer, b->outcome->open);
    return bb_outcome_begin(b->outcome, worker_of(b), b->bus, advance);
}

static batch batch_of(bb_subscription *subscription, busbar *bus, uint64_t deadline_us)
{
    return (batch){
        .subscription = subscription, .bus = bus, .outcome = &subscription->outcome, .deadline_us = deadline_us};
}

/* ---- Recording ---- */

static void measure(batch *b)
{
    const bb_advance *advance = b->subscription->unrecorded;
    int64_t passed = 0;
    bool drained = true;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        passed += advance[lane].passed;
        drained = drained && advance[lane].cursor >= b->bus->heads[lane];
    }
    bb_meter_add(&worker_of(b)->meter, passed, bb_handle_now_us(b->bus), drained);
}

static int end(batch *b, int result)
{
    if (result == BUSBAR_OK) {
        measure(b);
        result = bb_outcome_write(b->outcome);
    }
    result = bb_store_finish(&b->bus->store, result);
    bb_worker_wrote(b->bus);
    if (result < 0)
        return result;
    b->subscription->has_unrecorded = false;
    return load(b);
}

static int record_batch(batch *b)
{
    if (!b->subscription->has_unrecorded)
        return BUSBAR_OK;
    int result = bb_worker_begin(worker_of(b), b->bus);
    return result < 0 ? result : end(b, BUSBAR_OK);
}

/* No room for one more open exception: the event is not passed, and comes again. */
static int stand_still(batch *b)
{
    busbar_lane lane = b->trial.key.lane;
    b->standing[lane] = true;
    bb_subscription_block(b->subscription, b->bus, lane);
    bb_outcome_say(b->outcome, b->outcome->no_room);
    return BUSBAR_OK;
}

/* The outcome of the event in hand; NULL: it is done. */
static int write_outcome(batch *b, const bb_fault *fault, bool readable)
{
    const busbar_record *record = readable ? &b->record : NULL;
    if (!fault)
        return bb_outcome_done(b->outcome, &b->trial, record);
    int result = bb_outcome_failed(b->outcome, &b->trial, record, fault);
    return result == BB_NO_ROOM ? stand_still(b) : result;
}

/* Records the event in hand, together with what went well before it. */
static int record_single(batch *b, const bb_fault *fault, bool readable)
{
    bb_outcome outcome = *b->outcome;
    bb_advance advance = b->subscription->unrecorded[b->trial.key.lane];
    int result = bb_worker_begin(worker_of(b), b->bus);
    if (result < 0)
        return result;
    result = write_outcome(b, fault, readable);
    if (result == BUSBAR_OK)
        result = bb_worker_passed(worker_of(b), b->bus);
    result = end(b, result);
    if (result < 0) { /* it will be handled again */
        *b->outcome = outcome;
        b->subscription->unrecorded[b->trial.key.lane] = advance;
    }
    return result;
}

/* An event that cannot be read (written by hand, damaged) must not stop those behind it. */
static int bury(batch *b)
{
    char text[BUSBAR_DETAIL_SIZE];
    memcpy(text, b->bus->store.error.text, sizeof text);
    const bb_fault fault = {.verdict = BUSBAR_DEAD, .text = text};
    int result = record_single(b, &fault, false);
    return result < 0 ? result : PASSED;
}

static int park(batch *b)
{
    bb_outcome outcome = *b->outcome;
    bb_advance advance = b->subscription->unrecorded[b->trial.key.lane];
    int result = bb_worker_begin(worker_of(b), b->bus);
    if (result < 0)
        return result;
    result = bb_outcome_parked(b->outcome, &b->trial);
    result = end(b, result == BB_NO_ROOM ? stand_still(b) : result);
    if (result < 0) { /* it was not passed */
        *b->outcome = outcome;
        b->subscription->unrecorded[b->trial.key.lane] = advance;
    }
    return result < 0 ? result : PASSED;
}

/* ---- The next event ---- */

/* EXPIRED, or BUSBAR_OK with the copy. */
static int copy_exception(batch *b, sqlite3_stmt *stmt)
{
    busbar_record record;
    bool over = false;
    int result = bb_reader_record(&b->bus->reader, stmt, BB_EXCEPTION_LOG, b->trial.key.lane, &record);
    if (result == BUSBAR_OK)
        result = bb_expiry_over(worker_of(b), b->bus, stmt, BB_EXCEPTION_LOG, &record, &over);
    if (result == BUSBAR_OK && over)
        return EXPIRED;
    if (result == BUSBAR_OK && bb_record_copy(&record, &b->subscription->copy, &b->record) < 0)
        result = bb_store_fail_plain(&b->bus->store, BUSBAR_ENOMEM);
    b->record.attempt = b->trial.number;
    return result;
}

static int expire(batch *b);

static int next_exception(batch *b)
{
    bb_store *store = &b->bus->store;
    sqlite3_stmt *stmt;
    int64_t now_ms = bb_handle_now_ms(b->bus);
    if (now_ms < b->due_ms)
        return NOTHING;
    int result = bb_exception_read_due(store, worker_of(b)->consumer, b->bus->boot.id, now_ms, 0, &stmt);
    if (result != BB_ROW)
        return result < 0 ? result : NOTHING;
    bb_trial_read(store, stmt, &b->trial);
    result = copy_exception(b, stmt);
    bb_store_end(store, stmt);
    if (result == EXPIRED)
        return expire(b);
    return result == BUSBAR_ENOTFOUND ? bury(b) : result;
}

/* Reads the row in hand. BUSBAR_OK, PASSED (it is not wanted), EXPIRED, or a code. *out_left_ms: how long it may live. */
static int read_row(batch *b, sqlite3_stmt *stmt, busbar_lane lane, busbar_record *out_record, int64_t *out_left_ms)
{
    const char *type = NULL;
    *out_left_ms = BB_EXPIRY_NEVER;
    int result = bb_reader_type(&b->bus->reader, stmt, 0, &type);
    if (result == BUSBAR_OK && !bb_worker_wants(worker_of(b), type))
        return PASSED;
    if (result == BUSBAR_OK)
        result = bb_reader_record(&b->bus->reader, stmt, 0, lane, out_record);
    if (result == BUSBAR_OK && !bb_worker_wants_event(worker_of(b), out_record))
        return PASSED;
    if (result == BUSBAR_OK)
        result = bb_expiry_left(worker_of(b), b->bus, stmt, 0, out_record, out_left_ms);
    return result == BUSBAR_OK && *out_left_ms <= 0 ? EXPIRED : result;
}

/* The events behind the one in hand, up to the first that is not wanted, cannot be read, or may expire: that is found again. */
static int read_ahead(batch *b, sqlite3_stmt *stmt, busbar_lane lane)
{
    busbar_record record;
    int64_t left_ms = 0;
    bool room = worker_of(b)->careful == 0;
    while (room) {
        int result = bb_store_step(&b->bus->store, stmt);
        if (result != BB_ROW)
            return result;
        result = read_row(b, stmt, lane, &record, &left_ms);
        if (result < 0 && result != BUSBAR_ENOTFOUND)
            return result;
        room = result == BUSBAR_OK && left_ms == BB_EXPIRY_NEVER && bb_ahead_add(&b->subscription->ahead, &record);
    }
    return BUSBAR_OK;
}

/* Takes the row in hand, and those behind it. */
static int take_row(batch *b, sqlite3_stmt *stmt)
{
    busbar_lane lane = b->trial.key.lane;
    busbar_record record;
    int64_t left_ms = 0;
    int result = read_row(b, stmt, lane, &record, &left_ms);
    if (result == PASSED) {
        bb_outcome_filtered(b->outcome, lane, b->trial.key.seq, b->trial.key.seq);
        b->subscription->has_unrecorded = true;
    }
    if (result != BUSBAR_OK)
        return result;
    if (bb_record_copy(&record, &b->subscription->copy, &b->record) < 0)
        return bb_store_fail_plain(&b->bus->store, BUSBAR_ENOMEM);
    return read_ahead(b, stmt, lane);
}

/* BUSBAR_OK with the lane's next event up to the watermark in hand, PASSED, NOTHING, or a code. */
static int read_next(batch *b, busbar_lane lane)
{
    bb_store *store = &b->bus->store;
    sqlite3_stmt *stmt = NULL;
    const busbar_record *at_hand = bb_ahead_take(&b->subscription->ahead, lane);
    b->trial = (bb_trial){.key = {.lane = lane}, .number = 1};
    if (at_hand) {
        b->trial.key.seq = at_hand->seq;
        b->record = *at_hand;
        return BUSBAR_OK;
    }
    int result = bb_log_scan(store, lane, b->subscription->unrecorded[lane].cursor, b->bus->watermark[lane], &stmt);
    if (result == BUSBAR_OK)
        result = bb_store_step(store, stmt);
    if (result < 0)
        return result;
    if (result == BB_ROW) {
        b->trial.key.seq = bb_column_integer(store, stmt, BB_LOG_SEQ);
        result = take_row(b, stmt);
    } else {
        result = NOTHING;
    }
    bb_store_end(store, stmt);
    return result;
}

static int next_of_lane(batch *b, busbar_lane lane)
{
    bool must_park = false;
    int result = read_next(b, lane);
    if (result == BUSBAR_ENOTFOUND)
        return bury(b);
    if (result == EXPIRED)
        return expire(b);
    if (result == BUSBAR_OK)
        result = bb_outcome_must_park(b->outcome, lane, b->record.key, &must_park);
    return result == BUSBAR_OK && must_park ? park(b) : result;
}

/* Up to where a lane is looked at: a lane that is not wanted is passed over whatever the watermark. */
static bool has_more(batch *b, busbar_lane lane)
{
    int64_t cursor = b->subscription->unrecorded[lane].cursor;
    if (!bb_worker_wants_lane(worker_of(b), lane)) {
        if (cursor < b->bus->heads[lane]) {
            bb_outcome_filtered(b->outcome, lane, cursor + 1, b->bus->heads[lane]);
            b->subscription->has_unrecorded = true;
        }
        return false;
    }
    return cursor < b->bus->watermark[lane] && !b->standing[lane] && !bb_outcome_held(b->outcome, lane) &&
           !bb_subscription_blocked(b->subscription, lane, bb_handle_now_us(b->bus));
}

/* In a transaction: the event in hand, and as many of its lane behind it as have expired, too, while the lock is ours. */
static int expire_run(batch *b)
{
    busbar_lane lane = b->trial.key.lane;
    bool from_log = b->trial.key.n == 0;
    int result = EXPIRED;
    while (result == EXPIRED || result == PASSED) {
        int recorded = result == EXPIRED ? bb_outcome_expired(b->outcome, &b->trial) : BUSBAR_OK;
        if (recorded < 0)
            return recorded;
        bool more = from_log && has_more(b, lane) && bb_store_held_us(&b->bus->store) < b->bus->options.write_hold_us;
        result = more ? read_next(b, lane) : NOTHING;
    }
    return result == BUSBAR_ENOTFOUND || result >= 0 ? BUSBAR_OK : result; /* whatever it is, it is looked at again */
}

static int expire(batch *b)
{
    b->pause_us = bb_worker_courtesy_us(b->bus, bb_handle_now_us(b->bus));
    if (b->pause_us > 0)
        return NOTHING;
    bb_outcome outcome = *b->outcome;
    busbar_lane lane = b->trial.key.lane;
    bb_advance advance = b->subscription->unrecorded[lane];
    int result = bb_worker_begin(worker_of(b), b->bus);
    if (result < 0)
        return result;
    result = end(b, expire_run(b));
    if (result < 0) {
        *b->outcome = outcome;
        b->subscription->unrecorded[lane] = advance;
    }
    return result < 0 ? result : PASSED;
}

static int next_in_log(batch *b)
{
    bb_turns *turns = &worker_of(b)->turns;
    unsigned waiting = 0;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        waiting |= has_more(b, (busbar_lane)lane) ? 1u << (unsigned)lane : 0;
    if (waiting == 0)
        return NOTHING;
    busbar_lane lane = bb_turns_choose(turns, waiting);
    bb_turns_took(turns, lane, waiting, 1);
    return next_of_lane(b, lane);
}

/* BUSBAR_OK with an event in hand, or NOTHING. */
static int next_event(batch *b)
{
    int result;
    do {
        result = next_exception(b);
        if (result == NOTHING)
            result = next_in_log(b);
    } while (result == PASSED && bb_handle_now_us(b->bus) < b->deadline_us);
    return result == PASSED ? NOTHING : result;
}

/* ---- The watermark ---- */

static bool log_above_watermark(const batch *b)
{
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        if (b->subscription->unrecorded[lane].cursor < b->bus->heads[lane] &&
            b->bus->watermark[lane] < b->bus->heads[lane] && bb_worker_wants_lane(worker_of(b), (busbar_lane)lane))
            return true;
    }
    return false;
}

/* A retry that was left by the transactional delivery of a former run may never have been synced. */
static int retry_above_watermark(batch *b, bool *out_above)
{
    bb_store *store = &b->bus->store;
    sqlite3_stmt *stmt;
    bb_trial trial = {.key = {.n = 0}};
    int64_t now_ms = bb_handle_now_ms(b->bus);
    int result;
    *out_above = false;
    while (!*out_above && (result = bb_exception_read_due(store, worker_of(b)->consumer, b->bus->boot.id, now_ms,
                                                          trial.key.n, &stmt)) == BB_ROW) {
        bb_trial_read(store, stmt, &trial);
        *out_above = trial.key.seq > b->bus->watermark[trial.key.lane];
        bb_store_end(store, stmt);
    }
    return result < 0 ? result : BUSBAR_OK;
}

/* Everything that this batch may hand over is below the watermark. *out_wait_us > 0: not now. */
static int raise_watermark(batch *b, uint64_t *out_wait_us)
{
    bool above = log_above_watermark(b);
    int result = above ? BUSBAR_OK : retry_above_watermark(b, &above);
    *out_wait_us = 0;
    return result == BUSBAR_OK && above ? bb_worker_raise_watermark(b->bus, out_wait_us) : result;
}

/* ---- Handing over ---- */

/* Nothing has to be written before the end of the batch. */
static bool can_wait(const batch *b, busbar_verdict verdict)
{
    return verdict == BUSBAR_DONE && b->trial.key.n == 0 && !worker_of(b)->on_success && worker_of(b)->careful == 0;
}

static int settle(batch *b, busbar_verdict verdict, const busbar_reason *reason)
{
    const bb_fault fault = {verdict, reason->retry_after_ms, reason->text};
    if (!can_wait(b, verdict))
        return record_single(b, verdict == BUSBAR_DONE ? NULL : &fault, true);
    b->subscription->has_unrecorded = true;
    return bb_outcome_done(b->outcome, &b->trial, &b->record);
}

static int call(batch *b)
{
    busbar_reason reason;
    bb_store *store = &b->bus->store;
    busbar_verdict verdict = bb_subscription_call(b->subscription, b->bus, &b->record, &reason);
    if (bb_store_in_transaction(store)) {
        bb_store_rollback(store);
        verdict = BUSBAR_RETRY;
        bb_text_copy(reason.text, sizeof reason.text, "the handler left a transaction open: it was rolled back");
    }
    return settle(b, verdict, &reason);
}

static int handle(batch *b)
{
    bool poison = false;
    const bb_fault fault = {.verdict = BUSBAR_DEAD, .text = bb_worker_poison_text};
    if (worker_of(b)->careful == 0)
        return call(b);
    int result = record_batch(b);
    if (result == BUSBAR_OK)
        result = bb_worker_mark(worker_of(b), b->bus, b->trial.key.lane, b->trial.key.seq, &poison);
    if (result < 0)
        return result;
    return poison ? record_single(b, &fault, true) : call(b);
}

const char *bb_outside_refusal(void)
{
    return NULL;
}

int bb_outside_record(bb_subscription *subscription, busbar *bus)
{
    batch b = batch_of(subscription, bus, 0);
    int result = load(&b);
    return result < 0 ? result : record_batch(&b);
}

static int run_events(batch *b)
{
    int result;
    do {
        result = next_event(b);
        if (result == BUSBAR_OK)
            result = handle(b);
    } while (result == BUSBAR_OK && bb_handle_now_us(b->bus) < b->deadline_us);
    return result < 0 ? result : BUSBAR_OK;
}

int bb_outside_batch(bb_subscription *subscription, busbar *bus, uint64_t deadline_us, uint64_t *out_wait_us)
{
    batch b = batch_of(subscription, bus, deadline_us);
    bb_reader_refresh(&bus->reader);
    int result = load(&b);
    if (result == BUSBAR_OK)
        result = record_batch(&b); /* what a former batch could not record: nothing more is handled before */
    if (result == BUSBAR_OK)
        result = raise_watermark(&b, out_wait_us);
    if (result < 0 || *out_wait_us > 0)
        return result;
    result = run_events(&b);
    int recorded = result < 0 ? load(&b) : BUSBAR_OK;
    if (recorded == BUSBAR_OK)
        recorded = record_batch(&b);
    *out_wait_us = b.pause_us;
    return result < 0 ? result : recorded;
}
