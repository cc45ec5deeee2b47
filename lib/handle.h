/* SPDX-License-Identifier: MIT */
/* What a handle consists of. Only the modules above the store see it whole: publish, subscription, relay, step, look. */
#ifndef BB_HANDLE_H
#define BB_HANDLE_H

#include "buffer.h"
#include "checkpoint.h"
#include "kind.h"
#include "reader.h"
#include "session.h"
#include "store.h"

struct bb_worker;

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
    bb_checkpoint checkpoint;
    uint32_t steps;    /* so far; it may wrap */
    bool prune_wanted; /* something was finished since the last look for something to prune */
    bool in_handler;

    /* wake-up */
    void *wake; /* NULL: not opened */
};

/* Time as workers use it. */
uint64_t bb_handle_now_us(const busbar *bus);

/* BUSBAR_EMISUSE inside a handler, with its detail. */
int bb_handle_outside_handler(busbar *bus);
/* The same, and BUSBAR_ETXN in an open transaction. */
int bb_handle_idle(busbar *bus);

/* The tables are there and of this version: looks once, then trusts. In a scope, or outside any transaction. */
int bb_handle_ensure_schema(busbar *bus);

#endif
