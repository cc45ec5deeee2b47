/* SPDX-License-Identifier: MIT */
#include "writing.h"

#include <busbar/sim.h>

#include "relay.h"
#include "sync_vfs.h"

#define STEP_US 10000u

sqlite3 *writing_open(const writing *it)
{
    const workload_file file = {.vfs = SYNC_VFS_NAME, .page_bytes = it->page_bytes};
    sync_vfs_register();
    sqlite3 *db = workload_open(it->path, &file);
    if (it->full)
        workload_exec(db, "PRAGMA synchronous = FULL");
    return db;
}

void writing_prepare(void *ctx)
{
    const writing *it = ctx;
    workload_remove(it->path);
}

void writing_begin(measurement *out)
{
    sync_vfs_reset();
    measure_begin(out);
}

void writing_end(measurement *out, unsigned count)
{
    sync_counts counts = sync_vfs_counts();
    measure_end(out, count);
    out->values[WRITING_BYTES] = (double)counts.written_bytes / count;
    out->values[WRITING_SYNCS] = (double)counts.syncs / count;
}

static void publish_batch(sqlite3 *db, busbar *bus, uint64_t first, unsigned count)
{
    workload_exec(db, "BEGIN IMMEDIATE");
    for (uint64_t i = 0; i < count; i++)
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

void writing_by_busbar(void *ctx, measurement *out)
{
    const writing *it = ctx;
    busbar_sim *sim = busbar_sim_new(1);
    const busbar_options options = {.port = busbar_sim_port(sim)};
    spy seen = {.watched = NULL};
    sqlite3 *db = writing_open(it);
    busbar *bus = workload_bus(db, &options);
    if (!it->offline)
        workload_check(bus, relay_add_route(bus, spy_around(&seen, relay_transport(0))), "add a route");
    for (unsigned i = 0; i < it->warm_up + it->count; i += it->batch) {
        if (i == it->warm_up)
            writing_begin(out);
        publish_batch(db, bus, i, it->batch);
        live(sim, bus, it->pause_us);
    }
    writing_end(out, it->count);
    measure_must(it->offline || seen.acked + RELAY_WINDOW + WRITING_BATCH_MAX >= it->warm_up + it->count,
                 "events that were sent meanwhile");
}
