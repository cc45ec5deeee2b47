/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

static void make_directory(fixture *f)
{
    const char *base = getenv("TMPDIR");
    snprintf(f->directory, sizeof f->directory, "%.90s/busbar-test-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(f->directory));
    snprintf(f->path, sizeof f->path, "%s/device.db", f->directory);
}

static void remove_directory(const char *directory)
{
    DIR *dir = opendir(directory);
    assert_non_null(dir);
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        if (entry->d_name[0] != '.')
            unlink(path);
    }
    closedir(dir);
    rmdir(directory);
}

sqlite3 *fixture_connect(const fixture *f)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    sql(db, "PRAGMA synchronous=NORMAL");
    return db;
}

static void open_bus(fixture *f)
{
    busbar_error error = {.code = 0};
    int result = busbar_open(&f->bus, f->db, &f->options, &error);
    if (result != BUSBAR_OK)
        fail_msg("busbar_open: %s: %s", busbar_error_name(result), error.text);
}

void fixture_open_with(fixture *f, busbar_options options)
{
    memset(f, 0, sizeof *f);
    make_directory(f);
    f->db = fixture_connect(f);
    sql(f->db, "PRAGMA journal_mode=WAL; CREATE TABLE state (name TEXT PRIMARY KEY, value) WITHOUT ROWID;");
    f->sim = busbar_sim_new(1);
    assert_non_null(f->sim);
    f->options = options;
    f->options.size = sizeof f->options;
    f->options.port = busbar_sim_port(f->sim);
    if (!f->options.source)
        f->options.source = "urn:test:device";
    open_bus(f);
}

void fixture_open(fixture *f)
{
    fixture_open_with(f, (busbar_options){.size = sizeof(busbar_options)});
}

void fixture_close(fixture *f)
{
    assert_code(f->bus, busbar_close(f->bus), BUSBAR_OK);
    assert_int_equal(sqlite3_close(f->db), SQLITE_OK);
    busbar_sim_free(f->sim);
    remove_directory(f->directory);
}

void fixture_reopen_bus(fixture *f)
{
    assert_code(f->bus, busbar_close(f->bus), BUSBAR_OK);
    open_bus(f);
}

busbar *fixture_connect_bus(const fixture *f, sqlite3 **out_db)
{
    fixture other = *f;
    other.db = *out_db = fixture_connect(f);
    open_bus(&other);
    return other.bus;
}

void sql(sqlite3 *db, const char *text)
{
    char *message = NULL;
    if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", text, message);
}

static sqlite3_stmt *first_row(sqlite3 *db, const char *text)
{
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(db, text, -1, &stmt, NULL) != SQLITE_OK || sqlite3_step(stmt) != SQLITE_ROW)
        fail_msg("%s: %s", text, sqlite3_errmsg(db));
    return stmt;
}

int64_t sql_integer(sqlite3 *db, const char *text)
{
    sqlite3_stmt *stmt = first_row(db, text);
    int64_t value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return value;
}

const char *sql_text(sqlite3 *db, const char *text)
{
    static char buffer[4096];
    sqlite3_stmt *stmt = first_row(db, text);
    const char *value = (const char *)sqlite3_column_text(stmt, 0);
    snprintf(buffer, sizeof buffer, "%s", value ? value : "");
    sqlite3_finalize(stmt);
    return buffer;
}

busbar_event event_of(const char *type)
{
    return (busbar_event){.size = sizeof(busbar_event), .type = type};
}

busbar_event event_with(const char *type, const char *data)
{
    busbar_event event = event_of(type);
    event.data = data;
    event.data_size_bytes = strlen(data);
    return event;
}

void publish(busbar *bus, const char *type)
{
    busbar_event event = event_of(type);
    assert_code(bus, busbar_publish(bus, &event, NULL), BUSBAR_OK);
}

void settle_bus(busbar *bus, busbar_sim *sim, uint64_t patience_ms)
{
    for (int turns = 0; turns < 100000; turns++) {
        uint64_t wait_us = 0;
        assert_code(bus, busbar_step(bus, 1000000, &wait_us), BUSBAR_OK);
        if (wait_us == BUSBAR_FOREVER || wait_us > patience_ms * 1000)
            return;
        busbar_sim_advance(sim, wait_us > 0 ? wait_us : 10);
    }
    fail_msg("the bus does not come to rest");
}

void settle(fixture *f, uint64_t patience_ms)
{
    settle_bus(f->bus, f->sim, patience_ms);
}

void assert_code(const busbar *bus, int code, int expected)
{
    busbar_error error = {.code = 0};
    if (code == expected)
        return;
    busbar_error_get(bus, &error);
    fail_msg("%s instead of %s: %s", busbar_error_name(code), busbar_error_name(expected), error.text);
}

typedef struct wanted {
    const char *name;
    bool found;
    busbar_progress progress[BUSBAR_LANE_COUNT];
} wanted;

static int pick(const busbar_consumer_status *consumer, void *ctx)
{
    wanted *w = ctx;
    if (strcmp(consumer->name, w->name) == 0) {
        w->found = true;
        memcpy(w->progress, consumer->progress, sizeof w->progress);
    }
    return 0;
}

busbar_progress progress_of(busbar *bus, const char *consumer, busbar_lane lane)
{
    wanted w = {.name = consumer};
    assert_code(bus, busbar_consumer_list(bus, pick, &w), BUSBAR_OK);
    assert_true(w.found);
    return w.progress[lane];
}

void assert_balanced(busbar *bus, const char *consumer)
{
    busbar_status status = {.size = sizeof status};
    assert_code(bus, busbar_status_get(bus, &status), BUSBAR_OK);
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        busbar_progress p = progress_of(bus, consumer, (busbar_lane)lane);
        int64_t head = status.head[lane];
        assert_int_equal(head - p.start + p.replayed,
                         p.filtered + p.delivered + p.dead + p.expired + p.evicted + p.retrying + (head - p.cursor));
    }
}
