/* SPDX-License-Identifier: MIT */
/*
 * Delivery outside any transaction, for slow or external effects: at least once. Only events up to the watermark are
 * handed over; results are recorded together at the end of the batch, at once after a failure.
 */
#include <string.h>

#include "log.h"
#include "subscription.h"
#include "text.h"

typedef struct batch {
    bb_subscription *subscription;
    busbar *bus;
    bb_cursor cursors[BUSBAR_LANE_COUNT];
    bb_advance *advance; /* the subscription's, not recorded yet */
    uint64_t deadline_us;
    bool handled;
} batch;

typedef struct attempt {
    busbar_lane lane;
    int64_t n; /* 0: from the log */
    uint32_t number;
    busbar_record record;
} attempt;

/* Positive, and never leaves this file: nothing is there to hand over. */
#define NOTHING 1

/*
 * Goes on from what is recorded, or from what waits to be. A commit that failed may have been done all the same (an I/O
 * error after its end): what the cursor has reached is recorded.
 */
static int load(batch *b)
{
    int result = bb_consumer_cursors(&b->bus->store, b->subscription->worker.consumer, b->cursors);
    if (result < 0)
        return result;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        if (!b->subscription->has_unrecorded || b->cursors[lane].cursor >= b->advance[lane].cursor)
            b->advance[lane] = (bb_advance){.cursor = b->cursors[lane].cursor};
    }
    return BUSBAR_OK;
}

static int copy_event(batch *b, sqlite3_stmt *stmt, int first, attempt *a)
{
    busbar_record record;
    int result = bb_reader_record(&b->bus->reader, stmt, first, a->lane, &record);
    if (result == BUSBAR_OK && bb_record_copy(&record, &b->subscription->copy, &a->record) < 0)
        result = bb_store_fail(&b->bus->store, BUSBAR_ENOMEM, busbar_error_text(BUSBAR_ENOMEM));
    a->record.attempt = a->number;
    return result;
}

static int bury(batch *b, const attempt *a);

static int next_exception(batch *b, attempt *a)
{
    bb_store *store = &b->bus->store;
    sqlite3_stmt *stmt;
    int64_t now_ms = (int64_t)(bb_handle_now_us(b->bus) / 1000);
    int result = bb_exception_read_due(store, b->subscription->worker.consumer, b->bus->boot.id, now_ms, 0, &stmt);
    if (result != BB_ROW)
        return result < 0 ? result : NOTHING;
    a->n = bb_column_integer(store, stmt, BB_EXCEPTION_N);
    a->lane = (busbar_lane)bb_column_integer(store, stmt, BB_EXCEPTION_LANE);
    a->number = (uint32_t)bb_column_integer(store, stmt, BB_EXCEPTION_ATTEMPTS) + 1;
    a->record.seq = bb_column_integer(store, stmt, BB_EXCEPTION_LOG + BB_LOG_SEQ);
    result = copy_event(b, stmt, BB_EXCEPTION_LOG, a);
    bb_store_end(store, stmt);
    if (result == BUSBAR_ENOTFOUND)
        result = bury(b, a) < 0 ? b->bus->store.error.code : NOTHING;
    return result;
}

/* The next wanted event of a lane up to the watermark; passes unwanted ones. */
static int next_of_lane(batch *b, busbar_lane lane, attempt *a)
{
    bb_store *store = &b->bus->store;
    if (bb_subscription_blocked(b->subscription, lane, bb_handle_now_us(b->bus)))
        return NOTHING;
    bb_advance *advance = &b->advance[lane];
    while (advance->cursor < b->bus->watermark[lane]) {
        sqlite3_stmt *stmt;
        const char *type = NULL;
        int result = bb_log_read_next(store, lane, advance->cursor, &stmt);
        if (result != BB_ROW)
            return result < 0 ? result : NOTHING;
        int64_t seq = bb_column_integer(store, stmt, BB_LOG_SEQ);
        result = bb_reader_type(&b->bus->reader, stmt, 0, &type);
        bool wanted = result == BUSBAR_OK && bb_worker_wants(&b->subscription->worker, type);
        if (wanted) {
            *a = (attempt){.lane = lane, .number = 1};
            result = copy_event(b, stmt, 0, a);
        }
        bb_store_end(store, stmt);
        if (result == BUSBAR_ENOTFOUND) {
            attempt unreadable = {.lane = lane, .number = 1, .record = {.seq = seq}};
            result = bury(b, &unreadable);
            if (result == BUSBAR_OK)
                continue;
        }
        if (wanted || result < 0)
            return result;
        advance->cursor = seq;
        advance->filtered++;
        b->subscription->has_unrecorded = true;
        if (bb_handle_now_us(b->bus) >= b->deadline_us)
            break;
    }
    return NOTHING;
}

static int next_event(batch *b, attempt *a)
{
    int result = next_exception(b, a);
    for (int i = 0; result == NOTHING && i < BUSBAR_LANE_COUNT; i++)
        result = next_of_lane(b, bb_lane_order[i], a);
    return result;
}

static bool log_above_watermark(const batch *b)
{
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        if (b->advance[lane].cursor < b->bus->heads[lane] && b->bus->watermark[lane] < b->bus->heads[lane])
            return true;
    }
    return false;
}

/* A retry that was left by the transactional delivery of a former run may never have been synced. */
static int retry_above_watermark(batch *b, bool *out_above)
{
    bb_store *store = &b->bus->store;
    sqlite3_stmt *stmt;
    int64_t after = 0;
    int64_t now_ms = (int64_t)(bb_handle_now_us(b->bus) / 1000);
    int result;
    *out_above = false;
    while (!*out_above && (result = bb_exception_read_due(store, b->subscription->worker.consumer, b->bus->boot.id,
                                                          now_ms, after, &stmt)) == BB_ROW) {
        int64_t lane = bb_column_integer(store, stmt, BB_EXCEPTION_LANE);
        after = bb_column_integer(store, stmt, BB_EXCEPTION_N);
        *out_above = lane >= 0 && lane < BUSBAR_LANE_COUNT &&
                     bb_column_integer(store, stmt, BB_EXCEPTION_LOG + BB_LOG_SEQ) > b->bus->watermark[lane];
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

/* ---- Recording ---- */

static int record_failure(batch *b, const attempt *a, bool dead, const char *text)
{
    bb_store *store = &b->bus->store;
    bb_failure failure;
    int result = bb_worker_failure(&b->subscription->worker, b->bus, a->lane, a->number, dead, text, &failure);
    if (result < 0)
        return result;
    b->advance[a->lane].dead += failure.state == BUSBAR_STATE_DEAD;
    return a->n != 0 ? bb_exception_update(store, &failure, a->n) : bb_exception_add(store, &failure, a->record.seq);
}

static void measure(batch *b)
{
    int64_t delivered = 0;
    bool drained = true;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        delivered += b->advance[lane].delivered;
        drained = drained && b->advance[lane].cursor >= b->bus->heads[lane];
    }
    bb_meter_add(&b->subscription->worker.meter, delivered, bb_handle_now_us(b->bus), drained);
}

static int write_progress(batch *b, const char *error)
{
    bb_worker *worker = &b->subscription->worker;
    bb_store *store = &b->bus->store;
    int result = BUSBAR_OK;
    measure(b);
    for (int lane = 0; result == BUSBAR_OK && lane < BUSBAR_LANE_COUNT; lane++) {
        if (b->advance[lane].cursor > b->cursors[lane].cursor || b->advance[lane].delivered + b->advance[lane].dead > 0)
            result = bb_consumer_advance(store, worker->consumer, (busbar_lane)lane, &b->advance[lane],
                                         worker->meter.rate_mhz);
    }
    if (result == BUSBAR_OK && b->handled)
        result = bb_consumer_note_error(store, worker->consumer, error);
    return result;
}

static int end(batch *b, int result)
{
    if (result < 0)
        bb_store_rollback(&b->bus->store);
    else
        result = bb_store_commit(&b->bus->store);
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
    int result = bb_worker_begin(&b->subscription->worker, b->bus);
    return result < 0 ? result : end(b, write_progress(b, NULL));
}

static void pass(batch *b, const attempt *a)
{
    b->subscription->has_unrecorded = true;
    if (a->n == 0)
        b->advance[a->lane].cursor = a->record.seq;
}

/* What went well before is recorded together with the failure, or with an exception that is settled. */
static int record_single(batch *b, const attempt *a, busbar_verdict verdict, const char *text)
{
    bb_store *store = &b->bus->store;
    bb_advance before = b->advance[a->lane];
    int result = bb_worker_begin(&b->subscription->worker, b->bus);
    if (result < 0)
        return result;
    pass(b, a);
    b->advance[a->lane].delivered += verdict == BUSBAR_DONE;
    if (verdict == BUSBAR_DONE)
        result = bb_exception_delete(store, a->n);
    else
        result = record_failure(b, a, verdict == BUSBAR_DEAD, text);
    if (result == BUSBAR_OK)
        result = write_progress(b, verdict == BUSBAR_DONE ? NULL
                                   : *text                ? text
                                                          : "the handler failed without a reason");
    result = end(b, result);
    if (result < 0)
        b->advance[a->lane] = before; /* it will be handled again */
    return result;
}

/* An event that cannot be read (written by hand, damaged) must not stop those behind it. */
static int bury(batch *b, const attempt *a)
{
    char text[BUSBAR_DETAIL_SIZE];
    memcpy(text, b->bus->store.error.text, sizeof text);
    return record_single(b, a, BUSBAR_DEAD, text);
}

/* No room for one more open exception: the event is not passed, and comes again. */
static int block(batch *b, busbar_lane lane)
{
    const char *text = bb_subscription_block(b->subscription, b->bus, lane);
    int result = bb_worker_begin(&b->subscription->worker, b->bus);
    return result < 0 ? result : end(b, write_progress(b, text));
}

static int settle(batch *b, const attempt *a, busbar_verdict verdict, const char *text)
{
    if (verdict == BUSBAR_DONE && a->n == 0) {
        pass(b, a);
        b->advance[a->lane].delivered++;
        return BUSBAR_OK;
    }
    int64_t open = 0;
    if (verdict == BUSBAR_RETRY && a->n == 0) {
        int result = bb_exception_count(&b->bus->store, b->subscription->worker.consumer, &open);
        if (result < 0)
            return result;
    }
    return open >= BB_EXCEPTION_MAX ? block(b, a->lane) : record_single(b, a, verdict, text);
}

static int handle(batch *b, const attempt *a)
{
    busbar_reason reason;
    bb_store *store = &b->bus->store;
    busbar_verdict verdict = bb_subscription_call(b->subscription, b->bus, &a->record, &reason);
    b->handled = true;
    if (bb_store_in_transaction(store)) {
        bb_store_rollback(store);
        verdict = BUSBAR_RETRY;
        bb_text text = bb_text_on(reason.text, sizeof reason.text);
        bb_text_add(&text, "the handler left a transaction open: it was rolled back");
    }
    return settle(b, a, verdict, reason.text);
}

int bb_outside_record(bb_subscription *subscription, busbar *bus)
{
    batch b = {.subscription = subscription, .bus = bus, .advance = subscription->unrecorded};
    int result = load(&b);
    return result < 0 ? result : record_batch(&b);
}

static int run_events(batch *b)
{
    attempt a = {.n = 0};
    int result;
    do {
        a.n = 0;
        result = next_event(b, &a);
        if (result == BUSBAR_OK)
            result = handle(b, &a);
    } while (result == BUSBAR_OK && bb_handle_now_us(b->bus) < b->deadline_us);
    return result < 0 ? result : BUSBAR_OK;
}

int bb_outside_batch(bb_subscription *subscription, busbar *bus, uint64_t deadline_us, uint64_t *out_wait_us)
{
    batch b = {
        .subscription = subscription, .bus = bus, .advance = subscription->unrecorded, .deadline_us = deadline_us};
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
    return result < 0 ? result : recorded;
}
