/* SPDX-License-Identifier: MIT */
/*
 * A VFS over the default one that knows what has reached the medium: it counts syncs, bytes written since the last, and
 * what is written to the database file without the write lock (in WAL mode: by a checkpoint that commits can overtake).
 */
#ifndef BUSBAR_SYNC_VFS_H
#define BUSBAR_SYNC_VFS_H

#include <stdint.h>

#define SYNC_VFS_NAME "sync-counting"

typedef struct sync_counts {
    int64_t syncs;           /* of all files */
    int64_t written_bytes;   /* to a WAL, journal or database */
    int64_t unsynced_bytes;  /* written to one of these and not synced since */
    int64_t database_writes; /* to the database file itself */
    int64_t unlocked_writes; /* of these, while no connection held the WAL's write lock */
} sync_counts;

/* Registers it (once). Connections opened by its name are counted together. */
void sync_vfs_register(void);
void sync_vfs_reset(void);
sync_counts sync_vfs_counts(void);

#endif
