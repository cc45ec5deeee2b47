/* SPDX-License-Identifier: MIT */
/* Peak memory of a process that drains a long backlog, against one that drains a short one. */
#include "bench.h"
#include "broker.h"
#include "relay.h"
#include "workload.h"

#define MIB               (1024.0 * 1024)
#define SMALL_CACHE_PAGES 64

typedef struct draining {
    char template[WORKLOAD_PATH_SIZE];
    char path[WORKLOAD_PATH_SIZE];
    uint64_t count;
    unsigned port;
    unsigned cache_pages; /* 0: SQLite's default, 2 MB, which a long drain fills and a short one does not */
} draining;

static void prepare(void *ctx)
{
    const draining *it = ctx;
    workload_copy(it->template, it->path);
}

static void drain(void *ctx, measurement *out)
{
    const draining *it = ctx;
    spy seen = {.watched = NULL};
    relay worker = {.path = it->path, .port = it->port, .cache_pages = it->cache_pages, .spy = &seen};
    relay_drain(&worker, it->count, out);
}

static double peak_mib(const measurement *it)
{
    return measure_peak(it) / MIB;
}

typedef struct names {
    const char *peak;
    const char *growth;
} names;

static void compare(report *out, draining *brief, draining *lasting, unsigned rounds, names name)
{
    contestant both[] = {{.name = "1,000 events", .fn = drain, .ctx = brief, .prepare = prepare},
                         {.name = "busbar", .fn = drain, .ctx = lasting, .prepare = prepare}};
    measure_rounds(both, 2, rounds);
    double growth[MEASURE_ROUNDS_MAX];
    report_compare(out,
                   &(report_pair){"memory", name.peak, "MiB", &both[1], &both[0], rounds, peak_mib, REPORT_NO_GOAL, 0});
    for (unsigned i = 0; i < rounds; i++)
        growth[i] = peak_mib(&both[1].results[i]) - peak_mib(&both[0].results[i]);
    report_add(out, &(report_line){.row = "memory",
                                   .measure = name.growth,
                                   .unit = "MiB",
                                   .busbar = measure_spread(growth, rounds),
                                   .goal = REPORT_BELOW,
                                   .goal_value = 1});
}

static void fill(const bench_options *options, draining *it, const char *name)
{
    workload_path(options->directory, name, it->template);
    workload_path(options->directory, "memory.db", it->path);
    workload_fill(it->template, it->count);
}

void row_memory(const bench_options *options, report *out)
{
    draining brief = {.count = 1000};
    draining lasting = {.count = options->quick ? 50000 : 1000000};
    unsigned rounds = options->quick ? 1 : 3; /* memory is not noisy */
    if (!broker_available()) {
        report_absent(out, "memory", "peak of a drain", "no mosquitto");
        return;
    }
    fill(options, &brief, "memory-short.db");
    fill(options, &lasting, "memory-long.db");
    broker *server = broker_start("allow_anonymous true\nmax_inflight_messages 1000\nset_tcp_nodelay true\n");
    brief.port = lasting.port = broker_port(server);
    compare(out, &brief, &lasting, rounds, (names){"peak of a drain", "growth, long against short"});
    brief.cache_pages = lasting.cache_pages = SMALL_CACHE_PAGES;
    compare(out, &brief, &lasting, rounds, (names){"peak, page cache of 256 KiB", "growth, page cache of 256 KiB"});
    broker_free(server);
    workload_remove(brief.template);
    workload_remove(lasting.template);
    workload_remove(brief.path);
}
