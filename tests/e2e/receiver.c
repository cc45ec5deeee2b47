/* SPDX-License-Identifier: MIT */
/* Who is at the other end: keeps what a broker forwards. */
#include "test.h"

#include "receiver.h"

#include <cjson/cJSON.h>
#include <mosquitto.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "process.h"

#define LOOP_MS 50

struct receiver {
    struct mosquitto *handle;
    unsigned port;
    pthread_t thread;
    pthread_mutex_t mutex; /* for all below */
    pthread_cond_t changed;
    bool subscribed;
    bool stopping;
    size_t strange_count; /* what could not be read */
    size_t count;
    size_t capacity;
    reading *readings;
};

/* ---- On the receiver's thread: no assertion of the test's framework is legal here ------------------------------------ */

static bool copy_text(const cJSON *object, const char *name, char out[RECEIVER_TEXT_SIZE])
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
    return text != NULL && snprintf(out, RECEIVER_TEXT_SIZE, "%s", text) < RECEIVER_TEXT_SIZE;
}

static bool read_event(const struct mosquitto_message *message, reading *out)
{
    cJSON *event = cJSON_ParseWithLength(message->payload, (size_t)message->payloadlen);
    const cJSON *data = cJSON_GetObjectItemCaseSensitive(event, "data");
    const cJSON *n = cJSON_GetObjectItemCaseSensitive(data, "n");
    bool whole = copy_text(event, "source", out->source) && copy_text(event, "id", out->id) &&
                 copy_text(data, "device", out->device) && cJSON_IsNumber(n);
    out->n = whole ? (long)n->valuedouble : 0;
    cJSON_Delete(event);
    return whole;
}

static void keep(receiver *it, const reading *added)
{
    if (it->count == it->capacity) {
        it->capacity = it->capacity * 2 + 1024;
        it->readings = realloc(it->readings, it->capacity * sizeof it->readings[0]);
        if (it->readings == NULL)
            abort();
    }
    it->readings[it->count++] = *added;
}

static void on_message(struct mosquitto *handle, void *context, const struct mosquitto_message *message)
{
    receiver *it = context;
    reading added;
    (void)handle;
    bool whole = read_event(message, &added);
    pthread_mutex_lock(&it->mutex);
    if (whole)
        keep(it, &added);
    else
        it->strange_count++;
    pthread_cond_broadcast(&it->changed);
    pthread_mutex_unlock(&it->mutex);
}

static void on_connect(struct mosquitto *handle, void *context, int code)
{
    (void)context;
    if (code == 0)
        mosquitto_subscribe(handle, NULL, "#", 0);
}

static void on_subscribe(struct mosquitto *handle, void *context, int mid, int count, const int *granted)
{
    receiver *it = context;
    (void)handle;
    (void)mid;
    (void)count;
    (void)granted;
    pthread_mutex_lock(&it->mutex);
    it->subscribed = true;
    pthread_cond_broadcast(&it->changed);
    pthread_mutex_unlock(&it->mutex);
}

static bool is_stopping(receiver *it)
{
    pthread_mutex_lock(&it->mutex);
    bool stopping = it->stopping;
    pthread_mutex_unlock(&it->mutex);
    return stopping;
}

/* Ends with the connection. */
static void *receive(void *context)
{
    receiver *it = context;
    while (mosquitto_loop(it->handle, LOOP_MS, 1) == MOSQ_ERR_SUCCESS && !is_stopping(it))
        continue;
    return NULL;
}

/* ---- On the test's ---------------------------------------------------------------------------------------------------- */

typedef bool condition_fn(const receiver *it, const void *ctx);

static void await(receiver *it, condition_fn *fn, const void *ctx, const char *what)
{
    struct timespec until;
    int answer = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PROCESS_PATIENCE_MS / 1000;
    pthread_mutex_lock(&it->mutex);
    while (!fn(it, ctx) && answer == 0)
        answer = pthread_cond_timedwait(&it->changed, &it->mutex, &until);
    bool reached = fn(it, ctx);
    size_t count = it->count;
    pthread_mutex_unlock(&it->mutex);
    if (!reached)
        fail_msg("waited in vain for %s; %zu events have arrived", what, count);
}

static bool is_subscribed(const receiver *it, const void *ctx)
{
    (void)ctx;
    return it->subscribed;
}

static void connect_now(receiver *it)
{
    it->subscribed = false;
    assert_int_equal(mosquitto_connect(it->handle, BROKER_HOST, (int)it->port, 60), MOSQ_ERR_SUCCESS);
    assert_int_equal(pthread_create(&it->thread, NULL, receive, it), 0);
    await(it, is_subscribed, NULL, "the broker to confirm the subscription");
}

receiver *receiver_start(unsigned port)
{
    receiver *it = calloc(1, sizeof *it);
    assert_non_null(it);
    pthread_mutex_init(&it->mutex, NULL);
    pthread_cond_init(&it->changed, NULL);
    it->port = port;
    mosquitto_lib_init();
    it->handle = mosquitto_new(NULL, true, it);
    assert_non_null(it->handle);
    mosquitto_threaded_set(it->handle, true);
    mosquitto_connect_callback_set(it->handle, on_connect);
    mosquitto_subscribe_callback_set(it->handle, on_subscribe);
    mosquitto_message_callback_set(it->handle, on_message);
    connect_now(it);
    return it;
}

void receiver_reconnect(receiver *it)
{
    assert_int_equal(pthread_join(it->thread, NULL), 0);
    connect_now(it);
}

void receiver_free(receiver *it)
{
    if (it == NULL)
        return;
    pthread_mutex_lock(&it->mutex);
    it->stopping = true;
    pthread_mutex_unlock(&it->mutex);
    pthread_join(it->thread, NULL);
    mosquitto_destroy(it->handle);
    mosquitto_lib_cleanup();
    free(it->readings);
    free(it);
}

size_t receiver_count(receiver *it)
{
    pthread_mutex_lock(&it->mutex);
    size_t count = it->count;
    pthread_mutex_unlock(&it->mutex);
    return count;
}

static bool has_count(const receiver *it, const void *ctx)
{
    return it->count >= *(const size_t *)ctx;
}

void receiver_await(receiver *it, size_t count)
{
    char what[64];
    snprintf(what, sizeof what, "%zu events", count);
    await(it, has_count, &count, what);
}

typedef struct wanted {
    const char *device;
    long n;
} wanted;

/* It is among the last, if at all. */
static bool has_reading(const receiver *it, const void *ctx)
{
    const wanted *w = ctx;
    for (size_t i = it->count; i > 0; i--)
        if (it->readings[i - 1].n == w->n && strcmp(it->readings[i - 1].device, w->device) == 0)
            return true;
    return false;
}

void receiver_await_reading(receiver *it, const char *device, long n)
{
    const wanted w = {device, n};
    char what[RECEIVER_TEXT_SIZE + 32];
    snprintf(what, sizeof what, "event %ld of %.60s", n, device);
    await(it, has_reading, &w, what);
}

reading *receiver_readings(receiver *it, size_t *out_count)
{
    pthread_mutex_lock(&it->mutex);
    size_t count = it->count;
    size_t strange_count = it->strange_count;
    reading *copy = calloc(count + 1, sizeof *copy);
    if (copy != NULL && count > 0)
        memcpy(copy, it->readings, count * sizeof *copy);
    pthread_mutex_unlock(&it->mutex);
    assert_non_null(copy);
    assert_int_equal(strange_count, 0);
    *out_count = count;
    return copy;
}
