/* SPDX-License-Identifier: MIT */
/* The application's transactions while another process drains a backlog through the same file. */
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "broker.h"
#include "relay.h"
#include "workload.h"

#define TIMES_MAX 200000
#define PAUSE_US  1000

enum { P50, P99, WORST, BUSY };

typedef struct fairness {
    char template[WORKLOAD_PATH_SIZE];
    char path[WORKLOAD_PATH_SIZE];
    uint64_t count; /* of the backlog */
    unsigned port;
    bool drains;    /* a drain goes on meanwhile */
    unsigned alone; /* so many transactions without a drain */
    spy *seen;      /* shared with the drain's process */
} fairness;

static void prepare(void *ctx)
{
    const fairness *it = ctx;
    workload_copy(it->template, it->path);
    *it->seen = (spy){.watched = NULL};
}

/* Runs in a process of its own until it is killed, so that the connection stays as it is. */
static pid_t start_drain(const fairness *it)
{
    pid_t pid = fork();
    measure_must(pid >= 0, "fork");
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    relay worker = {.path = it->path, .port = it->port, .spy = it->seen};
    relay_start(&worker);
    for (;;)
        pause();
}

typedef struct application {
    sqlite3 *db;
    busbar *bus;
    sqlite3_stmt *begin;
    sqlite3_stmt *update;
    sqlite3_stmt *commit;
    unsigned busy;
} application;

static application application_open(const char *path)
{
    application it = {.db = workload_open(path, NULL)};
    workload_exec(it.db, "CREATE TABLE IF NOT EXISTS state (id INTEGER PRIMARY KEY, value INTEGER) STRICT;"
                         "INSERT OR IGNORE INTO state VALUES (1, 0)");
    it.bus = workload_bus(it.db, NULL);
    it.begin = workload_prepare(it.db, "BEGIN IMMEDIATE");
    it.update = workload_prepare(it.db, "UPDATE state SET value = value + 1 WHERE id = 1");
    it.commit = workload_prepare(it.db, "COMMIT");
    return it;
}

/* Returns how long it took, in milliseconds. */
static double transact(application *it, uint64_t number)
{
    uint64_t start_ns = measure_now_ns();
    if (sqlite3_step(it->begin) == SQLITE_BUSY) {
        it->busy++;
        sqlite3_reset(it->begin);
        return (double)(measure_now_ns() - start_ns) / 1e6;
    }
    sqlite3_reset(it->begin);
    workload_run(it->db, it->update);
    workload_publish(it->bus, number, BUSBAR_NORMAL);
    workload_run(it->db, it->commit);
    return (double)(measure_now_ns() - start_ns) / 1e6;
}

static bool over(const fairness *it, unsigned done)
{
    return done == TIMES_MAX || (it->drains ? it->seen->acked >= it->count : done >= it->alone);
}

static void run(void *ctx, measurement *out)
{
    static double times_ms[TIMES_MAX];
    const fairness *it = ctx;
    unsigned count = 0;
    pid_t drain = it->drains ? start_drain(it) : 0;
    while (it->drains && it->seen->taken == 0) {
        measure_must(waitpid(drain, NULL, WNOHANG) == 0, "the draining process");
        measure_sleep_us(PAUSE_US);
    }
    application app = application_open(it->path);
    measure_begin(out);
    while (!over(it, count)) {
        times_ms[count] = transact(&app, count);
        count++;
        measure_sleep_us(PAUSE_US);
    }
    measure_end(out, count);
    if (drain > 0) {
        kill(drain, SIGKILL);
        waitpid(drain, NULL, 0);
    }
    measure_sort(times_ms, count);
    out->values[P50] = measure_quantile(times_ms, count, 500);
    out->values[P99] = measure_quantile(times_ms, count, 990);
    out->values[WORST] = measure_quantile(times_ms, count, 1000);
    out->values[BUSY] = app.busy;
}

static void compare(report *out, const contestant both[2], unsigned rounds)
{
    report_compare(out, &(report_pair){"fairness", "transaction, p50", "ms", &both[1], &both[0], rounds,
                                       measure_value_0, REPORT_NO_GOAL, 0});
    report_compare(out, &(report_pair){"fairness", "transaction, p99", "ms", &both[1], &both[0], rounds,
                                       measure_value_1, REPORT_BELOW, 10});
    report_compare(out, &(report_pair){"fairness", "transaction, max", "ms", &both[1], &both[0], rounds,
                                       measure_value_2, REPORT_NO_GOAL, 0});
    report_compare(out, &(report_pair){"fairness", "locked out (SQLITE_BUSY)", "count", &both[1], NULL, rounds,
                                       measure_value_3, REPORT_BELOW, 1});
}

void row_fairness(const bench_options *options, report *out)
{
    fairness with = {.count = options->quick ? 50000 : 300000, .drains = true};
    broker *server = NULL;
    if (!broker_available()) {
        report_absent(out, "fairness", "transaction", "no mosquitto");
        return;
    }
    workload_path(options->directory, "fairness-full.db", with.template);
    workload_path(options->directory, "fairness.db", with.path);
    workload_fill(with.template, with.count);
    with.seen = measure_shared(sizeof *with.seen);
    server = broker_start("allow_anonymous true\nmax_inflight_messages 1000\nset_tcp_nodelay true\n");
    with.port = broker_port(server);
    fairness without = with;
    without.drains = false;
    without.alone = options->quick ? 500 : 3000;
    contestant both[] = {{.name = "without a drain", .fn = run, .ctx = &without, .prepare = prepare},
                         {.name = "with a drain", .fn = run, .ctx = &with, .prepare = prepare}};
    measure_rounds(both, 2, options->rounds);
    compare(out, both, options->rounds);
    broker_free(server);
    measure_shared_free(with.seen, sizeof *with.seen);
    workload_remove(with.template);
    workload_remove(with.path);
}
