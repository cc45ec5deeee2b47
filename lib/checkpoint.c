/* SPDX-License-Identifier: MIT */
#include "checkpoint.h"

#include <string.h>

/* Where SQLite's WAL-index keeps two of its numbers (sqlite.org, "WAL-mode File Format", section 2). */
#define INDEX_PAGE_BYTES     32768
#define INDEX_FRAMES_AT      16 /* valid frames in the WAL */
#define INDEX_BACKFILLED_AT  96 /* of these, copied to the database file */
#define INDEX_METHODS_SINCE  2  /* sqlite3_io_methods.iVersion */
#define CHECKPOINT_IN_COLUMN 1  /* of the answer: busy, frames in the WAL, frames copied */

static const char TOUCH[] = "SELECT 1 FROM main.sqlite_schema";
static const char JOURNAL_MODE[] = "PRAGMA main.journal_mode";
static const char LOCKING_MODE[] = "PRAGMA main.locking_mode";
static const char CHECKPOINT[] = "PRAGMA main.wal_checkpoint(PASSIVE)";

bool bb_checkpoint_guards(int version)
{
    return bb_checkpoint_racing(version);
}

/* The first row of a text on a connection that is not the store's. SQLite's code; *out_stmt is to be finalized. */
static int first_row(const bb_store *store, sqlite3 *db, const char *sql, sqlite3_stmt **out_stmt)
{
    int native = store->sql->prepare_v3(db, sql, -1, 0, out_stmt, NULL);
    return native == SQLITE_OK ? store->sql->step(*out_stmt) : native;
}

static int read_word(bb_store *store, sqlite3 *db, const char *sql, const char *word, bool *out_equal)
{
    sqlite3_stmt *stmt = NULL;
    int native = first_row(store, db, sql, &stmt);
    const unsigned char *text = native == SQLITE_ROW ? store->sql->column_text(stmt, 0) : NULL;
    *out_equal = text && strcmp((const char *)text, word) == 0;
    store->sql->finalize(stmt);
    if (native == SQLITE_ROW || native == SQLITE_DONE)
        return BUSBAR_OK;
    return bb_store_fail_on(store, db, native, "read through options.checkpoint_db");
}

static bool same_file(const bb_store *store, sqlite3 *db)
{
    const char *ours = store->sql->db_filename(store->db, "main");
    const char *theirs = store->sql->db_filename(db, "main");
    return ours && theirs && strcmp(ours, theirs) == 0;
}

static int choose_pages(bb_checkpoint *checkpoint, bb_store *store, uint64_t max_bytes)
{
    int64_t page_bytes = 0;
    checkpoint->pages = BB_CHECKPOINT_PAGES;
    if (max_bytes == 0)
        return BUSBAR_OK;
    int result = bb_store_read_pragma(store, "PRAGMA main.page_size", &page_bytes);
    if (result < 0)
        return result;
    uint64_t most = max_bytes / BB_CHECKPOINT_PART / (uint64_t)page_bytes;
    if (most < BB_CHECKPOINT_PAGES)
        checkpoint->pages = most > 0 ? (uint32_t)most : 1;
    return BUSBAR_OK;
}

int bb_checkpoint_init(bb_checkpoint *checkpoint, bb_store *store, sqlite3 *db, uint64_t max_bytes)
{
    bool ignored = false;
    bool wal = false;
    bool exclusive = false;
    *checkpoint = (bb_checkpoint){.pages = BB_CHECKPOINT_PAGES};
    if (db && !same_file(store, db))
        return bb_store_fail(store, BUSBAR_EINVAL, "options.checkpoint_db is a connection to another database file");
    if (!db || !bb_checkpoint_racing(store->sql->libversion_number()))
        return BUSBAR_OK;
    int result = read_word(store, db, TOUCH, "", &ignored);
    if (result == BUSBAR_OK)
        result = read_word(store, db, JOURNAL_MODE, "wal", &wal);
    if (result == BUSBAR_OK)
        result = read_word(store, db, LOCKING_MODE, "exclusive", &exclusive);
    if (result < 0 || !wal || exclusive)
        return result;
    checkpoint->db = db;
    if (store->sql->file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &checkpoint->file) != SQLITE_OK)
        checkpoint->file = NULL;
    return choose_pages(checkpoint, store, max_bytes);
}

static uint32_t index_number(const volatile void *index, size_t at)
{
    return *(const volatile uint32_t *)((const volatile unsigned char *)index + at);
}

uint32_t bb_checkpoint_pending(const bb_checkpoint *checkpoint)
{
    sqlite3_file *file = checkpoint->file;
    volatile void *index = NULL;
    if (!checkpoint->db || !file || !file->pMethods || file->pMethods->iVersion < INDEX_METHODS_SINCE)
        return 0;
    if (file->pMethods->xShmMap(file, 0, INDEX_PAGE_BYTES, 0, &index) != SQLITE_OK || !index)
        return 0;
    uint32_t frames = index_number(index, INDEX_FRAMES_AT);
    uint32_t backfilled = index_number(index, INDEX_BACKFILLED_AT);
    return frames >= backfilled ? frames - backfilled : 0;
}

static int copy_back(const bb_checkpoint *checkpoint, bb_store *store, bool *out_done)
{
    sqlite3_stmt *stmt = NULL;
    int native = first_row(store, checkpoint->db, CHECKPOINT, &stmt);
    if (native == SQLITE_ROW) {
        int64_t frames = store->sql->column_int64(stmt, CHECKPOINT_IN_COLUMN);
        *out_done = frames >= 0 && frames == store->sql->column_int64(stmt, CHECKPOINT_IN_COLUMN + 1);
    }
    store->sql->finalize(stmt);
    return native == SQLITE_ROW ? BUSBAR_OK : bb_store_fail_on(store, checkpoint->db, native, "checkpoint the WAL");
}

int bb_checkpoint_run(const bb_checkpoint *checkpoint, bb_store *store, bool *out_done)
{
    *out_done = false;
    if (bb_checkpoint_pending(checkpoint) > BB_CHECKPOINT_LOCKED_MAX)
        return copy_back(checkpoint, store, out_done);
    int result = bb_store_begin(store);
    if (result < 0)
        return result;
    result = copy_back(checkpoint, store, out_done);
    bb_store_rollback(store);
    return result;
}
