/* SPDX-License-Identifier: MIT */
#include "evict.h"

#include "consumer.h"
#include "log.h"

int bb_evict_progress(bb_store *store, int64_t consumer, busbar_lane lane, int64_t until, bb_gap_reason reason)
{
    int64_t cursor = 0;
    int result = bb_consumer_cursor(store, consumer, lane, &cursor);
    if (result != BUSBAR_OK || cursor >= until)
        return result;
    bb_gap gap = {.reason = (int64_t)reason, .first = cursor + 1, .last = until, .count = until - cursor};
    result = bb_gap_add(store, consumer, lane, &gap);
    return result < 0 ? result : bb_consumer_evict(store, consumer, lane, until);
}

static int move_consumers(bb_store *store, busbar_lane lane, int64_t until, bb_gap_reason reason)
{
    int64_t consumer = 0;
    int result;
    while ((result = bb_consumer_behind(store, lane, until, &consumer)) == BB_ROW) {
        result = bb_evict_progress(store, consumer, lane, until, reason);
        if (result < 0)
            return result;
    }
    return result;
}

int bb_evict_events(bb_store *store, busbar_lane lane, int64_t until, uint32_t count_max, bb_gap_reason reason,
                    int64_t *out_count)
{
    int64_t first = 0;
    int64_t heads[BUSBAR_LANE_COUNT];
    *out_count = 0;
    int result = bb_log_first(store, lane, &first);
    if (result == BUSBAR_OK)
        result = bb_log_heads(store, heads);
    if (result < 0)
        return result;
    if (until > heads[lane] - 1)
        until = heads[lane] - 1;
    if (first == 0 || first > until)
        return BUSBAR_OK;
    if (until - first >= (int64_t)count_max)
        until = first + (int64_t)count_max - 1;
    result = move_consumers(store, lane, until, reason);
    return result < 0 ? result : bb_log_prune(store, lane, until, count_max, out_count);
}
