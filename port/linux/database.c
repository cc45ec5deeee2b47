/* SPDX-License-Identifier: MIT */
/*
 * Opening a database file for a program that has no connection of its own. Knows SQLite, but none of Busbar's tables.
 */
#include <busbar/linux.h>

#include "copy.h"
#include "error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <sqlite3.h>

#define BUSY_TIMEOUT_DEFAULT_MS 5000

/* Between two tries to get a lock. */
#define BUSY_STEP_MS 1

/* Where SQLite checkpoints by itself. */
#define WAL_PAGES 1000

struct busbar_linux_database {
    sqlite3 *db;
    uint32_t busy_timeout_ms;
    bb_linux_copy copy;
};

/* ---- The file ---------------------------------------------------------------------------------------------------- */

static int fail_file(busbar_error *out_error, const char *path, int number)
{
    int code = bb_linux_error_code_errno(number);
    if (number == ENOENT)
        return bb_linux_error_set(out_error, code, 0, "%s: no such file; check the path", path);
    if (number == EROFS)
        return bb_linux_error_set(out_error, code, 0, "%s: is on read-only media; open it for reading", path);
    return bb_linux_error_set(out_error, code, 0, "%s: cannot be opened: %s", path, strerror(number));
}

/*
 * Makes the file if there is none. SQLite would make it readable by everyone; its other files follow the database's
 * mode. mknod and not open, since closing a descriptor of a database drops the locks that this process has on it.
 */
static int make_file(const char *path, busbar_error *out_error)
{
    if (mknod(path, S_IFREG | S_IRUSR | S_IWUSR, 0) == 0 || errno == EEXIST)
        return BUSBAR_OK;
    if (errno == ENOENT)
        return bb_linux_error_set(out_error, BUSBAR_ENOTFOUND, 0, "%s: its directory does not exist; make it first",
                                  path);
    return fail_file(out_error, path, errno);
}

static int check_file(const char *path, busbar_linux_mode mode, bool *out_empty, busbar_error *out_error)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return fail_file(out_error, path, errno);
    if (S_ISDIR(info.st_mode))
        return bb_linux_error_set(out_error, BUSBAR_ECANTOPEN, 0, "%s: is a directory; name a file in it", path);
    if (!S_ISREG(info.st_mode))
        return bb_linux_error_set(out_error, BUSBAR_ECANTOPEN, 0, "%s: is not a regular file", path);
    if (access(path, mode == BUSBAR_LINUX_READ ? R_OK : R_OK | W_OK) != 0)
        return fail_file(out_error, path, errno);
    *out_empty = info.st_size == 0;
    return BUSBAR_OK;
}

/* ---- The connection ---------------------------------------------------------------------------------------------- */

static int fail_sqlite(busbar_error *out_error, const char *path, sqlite3 *db)
{
    int native = db != NULL ? sqlite3_extended_errcode(db) : SQLITE_NOMEM;
    int code = bb_linux_error_code(native);
    if (code == BUSBAR_ENOTBUS)
        return bb_linux_error_set(out_error, code, native, "%s: is not an SQLite database", path);
    if (code == BUSBAR_ELOCKED)
        return bb_linux_error_set(out_error, code, native, "%s: is locked by another connection; try again", path);
    if (native == SQLITE_READONLY_DIRECTORY)
        return bb_linux_error_set(out_error, BUSBAR_ECANTOPEN, native,
                                  "%s: its directory cannot be written, where its -wal and -shm files have to be",
                                  path);
    if (code == BUSBAR_ECANTOPEN)
        return bb_linux_error_set(out_error, code, native,
                                  "%s: SQLite cannot open it or make its -wal and -shm files next to it: %s", path,
                                  strerror(sqlite3_system_errno(db)));
    return bb_linux_error_set(out_error, code, native, "%s: %s", path,
                              db != NULL ? sqlite3_errmsg(db) : "out of memory");
}

/* Closes a connection that could not be used, keeping the error of what went wrong on it. */
static int give_up(sqlite3 *db, const char *path, busbar_error *out_error)
{
    int rc = fail_sqlite(out_error, path, db);
    sqlite3_close(db);
    return rc;
}

/* Touches the file: SQLite opens it lazily, and what is wrong with it shows only now. */
static int probe(sqlite3 *db)
{
    return sqlite3_exec(db, "SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL);
}

/* A name that SQLite cannot take for a URI or for a database in memory. NULL when out of memory. */
static char *plain_name(const char *path)
{
    return sqlite3_mprintf(path[0] == '/' ? "%s" : "./%s", path);
}

static int open_connection(const char *path, int flags, uint32_t busy_timeout_ms, sqlite3 **out_db)
{
    *out_db = NULL;
    char *name = plain_name(path);
    if (name == NULL)
        return SQLITE_NOMEM;
    int native = sqlite3_open_v2(name, out_db, flags | SQLITE_OPEN_EXRESCODE, NULL);
    sqlite3_free(name);
    if (native == SQLITE_OK)
        sqlite3_busy_timeout(*out_db, (int)busy_timeout_ms);
    return native;
}

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

/* The pragma answers with the mode that is in force, which is the old one if it could not be changed. */
static int set_wal(sqlite3 *db)
{
    sqlite3_stmt *stmt = NULL;
    int native = sqlite3_prepare_v2(db, "PRAGMA journal_mode=WAL", -1, &stmt, NULL);
    if (native == SQLITE_OK)
        native = sqlite3_step(stmt);
    bool is_wal = native == SQLITE_ROW && strcmp((const char *)sqlite3_column_text(stmt, 0), "wal") == 0;
    int end = sqlite3_finalize(stmt);
    if (native != SQLITE_ROW)
        return native;
    return end == SQLITE_OK && !is_wal ? SQLITE_CANTOPEN : end;
}

/*
 * Waits in equal, short steps. SQLite's own handler waits longer and longer, up to 100 ms: beside an application that
 * commits without a pause it would hardly ever come at a moment when the lock is free.
 */
static int wait_for_lock(void *ctx, int tries)
{
    const busbar_linux_database *database = ctx;
    const struct timespec step = {.tv_nsec = BUSY_STEP_MS * 1000000L};
    if ((uint32_t)tries * BUSY_STEP_MS >= database->busy_timeout_ms)
        return 0;
    nanosleep(&step, NULL);
    return 1;
}

static int set_cache(sqlite3 *db, uint32_t kib)
{
    char text[48];
    snprintf(text, sizeof text, "PRAGMA main.cache_size=-%" PRIu32, kib);
    return kib > 0 ? sqlite3_exec(db, text, NULL, NULL, NULL) : SQLITE_OK;
}

/* The limit of a checkpoint is one of pages. */
static int set_wal_bytes(sqlite3 *db, uint64_t wal_bytes)
{
    sqlite3_stmt *stmt = NULL;
    char text[64];
    if (wal_bytes == 0)
        return SQLITE_OK;
    int native = sqlite3_prepare_v2(db, "PRAGMA main.page_size", -1, &stmt, NULL);
    if (native == SQLITE_OK)
        native = sqlite3_step(stmt);
    int64_t page_bytes = native == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
    int end = sqlite3_finalize(stmt);
    if (page_bytes <= 0)
        return native == SQLITE_ROW || native == SQLITE_DONE ? end : native;
    uint64_t pages = wal_bytes / (uint64_t)page_bytes;
    if (pages > WAL_PAGES)
        pages = WAL_PAGES;
    snprintf(text, sizeof text, "PRAGMA wal_autocheckpoint=%" PRIu64, pages == 0 ? 1 : pages);
    return sqlite3_exec(db, text, NULL, NULL, NULL);
}

static int prepare_writer(sqlite3 *db, bool empty, const busbar_linux_database_options *options)
{
    int native = empty ? set_wal(db) : SQLITE_OK;
    if (native == SQLITE_OK)
        native = probe(db);
    if (native == SQLITE_OK)
        native = sqlite3_exec(db, "PRAGMA synchronous=NORMAL", NULL, NULL, NULL);
    if (native == SQLITE_OK)
        native = set_wal_bytes(db, options->wal_bytes);
    return native == SQLITE_OK ? set_cache(db, options->cache_kib) : native;
}

static int open_writer(busbar_linux_database *database, const char *path, const busbar_linux_database_options *options,
                       busbar_error *out_error)
{
    bool empty = false;
    int rc = options->mode == BUSBAR_LINUX_CREATE ? make_file(path, out_error) : BUSBAR_OK;
    if (rc == BUSBAR_OK)
        rc = check_file(path, options->mode, &empty, out_error);
    if (rc != BUSBAR_OK)
        return rc;
    sqlite3 *db;
    if (open_connection(path, SQLITE_OPEN_READWRITE, options->busy_timeout_ms, &db) != SQLITE_OK)
        return give_up(db, path, out_error);
    if (sqlite3_db_readonly(db, "main") == 1) {
        sqlite3_close(db);
        return bb_linux_error_set(out_error, BUSBAR_EREADONLY, 0, "%s: cannot be written; check its permissions", path);
    }
    if (prepare_writer(db, empty, options) != SQLITE_OK)
        return give_up(db, path, out_error);
    database->db = db;
    database->busy_timeout_ms = options->busy_timeout_ms;
    sqlite3_busy_handler(db, wait_for_lock, database);
    return BUSBAR_OK;
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static int open_reader_at(busbar_linux_database *database, const char *path, uint32_t busy_timeout_ms,
                          busbar_error *out_error, int *out_native)
{
    sqlite3 *db;
    *out_native = open_connection(path, SQLITE_OPEN_READONLY, busy_timeout_ms, &db);
    if (*out_native == SQLITE_OK)
        *out_native = probe(db);
    if (*out_native != SQLITE_OK)
        return give_up(db, path, out_error);
    database->db = db;
    return BUSBAR_OK;
}

/*
 * The file is sound, but reading it takes a write that is not possible: making the WAL's index, rolling a journal back.
 * `immutable` would do without, and silently leave out what is in the WAL.
 */
static bool needs_copy(int native)
{
    return (native & 0xff) == SQLITE_CANTOPEN || (native & 0xff) == SQLITE_READONLY;
}

/* A journal in the copy is rolled back by a connection that may write. */
static int recover_copy(const bb_linux_copy *copy, uint32_t busy_timeout_ms, busbar_error *out_error)
{
    sqlite3 *db;
    if (!copy->has_journal)
        return BUSBAR_OK;
    if (open_connection(copy->path, SQLITE_OPEN_READWRITE, busy_timeout_ms, &db) != SQLITE_OK || probe(db) != SQLITE_OK)
        return give_up(db, copy->path, out_error);
    sqlite3_close(db);
    return BUSBAR_OK;
}

static int open_reader(busbar_linux_database *database, const char *path, const busbar_linux_database_options *options,
                       busbar_error *out_error)
{
    bool empty;
    int native;
    int rc = check_file(path, BUSBAR_LINUX_READ, &empty, out_error);
    if (rc != BUSBAR_OK)
        return rc;
    rc = open_reader_at(database, path, options->busy_timeout_ms, out_error, &native);
    if (rc == BUSBAR_OK || !needs_copy(native))
        return rc;
    rc = bb_linux_copy_make(&database->copy, path, out_error);
    if (rc == BUSBAR_OK)
        rc = recover_copy(&database->copy, options->busy_timeout_ms, out_error);
    if (rc == BUSBAR_OK)
        rc = open_reader_at(database, database->copy.path, options->busy_timeout_ms, out_error, &native);
    if (rc != BUSBAR_OK)
        bb_linux_copy_remove(&database->copy);
    return rc;
}

/* ---- The interface ----------------------------------------------------------------------------------------------- */

/* Fills in defaults. False if something is out of range. */
static bool choose(const busbar_linux_database_options *options, busbar_linux_database_options *out)
{
    *out = (busbar_linux_database_options){.size = sizeof *out, .mode = BUSBAR_LINUX_READ};
    if (options != NULL && options->size != sizeof *out)
        return false;
    if (options != NULL)
        *out = *options;
    if (out->busy_timeout_ms == 0)
        out->busy_timeout_ms = BUSY_TIMEOUT_DEFAULT_MS;
    if (out->busy_timeout_ms > INT32_MAX)
        out->busy_timeout_ms = INT32_MAX;
    return out->mode == BUSBAR_LINUX_READ || out->mode == BUSBAR_LINUX_WRITE || out->mode == BUSBAR_LINUX_CREATE;
}

int busbar_linux_database_open(busbar_linux_database **out_database, const char *path,
                               const busbar_linux_database_options *options, busbar_error *out_error)
{
    busbar_linux_database_options chosen;
    if (out_database == NULL || path == NULL || path[0] == '\0' || !choose(options, &chosen))
        return bb_linux_error_set(out_error, BUSBAR_EINVAL, 0,
                                  "busbar_linux_database_open: no path, or options of unknown size or mode");
    busbar_linux_database *database = calloc(1, sizeof *database);
    if (database == NULL)
        return bb_linux_error_set(out_error, BUSBAR_ENOMEM, 0, "%s: out of memory", path);
    int rc = chosen.mode == BUSBAR_LINUX_READ ? open_reader(database, path, &chosen, out_error)
                                              : open_writer(database, path, &chosen, out_error);
    if (rc != BUSBAR_OK) {
        free(database);
        return rc;
    }
    *out_database = database;
    return BUSBAR_OK;
}

sqlite3 *busbar_linux_database_handle(const busbar_linux_database *database)
{
    return database->db;
}

bool busbar_linux_database_copied(const busbar_linux_database *database)
{
    return database->copy.directory != NULL;
}

int busbar_linux_database_close(busbar_linux_database *database)
{
    if (database == NULL)
        return BUSBAR_OK;
    if (sqlite3_close(database->db) != SQLITE_OK)
        return BUSBAR_EMISUSE;
    bb_linux_copy_remove(&database->copy);
    free(database);
    return BUSBAR_OK;
}
