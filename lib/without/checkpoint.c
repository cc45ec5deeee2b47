/* SPDX-License-Identifier: MIT */
/* Without checkpoints of its own: SQLite's, which have no race since 3.51.3, do. */
#include "checkpoint.h"

#include "absent.h"

bool bb_checkpoint_guards(int version)
{
    (void)version;
    return false;
}

int bb_checkpoint_init(bb_checkpoint *checkpoint, bb_store *store, sqlite3 *db, uint64_t max_bytes)
{
    (void)max_bytes;
    *checkpoint = (bb_checkpoint){.db = db, .pages = BB_CHECKPOINT_PAGES};
    return db ? bb_store_fail(store, BUSBAR_ENOTSUP, BB_ABSENT("options.checkpoint_db", "checkpoints")) : BUSBAR_OK;
}

uint32_t bb_checkpoint_pending(const bb_checkpoint *checkpoint)
{
    (void)checkpoint;
    return 0;
}

int bb_checkpoint_run(const bb_checkpoint *checkpoint, bb_store *store, bool *out_done)
{
    (void)checkpoint;
    (void)store;
    *out_done = true;
    return BUSBAR_OK;
}
