/* SPDX-License-Identifier: MIT */
/* busbar forget: a consumer that will never come back is removed, and holds no events any more. */
#include <inttypes.h>
#include <string.h>

#include "command.h"
#include "database.h"
#include "out.h"

enum { YES };

static const option options[] = {[YES] = {"yes", 'y', OPTION_FLAG}};

static const char help[] =
    "usage: busbar forget DATABASE CONSUMER [--yes]\n"
    "\n"
    "Forgets a consumer for good: its progress, its counters, its dead letters. Events that only it\n"
    "still needed may then be pruned. Should it come back, it begins anew. Not while a worker holds it.\n"
    "\n"
    "  -y, --yes           do it; without, what would be forgotten is told\n";

typedef struct finding {
    const char *name;
    bool found;
    int64_t pending;
    int64_t retrying;
} finding;

static int find(const busbar_consumer_status *consumer, void *ctx)
{
    finding *f = ctx;
    if (strcmp(consumer->name, f->name) != 0)
        return 0;
    f->found = true;
    f->pending = consumer->pending;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        f->retrying += consumer->progress[lane].retrying;
    return 0;
}

static int tell(const database *db, const arguments *args)
{
    finding f = {.name = args->operands[1]};
    int code = busbar_consumer_list(db->bus, find, &f);
    if (code != BUSBAR_OK)
        return database_fail(db, code);
    if (!f.found) {
        out_error("%s: there is no consumer named \"%s\"", db->path, f.name);
        return EXIT_NOT_FOUND;
    }
    out_error("%s has %" PRId64 " events before it and %" PRId64 " that wait for retry: give --yes to forget it",
              f.name, f.pending, f.retrying);
    return EXIT_USAGE;
}

static int run(const arguments *args)
{
    database db;
    int exit_code = database_open_writing(&db, args->operands[0]);
    if (exit_code != EXIT_DONE)
        return exit_code;
    if (!args->values[YES]) {
        exit_code = tell(&db, args);
    } else {
        int code = busbar_consumer_remove(db.bus, args->operands[1]);
        if (code == BUSBAR_OK)
            out_line("%s: forgotten", args->operands[1]);
        else
            exit_code = database_fail(&db, code);
    }
    database_close(&db);
    return exit_code;
}

const command cmd_forget = {
    .name = "forget",
    .summary = "remove a consumer that will not come back",
    .help = help,
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .operands_min = 2,
    .operands_max = 2,
    .run = run,
};
