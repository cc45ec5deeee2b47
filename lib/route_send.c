/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <string.h>

#include "log.h"
#include "route.h"
#include "text.h"
#include "topic.h"

#define CONTENT_TYPE "application/cloudevents+json"

/* Positive outcomes of offering one event; they never leave this file. */
#define NO_ROOM 1 /* the transport takes nothing more now */
#define TOO_OLD 2 /* its time to live is over */
#define BURIED  3 /* it can never be sent */

typedef struct offer {
    bb_route *route;
    busbar *bus;
    uint64_t deadline_us;
    uint64_t token;
    bool moved;           /* by one event at least: a turn gets on however short its time is */
    busbar_reason reason; /* why it can never be sent */
} offer;

/* ---- One event ---- */

static int bury(offer *o, const char *text)
{
    bb_text reason = bb_text_on(o->reason.text, sizeof o->reason.text);
    bb_text_add(&reason, text);
    return BURIED;
}

/* Milliseconds it may still live; INT64_MAX: for ever. Across boots the age is not known: all of it is left. */
static int remaining_ttl(offer *o, sqlite3_stmt *stmt, int first, const busbar_record *record, int64_t *out_ms)
{
    int64_t boot = 0;
    int64_t mono_ms = 0;
    *out_ms = record->ttl_ms == 0 ? INT64_MAX : (int64_t)record->ttl_ms;
    if (record->ttl_ms == 0)
        return BUSBAR_OK;
    int result = bb_reader_instant(&o->bus->reader, stmt, first, &boot, &mono_ms);
    if (result == BUSBAR_OK && boot != 0 && boot == o->bus->boot.id)
        *out_ms -= (int64_t)(bb_handle_now_us(o->bus) / 1000) - mono_ms;
    return result;
}

static int encode(offer *o, const busbar_record *record, size_t *out_size)
{
    bb_buffer *payload = &o->route->payload;
    for (;;) {
        size_t size = busbar_record_encode(record, payload->bytes, payload->capacity);
        if (size == SIZE_MAX)
            return bury(o, "the event is too large to be sent at all");
        *out_size = size;
        if (size <= payload->capacity)
            return BUSBAR_OK;
        if (bb_buffer_reserve(payload, size + size / 2) < 0)
            return bb_store_fail(&o->bus->store, BUSBAR_ENOMEM, busbar_error_text(BUSBAR_ENOMEM));
    }
}

static uint32_t expiry_of(int64_t ttl_ms)
{
    int64_t seconds = ttl_ms / 1000 + (ttl_ms % 1000 != 0);
    if (ttl_ms == INT64_MAX || seconds > UINT32_MAX)
        return 0;
    return (uint32_t)seconds;
}

static uint8_t qos_of(busbar_qos qos)
{
    switch (qos) {
    case BUSBAR_QOS_0:
        return 0;
    case BUSBAR_QOS_2:
        return 2;
    case BUSBAR_QOS_DEFAULT:
    case BUSBAR_QOS_1:
    default:
        return 1;
    }
}

static int hand_over(offer *o, const busbar_record *record, int64_t ttl_ms)
{
    char topic[BUSBAR_TOPIC_MAX + 1];
    size_t topic_size = 0;
    size_t payload_size = 0;
    if (bb_topic_expand(o->route->topic, record, topic, sizeof topic, &topic_size) < 0)
        return bury(o, "the topic template expands to an empty or too long topic");
    int result = encode(o, record, &payload_size);
    if (result != BUSBAR_OK)
        return result;
    o->token = o->route->next_token;
    busbar_message message = {
        .size = sizeof message,
        .token = o->token,
        .topic = topic,
        .payload = o->route->payload.bytes,
        .payload_size_bytes = payload_size,
        .content_type = CONTENT_TYPE,
        .expiry_s = expiry_of(ttl_ms),
        .qos = qos_of(o->route->config.qos),
    };
    const busbar_transport *transport = &o->route->transport;
    busbar_send_result sent = transport->api->send(transport->ctx, &message, &o->reason);
    if (sent == BUSBAR_SEND_NOT_NOW) {
        o->route->refused_now = true;
        return NO_ROOM;
    }
    o->route->next_token++;
    o->route->lively = true;
    if (sent == BUSBAR_SEND_DEAD)
        return BURIED;
    bb_throttle_take(&o->route->throttle, bb_handle_now_us(o->bus));
    return BUSBAR_OK;
}

/* Offers the event that a statement stands on. BUSBAR_OK when it is in flight. */
static int offer_row(offer *o, sqlite3_stmt *stmt, int first, busbar_lane lane)
{
    busbar_record record;
    int64_t ttl_ms = INT64_MAX;
    int result = bb_reader_record(&o->bus->reader, stmt, first, lane, &record);
    if (result == BUSBAR_ENOTFOUND)
        return bury(o, o->bus->store.error.text);
    if (result == BUSBAR_OK)
        result = remaining_ttl(o, stmt, first, &record, &ttl_ms);
    if (result < 0)
        return result;
    return ttl_ms <= 0 ? TOO_OLD : hand_over(o, &record, ttl_ms);
}

/* ---- Room ---- */

/* The link and the pace allow one more message now. */
static bool link_room(const offer *o, uint64_t *out_wait_us)
{
    const bb_route *route = o->route;
    size_t limit = route->config.window;
    if (route->peer_window > 0 && route->peer_window < limit)
        limit = route->peer_window;
    if (route->refused_now || bb_route_in_flight(route) >= limit)
        return false;
    uint64_t now_us = bb_handle_now_us(o->bus);
    uint64_t throttle_us = bb_throttle_wait_us(&route->throttle, now_us);
    *out_wait_us = throttle_us > 0 ? throttle_us : (o->moved && now_us >= o->deadline_us ? 0 : BUSBAR_FOREVER);
    return *out_wait_us == BUSBAR_FOREVER;
}

/* And so does the bound on what a kill would send again: outcomes that wait to be recorded must not gather. */
static bool room(const offer *o, uint64_t *out_wait_us)
{
    return bb_route_unrecorded(o->route) < o->route->config.ack_group && link_room(o, out_wait_us);
}

static void note_settled(const offer *o)
{
    if (o->route->settled_since_us == 0)
        o->route->settled_since_us = bb_handle_now_us(o->bus);
}

/* ---- What was lost with a connection ---- */

static int resend_entry(offer *o, busbar_lane lane, bb_entry *entry)
{
    bb_window *window = &o->route->windows[lane];
    sqlite3_stmt *stmt;
    int result = bb_log_read_next(&o->bus->store, lane, entry->first - 1, &stmt);
    if (result < 0)
        return result;
    bool row = result == BB_ROW;
    bool there = row && bb_column_integer(&o->bus->store, stmt, BB_LOG_SEQ) == entry->first;
    result = there ? offer_row(o, stmt, 0, lane) : bury(o, "the event is no longer in the log");
    if (row)
        bb_store_end(&o->bus->store, stmt);
    if (result == BUSBAR_OK) {
        entry->token = o->token;
        bb_window_set(window, entry, BB_ENTRY_SENT);
    } else if (result == TOO_OLD) {
        bb_window_set(window, entry, BB_ENTRY_EXPIRED);
        note_settled(o);
    } else if (result == BURIED) {
        bb_window_refuse(window, entry, BUSBAR_REFUSED_DEAD, o->reason.text);
        note_settled(o);
    }
    return result;
}

static int resend_lane(offer *o, busbar_lane lane, uint64_t *out_wait_us)
{
    bb_window *window = &o->route->windows[lane];
    for (size_t i = 0; i < window->count && window->unsent > 0; i++) {
        bb_entry *entry = bb_window_at(window, i);
        if (entry->state != BB_ENTRY_UNSENT)
            continue;
        if (!link_room(o, out_wait_us))
            return NO_ROOM;
        int result = resend_entry(o, lane, entry);
        if (result < 0 || result == NO_ROOM)
            return result;
    }
    return BUSBAR_OK;
}

/* ---- Exceptions that are due ---- */

static bb_resend *free_resend(bb_route *route)
{
    for (int i = 0; i < BB_ROUTE_RETRIES; i++) {
        if (route->resends[i].n == 0)
            return &route->resends[i];
    }
    return NULL;
}

static bool resending(const bb_route *route)
{
    for (int i = 0; i < BB_ROUTE_RETRIES; i++) {
        if (route->resends[i].n != 0)
            return true;
    }
    return false;
}

static bool being_resent(const bb_route *route, int64_t n)
{
    for (int i = 0; i < BB_ROUTE_RETRIES; i++) {
        if (route->resends[i].n == n)
            return true;
    }
    return false;
}

static int resend_exception(offer *o, sqlite3_stmt *stmt, bb_resend *resend)
{
    bb_store *store = &o->bus->store;
    busbar_lane lane = (busbar_lane)bb_column_integer(store, stmt, BB_EXCEPTION_LANE);
    uint32_t attempts = (uint32_t)bb_column_integer(store, stmt, BB_EXCEPTION_ATTEMPTS) + 1;
    int64_t n = bb_column_integer(store, stmt, BB_EXCEPTION_N);
    int64_t seq = bb_column_integer(store, stmt, BB_EXCEPTION_LOG + BB_LOG_SEQ);
    int result = offer_row(o, stmt, BB_EXCEPTION_LOG, lane);
    if (result < 0 || result == NO_ROOM)
        return result;
    *resend =
        (bb_resend){.n = n, .seq = seq, .lane = lane, .attempts = attempts, .token = o->token, .state = BB_ENTRY_SENT};
    if (result == BUSBAR_OK)
        return result;
    resend->state = result == TOO_OLD ? BB_ENTRY_EXPIRED : BB_ENTRY_REFUSED;
    resend->verdict = BUSBAR_REFUSED_DEAD;
    memcpy(resend->reason, o->reason.text, sizeof resend->reason);
    note_settled(o);
    return BUSBAR_OK;
}

static int resend_due(offer *o, uint64_t *out_wait_us)
{
    bb_route *route = o->route;
    int64_t now_ms = (int64_t)(bb_handle_now_us(o->bus) / 1000);
    int64_t after = 0;
    bb_resend *resend;
    while (route->retry_due_ms <= now_ms && (resend = free_resend(route)) != NULL) {
        sqlite3_stmt *stmt;
        int result =
            bb_exception_read_due(&o->bus->store, route->worker.consumer, o->bus->boot.id, now_ms, after, &stmt);
        if (result != BB_ROW)
            return result;
        after = bb_column_integer(&o->bus->store, stmt, BB_EXCEPTION_N);
        if (being_resent(route, after))
            result = BUSBAR_OK;
        else
            result = link_room(o, out_wait_us) ? resend_exception(o, stmt, resend) : NO_ROOM;
        bb_store_end(&o->bus->store, stmt);
        if (result != BUSBAR_OK)
            return result;
    }
    return BUSBAR_OK;
}

/* ---- The log ---- */

static int send_row(offer *o, sqlite3_stmt *stmt, busbar_lane lane)
{
    bb_route *route = o->route;
    bb_window *window = &route->windows[lane];
    int64_t seq = bb_column_integer(&o->bus->store, stmt, BB_LOG_SEQ);
    const char *type = NULL;
    o->moved = true;
    int result = bb_reader_type(&o->bus->reader, stmt, 0, &type);
    if (result < 0 && result != BUSBAR_ENOTFOUND)
        return result;
    bool unwanted = result == BUSBAR_OK && !bb_worker_wants(&route->worker, type);
    result = unwanted ? BUSBAR_OK : offer_row(o, stmt, 0, lane);
    if (result < 0 || result == NO_ROOM)
        return result;
    if (unwanted)
        (void)bb_window_push(window, seq, BB_ENTRY_FILTERED, 0);
    else if (result == TOO_OLD)
        (void)bb_window_push(window, seq, BB_ENTRY_EXPIRED, 0);
    else {
        bb_entry *entry = bb_window_push(window, seq, BB_ENTRY_SENT, o->token);
        if (result == BURIED)
            bb_window_refuse(window, entry, BUSBAR_REFUSED_DEAD, o->reason.text);
    }
    if (unwanted || result != BUSBAR_OK)
        note_settled(o);
    route->position[lane] = seq;
    return BUSBAR_OK;
}

/* Sends the lane's events up to the watermark, as many as there is room for. The statement never outlives this call. */
static int send_lane(offer *o, busbar_lane lane, uint64_t *out_wait_us)
{
    bb_route *route = o->route;
    bb_store *store = &o->bus->store;
    if (route->position[lane] >= o->bus->watermark[lane] || bb_route_blocked(route, lane))
        return BUSBAR_OK;
    sqlite3_stmt *stmt;
    int result = bb_log_scan(store, lane, route->position[lane], o->bus->watermark[lane], &stmt);
    if (result < 0)
        return result;
    bool more = true;
    while (more && result == BUSBAR_OK) {
        if (!room(o, out_wait_us) || bb_window_full(&route->windows[lane])) {
            result = NO_ROOM;
            break;
        }
        result = bb_store_step(store, stmt);
        more = result == BB_ROW;
        if (more)
            result = send_row(o, stmt, lane);
    }
    bb_store_end(store, stmt);
    return result;
}

/* Everything of the lane below the watermark is on its way, and there is more above it. */
static bool barrier_due(const bb_route *route, const busbar *bus, busbar_lane lane)
{
    return !bb_route_blocked(route, lane) && route->position[lane] >= bus->watermark[lane] &&
           bus->watermark[lane] < bus->heads[lane];
}

/* Makes the rest of the lane durable, and sends it. NO_ROOM when that has to wait. */
static int send_rest(offer *o, busbar_lane lane, uint64_t *out_wait_us)
{
    uint64_t courtesy_us = 0;
    if (!room(o, out_wait_us))
        return NO_ROOM;
    int result = bb_worker_raise_watermark(o->bus, &courtesy_us);
    if (result < 0)
        return result;
    if (courtesy_us == 0)
        return send_lane(o, lane, out_wait_us);
    *out_wait_us = courtesy_us;
    return NO_ROOM;
}

/* Less urgent lanes wait for the barrier of a more urgent one: what they have below the watermark may be a long backlog. */
static int send_lanes(offer *o, uint64_t *out_wait_us)
{
    int result = BUSBAR_OK;
    for (int i = 0; result == BUSBAR_OK && i < BUSBAR_LANE_COUNT; i++) {
        busbar_lane lane = bb_lane_order[i];
        result = send_lane(o, lane, out_wait_us);
        if (result == BUSBAR_OK && barrier_due(o->route, o->bus, lane))
            result = send_rest(o, lane, out_wait_us);
    }
    return result;
}

int bb_route_send(bb_route *route, busbar *bus, uint64_t deadline_us, uint64_t *out_wait_us)
{
    offer o = {.route = route, .bus = bus, .deadline_us = deadline_us};
    bb_reader_refresh(&bus->reader);
    *out_wait_us = bb_worker_wait_for(bus, route->retry_due_ms);
    uint64_t room_us = BUSBAR_FOREVER;
    int result = BUSBAR_OK;
    for (int i = 0; result == BUSBAR_OK && i < BUSBAR_LANE_COUNT; i++)
        result = resend_lane(&o, bb_lane_order[i], &room_us);
    if (result == BUSBAR_OK)
        result = resend_due(&o, &room_us);
    if (result == BUSBAR_OK)
        result = send_lanes(&o, &room_us);
    if (*out_wait_us == 0 && (result == NO_ROOM || resending(route)))
        *out_wait_us = BUSBAR_FOREVER; /* a retry is due, but a result must come, or be recorded, first */
    if (room_us < *out_wait_us)
        *out_wait_us = room_us;
    return result < 0 ? result : BUSBAR_OK;
}
