/* SPDX-License-Identifier: MIT */
/* Which message of a route ends connections, or the process (P11): what suspicion.c and the notes of worker_note.c come to. */
#include "offer.h"
#include "text.h"

#define APART_MS 1000u /* an event that was set aside is tried again so much later */

/* ---- Those that end the process ---- */

int bb_offer_check_noted(bb_offer *o, const bb_exception_key *key)
{
    const bb_route *route = o->route;
    if (route->worker.careful == 0)
        return BUSBAR_OK;
    if (!route->worker.noted || route->noted.seq != key->seq || route->noted.lane != key->lane) {
        o->due = *key;
        return BB_OFFER_NOTE;
    }
    return route->noted_poison ? bb_offer_bury(o, bb_worker_poison_text) : BUSBAR_OK;
}

int bb_route_take_note(bb_offer *o)
{
    bb_route *route = o->route;
    if (bb_worker_other_noted(&route->worker, o->bus))
        return BB_OFFER_NO_ROOM; /* another route tries its own */
    int result = bb_worker_mark(&route->worker, o->bus, o->due.lane, o->due.seq, &route->noted_poison);
    if (result == BUSBAR_OK)
        route->noted = o->due;
    return result;
}

int bb_route_withdraw_if_back(bb_route *route, busbar *bus)
{
    if (!route->worker.noted || bb_route_in_flight(route) > 0 || bb_route_settled(route) > 0)
        return BUSBAR_OK;
    return bb_worker_withdraw(&route->worker, bus);
}

/* ---- Those that end connections ---- */

bool bb_route_suspects(const bb_route *route)
{
    return bb_suspicion_single(&route->suspicion);
}

bool bb_route_set_aside(const bb_route *route, const bb_exception_key *key)
{
    return bb_suspicion_aside(&route->suspicion, key);
}

/* A message that was set aside: its entry, or its exception, has failed. */
static void convict(bb_route *route, busbar *bus, const bb_exception_key *key, const char *text)
{
    if (key->seq < 0) {
        bb_route_gap_convict(route, bus, key);
        return;
    }
    bb_window *window = &route->windows[key->lane];
    bb_resend *resend = key->n != 0 ? bb_route_free_resend(route) : NULL;
    for (size_t i = 0; key->n == 0 && i < window->count; i++) {
        bb_entry *entry = bb_window_at(window, i);
        if (entry->first == key->seq && entry->state == BB_ENTRY_UNSENT)
            bb_window_refuse(window, entry, BUSBAR_REFUSED_RETRY, text);
    }
    if (!resend)
        return;
    *resend = (bb_resend){.trial = {.key = *key}, .state = BB_ENTRY_REFUSED, .verdict = BUSBAR_REFUSED_RETRY};
    bb_text_copy(resend->reason, sizeof resend->reason, text);
}

void bb_route_answered(bb_route *route, busbar *bus, const bb_exception_key *key)
{
    static const char text[] = "the connection was lost each time that this message was alone on its way";
    bb_exception_key guilty;
    if (key->n != 0)
        route->retries_alone = false;
    if (!bb_suspicion_passed(&route->suspicion, key, &guilty))
        return;
    convict(route, bus, &guilty, text);
}

/* The one message that is on its way; of several, any. */
static bb_exception_key message_in_flight(const bb_route *route)
{
    bb_exception_key key = {.n = 0};
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        const bb_window *window = &route->windows[lane];
        for (size_t i = 0; window->in_flight > 0 && i < window->count; i++) {
            const bb_entry *entry = bb_window_at(window, i);
            if (entry->state == BB_ENTRY_SENT)
                key = (bb_exception_key){.lane = (busbar_lane)lane, .seq = entry->first};
        }
    }
    for (int i = 0; i < BB_ROUTE_RETRIES; i++) {
        if (route->resends[i].trial.key.n != 0 && route->resends[i].state == BB_ENTRY_SENT)
            key = route->resends[i].trial.key;
    }
    bb_route_gap_in_flight(route, &key);
    return key;
}

void bb_route_lost(bb_route *route)
{
    bb_exception_key only = message_in_flight(route);
    bb_suspicion_lost(&route->suspicion, bb_route_in_flight(route), &only);
    route->retries_alone = route->retries_alone || bb_route_resends_in_flight(route) > 0;
}

/* The message that is set aside waits for a neighbour, and there is none. */
static bool nothing_but_the_suspect(const bb_route *route, uint64_t now_us)
{
    bool waits = route->suspicion.suspect.seq < 0 && now_us < route->gaps_due_us;
    return route->suspicion.aside && !waits && bb_route_in_flight(route) == 0 && bb_route_settled(route) == 0;
}

/*
 * With order by key, the one behind it may be of its key, and stop the lane. Then it becomes an exception, without an
 * attempt: its followers are parked behind it, and those of other keys are its neighbours. True if it has.
 */
static bool set_apart(bb_offer *o)
{
    static const char text[] = "connections were lost while this message was alone on its way: others go first";
    bb_route *route = o->route;
    const bb_exception_key suspect = route->suspicion.suspect;
    bb_window *window = &route->windows[suspect.lane];
    if (route->worker.order != BUSBAR_ORDER_KEY || route->position[suspect.lane] >= o->bus->heads[suspect.lane])
        return false;
    for (size_t i = 0; suspect.n == 0 && i < window->count; i++) {
        bb_entry *entry = bb_window_at(window, i);
        if (entry->first != suspect.seq || entry->state != BB_ENTRY_UNSENT)
            continue;
        bb_window_refuse(window, entry, BUSBAR_REFUSED_RETRY, text);
        entry->spared = true;
        entry->retry_after_ms = APART_MS;
        bb_route_note_settled(o->route, o->bus);
        return true;
    }
    return false;
}

bool bb_route_turn_to_suspect(bb_offer *o)
{
    if (!nothing_but_the_suspect(o->route, bb_handle_now_us(o->bus)))
        return false;
    if (!set_apart(o))
        bb_suspicion_relent(&o->route->suspicion);
    return true;
}
