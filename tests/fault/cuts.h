/* SPDX-License-Identifier: MIT */
/* The reference workload in every setting, and cuts of its record at every point. */
#ifndef BUSBAR_CUTS_H
#define BUSBAR_CUTS_H

#include "survivor.h"

extern const setting cuts_settings[];
extern const size_t cuts_setting_count;
/* NULL: there is none. */
const setting *cuts_find_setting(const char *name, size_t length);

/* Controls: what is broken on purpose. */
typedef struct control {
    unsigned lies_in_steps;
    bool journal_in_memory;
} control;

typedef struct recording {
    run run;
    busbar_sim_disk *disk;
    history history;
    char failure[400]; /* empty: the workload ran to its end */
} recording;

/* Runs the workload once. Ends with recording_free. */
void recording_make(recording *r, const setting *s, control c);
void recording_free(recording *r);

typedef struct tally {
    uint64_t cuts;
    uint64_t second_cuts;
    uint64_t failures;
    uint64_t by_kind[BROKEN_KINDS];
    unsigned broken;
    char first[600];  /* what the first failure was */
    char replay[100]; /* SETTING:OPERATION:SEED[:twice] of it */
} tally;

/* A cut before or in operation `op`; what is lost follows from `seed`. `twice`: the survivor is cut while it catches up. */
typedef struct point {
    uint64_t op;
    uint64_t seed;
    bool twice;
} point;

/* What cutting needs, again and again. */
typedef struct bench {
    busbar_sim_disk *survivor;
    busbar_sim_disk *second;
    history after;
    history after_second;
} bench;

bool bench_open(bench *b);
void bench_close(bench *b);

void cuts_at(bench *b, const recording *r, point p, tally *t);

/* Cuts at every `stride`-th operation of the record and at its end, with the seeds `first_seed` and following. */
typedef struct plan {
    uint64_t stride;
    uint64_t first_seed;
    uint64_t seed_count;
} plan;

void cuts_everywhere(bench *b, const recording *r, plan p, tally *t);
/* How many cuts that will be, second ones not counted. */
uint64_t cuts_planned(const recording *r, plan p);

#endif
