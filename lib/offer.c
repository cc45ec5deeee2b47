/* SPDX-License-Identifier: MIT */
#include "offer.h"

#include "expiry.h"
#include "log.h"
#include "text.h"
#include "topic.h"

#define CONTENT_TYPE "application/cloudevents+json"

int bb_offer_bury(bb_offer *o, const char *text)
{
    bb_text_copy(o->reason.text, sizeof o->reason.text, text);
    return BB_OFFER_BURIED;
}

static int encode(bb_offer *o, const busbar_record *record, size_t *out_size)
{
    bb_buffer *payload = &o->route->payload;
    for (;;) {
        size_t size = busbar_record_encode(record, payload->bytes, payload->capacity);
        if (size == SIZE_MAX)
            return bb_offer_bury(o, "the event is too large to be sent at all");
        *out_size = size;
        if (size <= payload->capacity)
            return BUSBAR_OK;
        if (bb_buffer_reserve(payload, size + size / 2) < 0)
            return bb_store_fail_plain(&o->bus->store, BUSBAR_ENOMEM);
    }
}

static uint32_t expiry_of(int64_t ttl_ms)
{
    int64_t seconds = ttl_ms / 1000 + (ttl_ms % 1000 != 0);
    if (ttl_ms == BB_EXPIRY_NEVER || seconds > UINT32_MAX)
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

static int hand_over(bb_offer *o, const busbar_record *record, int64_t ttl_ms)
{
    char topic[BUSBAR_TOPIC_MAX + 1];
    size_t topic_size = 0;
    size_t payload_size = 0;
    if (bb_topic_expand(o->route->topic, record, topic, sizeof topic, &topic_size) < 0)
        return bb_offer_bury(o, "the topic template expands to an empty or too long topic");
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
        return BB_OFFER_NO_ROOM;
    }
    o->route->next_token++;
    o->route->lively = true;
    if (sent == BUSBAR_SEND_DEAD)
        return BB_OFFER_BURIED;
    bb_throttle_take(&o->route->throttle, bb_handle_now_us(o->bus));
    return BUSBAR_OK;
}

int bb_offer_record(bb_offer *o, const busbar_record *record)
{
    return hand_over(o, record, BB_EXPIRY_NEVER);
}

/* Offers a record, which is wanted and whose turn it is. BUSBAR_OK when it is in flight. */
static int offer_record(bb_offer *o, sqlite3_stmt *stmt, int first, const busbar_record *record)
{
    int64_t ttl_ms = BB_EXPIRY_NEVER;
    bb_exception_key key = {.lane = record->lane, .seq = record->seq};
    int result = bb_expiry_left(&o->route->worker, o->bus, stmt, first, record, &ttl_ms);
    if (result == BUSBAR_OK && ttl_ms <= 0)
        return BB_OFFER_TOO_OLD;
    if (result == BUSBAR_OK)
        result = bb_offer_check_noted(o, &key);
    return result == BUSBAR_OK ? hand_over(o, record, ttl_ms) : result;
}

/* Offers the event that a statement stands on once more. */
int bb_offer_again(bb_offer *o, sqlite3_stmt *stmt, int first, busbar_lane lane)
{
    busbar_record record;
    int result = bb_reader_record(&o->bus->reader, stmt, first, lane, &record);
    if (result == BUSBAR_ENOTFOUND)
        return bb_offer_bury(o, o->bus->store.error.text);
    return result < 0 ? result : offer_record(o, stmt, first, &record);
}

/* FNV-1a. Two keys of one hash only wait for each other. */
static uint64_t hash_of(const char *key)
{
    uint64_t hash = 14695981039346656037u;
    for (; key && *key; key++)
        hash = (hash ^ (unsigned char)*key) * 1099511628211u;
    return key && hash != 0 ? hash : 0;
}

/* Whether the event may go, or what it must wait for. */
static int check_order(bb_offer *o, const busbar_record *record)
{
    bb_route *route = o->route;
    const bb_window *window = &route->windows[record->lane];
    bool holds = false;
    o->key = 0;
    if (route->worker.order == BUSBAR_ORDER_STRICT)
        return bb_window_clear_way(window) && route->open[record->lane] == 0 ? BUSBAR_OK : BB_OFFER_WAITS;
    if (route->worker.order == BUSBAR_ORDER_NONE || !record->key)
        return BUSBAR_OK;
    o->key = hash_of(record->key);
    bb_window_place place = bb_window_place_of(window, o->key);
    if (place == BB_PLACE_WAITS)
        return BB_OFFER_WAITS;
    int result = BUSBAR_OK;
    if (place == BB_PLACE_FREE && route->open[record->lane] > 0)
        result = bb_exception_holds(&o->bus->store, route->worker.consumer, record->lane, record->key, &holds);
    if (result < 0)
        return result;
    return place == BB_PLACE_PARKS || holds ? BB_OFFER_PARKED : BUSBAR_OK;
}

/* Offers the event of the log that a statement stands on. */
int bb_offer_row(bb_offer *o, sqlite3_stmt *stmt, busbar_lane lane)
{
    busbar_record record;
    const char *type = NULL;
    int result = bb_reader_type(&o->bus->reader, stmt, 0, &type);
    if (result == BUSBAR_OK && !bb_worker_wants(&o->route->worker, type))
        return BB_OFFER_UNWANTED;
    if (result == BUSBAR_OK)
        result = bb_reader_record(&o->bus->reader, stmt, 0, lane, &record);
    if (result == BUSBAR_ENOTFOUND)
        return bb_offer_bury(o, o->bus->store.error.text);
    if (result == BUSBAR_OK && !bb_worker_wants_event(&o->route->worker, &record))
        return BB_OFFER_UNWANTED;
    if (result == BUSBAR_OK)
        result = check_order(o, &record);
    return result == BUSBAR_OK ? offer_record(o, stmt, 0, &record) : result;
}
