/* SPDX-License-Identifier: MIT */
/*
 * What reaches the storage per event, from publish to pruned: 20 events per transaction, pages of 1 KiB, the device's
 * single connection, a loopback transport. Against the usual outbox, marked row by row.
 */
#include <busbar/sim.h>
#include <stdio.h>
#include <string.h>

#include "baseline.h"
#include "bench.h"
#include "relay.h"
#include "sync_vfs.h"
#include "workload.h"

#define BATCH      20
#define PAGE_BYTES 1024
#define SECOND_US  1000000u
#define STEP_US    10000u

enum { BYTES, SYNCS };

static const workload_file counted = {.vfs = SYNC_VFS_NAME, .page_bytes = PAGE_BYTES};

typedef struct writing {
    char path[WORKLOAD_PATH_SIZE];
    unsigned warm_up; /* events before the counting begins: retention has to be under way */
    unsigned count;
    uint64_t pause_us; /* between two transactions */
} writing;

static void prepare(void *ctx)
{
    const writing *it = ctx;
    workload_remove(it->path);
}

static void begin_counting(measurement *out)
{
    sync_vfs_reset();
    measure_begin(out);
}

static void end_counting(measurement *out, unsigned count)
{
    sync_counts counts = sync_vfs_counts();
    measure_end(out, count);
    out->values[BYTES] = (double)counts.written_bytes / count;
    out->values[SYNCS] = (double)counts.syncs / count;
}

/* ---- Busbar ---- */

static void publish_batch(sqlite3 *db, busbar *bus, uint64_t first)
{
    workload_exec(db, "BEGIN IMMEDIATE");
    for (uint64_t i = 0; i < BATCH; i++)
        workload_publish(bus, first + i, BUSBAR_NORMAL);
    workload_exec(db, "COMMIT");
}

/* The device does what is due, for so long; time is the sim's, so nobody sleeps. */
static void live(busbar_sim *sim, busbar *bus, uint64_t time_us)
{
    while (time_us > 0) {
        uint64_t wait_us = 0;
        workload_check(bus, busbar_step(bus, STEP_US, &wait_us), "step");
        if (wait_us == 0)
            wait_us = 1;
        if (wait_us > time_us)
            wait_us = time_us;
        busbar_sim_advance(sim, wait_us);
        time_us -= wait_us;
    }
}

static void by_busbar(void *ctx, measurement *out)
{
    const writing *it = ctx;
    busbar_sim *sim = busbar_sim_new(1);
    const busbar_options options = {.port = busbar_sim_port(sim)};
    spy seen = {.watched = NULL};
    sync_vfs_register();
    sqlite3 *db = workload_open(it->path, &counted);
    busbar *bus = workload_bus(db, &options);
    workload_check(bus, relay_add_route(bus, spy_around(&seen, relay_transport(0))), "add a route");
    for (unsigned i = 0; i < it->warm_up + it->count; i += BATCH) {
        if (i == it->warm_up)
            begin_counting(out);
        publish_batch(db, bus, i);
        live(sim, bus, it->pause_us);
    }
    end_counting(out, it->count);
    measure_must(seen.acked + RELAY_WINDOW + BATCH >= it->warm_up + it->count, "events that were sent meanwhile");
}

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
    sync_vfs_register();
    sqlite3 *db = workload_open(it->path, &counted);
    baseline_outbox_create(db);
    for (unsigned i = 0; i < it->warm_up + it->count; i += BATCH) {
        if (i == it->warm_up)
            begin_counting(out);
        insert_batch(db, messages, i);
    }
    end_counting(out, it->count);
}

/* ---- The row ---- */

static void measure(const bench_options *options, report *out, writing *it, const char *names[2], bool goal)
{
    contestant both[] = {{.name = "outbox, marked by row", .fn = by_outbox, .ctx = it, .prepare = prepare},
                         {.name = "busbar", .fn = by_busbar, .ctx = it, .prepare = prepare}};
    measure_rounds(both, 2, 1); /* counts are not noisy */
    (void)options;
    report_compare(out, &(report_pair){"writes", names[0], "B/ev", &both[1], &both[0], 1, measure_value_0,
                                       goal ? REPORT_BELOW : REPORT_NO_GOAL, 1100});
    report_compare(out, &(report_pair){"writes", names[1], "/ev", &both[1], &both[0], 1, measure_value_1,
                                       goal ? REPORT_BELOW : REPORT_NO_GOAL, 0.06});
    prepare(it);
}

void row_writes(const bench_options *options, report *out)
{
    writing busy = {.warm_up = 10000, .count = options->quick ? 20000 : 100000, .pause_us = SECOND_US / 50};
    writing calm = busy;
    calm.pause_us = SECOND_US;
    workload_path(options->directory, "writes.db", busy.path);
    workload_path(options->directory, "writes.db", calm.path);
    measure(options, out, &busy, (const char *[]){"bytes, 20 events 50 times a second", "syncs, 50 times a second"},
            true);
    measure(options, out, &calm, (const char *[]){"bytes, 20 events once a second", "syncs, once a second"}, true);
}
