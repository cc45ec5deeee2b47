/* SPDX-License-Identifier: MIT */
/* Publishing in the caller's transaction, against the same row inserted by hand. */
#include "baseline.h"
#include "bench.h"
#include "workload.h"

typedef struct publishing {
    char path[WORKLOAD_PATH_SIZE];
    unsigned count;
    unsigned batch;
    bool json;       /* checked JSON, stored as text; else bytes */
    bool registered; /* the kind was registered ahead */
} publishing;

static void prepare(void *ctx)
{
    const publishing *it = ctx;
    workload_remove(it->path);
}

static void publish_batch(busbar *bus, sqlite3_stmt *const statements[2], const publishing *it, busbar_kind kind,
                          uint64_t first)
{
    busbar_event event = {.size = sizeof event,
                          .type = WORKLOAD_TYPE,
                          .kind = kind,
                          .data_size_bytes = WORKLOAD_PAYLOAD_SIZE,
                          .binary = !it->json};
    sqlite3 *db = sqlite3_db_handle(statements[0]);
    workload_run(db, statements[0]);
    for (unsigned i = 0; i < it->batch; i++) {
        event.data = workload_payload(first + i);
        workload_check(bus, busbar_publish(bus, &event, NULL), "publish");
    }
    workload_run(db, statements[1]);
}

static void by_busbar(void *ctx, measurement *out)
{
    const publishing *it = ctx;
    const busbar_kind_desc desc = {.size = sizeof desc, .type = WORKLOAD_TYPE};
    busbar_kind kind = {.slot = 0};
    sqlite3 *db = workload_open(it->path, NULL);
    busbar *bus = workload_bus(db, NULL);
    if (it->registered)
        workload_check(bus, busbar_kind_register(bus, &desc, &kind), "register a kind");
    sqlite3_stmt *const statements[2] = {workload_prepare(db, "BEGIN IMMEDIATE"), workload_prepare(db, "COMMIT")};
    for (unsigned i = 0; i < 4; i++)
        publish_batch(bus, statements, it, kind, i); /* the first ones make tables, session and kind */
    measure_begin(out);
    for (unsigned i = 0; i < it->count; i += it->batch)
        publish_batch(bus, statements, it, kind, i);
    measure_end(out, it->count);
}

static void by_hand(void *ctx, measurement *out)
{
    const publishing *it = ctx;
    sqlite3 *db = workload_open(it->path, NULL);
    baseline_insert insert;
    baseline_insert_open(&insert, db);
    for (unsigned i = 0; i < 4; i++)
        baseline_insert_batch(&insert, i, it->batch, it->json);
    measure_begin(out);
    for (unsigned i = 0; i < it->count; i += it->batch)
        baseline_insert_batch(&insert, i, it->batch, it->json);
    measure_end(out, it->count);
    baseline_insert_close(&insert);
}

typedef struct names {
    const char *rate;
    const char *cpu;
} names;

static void measure(const bench_options *options, report *out, names name, publishing *it, double goal)
{
    contestant both[] = {{.name = "insert by hand", .fn = by_hand, .ctx = it, .prepare = prepare},
                         {.name = "busbar", .fn = by_busbar, .ctx = it, .prepare = prepare}};
    workload_path(options->directory, "publish.db", it->path);
    measure_rounds(both, 2, options->rounds);
    report_compare(out, &(report_pair){"publish", name.rate, "ev/s", &both[1], &both[0], options->rounds, measure_rate,
                                       goal > 0 ? REPORT_RATIO_AT_LEAST : REPORT_NO_GOAL, goal});
    report_compare(out, &(report_pair){"publish", name.cpu, "us/ev", &both[1], &both[0], options->rounds,
                                       measure_cpu_us, REPORT_NO_GOAL, 0});
    prepare(it);
}

void row_publish(const bench_options *options, report *out)
{
    unsigned count = options->quick ? 20000 : 300000;
    publishing single = {.count = options->quick ? 5000 : 50000, .batch = 1};
    publishing single_json = {.count = single.count, .batch = 1, .json = true};
    publishing batch = {.count = count, .batch = WORKLOAD_BATCH};
    publishing batch_json = {.count = count, .batch = WORKLOAD_BATCH, .json = true};
    publishing registered = {.count = count, .batch = WORKLOAD_BATCH, .registered = true};
    measure(options, out, (names){"batch 1", "batch 1, CPU"}, &single, 0.90);
    measure(options, out, (names){"batch 1, with JSON check", "batch 1, with JSON check, CPU"}, &single_json, 0);
    measure(options, out, (names){"batch 100", "batch 100, CPU"}, &batch, 0.80);
    measure(options, out, (names){"batch 100, with JSON check", "batch 100, with JSON check, CPU"}, &batch_json, 0.70);
    measure(options, out, (names){"batch 100, kind registered ahead", "batch 100, kind registered ahead, CPU"},
            &registered, 0);
}
