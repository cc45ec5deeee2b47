/* SPDX-License-Identifier: MIT */
/*
 * Clock fixes: pairs of monotonic and wall time, kept per boot and only ever appended. An event carries monotonic time; its
 * wall time is worked out when it is read, so an event from before the first fix gets its right time once there is one.
 */
#ifndef BB_CLOCK_H
#define BB_CLOCK_H

#include "store.h"

/* What is known of one boot's clock around one instant; kept by a reader for the events next to it. */
typedef struct bb_clock_span {
    int64_t boot;    /* 0: nothing kept */
    int64_t from_ms; /* monotonic: holds for from_ms <= t < until_ms */
    int64_t until_ms;
    int64_t offset_ms; /* wall = monotonic + offset */
    busbar_clock_quality quality;
} bb_clock_span;

/* Appends a fix of this boot if the port's wall time is better known, or otherwise set, than the last fix says. In a scope. */
int bb_clock_note(bb_store *store, const busbar_port *port, int64_t boot);
/* A fix should be noted: the port knows the wall time better than `known`. Cheap; asks the port only. */
bool bb_clock_improved(const busbar_port *port, busbar_clock_quality known);

/* The first instant of a boot that a fix tells of: it ran then already. INT64_MAX: none. */
int bb_clock_first(bb_store *store, int64_t boot, int64_t *out_mono_ms);

/* Wall time of an instant of a boot, by the last fix before it, else the first after it. BUSBAR_TIME_UNKNOWN without any. */
int bb_clock_resolve(bb_store *store, bb_clock_span *span, int64_t boot, int64_t mono_ms, int64_t *out_wall_ms,
                     busbar_clock_quality *out_quality);

#endif
