/* SPDX-License-Identifier: MIT */
#include "bound.h"

#include <string.h>

#include "ballast.h"
#include "collect.h"
#include "evict.h"
#include "expiry.h"
#include "given.h"
#include "log.h"
#include "text.h"
#include "wal.h"

#define BYTES_MIN           (256u * 1024u)
#define RESERVE_MIN         (64u * 1024u)
#define WAL_PAGES           1000 /* where SQLite's own checkpoint begins */
#define CREDIT_PART         8 /* of the room that is left, so that several handles do not use it up at the same time */
#define ROW_BYTES           64u /* of a row, beside its texts */
#define CHUNK_ROWS          16u /* between two looks at what an eviction has freed */
#define ROWS_MAX            256 /* that one publish evicts, and more only for a large event */
#define ROW_BYTES_MIN       16u
#define AGED_ROWS           64u
#define LANES_EVICTED       2
#define MANY_PART           16 /* of a lane's events that go at once when there are too many */
#define MANY_MAX            64
#define ROW_PAGES           4  /* that an event of its own commit may add to the WAL */
#define ROWS_LEFT_MAX       32 /* while there is a WAL, between two looks at it */
#define RESERVE_WAIT_MIN_US 1000000u
#define RESERVE_WAIT_MAX_US 60000000u

static const busbar_lane EVICTED[LANES_EVICTED] = {BUSBAR_BULK, BUSBAR_NORMAL};

/* ---- Setting up ---- */

int bb_bound_init(busbar *bus)
{
    busbar_options *o = &bus->options;
    bus->bound = (bb_bound){.active = o->max_bytes != 0 || o->reserve_bytes != 0, .reserved = o->reserve_bytes != 0};
    if (o->max_bytes != 0 && o->reserve_bytes == 0)
        o->reserve_bytes = o->max_bytes / 16 > RESERVE_MIN ? o->max_bytes / 16 : RESERVE_MIN;
    if (o->max_bytes != 0 &&
        (o->max_bytes < BYTES_MIN || o->max_bytes > INT64_MAX || o->reserve_bytes > o->max_bytes / 2))
        return bb_store_fail(&bus->store, BUSBAR_EINVAL,
                             "options.max_bytes is below 256 KiB, or options.reserve_bytes more than half of it");
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        if (o->max_events[lane] > INT64_MAX || o->max_age_ms[lane] > INT64_MAX ||
            (unsigned)o->full[lane] > BUSBAR_FULL_REFUSE)
            return bb_store_fail(&bus->store, BUSBAR_EINVAL, "options.max_events, max_age_ms or full is out of range");
        bus->bound.active = bus->bound.active || o->max_events[lane] != 0 || o->max_age_ms[lane] != 0;
    }
    return BUSBAR_OK;
}

/* Outside a transaction the data's version is that of the last use of the database: one event late. */
static bool changed_by_others(busbar *bus, busbar_lane lane)
{
    return (bus->options.max_events[lane] != 0 || bus->options.max_bytes != 0) &&
           bus->bound.version[lane] != bb_store_data_version(&bus->store);
}

static size_t text_bytes(const char *text)
{
    return text ? strlen(text) : 0;
}

bool bb_bound_spent(busbar *bus, busbar_lane lane, const bb_log_row *row, size_t *out_size_bytes)
{
    bb_bound *bound = &bus->bound;
    *out_size_bytes = row->data_size_bytes + text_bytes(row->id) * 2 + text_bytes(row->subject) + text_bytes(row->key) +
                      text_bytes(row->extensions);
    bound->bytes_left -= (int64_t)*out_size_bytes + ROW_BYTES;
    bound->events_left[lane]--;
    bound->rows_left--;
    bound->freed = false;
    return bound->bytes_left < 0 || bound->rows_left < 0 || bound->events_left[lane] < 0 ||
           changed_by_others(bus, lane);
}

/* ---- Evicting ---- */

static bool evictable(const busbar *bus, busbar_lane lane)
{
    return lane != BUSBAR_URGENT && bus->options.full[lane] == BUSBAR_FULL_EVICT;
}

static int evict(busbar *bus, busbar_lane lane, int64_t until, uint32_t count_max, bb_gap_reason reason,
                 int64_t *out_count)
{
    int result = bb_evict_events(&bus->store, lane, until, count_max, reason, out_count);
    bus->acts += result == BUSBAR_OK && *out_count > 0; /* there may be gaps to be told */
    bus->bound.freed = bus->bound.freed || *out_count > 0;
    return result;
}

/* Finished events that are only kept to be looked at make room first, also in a lane that evicts none. */
static int drop_finished(busbar *bus, busbar_lane lane, uint32_t count_max, int64_t *out_gone)
{
    int64_t floor = 0;
    *out_gone = 0;
    int result = bb_consumer_floor(&bus->store, lane, &floor);
    if (result == BUSBAR_OK && floor != INT64_MAX)
        result = bb_log_prune(&bus->store, lane, floor, count_max, out_gone);
    return result;
}

static int forget_ids(busbar *bus, int64_t *out_gone)
{
    int64_t firsts[BUSBAR_LANE_COUNT];
    int result = BUSBAR_OK;
    for (int lane = 0; result == BUSBAR_OK && lane < BUSBAR_LANE_COUNT; lane++)
        result = bb_log_first(&bus->store, (busbar_lane)lane, &firsts[lane]);
    return result < 0 ? result : bb_given_forget(&bus->store, firsts, CHUNK_ROWS, out_gone);
}

/* Remembered ids of events that are gone, and sessions: where each event has one, they take more room than events. */
static int forget_some(busbar *bus, int64_t *out_gone)
{
    int result = forget_ids(bus, out_gone);
    return result == BUSBAR_OK && *out_gone == 0 ? bb_collect_some(&bus->store, CHUNK_ROWS, out_gone) : result;
}

/* Some of what nobody waits for: finished events, and what is left of events that are gone. */
static int drop_spare(busbar *bus, int64_t *out_gone)
{
    int result = forget_some(bus, out_gone);
    for (int i = BUSBAR_LANE_COUNT; result == BUSBAR_OK && *out_gone == 0 && i > 0; i--)
        result = drop_finished(bus, bb_lane_order[i - 1], CHUNK_ROWS, out_gone);
    return result;
}

/* ---- Bytes ---- */

/* All in bytes. */
typedef struct space {
    int64_t used;  /* by tables and indexes */
    int64_t file;  /* the database file, free pages included */
    int64_t wal;   /* 0: none */
    int64_t limit; /* up to where events may use the database file */
    int64_t page;
} space;

static int64_t planned_wal(const busbar *bus, int64_t page_bytes)
{
    int64_t part = (int64_t)bus->options.max_bytes / 4;
    return WAL_PAGES * page_bytes < part ? WAL_PAGES * page_bytes : part;
}

static int read_space(busbar *bus, space *out)
{
    bb_store *store = &bus->store;
    int64_t pages = 0;
    int64_t free_pages = 0;
    int64_t most = (int64_t)bus->options.max_bytes;
    int result = bb_store_read_pragma(store, "PRAGMA main.page_size", &out->page);
    if (result == BUSBAR_OK)
        result = bb_store_read_pragma(store, "PRAGMA main.page_count", &pages);
    if (result == BUSBAR_OK)
        result = bb_store_read_pragma(store, "PRAGMA main.freelist_count", &free_pages);
    if (result < 0)
        return result;
    int64_t wal = bb_store_wal_bytes(store);
    int64_t planned = planned_wal(bus, out->page);
    out->wal = wal > 0 ? wal : 0;
    out->file = pages * out->page;
    out->used = out->file - free_pages * out->page;
    out->limit = most - (int64_t)bus->options.reserve_bytes - (out->wal > planned ? out->wal : planned);
    return BUSBAR_OK;
}

static int fail_bytes(busbar *bus, const space *s)
{
    char text[BUSBAR_DETAIL_SIZE];
    bb_text detail = bb_text_on(text, sizeof text);
    bb_text_add(&detail, "the database has ");
    bb_text_add_int(&detail, s->used);
    bb_text_add(&detail, " bytes in use and a WAL of ");
    bb_text_add_int(&detail, s->wal);
    bb_text_add(&detail, ", options.max_bytes is ");
    bb_text_add_int(&detail, (int64_t)bus->options.max_bytes);
    bb_text_add(&detail, ": have events delivered or dropped, checkpoint the WAL, or raise the limit");
    return bb_store_fail(&bus->store, BUSBAR_EBUSFULL, text);
}

static int evict_some(busbar *bus, busbar_lane lane, int64_t *out_gone)
{
    int64_t forgotten = 0;
    int result = evict(bus, lane, INT64_MAX, CHUNK_ROWS, BB_GAP_EVICTED, out_gone);
    return result == BUSBAR_OK ? forget_some(bus, &forgotten) : result;
}

/*
 * Until so many bytes are free below the limit, or `rows` have gone: first what nobody waits for, then what the least urgent
 * lanes evict. *out_more: there may be more of both.
 */
static int make_room(busbar *bus, space *s, int64_t bytes, int64_t rows, bool *out_more)
{
    int result = BUSBAR_OK;
    for (int i = -1; result == BUSBAR_OK && i < LANES_EVICTED; i++) {
        int64_t gone = i < 0 || evictable(bus, EVICTED[i]) ? 1 : 0;
        while (result == BUSBAR_OK && gone > 0 && rows > 0 && s->limit - s->used < bytes) {
            result = i < 0 ? drop_spare(bus, &gone) : evict_some(bus, EVICTED[i], &gone);
            rows -= gone;
            if (result == BUSBAR_OK)
                result = read_space(bus, s);
        }
    }
    *out_more = rows <= 0;
    return result;
}

/* So many events, each committed by itself, may come before the WAL is looked at again: a reader may keep it growing. */
static int64_t rows_below(const busbar *bus, const space *s, int64_t need)
{
    int64_t room = (int64_t)bus->options.max_bytes - s->file - s->wal - need;
    int64_t rows = room / CREDIT_PART / (ROW_PAGES * s->page);
    return rows < ROWS_LEFT_MAX ? rows : ROWS_LEFT_MAX;
}

static int admit_bytes(busbar *bus, size_t size_bytes)
{
    space s = {.page = 0};
    int result = bus->options.max_bytes == 0 ? BUSBAR_OK : read_space(bus, &s);
    bus->bound.bytes_left = bus->bound.reserved ? (int64_t)bus->options.reserve_bytes / CREDIT_PART : INT64_MAX;
    bus->bound.rows_left = INT64_MAX;
    if (result < 0 || bus->options.max_bytes == 0)
        return result;
    /* Overflow pages hold a little less than their size, and the tree may need a page of its own. */
    int64_t need = (int64_t)(size_bytes + size_bytes / 16 + ROW_BYTES) + 3 * s.page;
    int64_t spare = (int64_t)bus->options.reserve_bytes / CREDIT_PART;
    bool more = false;
    if (s.limit - s.used < need)
        result = make_room(bus, &s, need + spare, ROWS_MAX + (int64_t)(size_bytes / ROW_BYTES_MIN), &more);
    if (result < 0)
        return result;
    /* The WAL has grown all at once, say: half of the reserve is lent until the next ones have evicted the rest. */
    int64_t lent = more && s.limit - s.used < need ? (int64_t)bus->options.reserve_bytes / 2 : 0;
    if (s.limit + lent - s.used < need || (s.wal > 0 && s.file + s.wal + need > (int64_t)bus->options.max_bytes))
        return fail_bytes(bus, &s);
    int64_t credit = (s.limit - s.used - need) / CREDIT_PART;
    bus->bound.bytes_left = credit > spare / CREDIT_PART ? credit : spare / CREDIT_PART;
    if (lent > 0)
        bus->bound.bytes_left = 0;
    if (s.wal > 0)
        bus->bound.rows_left = rows_below(bus, &s, need);
    return BUSBAR_OK;
}

int bb_bound_copy(busbar *bus, size_t size_bytes, bool *out_room)
{
    space s = {.page = 0};
    int64_t gone = 1;
    int64_t lent = (int64_t)bus->options.reserve_bytes / 2;
    *out_room = true;
    if (bus->options.max_bytes == 0)
        return BUSBAR_OK;
    int result = read_space(bus, &s);
    int64_t need = (int64_t)(size_bytes + size_bytes / 16 + ROW_BYTES) + 3 * s.page;
    for (int64_t rows = ROWS_MAX; result == BUSBAR_OK && gone > 0 && rows > 0 && s.limit + lent - s.used < need;) {
        result = drop_spare(bus, &gone);
        rows -= gone;
        if (result == BUSBAR_OK)
            result = read_space(bus, &s);
    }
    *out_room = result == BUSBAR_OK && s.limit + lent - s.used >= need;
    bus->bound.bytes_left -= *out_room ? (int64_t)size_bytes + ROW_BYTES : 0; /* publishers count on what was left */
    return result;
}

/* ---- Events ---- */

static int count_stored(bb_store *store, busbar_lane lane, int64_t *out_head, int64_t *out_count)
{
    int64_t heads[BUSBAR_LANE_COUNT];
    int64_t first = 0;
    int result = bb_log_heads(store, heads);
    if (result == BUSBAR_OK)
        result = bb_log_first(store, lane, &first);
    if (result < 0)
        return result;
    *out_head = heads[lane];
    *out_count = first == 0 ? 0 : heads[lane] - first + 1;
    return BUSBAR_OK;
}

static int fail_events(busbar *bus, busbar_lane lane)
{
    char text[BUSBAR_DETAIL_SIZE];
    bb_text detail = bb_text_on(text, sizeof text);
    bb_text_add(&detail, "the ");
    bb_text_add(&detail, busbar_lane_name(lane));
    bb_text_add(&detail, " lane has as many events as options.max_events allows, ");
    bb_text_add_int(&detail, (int64_t)bus->options.max_events[lane]);
    bb_text_add(&detail, ", and may evict none: have some delivered or dropped, or raise the limit");
    return bb_store_fail(&bus->store, BUSBAR_EBUSFULL, text);
}

static int admit_count(busbar *bus, busbar_lane lane)
{
    int64_t head = 0;
    int64_t count = 0;
    int64_t most = (int64_t)bus->options.max_events[lane];
    bus->bound.events_left[lane] = INT64_MAX;
    bus->bound.version[lane] = bb_store_data_version(&bus->store);
    if (most == 0)
        return BUSBAR_OK;
    int result = count_stored(&bus->store, lane, &head, &count);
    if (result == BUSBAR_OK && count >= most && !evictable(bus, lane)) {
        int64_t gone = 0;
        result = drop_finished(bus, lane, MANY_MAX, &gone);
        count -= gone;
        if (result == BUSBAR_OK && count >= most)
            return fail_events(bus, lane);
    }
    bus->bound.events_left[lane] = count < most ? most - count - 1 : 0;
    return result;
}

int bb_bound_trim(busbar *bus, busbar_lane lane)
{
    int64_t head = 0;
    int64_t count = 0;
    int64_t gone = 0;
    int64_t most = (int64_t)bus->options.max_events[lane];
    if (most == 0 || !evictable(bus, lane))
        return BUSBAR_OK;
    int result = count_stored(&bus->store, lane, &head, &count);
    if (result < 0 || count <= most)
        return result;
    int64_t spare = most / MANY_PART < MANY_MAX ? most / MANY_PART : MANY_MAX;
    result = evict(bus, lane, head - most + spare, ROWS_MAX, BB_GAP_EVICTED, &gone);
    bus->bound.events_left[lane] = spare > 0 ? spare - 1 : 0;
    return result;
}

int bb_bound_leave(busbar *bus, const bb_scope *scope, int result)
{
    bool kept = result == BUSBAR_EBUSFULL && bus->bound.freed;
    int left = bb_store_leave(&bus->store, scope, kept ? BUSBAR_OK : result);
    return kept && left >= 0 ? result : left;
}

/* ---- Age ---- */

/* Looks at so many of the oldest rows that have an age, at most. *out_until: the last that is too old, 0: none. */
static int find_aged(busbar *bus, busbar_lane lane, uint32_t count_max, int64_t *out_until)
{
    bb_store *store = &bus->store;
    int64_t limit_ms = (int64_t)bus->options.max_age_ms[lane];
    int64_t next = 0;
    *out_until = 0;
    bb_reader_refresh_instants(&bus->reader);
    int result = bb_log_first(store, lane, &next);
    for (uint32_t count = 0; result == BUSBAR_OK && count < count_max; count++) {
        sqlite3_stmt *stmt;
        int64_t age_ms = 0;
        result = bb_log_read_dated(store, lane, next - 1, &stmt);
        if (result != BB_ROW)
            return result;
        int64_t seq = bb_column_integer(store, stmt, BB_LOG_SEQ);
        result = bb_expiry_age(bus, stmt, 0, &age_ms);
        bb_store_end(store, stmt);
        if (result < 0 || age_ms <= limit_ms)
            return result == BUSBAR_ENOTFOUND ? BUSBAR_OK : result;
        *out_until = seq;
        next = seq + 1;
    }
    return result;
}

static int evict_aged(busbar *bus, busbar_lane lane, int64_t *out_gone)
{
    int64_t until = 0;
    *out_gone = 0;
    int result = find_aged(bus, lane, AGED_ROWS, &until);
    if (result < 0 || until == 0)
        return result;
    return evict(bus, lane, until, AGED_ROWS, BB_GAP_AGED, out_gone);
}

static int admit_age(busbar *bus, busbar_lane lane)
{
    int64_t gone = 0;
    return bus->options.max_age_ms[lane] == 0 ? BUSBAR_OK : evict_aged(bus, lane, &gone);
}

/* ---- The reserve ---- */

/* Each try writes, until the disk is full: ever more rarely. */
static void put_reserve_off(bb_bound *bound, uint64_t now_us)
{
    bound->reserve_wait_us *= 2;
    if (bound->reserve_wait_us < RESERVE_WAIT_MIN_US)
        bound->reserve_wait_us = RESERVE_WAIT_MIN_US;
    if (bound->reserve_wait_us > RESERVE_WAIT_MAX_US)
        bound->reserve_wait_us = RESERVE_WAIT_MAX_US;
    bound->reserve_due_us = now_us + bound->reserve_wait_us;
}

static int take_reserve(busbar *bus)
{
    uint64_t now_us = bb_handle_now_us(bus);
    if (now_us < bus->bound.reserve_due_us)
        return bb_store_fail(&bus->store, BUSBAR_EFULL,
                             "the disk had no room for options.reserve_bytes: it is tried again within a minute, and "
                             "nothing is published before");
    int result = bb_ballast_take(&bus->store, bus->options.reserve_bytes);
    if (result < 0)
        put_reserve_off(&bus->bound, now_us);
    else
        bus->bound.reserve_wait_us = 0;
    return result;
}

static int keep_reserve(busbar *bus)
{
    bool there = true;
    int result = BUSBAR_OK;
    if (bus->bound.reserved)
        result = bb_ballast_look(&bus->store, bus->options.reserve_bytes, &there);
    return result == BUSBAR_OK && !there ? take_reserve(bus) : result;
}

bool bb_bound_relieve(busbar *bus)
{
    busbar_error kept = bus->store.error;
    bool relieved = bb_ballast_throw(&bus->store); /* whoever took it */
    bus->store.error = kept;
    bus->bound.bytes_left = 0; /* a publisher looks for the reserve first */
    if (relieved)
        put_reserve_off(&bus->bound, bb_handle_now_us(bus));
    return relieved;
}

/* ---- The WAL ---- */

bool bb_bound_wal_high(busbar *bus)
{
    int64_t page = 0;
    if (bus->options.max_bytes == 0 || bb_store_read_pragma(&bus->store, "PRAGMA main.page_size", &page) < 0)
        return false;
    return bb_store_wal_bytes(&bus->store) > planned_wal(bus, page);
}

bool bb_bound_cut_wal(busbar *bus)
{
    return bb_bound_wal_high(bus) && bb_wal_cut(&bus->store) == BUSBAR_OK && !bb_bound_wal_high(bus);
}

/* ---- The publisher and the worker ---- */

int bb_bound_admit(busbar *bus, busbar_lane lane, size_t size_bytes)
{
    int result = keep_reserve(bus);
    if (result == BUSBAR_OK)
        result = admit_age(bus, lane);
    if (result == BUSBAR_OK)
        result = admit_count(bus, lane);
    if (result == BUSBAR_OK)
        result = admit_bytes(bus, size_bytes);
    if (result < 0) { /* ask again next time */
        bus->bound.bytes_left = 0;
        bus->bound.events_left[lane] = 0;
    } else if (bus->options.max_age_ms[lane] != 0 && bus->bound.events_left[lane] > AGED_ROWS / 2) {
        bus->bound.events_left[lane] = AGED_ROWS / 2; /* more go at a time than come between */
    }
    return result;
}

static int evict_aged_alone(busbar *bus, busbar_lane lane, bool *out_more)
{
    int64_t until = 0;
    int64_t gone = 0;
    int64_t head = 0;
    int64_t count = 0;
    int result = find_aged(bus, lane, 1, &until);
    if (result == BUSBAR_OK && until != 0)
        result = count_stored(&bus->store, lane, &head, &count);
    if (result < 0 || until == 0 || count < 2) /* the newest never goes */
        return result;
    result = bb_store_begin(&bus->store);
    if (result < 0)
        return result;
    result = evict_aged(bus, lane, &gone);
    result = bb_store_finish(&bus->store, result);
    *out_more = result == BUSBAR_OK && gone > 0;
    return result;
}

int bb_bound_step(busbar *bus, bool *out_more)
{
    int result = keep_reserve(bus);
    *out_more = false;
    if (result == BUSBAR_EFULL || result == BUSBAR_EIO)
        result = BUSBAR_OK; /* not yet: work goes on */
    (void)bb_bound_cut_wal(bus);
    for (int lane = 0; result == BUSBAR_OK && !*out_more && lane < BUSBAR_LANE_COUNT; lane++) {
        if (bus->options.max_age_ms[lane] != 0)
            result = evict_aged_alone(bus, (busbar_lane)lane, out_more);
    }
    return result;
}
