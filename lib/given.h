/* SPDX-License-Identifier: MIT */
/* Ids that publishers gave: unique per (source, id), remembered in order of arrival for a window of their own. */
#ifndef BB_GIVEN_H
#define BB_GIVEN_H

#include "store.h"

/* BB_ROW and the place of the first event with this source and id, or BUSBAR_OK if there is none. */
int bb_given_find(bb_store *store, const char *id, const char *source, busbar_lane *out_lane, int64_t *out_seq);
/* Remembers a new one. In the scope that stores the event. */
int bb_given_add(bb_store *store, const char *id, const char *source, busbar_lane lane, int64_t seq);
/* Forgets at most `count_max` of those older than the newest `keep`. */
int bb_given_prune(bb_store *store, uint32_t keep, uint32_t count_max);
/* Forgets some whose event is gone, whatever the window: below the oldest stored position of its lane. */
int bb_given_forget(bb_store *store, const int64_t firsts[BUSBAR_LANE_COUNT], uint32_t count_max, int64_t *out_count);
/* The window is exceeded by `slack` or more. */
int bb_given_exceeds(bb_store *store, uint32_t keep, uint32_t slack, bool *out_exceeds);

/* Calls fn for each event with this given id, whatever its source; stops when it returns other than 0, and returns that. */
typedef int bb_given_fn(busbar_lane lane, int64_t seq, void *ctx);
int bb_given_each(bb_store *store, const char *id, bb_given_fn *fn, void *ctx);

#endif
