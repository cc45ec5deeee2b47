/* SPDX-License-Identifier: MIT */
#include "standing.h"

#include <inttypes.h>
#include <stdio.h>

static out_style state_style(busbar_state state)
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

void standing_members(json_writer *out, const busbar_standing *standing)
{
    json_text(out, "consumer", standing->consumer);
    json_text(out, "state", busbar_state_name(standing->state));
    json_int(out, "attempts", standing->attempts);
    json_text(out, "reason", standing->reason);
}

void standing_cells(const busbar_standing *standing, char attempts[STANDING_ATTEMPTS_SIZE], table_cell *out_cells)
{
    snprintf(attempts, STANDING_ATTEMPTS_SIZE, "%" PRIu32, standing->attempts);
    out_cells[0] = (table_cell){busbar_state_name(standing->state), state_style(standing->state)};
    out_cells[1] = (table_cell){attempts, OUT_PLAIN};
    out_cells[2] = (table_cell){standing->reason, OUT_PLAIN};
}
