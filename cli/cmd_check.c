/* SPDX-License-Identifier: MIT */
/* busbar check: examines the whole database, and says what to do about what it finds. */
#include "command.h"
#include "database.h"
#include "json_writer.h"
#include "out.h"

static const char help[] = "usage: busbar check DATABASE [--json]\n"
                           "\n"
                           "Examines the whole database: its pages (the application's tables too), Busbar's tables\n"
                           "and indexes, the counters of every consumer and lane, cursors and the watermark against\n"
                           "the log, and what rows refer to. Writes nothing, works on copies and read-only files and\n"
                           "beside workers. Reads everything: on a large database it takes its time.\n"
                           "\n"
                           "Prints each finding with what to do. The exit code is 0 if there is none, 4 if there are\n"
                           "some, 1 if the database could not be examined.\n"
                           "\n"
                           "  --json            one object: database, sound, and findings (each with part, text,\n"
                           "                    advice)\n";

enum { OPT_JSON };

static const option options[] = {[OPT_JSON] = {"json", 0, OPTION_FLAG}};

typedef struct report {
    json_writer json;
    bool as_json;
    size_t count;
} report;

static int add(const busbar_finding *finding, void *ctx)
{
    report *self = ctx;
    self->count++;
    if (self->as_json) {
        json_begin(&self->json, NULL, '{');
        json_text(&self->json, "part", finding->part);
        json_text(&self->json, "text", finding->text);
        json_text(&self->json, "advice", finding->advice);
        json_end(&self->json, '}');
        return 0;
    }
    out_cell(finding->part, OUT_BAD, 10);
    out_line("%s", finding->text);
    out_cell("", OUT_PLAIN, 10);
    out_line("-> %s", finding->advice);
    return 0;
}

static void begin(report *self, const database *db)
{
    if (!self->as_json)
        return;
    json_begin(&self->json, NULL, '{');
    json_text(&self->json, "database", db->path);
    json_begin(&self->json, "findings", '[');
}

static int end(report *self, const database *db)
{
    if (self->as_json) {
        json_end(&self->json, ']');
        json_bool(&self->json, "sound", self->count == 0);
        json_end(&self->json, '}');
        json_print(&self->json);
    } else if (self->count == 0) {
        out_line("%s: nothing found", db->path);
    }
    return self->count == 0 ? EXIT_DONE : EXIT_UNHEALTHY;
}

/* So damaged that no bus opens on it: that is what is found. */
static int add_unreadable(report *self, const busbar_error *error)
{
    const busbar_finding finding = {
        .size = sizeof finding,
        .part = "file",
        .text = error->text,
        .advice = "restore a backup, or save what can be read with `.recover` of the sqlite3 shell",
    };
    return add(&finding, self);
}

static int run(const arguments *args)
{
    database db;
    busbar_error damage = {.code = 0};
    report self = {.as_json = args->values[OPT_JSON] != NULL};
    int exit_code = database_open_checking(&db, args->operands[0], &damage);
    if (exit_code != EXIT_DONE)
        return exit_code;
    begin(&self, &db);
    int code = db.bus == NULL ? add_unreadable(&self, &damage) : busbar_check(db.bus, add, &self);
    exit_code = code == BUSBAR_OK ? end(&self, &db) : database_fail(&db, code);
    database_close(&db);
    return exit_code;
}

const command cmd_check = {
    .name = "check",
    .summary = "examine the database, and say what to do; exit code 4 with findings",
    .help = help,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
