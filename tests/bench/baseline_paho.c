/* SPDX-License-Identifier: MIT */
/*
 * Paho C as its documentation has it for a device that must not forget: the client with a thread of its own and file
 * persistence. The window is kept here, since the library sleeps 100 ms when its own is full.
 */
#include "baseline.h"

#include <MQTTClient.h>
#include <semaphore.h>
#include <stdio.h>

typedef struct state {
    sem_t room;
    sem_t acked;
} state;

static void on_delivered(void *ctx, MQTTClient_deliveryToken token)
{
    state *it = ctx;
    (void)token;
    sem_post(&it->room);
    sem_post(&it->acked);
}

static int on_message(void *ctx, char *topic, int topic_size, MQTTClient_message *message)
{
    (void)ctx;
    (void)topic_size;
    MQTTClient_freeMessage(&message);
    MQTTClient_free(topic);
    return 1;
}

static MQTTClient connect_client(const baseline_wire *wire, state *it)
{
    MQTTClient_createOptions create = MQTTClient_createOptions_initializer;
    MQTTClient_connectOptions options = MQTTClient_connectOptions_initializer5;
    MQTTClient client = NULL;
    char uri[64];
    create.MQTTVersion = MQTTVERSION_5;
    options.reliable = 0;
    options.maxInflightMessages = wire->window * 2;
    options.cleanstart = 1;
    (void)snprintf(uri, sizeof uri, "tcp://127.0.0.1:%u", wire->port);
    int rc = MQTTClient_createWithOptions(&client, uri, "bench", MQTTCLIENT_PERSISTENCE_DEFAULT,
                                          (void *)(uintptr_t)wire->directory, &create);
    measure_must(rc == MQTTCLIENT_SUCCESS, "a Paho client");
    MQTTClient_setCallbacks(client, it, NULL, on_message, on_delivered);
    MQTTResponse response = MQTTClient_connect5(client, &options, NULL, NULL);
    measure_must(response.reasonCode == MQTTREASONCODE_SUCCESS, "Paho is accepted by the broker");
    MQTTResponse_free(response);
    return client;
}

static void add_properties(MQTTProperties *properties)
{
    static char type[] = "application/cloudevents+json";
    MQTTProperty format = {.identifier = MQTTPROPERTY_CODE_PAYLOAD_FORMAT_INDICATOR, .value.byte = 1};
    MQTTProperty content = {.identifier = MQTTPROPERTY_CODE_CONTENT_TYPE,
                            .value.data = {.data = type, .len = (int)sizeof type - 1}};
    MQTTProperties_add(properties, &format);
    MQTTProperties_add(properties, &content);
}

static void publish(MQTTClient client, const baseline_message *from, const MQTTProperties *properties)
{
    MQTTClient_message message = MQTTClient_message_initializer;
    message.struct_version = 1; /* has properties */
    message.qos = 1;
    message.payload = from->payload;
    message.payloadlen = from->payload_size;
    message.properties = *properties;
    MQTTResponse response = MQTTClient_publishMessage5(client, from->topic, &message, NULL);
    measure_must(response.reasonCode == MQTTREASONCODE_SUCCESS, "publish by Paho");
    MQTTResponse_free(response);
}

bool baseline_paho_there(void)
{
    return true;
}

void baseline_paho(const baseline_wire *wire, measurement *out)
{
    MQTTProperties properties = MQTTProperties_initializer;
    state it;
    sem_init(&it.room, 0, (unsigned)wire->window);
    sem_init(&it.acked, 0, 0);
    add_properties(&properties);
    MQTTClient client = connect_client(wire, &it);
    measure_begin(out);
    for (unsigned i = 0; i < wire->count; i++) {
        sem_wait(&it.room);
        publish(client, &wire->messages[i], &properties);
    }
    for (unsigned i = 0; i < wire->count; i++)
        sem_wait(&it.acked);
    measure_end(out, wire->count);
    MQTTClient_disconnect(client, 1000);
    MQTTClient_destroy(&client);
    MQTTProperties_free(&properties);
}
