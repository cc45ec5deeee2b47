/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <string.h>

#include "log.h"
#include "offer.h"
#include "text.h"

/* ---- Room ---- */

static size_t window_limit(const bb_route *route)
{
    size_t limit = route->config.window;
    if (route->peer_window > 0 && route->peer_window < limit)
        limit = route->peer_window;
    bool single = route->worker.careful > 0 || bb_route_suspects(route) || route->held_count > 0 ||
                  (route->retries_alone && bb_route_resends_in_flight(route) > 0);
    return single ? 1 : limit;
}

bool bb_offer_link_room(const bb_offer *o, uint64_t *out_wait_us)
{
    const bb_route *route = o->route;
    if (route->refused_now || bb_route_in_flight(route) >= window_limit(route))
        return false;
    uint64_t now_us = bb_handle_now_us(o->bus);
    if (now_us < route->held_until_us) {
        *out_wait_us = route->held_until_us - now_us;
        return false;
    }
    uint64_t throttle_us = bb_throttle_wait_us(&route->throttle, now_us);
    *out_wait_us = throttle_us > 0 ? throttle_us : (o->moved && now_us >= o->deadline_us ? 0 : BUSBAR_FOREVER);
    return *out_wait_us == BUSBAR_FOREVER;
}

/* And so does the bound on what a kill would send again: outcomes that wait to be recorded must not gather. */
static bool room(const bb_offer *o, uint64_t *out_wait_us)
{
    return bb_route_unrecorded(o->route) < o->route->config.ack_group && bb_offer_link_room(o, out_wait_us);
}

/* ---- What was lost with a connection ---- */

static int resend_entry(bb_offer *o, busbar_lane lane, bb_entry *entry)
{
    bb_window *window = &o->route->windows[lane];
    sqlite3_stmt *stmt;
    int result = bb_log_read_next(&o->bus->store, lane, entry->first - 1, &stmt);
    if (result < 0)
        return result;
    bool row = result == BB_ROW;
    bool there = row && bb_column_integer(&o->bus->store, stmt, BB_LOG_SEQ) == entry->first;
    result = there ? bb_offer_again(o, stmt, 0, lane) : bb_offer_bury(o, "the event is no longer in the log");
    if (row)
        bb_store_end(&o->bus->store, stmt);
    if (result == BUSBAR_OK) {
        entry->token = o->token;
        bb_window_set(window, entry, BB_ENTRY_SENT);
    } else if (result == BB_OFFER_TOO_OLD) {
        bb_window_set(window, entry, BB_ENTRY_EXPIRED);
        bb_route_note_settled(o->route, o->bus);
    } else if (result == BB_OFFER_BURIED) {
        bb_window_refuse(window, entry, BUSBAR_REFUSED_DEAD, o->reason.text);
        bb_route_note_settled(o->route, o->bus);
    }
    return result;
}

static int resend_lane(bb_offer *o, busbar_lane lane, uint64_t *out_wait_us)
{
    bb_window *window = &o->route->windows[lane];
    for (size_t i = 0; i < window->count && window->unsent > 0; i++) {
        bb_entry *entry = bb_window_at(window, i);
        bb_exception_key key = {.lane = lane, .seq = entry->first};
        if (entry->state != BB_ENTRY_UNSENT || bb_route_set_aside(o->route, &key))
            continue;
        if (!bb_offer_link_room(o, out_wait_us))
            return BB_OFFER_NO_ROOM;
        int result = resend_entry(o, lane, entry);
        if (result < 0 || result == BB_OFFER_NO_ROOM || result == BB_OFFER_NOTE)
            return result;
    }
    return BUSBAR_OK;
}

/* ---- Exceptions that are due ---- */

bb_resend *bb_route_free_resend(bb_route *route)
{
    for (int i = 0; i < BB_ROUTE_RETRIES; i++) {
        if (route->resends[i].trial.key.n == 0)
            return &route->resends[i];
    }
    return NULL;
}

static bool resending(const bb_route *route)
{
    for (int i = 0; i < BB_ROUTE_RETRIES; i++) {
        if (route->resends[i].trial.key.n != 0)
            return true;
    }
    return false;
}

static bool being_resent(const bb_route *route, int64_t n)
{
    for (int i = 0; i < BB_ROUTE_RETRIES; i++) {
        if (route->resends[i].trial.key.n == n)
            return true;
    }
    return false;
}

static int resend_exception(bb_offer *o, sqlite3_stmt *stmt, const bb_trial *trial, bb_resend *resend)
{
    int result = bb_offer_again(o, stmt, BB_EXCEPTION_LOG, trial->key.lane);
    if (result < 0 || result == BB_OFFER_NO_ROOM || result == BB_OFFER_NOTE)
        return result;
    *resend = (bb_resend){.trial = *trial, .token = o->token, .state = BB_ENTRY_SENT};
    if (result == BUSBAR_OK)
        return result;
    resend->state = result == BB_OFFER_TOO_OLD ? BB_ENTRY_EXPIRED : BB_ENTRY_REFUSED;
    resend->verdict = BUSBAR_REFUSED_DEAD;
    memcpy(resend->reason, o->reason.text, sizeof resend->reason);
    bb_route_note_settled(o->route, o->bus);
    return BUSBAR_OK;
}

/* After a connection was lost with one of them on its way, what else is under way must be settled first. */
static bool retry_room(const bb_offer *o, uint64_t *out_wait_us)
{
    return bb_offer_link_room(o, out_wait_us) && (!o->route->retries_alone || bb_route_in_flight(o->route) == 0);
}

static int resend_due(bb_offer *o, uint64_t *out_wait_us)
{
    bb_route *route = o->route;
    bb_store *store = &o->bus->store;
    int64_t now_ms = bb_handle_now_ms(o->bus);
    bb_trial trial = {.number = 0};
    bb_resend *resend;
    while (route->retry_due_ms <= now_ms && (resend = bb_route_free_resend(route)) != NULL) {
        sqlite3_stmt *stmt;
        int result = bb_exception_read_due(store, route->worker.consumer, o->bus->boot.id, now_ms, trial.key.n, &stmt);
        if (result != BB_ROW)
            return result;
        bb_trial_read(store, stmt, &trial);
        if (being_resent(route, trial.key.n) || bb_route_set_aside(route, &trial.key))
            result = BUSBAR_OK;
        else
            result = retry_room(o, out_wait_us) ? resend_exception(o, stmt, &trial, resend) : BB_OFFER_NO_ROOM;
        bb_store_end(store, stmt);
        if (result != BUSBAR_OK)
            return result;
    }
    return BUSBAR_OK;
}

/* ---- The log ---- */

/* Whether the event in hand stays where it is. */
static bool stays(int result)
{
    return result < 0 || result == BB_OFFER_NO_ROOM || result == BB_OFFER_WAITS || result == BB_OFFER_NOTE;
}

static void push(bb_offer *o, busbar_lane lane, int64_t seq, int result)
{
    static const bb_entry_state states[] = {
        [BUSBAR_OK] = BB_ENTRY_SENT,         [BB_OFFER_TOO_OLD] = BB_ENTRY_EXPIRED,
        [BB_OFFER_BURIED] = BB_ENTRY_SENT,   [BB_OFFER_UNWANTED] = BB_ENTRY_FILTERED,
        [BB_OFFER_PARKED] = BB_ENTRY_PARKED,
    };
    bb_window *window = &o->route->windows[lane];
    bb_entry *entry = bb_window_push(window, seq, states[result], result == BUSBAR_OK ? o->token : 0);
    if (result == BUSBAR_OK || result == BB_OFFER_PARKED)
        entry->key = o->key;
    if (result == BB_OFFER_BURIED)
        bb_window_refuse(window, entry, BUSBAR_REFUSED_DEAD, o->reason.text);
    if (result != BUSBAR_OK)
        bb_route_note_settled(o->route, o->bus);
}

static int send_row(bb_offer *o, sqlite3_stmt *stmt, busbar_lane lane)
{
    int64_t seq = bb_column_integer(&o->bus->store, stmt, BB_LOG_SEQ);
    o->moved = true;
    int result = bb_offer_row(o, stmt, lane);
    if (stays(result))
        return result;
    push(o, lane, seq, result);
    o->route->position[lane] = seq;
    return BUSBAR_OK;
}

/* Sends events of a lane up to the watermark, as many as there is room for, and at most `quota`. */
static int send_lane(bb_offer *o, busbar_lane lane, uint32_t quota, uint32_t *out_count, uint64_t *out_wait_us)
{
    bb_route *route = o->route;
    bb_store *store = &o->bus->store;
    sqlite3_stmt *stmt;
    int result = bb_log_scan(store, lane, route->position[lane], o->bus->watermark[lane], &stmt);
    if (result < 0)
        return result;
    bool more = true;
    while (more && result == BUSBAR_OK && *out_count < quota) {
        if (!room(o, out_wait_us) || bb_window_full(&route->windows[lane])) {
            result = BB_OFFER_NO_ROOM;
            break;
        }
        result = bb_store_step(store, stmt);
        more = result == BB_ROW;
        if (more)
            result = send_row(o, stmt, lane);
        *out_count += more && result == BUSBAR_OK;
    }
    bb_store_end(store, stmt);
    return result;
}

/* A lane that the route does not want is passed over in one entry. */
static void pass_lane(bb_offer *o, busbar_lane lane)
{
    bb_route *route = o->route;
    bb_window *window = &route->windows[lane];
    int64_t head = o->bus->heads[lane];
    if (route->position[lane] >= head || bb_window_full(window))
        return;
    bb_entry *entry = bb_window_push(window, route->position[lane] + 1, BB_ENTRY_FILTERED, 0);
    entry->last = head;
    route->position[lane] = head;
    bb_route_note_settled(o->route, o->bus);
}

static bool held(const bb_offer *o, busbar_lane lane)
{
    const bb_route *route = o->route;
    return bb_route_blocked(route, lane) || bb_route_gap_holds(route, o->bus, lane) ||
           (route->worker.order == BUSBAR_ORDER_STRICT && route->open[lane] > 0);
}

/* A bit per lane that has something to send, durable or not. */
static unsigned waiting_lanes(bb_offer *o, unsigned standing)
{
    const bb_route *route = o->route;
    unsigned waiting = 0;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        if (!bb_worker_wants_lane(&route->worker, (busbar_lane)lane))
            pass_lane(o, (busbar_lane)lane);
        else if (route->position[lane] < o->bus->heads[lane] && !held(o, (busbar_lane)lane))
            waiting |= 1u << (unsigned)lane;
    }
    return waiting & ~standing;
}

/*
 * Makes the rest of the lane durable. BB_OFFER_NO_ROOM when that has to wait; less urgent lanes wait with it, for what they have below
 * the watermark may be a long backlog.
 */
static int raise_watermark(bb_offer *o, uint64_t *out_wait_us)
{
    uint64_t courtesy_us = 0;
    if (!room(o, out_wait_us))
        return BB_OFFER_NO_ROOM;
    int result = bb_worker_raise_watermark(o->bus, &courtesy_us);
    if (result < 0 || courtesy_us == 0)
        return result;
    *out_wait_us = courtesy_us;
    return BB_OFFER_NO_ROOM;
}

/* One lane's turn. BB_OFFER_WAITS: it has nothing more for now. */
static int serve_lane(bb_offer *o, busbar_lane lane, unsigned waiting, uint64_t *out_wait_us)
{
    bb_turns *turns = &o->route->worker.turns;
    bool durable = o->route->position[lane] < o->bus->watermark[lane];
    int result = durable ? BUSBAR_OK : raise_watermark(o, out_wait_us);
    if (result != BUSBAR_OK)
        return result;
    uint32_t count = 0;
    result = send_lane(o, lane, bb_turns_quota(turns, lane, waiting), &count, out_wait_us);
    bb_turns_took(turns, lane, waiting, count);
    return result == BUSBAR_OK && count == 0 ? BB_OFFER_WAITS : result;
}

static int send_lanes(bb_offer *o, uint64_t *out_wait_us)
{
    unsigned standing = 0;
    unsigned waiting;
    while ((waiting = waiting_lanes(o, standing)) != 0) {
        busbar_lane lane = bb_turns_choose(&o->route->worker.turns, waiting);
        int result = serve_lane(o, lane, waiting, out_wait_us);
        if (result == BB_OFFER_WAITS)
            standing |= 1u << (unsigned)lane;
        else if (result != BUSBAR_OK)
            return result;
    }
    return BUSBAR_OK;
}

/* Lanes with messages that were lost with a connection. */
static unsigned lost_lanes(const bb_route *route)
{
    unsigned lost = 0;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        lost |= route->windows[lane].unsent > 0 ? 1u << (unsigned)lane : 0;
    return lost;
}

/* What less urgent lanes lost does not go before urgent events that are new, unless it is those lanes' turn. */
static int send_urgent(bb_offer *o, uint64_t *out_wait_us)
{
    unsigned lost = lost_lanes(o->route);
    unsigned waiting = waiting_lanes(o, 0);
    if (lost == 0 || (waiting & BUSBAR_LANES_URGENT) == 0 ||
        bb_turns_choose(&o->route->worker.turns, waiting | lost) != BUSBAR_URGENT)
        return BUSBAR_OK;
    int result = serve_lane(o, BUSBAR_URGENT, waiting | lost, out_wait_us);
    return result == BB_OFFER_WAITS ? BUSBAR_OK : result;
}

/* Once through everything that may be on its way. */
static int send_all(bb_offer *o, uint64_t *out_wait_us)
{
    int result = bb_route_gap_send(o, out_wait_us);
    if (result == BUSBAR_OK)
        result = resend_lane(o, BUSBAR_URGENT, out_wait_us);
    if (result == BUSBAR_OK)
        result = send_urgent(o, out_wait_us);
    for (int i = 0; result == BUSBAR_OK && i < BUSBAR_LANE_COUNT; i++)
        result = resend_lane(o, bb_lane_order[i], out_wait_us);
    if (result == BUSBAR_OK)
        result = resend_due(o, out_wait_us);
    return result == BUSBAR_OK ? send_lanes(o, out_wait_us) : result;
}

static int send_noted(bb_offer *o, uint64_t *out_wait_us)
{
    int result = send_all(o, out_wait_us);
    if (result != BB_OFFER_NOTE)
        return result;
    result = bb_route_take_note(o);
    o->moved = false; /* by nothing yet: what was noted goes now, however short the time */
    return result == BUSBAR_OK ? send_all(o, out_wait_us) : result;
}

int bb_route_send(bb_route *route, busbar *bus, uint64_t deadline_us, uint64_t *out_wait_us)
{
    bb_offer o = {.route = route, .bus = bus, .deadline_us = deadline_us};
    bb_reader_refresh(&bus->reader);
    *out_wait_us = bb_worker_wait_for(bus, route->retry_due_ms);
    uint64_t room_us = BUSBAR_FOREVER;
    int result = send_noted(&o, &room_us);
    if (result == BUSBAR_OK && bb_route_turn_to_suspect(&o))
        result = send_noted(&o, &room_us);
    if (*out_wait_us == 0 && (result == BB_OFFER_NO_ROOM || resending(route) || route->suspicion.aside))
        *out_wait_us = BUSBAR_FOREVER; /* a retry is due, but a result must come, or be recorded, first */
    uint64_t gap_us = bb_route_gap_wait_us(route, bb_handle_now_us(bus));
    if (gap_us < room_us)
        room_us = gap_us;
    if (room_us < *out_wait_us)
        *out_wait_us = room_us;
    return result < 0 ? result : BUSBAR_OK;
}
