/* SPDX-License-Identifier: MIT */
/*
 * How long a commit in one process takes to be seen by a worker that sleeps in another: from just before the commit to
 * the worker having read the new row. Prints a table and, after it, the same as CSV. Asserts nothing: a time is not a
 * promise.
 *
 *     measure_wake [commits]
 */
#include "test.h"

#include <busbar/linux.h>

#include "peer.h"
#include "scratch.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#define COMMITS_DEFAULT 2000
#define PAUSE_US        2000

static const unsigned quantiles[] = {500, 900, 990, 1000}; /* per mille */

typedef struct figures {
    const char *name;
    unsigned count;
    unsigned wakes;
    uint64_t *seen_us; /* sorted */
} figures;

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static uint64_t quantile(const figures *it, unsigned per_mille)
{
    return it->seen_us[(uint64_t)(it->count - 1) * per_mille / 1000];
}

/* Sleeps as a runner does until the row is there; the time is taken when it was read. */
static uint64_t sleep_until(void *wake, sqlite3 *db, int64_t seq, unsigned *wakes)
{
    const busbar_wake_api *api = busbar_linux_port()->wake;
    struct pollfd set = {.fd = api->fd(wake), .events = POLLIN};
    while (peer_last_seq(db) < seq) {
        poll(&set, 1, -1);
        api->clear(wake);
        ++*wakes;
    }
    return scratch_now_us();
}

static void measure(const char *path, figures *out, const peer_options *options)
{
    const busbar_port *port = busbar_linux_port();
    sqlite3 *db;
    peer *writer = peer_start(options);
    peer_connect(writer);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    int64_t seq = peer_last_seq(db);
    void *wake = port->wake->open(port->ctx, path);
    assert_non_null(wake);
    for (unsigned i = 0; i < out->count; i++) {
        peer_commit_soon(writer);
        uint64_t now_us = sleep_until(wake, db, ++seq, &out->wakes);
        out->seen_us[i] = now_us - peer_finish(writer);
        usleep(PAUSE_US);
    }
    port->wake->close(wake);
    sqlite3_close(db);
    peer_stop(writer);
    qsort(out->seen_us, out->count, sizeof *out->seen_us, compare);
}

static void print_row(const figures *it)
{
    printf("%-20s %8u", it->name, it->count);
    for (size_t i = 0; i < sizeof quantiles / sizeof quantiles[0]; i++)
        printf(" %8lu", (unsigned long)quantile(it, quantiles[i]));
    printf(" %8.2f\n", (double)it->wakes / it->count);
}

static void print_csv(const figures *it)
{
    printf("%s,%u", it->name, it->count);
    for (size_t i = 0; i < sizeof quantiles / sizeof quantiles[0]; i++)
        printf(",%lu", (unsigned long)quantile(it, quantiles[i]));
    printf(",%.2f\n", (double)it->wakes / it->count);
}

int main(int argc, char **argv)
{
    unsigned count = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : COMMITS_DEFAULT;
    char directory[SCRATCH_PATH_SIZE];
    char path[SCRATCH_PATH_SIZE];
    if (count == 0)
        return 2;
    scratch_make(directory);
    scratch_path(directory, "state.db", path);
    peer_make_database(path, "WAL");
    figures all[] = {{.name = "synchronous NORMAL", .count = count}, {.name = "synchronous FULL", .count = count}};
    for (size_t i = 0; i < 2; i++) {
        all[i].seen_us = calloc(count, sizeof *all[i].seen_us);
        measure(path, &all[i], &(peer_options){.path = path, .full_sync = i == 1});
    }
    printf("%-20s %8s %8s %8s %8s %8s %8s\n", "commit to read, us", "commits", "p50", "p90", "p99", "max", "wakes");
    for (size_t i = 0; i < 2; i++)
        print_row(&all[i]);
    printf("\nname,commits,p50_us,p90_us,p99_us,max_us,wakes_per_commit\n");
    for (size_t i = 0; i < 2; i++) {
        print_csv(&all[i]);
        free(all[i].seen_us);
    }
    scratch_remove(directory);
    return 0;
}
