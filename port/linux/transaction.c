/* SPDX-License-Identifier: MIT */
/* Write transactions for programs that speak no SQL of their own. Knows SQLite, but none of Busbar's tables. */
#include <busbar/linux.h>

#include "error.h"

#include <sqlite3.h>

static int run(sqlite3 *db, const char *sql, const char *what, busbar_error *out_error)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK)
        return BUSBAR_OK;
    int native = sqlite3_extended_errcode(db);
    int code = bb_linux_error_code(native);
    if (code == BUSBAR_ELOCKED)
        return bb_linux_error_set(out_error, code, native,
                                  "%s: the database is locked by another connection; try again", what);
    return bb_linux_error_set(out_error, code, native, "%s: %s", what, sqlite3_errmsg(db));
}

int busbar_linux_transaction_begin(sqlite3 *db, busbar_error *out_error)
{
    static const char what[] = "cannot begin a transaction";
    if (db == NULL)
        return bb_linux_error_set(out_error, BUSBAR_EINVAL, 0, "%s: no connection", what);
    if (!sqlite3_get_autocommit(db))
        return bb_linux_error_set(out_error, BUSBAR_ETXN, 0, "%s: one is open; end that first", what);
    return run(db, "BEGIN IMMEDIATE", what, out_error);
}

int busbar_linux_transaction_commit(sqlite3 *db, busbar_error *out_error)
{
    static const char what[] = "cannot commit";
    if (db == NULL)
        return bb_linux_error_set(out_error, BUSBAR_EINVAL, 0, "%s: no connection", what);
    if (sqlite3_get_autocommit(db))
        return bb_linux_error_set(out_error, BUSBAR_ENOTXN, 0, "%s: no transaction is open", what);
    return run(db, "COMMIT", what, out_error);
}

int busbar_linux_transaction_rollback(sqlite3 *db, busbar_error *out_error)
{
    static const char what[] = "cannot roll back";
    if (db == NULL)
        return bb_linux_error_set(out_error, BUSBAR_EINVAL, 0, "%s: no connection", what);
    return sqlite3_get_autocommit(db) ? BUSBAR_OK : run(db, "ROLLBACK", what, out_error);
}
