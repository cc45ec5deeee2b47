/* SPDX-License-Identifier: MIT */
/* A VFS over the default one that knows what has reached the medium: it counts syncs, and bytes written since the last. */
#ifndef BUSBAR_SYNC_VFS_H
#define BUSBAR_SYNC_VFS_H

#include <stdint.h>

#define SYNC_VFS_NAME "sync-counting"

typedef struct sync_counts {
    int64_t syncs;          /* of all files */
    int64_t unsynced_bytes; /* written to a WAL or database and not synced since */
} sync_counts;

/* Registers it (once). Connections opened by its name are counted together. */
void sync_vfs_register(void);
void sync_vfs_reset(void);
sync_counts sync_vfs_counts(void);

#endif
