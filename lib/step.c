/* SPDX-License-Identifier: MIT */
/* busbar_step: gives each worker its turn, prunes, and tells how long there is nothing to do. */
#include <assert.h>

#include "bound.h"
#include "clock.h"
#include "limits.h"
#include "publish.h"
#include "retain.h"
#include "schedule.h"
#include "watermark.h"
#include "worker.h"

#define LOCKED_PAUSE_US     2000u    /* before trying again when another connection holds the lock */
#define STEPS_PER_TIDYING   4u       /* at most so many steps go by without */
#define PRUNE_PAUSE_US      100000u  /* between two looks for something to prune */
#define LOOK_PAUSE_US       1000000u /* between two looks whether the database file is still in its place */
#define CHECKPOINT_PAUSE_US 1000000u /* after a checkpoint that readers kept from its end */

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/*
 * A fix is worth a commit of its own when the clock has become better known than the last one says, or was stepped; unless
 * another process of this boot has noted it.
 */
static int note_clock(busbar *bus, int64_t now_ms)
{
    bool due = bb_clock_due(&bus->clock, bus->port, now_ms);
    if (!bus->boot.confirmed || (!due && bus->clock.looked))
        return BUSBAR_OK;
    int result = bb_clock_look(&bus->clock, &bus->store, bus->boot.id);
    if (result < 0 || !bb_clock_due(&bus->clock, bus->port, now_ms))
        return result;
    result = bb_store_begin(&bus->store);
    if (result < 0)
        return result;
    result = bb_clock_note(&bus->store, bus->port, bus->boot.id);
    result = bb_store_finish(&bus->store, result);
    return result < 0 ? result : bb_clock_look(&bus->clock, &bus->store, bus->boot.id);
}

/* Work on a file that was removed or replaced is lost, though SQLite goes on with it. */
static int check_place(busbar *bus, uint64_t now_us)
{
    if (now_us >= bus->look_due_us) {
        bus->look_due_us = now_us + LOOK_PAUSE_US;
        bb_store_look_moved(&bus->store);
    }
    return bb_store_check_moved(&bus->store);
}

/* What may have changed since the last turn, and what a commit of the application has made final. */
static int refresh(busbar *bus, uint64_t now_us)
{
    if (bus->wake)
        (void)bus->port->wake->clear(bus->wake);
    bb_reader_refresh_kinds(&bus->reader, now_us);
    int result = check_place(bus, now_us);
    if (result == BUSBAR_OK)
        result = bb_publish_confirm(bus);
    if (result == BUSBAR_OK && !bus->boot.confirmed)
        result = bb_session_confirm(&bus->session, &bus->boot, &bus->store);
    return result == BUSBAR_OK ? note_clock(bus, (int64_t)(now_us / 1000)) : result;
}

/* What the failure of one worker means for the step. */
static int judge(bb_worker *worker, int result, uint64_t *out_wait_us)
{
    switch (result) {
    case BUSBAR_ELOCKED:
    case BUSBAR_ESTALE:
        *out_wait_us = LOCKED_PAUSE_US;
        return BUSBAR_OK;
    case BUSBAR_ELEASE:
        *out_wait_us = 0; /* lost just now: the next turn finds out who has it */
        return BUSBAR_OK;
    case BUSBAR_EREMOVED:
        worker->removed = true; /* told once; the others go on */
        return result;
    default:
        return result;
    }
}

static int run_worker(busbar *bus, bb_worker *worker, uint64_t deadline_us, uint64_t *out_wait_us)
{
    assert(worker);
    if (worker->removed)
        return BUSBAR_OK;
    int result = worker->api->run(worker, bus, deadline_us, out_wait_us);
    return judge(worker, result, out_wait_us);
}

/* Every worker once, beginning with the one after the last that had work; those without work cost no time. */
static int run_round(busbar *bus, uint64_t deadline_us, uint64_t *out_wait_us)
{
    bb_worker *worker = bus->next ? bus->next : bus->workers;
    bb_worker *first = worker;
    int failure = bb_watermark_read(&bus->store, bus->watermark, bus->heads);
    bool over = failure < 0;
    *out_wait_us = BUSBAR_FOREVER;
    while (!over) {
        uint64_t wait_us = BUSBAR_FOREVER;
        int result = run_worker(bus, worker, deadline_us, &wait_us);
        if (result < 0)
            failure = result;
        *out_wait_us = sooner(*out_wait_us, wait_us);
        worker = worker->next ? worker->next : bus->workers;
        bus->next = worker;
        over = worker == first || (wait_us == 0 && bb_handle_now_us(bus) >= deadline_us);
    }
    return failure;
}

static int retain(busbar *bus, bool *out_more)
{
    bb_keep keep = {
        .events = bus->options.keep_events,
        .ids = bus->options.keep_ids,
        .dead = bus->options.keep_dead,
        .dead_ms = bus->dead_wanted ? bus->options.keep_dead_ms : 0,
        .boot = bus->boot.id,
        .now_ms = bb_handle_now_ms(bus),
    };
    int result = bb_retain_step(&bus->store, &keep, out_more);
    bus->dead_wanted = bus->dead_wanted && (result < 0 || *out_more);
    return result;
}

/* Prunes when something was finished, not too often, and not while the write lock is the application's. */
static int prune(busbar *bus, uint64_t *wait_us)
{
    uint64_t now_us = bb_handle_now_us(bus);
    uint64_t pause_us = bb_worker_courtesy_us(bus, now_us);
    if (bus->prune_due_us > now_us + pause_us)
        pause_us = bus->prune_due_us - now_us;
    bb_limits_plan_dead(bus, now_us, wait_us);
    if (!bus->prune_wanted)
        return BUSBAR_OK;
    if (pause_us > 0) {
        *wait_us = sooner(*wait_us, pause_us);
        return BUSBAR_OK;
    }
    bool more = false;
    int result = retain(bus, &more);
    bus->prune_wanted = more || result < 0;
    bus->prune_due_us = more ? 0 : now_us + PRUNE_PAUSE_US;
    if (more)
        bb_worker_wrote(bus);
    if (bus->prune_wanted)
        *wait_us = sooner(*wait_us, more ? bb_worker_courtesy_us(bus, bb_handle_now_us(bus)) : PRUNE_PAUSE_US);
    return result == BUSBAR_ELOCKED || result == BUSBAR_ESTALE ? BUSBAR_OK : result;
}

/* When the WAL has grown, and not while the write lock is the application's. */
static int checkpoint(busbar *bus, uint64_t *wait_us)
{
    uint64_t now_us = bb_handle_now_us(bus);
    uint64_t pause_us = bb_worker_courtesy_us(bus, now_us);
    bool done = false;
    if (now_us < bus->checkpoint_due_us || bb_checkpoint_pending(&bus->checkpoint) < bus->checkpoint.pages)
        return BUSBAR_OK;
    if (pause_us > 0) {
        *wait_us = sooner(*wait_us, pause_us);
        return BUSBAR_OK;
    }
    int result = bb_checkpoint_run(&bus->checkpoint, &bus->store, &done);
    bb_worker_wrote(bus);
    bus->checkpoint_due_us = done ? 0 : bb_handle_now_us(bus) + CHECKPOINT_PAUSE_US;
    return result == BUSBAR_ELOCKED || result == BUSBAR_ESTALE ? BUSBAR_OK : result;
}

static int tidy_up(busbar *bus, uint64_t *wait_us)
{
    int result = checkpoint(bus, wait_us);
    if (result == BUSBAR_OK)
        result = bb_limits_hold(bus, wait_us);
    return result < 0 ? result : prune(bus, wait_us);
}

/*
 * Workers that always have work take the write lock whenever it is theirs to take. Some steps therefore begin with
 * tidying up, or neither the log nor the WAL would ever be kept small under load.
 */
static int tidy_up_first(busbar *bus)
{
    uint64_t ignored_us = BUSBAR_FOREVER;
    bus->steps++;
    return bus->steps % STEPS_PER_TIDYING == 0 ? tidy_up(bus, &ignored_us) : BUSBAR_OK;
}

/* For the same reason every other step begins with what is due: neither it nor the workers may keep the other waiting. */
static int schedule_first(busbar *bus)
{
    uint64_t ignored_us = BUSBAR_FOREVER;
    return bus->steps % 2 == 0 ? bb_schedule_turn(bus, &ignored_us) : BUSBAR_OK;
}

static int schedule(busbar *bus, uint64_t *wait_us)
{
    uint64_t due_us = BUSBAR_FOREVER;
    int result = bb_schedule_turn(bus, &due_us);
    *wait_us = sooner(*wait_us, due_us);
    return result;
}

static int work(busbar *bus, uint32_t budget_us, uint64_t *out_wait_us)
{
    uint64_t now_us = bb_handle_now_us(bus);
    uint64_t deadline_us = now_us + budget_us;
    uint64_t wait_us = BUSBAR_FOREVER;
    int result = refresh(bus, now_us);
    if (result == BUSBAR_ELOCKED || result == BUSBAR_ESTALE) {
        *out_wait_us = LOCKED_PAUSE_US;
        return BUSBAR_OK;
    }
    if (result == BUSBAR_OK)
        result = tidy_up_first(bus);
    if (result == BUSBAR_OK)
        result = schedule_first(bus);
    do {
        if (result == BUSBAR_OK)
            result = run_round(bus, deadline_us, &wait_us);
    } while (result == BUSBAR_OK && wait_us == 0 && bb_handle_now_us(bus) < deadline_us);
    if (result == BUSBAR_OK)
        result = schedule(bus, &wait_us);
    if (result == BUSBAR_OK)
        result = tidy_up(bus, &wait_us);
    if (result == BUSBAR_OK)
        *out_wait_us = wait_us;
    return result;
}

int busbar_step(busbar *bus, uint32_t budget_us, uint64_t *out_wait_us)
{
    if (!bus)
        return BUSBAR_EINVAL;
    if (!out_wait_us)
        return bb_store_fail(&bus->store, BUSBAR_EINVAL, "out_wait_us is NULL");
    int result = bb_handle_idle(bus);
    if (result < 0)
        return result;
    if (!bus->workers) {
        *out_wait_us = BUSBAR_FOREVER;
        return BUSBAR_OK;
    }
    sqlite3_int64 application_rowid = bus->store.sql->last_insert_rowid(bus->store.db);
    result = work(bus, budget_us, out_wait_us);
    if (result == BUSBAR_EFULL && bb_bound_relieve(bus)) {
        bus->limits_due_us = bb_handle_now_us(bus) + BB_LIMITS_PAUSE_US;
        result = work(bus, budget_us, out_wait_us);
    }
    bus->store.sql->set_last_insert_rowid(bus->store.db, application_rowid);
    return result;
}

/* ---- Waking up ---- */

static int watch_workers(busbar *bus)
{
    for (bb_worker *worker = bus->workers; worker; worker = worker->next) {
        if (worker->api->watch(worker, bus) != 0)
            return -1;
    }
    return 0;
}

static int open_wake(busbar *bus)
{
    const char *path = bus->store.sql->db_filename(bus->store.db, "main");
    bus->wake = path && *path ? bus->port->wake->open(bus->port->ctx, path) : NULL;
    if (!bus->wake)
        return bb_store_fail(&bus->store, BUSBAR_EIO, "the platform refused to watch the database file");
    if (watch_workers(bus) == 0)
        return BUSBAR_OK;
    bus->port->wake->close(bus->wake);
    bus->wake = NULL;
    return bb_store_fail(&bus->store, BUSBAR_EIO, "the platform refused to watch a transport's descriptor");
}

int busbar_fd(busbar *bus)
{
    if (!bus)
        return BUSBAR_EINVAL;
    if (!bus->port->wake)
        return bb_store_fail(&bus->store, BUSBAR_ENOTSUP,
                             "the port has no wake object: call busbar_step from time to time");
    int result = bus->wake ? BUSBAR_OK : open_wake(bus);
    return result < 0 ? result : bus->port->wake->fd(bus->wake);
}
