/* SPDX-License-Identifier: MIT */
/*
 * Transactional delivery: many events per transaction, each in a savepoint. What handlers write, what they publish and the
 * cursor commit together. The batch ends by time, so that the write lock is never held long.
 */
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "subscription.h"

typedef struct batch {
    bb_subscription *subscription;
    busbar *bus;
    uint64_t started_us;
    uint64_t until_us;
    int64_t number;
    int64_t open_exceptions;
    int64_t handled; /* events handed to the handler */
    int gone_native; /* SQLite's code when the transaction was found gone */
    bool stop;       /* time is up */
    bool lane_stop;  /* the lane must stand still */
    bb_advance advance[BUSBAR_LANE_COUNT];
    bool touched[BUSBAR_LANE_COUNT];
    busbar_reason last_failure;
} batch;

/* The event in hand: from the log (n == 0) or an exception tried again. */
typedef struct attempt {
    busbar_lane lane;
    int64_t seq;
    int64_t n;
    uint32_t number;
} attempt;

/* The handler ended the transaction it ran in; positive, and never leaves this file. */
#define BROKEN 1

static const char BROKEN_TEXT[] =
    "the handler ended the transaction it ran in (COMMIT or ROLLBACK): remove that from it";

static void check_time(batch *b)
{
    b->stop = b->stop || (b->subscription->one_by_one > 0 && b->handled > 0) || bb_handle_now_us(b->bus) >= b->until_us;
}

static void touch(batch *b, busbar_lane lane, int64_t cursor)
{
    b->touched[lane] = true;
    b->advance[lane].cursor = cursor;
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

/* Records a failure of the event in hand: a new exception, or one more attempt of an old one. */
static int record_failure(batch *b, const attempt *a, bool dead, const char *text)
{
    bb_store *store = &b->bus->store;
    bb_failure failure;
    int result = bb_worker_failure(&b->subscription->worker, b->bus, a->lane, a->number, dead, text, &failure);
    if (result < 0)
        return result;
    if (a->n != 0)
        result = bb_exception_update(store, &failure, a->n);
    else
        result = bb_exception_add(store, &failure, a->seq);
    if (result < 0)
        return result;
    bool now_dead = failure.state == BUSBAR_STATE_DEAD;
    b->touched[a->lane] = true;
    b->advance[a->lane].dead += now_dead;
    b->open_exceptions += (a->n == 0 && !now_dead) - (a->n != 0 && now_dead);
    bb_text last = bb_text_on(b->last_failure.text, sizeof b->last_failure.text);
    bb_text_add(&last, text && *text ? text : "the handler failed without a reason");
    return BUSBAR_OK;
}

static int finish_done(batch *b, const attempt *a)
{
    b->touched[a->lane] = true;
    b->advance[a->lane].delivered++;
    return a->n != 0 ? bb_exception_delete(&b->bus->store, a->n) : BUSBAR_OK;
}

/* No room for one more open exception: the lane stops before this event. */
static int block(batch *b, busbar_lane lane)
{
    b->lane_stop = true;
    bb_text last = bb_text_on(b->last_failure.text, sizeof b->last_failure.text);
    bb_text_add(&last, bb_subscription_block(b->subscription, b->bus, lane));
    return BUSBAR_OK;
}

/* Runs the handler in its savepoint. BROKEN, or the outcome of recording. *out_finished: the cursor may pass the event. */
static int handle(batch *b, const attempt *a, const busbar_record *record, bool *out_finished)
{
    bb_store *store = &b->bus->store;
    busbar_reason reason;
    int result = bb_store_execute(store, "SAVEPOINT busbar_event");
    if (result < 0)
        return result;
    b->handled++;
    busbar_verdict verdict = bb_subscription_call(b->subscription, b->bus, record, &reason);
    if (!bb_store_in_transaction(store))
        return note_gone(b);
    if (verdict != BUSBAR_DONE && bb_store_execute(store, "ROLLBACK TO busbar_event") < 0)
        return BROKEN;
    if (bb_store_execute(store, "RELEASE busbar_event") < 0)
        return bb_store_in_transaction(store) ? BROKEN : note_gone(b);
    *out_finished = true;
    if (verdict == BUSBAR_DONE)
        return finish_done(b, a);
    bool dead = verdict == BUSBAR_DEAD;
    if (!dead && a->n == 0 && b->open_exceptions >= BB_EXCEPTION_MAX) {
        *out_finished = false;
        return block(b, a->lane);
    }
    return record_failure(b, a, dead, reason.text);
}

static int write_progress(batch *b)
{
    bb_worker *worker = &b->subscription->worker;
    bb_store *store = &b->bus->store;
    int result = BUSBAR_OK;
    for (int lane = 0; result == BUSBAR_OK && lane < BUSBAR_LANE_COUNT; lane++) {
        if (b->touched[lane])
            result = bb_consumer_advance(store, worker->consumer, (busbar_lane)lane, &b->advance[lane],
                                         worker->meter.rate_mhz);
    }
    const char *failure = b->last_failure.text[0] ? b->last_failure.text : NULL;
    if (result == BUSBAR_OK && (failure || b->handled > 0))
        result = bb_consumer_note_error(store, worker->consumer, failure);
    return result;
}

struct bb_broken {
    batch b;
    attempt a;
};

static int write_broken(batch *b, const attempt *a)
{
    if (a->n == 0)
        touch(b, a->lane, a->seq);
    int result = record_failure(b, a, false, BROKEN_TEXT);
    return result == BUSBAR_OK ? write_progress(b) : result;
}

/*
 * The batch is a copy: what is counted here must not be counted twice if the commit fails. That commit may have been done
 * all the same (an I/O error after its end): it counts as a batch of its own, whose number tells.
 */
static int record_broken(batch b, const attempt *a)
{
    bb_store *store = &b.bus->store;
    int64_t number = 0;
    int result = bb_worker_begin(&b.subscription->worker, b.bus);
    if (result < 0)
        return result;
    result = bb_consumer_begin_batch(store, b.subscription->worker.consumer, &number);
    bool recorded = result == BUSBAR_OK && number > b.number + 1;
    if (result == BUSBAR_OK && !recorded)
        result = write_broken(&b, a);
    if (result < 0 || recorded) {
        bb_store_rollback(store);
        return result;
    }
    return bb_store_commit(store);
}

/* Without memory for it the events of the batch come once more: a handler that commits is not worth more. */
static void keep_broken(const batch *b, const attempt *a)
{
    struct bb_broken *broken = b->subscription->broken;
    if (broken)
        return;
    broken = malloc(sizeof *broken);
    if (!broken)
        return;
    broken->b = *b;
    broken->a = *a;
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
static int settle_broken(const batch *b, const attempt *a, bool *out_again)
{
    bb_store *store = &b->bus->store;
    int64_t *left = &b->subscription->one_by_one;
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
    result = record_broken(*b, a);
    *out_again = result < 0 && committed;
    if (result == BUSBAR_OK && *left > 0)
        --*left;
    return result;
}

static int recover(const batch *b, const attempt *a)
{
    bool again = false;
    int result = settle_broken(b, a, &again);
    if (again)
        keep_broken(b, a);
    else
        forget_broken(b->subscription);
    return result;
}

/* What a former batch could not find out or record: nothing more is handled before. */
static int recover_kept(bb_subscription *subscription)
{
    const struct bb_broken *broken = subscription->broken;
    return broken ? recover(&broken->b, &broken->a) : BUSBAR_OK;
}

static int run_exceptions(batch *b, attempt *a)
{
    bb_store *store = &b->bus->store;
    int64_t after = 0;
    while (!b->stop) {
        sqlite3_stmt *stmt;
        int64_t now_ms = (int64_t)(b->started_us / 1000);
        int result =
            bb_exception_read_due(store, b->subscription->worker.consumer, b->bus->boot.id, now_ms, after, &stmt);
        if (result != BB_ROW)
            return result;
        busbar_record record;
        a->n = after = bb_column_integer(store, stmt, BB_EXCEPTION_N);
        a->lane = (busbar_lane)bb_column_integer(store, stmt, BB_EXCEPTION_LANE);
        a->number = (uint32_t)bb_column_integer(store, stmt, BB_EXCEPTION_ATTEMPTS) + 1;
        result = bb_reader_record(&b->bus->reader, stmt, BB_EXCEPTION_LOG, a->lane, &record);
        if (result == BUSBAR_OK)
            result = bb_record_copy(&record, &b->subscription->copy, &record);
        bb_store_end(store, stmt);
        if (result < 0 && result != BUSBAR_ENOTFOUND)
            return result;
        record.attempt = a->number;
        bool finished = false;
        if (result == BUSBAR_OK)
            result = handle(b, a, &record, &finished);
        else
            result = record_failure(b, a, true, store->error.text); /* it cannot be read, and never will */
        if (result != BUSBAR_OK)
            return result;
        check_time(b);
    }
    return BUSBAR_OK;
}

/* An event that cannot be read (written by hand, damaged) must not stop those behind it. */
static int bury_unreadable(batch *b, const attempt *a)
{
    touch(b, a->lane, a->seq);
    return record_failure(b, a, true, b->bus->store.error.text);
}

/* Outcomes of looking at one row; positive, and never leaving this file. */
#define PASSED 2 /* nothing to handle: go on in the same scan */

/* Takes the row in hand: an event that is wanted is copied, so that no statement is open while its handler runs. */
static int take_row(batch *b, attempt *a, sqlite3_stmt *stmt, busbar_record *out_copy)
{
    bb_store *store = &b->bus->store;
    const char *type = NULL;
    *a = (attempt){.lane = a->lane, .seq = bb_column_integer(store, stmt, BB_LOG_SEQ), .number = 1};
    int result = bb_reader_type(&b->bus->reader, stmt, 0, &type);
    if (result == BUSBAR_OK && !bb_worker_wants(&b->subscription->worker, type)) {
        touch(b, a->lane, a->seq);
        b->advance[a->lane].filtered++;
        return PASSED;
    }
    busbar_record record;
    if (result == BUSBAR_OK)
        result = bb_reader_record(&b->bus->reader, stmt, 0, a->lane, &record);
    if (result == BUSBAR_OK && bb_record_copy(&record, &b->subscription->copy, out_copy) < 0)
        result = bb_store_fail(store, BUSBAR_ENOMEM, busbar_error_text(BUSBAR_ENOMEM));
    return result;
}

/* Passes unwanted events up to the next one that is wanted. BB_ROW with its copy, or BUSBAR_OK: there is none now. */
static int next_row(batch *b, attempt *a, int64_t after, int64_t until, busbar_record *out_copy)
{
    bb_store *store = &b->bus->store;
    sqlite3_stmt *stmt = NULL;
    int result = bb_log_scan(store, a->lane, after, until, &stmt);
    if (result < 0)
        return result;
    do {
        result = bb_store_step(store, stmt);
        if (result == BB_ROW) {
            result = take_row(b, a, stmt, out_copy);
            result = result == BUSBAR_OK ? BB_ROW : result;
        }
        check_time(b);
    } while (result == PASSED && !b->stop);
    bb_store_end(store, stmt);
    return result == PASSED ? BUSBAR_OK : result;
}

static int run_lane(batch *b, attempt *a, int64_t after, int64_t until)
{
    b->lane_stop = bb_subscription_blocked(b->subscription, a->lane, b->started_us);
    while (!b->stop && !b->lane_stop) {
        busbar_record record;
        bool finished = false;
        int result = next_row(b, a, after, until, &record);
        if (result == BUSBAR_ENOTFOUND)
            result = bury_unreadable(b, a);
        else if (result != BB_ROW)
            return result;
        else
            result = handle(b, a, &record, &finished);
        if (result != BUSBAR_OK)
            return result;
        if (finished)
            touch(b, a->lane, a->seq);
        after = a->seq;
        check_time(b);
    }
    return BUSBAR_OK;
}

static int run_lanes(batch *b, attempt *a)
{
    bb_cursor cursors[BUSBAR_LANE_COUNT];
    int64_t heads[BUSBAR_LANE_COUNT];
    bb_store *store = &b->bus->store;
    int result = bb_consumer_cursors(store, b->subscription->worker.consumer, cursors);
    if (result == BUSBAR_OK)
        result = bb_log_heads(store, heads);
    for (int lane = 0; result == BUSBAR_OK && lane < BUSBAR_LANE_COUNT; lane++)
        b->advance[lane].cursor = cursors[lane].cursor;
    if (result == BUSBAR_OK)
        result = run_exceptions(b, a);
    for (int i = 0; result == BUSBAR_OK && i < BUSBAR_LANE_COUNT && !b->stop; i++) {
        *a = (attempt){.lane = bb_lane_order[i]};
        if (cursors[a->lane].cursor < heads[a->lane])
            result = run_lane(b, a, cursors[a->lane].cursor, heads[a->lane]);
    }
    return result;
}

static int begin(batch *b)
{
    bb_store *store = &b->bus->store;
    bb_worker *worker = &b->subscription->worker;
    int result = bb_worker_begin(worker, b->bus);
    if (result < 0)
        return result;
    bb_reader_refresh(&b->bus->reader);
    result = bb_consumer_begin_batch(store, worker->consumer, &b->number);
    if (result == BUSBAR_OK)
        result = bb_exception_count(store, worker->consumer, &b->open_exceptions);
    if (result < 0)
        bb_store_rollback(store);
    return result;
}

static int64_t delivered_by(const batch *b)
{
    int64_t delivered = 0;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        delivered += b->advance[lane].delivered;
    return delivered;
}

static int finish(batch *b, int result)
{
    if (result == BUSBAR_OK) {
        bb_meter_add(&b->subscription->worker.meter, delivered_by(b), bb_handle_now_us(b->bus), !b->stop);
        result = write_progress(b);
    }
    if (result < 0) {
        bb_store_rollback(&b->bus->store);
        return result;
    }
    result = bb_store_commit(&b->bus->store);
    int64_t *left = &b->subscription->one_by_one;
    if (result == BUSBAR_OK)
        *left = *left > b->handled ? *left - b->handled : 0;
    return result;
}

int bb_transaction_batch(bb_subscription *subscription, busbar *bus, uint64_t deadline_us, uint64_t *out_wait_us)
{
    batch b = {.subscription = subscription, .bus = bus, .started_us = bb_handle_now_us(bus)};
    *out_wait_us = bb_worker_courtesy_us(bus, b.started_us);
    if (*out_wait_us > 0)
        return BUSBAR_OK;
    uint64_t hold_us = deadline_us > b.started_us ? deadline_us - b.started_us : 0;
    if (hold_us > bus->options.write_hold_us)
        hold_us = bus->options.write_hold_us;
    int result = recover_kept(subscription);
    if (result == BUSBAR_OK)
        result = begin(&b);
    if (result < 0)
        return result;
    b.until_us = bus->store.began_us + hold_us; /* waiting for the lock is not part of it */
    attempt a = {.lane = BUSBAR_NORMAL};
    result = run_lanes(&b, &a);
    result = result == BROKEN ? recover(&b, &a) : finish(&b, result);
    bb_worker_wrote(bus);
    return result;
}
