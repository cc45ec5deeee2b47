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
    case BUSBAR_STATE_SCHEDULED:
        break;
    }
    return OUT_PLAIN;
}

static void add_time(json_writer *out, const char *key, int64_t time_ms)
{
    if (time_ms == BUSBAR_TIME_UNKNOWN)
        json_null(out, key);
    else
        json_int(out, key, time_ms);
}

void standing_members(json_writer *out, const busbar_standing *standing)
{
    json_text(out, "consumer", standing->consumer);
    json_text(out, "state", busbar_state_name(standing->state));
    json_int(out, "attempts", standing->attempts);
    json_text(out, "reason", standing->reason);
    add_time(out, "first_ms", standing->first_ms);
    add_time(out, "last_ms", standing->last_ms);
}

void standing_cells(const busbar_standing *standing, standing_texts *texts, table_cell *out_cells)
{
    snprintf(texts->attempts, sizeof texts->attempts, "%" PRIu32, standing->attempts);
    texts->last_failure = human_time(standing->last_ms);
    out_cells[0] = (table_cell){busbar_state_name(standing->state), state_style(standing->state)};
    out_cells[1] = (table_cell){texts->attempts, OUT_PLAIN};
    out_cells[2] = (table_cell){texts->last_failure.text, OUT_PLAIN};
    out_cells[3] = (table_cell){standing->reason, OUT_PLAIN};
}
