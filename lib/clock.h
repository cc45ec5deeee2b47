/* SPDX-License-Identifier: MIT */
/*
 * Clock fixes: pairs of monotonic and wall time, kept per boot and only ever appended. An event carries monotonic time; its
 * wall time is worked out when it is read, so an event from before the first fix gets its right time once there is one, and
 * one that was published under a doubtful clock gets a better time once there is a trusted fix of its boot.
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
    int64_t drift_ms;  /* and so much more by until_ms, bit by bit */
    busbar_clock_quality quality;
} bb_clock_span;

/* What a handle knows of the fixes of its own boot. */
typedef struct bb_clock_watch {
    bool looked; /* what follows was read in a committed state */
    busbar_clock_quality quality;
    int64_t mono_ms;
    int64_t offset_ms;
    int64_t crowd_ms; /* some fixes before the last one, there was this one, monotonic */
    bool trusted;     /* trusted wall time was seen since opening: wall = monotonic + least_ms or more */
    int64_t least_ms;
    int64_t ask_ms; /* a publisher asks the port again then, monotonic */
} bb_clock_watch;

/* What the trusted fixes of one boot agree on. */
typedef struct bb_clock_range {
    int64_t boot; /* 0: nothing kept */
    bool apart;   /* it is a run of the machine of its own: none of another boot was at the same time */
    bool trusted; /* there are some */
    int64_t least_ms;
    int64_t most_ms;
    int64_t last_ms; /* the boot has lasted until then at least, monotonic; 0: not known */
} bb_clock_range;

/* The port's wall time; UNKNOWN also for one that cannot be (before 1970, after 9999). *out_ms is then 0. */
busbar_clock_quality bb_clock_wall(const busbar_port *port, int64_t *out_ms);

/* A fix should be noted in a commit of its own: the wall time is better known than the fixes say, or was stepped. */
bool bb_clock_due(bb_clock_watch *watch, const busbar_port *port, int64_t now_ms);
/* A fix should be noted in a commit that is made anyway: the clocks have drifted apart. Mostly asks nobody. */
bool bb_clock_drifted(const bb_clock_watch *watch, const busbar_port *port, int64_t now_ms);
/* Reads the last fix of the boot. Outside of a transaction that has written one. */
int bb_clock_look(bb_clock_watch *watch, bb_store *store, int64_t boot);
/* Appends a fix of this boot for any of these reasons, if there is one. In a scope. */
int bb_clock_note(bb_store *store, const busbar_port *port, int64_t boot);

/* The first instant of a boot that a fix tells of: it ran then already. INT64_MAX: none. */
int bb_clock_first(bb_store *store, int64_t boot, int64_t *out_mono_ms);

/* Wall time of an instant of a boot, by its fixes; trusted ones win. BUSBAR_TIME_UNKNOWN without any. */
int bb_clock_resolve(bb_store *store, bb_clock_span *span, int64_t boot, int64_t mono_ms, int64_t *out_wall_ms,
                     busbar_clock_quality *out_quality);

int bb_clock_range_read(bb_store *store, int64_t boot, bb_clock_range *out_range);
/* The earliest instant that is stored of a boot, monotonic. BB_ROW, or BUSBAR_OK: none. Looks at every session. */
int bb_clock_began(bb_store *store, int64_t boot, int64_t *out_mono_ms);

#endif
