/* SPDX-License-Identifier: MIT */
/*
 * The newest events of all lanes together. The log is read forwards and lane by lane, so finding the last N takes
 * positions first and events second.
 */
#ifndef RECENT_H
#define RECENT_H

#include <busbar/busbar.h>

#define RECENT_MAX 100000

/* Where one event stands. */
typedef struct recent_position {
    busbar_lane lane;
    int64_t seq;
    int64_t time_ms;
} recent_position;

/*
 * Finds the last `count` events of the pattern (NULL: all) at or below the heads in `status`, in order of their time and,
 * within a lane, of the log. *out_positions is to be freed; *out_count is their number. Returns BUSBAR_OK, or the code of
 * what failed.
 */
int recent_find(busbar *bus, const busbar_status *status, const char *pattern, size_t count,
                recent_position **out_positions, size_t *out_count);

#endif
