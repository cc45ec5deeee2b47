/* SPDX-License-Identifier: MIT */
/*
 * The transport's functions as the bus calls them: all on the host's thread, none but stop waiting for anything. Owns the
 * slots; knows the link only through the exchange.
 */
#define _POSIX_C_SOURCE 200809L /* pthread_sigmask */

#include <busbar/mosquitto.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "exchange.h"
#include "link.h"
#include "packet.h"
#include "reason.h"
#include "settings.h"
#include "slot.h"

#define STOP_MS 2000

typedef struct mqtt_transport {
    bb_mosquitto_settings settings;
    bb_mosquitto_exchange exchange;
    bb_mosquitto_link link; /* the thread's, from start on */
    pthread_t thread;
    bool started;
    bool closed;
    /* what the host was last told */
    bool up;
    uint64_t epoch;
    bb_mosquitto_limits limits;
    uint32_t held; /* slots not in `spare` */
    bb_mosquitto_list spare;
    bb_mosquitto_slot slots[]; /* settings.window of them */
} mqtt_transport;

static void release(mqtt_transport *transport)
{
    for (uint32_t i = 0; i < transport->settings.window; i++) {
        bb_mosquitto_slot_free(&transport->slots[i]);
    }
    bb_mosquitto_exchange_close(&transport->exchange);
    bb_mosquitto_settings_free(&transport->settings);
    free(transport);
}

static void leave(mqtt_transport *transport)
{
    if (bb_mosquitto_exchange_leave(&transport->exchange)) {
        release(transport);
    }
}

static void *serve(void *context)
{
    mqtt_transport *transport = context;

    bb_mosquitto_link_run(&transport->link);
    bb_mosquitto_exchange_ended(&transport->exchange);
    leave(transport);
    return NULL;
}

/* ---- start ---------------------------------------------------------------------------------------------------------- */

/* A thread inherits its mask: signals stay the application's, and a lost connection's SIGPIPE ends nothing. */
static int create_thread(mqtt_transport *transport)
{
    sigset_t every;
    sigset_t before;

    sigfillset(&every);
    int rc = pthread_sigmask(SIG_SETMASK, &every, &before);
    if (rc == 0) {
        rc = pthread_create(&transport->thread, NULL, serve, transport);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    return rc;
}

static int transport_start(void *context, busbar_reason *out_reason)
{
    mqtt_transport *transport = context;

    if (transport->started || transport->closed) {
        bb_mosquitto_reason_set(out_reason, EALREADY, "the transport was %s before; make a new one",
                                transport->closed ? "closed" : "started");
        return -1;
    }
    transport->exchange.owners = 2; /* no other thread yet */
    int rc = create_thread(transport);
    if (rc != 0) {
        transport->exchange.owners = 1;
        bb_mosquitto_reason_set(out_reason, rc, "cannot create a thread: %s",
                                rc == EAGAIN ? "the system has no room for one" : "not allowed");
        return -1;
    }
    transport->started = true;
    return 0;
}

/* ---- send ----------------------------------------------------------------------------------------------------------- */

static void give_back(mqtt_transport *transport, bb_mosquitto_slot *slot)
{
    bb_mosquitto_slot_reset(slot);
    bb_mosquitto_list_append(&transport->spare, slot);
    transport->held--;
}

static busbar_send_result transport_send(void *context, const busbar_message *message, busbar_reason *out_reason)
{
    mqtt_transport *transport = context;

    if (!transport->up || transport->closed || transport->held >= transport->limits.window) {
        return BUSBAR_SEND_NOT_NOW;
    }
    if (bb_mosquitto_packet_check(&transport->limits, message, out_reason) != 0) {
        return BUSBAR_SEND_DEAD;
    }
    bb_mosquitto_slot *slot = bb_mosquitto_list_pop(&transport->spare);
    transport->held++;
    if (bb_mosquitto_slot_fill(slot, message) != 0 ||
        !bb_mosquitto_exchange_offer(&transport->exchange, slot, transport->epoch)) {
        give_back(transport, slot);
        return BUSBAR_SEND_NOT_NOW;
    }
    return BUSBAR_SEND_ACCEPTED;
}

/* ---- poll ----------------------------------------------------------------------------------------------------------- */

static busbar_transport_event new_event(busbar_transport_event_type type)
{
    busbar_transport_event event;
    memset(&event, 0, sizeof event);
    event.size = sizeof event;
    event.type = type;
    return event;
}

static void hand_over_outcomes(mqtt_transport *transport, bb_mosquitto_list *settled, busbar_transport_event_fn *fn,
                               void *fn_context)
{
    bb_mosquitto_slot *slot;
    busbar_transport_event acked = new_event(BUSBAR_TRANSPORT_ACKED);
    busbar_transport_event refused = new_event(BUSBAR_TRANSPORT_REFUSED);

    while ((slot = bb_mosquitto_list_pop(settled)) != NULL) {
        busbar_transport_event *event = slot->outcome == BB_MOSQUITTO_ACKED ? &acked : &refused;
        event->token = slot->token;
        event->unmatched = bb_mosquitto_reason_unmatched(slot);
        if (slot->outcome != BB_MOSQUITTO_ACKED) {
            event->verdict = slot->outcome == BB_MOSQUITTO_DEAD ? BUSBAR_REFUSED_DEAD : BUSBAR_REFUSED_RETRY;
            bb_mosquitto_reason_message(&event->reason, slot);
        }
        give_back(transport, slot); /* first: the callback may send */
        fn(event, fn_context);
    }
}

static void hand_over_down(mqtt_transport *transport, bb_mosquitto_news *news, busbar_transport_event_fn *fn,
                           void *fn_context)
{
    bb_mosquitto_slot *slot;
    busbar_transport_event event = new_event(BUSBAR_TRANSPORT_DOWN);

    transport->up = false;
    while ((slot = bb_mosquitto_list_pop(&news->returned)) != NULL) {
        give_back(transport, slot);
    }
    event.reason = news->reason;
    fn(&event, fn_context);
}

static void hand_over_up(mqtt_transport *transport, const bb_mosquitto_news *news, busbar_transport_event_fn *fn,
                         void *fn_context)
{
    busbar_transport_event event = new_event(BUSBAR_TRANSPORT_UP);

    transport->up = true;
    transport->epoch = news->epoch;
    transport->limits = news->limits;
    event.window = news->limits.window;
    event.max_message_bytes = bb_mosquitto_packet_room(&news->limits);
    fn(&event, fn_context);
}

static void transport_poll(void *context, busbar_transport_event_fn *fn, void *fn_context)
{
    mqtt_transport *transport = context;
    bb_mosquitto_news news;

    if (!bb_mosquitto_exchange_collect(&transport->exchange, &news)) {
        return;
    }
    hand_over_outcomes(transport, &news.settled, fn, fn_context);
    if (news.down) {
        hand_over_down(transport, &news, fn, fn_context);
    }
    if (news.up) {
        hand_over_up(transport, &news, fn, fn_context);
    }
}

/* ---- close, stop, fd ------------------------------------------------------------------------------------------------ */

static void transport_close(void *context)
{
    mqtt_transport *transport = context;

    if (!transport->closed) {
        transport->closed = true;
        bb_mosquitto_exchange_end(&transport->exchange);
    }
}

static void transport_stop(void *context)
{
    mqtt_transport *transport = context;

    transport_close(transport);
    if (!transport->started) {
        bb_mosquitto_link_close(&transport->link);
    } else if (bb_mosquitto_exchange_wait_end(&transport->exchange, STOP_MS)) {
        pthread_join(transport->thread, NULL);
    } else {
        pthread_detach(transport->thread); /* it leaves when the system lets it, and is then the last one */
    }
    leave(transport);
}

static int transport_fd(void *context)
{
    const mqtt_transport *transport = context;
    return transport->exchange.host_fd;
}

static const busbar_transport_api mqtt_api = {
    .version = BUSBAR_TRANSPORT_VERSION,
    .name = "mqtt",
    .start = transport_start,
    .send = transport_send,
    .poll = transport_poll,
    .close = transport_close,
    .stop = transport_stop,
    .fd = transport_fd,
};

/* ---- making --------------------------------------------------------------------------------------------------------- */

static int refuse_resources(busbar_reason *out_reason, int error)
{
    bool memory = error == ENOMEM;
    bb_mosquitto_reason_set(out_reason, error, "%s for the MQTT transport",
                            memory ? "out of memory" : "no descriptor left");
    return memory ? BUSBAR_ENOMEM : BUSBAR_EIO;
}

/* Takes the settings over on success. */
static int make(bb_mosquitto_settings *settings, mqtt_transport **out_transport)
{
    mqtt_transport *transport = calloc(1, sizeof *transport + settings->window * sizeof transport->slots[0]);

    if (transport == NULL) {
        errno = ENOMEM;
        return -1;
    }
    if (bb_mosquitto_exchange_open(&transport->exchange) != 0) {
        free(transport);
        return -1;
    }
    transport->settings = *settings;
    if (bb_mosquitto_link_open(&transport->link, &transport->settings, &transport->exchange) != 0) {
        bb_mosquitto_exchange_close(&transport->exchange);
        free(transport);
        return -1;
    }
    for (uint32_t i = 0; i < settings->window; i++) {
        bb_mosquitto_list_append(&transport->spare, &transport->slots[i]);
    }
    *out_transport = transport;
    return 0;
}

int busbar_mosquitto_link_up(busbar_transport transport)
{
    if (transport.api != &mqtt_api || transport.ctx == NULL) {
        return BUSBAR_EINVAL;
    }
    mqtt_transport *self = transport.ctx;
    bb_mosquitto_exchange_prompt(&self->exchange);
    return BUSBAR_OK;
}

int busbar_mosquitto_new(const busbar_mosquitto_options *options, busbar_transport *out_transport,
                         busbar_reason *out_reason)
{
    bb_mosquitto_settings settings;
    mqtt_transport *transport = NULL;

    if (out_transport == NULL) {
        bb_mosquitto_reason_set(out_reason, EINVAL, "there is no place for the transport");
        return BUSBAR_EINVAL;
    }
    int rc = bb_mosquitto_settings_copy(options, &settings, out_reason);
    if (rc != BUSBAR_OK) {
        return rc;
    }
    if (make(&settings, &transport) != 0) {
        int error = errno;
        bb_mosquitto_settings_free(&settings);
        return refuse_resources(out_reason, error);
    }
    out_transport->api = &mqtt_api;
    out_transport->ctx = transport;
    return BUSBAR_OK;
}
