/* SPDX-License-Identifier: MIT */
/* The watermark: up to where the log would survive a power cut. Raised to the head by one synced commit. */
#ifndef BB_WATERMARK_H
#define BB_WATERMARK_H

#include "store.h"

/* The watermark and the positions of the newest rows (0: never any), indexed by lane. */
int bb_watermark_read(bb_store *store, int64_t out_watermark[BUSBAR_LANE_COUNT], int64_t out_heads[BUSBAR_LANE_COUNT]);
/* Raises it to the head of every lane. Outside any transaction. The outputs are set only after the sync. */
int bb_watermark_raise(bb_store *store, int64_t out_watermark[BUSBAR_LANE_COUNT]);

#endif
