/* SPDX-License-Identifier: MIT */
#include "workload.h"

#include <busbar/linux.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STEP_US    10000
#define FILL_BATCH 1000
#define PAYLOADS   64

static void make_payload(char out[WORKLOAD_PAYLOAD_SIZE + 1], unsigned number)
{
    static const char text[] = "{\"meter\":\"house-3-floor-2-east\",\"unit\":\"Wh\",\"phases\":[230.1,229.8,231.4],"
                               "\"tariff\":\"day\",\"valid\":true,\"note\":\"all three phases are within the expected "
                               "range\",\"count\":";
    _Static_assert(sizeof text < WORKLOAD_PAYLOAD_SIZE - 8, "room for the number");
    int width = (int)(WORKLOAD_PAYLOAD_SIZE - sizeof text - 1);
    (void)snprintf(out, WORKLOAD_PAYLOAD_SIZE + 1, "%s1%0*u}", text, width, number); /* JSON knows no leading zeros */
}

const char *workload_payload(uint64_t number)
{
    static char payloads[PAYLOADS][WORKLOAD_PAYLOAD_SIZE + 1];
    if (payloads[0][0] == '\0') {
        for (unsigned i = 0; i < PAYLOADS; i++)
            make_payload(payloads[i], i);
    }
    return payloads[number % PAYLOADS];
}

/* ---- Databases ---- */

static void check_sqlite(sqlite3 *db, int native, const char *what)
{
    if (native == SQLITE_OK || native == SQLITE_DONE)
        return;
    fprintf(stderr, "bench: %s: %s\n", what, sqlite3_errmsg(db));
    exit(1);
}

void workload_exec(sqlite3 *db, const char *sql)
{
    check_sqlite(db, sqlite3_exec(db, sql, NULL, NULL, NULL), sql);
}

sqlite3_stmt *workload_prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    check_sqlite(db, sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL), sql);
    return stmt;
}

void workload_run(sqlite3 *db, sqlite3_stmt *stmt)
{
    check_sqlite(db, sqlite3_step(stmt), "a statement");
    sqlite3_reset(stmt);
}

sqlite3 *workload_open(const char *path, const workload_file *file)
{
    sqlite3 *db = NULL;
    char sql[64];
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    check_sqlite(db, sqlite3_open_v2(path, &db, flags, file ? file->vfs : NULL), path);
    sqlite3_busy_timeout(db, 5000);
    if (file && file->page_bytes > 0) {
        (void)snprintf(sql, sizeof sql, "PRAGMA page_size = %u", file->page_bytes);
        workload_exec(db, sql);
    }
    workload_exec(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");
    return db;
}

void workload_path(const char *directory, const char *name, char out[WORKLOAD_PATH_SIZE])
{
    int length = snprintf(out, WORKLOAD_PATH_SIZE, "%s/%s", directory, name);
    measure_must(length > 0 && length < WORKLOAD_PATH_SIZE, "a short path");
}

void workload_remove(const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    char name[WORKLOAD_PATH_SIZE + 16];
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        (void)snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        unlink(name);
    }
}

void workload_copy(const char *from, const char *to)
{
    static char buffer[1 << 16];
    workload_remove(to);
    FILE *in = fopen(from, "rb");
    FILE *out = fopen(to, "wb");
    measure_must(in && out, "copy a database");
    for (size_t size; (size = fread(buffer, 1, sizeof buffer, in)) > 0;)
        measure_must(fwrite(buffer, 1, size, out) == size, "write a copy");
    measure_must(fflush(out) == 0 && fsync(fileno(out)) == 0, "finish a copy"); /* not during what is measured */
    fclose(in);
    fclose(out);
}

/* ---- The bus ---- */

void workload_check(busbar *bus, int code, const char *what)
{
    busbar_error error;
    if (code >= 0)
        return;
    busbar_error_get(bus, &error);
    fprintf(stderr, "bench: %s: %s: %s\n", what, busbar_error_name(code), error.text);
    exit(1);
}

busbar *workload_bus(sqlite3 *db, const busbar_options *options)
{
    busbar_options complete = options ? *options : (busbar_options){.size = 0};
    busbar *bus = NULL;
    busbar_error error = {.code = 0};
    complete.size = sizeof complete;
    complete.port = complete.port ? complete.port : busbar_linux_port();
    complete.source = complete.source ? complete.source : WORKLOAD_SOURCE;
    if (busbar_open(&bus, db, &complete, &error) != BUSBAR_OK) {
        fprintf(stderr, "bench: open a bus: %s\n", error.text);
        exit(1);
    }
    return bus;
}

void workload_publish(busbar *bus, uint64_t number, busbar_lane lane)
{
    const busbar_event event = {.size = sizeof event,
                                .type = WORKLOAD_TYPE,
                                .data = workload_payload(number),
                                .data_size_bytes = WORKLOAD_PAYLOAD_SIZE,
                                .lane = lane};
    workload_check(bus, busbar_publish(bus, &event, NULL), "publish");
}

void workload_fill(const char *path, uint64_t count)
{
    workload_remove(path);
    sqlite3 *db = workload_open(path, NULL);
    busbar *bus = workload_bus(db, NULL);
    workload_check(bus, busbar_migrate(bus), "make the tables");
    for (uint64_t i = 0; i < count;) {
        workload_exec(db, "BEGIN IMMEDIATE");
        for (uint64_t end = i + FILL_BATCH; i < count && i < end; i++)
            workload_publish(bus, i, BUSBAR_NORMAL);
        workload_exec(db, "COMMIT");
    }
    workload_check(bus, busbar_close(bus), "close");
    check_sqlite(db, sqlite3_close(db), "close"); /* the last one copies the WAL into the database */
}

void workload_step_until(busbar *bus, workload_done_fn *done, void *ctx)
{
    struct pollfd set = {.fd = busbar_fd(bus), .events = POLLIN};
    while (!done(ctx)) {
        uint64_t wait_us = 0;
        workload_check(bus, busbar_step(bus, STEP_US, &wait_us), "step");
        if (wait_us == 0 || done(ctx))
            continue;
        struct timespec wait = {.tv_sec = (time_t)(wait_us / 1000000), .tv_nsec = (long)(wait_us % 1000000) * 1000};
        ppoll(&set, 1, wait_us == BUSBAR_FOREVER ? NULL : &wait, NULL);
    }
}
