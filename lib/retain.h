/* SPDX-License-Identifier: MIT */
/* Retention: deletes what every consumer has finished, in bounded steps. */
#ifndef BB_RETAIN_H
#define BB_RETAIN_H

#include "store.h"

/*
 * One step: deletes a bounded number of finished events and forgotten ids, if enough have gathered to be worth a commit.
 * Keeps the newest `keep_events` of each lane and `keep_ids` given ids. Without any consumer no event is deleted. Outside
 * any transaction. *out_more: another step has something to do.
 */
int bb_retain_step(bb_store *store, uint32_t keep_events, uint32_t keep_ids, bool *out_more);

#endif
