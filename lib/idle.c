/* SPDX-License-Identifier: MIT */
#include "idle.h"

#include "consumer.h"
#include "evict.h"
#include "expiry.h"
#include "lease.h"
#include "log.h"

/*
 * How often the time so far is noted anew: what of a boot lies behind the last note is not known in the next one, if there
 * is no clock. Of a limit an eighth, if that is less. After a boot a consumer has as long to come forward before the time
 * with the machine off ends its hold: its process may be the last to be started.
 */
#define NOTE_MS    3600000u
#define NOTE_PARTS 8u

static const char FIND[] = "SELECT idle_boot, idle_ms, idle_for_ms FROM main.busbar_consumer WHERE id = ?1";
static const char NOTE[] =
    "UPDATE main.busbar_consumer SET idle_boot = ?2, idle_ms = ?3, idle_for_ms = ?4 WHERE id = ?1";

/* At this instant of a boot it had been idle for so long. */
typedef struct mark {
    int64_t boot; /* 0: it was not */
    int64_t mono_ms;
    int64_t for_ms;
} mark;

static int find_mark(bb_store *store, int64_t id, mark *out_mark)
{
    sqlite3_stmt *stmt;
    *out_mark = (mark){.boot = 0};
    int result = bb_store_find(store, FIND, &id, 1, &stmt);
    if (result != BB_ROW)
        return result;
    out_mark->boot = bb_column_integer(store, stmt, 0);
    out_mark->mono_ms = bb_column_ms(store, stmt, 1);
    out_mark->for_ms = bb_column_ms(store, stmt, 2);
    bb_store_end(store, stmt);
    return BUSBAR_OK;
}

typedef struct finding {
    int64_t idle_ms;
    bool note; /* that is to be noted */
    bool over; /* it is too long */
} finding;

static int measure(busbar *bus, const mark *m, finding *out)
{
    int64_t now_ms = bb_handle_now_ms(bus);
    uint64_t part_ms = bus->options.consumer_idle_ms / NOTE_PARTS;
    int64_t note_ms = part_ms < NOTE_MS ? (int64_t)part_ms : (int64_t)NOTE_MS;
    bool ours = m->boot == bus->boot.id;
    *out = (finding){.note = m->boot == 0};
    if (m->boot == 0)
        return BUSBAR_OK;
    int result = bb_expiry_since(bus, m->boot, m->mono_ms, &out->idle_ms);
    if (result < 0)
        return result;
    out->idle_ms += m->for_ms;
    out->note = now_ms - (ours ? m->mono_ms : bus->began_ms) >= note_ms;
    out->over = (uint64_t)out->idle_ms >= bus->options.consumer_idle_ms && (ours || out->note);
    return BUSBAR_OK;
}

static int is_behind(bb_store *store, int64_t id, bool *out_behind)
{
    int64_t heads[BUSBAR_LANE_COUNT];
    bb_cursor cursors[BUSBAR_LANE_COUNT];
    *out_behind = false;
    int result = bb_log_heads(store, heads);
    if (result == BUSBAR_OK)
        result = bb_consumer_cursors(store, id, cursors);
    for (int lane = 0; result == BUSBAR_OK && lane < BUSBAR_LANE_COUNT; lane++)
        *out_behind = *out_behind || cursors[lane].cursor < heads[lane];
    return result;
}

static int move_on(busbar *bus, int64_t id)
{
    int64_t heads[BUSBAR_LANE_COUNT];
    int result = bb_log_heads(&bus->store, heads);
    for (int lane = 0; result == BUSBAR_OK && lane < BUSBAR_LANE_COUNT; lane++)
        result = bb_evict_progress(&bus->store, id, (busbar_lane)lane, heads[lane], BB_GAP_IDLE);
    return result;
}

/* In a transaction. */
static int judge(busbar *bus, int64_t id)
{
    bb_store *store = &bus->store;
    mark m = {.boot = 0};
    finding found = {.idle_ms = 0};
    int result = bb_lease_check_free(store, bus->port, bus->boot.text, id);
    if (result == BUSBAR_ELEASE)
        return BUSBAR_OK; /* taken meanwhile */
    if (result == BUSBAR_OK)
        result = bb_boot_ensure(&bus->boot, store);
    if (result == BUSBAR_OK)
        result = find_mark(store, id, &m);
    if (result == BUSBAR_OK)
        result = measure(bus, &m, &found);
    if (result < 0)
        return result;
    if (found.over)
        return move_on(bus, id);
    int64_t values[] = {id, bus->boot.id, bb_handle_now_ms(bus), found.idle_ms};
    return found.note ? bb_store_change(store, NOTE, values, 4) : BUSBAR_OK;
}

static int judge_alone(busbar *bus, int64_t id)
{
    int result = bb_store_begin(&bus->store);
    if (result < 0)
        return result;
    result = judge(bus, id);
    return bb_store_finish(&bus->store, result);
}

/* Reads only: something has to be noted, or done. */
static int concerns(busbar *bus, const bb_consumer_view *view, bool *out_concerns)
{
    bool behind = false;
    mark m = {.boot = 0};
    finding found = {.idle_ms = 0};
    *out_concerns = false;
    int result = bb_lease_check_free(&bus->store, bus->port, bus->boot.text, view->id);
    if (result < 0)
        return result == BUSBAR_ELEASE ? BUSBAR_OK : result;
    result = is_behind(&bus->store, view->id, &behind);
    if (result == BUSBAR_OK && behind)
        result = find_mark(&bus->store, view->id, &m);
    if (result == BUSBAR_OK && behind)
        result = measure(bus, &m, &found);
    *out_concerns = found.note || found.over;
    return result == BUSBAR_EREMOVED ? BUSBAR_OK : result;
}

int bb_idle_step(busbar *bus)
{
    bb_consumer_view view = {.name = ""};
    int result;
    while ((result = bb_consumer_next(&bus->store, view.name, &view)) == BB_ROW) {
        bool due = false;
        result = concerns(bus, &view, &due);
        if (result == BUSBAR_OK && due)
            result = judge_alone(bus, view.id);
        if (result < 0)
            return result;
    }
    return result;
}
