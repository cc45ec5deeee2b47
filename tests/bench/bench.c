/* SPDX-License-Identifier: MIT */
/*
 * The benchmarks: every figure of Busbar beside that of a bare program doing the same, measured in the same run. Asserts
 * nothing: a time is not a promise. docs/benchmarks.md tells what the rows mean.
 *
 *     bench [--quick] [--csv FILE] [--rounds N] [--any-build] [--list] [ROW...]
 */
#include "bench.h"

#include "broker.h"
#include "workload.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#define ROUNDS_QUICK 3
#define ROUNDS       7
#define SKIPPED      77 /* as meson understands it */

static const struct row {
    const char *name;
    bench_row_fn *run;
    const char *what;
} rows[] = {
    {"publish", row_publish, "publishing in the caller's transaction, and the same row inserted by hand"},
    {"dispatch", row_dispatch, "handing events to an empty handler, and a bare loop"},
    {"drain", row_drain, "relaying to an MQTT broker, libmosquitto from memory, Paho C, select-publish-update"},
    {"latency", row_latency, "from publishing to the handler in another process"},
    {"fairness", row_fairness, "the application's transactions while another process drains"},
    {"backlog", row_backlog, "an urgent event over a backlog, and opening with it"},
    {"memory", row_memory, "peak memory of a long drain and of a short one"},
    {"writes", row_writes, "bytes written and syncs per event, from publish to pruned"},
    {"wear", row_wear, "the same for several batches, page sizes and settings, one transaction a second"},
    {"limits", row_limits, "what bounds, eviction, times to live and retention cost"},
};
#define ROW_COUNT (sizeof rows / sizeof rows[0])

typedef struct arguments {
    bool quick;
    bool any_build;
    unsigned rounds;
    const char *csv;
    const char *names[ROW_COUNT];
    size_t name_count;
} arguments;

static void usage(void)
{
    fputs("usage: bench [--quick] [--csv FILE] [--rounds N] [--any-build] [--list] [ROW...]\n", stderr);
    exit(2);
}

static void list(void)
{
    for (size_t i = 0; i < ROW_COUNT; i++)
        printf("%-9s %s\n", rows[i].name, rows[i].what);
    exit(0);
}

static bool known(const char *name)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (strcmp(rows[i].name, name) == 0)
            return true;
    }
    return false;
}

static const char *value_of(char **argv, int argc, int *i)
{
    if (++*i >= argc)
        usage();
    return argv[*i];
}

static arguments read_arguments(int argc, char **argv)
{
    arguments it = {.quick = false};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0)
            it.quick = true;
        else if (strcmp(argv[i], "--any-build") == 0)
            it.any_build = true;
        else if (strcmp(argv[i], "--list") == 0)
            list();
        else if (strcmp(argv[i], "--csv") == 0)
            it.csv = value_of(argv, argc, &i);
        else if (strcmp(argv[i], "--rounds") == 0)
            it.rounds = (unsigned)strtoul(value_of(argv, argc, &i), NULL, 10);
        else if (known(argv[i]) && it.name_count < ROW_COUNT)
            it.names[it.name_count++] = argv[i];
        else
            usage();
    }
    if (it.rounds == 0)
        it.rounds = it.quick ? ROUNDS_QUICK : ROUNDS;
    if (it.rounds > MEASURE_ROUNDS_MAX)
        usage();
    return it;
}

/* Figures of a build that nobody would ship mislead. */
static void check_build(const arguments *it)
{
    bool slow = strchr("01g", BENCH_OPTIMIZATION[0]) != NULL || strcmp(BENCH_SANITIZE, "none") != 0;
    if (slow && !it->any_build) {
        fprintf(
            stderr,
            "bench: this build is not optimised (buildtype %s, sanitizer %s): set it up with --buildtype=release, or "
            "give --any-build\n",
            BENCH_BUILDTYPE, BENCH_SANITIZE);
        exit(SKIPPED);
    }
}

static void print_conditions(const arguments *it)
{
    struct utsname system;
    double load = 0;
    uname(&system);
    (void)getloadavg(&load, 1);
    printf("%s form, %u rounds; build %s (-O%s, sanitizer %s%s); SQLite %s; %s %s; load %.1f at the beginning\n\n",
           it->quick ? "quick" : "real", it->rounds, BENCH_BUILDTYPE, BENCH_OPTIMIZATION, BENCH_SANITIZE,
           BENCH_ASSERTS ? ", with asserts" : "", sqlite3_libversion(), system.sysname, system.release, load);
}

static bool wanted(const arguments *it, const char *name)
{
    for (size_t i = 0; i < it->name_count; i++) {
        if (strcmp(it->names[i], name) == 0)
            return true;
    }
    return it->name_count == 0;
}

int main(int argc, char **argv)
{
    arguments it = read_arguments(argc, argv);
    char directory[BROKER_PATH_SIZE];
    report out = {.csv = NULL};
    check_build(&it);
    if (it.csv) {
        out.csv = fopen(it.csv, "w");
        measure_must(out.csv != NULL, "open the CSV file");
    }
    broker_directory_make(directory);
    print_conditions(&it);
    report_begin(&out);
    for (size_t i = 0; i < ROW_COUNT; i++) {
        const bench_options options = {.quick = it.quick, .rounds = it.rounds, .directory = directory};
        if (wanted(&it, rows[i].name))
            rows[i].run(&options, &out);
    }
    broker_directory_remove(directory);
    if (out.csv)
        fclose(out.csv);
    printf("\n%u below their goal\n", out.missed);
    return 0;
}
