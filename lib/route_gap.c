/* SPDX-License-Identifier: MIT */
/* Gaps of a route, from the record to the busbar.gap event that tells of it. */
#include <string.h>

#include "backoff.h"
#include "identity.h"
#include "json.h"
#include "log.h"
#include "offer.h"
#include "text.h"

#define TYPE      "busbar.gap"
#define ID_PREFIX "gap-"
#define TEXT_SIZE 512

const char *bb_route_gap_refusal(void)
{
    return NULL;
}

/* ---- Taking up ---- */

static bb_notice *free_place(bb_route *route)
{
    for (int i = 0; i < BB_ROUTE_NOTICES; i++) {
        if (route->notices[i].gap.n == 0)
            return &route->notices[i];
    }
    return NULL;
}

static int64_t last_taken(const bb_route *route, busbar_lane lane)
{
    int64_t last = 0;
    for (int i = 0; i < BB_ROUTE_NOTICES; i++) {
        const bb_notice *notice = &route->notices[i];
        if (notice->gap.n > last && notice->lane == lane)
            last = notice->gap.n;
    }
    return last;
}

/* A gap that was not sealed may have grown, or be gone. */
static void drop_open(bb_route *route)
{
    size_t kept = 0;
    for (size_t i = 0; i < BB_ROUTE_NOTICES; i++) {
        if (route->notices[i].gap.n != 0 && route->notices[i].gap.token[0] != '\0')
            route->notices[kept++] = route->notices[i];
    }
    memset(&route->notices[kept], 0, (BB_ROUTE_NOTICES - kept) * sizeof *route->notices);
    route->noticed = kept > 0;
}

static int load_lane(bb_route *route, busbar *bus, busbar_lane lane)
{
    bb_gap gap;
    int64_t after = last_taken(route, lane);
    int result;
    while ((result = bb_gap_next(&bus->store, route->worker.consumer, lane, after, &gap)) == BB_ROW) {
        bb_notice *place = free_place(route);
        route->gaps_waiting[lane] = place == NULL;
        if (!place)
            return BUSBAR_OK;
        *place = (bb_notice){.gap = gap, .lane = lane, .state = BB_ENTRY_UNSENT};
        route->noticed = true;
        after = gap.n;
    }
    return result;
}

int bb_route_gap_load(bb_route *route, busbar *bus)
{
    int result = BUSBAR_OK;
    route->gaps_stale = false;
    drop_open(route);
    memset(route->gaps_waiting, 0, sizeof route->gaps_waiting);
    for (int i = 0; result == BUSBAR_OK && !route->config.no_gaps && i < BUSBAR_LANE_COUNT; i++) {
        if (bb_worker_wants_lane(&route->worker, bb_lane_order[i]))
            result = load_lane(route, bus, bb_lane_order[i]);
    }
    route->gaps_stale = result < 0;
    return result;
}

/* ---- Sealing ---- */

static int make_token(const bb_route *route, busbar *bus, const bb_notice *notice, char out[BB_IDENTITY_TOKEN_SIZE])
{
    uint64_t counter = (uint64_t)notice->gap.last * BUSBAR_LANE_COUNT + (uint64_t)notice->lane;
    counter = counter * 65536 + (uint64_t)route->worker.consumer;
    return bb_session_token(&bus->store, bus->port, bus->boot.text, counter, bb_handle_now_us(bus), out);
}

static int seal_all(bb_route *route, busbar *bus, char tokens[][BB_IDENTITY_TOKEN_SIZE])
{
    int result = BUSBAR_OK;
    for (int i = 0; result == BUSBAR_OK && i < BB_ROUTE_NOTICES; i++) {
        const bb_notice *notice = &route->notices[i];
        if (notice->gap.n == 0 || notice->gap.token[0] != '\0')
            continue;
        result = make_token(route, bus, notice, tokens[i]);
        if (result == BUSBAR_OK)
            result = bb_gap_seal(&bus->store, notice->gap.n, tokens[i]);
    }
    return result;
}

static bool sealed(const bb_route *route)
{
    for (int i = 0; i < BB_ROUTE_NOTICES; i++) {
        if (route->notices[i].gap.n != 0 && route->notices[i].gap.token[0] == '\0')
            return false;
    }
    return true;
}

/* Synced: a gap is told under one id for ever, also when the power is cut. It may have grown since it was read. */
static int seal(bb_route *route, busbar *bus, uint64_t *out_wait_us)
{
    char tokens[BB_ROUTE_NOTICES][BB_IDENTITY_TOKEN_SIZE];
    *out_wait_us = 0;
    if (sealed(route))
        return BUSBAR_OK;
    *out_wait_us = bb_worker_courtesy_us(bus, bb_handle_now_us(bus));
    if (*out_wait_us > 0)
        return BUSBAR_OK;
    int result = bb_worker_begin_synced(&route->worker, bus);
    if (result < 0)
        return result;
    result = bb_route_gap_load(route, bus);
    if (result == BUSBAR_OK)
        result = seal_all(route, bus, tokens);
    result = bb_store_finish(&bus->store, result);
    bb_worker_wrote(bus);
    route->gaps_stale = result < 0;
    for (int i = 0; result == BUSBAR_OK && i < BB_ROUTE_NOTICES; i++) {
        bb_notice *notice = &route->notices[i];
        if (notice->gap.n != 0 && notice->gap.token[0] == '\0')
            memcpy(notice->gap.token, tokens[i], sizeof notice->gap.token);
    }
    return result;
}

/* ---- Sending ---- */

/* One of them is suspected of ending connections. Then all wait: what is wrong with one may be wrong with each. */
static bool set_aside(const bb_route *route)
{
    return route->suspicion.aside && route->suspicion.suspect.seq < 0;
}

static bb_notice *next_due(bb_route *route, uint64_t now_us)
{
    if (set_aside(route) || now_us < route->gaps_due_us)
        return NULL;
    for (int i = 0; i < BB_ROUTE_NOTICES; i++) {
        bb_notice *notice = &route->notices[i];
        if (notice->gap.n != 0 && notice->state == BB_ENTRY_UNSENT && now_us >= notice->due_us)
            return notice;
    }
    return NULL;
}

uint64_t bb_route_gap_wait_us(const bb_route *route, uint64_t now_us)
{
    uint64_t wait_us = BUSBAR_FOREVER;
    for (int i = 0; i < BB_ROUTE_NOTICES; i++) {
        const bb_notice *notice = &route->notices[i];
        uint64_t due_us = notice->due_us > route->gaps_due_us ? notice->due_us : route->gaps_due_us;
        if (notice->gap.n == 0 || notice->state != BB_ENTRY_UNSENT || due_us <= now_us)
            continue;
        if (due_us - now_us < wait_us)
            wait_us = due_us - now_us;
    }
    return wait_us;
}

/* What waits for a retry may wait for ever: it holds nothing up. */
bool bb_route_gap_holds(const bb_route *route, busbar *bus, busbar_lane lane)
{
    if (!route->gaps_waiting[lane] || set_aside(route) || bb_handle_now_us(bus) < route->gaps_due_us)
        return false;
    for (int i = 0; i < BB_ROUTE_NOTICES; i++) {
        const bb_notice *notice = &route->notices[i];
        if (notice->gap.n != 0 && (notice->state != BB_ENTRY_UNSENT || notice->attempts == 0))
            return true;
    }
    return false;
}

static void write_data(const bb_notice *notice, const char *consumer, bb_text *out)
{
    const bb_gap *gap = &notice->gap;
    bb_text_add(out, "{\"from\":");
    bb_text_add_int(out, gap->first);
    bb_text_add(out, ",\"to\":");
    bb_text_add_int(out, gap->last);
    bb_text_add(out, ",\"count\":");
    bb_text_add_int(out, gap->count);
    bb_text_add(out, ",\"lane\":\"");
    bb_text_add(out, busbar_lane_name(notice->lane));
    bb_text_add(out, "\",\"reason\":\"");
    bb_text_add(out, bb_gap_reason_name(gap->reason));
    bb_text_add(out, "\",\"consumer\":");
    bb_json_add_string(out, consumer, strlen(consumer));
    bb_text_add_char(out, '}');
}

/* The event of a notice; its texts are in `text`. */
static void write_record(const bb_notice *notice, const busbar *bus, const char *consumer, char text[TEXT_SIZE],
                         busbar_record *out_record)
{
    bb_text out = bb_text_on(text, TEXT_SIZE);
    bb_text_add(&out, ID_PREFIX);
    bb_text_add(&out, notice->gap.token);
    bb_text_add_char(&out, '\0');
    size_t data = out.length;
    write_data(notice, consumer, &out);
    *out_record = (busbar_record){
        .size = sizeof *out_record,
        .lane = notice->lane,
        .seq = notice->gap.last,
        .id = text,
        .source = bus->source,
        .type = TYPE,
        .subject = consumer,
        .time_ms = BUSBAR_TIME_UNKNOWN,
        .data = text + data,
        .data_size_bytes = out.length - data,
        .data_is_json = true,
        .attempt = notice->attempts + 1,
    };
}

static int offer(bb_offer *o, bb_notice *notice)
{
    char text[TEXT_SIZE];
    busbar_record record;
    write_record(notice, o->bus, o->route->worker.name, text, &record);
    int result = bb_offer_record(o, &record);
    if (result == BUSBAR_OK) {
        notice->token = o->token;
        notice->state = BB_ENTRY_SENT;
    } else if (result == BB_OFFER_BURIED) {
        notice->state = BB_ENTRY_ACKED; /* it can never be told: the status has said so */
        bb_route_say(o->route, o->reason.text);
        bb_route_note_settled(o->route, o->bus);
        result = BUSBAR_OK;
    }
    return result;
}

int bb_route_gap_send(bb_offer *o, uint64_t *out_wait_us)
{
    uint64_t seal_us = 0;
    bb_notice *notice;
    int result = seal(o->route, o->bus, &seal_us);
    if (result < 0)
        return result;
    if (seal_us > 0) {
        *out_wait_us = seal_us;
        return BB_OFFER_NO_ROOM;
    }
    while (result == BUSBAR_OK && (notice = next_due(o->route, bb_handle_now_us(o->bus))) != NULL)
        result = bb_offer_link_room(o, out_wait_us) ? offer(o, notice) : BB_OFFER_NO_ROOM;
    return result;
}

/* ---- What became of it ---- */

static bb_notice *find(bb_route *route, uint64_t token)
{
    for (int i = 0; route->noticed && i < BB_ROUTE_NOTICES; i++) {
        bb_notice *notice = &route->notices[i];
        if (notice->gap.n != 0 && notice->state == BB_ENTRY_SENT && notice->token == token)
            return notice;
    }
    return NULL;
}

static void wait_with(bb_route *route, busbar *bus, bb_notice *notice, uint32_t retry_after_ms)
{
    uint64_t wait_ms = bb_backoff_wait_ms(&route->worker.retry, ++notice->attempts, 0, UINT32_MAX);
    notice->state = BB_ENTRY_UNSENT;
    notice->due_us = bb_handle_now_us(bus) + (retry_after_ms > 0 ? retry_after_ms : wait_ms) * 1000;
}

/* The route's policy holds for what it has missed as for events; but there is no dead letter. */
static void refuse(bb_route *route, busbar *bus, bb_notice *notice, uint32_t retry_after_ms)
{
    uint64_t now_us = bb_handle_now_us(bus);
    if (notice->refusals++ == 0)
        notice->refused_since_us = now_us;
    wait_with(route, bus, notice, retry_after_ms);
    if (bb_backoff_over(&route->worker.retry, notice->refusals, (now_us - notice->refused_since_us) / 1000))
        notice->state = BB_ENTRY_ACKED;
}

static bb_exception_key key_of(const bb_notice *notice)
{
    return (bb_exception_key){.lane = notice->lane, .seq = -notice->gap.n};
}

static void settle(bb_route *route, busbar *bus, bb_notice *notice, const busbar_transport_event *event)
{
    bool refused = event->type == BUSBAR_TRANSPORT_REFUSED;
    if (refused && event->verdict != BUSBAR_REFUSED_DEAD)
        refuse(route, bus, notice, event->reason.retry_after_ms);
    else if (!refused && event->unmatched && route->config.unmatched == BUSBAR_UNMATCHED_HOLD)
        wait_with(route, bus, notice, 0); /* until somebody is there, as events do */
    else
        notice->state = BB_ENTRY_ACKED;
    route->gaps_guilty = false;
    route->gap_losses = 0;
}

/* Told, or can never be told: both are the end of it. */
bool bb_route_gap_settle(bb_route *route, busbar *bus, const busbar_transport_event *event)
{
    bb_notice *notice = find(route, event->token);
    if (!notice)
        return false;
    bool refused = event->type == BUSBAR_TRANSPORT_REFUSED;
    bb_exception_key key = key_of(notice);
    bb_route_answered(route, bus, &key);
    settle(route, bus, notice, event);
    bb_route_say(route, refused ? event->reason.text : "");
    bb_route_note_settled(route, bus);
    return true;
}

size_t bb_route_gap_count(const bb_route *route, bb_entry_state state)
{
    size_t count = 0;
    for (int i = 0; route->noticed && i < BB_ROUTE_NOTICES; i++)
        count += route->notices[i].gap.n != 0 && route->notices[i].state == state;
    return count;
}

void bb_route_gap_in_flight(const bb_route *route, bb_exception_key *out_key)
{
    for (int i = 0; route->noticed && i < BB_ROUTE_NOTICES; i++) {
        if (route->notices[i].gap.n != 0 && route->notices[i].state == BB_ENTRY_SENT)
            *out_key = key_of(&route->notices[i]);
    }
}

void bb_route_gap_convict(bb_route *route, busbar *bus, const bb_exception_key *key)
{
    route->gaps_guilty = true;
    for (int i = 0; i < BB_ROUTE_NOTICES; i++) {
        if (route->notices[i].gap.n == -key->seq && route->notices[i].state == BB_ENTRY_UNSENT)
            refuse(route, bus, &route->notices[i], 0);
    }
}

/* Set aside, they wait: without events beside them, they would end each connection. */
static void put_off(bb_route *route, busbar *bus)
{
    uint64_t wait_ms = bb_backoff_wait_ms(&route->worker.retry, ++route->gap_losses, 0, UINT32_MAX);
    route->gaps_due_us = bb_handle_now_us(bus) + wait_ms * 1000;
    bb_route_say(route,
                 "connections were lost each time that a busbar.gap event was alone on its way: events go first");
}

void bb_route_gap_lose(bb_route *route, busbar *bus)
{
    bool sent = bb_route_gap_count(route, BB_ENTRY_SENT) > 0;
    for (int i = 0; i < BB_ROUTE_NOTICES; i++) {
        if (route->notices[i].state == BB_ENTRY_SENT)
            route->notices[i].state = BB_ENTRY_UNSENT;
    }
    if (sent && set_aside(route))
        put_off(route, bus);
}

void bb_route_gap_clear(bb_route *route)
{
    memset(route->notices, 0, sizeof route->notices);
    route->noticed = false;
    route->gaps_guilty = false;
    route->gap_losses = 0;
    route->gaps_due_us = 0;
}

int bb_route_gap_write(bb_route *route, busbar *bus)
{
    int result = BUSBAR_OK;
    for (int i = 0; result == BUSBAR_OK && i < BB_ROUTE_NOTICES; i++) {
        if (route->notices[i].gap.n != 0 && route->notices[i].state == BB_ENTRY_ACKED)
            result = bb_gap_delete(&bus->store, &route->notices[i].gap);
    }
    return result;
}

void bb_route_gap_forget(bb_route *route)
{
    bool left = false;
    for (int i = 0; i < BB_ROUTE_NOTICES; i++) {
        bb_notice *notice = &route->notices[i];
        left = left || (notice->gap.n != 0 && notice->state != BB_ENTRY_ACKED);
        if (notice->gap.n == 0 || notice->state != BB_ENTRY_ACKED)
            continue;
        notice->gap.n = 0;
        route->gaps_stale = true;
    }
    if (!left)
        route->gaps_guilty = false; /* the status need not say so any more */
}
