/* SPDX-License-Identifier: MIT */
/* What a handle consists of. Only the modules above the store see it whole: publish, subscription, relay, step, look. */
#ifndef BB_HANDLE_H
#define BB_HANDLE_H

#include "buffer.h"
#include "checkpoint.h"
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
    bb_kinds kinds;
    bb_buffer extensions;
    struct bb_inline *inlines; /* in order of registration */
    uint32_t inline_depth;
    bb_schedule schedule;

    /* workers */
    struct bb_worker *workers; /* a list, in order of registration */
    struct bb_worker *next;    /* whose turn it is */
    bb_reader reader;          /* of the workers */
    int64_t heads[BUSBAR_LANE_COUNT];
    int64_t watermark[BUSBAR_LANE_COUNT];
    busbar_clock_quality clock_noted;
    uint32_t rhythm;        /* of the pauses between two holds of the write lock */
    uint64_t write_free_us; /* the write lock is left to others until then */
    uint64_t prune_due_us;
    uint64_t checkpoint_due_us; /* not before */
    uint64_t dead_due_us;       /* the next look for dead letters that are too old */
    bb_checkpoint checkpoint;
    uint32_t steps;    /* so far; it may wrap */
    bool prune_wanted; /* something was finished since the last look for something to prune */
    bool dead_wanted;  /* and that look is due */
    bool in_handler;
    uint64_t acts; /* busbar_act was called so often on this handle: workers look anew */

    /* wake-up */
    void *wake; /* NULL: not opened */
};

/* Tells the observer, if there is one. */
void bb_handle_observe(const busbar *bus, const busbar_observation *observation);

/* Time as workers use it. */
uint64_t bb_handle_now_us(const busbar *bus);

/* BUSBAR_EMISUSE inside a handler, with its detail. */
int bb_handle_outside_handler(busbar *bus);
/* The same, and BUSBAR_ETXN in an open transaction. */
int bb_handle_idle(busbar *bus);

/* The tables are there and of this version: looks once, then trusts. In a scope, or outside any transaction. */
int bb_handle_ensure_schema(busbar *bus);

#endif
