/* SPDX-License-Identifier: MIT */
#include "watermark.h"

#include <string.h>

#include "log.h"

/* One look for both: workers take it in every turn. */
static const char READ[] =
    "SELECT watermark_normal, watermark_urgent, watermark_bulk, (SELECT max(seq) FROM main.busbar_log_normal),"
    " (SELECT max(seq) FROM main.busbar_log_urgent), (SELECT max(seq) FROM main.busbar_log_bulk)"
    " FROM main.busbar_meta WHERE id = 1";
static const char WRITE[] =
    "UPDATE main.busbar_meta SET watermark_normal = ?1, watermark_urgent = ?2, watermark_bulk = ?3"
    " WHERE id = 1";

int bb_watermark_read(bb_store *store, int64_t out_watermark[BUSBAR_LANE_COUNT], int64_t out_heads[BUSBAR_LANE_COUNT])
{
    sqlite3_stmt *stmt;
    int result = bb_store_prepare(store, READ, &stmt);
    if (result == BUSBAR_OK)
        result = bb_store_step(store, stmt);
    if (result < 0)
        return result;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        out_watermark[lane] = result == BB_ROW ? bb_column_integer(store, stmt, lane) : 0;
        out_heads[lane] = result == BB_ROW ? bb_column_integer(store, stmt, BUSBAR_LANE_COUNT + lane) : 0;
    }
    bb_store_end(store, stmt);
    return BUSBAR_OK;
}

int bb_watermark_raise(bb_store *store, int64_t out_watermark[BUSBAR_LANE_COUNT])
{
    int64_t heads[BUSBAR_LANE_COUNT];
    int result = bb_store_begin_synced(store);
    if (result < 0)
        return result;
    result = bb_log_heads(store, heads);
    if (result == BUSBAR_OK)
        result = bb_store_change(store, WRITE, heads, BUSBAR_LANE_COUNT);
    result = bb_store_finish(store, result);
    if (result == BUSBAR_OK)
        memcpy(out_watermark, heads, sizeof heads);
    return result;
}
