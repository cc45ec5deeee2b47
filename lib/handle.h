/* SPDX-License-Identifier: MIT */
/* What a handle consists of. Only the modules above the store see it whole: publish, subscription, relay, step, look. */
#ifndef BB_HANDLE_H
#define BB_HANDLE_H

#include "buffer.h"
#include "checkpoint.h"
#include "credit.h"
#include "kind.h"
#include "later.h"
#include "reader.h"
#include "session.h"
#include "store.h"

struct bb_worker;
struct bb_inline;

/* What a handle knows of scheduled events. */
typedef struct bb_schedule {
    bool looked; /* `view` is of `version` of the data and of `boot` */
    uint32_t version;
    int64_t boot;
    bb_later_view view;
    bool searched;          /* for rows that a former process measured anew */
    bool rebased;           /* there may be some: they come nearer when the wall time is trusted */
    int64_t looked_through; /* so far, then */
    int64_t id_count;       /* ids made for scheduled events; a rollback takes none back */
} bb_schedule;

struct busbar {
    bb_store store;
    const busbar_port *port;
    busbar_options options; /* every member has its effective value */
    char *source;           /* options.source points here */

    /* write path */
    bool schema_confirmed; /* tables of this version were seen in a committed state */
    bb_boot boot;
    bb_session session;
    bb_buffer extensions;
    struct bb_inline *inlines; /* in order of registration */
    uint32_t inline_depth;
    bb_bound bound;
    uint32_t ids_given; /* so far, by publishers; it may wrap */
    int64_t look_ms;    /* a publisher looks then whether the file is still in its place, monotonic */
    bb_schedule schedule;

    /* workers */
    struct bb_worker *workers; /* a list, in order of registration */
    struct bb_worker *next;    /* whose turn it is */
    int64_t heads[BUSBAR_LANE_COUNT];
    int64_t watermark[BUSBAR_LANE_COUNT];
    bb_clock_watch clock;
    int64_t began_ms; /* this boot runs at least since then, monotonic */
    bool began_known;
    uint32_t rhythm;        /* of the pauses between two holds of the write lock */
    uint64_t write_free_us; /* the write lock is left to others until then */
    uint64_t prune_due_us;
    uint64_t limits_due_us;
    uint64_t checkpoint_due_us; /* not before */
    uint64_t dead_due_us;       /* the next look for dead letters that are too old */
    bb_checkpoint checkpoint;
    uint64_t look_due_us; /* a worker looks then whether the file is still in its place */
    uint32_t steps;       /* so far; it may wrap */
    bool prune_wanted;    /* something was finished since the last look for something to prune */
    bool dead_wanted;     /* and that look is due */
    bool in_handler;
    uint64_t acts; /* so often this handle has acted on events or evicted some: workers look anew */

    /* wake-up */
    void *wake; /* NULL: not opened */

    /* large, and therefore last: what is used more often is near */
    bb_kinds kinds;                              /* of the write path */
    bb_reader reader;                            /* of the workers */
    bb_statement statements[BB_STATEMENT_SLOTS]; /* of the store */
};

/* Tells the observer, if there is one. */
void bb_handle_observe(const busbar *bus, const busbar_observation *observation);

/* Time as workers use it. */
uint64_t bb_handle_now_us(const busbar *bus);
/* The same in milliseconds, rounded down. */
int64_t bb_handle_now_ms(const busbar *bus);

/* BUSBAR_EMISUSE inside a handler, with its detail. */
int bb_handle_outside_handler(busbar *bus);
/* The same, and BUSBAR_ETXN in an open transaction. */
int bb_handle_idle(busbar *bus);

/* The tables are there and of this version: looks once, then trusts. In a scope, or outside any transaction. */
int bb_handle_ensure_schema(busbar *bus);

#endif
