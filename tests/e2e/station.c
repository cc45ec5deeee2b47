/* SPDX-License-Identifier: MIT */
/* What a device program stands on. */
#include "station.h"

#include "device.h"

#include <busbar/linux.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUSY_MS 30000

static int boot_of_environment(void *ctx, char out[BUSBAR_IDENTITY_SIZE])
{
    (void)ctx;
    snprintf(out, BUSBAR_IDENTITY_SIZE, "%s", getenv("DEVICE_BOOT"));
    return 0;
}

/* Of this machine, or of another run of it. */
static const busbar_port *port(void)
{
    static busbar_port other;
    if (getenv("DEVICE_BOOT") == NULL)
        return busbar_linux_port();
    other = *busbar_linux_port();
    other.boot_id = boot_of_environment;
    return &other;
}

void station_check(const busbar *bus, int code, const char *what)
{
    busbar_error error = {.code = 0};
    if (code == BUSBAR_OK)
        return;
    if (bus != NULL)
        busbar_error_get(bus, &error);
    fprintf(stderr, "device: %s: %s: %s\n", what, busbar_error_name(code), error.text);
    exit(1);
}

void station_sql(sqlite3 *db, const char *text)
{
    char *message = NULL;
    if (sqlite3_exec(db, text, NULL, NULL, &message) == SQLITE_OK)
        return;
    fprintf(stderr, "device: %s: %s\n", text, message);
    exit(1);
}

sqlite3 *station_connect(const char *path)
{
    sqlite3 *db = NULL;
    if (sqlite3_open(path, &db) != SQLITE_OK) {
        sqlite3_close(db);
        return NULL;
    }
    sqlite3_busy_timeout(db, BUSY_MS);
    station_sql(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL");
    return db;
}

busbar_options station_options(void)
{
    const char *lease_ms = getenv("DEVICE_LEASE_MS");
    return (busbar_options){.size = sizeof(busbar_options),
                            .port = port(),
                            .source = DEVICE_SOURCE,
                            .lease_ms = lease_ms != NULL ? (uint32_t)strtoul(lease_ms, NULL, 10) : 0,
                            .keep_events = DEVICE_KEEP_EVENTS};
}

void station_make_tables(const char *path)
{
    station it;
    station_open(&it, path, "init");
    station_sql(it.db,
                "CREATE TABLE state (name TEXT PRIMARY KEY, n INTEGER NOT NULL);"
                "CREATE TABLE handled (device TEXT, n INTEGER, times INTEGER NOT NULL, PRIMARY KEY (device, n))");
    station_check(it.bus, busbar_migrate(it.bus), "make the bus's tables");
    station_close(&it);
}

void station_open(station *it, const char *path, const char *name)
{
    busbar_options options = station_options();
    busbar_error error = {.code = 0};
    *it = (station){.name = name};
    it->db = station_connect(path);
    if (it->db == NULL) {
        fprintf(stderr, "device: %s cannot be opened\n", path);
        exit(1);
    }
    int code = busbar_open(&it->bus, it->db, &options, &error);
    if (code != BUSBAR_OK) {
        fprintf(stderr, "device: %s: %s\n", busbar_error_name(code), error.text);
        exit(1);
    }
}

void station_close(station *it)
{
    station_check(it->bus, busbar_close(it->bus), "close the bus");
    if (sqlite3_close(it->db) != SQLITE_OK) {
        fprintf(stderr, "device: the connection is still used\n");
        exit(1);
    }
}

void station_register(station *it)
{
    const busbar_kind_desc reading = {.size = sizeof reading, .type = DEVICE_READING};
    station_check(it->bus, busbar_kind_register(it->bus, &reading, &it->kind), "register a kind");
}

/* Returns the new state. */
static long next_state(station *it)
{
    sqlite3_stmt *stmt = NULL;
    sqlite3_prepare_v2(it->db,
                       "INSERT INTO state VALUES (?1, 1) ON CONFLICT (name) DO UPDATE SET n = n + 1 RETURNING n", -1,
                       &stmt, NULL);
    sqlite3_bind_text(stmt, 1, it->name, -1, SQLITE_STATIC);
    long n = sqlite3_step(stmt) == SQLITE_ROW ? (long)sqlite3_column_int64(stmt, 0) : 0;
    while (sqlite3_step(stmt) == SQLITE_ROW)
        continue;
    if (sqlite3_finalize(stmt) != SQLITE_OK || n == 0) {
        fprintf(stderr, "device: change the state: %s\n", sqlite3_errmsg(it->db));
        exit(1);
    }
    return n;
}

static long change(station *it, busbar_id *out_id)
{
    char data[128];
    long n = next_state(it);
    snprintf(data, sizeof data, "{\"device\":\"%s\",\"n\":%ld}", it->name, n);
    busbar_event event = {.size = sizeof event, .type = DEVICE_READING, .data = data, .data_size_bytes = strlen(data)};
    if (n % 2 == 0)
        event.kind = it->kind;
    station_check(it->bus, busbar_publish(it->bus, &event, out_id), "publish");
    return n;
}

/* Whole lines: a reader may look at any time, and a kill may come at any time. */
static void say(const station *it, const char *what, long n, const busbar_id *id)
{
    printf("%s %s %ld %s\n", what, it->name, n, id->text);
    fflush(stdout);
}

void station_change(station *it, station_fate fate)
{
    busbar_id id;
    station_sql(it->db, "BEGIN IMMEDIATE");
    if (fate == STATION_ROLLBACK_SAVEPOINT) {
        station_sql(it->db, "SAVEPOINT attempt");
        change(it, &id);
        station_sql(it->db, "ROLLBACK TO attempt; RELEASE attempt");
    }
    long n = change(it, &id);
    if (it->announces)
        say(it, "trying", n, &id);
    station_sql(it->db, fate == STATION_ROLLBACK ? "ROLLBACK" : "COMMIT");
    if (fate != STATION_ROLLBACK)
        say(it, "published", n, &id);
}
