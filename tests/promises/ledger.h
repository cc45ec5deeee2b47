/* SPDX-License-Identifier: MIT */
/*
 * The books of a receiver: which positions of each lane have come, which a gap has told of, and whether the order held.
 * Knows no bus: what it enters are positions and ids.
 */
#ifndef BUSBAR_LEDGER_H
#define BUSBAR_LEDGER_H

#include <busbar/busbar.h>

typedef struct ledger_lane {
    uint8_t *came; /* a bit per position */
    uint8_t *told;
    int64_t capacity;
    int64_t last;       /* the highest position that came */
    int64_t came_count; /* each position once */
    int64_t lost_count; /* as told, each gap once */
    int64_t gap_count;  /* each once */
} ledger_lane;

typedef struct ledger {
    ledger_lane lanes[BUSBAR_LANE_COUNT];
    uint64_t *gap_ids; /* hashes of those that came; 0: free */
    size_t gap_capacity;
    size_t gap_ids_count;
    int64_t again_count;      /* events and gaps that came once more */
    int64_t disordered_count; /* events that came for the first time behind a later one */
} ledger;

/* Room for so many positions in each lane. */
void ledger_open(ledger *l, int64_t capacity);
void ledger_close(ledger *l);

void ledger_event(ledger *l, int lane, int64_t seq);
/* Of the positions first … last, `count` were lost. */
void ledger_gap(ledger *l, int lane, const char *id, int64_t first, int64_t last, int64_t count);
bool ledger_knows_gap(const ledger *l, const char *id);

bool ledger_came(const ledger *l, int lane, int64_t seq);
bool ledger_told(const ledger *l, int lane, int64_t seq);

#endif
