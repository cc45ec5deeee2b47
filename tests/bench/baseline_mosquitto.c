/* SPDX-License-Identifier: MIT */
/* libmosquitto as its documentation has it: publish while the window has room, then loop. */
#include "baseline.h"

#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <stdlib.h>

#define LOOP_MS      1000
#define CONTENT_TYPE "application/cloudevents+json"

struct baseline_client {
    struct mosquitto *handle;
    mosquitto_property *properties;
    bool connected;
    unsigned acked;
};

static void on_connect(struct mosquitto *handle, void *ctx, int code)
{
    baseline_client *it = ctx;
    (void)handle;
    measure_must(code == 0, "libmosquitto is accepted by the broker");
    it->connected = true;
}

static void on_publish(struct mosquitto *handle, void *ctx, int mid)
{
    baseline_client *it = ctx;
    (void)handle;
    (void)mid;
    it->acked++;
}

static void work(baseline_client *it)
{
    measure_must(mosquitto_loop(it->handle, LOOP_MS, 1) == MOSQ_ERR_SUCCESS, "a turn of libmosquitto");
}

baseline_client *baseline_client_connect(const baseline_wire *wire)
{
    baseline_client *it = calloc(1, sizeof *it);
    measure_must(it != NULL, "memory");
    mosquitto_lib_init();
    it->handle = mosquitto_new(NULL, true, it);
    measure_must(it->handle != NULL, "a libmosquitto client");
    mosquitto_int_option(it->handle, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5);
    mosquitto_int_option(it->handle, MOSQ_OPT_SEND_MAXIMUM, wire->window);
    mosquitto_connect_callback_set(it->handle, on_connect);
    mosquitto_publish_callback_set(it->handle, on_publish);
    mosquitto_property_add_byte(&it->properties, MQTT_PROP_PAYLOAD_FORMAT_INDICATOR, 1);
    mosquitto_property_add_string(&it->properties, MQTT_PROP_CONTENT_TYPE, CONTENT_TYPE);
    measure_must(mosquitto_connect(it->handle, "127.0.0.1", (int)wire->port, 60) == MOSQ_ERR_SUCCESS, "a connection");
    while (!it->connected)
        work(it);
    return it;
}

void baseline_client_publish(baseline_client *it, const char *topic, const void *payload, int payload_size)
{
    int rc = mosquitto_publish_v5(it->handle, NULL, topic, payload_size, payload, 1, false, it->properties);
    measure_must(rc == MOSQ_ERR_SUCCESS, "publish by libmosquitto");
}

void baseline_client_wait(baseline_client *it, unsigned acked)
{
    while (it->acked < acked)
        work(it);
}

unsigned baseline_client_acked(const baseline_client *it)
{
    return it->acked;
}

void baseline_client_close(baseline_client *it)
{
    mosquitto_disconnect(it->handle);
    mosquitto_destroy(it->handle);
    mosquitto_property_free_all(&it->properties);
    free(it);
}

void baseline_mosquitto(const baseline_wire *wire, measurement *out)
{
    baseline_client *client = baseline_client_connect(wire);
    unsigned sent = 0;
    measure_begin(out);
    while (client->acked < wire->count) {
        for (; sent < wire->count && sent - client->acked < (unsigned)wire->window; sent++) {
            const baseline_message *message = &wire->messages[sent];
            baseline_client_publish(client, message->topic, message->payload, message->payload_size);
        }
        work(client);
    }
    measure_end(out, wire->count);
    baseline_client_close(client);
}
