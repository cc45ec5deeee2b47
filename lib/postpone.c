/* SPDX-License-Identifier: MIT */
#include "postpone.h"

#include <assert.h>

#include "text.h"

/* "<token>-<lane>l<count>": no derived id looks like it. */
#define ID_SIZE (BB_IDENTITY_TOKEN_SIZE + 24)

int bb_postpone_check(busbar *bus, const busbar_event *event)
{
    bool both = event->delay_ms != 0 && event->not_before_ms != 0;
    if (!both && event->delay_ms <= BB_LATER_MAX_MS && event->not_before_ms >= 0 &&
        event->not_before_ms <= BB_LATER_MAX_MS)
        return BUSBAR_OK;
    return bb_store_fail_plain(&bus->store, BUSBAR_ESCHEDULE);
}

/* An id that is never made again: the count goes on whatever is rolled back, and another session has another token. */
static void make_id(busbar *bus, busbar_lane lane, char out[ID_SIZE])
{
    bb_text text = bb_text_on(out, ID_SIZE);
    bb_text_add(&text, bus->session.token);
    bb_text_add_char(&text, '-');
    bb_text_add_char(&text, busbar_lane_name(lane)[0]);
    bb_text_add_char(&text, 'l');
    bb_text_add_int(&text, ++bus->schedule.id_count);
    assert(bb_text_fits(&text));
}

int bb_postpone(busbar *bus, const busbar_event *event, const bb_log_row *row, uint64_t now_us, int64_t *out_n,
                busbar_id *out_id)
{
    char id[ID_SIZE];
    bb_log_row waiting = *row;
    bb_later_due due = {.ms = event->not_before_ms};
    if (event->delay_ms != 0) {
        due.boot = bus->session.boot;
        due.delay_ms = (int64_t)event->delay_ms;
        due.ms = (int64_t)((now_us + 999) / 1000) + due.delay_ms; /* never early */
    }
    if (!event->id) {
        make_id(bus, event->lane, id);
        waiting.id = id;
    }
    int result = bb_later_add(&bus->store, event->lane, &waiting, &due, out_n);
    if (result < 0)
        return result;
    out_id->lane = event->lane;
    out_id->seq = 0;
    bb_text_copy(out_id->text, sizeof out_id->text, waiting.id);
    return BUSBAR_OK;
}
