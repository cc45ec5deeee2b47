/* SPDX-License-Identifier: MIT */
#include "ballast.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

#define SUFFIX      "-reserve"
#define PATH_SIZE   1024u
#define BLOCK_BYTES 1024
#define OPEN_FLAGS  (SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_WAL) /* with the database's permissions */

/* NULL: there is no file, or its name is too long. The name ends with two NULs, as a VFS expects. */
static sqlite3_vfs *find_vfs(bb_store *store, char path[PATH_SIZE])
{
    sqlite3_vfs *vfs = NULL;
    const char *name = store->sql->db_filename(store->db, "main");
    memset(path, 0, PATH_SIZE);
    bb_text text = bb_text_on(path, PATH_SIZE - 2);
    bb_text_add(&text, name ? name : "");
    bb_text_add(&text, SUFFIX);
    if (!name || !*name || !bb_text_fits(&text) ||
        store->sql->file_control(store->db, "main", SQLITE_FCNTL_VFS_POINTER, &vfs) != SQLITE_OK)
        return NULL;
    return vfs;
}

/* -1: it cannot be told. */
static sqlite3_int64 size_of(sqlite3_vfs *vfs, const char *path)
{
    int flags = 0;
    sqlite3_int64 size = -1;
    sqlite3_file *file = calloc(1, (size_t)vfs->szOsFile);
    if (file && vfs->xOpen(vfs, path, file, SQLITE_OPEN_READONLY | SQLITE_OPEN_WAL, &flags) == SQLITE_OK &&
        file->pMethods->xFileSize(file, &size) != SQLITE_OK)
        size = -1;
    if (file && file->pMethods)
        (void)file->pMethods->xClose(file);
    free(file);
    return size;
}

int bb_ballast_look(bb_store *store, uint64_t size_bytes, bool *out_there)
{
    char path[PATH_SIZE];
    int exists = 0;
    sqlite3_vfs *vfs = find_vfs(store, path);
    if (vfs && vfs->xAccess(vfs, path, SQLITE_ACCESS_EXISTS, &exists) != SQLITE_OK)
        return bb_store_fail_sqlite(store, SQLITE_IOERR, "look for the reserve file");
    sqlite3_int64 size = exists != 0 ? size_of(vfs, path) : 0;
    if (size < 0)
        return bb_store_fail_sqlite(store, SQLITE_IOERR, "look at the reserve file");
    *out_there = !vfs || (uint64_t)size >= size_bytes; /* a part may be left of a try that was cut short */
    return BUSBAR_OK;
}

/* Not zeros: these may take up nothing. */
static int fill(sqlite3_file *file, uint64_t size_bytes)
{
    unsigned char block[BLOCK_BYTES];
    uint32_t state = 1;
    int native = SQLITE_OK;
    for (uint64_t at = 0; native == SQLITE_OK && at < size_bytes; at += BLOCK_BYTES) {
        for (int i = 0; i < BLOCK_BYTES; i++) {
            state = state * 1664525u + 1013904223u;
            block[i] = (unsigned char)(state >> 24);
        }
        native = file->pMethods->xWrite(file, block, BLOCK_BYTES, (sqlite3_int64)at);
    }
    return native == SQLITE_OK ? file->pMethods->xSync(file, SQLITE_SYNC_NORMAL) : native;
}

static int make(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, uint64_t size_bytes)
{
    int flags = 0;
    int native = vfs->xOpen(vfs, path, file, OPEN_FLAGS, &flags);
    if (native == SQLITE_OK)
        native = fill(file, size_bytes);
    if (file->pMethods)
        (void)file->pMethods->xClose(file);
    if (native != SQLITE_OK)
        (void)vfs->xDelete(vfs, path, 0);
    return native;
}

int bb_ballast_take(bb_store *store, uint64_t size_bytes)
{
    char path[PATH_SIZE];
    sqlite3_vfs *vfs = find_vfs(store, path);
    sqlite3_file *file = vfs ? calloc(1, (size_t)vfs->szOsFile) : NULL;
    if (!vfs)
        return BUSBAR_OK;
    if (!file)
        return bb_store_fail_plain(store, BUSBAR_ENOMEM);
    int native = make(vfs, path, file, size_bytes);
    free(file);
    if (native == SQLITE_OK)
        return BUSBAR_OK;
    return bb_store_fail(store, (native & 0xff) == SQLITE_FULL ? BUSBAR_EFULL : BUSBAR_EIO,
                         "the disk has no room for options.reserve_bytes: nothing is published until it has");
}

bool bb_ballast_throw(bb_store *store)
{
    char path[PATH_SIZE];
    sqlite3_vfs *vfs = find_vfs(store, path);
    return vfs && vfs->xDelete(vfs, path, 0) == SQLITE_OK;
}
