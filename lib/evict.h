/* SPDX-License-Identifier: MIT */
/*
 * Eviction: the oldest events of a lane go although consumers still need them. Their cursors move on, `evicted` counts what
 * each had not finished, and a gap says which positions that was; all in the caller's transaction.
 */
#ifndef BB_EVICT_H
#define BB_EVICT_H

#include "gap.h"

/*
 * Deletes at most `count_max` of the oldest events, none above `until` and never the newest. What a consumer would have
 * passed over counts as evicted: nobody looks at it any more. *out_count: how many went.
 */
int bb_evict_events(bb_store *store, busbar_lane lane, int64_t until, uint32_t count_max, bb_gap_reason reason,
                    int64_t *out_count);
/* Moves one consumer on to a position, and counts and tells that as eviction does. */
int bb_evict_progress(bb_store *store, int64_t consumer, busbar_lane lane, int64_t until, bb_gap_reason reason);

#endif
