/* SPDX-License-Identifier: MIT */
#include "clock.h"

/* A fix that differs from what the last one predicts by more than this is a step, not drift, and is noted. */
#define STEP_MS 2000

static const char LAST_FIX[] = "SELECT mono_ms, wall_ms - mono_ms, quality FROM main.busbar_clock WHERE boot = ?1"
                               " ORDER BY mono_ms DESC LIMIT 1";
static const char FIRST_FIX[] = "SELECT mono_ms FROM main.busbar_clock WHERE boot = ?1 ORDER BY mono_ms LIMIT 1";
static const char APPEND_FIX[] = "INSERT OR IGNORE INTO main.busbar_clock (boot, mono_ms, wall_ms, quality)"
                                 " VALUES (?1, ?2, ?3, ?4)";
static const char FIX_BEFORE[] = "SELECT mono_ms, wall_ms - mono_ms, quality FROM main.busbar_clock"
                                 " WHERE boot = ?1 AND mono_ms <= ?2 ORDER BY mono_ms DESC LIMIT 1";
static const char FIX_AFTER[] = "SELECT mono_ms, wall_ms - mono_ms, quality FROM main.busbar_clock"
                                " WHERE boot = ?1 AND mono_ms > ?2 ORDER BY mono_ms LIMIT 1";

typedef struct fix {
    bool found;
    int64_t mono_ms;
    int64_t offset_ms;
    busbar_clock_quality quality;
} fix;

static busbar_clock_quality quality_of(int64_t stored)
{
    if (stored >= BUSBAR_CLOCK_TRUSTED)
        return BUSBAR_CLOCK_TRUSTED;
    return stored == BUSBAR_CLOCK_ESTIMATED ? BUSBAR_CLOCK_ESTIMATED : BUSBAR_CLOCK_UNKNOWN;
}

/* Reads (monotonic, wall - monotonic, quality); not found is no failure. */
static int find_fix(bb_store *store, const char *sql, const int64_t *values, int count, fix *out_fix)
{
    sqlite3_stmt *stmt;
    int result = bb_store_find(store, sql, values, count, &stmt);
    if (result < 0)
        return result;
    *out_fix = (fix){.found = result == BB_ROW};
    if (result != BB_ROW)
        return BUSBAR_OK;
    out_fix->mono_ms = bb_column_integer(store, stmt, 0);
    out_fix->offset_ms = bb_column_integer(store, stmt, 1);
    out_fix->quality = quality_of(bb_column_integer(store, stmt, 2));
    bb_store_end(store, stmt);
    return BUSBAR_OK;
}

bool bb_clock_improved(const busbar_port *port, busbar_clock_quality known)
{
    int64_t wall_ms = 0;
    return known < BUSBAR_CLOCK_TRUSTED && port->wall_ms(port->ctx, &wall_ms) > known;
}

int bb_clock_note(bb_store *store, const busbar_port *port, int64_t boot)
{
    int64_t wall_ms = 0;
    busbar_clock_quality quality = port->wall_ms(port->ctx, &wall_ms);
    if (quality == BUSBAR_CLOCK_UNKNOWN)
        return BUSBAR_OK;
    int64_t mono_ms = (int64_t)(port->mono_us(port->ctx) / 1000);
    fix last;
    int result = find_fix(store, LAST_FIX, &boot, 1, &last);
    if (result < 0)
        return result;
    int64_t error_ms = last.found ? wall_ms - (mono_ms + last.offset_ms) : 0;
    bool stepped = error_ms > STEP_MS || error_ms < -STEP_MS;
    if (last.found && quality <= last.quality && !(stepped && quality == last.quality))
        return BUSBAR_OK;
    int64_t values[] = {boot, mono_ms, wall_ms, quality};
    return bb_store_change(store, APPEND_FIX, values, 4);
}

int bb_clock_first(bb_store *store, int64_t boot, int64_t *out_mono_ms)
{
    *out_mono_ms = INT64_MAX;
    int result = bb_store_integer(store, FIRST_FIX, &boot, 1, out_mono_ms);
    return result < 0 ? result : BUSBAR_OK;
}

static int load_span(bb_store *store, bb_clock_span *span, int64_t boot, int64_t mono_ms)
{
    fix before;
    fix after;
    int64_t values[] = {boot, mono_ms};
    int result = find_fix(store, FIX_BEFORE, values, 2, &before);
    if (result == BUSBAR_OK)
        result = find_fix(store, FIX_AFTER, values, 2, &after);
    if (result < 0)
        return result;
    const fix *used = before.found ? &before : &after;
    span->boot = boot;
    span->from_ms = before.found ? before.mono_ms : INT64_MIN;
    span->until_ms = after.found ? after.mono_ms : INT64_MAX;
    span->offset_ms = used->found ? used->offset_ms : 0;
    span->quality = used->found ? used->quality : BUSBAR_CLOCK_UNKNOWN;
    return BUSBAR_OK;
}

int bb_clock_resolve(bb_store *store, bb_clock_span *span, int64_t boot, int64_t mono_ms, int64_t *out_wall_ms,
                     busbar_clock_quality *out_quality)
{
    if (boot == 0 || span->boot != boot || mono_ms < span->from_ms || mono_ms >= span->until_ms) {
        int result = load_span(store, span, boot, mono_ms);
        if (result < 0)
            return result;
    }
    *out_quality = span->quality;
    *out_wall_ms = span->quality == BUSBAR_CLOCK_UNKNOWN ? BUSBAR_TIME_UNKNOWN : mono_ms + span->offset_ms;
    return BUSBAR_OK;
}
