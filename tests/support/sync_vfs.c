/* SPDX-License-Identifier: MIT */
#include "sync_vfs.h"

#include <sqlite3.h>
#include <string.h>

typedef struct counted_file {
    sqlite3_file base;
    int durable;  /* a database, WAL or journal: it counts */
    int database; /* the database itself */
    sqlite3_file *real;
} counted_file;

static sqlite3_vfs vfs;
static sync_counts counts;
static int write_locks; /* held by connections: at most one per file */

#define WAL_WRITE_LOCK                                                                                                 \
    0 /* its place among the locks of a WAL-index (sqlite.org, "WAL-mode File Format", section 2.3) */

static sqlite3_file *real_of(sqlite3_file *file)
{
    return ((counted_file *)file)->real;
}

static int on_close(sqlite3_file *file)
{
    return real_of(file)->pMethods->xClose(real_of(file));
}

static int on_read(sqlite3_file *file, void *data, int size, sqlite3_int64 offset)
{
    return real_of(file)->pMethods->xRead(real_of(file), data, size, offset);
}

static int on_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
    if (((counted_file *)file)->durable) {
        counts.written_bytes += size;
        counts.unsynced_bytes += size;
    }
    if (((counted_file *)file)->database) {
        counts.database_writes++;
        counts.unlocked_writes += write_locks == 0;
    }
    return real_of(file)->pMethods->xWrite(real_of(file), data, size, offset);
}

static int on_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    return real_of(file)->pMethods->xTruncate(real_of(file), size);
}

static int on_sync(sqlite3_file *file, int flags)
{
    counts.syncs++;
    counts.unsynced_bytes = 0;
    return real_of(file)->pMethods->xSync(real_of(file), flags);
}

static int on_file_size(sqlite3_file *file, sqlite3_int64 *out_size)
{
    return real_of(file)->pMethods->xFileSize(real_of(file), out_size);
}

static int on_lock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int on_unlock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int on_check_reserved_lock(sqlite3_file *file, int *out_reserved)
{
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), out_reserved);
}

static int on_file_control(sqlite3_file *file, int op, void *arg)
{
    return real_of(file)->pMethods->xFileControl(real_of(file), op, arg);
}

static int on_sector_size(sqlite3_file *file)
{
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int on_device_characteristics(sqlite3_file *file)
{
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static int on_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **out_page)
{
    return real_of(file)->pMethods->xShmMap(real_of(file), page, size, extend, out_page);
}

static int on_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
    int result = real_of(file)->pMethods->xShmLock(real_of(file), offset, count, flags);
    if (result == SQLITE_OK && offset == WAL_WRITE_LOCK && (flags & SQLITE_SHM_EXCLUSIVE))
        write_locks += (flags & SQLITE_SHM_LOCK) ? 1 : -1;
    return result;
}

static void on_shm_barrier(sqlite3_file *file)
{
    real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static int on_shm_unmap(sqlite3_file *file, int delete_it)
{
    return real_of(file)->pMethods->xShmUnmap(real_of(file), delete_it);
}

static const sqlite3_io_methods methods = {
    2,
    on_close,
    on_read,
    on_write,
    on_truncate,
    on_sync,
    on_file_size,
    on_lock,
    on_unlock,
    on_check_reserved_lock,
    on_file_control,
    on_sector_size,
    on_device_characteristics,
    on_shm_map,
    on_shm_lock,
    on_shm_barrier,
    on_shm_unmap,
    NULL,
    NULL,
};

static int on_open(sqlite3_vfs *self, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
    counted_file *counted = (counted_file *)file;
    sqlite3_vfs *real = self->pAppData;
    counted->real = (sqlite3_file *)(counted + 1);
    counted->durable = (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) != 0;
    counted->database = (flags & SQLITE_OPEN_MAIN_DB) != 0;
    int result = real->xOpen(real, name, counted->real, flags, out_flags);
    counted->base.pMethods = result == SQLITE_OK ? &methods : NULL;
    return result;
}

void sync_vfs_register(void)
{
    if (vfs.zName)
        return;
    sqlite3_vfs *real = sqlite3_vfs_find(NULL);
    vfs = *real;
    vfs.zName = SYNC_VFS_NAME;
    vfs.szOsFile = (int)sizeof(counted_file) + real->szOsFile;
    vfs.pAppData = real;
    vfs.xOpen = on_open;
    sqlite3_vfs_register(&vfs, 0);
}

void sync_vfs_reset(void)
{
    memset(&counts, 0, sizeof counts);
}

sync_counts sync_vfs_counts(void)
{
    return counts;
}
