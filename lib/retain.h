/* SPDX-License-Identifier: MIT */
/* Retention: deletes what every consumer has finished, in bounded steps. */
#ifndef BB_RETAIN_H
#define BB_RETAIN_H

#include "exception.h"

/* What is kept. */
typedef struct bb_keep {
    uint32_t events;  /* of each lane, the newest */
    uint32_t ids;     /* given ids */
    uint32_t dead;    /* dead letters of each consumer, the newest */
    uint64_t dead_ms; /* and so long after their last failure; 0: for ever, or it is not looked at now */
    int64_t boot;
    int64_t now_ms;
} bb_keep;

/*
 * One step: deletes a bounded number of finished events, forgotten ids or dead letters, if enough have gathered to be worth
 * a commit. Without any consumer no event is deleted. Dead letters are counted as dropped. The age of one that failed last
 * in a former boot is not known: it is taken to be that of the first clock fix of this boot. Outside any transaction.
 * *out_more: another step has something to do.
 */
int bb_retain_step(bb_store *store, const bb_keep *keep, bool *out_more);

/* Changes the choice if the consumer has dead letters that are too old. (retain_old.c) */
int bb_retain_choose_old(bb_store *store, const bb_keep *keep, bb_dead_choice *choice);

#endif
