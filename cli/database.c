/* SPDX-License-Identifier: MIT */
#include "database.h"

#include "command.h"
#include "out.h"

#include <string.h>

/* A handle must have a source to open, also where it is never used and the machine has no identity. */
#define UNUSED_SOURCE "busbar"

/* Of the limit on the file and its WAL, in which a quarter is set aside for the WAL: where that is checkpointed. */
#define WAL_PART 16

int database_exit_code(int code)
{
    if (code == BUSBAR_ENOTFOUND)
        return EXIT_NOT_FOUND;
    bool is_word = code <= BUSBAR_ETYPE && code >= BUSBAR_ETOPIC && code != BUSBAR_EJSON && code != BUSBAR_EDATASIZE;
    is_word = is_word || (code <= BUSBAR_EFILTER && code >= BUSBAR_ESCHEDULE);
    return is_word ? EXIT_USAGE : EXIT_FAILED;
}

/* What the program can say better than the library, because it knows its own verbs. NULL: nothing. */
static const char *advice(int code, int native)
{
    switch (code) {
    case BUSBAR_ENOTBUS:
        return native == 0 ? "is not a Busbar database; `busbar init` adds Busbar's tables to it" : NULL;
    case BUSBAR_ESCHEMAOLDER:
        return "its tables were written by an older Busbar; `busbar init` brings them up to date";
    case BUSBAR_ESCHEMANEWER:
        return "its tables were written by a newer Busbar; use that version or a later one";
    case BUSBAR_ELOCKED:
        return "is locked by another process; try again when that has finished its transaction";
    case BUSBAR_ESOURCE:
        return "this machine has no identity to use as the event's source; give --source";
    case BUSBAR_EDATASIZE:
        return "the data has more than 16 MiB; store it elsewhere and publish a reference to it";
    case BUSBAR_EMOVED:
        return "was removed or replaced by another file while it was in use; what is at its place now was not touched";
    default:
        return NULL;
    }
}

int database_fail_with(const char *path, int code, const busbar_error *error)
{
    const char *text = error->code == code && error->text[0] != '\0' ? error->text : busbar_error_text(code);
    const char *better = advice(code, error->native);
    size_t length = strlen(path);
    if (better != NULL)
        out_error("%s: %s", path, better);
    else if (strncmp(text, path, length) == 0 && text[length] == ':')
        out_error("%s", text);
    else
        out_error("%s: %s", path, text);
    return database_exit_code(code);
}

int database_fail(const database *self, int code)
{
    busbar_error error;
    busbar_error_get(self->bus, &error);
    return database_fail_with(self->path, code, &error);
}

int database_fail_query(const database *self, int code, const char *pattern)
{
    if (code != BUSBAR_EPATTERN || pattern == NULL)
        return database_fail(self, code);
    out_error("--type \"%s\": %s", pattern, busbar_error_text(code));
    return EXIT_USAGE;
}

static int fail_opening(const char *path, int code, const busbar_error *error, bool make)
{
    if (code == BUSBAR_ENOTFOUND && !make) {
        out_error("%s: no such file; `busbar init` creates a database", path);
        return EXIT_NOT_FOUND;
    }
    return database_fail_with(path, code, error);
}

busbar_options database_bus_options(void)
{
    return (busbar_options){.size = sizeof(busbar_options),
                            .port = busbar_linux_port(),
                            .source = UNUSED_SOURCE,
                            .max_data_bytes = DATABASE_DATA_MAX_BYTES};
}

static int open_file(database *out, const char *path, busbar_linux_mode mode, uint64_t max_bytes)
{
    busbar_linux_database_options options = {.size = sizeof options, .mode = mode, .wal_bytes = max_bytes / WAL_PART};
    busbar_error error = {0};
    *out = (database){.path = path};
    if (path[0] == '\0') {
        out_error("the name of the database is empty");
        return EXIT_USAGE;
    }
    int code = busbar_linux_database_open(&out->file, path, &options, &error);
    if (code != BUSBAR_OK)
        return fail_opening(path, code, &error, mode == BUSBAR_LINUX_CREATE);
    return EXIT_DONE;
}

static int open_both(database *out, const char *path, busbar_linux_mode mode, const busbar_options *options)
{
    busbar_error error = {0};
    int exit_code = open_file(out, path, mode, options->max_bytes);
    if (exit_code != EXIT_DONE)
        return exit_code;
    int code = busbar_open(&out->bus, busbar_linux_database_handle(out->file), options, &error);
    return code == BUSBAR_OK ? EXIT_DONE : database_fail_with(path, code, &error);
}

/* Asking for the status is the way to learn whether the tables are there and of this version. */
static int check_tables(const database *self, bool older_will_do)
{
    busbar_status status = {.size = sizeof status};
    int code = busbar_status_get(self->bus, &status);
    if (code == BUSBAR_OK || (code == BUSBAR_ESCHEMAOLDER && older_will_do))
        return EXIT_DONE;
    return database_fail(self, code);
}

static int close_on_failure(database *self, int exit_code)
{
    if (exit_code != EXIT_DONE)
        database_close(self);
    return exit_code;
}

int database_open_reading(database *out, const char *path)
{
    busbar_options options = database_bus_options();
    int exit_code = open_both(out, path, BUSBAR_LINUX_READ, &options);
    if (exit_code == EXIT_DONE)
        exit_code = check_tables(out, false);
    return close_on_failure(out, exit_code);
}

static bool is_damage(int code, const busbar_error *error)
{
    return code == BUSBAR_ECORRUPT || (code == BUSBAR_ENOTBUS && error->native != 0); /* not even a database any more */
}

int database_open_checking(database *out, const char *path, busbar_error *out_damage)
{
    busbar_linux_database_options file = {.size = sizeof file, .mode = BUSBAR_LINUX_READ};
    busbar_options options = database_bus_options();
    *out = (database){.path = path};
    int code = busbar_linux_database_open(&out->file, path, &file, out_damage);
    if (code == BUSBAR_OK)
        code = busbar_open(&out->bus, busbar_linux_database_handle(out->file), &options, out_damage);
    if (code == BUSBAR_OK || is_damage(code, out_damage))
        return EXIT_DONE;
    return close_on_failure(out, fail_opening(path, code, out_damage, false));
}

int database_open_with(database *out, const char *path, const busbar_options *options)
{
    int exit_code = open_both(out, path, BUSBAR_LINUX_WRITE, options);
    if (exit_code == EXIT_DONE)
        exit_code = check_tables(out, true);
    return close_on_failure(out, exit_code);
}

int database_open_writing(database *out, const char *path)
{
    busbar_options options = database_bus_options();
    return database_open_with(out, path, &options);
}

int database_open_making(database *out, const char *path)
{
    busbar_options options = database_bus_options();
    return close_on_failure(out, open_both(out, path, BUSBAR_LINUX_CREATE, &options));
}

void database_close(database *self)
{
    busbar_close(self->bus);
    busbar_linux_database_close(self->file);
    self->bus = NULL;
    self->file = NULL;
}
