/* SPDX-License-Identifier: MIT */
/* Pruning beyond what retention does by number: finished events by age and by bytes, and busbar_prune. */
#ifndef BB_PRUNE_H
#define BB_PRUNE_H

#include "handle.h"

/* A bounded number of finished events that options.keep_ms or keep_bytes lets go. Outside any transaction. */
int bb_prune_step(busbar *bus, bool *out_more);

#endif
