/* SPDX-License-Identifier: MIT */
/*
 * What limits cost: bounds that are far away, a bus that is full and evicts, times to live, retention by age and bytes. Each
 * against the same bus without them.
 */
#include <stdint.h>

#include "bench.h"
#include "workload.h"

#define FAR_BYTES  (UINT64_C(1) << 40)
#define FAR_EVENTS (UINT64_C(1) << 40)
#define FAR_MS     (UINT64_C(1) << 40)
#define FULL       2000u /* events of a lane that is full */

typedef struct limits {
    char template[WORKLOAD_PATH_SIZE]; /* with a backlog; what is published goes to a new file */
    char path[WORKLOAD_PATH_SIZE];
    unsigned count;
    uint64_t handled;
    busbar_options options;
    uint64_t ttl_ms;
    busbar_lane lane;
} limits;

/* ---- Publishing ---- */

static void remove_file(void *ctx)
{
    const limits *it = ctx;
    workload_remove(it->path);
}

static void publish_batch(sqlite3 *db, busbar *bus, const limits *it, uint64_t first)
{
    busbar_event event = {.size = sizeof event,
                          .type = WORKLOAD_TYPE,
                          .data_size_bytes = WORKLOAD_PAYLOAD_SIZE,
                          .lane = it->lane,
                          .ttl_ms = it->ttl_ms};
    workload_exec(db, "BEGIN IMMEDIATE");
    for (uint64_t i = first; i < first + WORKLOAD_BATCH; i++) {
        event.data = workload_payload(i);
        workload_check(bus, busbar_publish(bus, &event, NULL), "publish");
    }
    workload_exec(db, "COMMIT");
}

static void by_publishing(void *ctx, measurement *out)
{
    const limits *it = ctx;
    sqlite3 *db = workload_open(it->path, NULL);
    busbar *bus = workload_bus(db, &it->options);
    for (uint64_t i = 0; i < 2 * FULL; i += WORKLOAD_BATCH)
        publish_batch(db, bus, it, i);
    measure_begin(out);
    for (uint64_t i = 0; i < it->count; i += WORKLOAD_BATCH)
        publish_batch(db, bus, it, i);
    measure_end(out, it->count);
}

/* ---- Dispatching ---- */

static void copy_file(void *ctx)
{
    const limits *it = ctx;
    workload_copy(it->template, it->path);
}

static busbar_verdict handle(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    limits *it = ctx;
    (void)bus;
    (void)event;
    (void)reason;
    it->handled++;
    return BUSBAR_DONE;
}

static bool done(void *ctx)
{
    const limits *it = ctx;
    return it->handled >= it->count;
}

static void by_dispatching(void *ctx, measurement *out)
{
    limits *it = ctx;
    const busbar_handler handler = {.size = sizeof handler,
                                    .name = "empty",
                                    .fn = handle,
                                    .ctx = it,
                                    .start = BUSBAR_START_BEGINNING,
                                    .ttl_ms = it->ttl_ms};
    sqlite3 *db = workload_open(it->path, NULL);
    busbar *bus = workload_bus(db, &it->options);
    workload_check(bus, busbar_subscribe(bus, &handler, 1), "subscribe");
    measure_begin(out);
    workload_step_until(bus, done, it);
    measure_end(out, it->count);
}

/* ---- The row ---- */

static void bound_far(busbar_options *options)
{
    options->max_bytes = FAR_BYTES;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        options->max_events[lane] = FAR_EVENTS;
        options->max_age_ms[lane] = FAR_MS;
    }
}

typedef struct names {
    const char *rate;
    const char *cpu;
    const char *baseline;
} names;

static void compare(const bench_options *options, report *out, names name, limits *with, limits *without,
                    bool publishing)
{
    measure_fn *fn = publishing ? by_publishing : by_dispatching;
    void (*prepare)(void *ctx) = publishing ? remove_file : copy_file;
    contestant both[] = {{.name = name.baseline, .fn = fn, .ctx = without, .prepare = prepare},
                         {.name = "busbar", .fn = fn, .ctx = with, .prepare = prepare}};
    unsigned rounds = options->rounds;
    measure_rounds(both, 2, rounds);
    report_compare(
        out, &(report_pair){"limits", name.rate, "ev/s", &both[1], &both[0], rounds, measure_rate, REPORT_NO_GOAL, 0});
    report_compare(out, &(report_pair){"limits", name.cpu, "us/ev", &both[1], &both[0], rounds, measure_cpu_us,
                                       REPORT_NO_GOAL, 0});
}

static void compare_publishing(const bench_options *options, report *out, const limits *plain)
{
    limits none = *plain;
    limits far = *plain;
    limits evicting = *plain;
    limits mortal = *plain;
    none.count = far.count = evicting.count = mortal.count = options->quick ? 20000 : 300000;
    evicting.lane = BUSBAR_BULK;
    bound_far(&far.options);
    evicting.options.max_events[BUSBAR_BULK] = FULL;
    mortal.ttl_ms = FAR_MS;
    compare(options, out, (names){"publish, limits far away", "publish, limits far away, CPU", "without"}, &far, &none,
            true);
    compare(options, out, (names){"publish, full, evicting", "publish, full, evicting, CPU", "without"}, &evicting,
            &none, true);
    compare(options, out, (names){"publish, time to live", "publish, time to live, CPU", "without"}, &mortal, &none,
            true);
}

static void compare_dispatching(const bench_options *options, report *out, const limits *plain)
{
    limits none = *plain;
    limits keeping = *plain;
    limits far = *plain;
    limits pruning = *plain;
    limits mortal = *plain;
    none.options.keep_events = far.options.keep_events = mortal.options.keep_events = UINT32_MAX;
    keeping.options.keep_events = pruning.options.keep_events = 1000;
    pruning.options.keep_ms = FAR_MS;
    pruning.options.keep_bytes = FAR_BYTES;
    mortal.ttl_ms = FAR_MS;
    bound_far(&far.options);
    compare(options, out, (names){"dispatch, limits far away", "dispatch, limits far away, CPU", "without"}, &far,
            &none, false);
    compare(options, out, (names){"dispatch, time to live", "dispatch, time to live, CPU", "without"}, &mortal, &none,
            false);
    compare(options, out, (names){"dispatch, keep by count", "dispatch, keep by count, CPU", "keep all"}, &keeping,
            &none, false);
    compare(options, out,
            (names){"dispatch, keep by count, age, bytes", "dispatch, keep by count, age, bytes, CPU", "keep by count"},
            &pruning, &keeping, false);
}

void row_limits(const bench_options *options, report *out)
{
    limits it = {.count = options->quick ? 20000 : 300000, .lane = BUSBAR_NORMAL};
    workload_path(options->directory, "limits-full.db", it.template);
    workload_path(options->directory, "limits.db", it.path);
    compare_publishing(options, out, &it);
    workload_fill(it.template, it.count);
    compare_dispatching(options, out, &it);
    workload_remove(it.template);
    workload_remove(it.path);
}
