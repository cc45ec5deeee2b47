/* SPDX-License-Identifier: MIT */
#include "turns.h"

#include <assert.h>
#include <string.h>

#define SHARE_DEFAULT 32u

/* The most urgent one first. */
static const busbar_lane order[BUSBAR_LANE_COUNT] = {BUSBAR_URGENT, BUSBAR_NORMAL, BUSBAR_BULK};

static bool waits(unsigned waiting, busbar_lane lane)
{
    return (waiting & (1u << (unsigned)lane)) != 0;
}

void bb_turns_init(bb_turns *turns, uint32_t share)
{
    memset(turns, 0, sizeof *turns);
    turns->share = share > 0 ? share : SHARE_DEFAULT;
}

void bb_turns_reset(bb_turns *turns)
{
    memset(turns->passed, 0, sizeof turns->passed);
}

busbar_lane bb_turns_choose(const bb_turns *turns, unsigned waiting)
{
    assert(waiting != 0);
    int chosen = BUSBAR_LANE_COUNT;
    for (int i = BUSBAR_LANE_COUNT - 1; i >= 0; i--) {
        bool due = waits(waiting, order[i]) && turns->passed[order[i]] + 1 >= turns->share;
        if (due && (chosen == BUSBAR_LANE_COUNT || turns->passed[order[i]] > turns->passed[chosen]))
            chosen = (int)order[i];
    }
    for (int i = 0; chosen == BUSBAR_LANE_COUNT && i < BUSBAR_LANE_COUNT; i++) {
        if (waits(waiting, order[i]))
            chosen = (int)order[i];
    }
    return (busbar_lane)chosen;
}

uint32_t bb_turns_quota(const bb_turns *turns, busbar_lane lane, unsigned waiting)
{
    uint32_t quota = UINT32_MAX;
    bool more_urgent = true;
    for (int i = 0; i < BUSBAR_LANE_COUNT; i++) {
        busbar_lane other = order[i];
        more_urgent = more_urgent && other != lane;
        if (other == lane || !waits(waiting, other))
            continue;
        if (more_urgent)
            return 1; /* it had its share of the other's turn, and no more */
        uint32_t passed = turns->passed[other];
        uint32_t left = turns->share > passed + 1 ? turns->share - passed - 1 : 1;
        quota = left < quota ? left : quota;
    }
    return quota;
}

void bb_turns_took(bb_turns *turns, busbar_lane lane, unsigned waiting, uint32_t count)
{
    for (int i = 0; count > 0 && i < BUSBAR_LANE_COUNT; i++) {
        busbar_lane other = order[i];
        bool passed_over = other != lane && waits(waiting, other);
        uint32_t room = UINT32_MAX - turns->passed[other] - 1;
        turns->passed[other] = passed_over ? turns->passed[other] + (count < room ? count : room) : 0;
    }
}
