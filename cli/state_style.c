/* SPDX-License-Identifier: MIT */
#include "state_style.h"

out_style state_style(busbar_state state)
{
    switch (state) {
    case BUSBAR_STATE_DEAD:
        return OUT_BAD;
    case BUSBAR_STATE_RETRY:
    case BUSBAR_STATE_PARKED:
        return OUT_WARNING;
    case BUSBAR_STATE_DONE:
        return OUT_GOOD;
    case BUSBAR_STATE_ANY:
    case BUSBAR_STATE_PENDING:
        break;
    }
    return OUT_PLAIN;
}
