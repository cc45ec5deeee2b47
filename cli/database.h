/* SPDX-License-Identifier: MIT */
/*
 * The database file that a verb works on, and what to say when it does not work. Knows how files and buses are opened;
 * knows no SQL and no verb.
 */
#ifndef DATABASE_H
#define DATABASE_H

#include <busbar/busbar.h>
#include <busbar/linux.h>

/* Data of one event and one line of NDJSON are refused beyond this. */
#define DATABASE_DATA_MAX_BYTES (16u * 1024 * 1024)

typedef struct database {
    const char *path;
    busbar_linux_database *file;
    busbar *bus;
} database;

/* All return EXIT_DONE, or an exit code after they have reported what is wrong. */

/* Opens a database that has Busbar's tables, to look at it. */
int database_open_reading(database *out, const char *path);
/*
 * The same to examine it, whatever its tables are. If it is too damaged for that, the result is EXIT_DONE all the same, with
 * out->bus NULL and *out_damage saying why.
 */
int database_open_checking(database *out, const char *path, busbar_error *out_damage);
/* Opens one to write. */
int database_open_writing(database *out, const char *path);
/* The same, with limits: `options` are database_bus_options() and what was added to them; without a source, this machine's. */
int database_open_with(database *out, const char *path, const busbar_options *options);
/* Opens one to write, making the file if there is none. Tables may be missing. */
int database_open_making(database *out, const char *path);

/* Legal after a failed opening, and twice. */
void database_close(database *self);

/* The bus options of every handle of the program; all events are expected to name their source. */
busbar_options database_bus_options(void);

/* Reports the failure `code` of a call on the bus. Returns the exit code that it deserves. */
int database_fail(const database *self, int code);
/* The same for a call that was given `pattern` by --type. */
int database_fail_query(const database *self, int code, const char *pattern);
/* Reports a failure whose detail is at hand. */
int database_fail_with(const char *path, int code, const busbar_error *error);

/* The exit code that goes with a negative code of the library. */
int database_exit_code(int code);

#endif
