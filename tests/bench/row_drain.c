/* SPDX-License-Identifier: MIT */
/* Relaying a backlog to a real broker, QoS 1, against the same bytes sent in other ways. */
#include <busbar/loopback.h>
#include <stdlib.h>
#include <string.h>

#include "baseline.h"
#include "bench.h"
#include "broker.h"
#include "relay.h"
#include "workload.h"

#define BROKER_CONFIG "allow_anonymous true\nmax_inflight_messages 1000\nmax_queued_messages 0\nset_tcp_nodelay true\n"

typedef struct draining {
    char template[WORKLOAD_PATH_SIZE];
    char path[WORKLOAD_PATH_SIZE];
    char directory[WORKLOAD_PATH_SIZE];
    unsigned count;      /* by busbar and bare libmosquitto */
    unsigned slow_count; /* by the others */
    unsigned port;
    const busbar_options *bus;
    baseline_message *messages; /* as Busbar sends them */
    unsigned captured;
} draining;

/* ---- The messages ---- */

static void capture(const busbar_message *message, void *ctx)
{
    draining *it = ctx;
    baseline_message *out = &it->messages[it->captured++];
    out->topic = strdup(message->topic);
    out->payload = malloc(message->payload_size_bytes);
    out->payload_size = (int)message->payload_size_bytes;
    measure_must(out->topic && out->payload, "memory");
    memcpy(out->payload, message->payload, message->payload_size_bytes);
}

static bool all_captured(void *ctx)
{
    const draining *it = ctx;
    return it->captured == it->count;
}

static void capture_messages(draining *it)
{
    const busbar_loopback_options options = {
        .size = sizeof options, .receive = capture, .ctx = it, .window = RELAY_WINDOW};
    busbar_transport transport;
    it->messages = calloc(it->count, sizeof *it->messages);
    int result = busbar_loopback_new(&options, &transport);
    measure_must(it->messages != NULL && result == BUSBAR_OK, "memory");
    workload_copy(it->template, it->path);
    sqlite3 *db = workload_open(it->path, NULL);
    busbar *bus = workload_bus(db, NULL);
    workload_check(bus, relay_add_route(bus, transport), "add a route");
    workload_step_until(bus, all_captured, it);
    workload_check(bus, busbar_close(bus), "close");
    sqlite3_close(db);
}

static void free_messages(draining *it)
{
    for (unsigned i = 0; i < it->captured; i++) {
        free(it->messages[i].topic);
        free(it->messages[i].payload);
    }
    free(it->messages);
}

/* ---- The contestants ---- */

static void prepare_log(void *ctx)
{
    const draining *it = ctx;
    workload_copy(it->template, it->path);
}

static void by_busbar(void *ctx, measurement *out)
{
    const draining *it = ctx;
    spy seen = {.watched = NULL};
    relay worker = {.path = it->path, .port = it->port, .bus = it->bus, .spy = &seen};
    relay_drain(&worker, it->count, out);
}

static baseline_wire wire_of(const draining *it, unsigned count)
{
    return (baseline_wire){
        .messages = it->messages, .count = count, .port = it->port, .window = RELAY_WINDOW, .directory = it->directory};
}

static void by_mosquitto(void *ctx, measurement *out)
{
    const draining *it = ctx;
    baseline_wire wire = wire_of(it, it->count);
    baseline_mosquitto(&wire, out);
}

static void by_paho(void *ctx, measurement *out)
{
    const draining *it = ctx;
    baseline_wire wire = wire_of(it, it->slow_count);
    baseline_paho(&wire, out);
}

static void prepare_outbox(void *ctx)
{
    const draining *it = ctx;
    workload_remove(it->path);
    sqlite3 *db = workload_open(it->path, NULL);
    baseline_outbox_create(db);
    baseline_outbox_insert(db, it->messages, 0, it->slow_count);
    sqlite3_close(db);
}

static void by_outbox(void *ctx, measurement *out)
{
    const draining *it = ctx;
    baseline_wire wire = wire_of(it, it->slow_count);
    baseline_outbox_drain(workload_open(it->path, NULL), &wire, out);
}

/* ---- The row ---- */

enum { BUSBAR, BUSBAR_KEEPING, MOSQUITTO, OUTBOX, PAHO, ALL };

static void compare(report *out, const contestant *all, const contestant *with, unsigned rounds, bool goal)
{
    report_compare(out, &(report_pair){"drain", "rate", "ev/s", &all[BUSBAR], with, rounds, measure_rate,
                                       goal ? REPORT_RATIO_AT_LEAST : REPORT_NO_GOAL, 0.90});
    report_compare(out, &(report_pair){"drain", "CPU", "us/ev", &all[BUSBAR], with, rounds, measure_cpu_us,
                                       goal ? REPORT_RATIO_AT_MOST : REPORT_NO_GOAL, 1.25});
}

static void measure_all(draining *it, const bench_options *options, report *out)
{
    const busbar_options keeping = {.size = sizeof keeping, .keep_events = UINT32_MAX};
    draining kept = *it;
    kept.bus = &keeping;
    contestant all[ALL] = {{.name = "busbar", .fn = by_busbar, .ctx = it, .prepare = prepare_log},
                           {.name = "busbar, not pruning", .fn = by_busbar, .ctx = &kept, .prepare = prepare_log},
                           {.name = "libmosquitto from memory", .fn = by_mosquitto, .ctx = it},
                           {.name = "select-publish-update", .fn = by_outbox, .ctx = it, .prepare = prepare_outbox},
                           {.name = "Paho C, file persistence", .fn = by_paho, .ctx = it}};
    size_t count = baseline_paho_there() ? ALL : PAHO;
    measure_rounds(all, count, options->rounds);
    compare(out, all, &all[MOSQUITTO], options->rounds, true);
    compare(out, all, &all[BUSBAR_KEEPING], options->rounds, false);
    compare(out, all, &all[OUTBOX], options->rounds, false);
    if (baseline_paho_there())
        compare(out, all, &all[PAHO], options->rounds, false);
    else
        report_absent(out, "drain", "Paho C, file persistence", "not installed");
}

void row_drain(const bench_options *options, report *out)
{
    draining it = {.count = options->quick ? 10000 : 100000, .slow_count = options->quick ? 2000 : 20000};
    if (!broker_available()) {
        report_absent(out, "drain", "rate, CPU", "no mosquitto");
        return;
    }
    workload_path(options->directory, "drain-full.db", it.template);
    workload_path(options->directory, "drain.db", it.path);
    broker_directory_make(it.directory);
    workload_fill(it.template, it.count);
    capture_messages(&it);
    broker *server = broker_start(BROKER_CONFIG);
    it.port = broker_port(server);
    measure_all(&it, options, out);
    broker_free(server);
    free_messages(&it);
    workload_remove(it.template);
    workload_remove(it.path);
    broker_directory_remove(it.directory);
}
