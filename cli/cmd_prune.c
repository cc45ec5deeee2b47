/* SPDX-License-Identifier: MIT */
/* busbar prune: deletes finished events, and gives their room back on request. */
#include "command.h"
#include "database.h"
#include "human.h"
#include "out.h"
#include "value.h"

#include <inttypes.h>
#include <time.h>

#define PAUSE_MIN_MS 1
#define PAUSE_MAX_MS 100

enum { OLDER_THAN, KEEP, VACUUM };

static const option options[] = {
    [OLDER_THAN] = {"older-than", 0, OPTION_VALUE},
    [KEEP] = {"keep", 0, OPTION_VALUE},
    [VACUUM] = {"vacuum", 0, OPTION_FLAG},
};

static const char help[] =
    "usage: busbar prune DATABASE [--OPTION...]\n"
    "\n"
    "Deletes events that every consumer has finished, or that no consumer is there for. The newest\n"
    "of each lane always stays. Their pages are used again; the file gets smaller with --vacuum only.\n"
    "Works in small pieces with pauses in between, so that others come to write meanwhile.\n"
    "\n"
    "  --older-than D      only events published longer ago for certain: 90s, 10m, 3d\n"
    "  --keep N            leave the newest N of each lane\n"
    "  --vacuum            give free pages back: in place where auto_vacuum is INCREMENTAL, else\n"
    "                      by writing the file anew, which needs as much room again and locks out\n"
    "                      everybody else meanwhile\n";

static int read_options(const arguments *args, busbar_pruning *out)
{
    const char *older = args->values[OLDER_THAN];
    const char *keep = args->values[KEEP];
    if (older && (!value_duration(older, &out->older_than_ms) || out->older_than_ms == 0))
        return arguments_fail(args, "--older-than takes a duration such as 90s, 10m or 3d, not \"%s\"", older);
    if (keep && !value_number(keep, INT64_MAX, &out->keep))
        return arguments_fail(args, "--keep takes a number of events, not \"%s\"", keep);
    out->vacuum = args->values[VACUUM] != NULL;
    return EXIT_DONE;
}

/* What stays because somebody still needs it: a consumer that never comes back is found here. */
static int tell_holder(const busbar_consumer_status *consumer, void *ctx)
{
    (void)ctx;
    if (consumer->pending > 0)
        out_note("%s still needs %s %s%s", consumer->name, human_count(consumer->pending).text,
                 consumer->pending == 1 ? "event" : "events", consumer->worked ? "" : ", and no worker runs it");
    return 0;
}

/* 0: not known. */
static int64_t file_bytes(const database *db)
{
    busbar_status status = {.size = sizeof status};
    return busbar_status_get(db->bus, &status) == BUSBAR_OK ? status.database_bytes : 0;
}

static int64_t now_us(void)
{
    struct timespec now;
    return clock_gettime(CLOCK_MONOTONIC, &now) == 0 ? (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 : 0;
}

/* Twice as long as the piece took: an application that waits for the write lock finds it free when it tries again. */
static int pause_for_others(void *ctx)
{
    int64_t *since_us = ctx;
    int64_t pause_us = (now_us() - *since_us) * 2;
    if (pause_us < PAUSE_MIN_MS * 1000)
        pause_us = PAUSE_MIN_MS * 1000;
    if (pause_us > PAUSE_MAX_MS * 1000)
        pause_us = PAUSE_MAX_MS * 1000;
    const struct timespec pause = {.tv_nsec = (long)pause_us * 1000};
    nanosleep(&pause, NULL);
    *since_us = now_us();
    return 0;
}

static int prune(const database *db, const busbar_pruning *wanted)
{
    uint64_t count = 0;
    int64_t before = file_bytes(db);
    int64_t since_us = now_us();
    busbar_pruning pruning = *wanted;
    pruning.pause = pause_for_others;
    pruning.ctx = &since_us;
    int code = busbar_prune(db->bus, &pruning, &count);
    if (code == BUSBAR_OK || count > 0)
        out_line("%" PRIu64 " %s pruned", count, count == 1 ? "event" : "events");
    if (code == BUSBAR_OK && pruning.vacuum)
        out_line("%s, %s before", human_bytes(file_bytes(db)).text, human_bytes(before).text);
    if (code == BUSBAR_OK)
        code = busbar_consumer_list(db->bus, tell_holder, NULL);
    return code == BUSBAR_OK ? EXIT_DONE : database_fail(db, code);
}

static int run(const arguments *args)
{
    database db;
    busbar_pruning pruning = {.size = sizeof pruning};
    int exit_code = read_options(args, &pruning);
    if (exit_code == EXIT_DONE)
        exit_code = database_open_writing(&db, args->operands[0]);
    if (exit_code != EXIT_DONE)
        return exit_code;
    exit_code = prune(&db, &pruning);
    database_close(&db);
    return exit_code;
}

const command cmd_prune = {
    .name = "prune",
    .summary = "delete finished events, give back free room",
    .help = help,
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
