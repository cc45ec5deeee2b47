/* SPDX-License-Identifier: MIT */
#include "ahead.h"

#include <stdlib.h>

#include "record.h"

void bb_ahead_clear(bb_ahead *ahead)
{
    ahead->next = 0;
    ahead->count = 0;
    ahead->used_bytes = 0;
}

void bb_ahead_fini(bb_ahead *ahead)
{
    bb_ahead_clear(ahead);
    free(ahead->arena);
    ahead->arena = NULL;
}

bool bb_ahead_add(bb_ahead *ahead, const busbar_record *record)
{
    size_t size = bb_record_size(record);
    if (ahead->count == BB_AHEAD_EVENTS || size > BB_AHEAD_BYTES - ahead->used_bytes)
        return false;
    if (!ahead->arena)
        ahead->arena = malloc(BB_AHEAD_BYTES);
    if (!ahead->arena)
        return false;
    ahead->lane = record->lane;
    bb_record_place(record, ahead->arena + ahead->used_bytes, &ahead->records[ahead->count]);
    ahead->used_bytes += size;
    ahead->count++;
    return true;
}

const busbar_record *bb_ahead_take(bb_ahead *ahead, busbar_lane lane)
{
    if (ahead->next < ahead->count && ahead->lane == lane)
        return &ahead->records[ahead->next++];
    bb_ahead_clear(ahead);
    return NULL;
}
