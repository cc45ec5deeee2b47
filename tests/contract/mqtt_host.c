/* SPDX-License-Identifier: MIT */
/* The bus's side of an MQTT transport, for tests. */
#define _POSIX_C_SOURCE 200809L

#include "test.h"

#include "mqtt_host.h"

#include <poll.h>

#include "broker.h"

/*
 * Asked for by ThreadSanitizer, and otherwise never called. libmosquitto before 2.0.15 unlocks a mutex that it had not
 * locked when the broker ends a connection; the handle is thrown away right after it.
 */
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "mutex:libmosquitto.so";
}

busbar_mosquitto_options mqtt_host_options(unsigned port)
{
    return (busbar_mosquitto_options){
        .size = sizeof(busbar_mosquitto_options),
        .host = BROKER_HOST,
        .port = (uint16_t)port,
        .reconnect_min_ms = 20,
        .reconnect_max_ms = 100,
    };
}

void mqtt_host_start(mqtt_host *host, const busbar_mosquitto_options *options)
{
    busbar_reason reason;

    memset(host, 0, sizeof *host);
    if (busbar_mosquitto_new(options, &host->transport, &reason) != BUSBAR_OK ||
        host->transport.api->start(host->transport.ctx, &reason) != 0) {
        fail_msg("%s", reason.text);
    }
}

void mqtt_host_stop(mqtt_host *host)
{
    host->transport.api->close(host->transport.ctx);
    host->transport.api->stop(host->transport.ctx);
}

static void on_event(const busbar_transport_event *event, void *context)
{
    mqtt_host *host = context;

    switch (event->type) {
    case BUSBAR_TRANSPORT_UP:
        host->ups++;
        host->up = true;
        host->last_up = *event;
        break;
    case BUSBAR_TRANSPORT_DOWN:
        host->downs++;
        host->up = false;
        host->last_down = *event;
        break;
    case BUSBAR_TRANSPORT_ACKED:
        host->acked++;
        host->unmatched += event->unmatched;
        host->last_token = event->token;
        break;
    case BUSBAR_TRANSPORT_REFUSED:
        host->refused++;
        host->last_token = event->token;
        host->last_refused = *event;
        break;
    default:
        fail_msg("unknown event %d", (int)event->type);
    }
}

void mqtt_host_poll(mqtt_host *host)
{
    host->transport.api->poll(host->transport.ctx, on_event, host);
}

static void wait_on_fd(const mqtt_host *host, int timeout_ms)
{
    struct pollfd fd = {.fd = host->transport.api->fd(host->transport.ctx), .events = POLLIN};
    (void)poll(&fd, 1, timeout_ms);
}

void mqtt_host_wait(mqtt_host *host, const unsigned *counter, unsigned at_least)
{
    uint64_t deadline_ms = broker_now_ms() + MQTT_HOST_DEADLINE_MS;

    for (mqtt_host_poll(host); *counter < at_least; mqtt_host_poll(host)) {
        if (broker_now_ms() >= deadline_ms) {
            fail_msg("still waiting; last down: %s", host->last_down.reason.text);
        }
        wait_on_fd(host, 100);
    }
}

void mqtt_host_wait_reason(mqtt_host *host, const char *text)
{
    uint64_t deadline_ms = broker_now_ms() + MQTT_HOST_DEADLINE_MS;

    for (mqtt_host_poll(host); strstr(host->last_down.reason.text, text) == NULL; mqtt_host_poll(host)) {
        if (broker_now_ms() >= deadline_ms) {
            fail_msg("no reason with '%s'; the last one: %s", text, host->last_down.reason.text);
        }
        wait_on_fd(host, 100);
    }
}

void mqtt_host_idle(mqtt_host *host, unsigned time_ms)
{
    uint64_t until_ms = broker_now_ms() + time_ms;

    for (uint64_t now_ms = broker_now_ms(); now_ms < until_ms; now_ms = broker_now_ms()) {
        wait_on_fd(host, (int)(until_ms - now_ms));
        mqtt_host_poll(host);
    }
}

busbar_send_result mqtt_host_send(mqtt_host *host, uint64_t token, const char *topic, const char *payload)
{
    busbar_reason reason;
    const busbar_message message = {
        .size = sizeof message,
        .token = token,
        .topic = topic,
        .payload = payload,
        .payload_size_bytes = strlen(payload),
        .qos = 1,
    };
    return host->transport.api->send(host->transport.ctx, &message, &reason);
}
