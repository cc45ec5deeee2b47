/* SPDX-License-Identifier: MIT */
/* What is left after a power cut, opened again and examined: integrity and P1 to P5, P7, P8. */
#ifndef BUSBAR_SURVIVOR_H
#define BUSBAR_SURVIVOR_H

#include "machine.h"

enum broken {
    BROKEN_FILE = 1,   /* it does not open, or integrity_check complains */
    BROKEN_P1 = 2,     /* state and log differ; a transaction is there in part, or a lasting one is not */
    BROKEN_P2 = 4,     /* something that a transport or outside handler had been given is not in the log */
    BROKEN_P3 = 8,     /* sent again although recorded, or too much, or never sent */
    BROKEN_P4 = 16,    /* another order */
    BROKEN_P5 = 32,    /* an id twice */
    BROKEN_P7 = 64,    /* effects of handlers and cursor differ */
    BROKEN_P8 = 128,   /* the counters do not add up */
    BROKEN_WORK = 256, /* a call failed, or work does not go on */
    BROKEN_KINDS = 9
};

typedef struct verdict {
    unsigned broken;
    char text[300]; /* of the first */
} verdict;

/* A run of the workload whose record is cut. */
typedef struct run {
    const setting *setting;
    busbar_sim_disk *disk;
    history *history;
    unsigned boots;
} run;

/*
 * Cuts the run at `op` into `survivor`, and examines that. `after` becomes the history of what was done with it; its
 * record is that of `survivor`, and may be cut in its turn.
 */
verdict survivor_check(const run *r, uint64_t op, uint64_t seed, busbar_sim_disk *survivor, history *after);

/* The names of what is broken: "P1 P2". Valid until the next call. */
const char *survivor_names(unsigned broken);

#endif
