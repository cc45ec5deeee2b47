/* SPDX-License-Identifier: MIT */
#include "retain.h"

#include "consumer.h"
#include "given.h"
#include "log.h"

/* Rows that must have gathered before a commit is spent on them. */
#define GATHERED_ROWS 256u

/*
 * No more once the write lock was held so long. Large rows take long to delete: a few first, and more at a time as long as
 * that goes fast.
 */
#define STEP_US        1000u
#define FAST_US        100u
#define CHUNK_ROWS     8u
#define CHUNK_ROWS_MAX 32u

/* How many rows of a lane may go, and up to where. */
static int measure_lane(bb_store *store, busbar_lane lane, int64_t head, uint32_t keep, int64_t *out_until,
                        int64_t *out_count)
{
    int64_t floor = 0;
    int64_t first = 0;
    int result = bb_consumer_floor(store, lane, &floor);
    if (result == BUSBAR_OK)
        result = bb_log_first(store, lane, &first);
    if (result < 0)
        return result;
    bool unconsumed = floor == INT64_MAX;
    int64_t oldest_kept = head - (int64_t)keep;
    *out_until = floor < oldest_kept ? floor : oldest_kept;
    *out_count = unconsumed || first == 0 ? 0 : *out_until - first + 1;
    return BUSBAR_OK;
}

static int prune_rows(bb_store *store, busbar_lane lane, int64_t until)
{
    int64_t gone = 0;
    uint32_t rows = CHUNK_ROWS;
    uint64_t held_us = bb_store_held_us(store);
    int result;
    do {
        uint64_t before_us = held_us;
        result = bb_log_prune(store, lane, until, rows, &gone);
        held_us = bb_store_held_us(store);
        if (held_us - before_us < FAST_US && rows < CHUNK_ROWS_MAX)
            rows *= 2;
    } while (result == BUSBAR_OK && gone > 0 && held_us < STEP_US);
    return result;
}

/* Measures again under the write lock: a consumer may have been registered meanwhile. */
static int prune_lane(bb_store *store, busbar_lane lane, int64_t head, uint32_t keep)
{
    int64_t until = 0;
    int64_t count = 0;
    int result = bb_store_begin(store);
    if (result < 0)
        return result;
    result = measure_lane(store, lane, head, keep, &until, &count);
    if (result == BUSBAR_OK && count > 0)
        result = prune_rows(store, lane, until);
    return bb_store_finish(store, result);
}

static int prune_ids(bb_store *store, uint32_t keep, bool *out_more)
{
    bool exceeds = false;
    int result = bb_given_exceeds(store, keep, GATHERED_ROWS, &exceeds);
    if (result < 0 || !exceeds)
        return result;
    result = bb_store_begin(store);
    if (result < 0)
        return result;
    result = bb_given_prune(store, keep, GATHERED_ROWS);
    result = bb_store_finish(store, result);
    *out_more = result == BUSBAR_OK;
    return result;
}

/* ---- Dead letters ---- */

static int forget_dead(bb_store *store, const bb_dead_choice *choice, bb_account accounts[BUSBAR_LANE_COUNT])
{
    bb_exception_key key = {.n = 0};
    int result;
    while ((result = bb_exception_next_dead(store, choice, key.n, &key)) == BB_ROW) {
        result = bb_exception_forget(store, key.n);
        if (result == BUSBAR_OK && (unsigned)key.lane < BUSBAR_LANE_COUNT)
            accounts[key.lane].dropped++;
        if (result < 0 || bb_store_held_us(store) >= STEP_US)
            break;
    }
    return result < 0 ? result : BUSBAR_OK;
}

static int prune_chosen(bb_store *store, const bb_dead_choice *choice)
{
    bb_account accounts[BUSBAR_LANE_COUNT] = {{.dropped = 0}};
    int result = bb_store_begin(store);
    if (result < 0)
        return result;
    result = forget_dead(store, choice, accounts);
    for (int lane = 0; result == BUSBAR_OK && lane < BUSBAR_LANE_COUNT; lane++) {
        if (accounts[lane].dropped > 0)
            result = bb_consumer_account(store, choice->consumer, (busbar_lane)lane, &accounts[lane]);
    }
    return bb_store_finish(store, result);
}

/* A few more than may stay are let gather, where that is little against those that stay. */
static int choose_beyond(bb_store *store, const bb_keep *keep, bb_dead_choice *choice)
{
    uint32_t slack = keep->dead / 8 < GATHERED_ROWS ? keep->dead / 8 : GATHERED_ROWS;
    uint32_t limit = keep->dead < UINT32_MAX - slack ? keep->dead + slack : UINT32_MAX;
    int64_t until = 0;
    int result = bb_exception_beyond(store, choice->consumer, limit, &until);
    if (result == BUSBAR_OK && until != 0)
        result = bb_exception_beyond(store, choice->consumer, keep->dead, &choice->until);
    return result;
}

/* Of the first consumer that has some to be forgotten. */
static int prune_dead(bb_store *store, const bb_keep *keep, bool *out_more)
{
    bb_consumer_view view = {.name = ""};
    int result;
    while ((result = bb_consumer_next(store, view.name, &view)) == BB_ROW) {
        bb_dead_choice choice = {.consumer = view.id};
        result = choose_beyond(store, keep, &choice);
        if (result == BUSBAR_OK && choice.until == 0)
            result = bb_retain_choose_old(store, keep, &choice);
        if (result < 0)
            return result;
        if (choice.until == 0 && choice.boot == 0)
            continue;
        result = prune_chosen(store, &choice);
        *out_more = result == BUSBAR_OK;
        return result;
    }
    return result;
}

/* ---- All of it ---- */

int bb_retain_step(bb_store *store, const bb_keep *keep, bool *out_more)
{
    int64_t heads[BUSBAR_LANE_COUNT];
    *out_more = false;
    int result = bb_log_heads(store, heads);
    for (int i = 0; result == BUSBAR_OK && i < BUSBAR_LANE_COUNT; i++) {
        busbar_lane lane = bb_lane_order[i];
        int64_t until = 0;
        int64_t count = 0;
        result = measure_lane(store, lane, heads[lane], keep->events, &until, &count);
        if (result < 0 || count < GATHERED_ROWS)
            continue;
        result = prune_lane(store, lane, heads[lane], keep->events);
        *out_more = result == BUSBAR_OK;
        return result;
    }
    if (result == BUSBAR_OK)
        result = prune_ids(store, keep->ids, out_more);
    return result < 0 || *out_more ? result : prune_dead(store, keep, out_more);
}
