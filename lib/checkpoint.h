/* SPDX-License-Identifier: MIT */
/*
 * Checkpoints around SQLite's WAL-reset race: up to 3.51.2, a checkpoint can take what another connection commits for
 * already copied, if that commit began the WAL anew meanwhile. Here no commit can come between: the write lock is held by
 * the bus's connection while a second one copies.
 */
#ifndef BB_CHECKPOINT_H
#define BB_CHECKPOINT_H

#include "store.h"

/* Half of SQLite's own limit: a worker that keeps up leaves the application's autocheckpoint nothing to do. */
#define BB_CHECKPOINT_PAGES 500u
/* With a limit on the file and its WAL, a sixteenth of it, if that is less: a quarter is set aside for the WAL. */
#define BB_CHECKPOINT_PART 16u

/*
 * More than this (a reader held the WAL, or a crash left it) would keep the write lock for long: some 9 ms per 1,000 pages
 * were measured. It is copied without the lock once, with what is left of the race's risk.
 */
#define BB_CHECKPOINT_LOCKED_MAX 4000u

typedef struct bb_checkpoint {
    sqlite3 *db;        /* the second connection; NULL: checkpoints are left to SQLite */
    sqlite3_file *file; /* its database file, whose shared index tells how long the WAL is */
    uint32_t pages;     /* in the WAL: then it is time */
} bb_checkpoint;

#define BB_CHECKPOINT_RACE_FIRST 3007000
#define BB_CHECKPOINT_RACE_LAST  3051002

/* The race is in this version of SQLite (a number as of sqlite3_libversion_number). */
static inline bool bb_checkpoint_racing(int version)
{
    return version >= BB_CHECKPOINT_RACE_FIRST && version <= BB_CHECKPOINT_RACE_LAST;
}

/* And this library keeps clear of it. */
bool bb_checkpoint_guards(int version);

/*
 * Takes `db` into use if SQLite has the race and the database is in WAL mode; reads from it once. `max_bytes` is the limit on
 * the file and its WAL; 0: none. Returns BUSBAR_OK, or the code of that reading.
 */
int bb_checkpoint_init(bb_checkpoint *checkpoint, bb_store *store, sqlite3 *db, uint64_t max_bytes);

/* Pages of the WAL that are not in the database file yet; 0 if it cannot be told. Costs no system call. */
uint32_t bb_checkpoint_pending(const bb_checkpoint *checkpoint);

/*
 * Copies what no reader needs any more from the WAL to the database file. Outside any transaction. *out_done: all of it was
 * copied. Holds the write lock, but for a large backlog. Returns BUSBAR_OK, also when another connection is at it; BUSBAR_ELOCKED, BUSBAR_EFULL, BUSBAR_EIO ….
 */
int bb_checkpoint_run(const bb_checkpoint *checkpoint, bb_store *store, bool *out_done);

#endif
