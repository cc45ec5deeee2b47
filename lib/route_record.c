/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "log.h"
#include "route.h"
#include "text.h"

#define BLOCKED_PAUSE_US 1000000u

/* What one recording writes. */
typedef struct recording {
    bb_route *route;
    busbar *bus;
    bb_outcome outcome;
    bb_advance advance[BUSBAR_LANE_COUNT];
    bool blocked[BUSBAR_LANE_COUNT]; /* no room for one more open exception */
    size_t popped[BUSBAR_LANE_COUNT];
    size_t outcomes; /* of messages */
} recording;

static bool resend_settled(const bb_resend *resend)
{
    return resend->trial.key.n != 0 && resend->state != BB_ENTRY_SENT;
}

size_t bb_route_settled(const bb_route *route)
{
    size_t count = 0;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        count += bb_window_settled(&route->windows[lane]);
    for (int i = 0; i < BB_ROUTE_RETRIES; i++)
        count += resend_settled(&route->resends[i]);
    return count + bb_route_gap_count(route, BB_ENTRY_ACKED);
}

size_t bb_route_unrecorded(const bb_route *route)
{
    size_t count = 0;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        if (!bb_route_blocked(route, (busbar_lane)lane)) /* a lane that stands still must not stop the others */
            count += route->windows[lane].outcomes;
    }
    for (int i = 0; i < BB_ROUTE_RETRIES; i++)
        count += resend_settled(&route->resends[i]);
    return count;
}

bool bb_route_resend_settled(const bb_route *route)
{
    for (int i = 0; i < BB_ROUTE_RETRIES; i++) {
        if (resend_settled(&route->resends[i]))
            return true;
    }
    return false;
}

bool bb_route_blocked(const bb_route *route, busbar_lane lane)
{
    return route->blocked_until_us[lane] != 0;
}

static bool window_has_outcome(const bb_window *window)
{
    size_t settled = bb_window_settled(window);
    for (size_t i = 0; i < settled; i++) {
        if (bb_window_at(window, i)->state != BB_ENTRY_FILTERED)
            return true;
    }
    return false;
}

bool bb_route_has_outcome(const bb_route *route)
{
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        if (window_has_outcome(&route->windows[lane]))
            return true;
    }
    return bb_route_resend_settled(route) || bb_route_gap_count(route, BB_ENTRY_ACKED) > 0;
}

static bb_fault fault_of(busbar_refusal verdict, uint32_t retry_after_ms, const char *text)
{
    return (bb_fault){verdict == BUSBAR_REFUSED_DEAD ? BUSBAR_DEAD : BUSBAR_RETRY, retry_after_ms, text};
}

static int record_entry(recording *r, busbar_lane lane, const bb_entry *entry)
{
    bb_trial trial = {.key = {.lane = lane, .seq = entry->last}, .number = 1};
    bb_fault fault = fault_of(entry->verdict, entry->retry_after_ms, entry->reason);
    bb_advance *advance = &r->advance[lane];
    if (entry->spared)
        fault.verdict = BUSBAR_WAIT;
    if (entry->last <= advance->cursor)
        return BUSBAR_OK; /* recorded by a commit that was done although it failed: an I/O error after its end */
    r->outcomes += entry->state == BB_ENTRY_ACKED || entry->state == BB_ENTRY_REFUSED;
    switch (entry->state) {
    case BB_ENTRY_ACKED:
        advance->unmatched += entry->unmatched;
        return bb_outcome_done(&r->outcome, &trial, NULL);
    case BB_ENTRY_FILTERED:
        bb_outcome_filtered(&r->outcome, lane, entry->first, entry->last);
        return BUSBAR_OK;
    case BB_ENTRY_EXPIRED:
        return bb_outcome_expired_run(&r->outcome, lane, entry->first, entry->last);
    case BB_ENTRY_REFUSED:
        return bb_outcome_failed(&r->outcome, &trial, NULL, &fault);
    case BB_ENTRY_PARKED:
        return bb_outcome_parked(&r->outcome, &trial);
    case BB_ENTRY_SENT:
    case BB_ENTRY_UNSENT:
    default:
        return BUSBAR_OK;
    }
}

static int record_lane(recording *r, busbar_lane lane)
{
    const bb_window *window = &r->route->windows[lane];
    size_t settled = bb_window_settled(window);
    size_t i = 0;
    while (i < settled) {
        int result = record_entry(r, lane, bb_window_at(window, i));
        if (result < 0)
            return result;
        r->blocked[lane] = result == BB_NO_ROOM;
        if (r->blocked[lane])
            break;
        i++;
    }
    r->popped[lane] = i;
    return BUSBAR_OK;
}

static int record_resend(recording *r, const bb_resend *resend)
{
    bb_fault fault = fault_of(resend->verdict, resend->retry_after_ms, resend->reason);
    r->outcomes++;
    if (resend->state == BB_ENTRY_REFUSED)
        return bb_outcome_failed(&r->outcome, &resend->trial, NULL, &fault);
    if (resend->state == BB_ENTRY_EXPIRED)
        return bb_outcome_expired(&r->outcome, &resend->trial);
    r->advance[resend->trial.key.lane].unmatched += resend->unmatched;
    return bb_outcome_done(&r->outcome, &resend->trial, NULL);
}

static int load(recording *r)
{
    bb_cursor cursors[BUSBAR_LANE_COUNT];
    bb_worker *worker = &r->route->worker;
    int result = bb_consumer_cursors(&r->bus->store, worker->consumer, cursors);
    for (int lane = 0; result == BUSBAR_OK && lane < BUSBAR_LANE_COUNT; lane++)
        r->advance[lane].cursor = cursors[lane].cursor;
    return result < 0 ? result : bb_outcome_begin(&r->outcome, worker, r->bus, r->advance);
}

static int write_results(recording *r)
{
    int result = load(r);
    for (int lane = 0; result == BUSBAR_OK && lane < BUSBAR_LANE_COUNT; lane++)
        result = record_lane(r, (busbar_lane)lane);
    for (int i = 0; result == BUSBAR_OK && i < BB_ROUTE_RETRIES; i++) {
        if (resend_settled(&r->route->resends[i]))
            result = record_resend(r, &r->route->resends[i]);
    }
    return result == BUSBAR_OK ? bb_route_gap_write(r->route, r->bus) : result;
}

static bool drained(const recording *r)
{
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        if (r->route->position[lane] < r->bus->heads[lane] || r->route->windows[lane].count > r->popped[lane])
            return false;
    }
    return true;
}

static int write_progress(recording *r)
{
    bb_worker *worker = &r->route->worker;
    bb_store *store = &r->bus->store;
    int64_t passed = 0;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        passed += r->advance[lane].passed;
    bb_meter_add(&worker->meter, passed, bb_handle_now_us(r->bus), drained(r));
    if (!r->route->up)
        bb_meter_pause(&worker->meter);
    if (r->blocked[BUSBAR_NORMAL] || r->blocked[BUSBAR_URGENT] || r->blocked[BUSBAR_BULK])
        bb_route_say(r->route, r->outcome.no_room);
    else if (bb_route_blocked(r->route, BUSBAR_NORMAL) || bb_route_blocked(r->route, BUSBAR_URGENT) ||
             bb_route_blocked(r->route, BUSBAR_BULK))
        bb_route_say(r->route, ""); /* no more */
    r->outcome.handled = true;      /* the route's own text is what the status says, or that there is none */
    bb_outcome_say(&r->outcome, r->route->error);
    r->outcome.offline = !r->route->up;
    int result = bb_outcome_write(&r->outcome);
    bool ours = bb_route_in_flight(r->route) == 0; /* else the note is that of the message on its way */
    if (result == BUSBAR_OK && r->outcomes > 0 && ours)
        result = bb_worker_passed(worker, r->bus);
    if (result == BUSBAR_OK)
        result = bb_exception_next_due(store, worker->consumer, r->bus->boot.id, &r->route->retry_due_ms);
    return result;
}

/* The commit stands: memory follows it. */
static void forget_recorded(recording *r)
{
    bb_route *route = r->route;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        bb_window_pop(&route->windows[lane], r->popped[lane]);
    for (int i = 0; i < BB_ROUTE_RETRIES; i++) {
        if (resend_settled(&route->resends[i]))
            route->resends[i].trial.key.n = 0;
    }
    bb_route_gap_forget(route);
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        route->gaps_stale = route->gaps_stale || r->advance[lane].expired > 0;
    route->settled_since_us = bb_route_settled(route) > 0 ? bb_handle_now_us(r->bus) : 0;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        route->blocked_until_us[lane] = r->blocked[lane] ? bb_handle_now_us(r->bus) + BLOCKED_PAUSE_US : 0;
    memcpy(route->open, r->outcome.open, sizeof route->open);
    memcpy(route->stored, route->error, sizeof route->stored);
    route->stored_known = true;
}

int bb_route_record(bb_route *route, busbar *bus)
{
    recording r = {.route = route, .bus = bus};
    int result = bb_worker_begin(&route->worker, bus);
    if (result < 0)
        return result;
    result = write_results(&r);
    if (result == BUSBAR_OK)
        result = write_progress(&r);
    result = bb_store_finish(&bus->store, result);
    if (result == BUSBAR_OK)
        forget_recorded(&r);
    return result;
}
