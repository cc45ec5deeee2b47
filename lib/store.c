/* SPDX-License-Identifier: MIT */
#include "store.h"

#include <assert.h>
#include <string.h>

#include "text.h"

#define TIME_MAX_MS (INT64_C(1) << 50) /* beyond the year 9999 */

/* SQLite counts in an int; differences hold across its end. */
static uint32_t pages_written(const bb_store *store)
{
    int pages = 0;
    int highest = 0;
    (void)store->sql->db_status(store->db, SQLITE_DBSTATUS_CACHE_WRITE, &pages, &highest, 0);
    return (uint32_t)pages;
}

void bb_store_init(bb_store *store, bb_statement statements[BB_STATEMENT_SLOTS], const busbar_sqlite *sql, sqlite3 *db)
{
    memset(store, 0, sizeof *store);
    store->statements = statements;
    store->sql = sql;
    store->db = db;
    store->synchronous_saved = -1;
    store->began_us = UINT64_MAX;
    store->first_page = pages_written(store);
}

void bb_store_fini(bb_store *store)
{
    for (size_t i = 0; i < BB_STATEMENT_SLOTS; i++) {
        if (store->statements[i].stmt)
            store->sql->finalize(store->statements[i].stmt);
    }
    memset(store->statements, 0, BB_STATEMENT_SLOTS * sizeof *store->statements);
}

bool bb_store_readonly(const bb_store *store)
{
    return store->sql->db_readonly(store->db, "main") == 1;
}

int64_t bb_store_written_bytes(bb_store *store, int64_t page_bytes)
{
    return (int64_t)(uint32_t)(pages_written(store) - store->first_page) * page_bytes;
}

void bb_store_look_moved(bb_store *store)
{
    int moved = 0;
    int native = store->sql->file_control(store->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    store->moved = native == SQLITE_OK && moved != 0; /* a VFS that cannot tell has not moved */
}

int bb_store_check_moved(bb_store *store)
{
    if (store->moved)
        bb_store_look_moved(store);
    return store->moved ? bb_store_fail_plain(store, BUSBAR_EMOVED) : BUSBAR_OK;
}

bool bb_store_in_transaction(const bb_store *store)
{
    return store->sql->get_autocommit(store->db) == 0;
}

bool bb_store_writing(const bb_store *store)
{
    return store->sql->txn_state(store->db, "main") == SQLITE_TXN_WRITE;
}

/* ---- Errors ---- */

int bb_store_fail(bb_store *store, int code, const char *text)
{
    store->error.code = code;
    store->error.native = 0;
    store->error.offset = 0;
    bb_text_copy(store->error.text, sizeof store->error.text, text);
    return code;
}

static int code_of_busy(int native)
{
    return native == SQLITE_BUSY_SNAPSHOT ? BUSBAR_ESTALE : BUSBAR_ELOCKED;
}

static int code_of_sqlite(int native)
{
    if (native == SQLITE_IOERR_NOMEM)
        return BUSBAR_ENOMEM;
    if (native == SQLITE_READONLY_DBMOVED)
        return BUSBAR_EMOVED;
    switch (native & 0xff) {
    case SQLITE_BUSY:
        return code_of_busy(native);
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return BUSBAR_ELOCKED;
    case SQLITE_NOMEM:
        return BUSBAR_ENOMEM;
    case SQLITE_FULL:
        return BUSBAR_EFULL;
    case SQLITE_IOERR:
        return BUSBAR_EIO;
    case SQLITE_CORRUPT:
        return BUSBAR_ECORRUPT;
    case SQLITE_NOTADB:
        return BUSBAR_ENOTBUS;
    case SQLITE_READONLY:
        return BUSBAR_EREADONLY;
    case SQLITE_CANTOPEN:
        return BUSBAR_ECANTOPEN;
    case SQLITE_TOOBIG:
        return BUSBAR_EDATASIZE;
    default:
        return BUSBAR_ESQLITE;
    }
}

int bb_store_fail_sqlite(bb_store *store, int native, const char *what)
{
    return bb_store_fail_on(store, store->db, native, what);
}

int bb_store_fail_on(bb_store *store, sqlite3 *db, int native, const char *what)
{
    int code = code_of_sqlite(native);
    store->error.code = code;
    store->error.native = native;
    store->error.offset = 0;
    bb_text detail = bb_text_on(store->error.text, sizeof store->error.text);
    bb_text_add(&detail, "cannot ");
    bb_text_add(&detail, what);
    bb_text_add(&detail, ": ");
    bb_text_add(&detail, busbar_error_text(code));
    bb_text_add(&detail, " (SQLite: ");
    bb_text_add(&detail, store->sql->errmsg(db));
    bb_text_add(&detail, ")");
    return code;
}

int bb_store_fail_plain(bb_store *store, int code)
{
    return bb_store_fail(store, code, busbar_error_text(code));
}

/* ---- Statements ---- */

/* Its slot, or the free one that will be; NULL: there is none. */
static bb_statement *find_statement(bb_store *store, const char *sql)
{
    uintptr_t address = (uintptr_t)sql;
    size_t home = (size_t)((address >> 4) ^ (address >> 12));
    for (size_t i = 0; i < BB_STATEMENT_SLOTS; i++) {
        bb_statement *entry = &store->statements[(home + i) % BB_STATEMENT_SLOTS];
        if (!entry->sql || entry->sql == sql)
            return entry;
    }
    return NULL;
}

int bb_store_prepare(bb_store *store, const char *sql, sqlite3_stmt **out_stmt)
{
    bb_statement *entry = find_statement(store, sql);
    if (!entry)
        return bb_store_fail(store, BUSBAR_ENOMEM,
                             "more different statements than a handle keeps: raise BB_STATEMENT_SLOTS");
    if (!entry->stmt) {
        sqlite3_stmt *stmt = NULL;
        int native = store->sql->prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
        if (native != SQLITE_OK)
            return bb_store_fail_sqlite(store, store->sql->extended_errcode(store->db), "use Busbar's tables");
        entry->sql = sql;
        entry->stmt = stmt;
    }
    *out_stmt = entry->stmt;
    store->bind_native = SQLITE_OK;
    return BUSBAR_OK;
}

int bb_store_step(bb_store *store, sqlite3_stmt *stmt)
{
    if (store->bind_native != SQLITE_OK) {
        int refused = store->bind_native;
        store->bind_native = SQLITE_OK;
        store->sql->reset(stmt);
        return bb_store_fail_sqlite(store, refused, "hand a value to the database");
    }
    int native = store->sql->step(stmt);
    if (native == SQLITE_ROW)
        return BB_ROW;
    if (native == SQLITE_DONE)
        return BUSBAR_OK;
    int code = bb_store_fail_sqlite(store, store->sql->extended_errcode(store->db), "use the database");
    store->sql->reset(stmt);
    return code;
}

void bb_store_end(bb_store *store, sqlite3_stmt *stmt)
{
    store->sql->reset(stmt);
}

int bb_store_run(bb_store *store, sqlite3_stmt *stmt)
{
    int result;
    do
        result = bb_store_step(store, stmt);
    while (result == BB_ROW);
    if (result == BUSBAR_OK)
        bb_store_end(store, stmt);
    return result;
}

int bb_store_execute(bb_store *store, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    int result = bb_store_prepare(store, sql, &stmt);
    return result < 0 ? result : bb_store_run(store, stmt);
}

static int execute_first(bb_store *store, const char **sql)
{
    sqlite3_stmt *stmt = NULL;
    const char *tail = NULL;
    int native = store->sql->prepare_v3(store->db, *sql, -1, 0, &stmt, &tail);
    if (native != SQLITE_OK)
        return bb_store_fail_sqlite(store, store->sql->extended_errcode(store->db), "prepare a change of the database");
    *sql = tail;
    int result = stmt ? bb_store_run(store, stmt) : BUSBAR_OK;
    store->sql->finalize(stmt);
    return result;
}

int bb_store_execute_once(bb_store *store, const char *sql)
{
    int result = BUSBAR_OK;
    while (result == BUSBAR_OK && *sql)
        result = execute_first(store, &sql);
    return result;
}

int bb_store_prepare_with(bb_store *store, const char *sql, const int64_t *values, int count, sqlite3_stmt **out_stmt)
{
    int result = bb_store_prepare(store, sql, out_stmt);
    for (int i = 0; result == BUSBAR_OK && i < count; i++)
        bb_bind_integer(store, *out_stmt, i + 1, values[i]);
    return result;
}

int bb_store_find(bb_store *store, const char *sql, const int64_t *values, int count, sqlite3_stmt **out_stmt)
{
    sqlite3_stmt *stmt = NULL;
    int result = bb_store_prepare_with(store, sql, values, count, &stmt);
    if (result == BUSBAR_OK)
        result = bb_store_step(store, stmt);
    if (result == BB_ROW)
        *out_stmt = stmt;
    else if (result == BUSBAR_OK)
        bb_store_end(store, stmt);
    return result;
}

int bb_store_check_after(bb_store *store, sqlite3_stmt *stmt, int column, int64_t after)
{
    if (bb_column_integer(store, stmt, column) > after)
        return BB_ROW;
    bb_store_end(store, stmt);
    return bb_store_fail(store, BUSBAR_ECORRUPT,
                         "the database file is damaged: the rows of a table are out of order (see `busbar check`)");
}

int bb_store_find_after(bb_store *store, const char *sql, const int64_t *values, int count, int column,
                        sqlite3_stmt **out_stmt)
{
    sqlite3_stmt *stmt = NULL;
    int result = bb_store_find(store, sql, values, count, &stmt);
    if (result == BB_ROW)
        result = bb_store_check_after(store, stmt, column, values[count - 1]);
    if (result == BB_ROW)
        *out_stmt = stmt;
    return result;
}

int bb_store_integer(bb_store *store, const char *sql, const int64_t *values, int count, int64_t *out_value)
{
    sqlite3_stmt *stmt = NULL;
    int result = bb_store_find(store, sql, values, count, &stmt);
    if (result != BB_ROW)
        return result;
    *out_value = bb_column_integer(store, stmt, 0);
    bb_store_end(store, stmt);
    return BB_ROW;
}

int bb_store_change(bb_store *store, const char *sql, const int64_t *values, int count)
{
    sqlite3_stmt *stmt = NULL;
    int result = bb_store_prepare_with(store, sql, values, count, &stmt);
    return result < 0 ? result : bb_store_run(store, stmt);
}

static void note_bind(bb_store *store, int native)
{
    if (store->bind_native == SQLITE_OK)
        store->bind_native = native;
}

void bb_bind_integer(bb_store *store, sqlite3_stmt *stmt, int index, int64_t value)
{
    note_bind(store, store->sql->bind_int64(stmt, index, value));
}

void bb_bind_null(bb_store *store, sqlite3_stmt *stmt, int index)
{
    note_bind(store, store->sql->bind_null(stmt, index));
}

void bb_bind_bytes(bb_store *store, sqlite3_stmt *stmt, int index, const void *data, size_t size_bytes, bool as_text)
{
    assert(size_bytes <= BUSBAR_DATA_MAX);
    note_bind(store, as_text ? store->sql->bind_text(stmt, index, data, (int)size_bytes, SQLITE_STATIC)
                             : store->sql->bind_blob(stmt, index, data, (int)size_bytes, SQLITE_STATIC));
}

void bb_bind_text(bb_store *store, sqlite3_stmt *stmt, int index, const char *text)
{
    if (text)
        bb_bind_bytes(store, stmt, index, text, strlen(text), true);
    else
        bb_bind_null(store, stmt, index);
}

int64_t bb_column_integer(const bb_store *store, sqlite3_stmt *stmt, int index)
{
    return store->sql->column_int64(stmt, index);
}

int64_t bb_column_ms(const bb_store *store, sqlite3_stmt *stmt, int index)
{
    int64_t time_ms = bb_column_integer(store, stmt, index);
    if (time_ms > TIME_MAX_MS)
        return TIME_MAX_MS;
    return time_ms < -TIME_MAX_MS ? -TIME_MAX_MS : time_ms;
}

const char *bb_column_text(const bb_store *store, sqlite3_stmt *stmt, int index)
{
    return (const char *)store->sql->column_text(stmt, index);
}

bool bb_column_is_null(const bb_store *store, sqlite3_stmt *stmt, int index)
{
    return store->sql->column_type(stmt, index) == SQLITE_NULL;
}

/* ---- Settings that decide what a commit is worth ---- */

int bb_store_read_pragma(bb_store *store, const char *sql, int64_t *out_value)
{
    sqlite3_stmt *stmt = NULL;
    int native = store->sql->prepare_v3(store->db, sql, -1, 0, &stmt, NULL);
    if (native != SQLITE_OK)
        return bb_store_fail_sqlite(store, store->sql->extended_errcode(store->db), "read a setting of the database");
    int result = bb_store_step(store, stmt);
    if (result == BB_ROW)
        *out_value = bb_column_integer(store, stmt, 0);
    store->sql->finalize(stmt);
    return result < 0 ? result : BUSBAR_OK;
}

static int journal_is_wal(bb_store *store, bool *out_wal, bool *out_persistent)
{
    sqlite3_stmt *stmt = NULL;
    int result = bb_store_prepare(store, "PRAGMA main.journal_mode", &stmt);
    if (result < 0)
        return result;
    result = bb_store_step(store, stmt);
    if (result < 0)
        return result;
    const char *mode = result == BB_ROW ? bb_column_text(store, stmt, 0) : NULL;
    *out_wal = mode && strcmp(mode, "wal") == 0;
    *out_persistent = mode && strcmp(mode, "off") != 0 && strcmp(mode, "memory") != 0;
    bb_store_end(store, stmt);
    return BUSBAR_OK;
}

int64_t bb_store_wal_bytes(bb_store *store)
{
    sqlite3_file *file = NULL;
    sqlite3_int64 size = -1;
    bool wal = false;
    bool persistent = false;
    if (journal_is_wal(store, &wal, &persistent) < 0 || !wal)
        return -1;
    int native = store->sql->file_control(store->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &file);
    if (native != SQLITE_OK || !file || !file->pMethods || file->pMethods->xFileSize(file, &size) != SQLITE_OK)
        return -1;
    return size;
}

int bb_store_check_safety(bb_store *store)
{
    if (bb_store_readonly(store))
        return BUSBAR_OK;
    bool wal = false;
    bool persistent = false;
    int64_t synchronous = 0;
    int result = journal_is_wal(store, &wal, &persistent);
    if (result == BUSBAR_OK)
        result = bb_store_read_pragma(store, "PRAGMA main.synchronous", &synchronous);
    if (result < 0)
        return result;
    if (!persistent)
        return bb_store_fail(
            store, BUSBAR_EUNSAFE,
            "journal_mode is OFF or MEMORY (or the database is in memory): a crash would lose or damage "
            "committed events; set journal_mode to WAL, DELETE, TRUNCATE or PERSIST");
    if (synchronous == 0)
        return bb_store_fail(
            store, BUSBAR_EUNSAFE,
            "synchronous is OFF: a power cut would lose or damage committed events; set it to NORMAL or "
            "better");
    return BUSBAR_OK;
}

static int set_synchronous(bb_store *store, int level)
{
    static const char *const texts[] = {"PRAGMA main.synchronous=0", "PRAGMA main.synchronous=1",
                                        "PRAGMA main.synchronous=2", "PRAGMA main.synchronous=3"};
    assert(level >= 0 && level <= 3);
    return bb_store_execute_once(store, texts[level]);
}

static void restore_synchronous(bb_store *store)
{
    if (store->synchronous_saved < 0)
        return;
    busbar_error kept = store->error;
    if (set_synchronous(store, store->synchronous_saved) == BUSBAR_OK)
        store->synchronous_saved = -1; /* else bb_store_mend tries again */
    store->error = kept;
}

/* ---- Transactions ---- */

static const char BEGIN[] = "BEGIN IMMEDIATE";
static const char COMMIT[] = "COMMIT";
static const char ROLLBACK[] = "ROLLBACK";
static const char SAVEPOINT[] = "SAVEPOINT busbar_scope";
static const char ROLLBACK_TO[] = "ROLLBACK TO busbar_scope";
static const char RELEASE[] = "RELEASE busbar_scope";

/* What undoes a thing is made ready before the thing is done: afterwards there may be no memory for it. */
static int make_ready(bb_store *store, const char *first, const char *second)
{
    sqlite3_stmt *stmt = NULL;
    int result = bb_store_prepare(store, first, &stmt);
    return result < 0 ? result : bb_store_prepare(store, second, &stmt);
}

int bb_store_begin(bb_store *store)
{
    int result = make_ready(store, COMMIT, ROLLBACK);
    store->began_us = UINT64_MAX;
    if (result == BUSBAR_OK)
        result = bb_store_execute(store, BEGIN);
    if (result == BUSBAR_OK && store->port)
        store->began_us = store->port->mono_us(store->port->ctx);
    return result;
}

uint64_t bb_store_held_us(const bb_store *store)
{
    uint64_t now_us = store->port ? store->port->mono_us(store->port->ctx) : 0;
    return now_us > store->began_us ? now_us - store->began_us : 0;
}

uint32_t bb_store_data_version(bb_store *store)
{
    unsigned version = 0;
    if (store->sql->file_control(store->db, "main", SQLITE_FCNTL_DATA_VERSION, &version) != SQLITE_OK)
        return 0;
    return version;
}

int bb_store_take_write_lock(bb_store *store)
{
    return bb_store_execute(store, "DELETE FROM main.busbar_meta WHERE id = -1");
}

int bb_store_begin_synced(bb_store *store)
{
    bool wal = false;
    bool persistent = false;
    int64_t synchronous = 0;
    int result = journal_is_wal(store, &wal, &persistent);
    if (result == BUSBAR_OK)
        result = bb_store_read_pragma(store, "PRAGMA main.synchronous", &synchronous);
    if (result < 0)
        return result;
    /* FULL syncs every WAL commit; a rollback journal's deletion is certain only with EXTRA (pragma.html#synchronous). */
    int needed = wal ? 2 : 3;
    if (synchronous < needed) {
        result = set_synchronous(store, needed);
        if (result < 0)
            return result;
        store->synchronous_saved = (int)synchronous;
    }
    result = bb_store_begin(store);
    if (result < 0)
        restore_synchronous(store);
    store->synced = result == BUSBAR_OK;
    return result;
}

void bb_store_rollback(bb_store *store)
{
    if (bb_store_in_transaction(store)) {
        busbar_error kept = store->error;
        (void)bb_store_execute(store, ROLLBACK);
        store->error = kept;
        store->rollback_due = bb_store_in_transaction(store);
    }
    store->synced = false;
    restore_synchronous(store);
}

int bb_store_commit(bb_store *store)
{
    int result = bb_store_execute(store, COMMIT);
    if (result < 0)
        bb_store_rollback(store);
    store->commit_count += result == BUSBAR_OK;
    store->synced_count += result == BUSBAR_OK && store->synced;
    store->synced = false;
    restore_synchronous(store);
    return result;
}

int bb_store_finish(bb_store *store, int result)
{
    if (result >= 0)
        return bb_store_commit(store);
    bb_store_rollback(store);
    return result;
}

int bb_store_mend(bb_store *store)
{
    bool due = store->rollback_due && bb_store_in_transaction(store) && bb_store_writing(store);
    store->rollback_due = due;
    if (due)
        bb_store_rollback(store);
    if (store->rollback_due)
        return bb_store_fail_plain(store, BUSBAR_ENOMEM);
    if (!bb_store_in_transaction(store))
        restore_synchronous(store);
    if (!due)
        return BUSBAR_OK;
    return bb_store_fail(
        store, BUSBAR_EROLLEDBACK,
        "a transaction that had failed for want of memory, and could not be rolled back then, is rolled "
        "back now, with whatever was written in it since: start it again");
}

/* BUSBAR_EMISUSE: a handler did it, which has been said. */
static int transaction_gone(bb_store *store, int result)
{
    if (result == BUSBAR_EMISUSE)
        return result;
    return bb_store_fail(
        store, BUSBAR_EROLLEDBACK,
        "SQLite rolled the whole transaction back (disk full, I/O error or out of memory): none of its "
        "writes exist; start it again");
}

int bb_store_check_rollback(bb_store *store, int result)
{
    return result >= 0 || bb_store_in_transaction(store) ? result : transaction_gone(store, result);
}

int bb_store_enter(bb_store *store, bb_scope *out_scope)
{
    bool inside = bb_store_in_transaction(store);
    if (!inside && bb_store_writing(store))
        return bb_store_fail(store, BUSBAR_ETXN,
                             "a statement of the application is still writing: step it to its end or reset it first");
    int result = inside ? make_ready(store, ROLLBACK_TO, RELEASE) : BUSBAR_OK;
    if (result == BUSBAR_OK)
        result = inside ? bb_store_execute(store, SAVEPOINT) : bb_store_begin(store);
    if (result == BUSBAR_OK)
        *out_scope = (bb_scope){.own = !inside, .application_rowid = store->sql->last_insert_rowid(store->db)};
    return result;
}

static int leave_savepoint(bb_store *store, int result)
{
    if (!bb_store_in_transaction(store))
        return transaction_gone(store, result);
    busbar_error kept = store->error;
    int released = BUSBAR_OK;
    if (result < 0)
        released = bb_store_execute(store, ROLLBACK_TO);
    if (released == BUSBAR_OK)
        released = bb_store_execute(store, RELEASE);
    if (result < 0)
        store->error = kept;
    return result < 0 ? result : (released < 0 ? released : result);
}

static int leave_transaction(bb_store *store, int result)
{
    if (result < 0) {
        bb_store_rollback(store);
        return result;
    }
    int committed = bb_store_commit(store);
    return committed < 0 ? committed : result;
}

int bb_store_leave(bb_store *store, const bb_scope *scope, int result)
{
    result = scope->own ? leave_transaction(store, result) : leave_savepoint(store, result);
    store->sql->set_last_insert_rowid(store->db, scope->application_rowid);
    return result;
}
