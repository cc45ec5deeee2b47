/* SPDX-License-Identifier: MIT */
/*
 * The simulated disk: its life, its directory, and the SQLite VFS over it. What open files do is in disk_file.c, what a
 * power cut does in disk_cut.c.
 */
#include "disk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <busbar/sim.h>

#define JULIAN_OF_UNIX_MS INT64_C(210866760000000)

uint64_t bb_sim_disk_random(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = *state;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

int bb_sim_disk_failure(busbar_sim_disk *disk, unsigned call)
{
    if ((disk->fail_calls & call) == 0)
        return SQLITE_OK;
    uint64_t number = ++disk->calls;
    if (number < disk->fail_nth || number - disk->fail_nth >= disk->fail_count)
        return SQLITE_OK;
    disk->failures++;
    return disk->fail_code;
}

/* ---- The directory ----------------------------------------------------------------------------------------------- */

/* There is one directory: what stands before the last slash does not matter. */
static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static bool is_name(const char *name)
{
    return name[0] != '\0' && strlen(name) < BB_SIM_NAME_SIZE;
}

bb_sim_node *bb_sim_disk_find(const busbar_sim_disk *disk, const char *name)
{
    for (size_t i = disk->node_count; i > 0; i--) {
        bb_sim_node *node = disk->nodes[i - 1];
        if (node->listed && strcmp(node->name, name) == 0)
            return node;
    }
    return NULL;
}

bb_sim_node *bb_sim_disk_add(busbar_sim_disk *disk, const char *name)
{
    bb_sim_node **nodes = bb_sim_grow(disk->nodes, disk->node_count, &disk->node_capacity, sizeof *nodes);
    if (nodes == NULL)
        return NULL;
    disk->nodes = nodes;
    bb_sim_node *node = bb_sim_node_new(name);
    if (node == NULL)
        return NULL;
    node->number = (uint32_t)disk->node_count;
    nodes[disk->node_count++] = node;
    return node;
}

void bb_sim_disk_clear(busbar_sim_disk *disk)
{
    for (size_t i = 0; i < disk->node_count; i++)
        bb_sim_node_free(disk->nodes[i]);
    disk->node_count = 0;
    bb_sim_log_clear(&disk->log);
    disk->cut_begun = false;
}

static bb_sim_node *create(busbar_sim_disk *disk, const char *name)
{
    bb_sim_node *node = bb_sim_disk_add(disk, name);
    if (node == NULL || !bb_sim_log_add(&disk->log, BB_SIM_CREATE, node, 0))
        return NULL;
    node->listed = true;
    return node;
}

int busbar_sim_disk_put(busbar_sim_disk *disk, const char *name, const void *data, size_t size_bytes)
{
    if (!is_name(name) || strchr(name, '/') != NULL)
        return BUSBAR_EINVAL;
    bb_sim_node *node = bb_sim_disk_find(disk, name);
    if (node == NULL)
        node = bb_sim_disk_add(disk, name);
    if (node == NULL || !bb_sim_bytes_resize(&node->now, 0) || !bb_sim_bytes_write(&node->now, 0, data, size_bytes) ||
        !bb_sim_bytes_copy(&node->base, &node->now))
        return BUSBAR_ENOMEM;
    node->listed = node->base_listed = true;
    disk->cut_begun = false;
    return BUSBAR_OK;
}

int busbar_sim_disk_get(const busbar_sim_disk *disk, const char *name, const void **out_data, size_t *out_size_bytes)
{
    const bb_sim_node *node = bb_sim_disk_find(disk, name);
    if (node == NULL)
        return BUSBAR_ENOTFOUND;
    *out_data = node->now.data;
    *out_size_bytes = node->now.size;
    return BUSBAR_OK;
}

int busbar_sim_disk_settle(busbar_sim_disk *disk)
{
    for (size_t i = 0; i < disk->node_count; i++)
        if (!bb_sim_bytes_copy(&disk->nodes[i]->base, &disk->nodes[i]->now))
            return BUSBAR_ENOMEM;
    for (size_t i = 0; i < disk->node_count; i++)
        disk->nodes[i]->base_listed = disk->nodes[i]->listed;
    bb_sim_log_clear(&disk->log);
    disk->cut_begun = false;
    return BUSBAR_OK;
}

/* ---- The VFS ----------------------------------------------------------------------------------------------------- */

static unsigned kind_of(int flags)
{
    if (flags & SQLITE_OPEN_MAIN_DB)
        return BUSBAR_SIM_DISK_LIE_DATABASE;
    if (flags & SQLITE_OPEN_WAL)
        return BUSBAR_SIM_DISK_LIE_WAL;
    if (flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL))
        return BUSBAR_SIM_DISK_LIE_JOURNAL;
    return 0;
}

/* NULL: `*out_failure` says why. */
static bb_sim_node *open_node(busbar_sim_disk *disk, const char *path, int flags, int *out_failure)
{
    const char *name = path != NULL ? last_part(path) : "";
    bb_sim_node *node;
    *out_failure = SQLITE_CANTOPEN;
    if (path == NULL || (flags & SQLITE_OPEN_DELETEONCLOSE)) {
        node = bb_sim_node_new("");
    } else {
        node = is_name(name) ? bb_sim_disk_find(disk, name) : NULL;
        if (node != NULL)
            return flags & SQLITE_OPEN_EXCLUSIVE ? NULL : node;
        if (!is_name(name) || !(flags & SQLITE_OPEN_CREATE))
            return NULL;
        node = create(disk, name);
    }
    if (node == NULL)
        *out_failure = SQLITE_NOMEM;
    return node;
}

static int on_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *base, int flags, int *out_flags)
{
    busbar_sim_disk *disk = vfs->pAppData;
    bb_sim_file *file = (bb_sim_file *)(void *)base;
    int failure = bb_sim_disk_failure(disk, BUSBAR_SIM_DISK_OPEN);
    memset(file, 0, sizeof *file);
    if (failure != SQLITE_OK)
        return failure;
    file->node = open_node(disk, path, flags, &failure);
    if (file->node == NULL)
        return failure;
    file->disk = disk;
    file->kind = kind_of(flags);
    file->directory_due = (flags & SQLITE_OPEN_CREATE) != 0 &&
                          (file->kind & (BUSBAR_SIM_DISK_LIE_WAL | BUSBAR_SIM_DISK_LIE_JOURNAL)) != 0;
    file->node->open_count++;
    disk->open_files++;
    base->pMethods = &bb_sim_file_methods;
    if (out_flags != NULL)
        *out_flags = flags;
    return SQLITE_OK;
}

static int on_delete(sqlite3_vfs *vfs, const char *path, int sync_directory)
{
    busbar_sim_disk *disk = vfs->pAppData;
    int failure = bb_sim_disk_failure(disk, BUSBAR_SIM_DISK_DELETE);
    if (failure != SQLITE_OK)
        return failure;
    bb_sim_node *node = bb_sim_disk_find(disk, last_part(path));
    if (node == NULL)
        return SQLITE_IOERR_DELETE_NOENT;
    if (!bb_sim_log_add(&disk->log, BB_SIM_DELETE, node, 0))
        return SQLITE_IOERR_NOMEM;
    node->listed = false;
    if (node->open_count == 0)
        bb_sim_bytes_free(&node->now);
    if (sync_directory && (disk->lies & BUSBAR_SIM_DISK_LIE_DIRECTORY) == 0 &&
        !bb_sim_log_add(&disk->log, BB_SIM_SYNC_DIRECTORY, node, 0))
        return SQLITE_IOERR_NOMEM;
    return SQLITE_OK;
}

/* As "unix": an empty file counts as none. */
static int on_access(sqlite3_vfs *vfs, const char *path, int flags, int *out_result)
{
    busbar_sim_disk *disk = vfs->pAppData;
    int failure = bb_sim_disk_failure(disk, BUSBAR_SIM_DISK_ACCESS);
    if (failure != SQLITE_OK)
        return failure;
    const bb_sim_node *node = bb_sim_disk_find(disk, last_part(path));
    *out_result = node != NULL && (flags != SQLITE_ACCESS_EXISTS || node->now.size > 0);
    return SQLITE_OK;
}

static int on_full_path(sqlite3_vfs *vfs, const char *path, int size, char *out)
{
    const char *name = last_part(path);
    int failure = bb_sim_disk_failure(vfs->pAppData, BUSBAR_SIM_DISK_FULL_PATH);
    if (failure != SQLITE_OK)
        return failure;
    if (strlen(name) + 2 > (size_t)size)
        return SQLITE_CANTOPEN;
    out[0] = '/';
    memcpy(out + 1, name, strlen(name) + 1);
    return SQLITE_OK;
}

static int on_random(sqlite3_vfs *vfs, int size, char *out)
{
    busbar_sim_disk *disk = vfs->pAppData;
    if (bb_sim_disk_failure(disk, BUSBAR_SIM_DISK_RANDOM) != SQLITE_OK)
        return 0;
    for (int i = 0; i < size; i++)
        out[i] = (char)(bb_sim_disk_random(&disk->random_state) & 0x7f);
    return size;
}

static int on_sleep(sqlite3_vfs *vfs, int time_us)
{
    (void)vfs;
    return time_us; /* nobody else runs meanwhile */
}

static int on_time_ms(sqlite3_vfs *vfs, sqlite3_int64 *out_ms)
{
    int failure = bb_sim_disk_failure(vfs->pAppData, BUSBAR_SIM_DISK_TIME);
    if (failure == SQLITE_OK)
        *out_ms = BUSBAR_SIM_WALL_MS + JULIAN_OF_UNIX_MS;
    return failure;
}

static int on_time(sqlite3_vfs *vfs, double *out_days)
{
    sqlite3_int64 ms = 0;
    int result = on_time_ms(vfs, &ms);
    *out_days = (double)ms / 86400000.0;
    return result;
}

static int on_last_error(sqlite3_vfs *vfs, int size, char *out)
{
    (void)vfs, (void)size, (void)out;
    return 0;
}

/* No extensions are loaded from here, but SQLite calls these without asking. */
static void *on_dl_open(sqlite3_vfs *vfs, const char *path)
{
    (void)vfs, (void)path;
    return NULL;
}

static void on_dl_error(sqlite3_vfs *vfs, int size, char *out)
{
    (void)vfs;
    sqlite3_snprintf(size, out, "the simulated disk loads no extensions");
}

static void fill_vfs(busbar_sim_disk *disk)
{
    disk->vfs = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = (int)sizeof(bb_sim_file),
        .mxPathname = 2 * BB_SIM_NAME_SIZE,
        .zName = disk->name,
        .pAppData = disk,
        .xOpen = on_open,
        .xDelete = on_delete,
        .xAccess = on_access,
        .xFullPathname = on_full_path,
        .xDlOpen = on_dl_open,
        .xDlError = on_dl_error,
        .xRandomness = on_random,
        .xSleep = on_sleep,
        .xCurrentTime = on_time,
        .xGetLastError = on_last_error,
        .xCurrentTimeInt64 = on_time_ms,
    };
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

busbar_sim_disk *busbar_sim_disk_new(uint64_t seed)
{
    busbar_sim_disk *disk = calloc(1, sizeof *disk);
    if (disk == NULL)
        return NULL;
    sqlite3_snprintf((int)sizeof disk->name, disk->name, "busbar-sim-%p", (void *)disk);
    disk->random_state = seed;
    fill_vfs(disk);
    if (sqlite3_vfs_register(&disk->vfs, 0) != SQLITE_OK) {
        free(disk);
        return NULL;
    }
    return disk;
}

void busbar_sim_disk_free(busbar_sim_disk *disk)
{
    if (disk == NULL)
        return;
    assert(disk->open_files == 0);
    sqlite3_vfs_unregister(&disk->vfs);
    bb_sim_disk_clear(disk);
    bb_sim_log_free(&disk->log);
    free(disk->nodes);
    free(disk->cut_directory);
    free(disk);
}

const char *busbar_sim_disk_vfs(const busbar_sim_disk *disk)
{
    return disk->name;
}

void busbar_sim_disk_repeatable(busbar_sim_disk *disk, uint64_t seed)
{
    disk->random_state = seed;
    sqlite3_vfs_register(&disk->vfs, 1);
    sqlite3_randomness(0, NULL); /* SQLite asks the default VFS for a new beginning when it next needs one */
}

void busbar_sim_disk_model_set(busbar_sim_disk *disk, busbar_sim_disk_model model)
{
    disk->model = model;
}

void busbar_sim_disk_lie(busbar_sim_disk *disk, unsigned lies)
{
    disk->lies = lies;
}

void busbar_sim_disk_fail(busbar_sim_disk *disk, unsigned calls, uint64_t nth, uint64_t count, int code)
{
    disk->fail_calls = calls;
    disk->fail_nth = nth;
    disk->fail_count = count;
    disk->fail_code = code;
    disk->calls = disk->failures = 0;
}

uint64_t busbar_sim_disk_calls(const busbar_sim_disk *disk)
{
    return disk->calls;
}

uint64_t busbar_sim_disk_failures(const busbar_sim_disk *disk)
{
    return disk->failures;
}
