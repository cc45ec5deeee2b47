/* SPDX-License-Identifier: MIT */
/*
 * An application that one event brings down: a runner over a device's database (device.h), and a reading that ends it.
 *
 *   victim DATABASE abort N           the handler calls abort() at the reading n
 *   victim DATABASE segv N            the handler raises SIGSEGV
 *   victim DATABASE outside N         the same as abort, outside any transaction
 *   victim DATABASE transport N PORT  a route over MQTT whose transport calls abort() when it is to send the reading n
 *
 * "running" when it runs; ends on SIGTERM. Handlers count in the table `handled`.
 */
#include <busbar/linux.h>
#include <busbar/mosquitto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "device.h"
#include "station.h"

typedef struct victim {
    const char *how;
    long poison;
    unsigned port;
    busbar_transport inner; /* what the transport wraps */
} victim;

/* The n of a reading, whether it is the event's data or inside of the event. */
static long number_in(const void *bytes, size_t size)
{
    char text[1024];
    long n = 0;
    snprintf(text, sizeof text, "%.*s", (int)size, (const char *)bytes);
    const char *at = strstr(text, "\"n\":");
    return at != NULL && sscanf(at, "\"n\":%ld", &n) == 1 ? n : -1;
}

/* ---- A handler ---------------------------------------------------------------------------------------------------------- */

static busbar_verdict count_reading(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    const victim *it = ctx;
    char text[128];
    long n = number_in(event->data, event->data_size_bytes);
    (void)reason;
    if (n == it->poison && strcmp(it->how, "segv") == 0)
        raise(SIGSEGV);
    if (n == it->poison)
        abort();
    snprintf(text, sizeof text,
             "INSERT INTO handled VALUES ('pump', %ld, 1) ON CONFLICT DO UPDATE SET times = times + 1", n);
    station_sql(busbar_connection(bus), text);
    return BUSBAR_DONE;
}

/* ---- A transport: MQTT, and an assertion of the library that fails ------------------------------------------------------- */

static int wrapped_start(void *ctx, busbar_reason *out_reason)
{
    const victim *it = ctx;
    return it->inner.api->start(it->inner.ctx, out_reason);
}

static busbar_send_result wrapped_send(void *ctx, const busbar_message *message, busbar_reason *out_reason)
{
    const victim *it = ctx;
    if (number_in(message->payload, message->payload_size_bytes) == it->poison)
        abort();
    return it->inner.api->send(it->inner.ctx, message, out_reason);
}

static void wrapped_poll(void *ctx, busbar_transport_event_fn *fn, void *fn_ctx)
{
    const victim *it = ctx;
    it->inner.api->poll(it->inner.ctx, fn, fn_ctx);
}

static void wrapped_close(void *ctx)
{
    const victim *it = ctx;
    it->inner.api->close(it->inner.ctx);
}

static void wrapped_stop(void *ctx)
{
    const victim *it = ctx;
    it->inner.api->stop(it->inner.ctx);
}

static int wrapped_fd(void *ctx)
{
    const victim *it = ctx;
    return it->inner.api->fd(it->inner.ctx);
}

static const busbar_transport_api wrapped = {
    .version = BUSBAR_TRANSPORT_VERSION,
    .name = "brittle",
    .start = wrapped_start,
    .send = wrapped_send,
    .poll = wrapped_poll,
    .close = wrapped_close,
    .stop = wrapped_stop,
    .fd = wrapped_fd,
};

static int add_route(busbar *bus, victim *it)
{
    const busbar_mosquitto_options options = {.size = sizeof options,
                                              .host = "127.0.0.1",
                                              .port = (uint16_t)it->port,
                                              .reconnect_min_ms = 20,
                                              .reconnect_max_ms = 200};
    const busbar_route route = {.size = sizeof route, .name = DEVICE_ROUTE, .topic = "devices/{type}"};
    busbar_reason reason;
    int code = busbar_mosquitto_new(&options, &it->inner, &reason);
    return code == BUSBAR_OK ? busbar_route_add(bus, &route, (busbar_transport){&wrapped, it}) : code;
}

/* ---- The runner --------------------------------------------------------------------------------------------------------- */

static int set_up(busbar *bus, void *ctx)
{
    victim *it = ctx;
    const busbar_handler handler = {.size = sizeof handler,
                                    .name = DEVICE_COUNTER,
                                    .fn = count_reading,
                                    .ctx = it,
                                    .delivery = strcmp(it->how, "outside") == 0 ? BUSBAR_OUTSIDE : BUSBAR_TRANSACTIONAL,
                                    .start = BUSBAR_START_BEGINNING};
    return it->port != 0 ? add_route(bus, it) : busbar_subscribe(bus, &handler, 1);
}

static int run(const char *path, victim *it)
{
    busbar_options bus = station_options();
    const busbar_runner_options options = {
        .size = sizeof options, .path = path, .bus = &bus, .setup = set_up, .ctx = it};
    busbar_runner *runner = NULL;
    sigset_t signals;
    int signal_number;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    station_check(NULL, busbar_runner_start(&runner, &options, NULL), "start the runner");
    puts("running");
    fflush(stdout);
    sigwait(&signals, &signal_number);
    station_check(NULL, busbar_runner_stop(runner), "stop the runner");
    return 0;
}

int main(int argc, char **argv)
{
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    if (argc != 4 && argc != 5) {
        fprintf(stderr, "victim: see victim.c\n");
        return 2;
    }
    victim it = {.how = argv[2],
                 .poison = strtol(argv[3], NULL, 10),
                 .port = argc == 5 ? (unsigned)strtoul(argv[4], NULL, 10) : 0};
    return run(argv[1], &it);
}
