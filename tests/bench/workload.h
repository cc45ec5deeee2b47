/* SPDX-License-Identifier: MIT */
/* What the rows share: the event they publish, databases with a backlog, and a worker that drains one. */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include <busbar/busbar.h>
#include <sqlite3.h>

#include "measure.h"

#define WORKLOAD_PATH_SIZE    256
#define WORKLOAD_PAYLOAD_SIZE 200
#define WORKLOAD_TYPE         "meter.reading"
#define WORKLOAD_SOURCE       "/house/meter"
#define WORKLOAD_BATCH        100

/*
 * A reading as JSON of exactly WORKLOAD_PAYLOAD_SIZE bytes (no NUL). One of a few that are made in advance, so that making
 * it is no part of what is measured.
 */
const char *workload_payload(uint64_t number);

typedef struct workload_file {
    const char *vfs;     /* NULL: the default one */
    unsigned page_bytes; /* 0: SQLite's default */
} workload_file;

/* Opens or makes a database: WAL, synchronous NORMAL, everything else as SQLite has it. `file` may be NULL. */
sqlite3 *workload_open(const char *path, const workload_file *file);
void workload_exec(sqlite3 *db, const char *sql);
sqlite3_stmt *workload_prepare(sqlite3 *db, const char *sql);
/* Steps a statement that returns no row, and resets it. */
void workload_run(sqlite3 *db, sqlite3_stmt *stmt);

/* A bus on it. `options` may be NULL; the size, and what is missing of port and source, are filled in. */
busbar *workload_bus(sqlite3 *db, const busbar_options *options);
void workload_check(busbar *bus, int code, const char *what);
void workload_publish(busbar *bus, uint64_t number, busbar_lane lane);

/* A new database with so many events, all in the file and nothing in the WAL. */
void workload_fill(const char *path, uint64_t count);
/* Copies it, and removes what belongs to an older copy. */
void workload_copy(const char *from, const char *to);
void workload_remove(const char *path);
void workload_path(const char *directory, const char *name, char out[WORKLOAD_PATH_SIZE]);

/* Steps until `done` says so, sleeping as it is told in between. */
typedef bool workload_done_fn(void *ctx);
void workload_step_until(busbar *bus, workload_done_fn *done, void *ctx);

#endif
