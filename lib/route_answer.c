/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "backoff.h"
#include "route.h"
#include "text.h"

typedef struct event_ctx {
    bb_route *route;
    busbar *bus;
} event_ctx;

static bb_resend *find_resend(bb_route *route, uint64_t token)
{
    for (int i = 0; i < BB_ROUTE_RETRIES; i++) {
        bb_resend *resend = &route->resends[i];
        if (resend->trial.key.n != 0 && resend->state == BB_ENTRY_SENT && resend->token == token)
            return resend;
    }
    return NULL;
}

/* The message that an event of the transport is about: an entry of a lane's window, or an exception that was tried again. */
typedef struct subject {
    bb_window *window;
    bb_entry *entry;
    bb_resend *resend;
    bb_exception_key key;
} subject;

static bool find_subject(bb_route *route, uint64_t token, subject *out)
{
    *out = (subject){.entry = NULL};
    for (int lane = 0; !out->entry && lane < BUSBAR_LANE_COUNT; lane++) {
        out->window = &route->windows[lane];
        out->entry = out->window->in_flight > 0 ? bb_window_find(out->window, token) : NULL;
        if (out->entry)
            out->key = (bb_exception_key){.lane = (busbar_lane)lane, .seq = out->entry->first};
    }
    out->resend = out->entry ? NULL : find_resend(route, token);
    if (out->resend)
        out->key = out->resend->trial.key;
    return out->entry || out->resend;
}

/* Nobody was there to receive it: it is sent again when the route's wait is over. */
static void hold_back(bb_route *route, busbar *bus, const subject *found)
{
    uint64_t now_us = bb_handle_now_us(bus);
    if (now_us >= route->held_until_us) { /* one wait for all that were on their way */
        uint64_t wait_ms = bb_backoff_wait_ms(&route->worker.retry, ++route->held_count, 0, UINT32_MAX);
        route->held_until_us = now_us + wait_ms * 1000;
    }
    if (found->entry)
        bb_window_set(found->window, found->entry, BB_ENTRY_UNSENT);
    else
        found->resend->trial.key.n = 0;
    bb_route_say(route, "nobody is subscribed to the topic: waiting until somebody is");
}

static bool blocked(const bb_route *route)
{
    return bb_route_blocked(route, BUSBAR_NORMAL) || bb_route_blocked(route, BUSBAR_URGENT) ||
           bb_route_blocked(route, BUSBAR_BULK);
}

static void on_acked(bb_route *route, busbar *bus, const busbar_transport_event *event)
{
    subject found;
    if (bb_route_gap_settle(route, bus, event))
        return;
    bool counts = event->unmatched && route->config.unmatched == BUSBAR_UNMATCHED_COUNT;
    if (!find_subject(route, event->token, &found))
        return;
    bb_route_answered(route, bus, &found.key);
    if (event->unmatched && route->config.unmatched == BUSBAR_UNMATCHED_HOLD) {
        hold_back(route, bus, &found);
        return;
    }
    route->held_count = 0;
    if (found.entry) {
        bb_window_set(found.window, found.entry, BB_ENTRY_ACKED);
        found.entry->unmatched = counts;
    } else {
        found.resend->state = BB_ENTRY_ACKED;
        found.resend->unmatched = counts;
    }
    if (!blocked(route) && !route->gaps_guilty) /* else the status keeps saying so, and is written once */
        bb_route_say(route, "");
    bb_route_note_settled(route, bus);
}

static void refuse_resend(bb_resend *resend, const busbar_transport_event *event)
{
    resend->state = BB_ENTRY_REFUSED;
    resend->verdict = event->verdict;
    resend->retry_after_ms = event->reason.retry_after_ms;
    bb_text_copy(resend->reason, sizeof resend->reason, event->reason.text);
}

static void on_refused(bb_route *route, busbar *bus, const busbar_transport_event *event)
{
    subject found;
    if (bb_route_gap_settle(route, bus, event))
        return;
    if (!find_subject(route, event->token, &found))
        return;
    bb_route_answered(route, bus, &found.key);
    route->held_count = 0;
    if (found.entry) {
        bb_window_refuse(found.window, found.entry, event->verdict, event->reason.text);
        found.entry->retry_after_ms = event->reason.retry_after_ms;
    } else {
        refuse_resend(found.resend, event);
    }
    bb_route_say(route, event->reason.text);
    bb_route_note_settled(route, bus);
}

/* What was in flight is unsettled: it is sent again from the log, exceptions from their rows. */
static void on_down(bb_route *route, busbar *bus, const busbar_transport_event *event)
{
    bb_route_lost(route);
    route->up = false;
    bb_meter_pause(&route->worker.meter);
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        bb_window_lose(&route->windows[lane]);
    for (int i = 0; i < BB_ROUTE_RETRIES; i++) {
        if (route->resends[i].state == BB_ENTRY_SENT)
            route->resends[i].trial.key.n = 0;
    }
    bb_route_say(route, event->reason.text);
    bb_route_gap_lose(route, bus);
}

static void on_up(bb_route *route, const busbar_transport_event *event)
{
    route->up = true;
    route->peer_window = event->window;
    bb_turns_reset(&route->worker.turns);
    if (!bb_route_suspects(route)) /* else the status keeps saying why the last connection was lost */
        bb_route_say(route, "");
}

static void on_event(const busbar_transport_event *event, void *ctx)
{
    bb_route *route = ((event_ctx *)ctx)->route;
    busbar *bus = ((event_ctx *)ctx)->bus;
    route->refused_now = false;
    route->lively = true;
    switch (event->type) {
    case BUSBAR_TRANSPORT_UP:
        on_up(route, event);
        break;
    case BUSBAR_TRANSPORT_DOWN:
        on_down(route, bus, event);
        break;
    case BUSBAR_TRANSPORT_ACKED:
        on_acked(route, bus, event);
        break;
    case BUSBAR_TRANSPORT_REFUSED:
        on_refused(route, bus, event);
        break;
    default:
        break;
    }
}

void bb_route_listen(bb_route *route, busbar *bus)
{
    event_ctx ctx = {route, bus};
    if (route->started)
        route->transport.api->poll(route->transport.ctx, on_event, &ctx);
}
