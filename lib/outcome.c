/* SPDX-License-Identifier: MIT */
#include "outcome.h"

#include "backoff.h"
#include "bound.h"
#include "gap.h"
#include "log.h"
#include "sequel.h"
#include "text.h"

int bb_outcome_begin(bb_outcome *outcome, bb_worker *worker, busbar *bus, bb_advance *advance)
{
    *outcome = (bb_outcome){.worker = worker, .bus = bus, .advance = advance};
    return bb_exception_count(&bus->store, worker->consumer, outcome->open);
}

void bb_trial_read(const bb_store *store, sqlite3_stmt *stmt, bb_trial *out_trial)
{
    *out_trial = (bb_trial){
        .key = {.n = bb_column_integer(store, stmt, BB_EXCEPTION_N),
                .lane = (busbar_lane)bb_column_integer(store, stmt, BB_EXCEPTION_LANE),
                .seq = bb_column_integer(store, stmt, BB_EXCEPTION_LOG + BB_LOG_SEQ)},
        .number = (uint32_t)bb_column_integer(store, stmt, BB_EXCEPTION_ATTEMPTS) + 1,
    };
}

/* ---- Common pieces ---- */

static int32_t open_in_all(const bb_outcome *o)
{
    int32_t count = 0;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        count += o->open[lane];
    return count;
}

/* BB_NO_ROOM, with the reason, if what is from the log must not become an exception now; BUSBAR_OK, or a code. */
static int check_room(bb_outcome *o, const bb_trial *trial, bool open)
{
    bool room = true;
    int64_t size_bytes = 0;
    if (trial->key.n != 0)
        return BUSBAR_OK;
    if (open && open_in_all(o) >= BB_EXCEPTION_MAX) {
        o->no_room = "1,000 events wait for retry, the most there may be: the lane waits until some are settled";
        return BB_NO_ROOM;
    }
    if (o->bus->options.max_bytes == 0)
        return BUSBAR_OK;
    int result = bb_exception_bytes(&o->bus->store, trial->key.lane, trial->key.seq, &size_bytes);
    if (result == BUSBAR_OK)
        result = bb_bound_copy(o->bus, (size_t)size_bytes, &room);
    if (result < 0 || room)
        return result;
    o->no_room =
        "an event failed, and the database is too near to options.max_bytes to keep a copy of it: the lane waits;"
        " have events delivered, or dead letters dropped";
    return BB_NO_ROOM;
}

/* From the log: the cursor passes it. */
static void pass(bb_outcome *o, const bb_trial *trial)
{
    busbar_lane lane = trial->key.lane;
    o->touched[lane] = true;
    if (trial->key.n != 0)
        return;
    o->advance[lane].passed++;
    o->advance[lane].cursor = trial->key.seq;
}

/* A run of events of the log; gives how many of them are not behind the cursor already. */
static int64_t pass_run(bb_outcome *o, busbar_lane lane, int64_t first, int64_t last)
{
    bb_advance *advance = &o->advance[lane];
    int64_t before = first > advance->cursor ? first - 1 : advance->cursor;
    o->touched[lane] = true;
    if (last <= before)
        return 0;
    advance->passed += last - before;
    advance->cursor = last;
    return last - before;
}

static void observe(const bb_outcome *o, busbar_observed what, const bb_trial *trial, const busbar_record *record,
                    const bb_failure *failure)
{
    busbar_observation seen = {
        .size = sizeof seen,
        .what = what,
        .consumer = o->worker->name,
        .lane = (int)trial->key.lane,
        .seq = trial->key.seq,
        .type = record ? record->type : NULL,
        .attempts = failure ? failure->attempts : 0,
        .reason = failure ? failure->reason : NULL,
    };
    bb_handle_observe(o->bus, &seen);
}

/* An exception leaves, and the first that waits behind it is due. *out_there: nobody else has removed it meanwhile. */
static int remove_exception(bb_outcome *o, const bb_trial *trial, bool *out_there)
{
    bb_store *store = &o->bus->store;
    *out_there = true;
    if (trial->key.n == 0)
        return BUSBAR_OK;
    int result = bb_exception_release(store, o->worker->consumer, o->worker->order, &trial->key);
    if (result == BUSBAR_OK)
        result = bb_exception_delete(store, o->worker->consumer, &trial->key);
    *out_there = result == BB_ROW;
    o->open[trial->key.lane] -= result == BB_ROW;
    return result < 0 ? result : BUSBAR_OK;
}

/* ---- Outcomes ---- */

int bb_outcome_done(bb_outcome *o, const bb_trial *trial, const busbar_record *record)
{
    bool there = false;
    int result = remove_exception(o, trial, &there);
    if (result < 0)
        return result;
    pass(o, trial);
    o->handled = true;
    o->advance[trial->key.lane].delivered += there;
    observe(o, BUSBAR_OBSERVED_DELIVERED, trial, record, NULL);
    return record && o->worker->on_success ? bb_sequel_publish(o->bus, o->worker->on_success, record, NULL) : BUSBAR_OK;
}

static int tell_expiry(bb_outcome *o, busbar_lane lane, int64_t first, int64_t last)
{
    bb_gap gap = {.reason = BB_GAP_EXPIRED, .first = first, .last = last, .count = last - first + 1};
    return bb_gap_add(&o->bus->store, o->worker->consumer, lane, &gap);
}

int bb_outcome_expired(bb_outcome *o, const bb_trial *trial)
{
    bool there = false;
    int result = remove_exception(o, trial, &there);
    if (result < 0)
        return result;
    pass(o, trial);
    if (!there)
        return BUSBAR_OK; /* somebody dropped it while it was in hand */
    o->advance[trial->key.lane].expired++;
    observe(o, BUSBAR_OBSERVED_EXPIRED, trial, NULL, NULL);
    return tell_expiry(o, trial->key.lane, trial->key.seq, trial->key.seq);
}

int bb_outcome_expired_run(bb_outcome *o, busbar_lane lane, int64_t first, int64_t last)
{
    int64_t count = pass_run(o, lane, first, last);
    o->advance[lane].expired += count;
    bb_trial trial = {.key = {.lane = lane}};
    for (trial.key.seq = last - count + 1; trial.key.seq <= last; trial.key.seq++)
        observe(o, BUSBAR_OBSERVED_EXPIRED, &trial, NULL, NULL);
    return count > 0 ? tell_expiry(o, lane, last - count + 1, last) : BUSBAR_OK;
}

void bb_outcome_filtered(bb_outcome *o, busbar_lane lane, int64_t first, int64_t last)
{
    o->advance[lane].filtered += pass_run(o, lane, first, last);
}

/* ---- Failures ---- */

static uint32_t random_of(const bb_outcome *o, uint32_t attempts)
{
    uint32_t random = 0;
    if (o->bus->port->random(o->bus->port->ctx, &random, sizeof random) != 0)
        random = attempts * 2654435761u; /* only spreads retries; not having it must not stop work */
    return random;
}

/* Time counts towards the age of a failure while the machine runs; what passed while it was off is not known. */
static int64_t age_of(const bb_history *history, int64_t boot, int64_t now_ms)
{
    bool same_boot = history->last_boot == boot && history->last_ms > 0 && now_ms > history->last_ms;
    return history->age_ms + (same_boot ? now_ms - history->last_ms : 0);
}

static int judge(bb_outcome *o, const bb_trial *trial, const bb_fault *fault, bb_failure *out)
{
    bb_history history = {.retry = o->worker->retry};
    int result = bb_boot_ensure(&o->bus->boot, &o->bus->store);
    if (result == BUSBAR_OK)
        result = bb_exception_history(&o->bus->store, &trial->key, &history);
    if (result < 0)
        return result;
    int64_t now_ms = bb_handle_now_ms(o->bus);
    bool spent = fault->verdict != BUSBAR_WAIT;
    uint32_t number = trial->number > 0 ? trial->number : history.attempts + 1;
    uint32_t attempts = spent ? number : number - 1;
    int64_t age_ms =
        number > 1 ? age_of(&history, o->bus->boot.id, now_ms) : 0; /* waits before it failed do not count */
    bool dead = fault->verdict == BUSBAR_DEAD || (spent && bb_backoff_over(&history.retry, attempts, (uint64_t)age_ms));
    int64_t wait_ms = fault->retry_after_ms;
    if (wait_ms == 0)
        wait_ms = (int64_t)bb_backoff_wait_ms(&history.retry, attempts > 0 ? attempts : 1, (uint64_t)history.wait_ms,
                                              random_of(o, attempts));
    *out = (bb_failure){
        .consumer = o->worker->consumer,
        .key = trial->key,
        .state = dead ? BUSBAR_STATE_DEAD : BUSBAR_STATE_RETRY,
        .attempts = attempts,
        .reason = fault->text && *fault->text ? fault->text : NULL,
        .boot = o->bus->boot.id,
        .now_ms = now_ms,
        .spent = spent,
        .due_ms = now_ms + wait_ms,
        .wait_ms = fault->retry_after_ms > 0 ? history.wait_ms : wait_ms, /* the policy's own last one */
        .age_ms = age_ms,
    };
    return BUSBAR_OK;
}

/* Writes the exception. *out_there: nobody else has removed it meanwhile. */
static int write_failure(bb_outcome *o, const bb_failure *failure, bool *out_there)
{
    bb_store *store = &o->bus->store;
    bool dead = failure->state == BUSBAR_STATE_DEAD;
    *out_there = true;
    if (failure->key.n == 0) {
        o->open[failure->key.lane] += !dead;
        return bb_exception_add(store, failure);
    }
    int result = dead ? bb_exception_release(store, failure->consumer, o->worker->order, &failure->key) : BUSBAR_OK;
    if (result == BUSBAR_OK)
        result = bb_exception_update(store, failure);
    *out_there = result == BB_ROW;
    o->open[failure->key.lane] -= dead && result == BB_ROW;
    return result < 0 ? result : BUSBAR_OK;
}

void bb_outcome_say(bb_outcome *o, const char *text)
{
    bb_text_copy(o->failure, sizeof o->failure, text);
}

static int tell_failure(bb_outcome *o, const bb_trial *trial, const busbar_record *record, const bb_failure *failure)
{
    bool dead = failure->state == BUSBAR_STATE_DEAD;
    o->handled = true;
    bb_outcome_say(o, failure->reason ? failure->reason : "the event failed without a reason");
    observe(o, dead ? BUSBAR_OBSERVED_DEAD : BUSBAR_OBSERVED_FAILED, trial, record, failure);
    if (!dead || !record || !o->worker->on_failure)
        return BUSBAR_OK;
    bb_sequel_failure cause = {failure->attempts, failure->reason};
    return bb_sequel_publish(o->bus, o->worker->on_failure, record, &cause);
}

int bb_outcome_failed(bb_outcome *o, const bb_trial *trial, const busbar_record *record, const bb_fault *fault)
{
    bb_failure failure;
    int result = judge(o, trial, fault, &failure);
    if (result < 0)
        return result;
    bool dead = failure.state == BUSBAR_STATE_DEAD;
    result = check_room(o, trial, !dead);
    if (result != BUSBAR_OK)
        return result;
    bool there = false;
    result = write_failure(o, &failure, &there);
    if (result < 0)
        return result;
    pass(o, trial);
    o->advance[trial->key.lane].dead += dead && there;
    if (!there)
        return BUSBAR_OK; /* somebody dropped it while it was in hand: there is no dead letter to tell of */
    return tell_failure(o, trial, record, &failure);
}

int bb_outcome_parked(bb_outcome *o, const bb_trial *trial)
{
    bb_failure failure = {.consumer = o->worker->consumer, .key = trial->key, .state = BUSBAR_STATE_PARKED};
    int result = check_room(o, trial, true);
    if (result != BUSBAR_OK)
        return result;
    result = bb_exception_add(&o->bus->store, &failure);
    if (result == BUSBAR_OK) /* what it waits for may have been settled since it was read */
        result = bb_exception_unpark(&o->bus->store, o->worker->consumer, &trial->key);
    if (result < 0)
        return result;
    o->open[trial->key.lane]++;
    pass(o, trial);
    return BUSBAR_OK;
}

int bb_outcome_must_park(bb_outcome *o, busbar_lane lane, const char *key, bool *out_park)
{
    *out_park = false;
    if (!key || o->worker->order != BUSBAR_ORDER_KEY || o->open[lane] == 0)
        return BUSBAR_OK;
    return bb_exception_holds(&o->bus->store, o->worker->consumer, lane, key, out_park);
}

bool bb_outcome_held(const bb_outcome *o, busbar_lane lane)
{
    return o->worker->order == BUSBAR_ORDER_STRICT && o->open[lane] > 0;
}

/* ---- Writing ---- */

int bb_outcome_write(bb_outcome *o)
{
    bb_store *store = &o->bus->store;
    bb_pace pace = {
        .rate_mhz = o->worker->meter.rate_mhz,
        .boot = o->bus->boot.id,
        .now_ms = bb_handle_now_ms(o->bus),
    };
    int result = BUSBAR_OK;
    for (int lane = 0; result == BUSBAR_OK && lane < BUSBAR_LANE_COUNT; lane++) {
        if (o->touched[lane])
            result = bb_consumer_advance(store, o->worker->consumer, (busbar_lane)lane, &o->advance[lane], &pace);
    }
    if (result == BUSBAR_OK && bb_clock_drifted(&o->bus->clock, o->bus->port, pace.now_ms)) {
        o->bus->clock.looked = false; /* until the next step looks: this commit may fail */
        result = bb_clock_note(store, o->bus->port, o->bus->boot.id);
    }
    bool delivered = false;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        delivered = delivered || o->advance[lane].delivered > 0;
    const char *failure = o->failure[0] ? o->failure : NULL;
    if (result == BUSBAR_OK && (failure || o->handled))
        result = bb_consumer_note_error(store, o->worker->consumer, failure, o->offline, delivered, &pace);
    return result;
}
