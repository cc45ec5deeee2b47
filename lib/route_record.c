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
    int64_t open_exceptions;
    int64_t delivered;
    bool blocked[BUSBAR_LANE_COUNT]; /* no room for one more open exception */
    size_t popped[BUSBAR_LANE_COUNT];
    bb_advance advance[BUSBAR_LANE_COUNT];
    bool touched[BUSBAR_LANE_COUNT];
} recording;

static bool resend_settled(const bb_resend *resend)
{
    return resend->n != 0 && resend->state != BB_ENTRY_SENT;
}

size_t bb_route_settled(const bb_route *route)
{
    size_t count = 0;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        count += bb_window_settled(&route->windows[lane]);
    for (int i = 0; i < BB_ROUTE_RETRIES; i++)
        count += resend_settled(&route->resends[i]);
    return count;
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
    return bb_route_resend_settled(route);
}

static int record_refused(recording *r, busbar_lane lane, const bb_entry *entry)
{
    bb_failure failure;
    bool dead = entry->verdict == BUSBAR_REFUSED_DEAD;
    int result = bb_worker_failure(&r->route->worker, r->bus, lane, 1, dead, entry->reason, &failure);
    if (result < 0)
        return result;
    bool open = failure.state == BUSBAR_STATE_RETRY;
    if (open && r->open_exceptions >= BB_EXCEPTION_MAX) {
        r->blocked[lane] = true;
        return BUSBAR_OK;
    }
    r->open_exceptions += open;
    r->advance[lane].dead += !open;
    return bb_exception_add(&r->bus->store, &failure, entry->first);
}

static int record_entry(recording *r, busbar_lane lane, const bb_entry *entry)
{
    bb_advance *advance = &r->advance[lane];
    int64_t count = entry->last - (entry->first > advance->cursor ? entry->first : advance->cursor + 1) + 1;
    int result = BUSBAR_OK;
    if (entry->last <= advance->cursor)
        return BUSBAR_OK; /* recorded by a commit that was done although it failed: an I/O error after its end */
    switch (entry->state) {
    case BB_ENTRY_ACKED:
        advance->delivered += count;
        break;
    case BB_ENTRY_FILTERED:
        advance->filtered += count;
        break;
    case BB_ENTRY_EXPIRED:
        advance->expired += count;
        break;
    case BB_ENTRY_REFUSED:
        result = record_refused(r, lane, entry);
        break;
    case BB_ENTRY_SENT:
    case BB_ENTRY_UNSENT:
    default:
        break;
    }
    if (result == BUSBAR_OK && !r->blocked[lane]) {
        advance->cursor = entry->last;
        r->touched[lane] = true;
    }
    return result;
}

static int record_lane(recording *r, busbar_lane lane)
{
    const bb_window *window = &r->route->windows[lane];
    size_t settled = bb_window_settled(window);
    int result = BUSBAR_OK;
    size_t i = 0;
    while (result == BUSBAR_OK && i < settled) {
        result = record_entry(r, lane, bb_window_at(window, i));
        if (r->blocked[lane])
            break;
        i++;
    }
    r->popped[lane] = i;
    return result;
}

static int record_resend(recording *r, const bb_resend *resend)
{
    bb_store *store = &r->bus->store;
    bb_advance *advance = &r->advance[resend->lane];
    bool open = false;
    int result = bb_exception_is_open(store, resend->n, r->route->worker.consumer, resend->lane, resend->seq, &open);
    if (result < 0 || !open) /* not open: recorded, as above */
        return result;
    r->touched[resend->lane] = true;
    if (resend->state == BB_ENTRY_REFUSED) {
        bb_failure failure;
        bool dead = resend->verdict == BUSBAR_REFUSED_DEAD;
        result = bb_worker_failure(&r->route->worker, r->bus, resend->lane, resend->attempts, dead, resend->reason,
                                   &failure);
        if (result < 0)
            return result;
        advance->dead += failure.state == BUSBAR_STATE_DEAD;
        return bb_exception_update(store, &failure, resend->n);
    }
    advance->delivered += resend->state == BB_ENTRY_ACKED;
    advance->expired += resend->state == BB_ENTRY_EXPIRED;
    return bb_exception_delete(store, resend->n);
}

static int load(recording *r)
{
    bb_cursor cursors[BUSBAR_LANE_COUNT];
    bb_store *store = &r->bus->store;
    int result = bb_consumer_cursors(store, r->route->worker.consumer, cursors);
    if (result == BUSBAR_OK)
        result = bb_exception_count(store, r->route->worker.consumer, &r->open_exceptions);
    for (int lane = 0; result == BUSBAR_OK && lane < BUSBAR_LANE_COUNT; lane++)
        r->advance[lane].cursor = cursors[lane].cursor;
    return result;
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
    return result;
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
    int result = BUSBAR_OK;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        r->delivered += r->advance[lane].delivered;
    bb_meter_add(&worker->meter, r->delivered, bb_handle_now_us(r->bus), drained(r));
    for (int lane = 0; result == BUSBAR_OK && lane < BUSBAR_LANE_COUNT; lane++) {
        if (r->touched[lane])
            result = bb_consumer_advance(store, worker->consumer, (busbar_lane)lane, &r->advance[lane],
                                         worker->meter.rate_mhz);
    }
    if (r->blocked[BUSBAR_NORMAL] || r->blocked[BUSBAR_URGENT] || r->blocked[BUSBAR_BULK])
        bb_route_say(r->route,
                     "1,000 events wait for retry, the most there may be: the lane waits until some are settled");
    const char *error = r->route->error;
    if (result == BUSBAR_OK)
        result = bb_consumer_note_error(store, worker->consumer, *error ? error : NULL);
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
            route->resends[i].n = 0;
    }
    route->settled_since_us = bb_route_settled(route) > 0 ? bb_handle_now_us(r->bus) : 0;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        route->blocked_until_us[lane] = r->blocked[lane] ? bb_handle_now_us(r->bus) + BLOCKED_PAUSE_US : 0;
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
    if (result < 0) {
        bb_store_rollback(&bus->store);
        return result;
    }
    result = bb_store_commit(&bus->store);
    if (result == BUSBAR_OK)
        forget_recorded(&r);
    return result;
}
