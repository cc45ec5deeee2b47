/* SPDX-License-Identifier: MIT */
/* Inline handlers: run inside busbar_publish, in the publisher's transaction, and may refuse the event. */
#ifndef BB_INLINE_H
#define BB_INLINE_H

#include "handle.h"

typedef struct bb_inline bb_inline;

/* Makes one of a checked handler; the caller hands it to the bus or frees it. BUSBAR_EFILTER, BUSBAR_ENOMEM. */
int bb_inline_new(busbar *bus, const busbar_handler *handler, bb_inline **out_inline);
/* Chains them behind those that are there: they run in the order of registration. */
void bb_inline_append(bb_inline **chain, bb_inline *handlers);
void bb_inline_free_all(bb_inline *handlers);
bool bb_inline_named(const bb_inline *handlers, const char *name);

/*
 * Runs those that want the event that was just appended. In the scope that appended it. BUSBAR_OK, or BUSBAR_EREFUSED with
 * the reason in the detail; BUSBAR_EMISUSE if they publish each other's events too deep.
 */
int bb_inline_run(busbar *bus, busbar_lane lane, int64_t seq);
/* The same for the event that was just put off to later: they see it once, now, with position 0. */
int bb_inline_run_later(busbar *bus, busbar_lane lane, int64_t n);

#endif
