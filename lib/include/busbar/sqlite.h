/* SPDX-License-Identifier: MIT */
/*
 * busbar/sqlite.h: the SQLite routines that Busbar calls.
 *
 * A process may hold more than one copy of SQLite (a static one, SQLCipher, a language runtime's). A connection belongs
 * to the copy that opened it; another copy crashes on it. Busbar therefore calls SQLite only through one table:
 *
 *   - options.sqlite == NULL: the copy that the Busbar library was linked with. busbar_open() refuses a connection that
 *     another copy opened (BUSBAR_ECOPY).
 *   - options.sqlite == &table: the caller's copy. Fill the table in a source file that includes the caller's sqlite3.h:
 *
 *         #include "my_sqlite3.h"
 *         #include <busbar/sqlite.h>
 *         static const busbar_sqlite my_routines = BUSBAR_SQLITE_ROUTINES;
 *
 * The table must outlive every handle opened with it.
 */
#ifndef BUSBAR_SQLITE_H
#define BUSBAR_SQLITE_H

#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Members are appended only; `size` tells how many of them the caller's table has. */
typedef struct busbar_sqlite {
    size_t size; /* sizeof(busbar_sqlite) */
    int (*libversion_number)(void);
    sqlite3_vfs *(*vfs_find)(const char *name);
    int (*get_autocommit)(sqlite3 *db);
    int (*txn_state)(sqlite3 *db, const char *schema);
    int (*db_readonly)(sqlite3 *db, const char *schema);
    const char *(*db_filename)(sqlite3 *db, const char *schema);
    int (*extended_errcode)(sqlite3 *db);
    const char *(*errmsg)(sqlite3 *db);
    int (*changes)(sqlite3 *db);
    sqlite3_int64 (*last_insert_rowid)(sqlite3 *db);
    void (*set_last_insert_rowid)(sqlite3 *db, sqlite3_int64 rowid);
    int (*prepare_v3)(sqlite3 *db, const char *sql, int size_bytes, unsigned flags, sqlite3_stmt **out_stmt,
                      const char **out_tail);
    int (*step)(sqlite3_stmt *stmt);
    int (*reset)(sqlite3_stmt *stmt);
    int (*finalize)(sqlite3_stmt *stmt);
    int (*bind_null)(sqlite3_stmt *stmt, int index);
    int (*bind_int64)(sqlite3_stmt *stmt, int index, sqlite3_int64 value);
    int (*bind_text)(sqlite3_stmt *stmt, int index, const char *text, int size_bytes, void (*destructor)(void *));
    int (*bind_blob)(sqlite3_stmt *stmt, int index, const void *data, int size_bytes, void (*destructor)(void *));
    int (*column_type)(sqlite3_stmt *stmt, int index);
    sqlite3_int64 (*column_int64)(sqlite3_stmt *stmt, int index);
    const unsigned char *(*column_text)(sqlite3_stmt *stmt, int index);
    const void *(*column_blob)(sqlite3_stmt *stmt, int index);
    int (*column_bytes)(sqlite3_stmt *stmt, int index);
    int (*file_control)(sqlite3 *db, const char *schema, int op, void *arg);
    int (*db_status)(sqlite3 *db, int op, int *out_current, int *out_highest, int reset);
} busbar_sqlite;

#define BUSBAR_SQLITE_ROUTINES                                                                                         \
    {                                                                                                                  \
        sizeof(busbar_sqlite), sqlite3_libversion_number, sqlite3_vfs_find, sqlite3_get_autocommit, sqlite3_txn_state, \
            sqlite3_db_readonly, sqlite3_db_filename, sqlite3_extended_errcode, sqlite3_errmsg, sqlite3_changes,       \
            sqlite3_last_insert_rowid, sqlite3_set_last_insert_rowid, sqlite3_prepare_v3, sqlite3_step, sqlite3_reset, \
            sqlite3_finalize, sqlite3_bind_null, sqlite3_bind_int64, sqlite3_bind_text, sqlite3_bind_blob,             \
            sqlite3_column_type, sqlite3_column_int64, sqlite3_column_text, sqlite3_column_blob, sqlite3_column_bytes, \
            sqlite3_file_control, sqlite3_db_status                                                                    \
    }

#ifdef __cplusplus
}
#endif

#endif
