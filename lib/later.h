/* SPDX-License-Identifier: MIT */
/*
 * Events that are not due yet. A row waits in busbar_later with its id, and moves to the log of its lane when it is due. Two
 * kinds of time: milliseconds of one boot's monotonic clock, or (boot 0) of trusted wall time. Knows no clock and no handle.
 */
#ifndef BB_LATER_H
#define BB_LATER_H

#include "log.h"

/* Most events that may wait. */
#define BB_LATER_MAX 100000

/* No event may be put off further: its due time in microseconds still fits every integer. */
#define BB_LATER_MAX_MS (INT64_MAX / 2000)

/* When a row is due. */
typedef struct bb_later_due {
    int64_t boot;     /* 0: `ms` is UTC wall time */
    int64_t ms;       /* else monotonic of that boot */
    int64_t delay_ms; /* what the publisher asked for; 0 with wall time */
} bb_later_due;

/* The present, as rows are measured by it. */
typedef struct bb_later_now {
    int64_t boot; /* row in busbar_boot; 0: not stored yet */
    int64_t mono_ms;
    bool trusted; /* the wall time is */
    int64_t wall_ms;
} bb_later_now;

/* What waits, seen from one boot. */
typedef struct bb_later_view {
    int64_t relative_ms; /* the first that is due by this boot's clock; INT64_MAX: none */
    int64_t absolute_ms; /* the first that is due by wall time; INT64_MAX: none */
    bool foreign;        /* some are due by the clock of a former boot */
} bb_later_view;

/* The columns that the reading functions give: those of bb_log_column (the position is 0), then these. */
enum bb_later_column { BB_LATER_N = BB_LOG_DATA + 1, BB_LATER_LANE, BB_LATER_DUE_BOOT, BB_LATER_DUE_MS };

/* Puts an event off; its row has an id. In a scope. BUSBAR_EBOUND: as many wait as may. */
int bb_later_add(bb_store *store, busbar_lane lane, const bb_log_row *row, const bb_later_due *due, int64_t *out_n);

/* BB_ROW and the lane if an event of this source with this id waits, or BUSBAR_OK. */
int bb_later_find(bb_store *store, const char *id, const char *source, busbar_lane *out_lane);

/* BB_ROW with the statement on the row (bb_store_end it), or BUSBAR_OK: none. By its number; the first after `after`. */
int bb_later_read(bb_store *store, int64_t n, sqlite3_stmt **out_stmt);
int bb_later_read_next(bb_store *store, int64_t after, sqlite3_stmt **out_stmt);
/* The first after `after` that has this id: several sources may have given it. */
int bb_later_read_id(bb_store *store, const char *id, int64_t after, sqlite3_stmt **out_stmt);

int bb_later_count(bb_store *store, int64_t *out_count);

/* Forgets a waiting event, as if it had never been published. In a scope. BB_ROW, or BUSBAR_OK: it waits no more. */
int bb_later_drop(bb_store *store, int64_t n, const char *id);

/* ---- What a worker does with them ---- */

int bb_later_look(bb_store *store, int64_t boot, bb_later_view *out_view);
/* Some of this boot's were put off in a former one: they may be due sooner by wall time. Looks at each that waits. */
int bb_later_has_rebased(bb_store *store, int64_t boot, bool *out_has);

/*
 * Measures at most `count_max` rows of former boots by this boot's clock: by wall time if it was trusted then and is now,
 * else they wait for their whole delay from now on. In a scope.
 */
int bb_later_rebase(bb_store *store, const bb_later_now *now, uint32_t count_max);
/*
 * The wall time is trusted now: of the next `count_max` rows after *after, brings forward those that waited anew only for want
 * of it. BB_ROW with *after moved on, or BUSBAR_OK: there are no more rows. In a scope.
 */
int bb_later_forward(bb_store *store, const bb_later_now *now, uint32_t count_max, int64_t *after);

/* The row that was due first. */
typedef struct bb_later_first {
    int64_t n;
    int64_t lane;
    int64_t due_ms;        /* by this boot's clock */
    int64_t boot, mono_ms; /* when it was published; boot 0: not known */
} bb_later_first;

/* BB_ROW, or BUSBAR_OK: none is due. */
int bb_later_first_due(bb_store *store, const bb_later_now *now, bb_later_first *out_first);
/* Moves it to the log of its lane. It was published `waited_ms` before it was due, as its age will be told. In a scope. */
int bb_later_append(bb_store *store, const bb_later_first *first, int64_t waited_ms);

#endif
