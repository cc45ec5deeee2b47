/* SPDX-License-Identifier: MIT */
/*
 * What reaches the storage per event, from publish to pruned: 20 events per transaction, pages of 1 KiB, the device's single
 * connection, a loopback transport. Against the usual outbox, marked row by row.
 */
#include <stdio.h>
#include <string.h>

#include "baseline.h"
#include "bench.h"
#include "workload.h"
#include "writing.h"

#define BATCH      20
#define PAGE_BYTES 1024
#define SECOND_US  1000000u

/* ---- The usual outbox ---- */

static void insert_batch(sqlite3 *db, baseline_message *messages, uint64_t first)
{
    baseline_outbox_insert(db, messages, first, BATCH);
    baseline_outbox_finish(db);
}

static void by_outbox(void *ctx, measurement *out)
{
    const writing *it = ctx;
    static char topic[] = "devices/normal/" WORKLOAD_TYPE;
    baseline_message messages[BATCH];
    for (unsigned i = 0; i < BATCH; i++)
        messages[i] = (baseline_message){
            .topic = topic, .payload = (void *)(uintptr_t)workload_payload(i), .payload_size = WORKLOAD_PAYLOAD_SIZE};
    sqlite3 *db = writing_open(it);
    baseline_outbox_create(db);
    for (unsigned i = 0; i < it->warm_up + it->count; i += BATCH) {
        if (i == it->warm_up)
            writing_begin(out);
        insert_batch(db, messages, i);
    }
    writing_end(out, it->count);
}

/* ---- The row ---- */

static void measure(const bench_options *options, report *out, writing *it, const char *names[2], bool goal)
{
    contestant both[] = {{.name = "outbox, marked by row", .fn = by_outbox, .ctx = it, .prepare = writing_prepare},
                         {.name = "busbar", .fn = writing_by_busbar, .ctx = it, .prepare = writing_prepare}};
    measure_rounds(both, 2, 1); /* counts are not noisy */
    (void)options;
    report_compare(out, &(report_pair){"writes", names[0], "B/ev", &both[1], &both[0], 1, measure_value_0,
                                       goal ? REPORT_BELOW : REPORT_NO_GOAL, 1100});
    report_compare(out, &(report_pair){"writes", names[1], "/ev", &both[1], &both[0], 1, measure_value_1,
                                       goal ? REPORT_BELOW : REPORT_NO_GOAL, 0.06});
    writing_prepare(it);
}

void row_writes(const bench_options *options, report *out)
{
    writing busy = {.warm_up = 10000,
                    .count = options->quick ? 20000 : 100000,
                    .pause_us = SECOND_US / 50,
                    .batch = BATCH,
                    .page_bytes = PAGE_BYTES};
    writing calm = busy;
    calm.pause_us = SECOND_US;
    workload_path(options->directory, "writes.db", busy.path);
    workload_path(options->directory, "writes.db", calm.path);
    measure(options, out, &busy, (const char *[]){"bytes, 20 events 50 times a second", "syncs, 50 times a second"},
            true);
    measure(options, out, &calm, (const char *[]){"bytes, 20 events once a second", "syncs, once a second"}, true);
}
