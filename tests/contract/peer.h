/* SPDX-License-Identifier: MIT */
/*
 * Another process that writes to a database: forked, told what to do over a pipe, with a connection of its own. It uses
 * SQLite only. Fork it before this process opens the database itself.
 */
#ifndef PEER_H
#define PEER_H

#include <stdbool.h>
#include <stdint.h>

#include <sqlite3.h>

typedef struct peer peer;

typedef struct peer_options {
    const char *path;
    bool full_sync;        /* synchronous FULL: the log is synced before the commit becomes visible */
    uint32_t slow_sync_us; /* each sync of the log takes at least so long, as on a memory card; 0: as it is */
} peer_options;

/* Makes the database with an empty table `log(seq INTEGER PRIMARY KEY, at_us INTEGER)`, in the journal mode named. */
void peer_make_database(const char *path, const char *journal_mode);
/* The newest row of the log, 0 if there is none. */
int64_t peer_last_seq(sqlite3 *db);

peer *peer_start(const peer_options *options);
void peer_stop(peer *it);

/* Opens and closes the peer's connection; both return when it is done. */
void peer_connect(peer *it);
void peer_disconnect(peer *it);

/* Commits one row. The first returns at once, the second when the commit has returned in the peer. */
void peer_commit_soon(peer *it);
void peer_commit(peer *it);
/* Waits for what peer_commit_soon began; returns the peer's time (scratch_now_us) just before its commit. */
uint64_t peer_finish(peer *it);

#endif
