/* SPDX-License-Identifier: MIT */
/*
 * A few events of one lane, read ahead in one scan and copied: a handler may do what it likes on the connection, so no scan
 * stays open while it runs, and opening one for each event would cost more than the event. Bounded by count and bytes.
 */
#ifndef BB_AHEAD_H
#define BB_AHEAD_H

#include <busbar/busbar.h>

#define BB_AHEAD_EVENTS 15u
#define BB_AHEAD_BYTES  4096u

typedef struct bb_ahead {
    busbar_lane lane;
    uint32_t next;
    uint32_t count;
    busbar_record records[BB_AHEAD_EVENTS];
    char *arena; /* what they point to; made with the first */
    size_t used_bytes;
} bb_ahead;

void bb_ahead_fini(bb_ahead *ahead);
/* Forgets what was read: the next event is read anew. */
void bb_ahead_clear(bb_ahead *ahead);
/* Adds a copy of the lane's next event. False: there is no room for it, or no memory. */
bool bb_ahead_add(bb_ahead *ahead, const busbar_record *record);
/* The next event, good until another one is added after clear; NULL: none of this lane is at hand, and none is kept. */
const busbar_record *bb_ahead_take(bb_ahead *ahead, busbar_lane lane);

#endif
