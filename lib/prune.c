/* SPDX-License-Identifier: MIT */
#include "prune.h"

#include "bound.h"
#include "consumer.h"
#include "expiry.h"
#include "log.h"
#include "schema.h"

#define CHUNK_ROWS  32u
#define HOLD_US     1000u
#define ROWS_MAX    1024 /* where the clock is too coarse for HOLD_US */
#define INCREMENTAL 2    /* of PRAGMA auto_vacuum */
#define PIECE_PAGES 64   /* of an incremental vacuum */
#define PIECE_TEXT  "64"

/* Up to where events are finished by every consumer, but for the newest `keep`. Without consumers: all are. */
static int finished_until(busbar *bus, busbar_lane lane, uint64_t keep, bool unconsumed_too, int64_t *out_until)
{
    int64_t heads[BUSBAR_LANE_COUNT] = {0};
    int64_t floor = 0;
    int result = bb_consumer_floor(&bus->store, lane, &floor);
    if (result == BUSBAR_OK)
        result = bb_log_heads(&bus->store, heads);
    if (result < 0)
        return result;
    int64_t kept = keep > INT64_MAX ? INT64_MAX : (int64_t)keep;
    *out_until = heads[lane] - kept;
    if (floor == INT64_MAX && !unconsumed_too)
        *out_until = 0;
    else if (floor < *out_until)
        *out_until = floor;
    return BUSBAR_OK;
}

/* A row of plain SQL is as old as the next that has an age, or older. */
static int old_enough(busbar *bus, busbar_lane lane, int64_t seq, int64_t limit_ms, bool *out_old)
{
    sqlite3_stmt *stmt;
    int64_t age_ms = 0;
    *out_old = false;
    int result = bb_log_read_dated(&bus->store, lane, seq - 1, &stmt);
    if (result != BB_ROW)
        return result;
    result = bb_expiry_age(bus, stmt, 0, &age_ms);
    bb_store_end(&bus->store, stmt);
    *out_old = result == BUSBAR_OK && age_ms > limit_ms;
    return result == BUSBAR_ENOTFOUND ? BUSBAR_OK : result;
}

/* Moves *inout_until down to the last event that is older than the limit: later ones are younger. */
static int limit_to_old(busbar *bus, busbar_lane lane, uint64_t limit_ms, int64_t *inout_until)
{
    int64_t low = 0;
    int64_t high = *inout_until + 1;
    bb_reader_refresh_instants(&bus->reader);
    int result = bb_log_first(&bus->store, lane, &low);
    low--;
    if (limit_ms == 0 || result < 0)
        return result;
    while (result == BUSBAR_OK && high - low > 1) {
        bool old = false;
        int64_t middle = low + (high - low) / 2;
        result = old_enough(bus, lane, middle, limit_ms > INT64_MAX ? INT64_MAX : (int64_t)limit_ms, &old);
        if (old)
            low = middle;
        else
            high = middle;
    }
    *inout_until = low;
    return result;
}

/* What is to go of a lane. */
typedef struct choice {
    uint64_t keep;
    uint64_t older_than_ms;
    bool unconsumed_too;
} choice;

static int choose(busbar *bus, busbar_lane lane, const choice *c, int64_t *out_until)
{
    int result = finished_until(bus, lane, c->keep, c->unconsumed_too, out_until);
    return result == BUSBAR_OK && *out_until > 0 ? limit_to_old(bus, lane, c->older_than_ms, out_until) : result;
}

/* The write lock is held only as long as for any of a worker's work. */
static int delete_some(busbar *bus, busbar_lane lane, int64_t until, int64_t *out_count)
{
    bb_store *store = &bus->store;
    int64_t gone = 0;
    int result;
    do {
        result = bb_log_prune(store, lane, until, CHUNK_ROWS, &gone);
        *out_count += gone;
    } while (result == BUSBAR_OK && gone > 0 && *out_count < ROWS_MAX && bb_store_held_us(store) < HOLD_US);
    return result;
}

/* One transaction. Chooses once more under the write lock: a consumer may have been registered meanwhile. */
static int prune_lane(busbar *bus, busbar_lane lane, const choice *c, int64_t *out_count)
{
    int64_t until = 0;
    *out_count = 0;
    int result = bb_store_begin(&bus->store);
    if (result < 0)
        return result;
    result = choose(bus, lane, c, &until);
    if (result == BUSBAR_OK && until > 0)
        result = delete_some(bus, lane, until, out_count);
    return bb_store_finish(&bus->store, result);
}

/* ---- Retention ---- */

static int beyond_bytes(busbar *bus, bool *out_beyond)
{
    int64_t page = 0;
    int64_t pages = 0;
    int64_t unused = 0;
    *out_beyond = false;
    if (bus->options.keep_bytes == 0)
        return BUSBAR_OK;
    int result = bb_store_read_pragma(&bus->store, "PRAGMA main.page_size", &page);
    if (result == BUSBAR_OK)
        result = bb_store_read_pragma(&bus->store, "PRAGMA main.page_count", &pages);
    if (result == BUSBAR_OK)
        result = bb_store_read_pragma(&bus->store, "PRAGMA main.freelist_count", &unused);
    *out_beyond = result == BUSBAR_OK && (uint64_t)((pages - unused) * page) > bus->options.keep_bytes;
    return result;
}

/* Only what is worth a commit: a single event that is too old may wait for more. */
static int step_lane(busbar *bus, busbar_lane lane, const choice *c, bool *out_more)
{
    int64_t until = 0;
    int64_t first = 0;
    int64_t gone = 0;
    int result = choose(bus, lane, c, &until);
    if (result == BUSBAR_OK)
        result = bb_log_first(&bus->store, lane, &first);
    if (result < 0 || first == 0 || until < first + (int64_t)CHUNK_ROWS - 1)
        return result;
    result = prune_lane(bus, lane, c, &gone);
    *out_more = result == BUSBAR_OK && gone > 0;
    return result;
}

int bb_prune_step(busbar *bus, bool *out_more)
{
    bool beyond = false;
    choice c = {.older_than_ms = bus->options.keep_ms};
    *out_more = false;
    int result = beyond_bytes(bus, &beyond);
    if (beyond)
        c.older_than_ms = 0;
    for (int i = BUSBAR_LANE_COUNT; result == BUSBAR_OK && !*out_more && i > 0; i--) {
        if (beyond || c.older_than_ms != 0)
            result = step_lane(bus, bb_lane_order[i - 1], &c, out_more);
    }
    return result;
}

/* ---- On request ---- */

static int pause_if_asked(const busbar_pruning *pruning)
{
    return pruning->pause ? pruning->pause(pruning->ctx) : BUSBAR_OK;
}

static int prune_all(busbar *bus, const busbar_pruning *pruning, uint64_t *inout_count)
{
    const choice c = {.keep = pruning->keep, .older_than_ms = pruning->older_than_ms, .unconsumed_too = true};
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        int64_t gone = 1;
        while (gone > 0) {
            int result = prune_lane(bus, (busbar_lane)lane, &c, &gone);
            *inout_count += result == BUSBAR_OK ? (uint64_t)gone : 0;
            if (result == BUSBAR_OK && gone > 0)
                result = pause_if_asked(pruning);
            if (result != BUSBAR_OK)
                return result;
        }
    }
    return BUSBAR_OK;
}

/* As many pieces as the pages that are free now need, whatever others free meanwhile. */
static int vacuum_in_pieces(bb_store *store, const busbar_pruning *pruning)
{
    int64_t pages = 0;
    int result = bb_store_read_pragma(store, "PRAGMA main.freelist_count", &pages);
    for (; result == BUSBAR_OK && pages > 0; pages -= PIECE_PAGES) {
        result = bb_store_execute_once(store, "PRAGMA main.incremental_vacuum(" PIECE_TEXT ")");
        if (result == BUSBAR_OK)
            result = pause_if_asked(pruning);
    }
    return result;
}

static int vacuum(bb_store *store, const busbar_pruning *pruning)
{
    int64_t mode = 0;
    int result = bb_store_read_pragma(store, "PRAGMA main.auto_vacuum", &mode);
    if (result < 0)
        return result;
    return mode == INCREMENTAL ? vacuum_in_pieces(store, pruning) : bb_store_execute_once(store, "VACUUM main");
}

int busbar_prune(busbar *bus, const busbar_pruning *pruning, uint64_t *out_count)
{
    if (!bus)
        return BUSBAR_EINVAL;
    if (!pruning || pruning->size != sizeof *pruning || !out_count)
        return bb_store_fail(&bus->store, BUSBAR_EINVAL, "pruning or out_count is NULL, or pruning->size is wrong");
    *out_count = 0;
    int result = bb_handle_idle(bus);
    if (result == BUSBAR_OK)
        result = bb_schema_check(&bus->store);
    if (result == BUSBAR_OK)
        result = bb_session_confirm(&bus->session, &bus->boot, &bus->store); /* ages of this boot */
    if (result == BUSBAR_OK)
        result = prune_all(bus, pruning, out_count);
    if (result == BUSBAR_EFULL && bb_bound_relieve(bus))
        result = prune_all(bus, pruning, out_count);
    return result == BUSBAR_OK && pruning->vacuum ? vacuum(&bus->store, pruning) : result;
}
