/* SPDX-License-Identifier: MIT */
/* busbar_status_get and busbar_consumer_list. */
#include "consumer.h"
#include "exception.h"
#include "gap.h"
#include "handle.h"
#include "later.h"
#include "lease.h"
#include "log.h"
#include "schema.h"
#include "watermark.h"

static const char COUNT_CONSUMERS[] = "SELECT count(*) FROM main.busbar_consumer";

static int read_positions(bb_store *store, busbar_status *status)
{
    int result = bb_watermark_read(store, status->watermark, status->head);
    for (int lane = 0; result == BUSBAR_OK && lane < BUSBAR_LANE_COUNT; lane++)
        result = bb_log_first(store, (busbar_lane)lane, &status->first[lane]);
    return result;
}

static void read_writes(bb_store *store, int64_t page_bytes, busbar_status *status)
{
    status->written_bytes = bb_store_written_bytes(store, page_bytes);
    status->commit_count = store->commit_count;
    status->synced_count = store->synced_count;
}

static int read_sizes(bb_store *store, busbar_status *status)
{
    int64_t page_bytes = 0;
    int64_t pages = 0;
    int64_t free_pages = 0;
    int result = bb_store_read_pragma(store, "PRAGMA main.page_size", &page_bytes);
    if (result == BUSBAR_OK)
        result = bb_store_read_pragma(store, "PRAGMA main.page_count", &pages);
    if (result == BUSBAR_OK)
        result = bb_store_read_pragma(store, "PRAGMA main.freelist_count", &free_pages);
    status->database_bytes = pages * page_bytes;
    status->free_bytes = free_pages * page_bytes;
    status->wal_bytes = bb_store_wal_bytes(store);
    read_writes(store, page_bytes, status);
    status->wal_race = status->wal_bytes >= 0 && bb_checkpoint_racing(store->sql->libversion_number());
    return result;
}

/* The last fix of this boot, of the best quality. Another process may have noted it. */
static int read_clock(busbar *bus, busbar_status *status)
{
    bb_clock_watch watch = {.looked = false};
    int result = bus->boot.confirmed ? BUSBAR_OK : bb_session_confirm(&bus->session, &bus->boot, &bus->store);
    if (result == BUSBAR_OK && bus->boot.confirmed)
        result = bb_clock_look(&watch, &bus->store, bus->boot.id);
    status->clock_quality = watch.quality;
    status->clock_fix_ms = -1;
    if (watch.quality != BUSBAR_CLOCK_UNKNOWN)
        status->clock_fix_ms = bb_handle_now_ms(bus) - watch.mono_ms;
    return result;
}

int busbar_status_get(busbar *bus, busbar_status *out_status)
{
    if (!bus)
        return BUSBAR_EINVAL;
    if (!out_status || out_status->size != sizeof *out_status)
        return bb_store_fail(&bus->store, BUSBAR_EINVAL, "out_status is NULL, or its size is not set");
    bb_store *store = &bus->store;
    busbar_status status = {.size = sizeof status};
    bb_store_look_moved(store);
    int result = bb_store_check_moved(store);
    if (result == BUSBAR_OK)
        result = bb_schema_check(store);
    if (result == BUSBAR_OK)
        result = bb_schema_version(store, &status.schema_version);
    if (result == BUSBAR_OK)
        result = read_positions(store, &status);
    if (result == BUSBAR_OK)
        result = read_sizes(store, &status);
    if (result == BUSBAR_OK)
        result = read_clock(bus, &status);
    if (result == BUSBAR_OK)
        result = bb_store_integer(store, COUNT_CONSUMERS, NULL, 0, &status.consumer_count);
    if (result >= 0)
        result = bb_later_count(store, &status.scheduled_count);
    if (result < 0)
        return result;
    *out_status = status;
    return BUSBAR_OK;
}

/* ---- Consumers ---- */

/* Age of the event a statement stands on: by this boot's clock, else by wall time. -1: not known. */
static int age_of(busbar *bus, bb_reader *reader, sqlite3_stmt *stmt, busbar_lane lane, int64_t *out_age_ms)
{
    int64_t boot = 0;
    int64_t mono_ms = 0;
    int64_t wall_ms = 0;
    busbar_record record;
    *out_age_ms = -1;
    int result = bb_reader_instant(reader, stmt, 0, &boot, &mono_ms);
    if (result < 0)
        return result;
    if (boot != 0 && boot == bus->boot.id) {
        *out_age_ms = bb_handle_now_ms(bus) - mono_ms;
        return BUSBAR_OK;
    }
    result = bb_reader_record(reader, stmt, 0, lane, &record);
    if (result == BUSBAR_OK && record.time_ms != BUSBAR_TIME_UNKNOWN &&
        bus->port->wall_ms(bus->port->ctx, &wall_ms) != BUSBAR_CLOCK_UNKNOWN && wall_ms >= record.time_ms)
        *out_age_ms = wall_ms - record.time_ms;
    return result;
}

static int oldest_of_lane(busbar *bus, bb_reader *reader, busbar_lane lane, int64_t cursor, int64_t *oldest_ms)
{
    sqlite3_stmt *stmt;
    int64_t age_ms = -1;
    int result = bb_log_read_next(&bus->store, lane, cursor, &stmt);
    if (result != BB_ROW)
        return result;
    result = age_of(bus, reader, stmt, lane, &age_ms);
    bb_store_end(&bus->store, stmt);
    if (age_ms > *oldest_ms)
        *oldest_ms = age_ms;
    return result == BUSBAR_ENOTFOUND ? BUSBAR_OK : result;
}

/* A damaged page of the log leaves the age unknown, and is for those who need the event; the rest can still be told. */
static int read_oldest(busbar *bus, bb_reader *reader, busbar_consumer_status *status)
{
    int result = BUSBAR_OK;
    status->oldest_ms = -1;
    for (int lane = 0; result == BUSBAR_OK && lane < BUSBAR_LANE_COUNT; lane++)
        result = oldest_of_lane(bus, reader, (busbar_lane)lane, status->progress[lane].cursor, &status->oldest_ms);
    return result == BUSBAR_ECORRUPT ? BUSBAR_OK : result;
}

static int read_consumer(busbar *bus, bb_reader *reader, const bb_consumer_view *view, busbar_consumer_status *status)
{
    int64_t heads[BUSBAR_LANE_COUNT];
    int64_t rate_mhz = 0;
    int result = bb_log_heads(&bus->store, heads);
    if (result == BUSBAR_OK)
        result = bb_consumer_progress(&bus->store, view->id, status->progress, &rate_mhz);
    if (result == BUSBAR_OK)
        result = bb_gap_total(&bus->store, view->id, &status->gap_count, &status->gap_events);
    if (result == BUSBAR_OK)
        result = read_oldest(bus, reader, status);
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        status->pending += heads[lane] - status->progress[lane].cursor;
    if (status->pending < 0)
        status->pending = 0; /* the cursor moved on between the two reads */
    status->rate_per_s = (double)rate_mhz / 1000.0;
    status->eta_s = -1;
    if (status->pending == 0)
        status->eta_s = 0;
    else if (rate_mhz > 0)
        status->eta_s = (int64_t)((double)status->pending / status->rate_per_s + 0.5);
    return result;
}

/* Its lanes stand still of their own accord: a failed event holds them up, or there is no room for one more. */
static bool standing_still(const busbar_consumer_status *status)
{
    int64_t retrying = 0;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        retrying += status->progress[lane].retrying;
    return retrying >= BB_EXCEPTION_MAX || (status->order == BUSBAR_ORDER_STRICT && retrying > 0);
}

/*
 * A handler that does not return cannot be asked, and writes nothing. But its subscription has a worker, has had an event
 * to handle for longer than the limit, and has not moved for as long.
 */
static int read_stuck(busbar *bus, const bb_consumer_view *view, busbar_consumer_status *status)
{
    int64_t moved_ms = 0;
    if (view->class_ != BUSBAR_CLASS_SUBSCRIPTION || !status->worker || status->pending == 0 || bus->boot.id == 0 ||
        standing_still(status))
        return BUSBAR_OK;
    int result = bb_consumer_moved(&bus->store, view->id, bus->boot.id, &moved_ms);
    int64_t still_ms = bb_handle_now_ms(bus) - moved_ms;
    int64_t stuck_ms = still_ms < status->oldest_ms ? still_ms : status->oldest_ms;
    if (result == BUSBAR_OK && view->limit_ms > 0 && stuck_ms > view->limit_ms)
        status->stuck_ms = stuck_ms;
    return result;
}

/* Since when it fails. What began in another boot has lasted for as long as this one at least. */
static int read_failure(busbar *bus, const bb_consumer_view *view, busbar_consumer_status *status)
{
    int64_t boot = 0;
    int64_t since_ms = 0;
    int64_t now_ms = bb_handle_now_ms(bus);
    int result = bb_lease_look(&bus->store, bus->port, bus->boot.text, view->id, &status->worked);
    if (result == BUSBAR_OK)
        result = bb_consumer_failing(&bus->store, view->id, &status->offline, &boot, &since_ms);
    if (result == BUSBAR_OK && since_ms != 0)
        status->failing_ms = boot == bus->boot.id && since_ms <= now_ms ? now_ms - since_ms : now_ms;
    return result == BUSBAR_EREMOVED ? BUSBAR_OK : result;
}

int busbar_consumer_list(busbar *bus, busbar_consumer_fn *fn, void *ctx)
{
    if (!bus || !fn)
        return BUSBAR_EINVAL;
    int result = bb_schema_check(&bus->store);
    if (result == BUSBAR_OK && !bus->boot.confirmed)
        result = bb_session_confirm(&bus->session, &bus->boot, &bus->store);
    if (result < 0)
        return result;
    bb_reader reader;
    bb_reader_init(&reader, &bus->store);
    bb_consumer_view view = {.name = ""};
    while ((result = bb_consumer_next(&bus->store, view.name, &view)) == BB_ROW) {
        busbar_consumer_status status = {
            .size = sizeof status,
            .name = view.name,
            .class_ = view.class_ == BUSBAR_CLASS_ROUTE ? BUSBAR_CLASS_ROUTE : BUSBAR_CLASS_SUBSCRIPTION,
            .pattern = view.pattern,
            .filter = view.filter[0] ? view.filter : NULL,
            .order = view.order,
            .worker = view.worker[0] ? view.worker : NULL,
            .last_error = view.last_error[0] ? view.last_error : NULL,
        };
        result = read_consumer(bus, &reader, &view, &status);
        if (result == BUSBAR_OK)
            result = read_stuck(bus, &view, &status);
        if (result == BUSBAR_OK)
            result = read_failure(bus, &view, &status);
        if (result == BUSBAR_OK)
            result = fn(&status, ctx);
        if (result != BUSBAR_OK)
            break;
    }
    bb_reader_fini(&reader);
    return result;
}
