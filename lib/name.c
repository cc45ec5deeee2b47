/* SPDX-License-Identifier: MIT */
/* What people read for lanes, clocks and states. */
#include <busbar/busbar.h>

const char *busbar_lane_name(busbar_lane lane)
{
    switch (lane) {
    case BUSBAR_NORMAL:
        return "normal";
    case BUSBAR_URGENT:
        return "urgent";
    case BUSBAR_BULK:
        return "bulk";
    }
    return NULL;
}

const char *busbar_clock_name(busbar_clock_quality quality)
{
    switch (quality) {
    case BUSBAR_CLOCK_UNKNOWN:
        return "unknown";
    case BUSBAR_CLOCK_ESTIMATED:
        return "estimated";
    case BUSBAR_CLOCK_TRUSTED:
        return "trusted";
    }
    return NULL;
}

const char *busbar_state_name(busbar_state state)
{
    switch (state) {
    case BUSBAR_STATE_ANY:
        return "any";
    case BUSBAR_STATE_PENDING:
        return "pending";
    case BUSBAR_STATE_RETRY:
        return "retry";
    case BUSBAR_STATE_DEAD:
        return "dead";
    case BUSBAR_STATE_PARKED:
        return "parked";
    case BUSBAR_STATE_DONE:
        return "done";
    case BUSBAR_STATE_SCHEDULED:
        return "scheduled";
    }
    return NULL;
}
