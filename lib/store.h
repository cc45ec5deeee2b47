/* SPDX-License-Identifier: MIT */
/*
 * The ground of the modules that know SQL: one connection, its routines, prepared statements, transactions, and the only
 * place where a code of SQLite becomes a code of ours.
 */
#ifndef BB_STORE_H
#define BB_STORE_H

#include <busbar/busbar.h>
#include <busbar/port.h>
#include <busbar/sqlite.h>

/* A row is there (bb_store_step). */
#define BB_ROW 1

/*
 * Most different statements that one handle keeps; a power of two. tests/header/sizes.sh holds the number of SQL texts in lib/
 * below seven eighths of it; bb_store_prepare refuses what would be one too many.
 */
#define BB_STATEMENT_SLOTS 256u

typedef struct bb_statement {
    const char *sql; /* the text's address is the key */
    sqlite3_stmt *stmt;
} bb_statement;

typedef struct bb_store {
    const busbar_sqlite *sql;
    sqlite3 *db;
    int synchronous_saved;   /* to be put back after a synced transaction; -1: nothing to put back */
    int bind_native;         /* why the statement in hand cannot be run: a value that SQLite did not take */
    const busbar_port *port; /* whose clock tells how long the write lock is held; NULL: nobody asks */
    uint64_t began_us;       /* when bb_store_begin last got the lock; UINT64_MAX: it did not */
    uint32_t first_page;     /* the connection had written so many pages when the store was made */
    int64_t commit_count;    /* transactions of our own that were committed */
    int64_t synced_count;    /* and of these, synced ones */
    bool synced;             /* the transaction of our own that is open is a synced one */
    bool moved;              /* as last looked: the file's name leads to another file, or to none */
    bool rollback_due;       /* a transaction of our own could not be rolled back for want of memory */
    busbar_error error;
    bb_statement
        *statements; /* BB_STATEMENT_SLOTS: whoever makes the store has room for them, behind what is used more often */
} bb_store;

/* `statements` are zero, and live as long as the store. */
void bb_store_init(bb_store *store, bb_statement statements[BB_STATEMENT_SLOTS], const busbar_sqlite *sql, sqlite3 *db);
void bb_store_fini(bb_store *store);

/* Refuses a connection that would lose what it commits: BUSBAR_EUNSAFE. */
int bb_store_check_safety(bb_store *store);
bool bb_store_readonly(const bb_store *store);
/* Size of the WAL file; -1 if there is none or it cannot be told. */
int64_t bb_store_wal_bytes(bb_store *store);
/* Bytes that the connection has written since bb_store_init, in whole pages; what a checkpoint copies is not among them. */
int64_t bb_store_written_bytes(bb_store *store, int64_t page_bytes);
/* Looks whether the file's name still leads to the file that is open. Costs a call of the file system. */
void bb_store_look_moved(bb_store *store);
/* BUSBAR_EMOVED if it did not when last looked, and still does not. Mostly asks nobody. */
int bb_store_check_moved(bb_store *store);
/* A transaction is open on the connection, whoever opened it (BEGIN or SAVEPOINT). */
bool bb_store_in_transaction(const bb_store *store);
/* The open transaction has written, or has taken the write lock. */
bool bb_store_writing(const bb_store *store);

/* Records a failure that is not SQLite's. Returns `code`. */
int bb_store_fail(bb_store *store, int code, const char *text);
/* The same with the code's own text. */
int bb_store_fail_plain(bb_store *store, int code);
/* Records SQLite's current error while doing `what` ("read the cursor of a consumer"). Returns our code for it. */
int bb_store_fail_sqlite(bb_store *store, int native, const char *what);
/* The same for another connection than the store's. */
int bb_store_fail_on(bb_store *store, sqlite3 *db, int native, const char *what);

/*
 * Gives the prepared statement of a text, reset. `sql` must be a static text: its address is remembered. The statement stays
 * the store's. Every use ends with bb_store_end, bb_store_run, or a failed bb_store_step.
 */
int bb_store_prepare(bb_store *store, const char *sql, sqlite3_stmt **out_stmt);
/* The same, with `count` integers bound from the first on; those at the places of texts are bound over. */
int bb_store_prepare_with(bb_store *store, const char *sql, const int64_t *values, int count, sqlite3_stmt **out_stmt);
/* BB_ROW, BUSBAR_OK when done, or a code; on a code the statement is reset. */
int bb_store_step(bb_store *store, sqlite3_stmt *stmt);
void bb_store_end(bb_store *store, sqlite3_stmt *stmt);
/* Steps a statement that returns no rows to its end, and resets it. */
int bb_store_run(bb_store *store, sqlite3_stmt *stmt);
/* Prepares and runs a static text without parameters. */
int bb_store_execute(bb_store *store, const char *sql);
/* Runs a text once without keeping a statement: table definitions and pragmas. Several statements may be joined by `;`. */
int bb_store_execute_once(bb_store *store, const char *sql);
/* Reads a pragma's integer. SQLite bakes some answers into the statement: none is kept. */
int bb_store_read_pragma(bb_store *store, const char *sql, int64_t *out_value);
/* Prepares, binds `count` integers, and reads the first column of the first row as an integer. BB_ROW, BUSBAR_OK if none. */
int bb_store_integer(bb_store *store, const char *sql, const int64_t *values, int count, int64_t *out_value);
/*
 * Prepares, binds `count` integers, and steps once. BB_ROW with *out_stmt on the row (bb_store_end it), or BUSBAR_OK when
 * there is none: then nothing is open.
 */
int bb_store_find(bb_store *store, const char *sql, const int64_t *values, int count, sqlite3_stmt **out_stmt);
/* The row in hand has a greater number in `column` than `after`. BB_ROW; else BUSBAR_ECORRUPT, and the statement is ended. */
int bb_store_check_after(bb_store *store, sqlite3_stmt *stmt, int column, int64_t after);
/* The same as bb_store_find for statements whose last value says after which number the row is to be, and whose `column` has its number.
   BUSBAR_ECORRUPT if that is not greater: in a damaged table, who goes from row to row would come back for ever. */
int bb_store_find_after(bb_store *store, const char *sql, const int64_t *values, int count, int column,
                        sqlite3_stmt **out_stmt);
/* Prepares, binds `count` integers, runs. */
int bb_store_change(bb_store *store, const char *sql, const int64_t *values, int count);

/* Binding never fails on a valid index and small values; NULL texts bind NULL. Nothing is copied: the value must live until
   the statement has run. */
void bb_bind_integer(bb_store *store, sqlite3_stmt *stmt, int index, int64_t value);
void bb_bind_null(bb_store *store, sqlite3_stmt *stmt, int index);
void bb_bind_text(bb_store *store, sqlite3_stmt *stmt, int index, const char *text);
/* `size_bytes` is at most BUSBAR_DATA_MAX. */
void bb_bind_bytes(bb_store *store, sqlite3_stmt *stmt, int index, const void *data, size_t size_bytes, bool as_text);

int64_t bb_column_integer(const bb_store *store, sqlite3_stmt *stmt, int index);
/*
 * A time in milliseconds: what no clock can have said is moved to the next that one can, so that neither sums nor
 * differences of some of them overflow, whatever stands in a file.
 */
int64_t bb_column_ms(const bb_store *store, sqlite3_stmt *stmt, int index);
/* NULL for SQL NULL. Valid until the statement is stepped or reset. */
const char *bb_column_text(const bb_store *store, sqlite3_stmt *stmt, int index);
bool bb_column_is_null(const bb_store *store, sqlite3_stmt *stmt, int index);

/*
 * What could not be undone in a former call for want of memory or for an I/O error is undone now, if it can be: a
 * transaction of our own, a raised synchronous setting. At the entry of every function that writes.
 * Returns BUSBAR_OK; BUSBAR_ENOMEM: it cannot be; BUSBAR_EROLLEDBACK: a transaction was rolled back that the caller may take
 * for its own by now (SQLite cannot tell whose it is).
 */
int bb_store_mend(bb_store *store);
/* For a call that began inside the caller's transaction: BUSBAR_EROLLEDBACK if it failed and the transaction is gone. */
int bb_store_check_rollback(bb_store *store, int result);

/* A write transaction of our own (BEGIN IMMEDIATE). A failed commit rolls back. */
int bb_store_begin(bb_store *store);
/* Microseconds since it got the lock. */
uint64_t bb_store_held_us(const bb_store *store);
int bb_store_commit(bb_store *store);
void bb_store_rollback(bb_store *store);
/* The end of such a transaction: commits, or rolls back if `result` is a failure, and returns that. */
int bb_store_finish(bb_store *store, int result);

/*
 * A number that changes with every commit to the database, whoever makes it, and with none of the writes inside a
 * transaction: a row that was written under one number and is found under another was committed between. 0: not known.
 */
uint32_t bb_store_data_version(bb_store *store);

/* Takes the write lock inside the caller's transaction without changing a page. The tables exist. */
int bb_store_take_write_lock(bb_store *store);

/*
 * As bb_store_begin, but its commit is synced so that it, and everything committed before it by anyone, survives a power cut. The
 * connection's synchronous setting is raised for that one transaction, and put back by commit and rollback.
 */
int bb_store_begin_synced(bb_store *store);

/*
 * A scope in which several writes stand or fall together: a transaction of our own in autocommit, else a savepoint in the
 * caller's. leave() keeps the writes if `result` is not negative, else undoes them; it returns `result`, or why keeping
 * failed (BUSBAR_EROLLEDBACK if SQLite ended the caller's transaction).
 */
typedef struct bb_scope {
    bool own;                        /* a transaction of our own; else a savepoint in the caller's */
    sqlite3_int64 application_rowid; /* the connection's last_insert_rowid, which leave() puts back */
} bb_scope;
int bb_store_enter(bb_store *store, bb_scope *out_scope);
int bb_store_leave(bb_store *store, const bb_scope *scope, int result);

#endif
