/* SPDX-License-Identifier: MIT */
#include "poison.h"

static const char ENDS[] = "SELECT ends FROM main.busbar_suspect WHERE consumer = ?1 AND lane = ?2 AND seq = ?3";
static const char MARK[] = "INSERT INTO main.busbar_suspect (consumer, lane, seq, ends) VALUES (?1, ?2, ?3, 1)"
                           " ON CONFLICT (consumer, lane, seq) DO UPDATE SET ends = ends + 1";
static const char POINT[] = "UPDATE main.busbar_consumer SET suspect_lane = ?2, suspect_seq = ?3 WHERE id = ?1";
#define THE_SUSPECT                                                                                                    \
    " WHERE consumer = ?1 AND lane = (SELECT suspect_lane FROM main.busbar_consumer WHERE id = ?1)"                    \
    " AND seq = (SELECT suspect_seq FROM main.busbar_consumer WHERE id = ?1)"
static const char UNMARK[] = "DELETE FROM main.busbar_suspect" THE_SUSPECT;
static const char WITHDRAW[] = "UPDATE main.busbar_suspect SET ends = ends - 1" THE_SUSPECT " AND ends > 0";
/* What a person dropped, or nobody needs any more, was never finished by its worker. */
static const char TIDY[] =
    "DELETE FROM main.busbar_suspect WHERE consumer = ?1 AND (ends = 0 OR (seq <= (SELECT c.cursor FROM"
    " main.busbar_cursor AS c WHERE c.consumer = ?1 AND c.lane = busbar_suspect.lane) AND NOT EXISTS (SELECT 1 FROM"
    " main.busbar_exception AS e WHERE e.consumer = ?1 AND e.lane = busbar_suspect.lane AND e.seq = "
    "busbar_suspect.seq)))";
static const char FORGET[] = "DELETE FROM main.busbar_suspect WHERE consumer = ?1";

int bb_poison_mark(bb_store *store, int64_t consumer, busbar_lane lane, int64_t seq, int64_t *out_ends)
{
    int64_t values[] = {consumer, (int64_t)lane, seq};
    int64_t ends = 0;
    int result = bb_store_integer(store, ENDS, values, 3, &ends);
    if (result < 0)
        return result;
    result = ends == 0 ? bb_store_change(store, TIDY, &consumer, 1) : BUSBAR_OK;
    if (result == BUSBAR_OK)
        result = bb_store_change(store, MARK, values, 3);
    if (result == BUSBAR_OK)
        result = bb_store_change(store, POINT, values, 3);
    if (result == BUSBAR_OK)
        *out_ends = ends;
    return result;
}

int bb_poison_unmark(bb_store *store, int64_t consumer)
{
    return bb_store_change(store, UNMARK, &consumer, 1);
}

int bb_poison_withdraw(bb_store *store, int64_t consumer)
{
    return bb_store_change(store, WITHDRAW, &consumer, 1);
}

int bb_poison_forget(bb_store *store, int64_t consumer)
{
    return bb_store_change(store, FORGET, &consumer, 1);
}
