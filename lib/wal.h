/* SPDX-License-Identifier: MIT */
/*
 * The WAL as a file that takes up room. SQLite begins it anew when every reader is through, but never makes it shorter by
 * itself: after a long reader it would keep its size for ever.
 */
#ifndef BB_WAL_H
#define BB_WAL_H

#include "store.h"

/*
 * Copies what is in the WAL to the database file, and if that was all, and nobody reads, makes the WAL empty. Waits for
 * nobody: with a reader it does nothing more. Outside any transaction. BUSBAR_OK, whatever became of it; BUSBAR_EIO ….
 */
int bb_wal_cut(bb_store *store);

#endif
