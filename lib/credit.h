/* SPDX-License-Identifier: MIT */
/* What a publisher may write before it looks at the limits again (bound.h). */
#ifndef BB_CREDIT_H
#define BB_CREDIT_H

#include <busbar/busbar.h>

typedef struct bb_bound {
    bool active;        /* there is a limit */
    bool reserved;      /* the reserve is a file of its own (ballast.h) */
    bool freed;         /* room was made, which is to stay although it was not enough */
    int64_t bytes_left; /* may be written before the next look */
    int64_t rows_left;  /* each may cost the WAL some pages, whatever its size */
    int64_t events_left[BUSBAR_LANE_COUNT];
    uint32_t version[BUSBAR_LANE_COUNT]; /* of the data at the last look: what others write counts into a lane, too */
    uint64_t reserve_due_us;             /* the reserve is not tried to be taken before */
    uint64_t reserve_wait_us;
} bb_bound;

#endif
