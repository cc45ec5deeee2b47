/* SPDX-License-Identifier: MIT */
#include "clock.h"

#include "session.h"

/* What the clocks differ by more than the last fix says is a step, unless drift explains it. */
#define STEP_MS 1000
/* What drift can explain: so much of the time since the last fix, and of one day at most. */
#define DRIFT_PARTS   1000
#define DRIFT_MAX_MS  (INT64_C(86400000) / DRIFT_PARTS)
#define SPREAD_MAX_MS (INT64_C(1) << 40) /* some decades: no boot lasts so long */
/* Less is not worth a fix. */
#define DRIFT_MIN_MS 20

/*
 * A clock that is stepped again and again, or a port that cannot make up its mind, must not wear the flash. But what is
 * published between a step and its fix gets a wrong time: a few fixes in an hour are noted at once.
 */
#define CROWD_TEXT     "3" /* fixes before the last one */
#define CROWD_MS       INT64_C(3600000)
#define CROWD_NONE     (INT64_MIN / 2)
#define STEP_PAUSE_MS  INT64_C(60000)
#define DRIFT_PAUSE_MS INT64_C(3600000)

#define YEAR_9999_END_MS INT64_C(253402300799999)

#define FIX "SELECT mono_ms, wall_ms - mono_ms, quality FROM main.busbar_clock WHERE boot = ?1 AND quality >= ?2"
static const char LAST_FIX[] = FIX " ORDER BY mono_ms DESC LIMIT 1";
static const char CROWD[] =
    "SELECT mono_ms FROM main.busbar_clock WHERE boot = ?1 ORDER BY mono_ms DESC LIMIT 1 OFFSET " CROWD_TEXT;
static const char FIX_BEFORE[] = FIX " AND mono_ms <= ?3 ORDER BY mono_ms DESC LIMIT 1";
static const char FIX_AFTER[] = FIX " AND mono_ms > ?3 ORDER BY mono_ms LIMIT 1";
/* Of two fixes of one instant the later is kept, unless it is worse. */
static const char APPEND_FIX[] =
    "INSERT INTO main.busbar_clock (boot, mono_ms, wall_ms, quality) VALUES (?1, ?2, ?3, ?4)"
    " ON CONFLICT (boot, mono_ms) DO UPDATE SET wall_ms = excluded.wall_ms, quality = excluded.quality"
    " WHERE excluded.quality >= quality";
static const char RANGE[] = "SELECT max(mono_ms), count(*) FILTER (WHERE quality >= 2),"
                            " min(wall_ms - mono_ms) FILTER (WHERE quality >= 2),"
                            " max(wall_ms - mono_ms) FILTER (WHERE quality >= 2),"
                            " (SELECT substr(boot, 1, 8) <> '" BB_BOOT_MADE_UP "' FROM main.busbar_boot WHERE id = ?1)"
                            " FROM main.busbar_clock WHERE boot = ?1";
static const char BEGAN[] = "SELECT mono_ms FROM main.busbar_session WHERE boot = ?1 ORDER BY mono_ms LIMIT 1";
static const char FIRST_FIX[] = "SELECT mono_ms FROM main.busbar_clock WHERE boot = ?1 ORDER BY mono_ms LIMIT 1";

typedef struct fix {
    int64_t mono_ms;
    int64_t offset_ms;
    int64_t crowd_ms;             /* where it is the last one: when there was one, some before it */
    busbar_clock_quality quality; /* UNKNOWN: there is none */
} fix;

typedef enum change { CHANGE_NONE, CHANGE_DRIFTED, CHANGE_STEPPED, CHANGE_BETTER } change;

static busbar_clock_quality quality_of(int64_t stored)
{
    if (stored >= BUSBAR_CLOCK_TRUSTED)
        return BUSBAR_CLOCK_TRUSTED;
    return stored == BUSBAR_CLOCK_ESTIMATED ? BUSBAR_CLOCK_ESTIMATED : BUSBAR_CLOCK_UNKNOWN;
}

static int64_t size_of(int64_t difference)
{
    return difference < 0 ? -difference : difference;
}

/* How far drift can take the clocks apart within a time. */
static int64_t drift_of(int64_t passed_ms)
{
    int64_t drift_ms = passed_ms / DRIFT_PARTS;
    return drift_ms < DRIFT_MAX_MS ? drift_ms : DRIFT_MAX_MS;
}

busbar_clock_quality bb_clock_wall(const busbar_port *port, int64_t *out_ms)
{
    int64_t wall_ms = 0;
    busbar_clock_quality quality = port->wall_ms(port->ctx, &wall_ms);
    bool possible = wall_ms >= 0 && wall_ms <= YEAR_9999_END_MS;
    *out_ms = quality != BUSBAR_CLOCK_UNKNOWN && possible ? wall_ms : 0;
    return possible ? quality : BUSBAR_CLOCK_UNKNOWN;
}

static fix fix_at(const busbar_port *port, int64_t mono_ms)
{
    int64_t wall_ms = 0;
    fix now = {.mono_ms = mono_ms, .quality = bb_clock_wall(port, &wall_ms)};
    now.offset_ms = wall_ms - mono_ms;
    return now;
}

static change change_since(const fix *last, const fix *now)
{
    if (now->quality != last->quality)
        return now->quality > last->quality ? CHANGE_BETTER : CHANGE_NONE;
    if (now->quality == BUSBAR_CLOCK_UNKNOWN)
        return CHANGE_NONE;
    int64_t error_ms = size_of(now->offset_ms - last->offset_ms);
    int64_t passed_ms = now->mono_ms - last->mono_ms;
    if (error_ms > STEP_MS && error_ms > drift_of(passed_ms))
        return passed_ms >= STEP_PAUSE_MS || now->mono_ms - last->crowd_ms >= CROWD_MS ? CHANGE_STEPPED : CHANGE_NONE;
    return error_ms >= DRIFT_MIN_MS && passed_ms >= DRIFT_PAUSE_MS ? CHANGE_DRIFTED : CHANGE_NONE;
}

/* ---- Reading fixes ---- */

/* Untouched if there is none. */
static int first_of(bb_store *store, const char *sql, int64_t boot, int64_t *out_mono_ms)
{
    sqlite3_stmt *stmt;
    int result = bb_store_find(store, sql, &boot, 1, &stmt);
    if (result != BB_ROW)
        return result;
    *out_mono_ms = bb_column_ms(store, stmt, 0);
    bb_store_end(store, stmt);
    return BB_ROW;
}

/* The first row that `sql` gives; without one its quality is UNKNOWN. */
static int find_fix(bb_store *store, const char *sql, const int64_t *values, int count, fix *out_fix)
{
    sqlite3_stmt *stmt;
    int result = bb_store_find(store, sql, values, count, &stmt);
    if (result < 0)
        return result;
    *out_fix = (fix){.quality = BUSBAR_CLOCK_UNKNOWN};
    if (result != BB_ROW)
        return BUSBAR_OK;
    out_fix->mono_ms = bb_column_ms(store, stmt, 0);
    out_fix->offset_ms = bb_column_ms(store, stmt, 1);
    out_fix->quality = quality_of(bb_column_integer(store, stmt, 2));
    bb_store_end(store, stmt);
    return BUSBAR_OK;
}

/* The last one of the best quality that there is. */
static int find_last(bb_store *store, int64_t boot, fix *out_fix)
{
    int64_t trusted[] = {boot, BUSBAR_CLOCK_TRUSTED};
    int64_t any[] = {boot, BUSBAR_CLOCK_ESTIMATED};
    int result = find_fix(store, LAST_FIX, trusted, 2, out_fix);
    if (result == BUSBAR_OK && out_fix->quality == BUSBAR_CLOCK_UNKNOWN)
        result = find_fix(store, LAST_FIX, any, 2, out_fix);
    out_fix->crowd_ms = CROWD_NONE;
    if (result == BUSBAR_OK)
        result = first_of(store, CROWD, boot, &out_fix->crowd_ms);
    return result < 0 ? result : BUSBAR_OK;
}

/* ---- Noting fixes ---- */

static fix last_of(const bb_clock_watch *watch)
{
    return (fix){.mono_ms = watch->mono_ms,
                 .offset_ms = watch->offset_ms,
                 .crowd_ms = watch->crowd_ms,
                 .quality = watch->quality};
}

bool bb_clock_due(bb_clock_watch *watch, const busbar_port *port, int64_t now_ms)
{
    fix last = last_of(watch);
    fix now = fix_at(port, now_ms);
    if (now.quality == BUSBAR_CLOCK_TRUSTED && (!watch->trusted || now.offset_ms < watch->least_ms)) {
        watch->trusted = true;
        watch->least_ms = now.offset_ms;
    }
    return change_since(&last, &now) > CHANGE_DRIFTED;
}

bool bb_clock_drifted(const bb_clock_watch *watch, const busbar_port *port, int64_t now_ms)
{
    if (!watch->looked || watch->quality == BUSBAR_CLOCK_UNKNOWN || now_ms - watch->mono_ms < DRIFT_PAUSE_MS)
        return false;
    fix last = last_of(watch);
    fix now = fix_at(port, now_ms);
    return change_since(&last, &now) != CHANGE_NONE;
}

int bb_clock_look(bb_clock_watch *watch, bb_store *store, int64_t boot)
{
    fix last;
    int result = find_last(store, boot, &last);
    if (result < 0)
        return result;
    watch->looked = true;
    watch->quality = last.quality;
    watch->mono_ms = last.mono_ms;
    watch->offset_ms = last.offset_ms;
    watch->crowd_ms = last.crowd_ms;
    return BUSBAR_OK;
}

int bb_clock_note(bb_store *store, const busbar_port *port, int64_t boot)
{
    fix last;
    fix now = fix_at(port, (int64_t)(port->mono_us(port->ctx) / 1000));
    if (now.quality == BUSBAR_CLOCK_UNKNOWN)
        return BUSBAR_OK;
    int result = find_last(store, boot, &last);
    if (result < 0 || change_since(&last, &now) == CHANGE_NONE)
        return result;
    int64_t values[] = {boot, now.mono_ms, now.mono_ms + now.offset_ms, now.quality};
    return bb_store_change(store, APPEND_FIX, values, 4);
}

int bb_clock_first(bb_store *store, int64_t boot, int64_t *out_mono_ms)
{
    *out_mono_ms = INT64_MAX;
    int result = first_of(store, FIRST_FIX, boot, out_mono_ms);
    return result < 0 ? result : BUSBAR_OK;
}

/* ---- Time of events ---- */

/* By the last fix before, else by the first after it. Drift between two trusted fixes is spread evenly between them. */
static void fill_span(bb_clock_span *span, const fix *before, const fix *after)
{
    bool has_before = before->quality != BUSBAR_CLOCK_UNKNOWN;
    bool has_after = after->quality != BUSBAR_CLOCK_UNKNOWN;
    const fix *used = has_before ? before : after;
    span->from_ms = has_before ? before->mono_ms : INT64_MIN;
    span->until_ms = has_after ? after->mono_ms : INT64_MAX;
    span->offset_ms = used->offset_ms;
    span->quality = used->quality;
    span->drift_ms = 0;
    if (!has_before || !has_after || after->quality != BUSBAR_CLOCK_TRUSTED)
        return;
    int64_t drift_ms = after->offset_ms - before->offset_ms;
    int64_t passed_ms = after->mono_ms - before->mono_ms;
    if (passed_ms <= SPREAD_MAX_MS && size_of(drift_ms) <= drift_of(passed_ms))
        span->drift_ms = drift_ms;
}

static int load_span(bb_store *store, bb_clock_span *span, int64_t boot, int64_t mono_ms)
{
    static const busbar_clock_quality qualities[] = {BUSBAR_CLOCK_TRUSTED, BUSBAR_CLOCK_ESTIMATED};
    fix before = {.quality = BUSBAR_CLOCK_UNKNOWN};
    fix after = before;
    for (int i = 0; i < 2; i++) {
        int64_t values[] = {boot, qualities[i], mono_ms};
        int result = find_fix(store, FIX_BEFORE, values, 3, &before);
        if (result == BUSBAR_OK)
            result = find_fix(store, FIX_AFTER, values, 3, &after);
        if (result < 0)
            return result;
        if (before.quality != BUSBAR_CLOCK_UNKNOWN || after.quality != BUSBAR_CLOCK_UNKNOWN)
            break;
    }
    span->boot = boot;
    fill_span(span, &before, &after);
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
    *out_wall_ms = BUSBAR_TIME_UNKNOWN;
    if (span->quality == BUSBAR_CLOCK_UNKNOWN)
        return BUSBAR_OK;
    *out_wall_ms = mono_ms + span->offset_ms;
    if (span->drift_ms != 0)
        *out_wall_ms += span->drift_ms * (mono_ms - span->from_ms) / (span->until_ms - span->from_ms);
    return BUSBAR_OK;
}

/* ---- How long ago ---- */

int bb_clock_range_read(bb_store *store, int64_t boot, bb_clock_range *out_range)
{
    sqlite3_stmt *stmt;
    int result = bb_store_find(store, RANGE, &boot, 1, &stmt);
    if (result < 0)
        return result;
    *out_range = (bb_clock_range){.boot = boot};
    if (result != BB_ROW)
        return BUSBAR_OK;
    out_range->last_ms = bb_column_ms(store, stmt, 0);
    out_range->trusted = bb_column_integer(store, stmt, 1) > 0;
    out_range->least_ms = bb_column_ms(store, stmt, 2);
    out_range->most_ms = bb_column_ms(store, stmt, 3);
    out_range->apart = bb_column_integer(store, stmt, 4) != 0;
    bb_store_end(store, stmt);
    return BUSBAR_OK;
}

int bb_clock_began(bb_store *store, int64_t boot, int64_t *out_mono_ms)
{
    return first_of(store, BEGAN, boot, out_mono_ms);
}
