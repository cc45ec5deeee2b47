/* SPDX-License-Identifier: MIT */
#include "history.h"

#include <stdlib.h>
#include <string.h>

uint64_t history_id(const char *text)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return hash;
}

void history_note(seen_list *list, uint64_t id, uint64_t op)
{
    if (list->count == HISTORY_MAX)
        abort(); /* the workload has outgrown its lists */
    list->at[list->count++] = (seen){.id = id, .op = op};
}

bool history_has(const seen_list *list, size_t first, uint64_t id, uint64_t op)
{
    for (size_t i = first; i < list->count && list->at[i].op <= op; i++)
        if (list->at[i].id == id)
            return true;
    return false;
}

void history_commit(history *h, size_t rows, uint64_t op)
{
    if (h->commit_count == HISTORY_MAX)
        abort();
    h->commits[h->commit_count++] = (commit){.rows = rows, .op = op};
}

static void inherit(seen_list *list, const seen_list *from, uint64_t op)
{
    for (size_t i = 0; i < from->count && from->at[i].op <= op; i++)
        history_note(list, from->at[i].id, 0);
}

void history_inherit(history *h, const history *from, uint64_t op)
{
    h->row_count = h->commit_count = 0;
    h->told.count = h->given.count = h->handled.count = h->acknowledged.count = h->gaps.count = 0;
    h->migrated_op = UINT64_MAX;
    inherit(&h->told, &from->told, op);
    inherit(&h->given, &from->given, op);
    h->given_before = h->given.count;
    inherit(&h->handled, &from->handled, op);
    inherit(&h->acknowledged, &from->acknowledged, op);
    inherit(&h->gaps, &from->gaps, op);
}
