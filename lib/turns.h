/* SPDX-License-Identifier: MIT */
/*
 * Which lane is next: the most urgent one that waits, but of so many events at least one is of each lane that waits, so
 * that no lane starves. Pure.
 */
#ifndef BB_TURNS_H
#define BB_TURNS_H

#include <busbar/busbar.h>

typedef struct bb_turns {
    uint32_t share;                     /* of so many events one is of each lane that waits */
    uint32_t passed[BUSBAR_LANE_COUNT]; /* events of more urgent lanes since a waiting lane's last one */
} bb_turns;

/* share: 0 for the default, 32. */
void bb_turns_init(bb_turns *turns, uint32_t share);
/* Nothing was passed over: the next event is the most urgent. */
void bb_turns_reset(bb_turns *turns);

/* The lane to take from. `waiting`: a bit per lane that has an event; not 0. */
busbar_lane bb_turns_choose(const bb_turns *turns, unsigned waiting);
/* So many events of that lane may be taken before it is another's turn; at least 1. */
uint32_t bb_turns_quota(const bb_turns *turns, busbar_lane lane, unsigned waiting);
/* `count` events of the lane were taken while those were waiting. With 0 it is still its turn. */
void bb_turns_took(bb_turns *turns, busbar_lane lane, unsigned waiting, uint32_t count);

#endif
