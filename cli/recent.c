/* SPDX-License-Identifier: MIT */
#include "recent.h"

#include "buffer.h"

#include <stdlib.h>

#define WIDEN_BY 16 /* how much further back to look when a pattern left too few events */

/* The last positions seen in one lane. */
typedef struct ring {
    recent_position *items;
    size_t size;
    uint64_t seen;
} ring;

typedef struct search {
    const busbar_status *status;
    ring lanes[BUSBAR_LANE_COUNT];
} search;

static int keep(const busbar_record *event, const busbar_standing *standing, void *ctx)
{
    search *self = ctx;
    ring *lane = &self->lanes[event->lane];
    (void)standing;
    if (event->seq > self->status->head[event->lane])
        return 0; /* came after the search began; following shows it */
    lane->items[lane->seen++ % lane->size] = (recent_position){event->lane, event->seq, event->time_ms};
    return 0;
}

static size_t ring_count(const ring *lane)
{
    return lane->seen < lane->size ? (size_t)lane->seen : lane->size;
}

/* The item that is `back` places before the newest one. */
static const recent_position *ring_item(const ring *lane, size_t back)
{
    return &lane->items[(lane->seen - 1 - back) % lane->size];
}

/* Takes the newest event of all lanes, `used` being how many of each are taken already. NULL: there are no more. */
static const recent_position *take_newest(const search *self, size_t *used)
{
    const recent_position *newest = NULL;
    for (size_t i = 0; i < BUSBAR_LANE_COUNT; i++) {
        if (used[i] == ring_count(&self->lanes[i]))
            continue;
        const recent_position *item = ring_item(&self->lanes[i], used[i]);
        if (newest == NULL || item->time_ms > newest->time_ms)
            newest = item;
    }
    if (newest != NULL)
        used[newest->lane]++;
    return newest;
}

/* Looks through the last `depth` positions of each lane. */
static int scan(busbar *bus, search *self, const char *pattern, int64_t depth)
{
    busbar_query query = {.size = sizeof query, .pattern = pattern};
    for (size_t i = 0; i < BUSBAR_LANE_COUNT; i++) {
        self->lanes[i].seen = 0;
        query.after_seq[i] = self->status->head[i] > depth ? self->status->head[i] - depth : 0;
    }
    return busbar_list(bus, &query, keep, self);
}

/* Every lane must have been looked through deep enough: the newest events may all be in one of them. */
static bool is_enough(const search *self, size_t count, int64_t depth)
{
    for (size_t i = 0; i < BUSBAR_LANE_COUNT; i++) {
        bool whole = self->status->first[i] == 0 || self->status->head[i] - depth < self->status->first[i];
        if (!whole && self->lanes[i].seen < count)
            return false;
    }
    return true;
}

static int find(busbar *bus, search *self, const char *pattern, size_t count)
{
    for (int64_t depth = (int64_t)count;; depth *= WIDEN_BY) {
        int code = scan(bus, self, pattern, depth);
        if (code != BUSBAR_OK || is_enough(self, count, depth))
            return code;
    }
}

/* Takes the newest `count` events of what was found, the newest one last. Returns how many there are. */
static size_t take(const search *self, size_t count, recent_position *out)
{
    size_t used[BUSBAR_LANE_COUNT] = {0};
    size_t taken = 0;
    const recent_position *item;
    while (taken < count && (item = take_newest(self, used)) != NULL)
        out[taken++] = *item;
    for (size_t i = 0; i < taken / 2; i++) {
        recent_position swap = out[i];
        out[i] = out[taken - 1 - i];
        out[taken - 1 - i] = swap;
    }
    return taken;
}

int recent_find(busbar *bus, const busbar_status *status, const char *pattern, size_t count,
                recent_position **out_positions, size_t *out_count)
{
    search self = {.status = status};
    for (size_t i = 0; i < BUSBAR_LANE_COUNT; i++)
        self.lanes[i] = (ring){memory_new(count * sizeof(recent_position)), count, 0};
    int code = count > 0 ? find(bus, &self, pattern, count) : BUSBAR_OK;
    if (code == BUSBAR_OK) {
        *out_positions = memory_new(count * sizeof(recent_position));
        *out_count = take(&self, count, *out_positions);
    }
    for (size_t i = 0; i < BUSBAR_LANE_COUNT; i++)
        free(self.lanes[i].items);
    return code;
}
