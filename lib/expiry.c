/* SPDX-License-Identifier: MIT */
#include "expiry.h"

/* BUSBAR_FOREVER is above INT64_MAX. */
static int64_t limit_of(const bb_worker *worker, const busbar_record *record)
{
    uint64_t limit_ms = record->ttl_ms;
    if (worker->ttl_ms != 0 && (limit_ms == 0 || worker->ttl_ms < limit_ms))
        limit_ms = worker->ttl_ms;
    return limit_ms == 0 || limit_ms > INT64_MAX ? BB_EXPIRY_NEVER : (int64_t)limit_ms;
}

/* Since when this boot runs for certain, monotonic: its first session, or the first time that this handle asked. */
static int read_began(busbar *bus, int64_t now_ms)
{
    int64_t began_ms = now_ms;
    int result = bus->boot.id != 0 ? bb_clock_began(&bus->store, bus->boot.id, &began_ms) : BUSBAR_OK;
    if (result < 0)
        return result;
    bus->began_ms = began_ms;
    bus->began_known = true;
    return BUSBAR_OK;
}

/* What this boot's clock says at least of now; false: nothing that can be trusted. */
static bool least_wall(const busbar *bus, int64_t now_ms, int64_t *out_ms)
{
    const bb_clock_range *noted = &bus->reader.present;
    const bb_clock_watch *seen = &bus->clock;
    if (!noted->trusted && !seen->trusted)
        return false;
    int64_t offset_ms = noted->trusted ? noted->least_ms : seen->least_ms;
    if (seen->trusted && seen->least_ms < offset_ms)
        offset_ms = seen->least_ms;
    *out_ms = now_ms + offset_ms;
    return true;
}

static int load_ranges(busbar *bus, int64_t boot)
{
    bb_reader *reader = &bus->reader;
    int result = reader->past.boot == boot ? BUSBAR_OK : bb_clock_range_read(&bus->store, boot, &reader->past);
    if (result == BUSBAR_OK && bus->boot.id != 0 && reader->present.boot != bus->boot.id)
        result = bb_clock_range_read(&bus->store, bus->boot.id, &reader->present);
    return result;
}

/*
 * At least so long ago, of an event of another boot: what its boot is known to have lasted after it, and this one until now,
 * if that is not the same time. More, if both have trusted wall time: from the latest that it can have been to the earliest that it can be.
 */
static int age_over_boots(busbar *bus, int64_t boot, int64_t mono_ms, int64_t now_ms, int64_t *out_ms)
{
    int64_t wall_ms = 0;
    int result = load_ranges(bus, boot);
    if (result == BUSBAR_OK && !bus->began_known)
        result = read_began(bus, now_ms);
    if (result < 0)
        return result;
    const bb_clock_range *past = &bus->reader.past;
    int64_t age_ms = past->last_ms > mono_ms ? past->last_ms - mono_ms : 0;
    if (past->apart && !bb_boot_made_up(bus->boot.text) && now_ms > bus->began_ms)
        age_ms += now_ms - bus->began_ms;
    if (past->trusted && least_wall(bus, now_ms, &wall_ms) && wall_ms - (mono_ms + past->most_ms) > age_ms)
        age_ms = wall_ms - (mono_ms + past->most_ms);
    *out_ms = age_ms;
    return BUSBAR_OK;
}

int bb_expiry_since(busbar *bus, int64_t boot, int64_t mono_ms, int64_t *out_ms)
{
    int64_t now_ms = bb_handle_now_ms(bus);
    if (boot != bus->boot.id)
        return age_over_boots(bus, boot, mono_ms, now_ms, out_ms);
    *out_ms = now_ms > mono_ms ? now_ms - mono_ms : 0;
    return BUSBAR_OK;
}

int bb_expiry_before(busbar *bus, int64_t boot, int64_t mono_ms, int64_t due_ms, int64_t *out_ms)
{
    int64_t now_ms = bb_handle_now_ms(bus);
    int64_t wall_ms = 0;
    int64_t age_ms = 0;
    int result = boot != 0 ? bb_expiry_since(bus, boot, mono_ms, &age_ms) : BUSBAR_OK;
    if (result < 0)
        return result;
    age_ms -= now_ms > due_ms ? now_ms - due_ms : 0;
    bool may_leap = boot != 0 && boot != bus->boot.id && bus->reader.past.trusted && !least_wall(bus, now_ms, &wall_ms);
    *out_ms = may_leap ? INT64_MAX : age_ms > 0 ? age_ms : 0;
    return BUSBAR_OK;
}

int bb_expiry_age(busbar *bus, sqlite3_stmt *stmt, int first, int64_t *out_ms)
{
    int64_t boot = 0;
    int64_t mono_ms = 0;
    *out_ms = 0;
    int result = bb_reader_instant(&bus->reader, stmt, first, &boot, &mono_ms);
    if (result < 0 || boot == 0) /* a row of plain SQL has no age */
        return result;
    return bb_expiry_since(bus, boot, mono_ms, out_ms);
}

int bb_expiry_left(const bb_worker *worker, busbar *bus, sqlite3_stmt *stmt, int first, const busbar_record *record,
                   int64_t *out_ms)
{
    int64_t age_ms = 0;
    int64_t limit_ms = limit_of(worker, record);
    *out_ms = limit_ms;
    if (limit_ms == BB_EXPIRY_NEVER)
        return BUSBAR_OK;
    int result = bb_expiry_age(bus, stmt, first, &age_ms);
    *out_ms = limit_ms > age_ms ? limit_ms - age_ms : 0;
    return result;
}

int bb_expiry_over(const bb_worker *worker, busbar *bus, sqlite3_stmt *stmt, int first, const busbar_record *record,
                   bool *out_over)
{
    int64_t left_ms = BB_EXPIRY_NEVER;
    int result = bb_expiry_left(worker, bus, stmt, first, record, &left_ms);
    *out_over = result == BUSBAR_OK && left_ms <= 0;
    return result;
}
