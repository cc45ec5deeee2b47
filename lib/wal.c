/* SPDX-License-Identifier: MIT */
#include "wal.h"

#include <string.h>

/* The locks of readers in the shared memory (sqlite.org, "WAL-mode File Format", section 2.3). */
#define INDEX_PAGE_BYTES    32768
#define INDEX_METHODS_SINCE 2 /* sqlite3_io_methods.iVersion */
#define FIRST_READER_LOCK   4 /* of the one before, readers see the database file only */
#define LAST_READER_LOCK    7
#define TRY_LOCK            (SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE)
#define UNLOCK              (SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE)

static const char LOCKING_MODE[] = "PRAGMA main.locking_mode";
static const char COPY[] = "PRAGMA main.wal_checkpoint(PASSIVE)";
static const char CUT[] = "PRAGMA main.wal_checkpoint(TRUNCATE)";

static bool shares(bb_store *store)
{
    sqlite3_stmt *stmt = NULL;
    if (bb_store_find(store, LOCKING_MODE, NULL, 0, &stmt) != BB_ROW)
        return false;
    const char *mode = bb_column_text(store, stmt, 0);
    bool normal = mode && strcmp(mode, "normal") == 0;
    bb_store_end(store, stmt);
    return normal;
}

/* The database file, whose methods reach the locks of readers; NULL: there are none. */
static sqlite3_file *find_shared(bb_store *store)
{
    sqlite3_file *file = NULL;
    volatile void *index = NULL;
    if (bb_store_wal_bytes(store) <= 0 || !shares(store))
        return NULL;
    int native = store->sql->file_control(store->db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    if (native != SQLITE_OK || !file || !file->pMethods || file->pMethods->iVersion < INDEX_METHODS_SINCE ||
        file->pMethods->xShmMap(file, 0, INDEX_PAGE_BYTES, 0, &index) != SQLITE_OK || !index)
        return NULL;
    return file;
}

/* To ask for the lock of each is the only way to find out that does not call the application's busy handler. */
static bool unread(sqlite3_file *file)
{
    bool free = true;
    for (int lock = FIRST_READER_LOCK; free && lock <= LAST_READER_LOCK; lock++) {
        free = file->pMethods->xShmLock(file, lock, 1, TRY_LOCK) == SQLITE_OK;
        if (free)
            (void)file->pMethods->xShmLock(file, lock, 1, UNLOCK);
    }
    return free;
}

int bb_wal_cut(bb_store *store)
{
    int64_t busy = 0;
    sqlite3_file *file = find_shared(store);
    if (!file || bb_store_in_transaction(store))
        return BUSBAR_OK;
    int result = bb_store_integer(store, COPY, NULL, 0, &busy);
    if (result == BB_ROW && unread(file))
        result = bb_store_integer(store, CUT, NULL, 0, &busy);
    return result < 0 ? result : BUSBAR_OK;
}
