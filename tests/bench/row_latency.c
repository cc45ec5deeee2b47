/* SPDX-License-Identifier: MIT */
/* From just before publishing, in one process, to the handler's first instruction, in another. */
#include <busbar/linux.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "workload.h"

#define COUNT_MAX  4000
#define PAUSE_US   2000
#define TIMEOUT_NS (UINT64_C(10) * 1000000000)

typedef struct board {
    _Atomic bool ready;
    _Atomic uint64_t handled;
    uint64_t published_ns[COUNT_MAX]; /* indexed by position in the lane, from 0 */
    uint64_t handled_ns[COUNT_MAX];
} board;

static busbar_verdict handle(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    board *it = ctx;
    (void)bus;
    (void)reason;
    it->handled_ns[event->seq - 1] = measure_now_ns();
    atomic_fetch_add(&it->handled, 1);
    return BUSBAR_DONE;
}

static int set_up(busbar *bus, void *ctx)
{
    const busbar_handler handler = {
        .size = sizeof handler, .name = "latency", .fn = handle, .ctx = ctx, .start = BUSBAR_START_BEGINNING};
    return busbar_subscribe(bus, &handler, 1);
}

static pid_t start_receiver(const char *path, board *it)
{
    fflush(stdout);
    pid_t pid = fork();
    measure_must(pid >= 0, "fork");
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const busbar_runner_options options = {.size = sizeof options, .path = path, .setup = set_up, .ctx = it};
    busbar_runner *runner = NULL;
    measure_must(busbar_runner_start(&runner, &options, NULL) == BUSBAR_OK, "start a runner");
    it->ready = true;
    for (;;)
        pause();
}

static void wait_until_handled(board *it, uint64_t count)
{
    uint64_t start_ns = measure_now_ns();
    while (it->handled < count) {
        measure_must(measure_now_ns() - start_ns < TIMEOUT_NS, "an event that reaches the handler");
        measure_sleep_us(PAUSE_US);
    }
}

static void publish_all(const char *path, board *it, unsigned count)
{
    sqlite3 *db = workload_open(path, NULL);
    busbar *bus = workload_bus(db, NULL);
    for (unsigned i = 0; i < count; i++) {
        measure_sleep_us(PAUSE_US);
        it->published_ns[i] = measure_now_ns();
        workload_publish(bus, i, BUSBAR_NORMAL);
        wait_until_handled(it, i + 1);
    }
    workload_check(bus, busbar_close(bus), "close");
    sqlite3_close(db);
}

static void run(const char *path, unsigned count, double out_us[COUNT_MAX])
{
    board *it = measure_shared(sizeof *it);
    workload_fill(path, 0);
    pid_t receiver = start_receiver(path, it);
    while (!it->ready) {
        measure_must(waitpid(receiver, NULL, WNOHANG) == 0, "the receiver");
        measure_sleep_us(PAUSE_US);
    }
    publish_all(path, it, count);
    for (unsigned i = 0; i < count; i++)
        out_us[i] = (double)(it->handled_ns[i] - it->published_ns[i]) / 1e3;
    kill(receiver, SIGKILL);
    waitpid(receiver, NULL, 0);
    measure_shared_free(it, sizeof *it);
}

void row_latency(const bench_options *options, report *out)
{
    static const struct {
        const char *name;
        unsigned per_mille;
        double goal_ms;
    } quantiles[] = {{"publish to handler, p50", 500, 0.2},
                     {"publish to handler, p99", 990, 1},
                     {"publish to handler, max", 1000, 0}};
    unsigned count = options->quick ? 300 : 2000;
    static double times_us[COUNT_MAX];
    double found[3][MEASURE_ROUNDS_MAX];
    char path[WORKLOAD_PATH_SIZE];
    workload_path(options->directory, "latency.db", path);
    for (unsigned round = 0; round < options->rounds; round++) {
        run(path, count, times_us);
        measure_sort(times_us, count);
        for (size_t i = 0; i < 3; i++)
            found[i][round] = measure_quantile(times_us, count, quantiles[i].per_mille) / 1e3;
    }
    for (size_t i = 0; i < 3; i++)
        report_add(out, &(report_line){.row = "latency",
                                       .measure = quantiles[i].name,
                                       .unit = "ms",
                                       .busbar = measure_spread(found[i], options->rounds),
                                       .goal = quantiles[i].goal_ms > 0 ? REPORT_BELOW : REPORT_NO_GOAL,
                                       .goal_value = quantiles[i].goal_ms});
    workload_remove(path);
}
