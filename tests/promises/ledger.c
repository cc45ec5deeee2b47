/* SPDX-License-Identifier: MIT */
#include "ledger.h"

#include <stdlib.h>
#include <string.h>

#include "test.h"

#define GAP_IDS_FIRST 1024

void ledger_open(ledger *l, int64_t capacity)
{
    memset(l, 0, sizeof *l);
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        l->lanes[lane].capacity = capacity;
        l->lanes[lane].came = calloc((size_t)capacity / 8 + 1, 1);
        l->lanes[lane].told = calloc((size_t)capacity / 8 + 1, 1);
        assert_true(l->lanes[lane].came && l->lanes[lane].told);
    }
    l->gap_capacity = GAP_IDS_FIRST;
    l->gap_ids = calloc(l->gap_capacity, sizeof *l->gap_ids);
    assert_non_null(l->gap_ids);
}

void ledger_close(ledger *l)
{
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        free(l->lanes[lane].came);
        free(l->lanes[lane].told);
    }
    free(l->gap_ids);
}

static bool has(const uint8_t *bits, int64_t at)
{
    return (bits[at / 8] >> (at % 8) & 1) != 0;
}

static void set(uint8_t *bits, int64_t at)
{
    bits[at / 8] |= (uint8_t)(1u << (at % 8));
}

void ledger_event(ledger *l, int lane, int64_t seq)
{
    ledger_lane *book = &l->lanes[lane];
    assert_in_range(seq, 1, book->capacity);
    if (has(book->came, seq)) {
        l->again_count++;
        return;
    }
    set(book->came, seq);
    book->came_count++;
    if (seq < book->last)
        l->disordered_count++;
    else
        book->last = seq;
}

/* ---- Gaps ---- */

static uint64_t hash_of(const char *text)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
    return hash ? hash : 1;
}

/* Where it is, or would be. */
static uint64_t *place_of(const ledger *l, uint64_t hash)
{
    size_t at = (size_t)(hash % l->gap_capacity);
    while (l->gap_ids[at] != 0 && l->gap_ids[at] != hash)
        at = (at + 1) % l->gap_capacity;
    return &l->gap_ids[at];
}

static void grow(ledger *l)
{
    ledger larger = *l;
    larger.gap_capacity *= 2;
    larger.gap_ids = calloc(larger.gap_capacity, sizeof *larger.gap_ids);
    assert_non_null(larger.gap_ids);
    for (size_t i = 0; i < l->gap_capacity; i++) {
        if (l->gap_ids[i] != 0)
            *place_of(&larger, l->gap_ids[i]) = l->gap_ids[i];
    }
    free(l->gap_ids);
    *l = larger;
}

bool ledger_knows_gap(const ledger *l, const char *id)
{
    return *place_of(l, hash_of(id)) != 0;
}

void ledger_gap(ledger *l, int lane, const char *id, int64_t first, int64_t last, int64_t count)
{
    ledger_lane *book = &l->lanes[lane];
    assert_in_range(first, 1, last);
    assert_in_range(last, first, book->capacity);
    assert_in_range(count, 1, last - first + 1);
    if (ledger_knows_gap(l, id)) {
        l->again_count++;
        return;
    }
    if (l->gap_ids_count * 2 >= l->gap_capacity)
        grow(l);
    *place_of(l, hash_of(id)) = hash_of(id);
    l->gap_ids_count++;
    book->gap_count++;
    book->lost_count += count;
    for (int64_t seq = first; seq <= last; seq++)
        set(book->told, seq);
}

bool ledger_came(const ledger *l, int lane, int64_t seq)
{
    return has(l->lanes[lane].came, seq);
}

bool ledger_told(const ledger *l, int lane, int64_t seq)
{
    return has(l->lanes[lane].told, seq);
}
