/* SPDX-License-Identifier: MIT */
/* Handing events to an empty handler of this process, against a bare loop over the same rows. */
#include "baseline.h"
#include "bench.h"
#include "workload.h"

#define BARE_BATCH      1000
#define COURTEOUS_BATCH 4000 /* about the 2 ms for which Busbar holds the write lock at most */

typedef struct dispatching {
    char template[WORKLOAD_PATH_SIZE];
    char path[WORKLOAD_PATH_SIZE];
    uint64_t count;
    uint64_t handled;
    uint64_t last_ns;
    uint32_t keep_events;
    busbar_delivery delivery;
} dispatching;

static void prepare(void *ctx)
{
    const dispatching *it = ctx;
    workload_copy(it->template, it->path);
}

static busbar_verdict handle(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    dispatching *it = ctx;
    (void)bus;
    (void)event;
    (void)reason;
    it->handled++;
    return BUSBAR_DONE;
}

static bool done(void *ctx)
{
    const dispatching *it = ctx;
    return it->handled >= it->count;
}

static void by_busbar(void *ctx, measurement *out)
{
    dispatching *it = ctx;
    const busbar_options options = {.keep_events = it->keep_events};
    const busbar_handler handler = {.size = sizeof handler,
                                    .name = "empty",
                                    .fn = handle,
                                    .ctx = it,
                                    .start = BUSBAR_START_BEGINNING,
                                    .delivery = it->delivery};
    sqlite3 *db = workload_open(it->path, NULL);
    busbar *bus = workload_bus(db, &options);
    workload_check(bus, busbar_subscribe(bus, &handler, 1), "subscribe");
    measure_begin(out);
    workload_step_until(bus, done, it);
    measure_end(out, (double)it->count);
}

static void loop_over(const dispatching *it, bool courteous, measurement *out)
{
    baseline_loop loop = {.db = workload_open(it->path, NULL),
                          .table = "busbar_log_normal",
                          .batch = courteous ? COURTEOUS_BATCH : BARE_BATCH,
                          .savepoints = it->delivery == BUSBAR_TRANSACTIONAL,
                          .courteous = courteous};
    measure_begin(out);
    uint64_t handled = baseline_loop_run(&loop);
    measure_end(out, (double)handled);
    measure_must(handled == it->count, "a bare loop over all rows");
}

static void by_loop(void *ctx, measurement *out)
{
    loop_over(ctx, false, out);
}

static void by_courteous_loop(void *ctx, measurement *out)
{
    loop_over(ctx, true, out);
}

typedef struct names {
    const char *rate;
    const char *cpu;
} names;

static void compare(const bench_options *options, report *out, dispatching *it, names name, double goal)
{
    contestant all[] = {{.name = "bare loop", .fn = by_loop, .ctx = it, .prepare = prepare},
                        {.name = "bare loop with pauses", .fn = by_courteous_loop, .ctx = it, .prepare = prepare},
                        {.name = "busbar", .fn = by_busbar, .ctx = it, .prepare = prepare}};
    const contestant *ours = &all[2];
    unsigned rounds = options->rounds;
    measure_rounds(all, 3, rounds);
    report_compare(out, &(report_pair){"dispatch", name.rate, "ev/s", ours, &all[0], rounds, measure_rate,
                                       goal > 0 ? REPORT_RATIO_AT_LEAST : REPORT_NO_GOAL, goal});
    report_compare(
        out, &(report_pair){"dispatch", name.rate, "ev/s", ours, &all[1], rounds, measure_rate, REPORT_NO_GOAL, 0});
    report_compare(
        out, &(report_pair){"dispatch", name.cpu, "us/ev", ours, &all[0], rounds, measure_cpu_us, REPORT_NO_GOAL, 0});
}

void row_dispatch(const bench_options *options, report *out)
{
    dispatching it = {.count = options->quick ? 20000 : 500000, .keep_events = UINT32_MAX};
    workload_path(options->directory, "dispatch-full.db", it.template);
    workload_path(options->directory, "dispatch.db", it.path);
    workload_fill(it.template, it.count);
    compare(options, out, &it, (names){"transactional", "transactional, CPU"}, 0.4);
    it.keep_events = 0;
    compare(options, out, &it, (names){"transactional, pruning", "transactional, pruning, CPU"}, 0);
    it.delivery = BUSBAR_OUTSIDE;
    it.keep_events = UINT32_MAX;
    compare(options, out, &it, (names){"outside", "outside, CPU"}, 0);
    workload_remove(it.template);
    workload_remove(it.path);
}
