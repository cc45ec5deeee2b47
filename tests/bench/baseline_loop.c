/* SPDX-License-Identifier: MIT */
#include "baseline.h"

#include <stdio.h>

#include "workload.h"

typedef struct loop {
    const baseline_loop *options;
    sqlite3_stmt *select;
    sqlite3_stmt *begin;
    sqlite3_stmt *savepoint;
    sqlite3_stmt *release;
    sqlite3_stmt *move;
    sqlite3_stmt *commit;
    uint64_t handled;
} loop;

/* What a handler gets; the compiler must not know that nobody looks. */
static volatile const void *seen;

static void handle(loop *it)
{
    for (int i = 1; i <= 8; i++) {
        if (sqlite3_column_type(it->select, i) == SQLITE_TEXT)
            seen = sqlite3_column_text(it->select, i);
    }
    seen = sqlite3_column_blob(it->select, 9);
    it->handled++;
}

static void handle_in_savepoint(loop *it)
{
    workload_run(it->options->db, it->savepoint);
    handle(it);
    workload_run(it->options->db, it->release);
}

/* False when nothing was left. */
static bool run_batch(loop *it, int64_t *cursor)
{
    int64_t first = *cursor;
    if (it->options->savepoints)
        workload_run(it->options->db, it->begin);
    sqlite3_bind_int64(it->select, 1, *cursor);
    sqlite3_bind_int64(it->select, 2, it->options->batch);
    while (sqlite3_step(it->select) == SQLITE_ROW) {
        if (it->options->savepoints)
            handle_in_savepoint(it);
        else
            handle(it);
        *cursor = sqlite3_column_int64(it->select, 0);
    }
    sqlite3_reset(it->select);
    if (!it->options->savepoints)
        workload_run(it->options->db, it->begin);
    sqlite3_bind_int64(it->move, 1, *cursor);
    workload_run(it->options->db, it->move);
    workload_run(it->options->db, it->commit);
    return *cursor > first;
}

uint64_t baseline_loop_run(const baseline_loop *options)
{
    char select[256];
    sqlite3 *db = options->db;
    workload_exec(db, "CREATE TABLE progress (id INTEGER PRIMARY KEY, cursor INTEGER NOT NULL) STRICT;"
                      "INSERT INTO progress VALUES (1, 0)");
    (void)snprintf(select, sizeof select,
                   "SELECT seq, kind, session, at_ms, id, subject, key, ext, ttl_ms, data FROM %s WHERE seq > ?1"
                   " ORDER BY seq LIMIT ?2",
                   options->table);
    loop it = {.options = options,
               .select = workload_prepare(db, select),
               .begin = workload_prepare(db, "BEGIN IMMEDIATE"),
               .savepoint = workload_prepare(db, "SAVEPOINT one"),
               .release = workload_prepare(db, "RELEASE one"),
               .move = workload_prepare(db, "UPDATE progress SET cursor = ?1 WHERE id = 1"),
               .commit = workload_prepare(db, "COMMIT")};
    int64_t cursor = 0;
    bool more = true;
    while (more) {
        uint64_t start_ns = measure_now_ns();
        more = run_batch(&it, &cursor);
        if (options->courteous)
            measure_sleep_us((measure_now_ns() - start_ns) / 1000);
    }
    return it.handled;
}
