/* SPDX-License-Identifier: MIT */
#include "relay.h"

#include <busbar/loopback.h>
#include <busbar/mosquitto.h>
#include <stdio.h>
#include <stdlib.h>

#include "workload.h"

#define LOOK_US    200
#define TIMEOUT_NS (UINT64_C(600) * 1000000000)

busbar_transport relay_transport(unsigned port)
{
    const busbar_loopback_options loopback = {.size = sizeof loopback, .window = RELAY_WINDOW};
    const busbar_mosquitto_options mqtt = {
        .size = sizeof mqtt, .host = "127.0.0.1", .port = (uint16_t)port, .window = RELAY_WINDOW};
    busbar_transport transport;
    busbar_reason reason;
    int result =
        port == 0 ? busbar_loopback_new(&loopback, &transport) : busbar_mosquitto_new(&mqtt, &transport, &reason);
    measure_must(result == BUSBAR_OK, "make a transport");
    return transport;
}

int relay_add_route(busbar *bus, busbar_transport transport)
{
    const busbar_route route = {.size = sizeof route,
                                .name = "relay",
                                .topic = RELAY_TOPIC,
                                .window = RELAY_WINDOW,
                                .start = BUSBAR_START_BEGINNING};
    return busbar_route_add(bus, &route, transport);
}

static int set_up(busbar *bus, void *ctx)
{
    relay *it = ctx;
    return relay_add_route(bus, spy_around(it->spy, relay_transport(it->port)));
}

static sqlite3 *open_connection(void *ctx, busbar_error *out_error)
{
    const relay *it = ctx;
    char sql[64];
    (void)out_error;
    sqlite3 *db = workload_open(it->path, NULL);
    (void)snprintf(sql, sizeof sql, "PRAGMA cache_size = %u", it->cache_pages);
    workload_exec(db, sql);
    return db;
}

static void close_connection(void *ctx, sqlite3 *db)
{
    (void)ctx;
    sqlite3_close(db);
}

void relay_start(relay *it)
{
    busbar_runner_options options = {.size = sizeof options, .bus = it->bus, .setup = set_up, .ctx = it};
    if (it->cache_pages == 0) {
        options.path = it->path;
    } else {
        options.open = open_connection;
        options.close = close_connection;
    }
    busbar_error error = {.code = 0};
    if (busbar_runner_start(&it->runner, &options, &error) != BUSBAR_OK) {
        fprintf(stderr, "bench: start a runner: %s\n", error.text);
        exit(1);
    }
}

/* The measured process looks rarely enough not to matter. */
static void look_again(uint64_t start_ns)
{
    measure_must(measure_now_ns() - start_ns < TIMEOUT_NS, "a relay within ten minutes");
    measure_sleep_us(LOOK_US);
}

void relay_wait(const relay *it, uint64_t count)
{
    uint64_t start_ns = measure_now_ns();
    while (atomic_load_explicit(&it->spy->acked, memory_order_acquire) < count)
        look_again(start_ns);
}

void relay_wait_watched(const relay *it)
{
    uint64_t start_ns = measure_now_ns();
    while (!it->spy->watched_seen)
        look_again(start_ns);
}

void relay_stop(relay *it)
{
    measure_must(busbar_runner_stop(it->runner) == BUSBAR_OK, "stop a runner");
}

void relay_drain(relay *it, uint64_t count, measurement *out)
{
    measure_begin(out);
    relay_start(it);
    relay_wait(it, count);
    measure_end(out, (double)count);
    out->wall_s = (double)measure_now_ns() / 1e9 - (double)it->spy->up_ns / 1e9;
    relay_stop(it);
}
