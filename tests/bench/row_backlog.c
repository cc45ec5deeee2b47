/* SPDX-License-Identifier: MIT */
/* What a long backlog costs: how far an urgent event must wait behind it, and how long opening takes. */
#include <string.h>

#include "bench.h"
#include "broker.h"
#include "relay.h"
#include "workload.h"

#define URGENT_TOPIC "devices/urgent/" WORKLOAD_TYPE
#define OPENINGS     20

enum { OPEN, FIRST };

typedef struct backlog {
    char path[WORKLOAD_PATH_SIZE];
    unsigned port;
} backlog;

static void add_urgent(const char *path)
{
    sqlite3 *db = workload_open(path, NULL);
    busbar *bus = workload_bus(db, NULL);
    workload_publish(bus, 0, BUSBAR_URGENT);
    workload_check(bus, busbar_close(bus), "close");
    sqlite3_close(db);
}

/* All of it is pending again. The watermark stays: it was durable before. */
static void rewind_normal(const char *path)
{
    sqlite3 *db = workload_open(path, NULL);
    workload_exec(db, "UPDATE busbar_cursor SET cursor = 0, delivered = 0 WHERE lane = 0");
    sqlite3_close(db);
}

/* ---- The urgent event ---- */

static void send_urgent(void *ctx, measurement *out)
{
    const backlog *it = ctx;
    spy seen = {.watched = URGENT_TOPIC};
    const busbar_options keeping = {.size = sizeof keeping, .keep_events = UINT32_MAX}; /* for the next round */
    relay worker = {.path = it->path, .port = it->port, .bus = &keeping, .spy = &seen};
    relay_start(&worker);
    relay_wait_watched(&worker);
    relay_stop(&worker);
    out->values[0] = (double)seen.before;
}

static void report_urgent(report *out, backlog *it, unsigned rounds, const char *measure)
{
    double before[MEASURE_ROUNDS_MAX];
    for (unsigned round = 0; round < rounds; round++) {
        measurement one;
        add_urgent(it->path);
        measure_in_child(send_urgent, it, &one);
        rewind_normal(it->path);
        before[round] = one.values[0];
    }
    spread found = measure_spread(before, rounds);
    found.median = found.max; /* the worst counts */
    report_add(out, &(report_line){.row = "backlog",
                                   .measure = measure,
                                   .unit = "msgs",
                                   .busbar = found,
                                   .goal = REPORT_BELOW,
                                   .goal_value = 1});
}

/* A backlog that no worker has seen, and one that was made durable when there was a connection before. */
static void report_both(const bench_options *options, report *out, backlog *it)
{
    if (broker_available()) {
        broker *server = broker_start(NULL);
        it->port = broker_port(server);
        report_urgent(out, it, 1, "before an urgent event, MQTT, first");
        report_urgent(out, it, options->rounds, "before an urgent event, MQTT, later");
        broker_free(server);
    } else {
        report_absent(out, "backlog", "before an urgent event, MQTT", "no mosquitto");
    }
    it->port = 0;
    report_urgent(out, it, options->rounds, "before an urgent event, loopback");
}

/* ---- Opening ---- */

static bool taken(void *ctx)
{
    const spy *it = ctx;
    return it->taken > 0;
}

/* Each time a connection of its own, as a program that starts has it. */
static double open_ms(const char *path)
{
    sqlite3 *db = workload_open(path, NULL);
    uint64_t start_ns = measure_now_ns();
    busbar *bus = workload_bus(db, NULL);
    double time_ms = (double)(measure_now_ns() - start_ns) / 1e6;
    workload_check(bus, busbar_close(bus), "close");
    sqlite3_close(db);
    return time_ms;
}

static double first_message_ms(const char *path)
{
    uint64_t start_ns = measure_now_ns();
    spy seen = {.watched = NULL};
    sqlite3 *db = workload_open(path, NULL);
    busbar *bus = workload_bus(db, NULL);
    workload_check(bus, relay_add_route(bus, spy_around(&seen, relay_transport(0))), "add a route");
    workload_step_until(bus, taken, &seen);
    double time_ms = (double)(seen.first_ns - start_ns) / 1e6;
    workload_check(bus, busbar_close(bus), "close");
    sqlite3_close(db);
    return time_ms;
}

static void open_often(void *ctx, measurement *out)
{
    const backlog *it = ctx;
    double times_ms[OPENINGS];
    for (unsigned i = 0; i < OPENINGS; i++)
        times_ms[i] = open_ms(it->path);
    out->values[OPEN] = measure_spread(times_ms, OPENINGS).median;
    out->values[FIRST] = first_message_ms(it->path);
}

static void report_opening(const bench_options *options, report *out, backlog *full)
{
    backlog empty = {.port = 0};
    workload_path(options->directory, "backlog-none.db", empty.path);
    workload_fill(empty.path, 1); /* one to send */
    contestant both[] = {{.name = "one pending", .fn = open_often, .ctx = &empty},
                         {.name = "many pending", .fn = open_often, .ctx = full}};
    for (unsigned round = 0; round < options->rounds; round++) {
        add_urgent(empty.path);
        measure_in_child(open_often, &empty, &both[0].results[round]);
        measure_in_child(open_often, full, &both[1].results[round]);
    }
    report_compare(out, &(report_pair){"backlog", "opening", "ms", &both[1], &both[0], options->rounds, measure_value_0,
                                       REPORT_BELOW, 5});
    report_compare(out, &(report_pair){"backlog", "opening to first message", "ms", &both[1], &both[0], options->rounds,
                                       measure_value_1, REPORT_NO_GOAL, 0});
    workload_remove(empty.path);
}

void row_backlog(const bench_options *options, report *out)
{
    backlog it = {.port = 0};
    workload_path(options->directory, "backlog.db", it.path);
    workload_fill(it.path, options->quick ? 100000 : 1000000);
    report_both(options, out, &it);
    report_opening(options, out, &it);
    workload_remove(it.path);
}
