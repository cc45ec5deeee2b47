/* SPDX-License-Identifier: MIT */
/* busbar init: makes a database ready for events. */
#include "command.h"
#include "database.h"
#include "out.h"

static const char help[] =
    "usage: busbar init DATABASE\n"
    "\n"
    "Creates the database file if there is none, and Busbar's tables in it; tables of an older\n"
    "Busbar are migrated, in one transaction. A database that is up to date is left as it is. A new\n"
    "file can be read and written by its owner only, and keeps a write-ahead log (WAL).\n";

/* What there was before, in the library's codes: BUSBAR_OK if the tables were up to date. */
static int look(const database *db)
{
    busbar_status status = {.size = sizeof status};
    return busbar_status_get(db->bus, &status);
}

static const char *done(int before)
{
    if (before == BUSBAR_ENOTBUS)
        return "created";
    return before == BUSBAR_ESCHEMAOLDER ? "migrated" : "up to date";
}

static int run(const arguments *args)
{
    database db;
    int exit_code = database_open_making(&db, args->operands[0]);
    if (exit_code != EXIT_DONE)
        return exit_code;
    int before = look(&db);
    int code = busbar_migrate(db.bus);
    if (code == BUSBAR_OK)
        out_line("%s: %s, schema %d", db.path, done(before), BUSBAR_SCHEMA_VERSION);
    else
        exit_code = database_fail(&db, code);
    database_close(&db);
    return exit_code;
}

const command cmd_init = {
    .name = "init",
    .summary = "create a database, or bring its tables up to date",
    .help = help,
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
