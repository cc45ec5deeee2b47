/* SPDX-License-Identifier: MIT */
/*
 * An open file of the simulated disk, as SQLite calls it: bytes, locks among the connections of this process, and the
 * shared memory of WAL. Knows nothing of what a power cut does.
 */
#include "disk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static bb_sim_file *file_of(sqlite3_file *base)
{
    return (bb_sim_file *)(void *)base;
}

static bool is_recorded(const bb_sim_file *file)
{
    return file->node->name[0] != '\0';
}

/* ---- Bytes ------------------------------------------------------------------------------------------------------- */

static int on_read(sqlite3_file *base, void *out, int amount, sqlite3_int64 offset)
{
    bb_sim_file *file = file_of(base);
    const bb_sim_bytes *bytes = &file->node->now;
    size_t size = (size_t)amount;
    size_t there = (uint64_t)offset < bytes->size ? bytes->size - (size_t)offset : 0;
    int failure = bb_sim_disk_failure(file->disk, BUSBAR_SIM_DISK_READ);
    if (failure != SQLITE_OK)
        return failure;
    if (there > size)
        there = size;
    if (there > 0)
        memcpy(out, bytes->data + offset, there);
    memset((unsigned char *)out + there, 0, size - there);
    return there == size ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static int on_write(sqlite3_file *base, const void *data, int amount, sqlite3_int64 offset)
{
    bb_sim_file *file = file_of(base);
    int failure = bb_sim_disk_failure(file->disk, BUSBAR_SIM_DISK_WRITE);
    if (failure != SQLITE_OK)
        return failure;
    if (!bb_sim_bytes_write(&file->node->now, (size_t)offset, data, (size_t)amount))
        return SQLITE_IOERR_NOMEM;
    if (is_recorded(file) && !bb_sim_log_write(&file->disk->log, file->node, (size_t)offset, data, (size_t)amount))
        return SQLITE_IOERR_NOMEM;
    return SQLITE_OK;
}

static int on_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    bb_sim_file *file = file_of(base);
    int failure = bb_sim_disk_failure(file->disk, BUSBAR_SIM_DISK_TRUNCATE);
    if (failure != SQLITE_OK)
        return failure;
    if (!bb_sim_bytes_resize(&file->node->now, (size_t)size))
        return SQLITE_IOERR_NOMEM;
    if (is_recorded(file) && !bb_sim_log_add(&file->disk->log, BB_SIM_TRUNCATE, file->node, (size_t)size))
        return SQLITE_IOERR_NOMEM;
    return SQLITE_OK;
}

static int on_sync(sqlite3_file *base, int flags)
{
    bb_sim_file *file = file_of(base);
    busbar_sim_disk *disk = file->disk;
    int failure = bb_sim_disk_failure(disk, BUSBAR_SIM_DISK_SYNC);
    (void)flags;
    if (failure != SQLITE_OK)
        return failure;
    if (!is_recorded(file) || (disk->lies & file->kind) != 0)
        return SQLITE_OK;
    if (!bb_sim_log_add(&disk->log, BB_SIM_SYNC, file->node, 0))
        return SQLITE_IOERR_NOMEM;
    if (file->directory_due && (disk->lies & BUSBAR_SIM_DISK_LIE_DIRECTORY) == 0 &&
        !bb_sim_log_add(&disk->log, BB_SIM_SYNC_DIRECTORY, file->node, 0))
        return SQLITE_IOERR_NOMEM;
    file->directory_due = false;
    return SQLITE_OK;
}

static int on_file_size(sqlite3_file *base, sqlite3_int64 *out_size)
{
    bb_sim_file *file = file_of(base);
    int failure = bb_sim_disk_failure(file->disk, BUSBAR_SIM_DISK_SIZE);
    if (failure == SQLITE_OK)
        *out_size = (sqlite3_int64)file->node->now.size;
    return failure;
}

/* ---- Locks: one lock per file for all connections, as the "unix" VFS has it within a process ----------------------- */

static int take_lock(bb_sim_file *file, int level)
{
    bb_sim_node *node = file->node;
    if (file->lock != node->lock && (node->lock >= SQLITE_LOCK_PENDING || level > SQLITE_LOCK_SHARED))
        return SQLITE_BUSY;
    if (level == SQLITE_LOCK_SHARED) {
        node->shared_count++;
        if (node->lock == SQLITE_LOCK_NONE)
            node->lock = SQLITE_LOCK_SHARED;
        file->lock = SQLITE_LOCK_SHARED;
        return SQLITE_OK;
    }
    bool readers = level == SQLITE_LOCK_EXCLUSIVE && node->shared_count > 1;
    file->lock = node->lock = readers ? SQLITE_LOCK_PENDING : level;
    return readers ? SQLITE_BUSY : SQLITE_OK;
}

static int on_lock(sqlite3_file *base, int level)
{
    bb_sim_file *file = file_of(base);
    if (file->lock >= level)
        return SQLITE_OK;
    int failure = bb_sim_disk_failure(file->disk, BUSBAR_SIM_DISK_LOCK);
    return failure != SQLITE_OK ? failure : take_lock(file, level);
}

static void give_lock(bb_sim_file *file, int level)
{
    bb_sim_node *node = file->node;
    if (file->lock > SQLITE_LOCK_SHARED)
        node->lock = SQLITE_LOCK_SHARED;
    if (level == SQLITE_LOCK_NONE && --node->shared_count == 0)
        node->lock = SQLITE_LOCK_NONE;
    file->lock = level;
}

static int on_unlock(sqlite3_file *base, int level)
{
    bb_sim_file *file = file_of(base);
    if (file->lock <= level)
        return SQLITE_OK;
    give_lock(file, level);
    return bb_sim_disk_failure(file->disk, BUSBAR_SIM_DISK_UNLOCK);
}

static int on_check_reserved(sqlite3_file *base, int *out_reserved)
{
    bb_sim_file *file = file_of(base);
    int failure = bb_sim_disk_failure(file->disk, BUSBAR_SIM_DISK_CHECK_LOCK);
    if (failure == SQLITE_OK)
        *out_reserved = file->node->lock > SQLITE_LOCK_SHARED;
    return failure;
}

/* ---- Shared memory ----------------------------------------------------------------------------------------------- */

static bool add_region(bb_sim_node *node, size_t size)
{
    void **regions = bb_sim_grow(node->regions, node->region_count, &node->region_capacity, sizeof *regions);
    if (regions == NULL)
        return false;
    node->regions = regions;
    void *region = calloc(1, size);
    if (region == NULL)
        return false;
    regions[node->region_count++] = region;
    return true;
}

static int on_shm_map(sqlite3_file *base, int region, int size, int extend, void volatile **out)
{
    bb_sim_file *file = file_of(base);
    bb_sim_node *node = file->node;
    int failure = bb_sim_disk_failure(file->disk, BUSBAR_SIM_DISK_SHM_MAP);
    *out = NULL;
    if (failure != SQLITE_OK)
        return failure;
    if (!file->shm_open) {
        file->shm_open = true;
        node->shm_users++;
    }
    while (node->region_count <= (size_t)region && extend)
        if (!add_region(node, (size_t)size))
            return SQLITE_IOERR_NOMEM;
    if ((size_t)region < node->region_count)
        *out = node->regions[region];
    return SQLITE_OK;
}

static void give_shm(bb_sim_file *file, unsigned mask)
{
    int *locks = file->node->shm_locks;
    for (unsigned i = 0; i < SQLITE_SHM_NLOCK; i++) {
        unsigned bit = 1u << i;
        if (mask & file->shm_exclusive & bit)
            locks[i] = 0;
        else if (mask & file->shm_shared & bit)
            locks[i]--;
    }
    file->shm_exclusive &= ~mask;
    file->shm_shared &= ~mask;
}

static int take_shm_shared(bb_sim_file *file, int index)
{
    if (file->shm_shared & 1u << index)
        return SQLITE_OK;
    if (file->node->shm_locks[index] < 0)
        return SQLITE_BUSY;
    file->node->shm_locks[index]++;
    file->shm_shared |= 1u << index;
    return SQLITE_OK;
}

static int take_shm_exclusive(bb_sim_file *file, int first, int count)
{
    int *locks = file->node->shm_locks;
    for (int i = first; i < first + count; i++)
        if (!(file->shm_exclusive & 1u << i) && locks[i] != 0)
            return SQLITE_BUSY;
    for (int i = first; i < first + count; i++) {
        locks[i] = -1;
        file->shm_exclusive |= 1u << i;
    }
    return SQLITE_OK;
}

static int on_shm_lock(sqlite3_file *base, int first, int count, int flags)
{
    bb_sim_file *file = file_of(base);
    if (flags & SQLITE_SHM_UNLOCK) {
        give_shm(file, ((1u << count) - 1) << first);
        return SQLITE_OK;
    }
    int failure = bb_sim_disk_failure(file->disk, BUSBAR_SIM_DISK_SHM_LOCK);
    if (failure != SQLITE_OK)
        return failure;
    return flags & SQLITE_SHM_SHARED ? take_shm_shared(file, first) : take_shm_exclusive(file, first, count);
}

static void on_shm_barrier(sqlite3_file *base)
{
    (void)base; /* one thread */
}

static void unmap_shm(bb_sim_file *file)
{
    if (!file->shm_open)
        return;
    give_shm(file, ~0u);
    file->shm_open = false;
    if (--file->node->shm_users == 0)
        bb_sim_node_free_shm(file->node);
}

static int on_shm_unmap(sqlite3_file *base, int delete)
{
    bb_sim_file *file = file_of(base);
    (void)delete; /* nobody has it open: the next to open it would find it stale, and begin anew */
    unmap_shm(file);
    return bb_sim_disk_failure(file->disk, BUSBAR_SIM_DISK_SHM_UNMAP);
}

/* ---- The rest ---------------------------------------------------------------------------------------------------- */

static int on_control(sqlite3_file *base, int op, void *argument)
{
    bb_sim_file *file = file_of(base);
    int failure = bb_sim_disk_failure(file->disk, BUSBAR_SIM_DISK_CONTROL);
    if (failure != SQLITE_OK)
        return failure;
    switch (op) {
    case SQLITE_FCNTL_LOCKSTATE:
        *(int *)argument = file->lock;
        return SQLITE_OK;
    case SQLITE_FCNTL_HAS_MOVED:
        *(int *)argument = is_recorded(file) && !file->node->listed;
        return SQLITE_OK;
    case SQLITE_FCNTL_SIZE_HINT:
        return SQLITE_OK;
    case SQLITE_FCNTL_VFSNAME:
        *(char **)argument = sqlite3_mprintf("%s", file->disk->name);
        return SQLITE_OK;
    default:
        return SQLITE_NOTFOUND;
    }
}

static int on_sector_size(sqlite3_file *base)
{
    (void)base;
    return 4096; /* what "unix" says; with POWERSAFE_OVERWRITE SQLite does not rely on it */
}

static int on_characteristics(sqlite3_file *base)
{
    (void)base;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static int on_close(sqlite3_file *base)
{
    bb_sim_file *file = file_of(base);
    bb_sim_node *node = file->node;
    busbar_sim_disk *disk = file->disk;
    unmap_shm(file);
    if (file->lock > SQLITE_LOCK_NONE)
        give_lock(file, SQLITE_LOCK_NONE);
    assert(node->open_count > 0 && disk->open_files > 0);
    disk->open_files--;
    node->open_count--;
    if (!is_recorded(file))
        bb_sim_node_free(node);
    else if (node->open_count == 0 && !node->listed)
        bb_sim_bytes_free(&node->now);
    base->pMethods = NULL;
    return bb_sim_disk_failure(disk, BUSBAR_SIM_DISK_CLOSE);
}

const sqlite3_io_methods bb_sim_file_methods = {
    .iVersion = 2,
    .xClose = on_close,
    .xRead = on_read,
    .xWrite = on_write,
    .xTruncate = on_truncate,
    .xSync = on_sync,
    .xFileSize = on_file_size,
    .xLock = on_lock,
    .xUnlock = on_unlock,
    .xCheckReservedLock = on_check_reserved,
    .xFileControl = on_control,
    .xSectorSize = on_sector_size,
    .xDeviceCharacteristics = on_characteristics,
    .xShmMap = on_shm_map,
    .xShmLock = on_shm_lock,
    .xShmBarrier = on_shm_barrier,
    .xShmUnmap = on_shm_unmap,
};
