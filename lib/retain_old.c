/* SPDX-License-Identifier: MIT */
/* Dead letters that are too old: by the time since their last failure, as far as it is certain. */
#include "clock.h"
#include "retain.h"

int bb_retain_choose_old(bb_store *store, const bb_keep *keep, bb_dead_choice *choice)
{
    int64_t first_ms = 0;
    bb_exception_key key;
    bb_dead_choice old = {.consumer = choice->consumer, .boot = keep->boot};
    if (keep->dead_ms == 0 || keep->boot == 0 || keep->dead_ms > (uint64_t)keep->now_ms)
        return BUSBAR_OK;
    old.before_ms = keep->now_ms - (int64_t)keep->dead_ms;
    int result = bb_clock_first(store, keep->boot, &first_ms);
    old.former_boots = first_ms <= old.before_ms;
    if (result == BUSBAR_OK)
        result = bb_exception_next_dead(store, &old, 0, &key);
    if (result == BB_ROW)
        *choice = old;
    return result < 0 ? result : BUSBAR_OK;
}
