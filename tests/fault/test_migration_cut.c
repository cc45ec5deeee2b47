/* SPDX-License-Identifier: MIT */
/*
 * P13: the power goes while a database of version 1 is migrated, at every operation. What is left is of version 1 or of the
 * newest, whole; either goes on, with every event, dead letter and counter. MIGRATION_CUT=SETTING:OPERATION:SEED plays one
 * cut again.
 */
#include <busbar/loopback.h>
#include <busbar/sim.h>
#include <busbar/sim_disk.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

#define FILE_NAME "app.db"
#define SENT      5 /* of these; one is a dead letter */

typedef struct setting {
    const char *journal;
    const char *synchronous;
    bool lasting; /* a commit that has returned stays, whatever happens (sqlite.org/pragma.html#pragma_synchronous) */
} setting;

static const setting settings[] = {
    {"wal", "normal", false}, {"wal", "full", true}, {"delete", "full", false}, {"delete", "extra", true}};
#define SETTING_COUNT (sizeof settings / sizeof *settings)

typedef struct cut {
    size_t setting;
    uint64_t op;
    uint64_t seed;
} cut;

typedef struct device {
    const setting *setting;
    busbar_sim_disk *disk;
    busbar_sim *sim;
    sqlite3 *db;
    busbar *bus;
    int received;
    cut cut;
} device;

static void must(const device *d, bool holds, const char *what, const char *why)
{
    if (!holds)
        fail_msg("MIGRATION_CUT=%zu:%llu:%llu (%s, %s): %s: %s", d->cut.setting, (unsigned long long)d->cut.op,
                 (unsigned long long)d->cut.seed, d->setting->journal, d->setting->synchronous, what, why);
}

static void must_do(const device *d, int code, const char *what)
{
    busbar_error error = {.text = ""};
    if (code < 0)
        busbar_error_get(d->bus, &error);
    must(d, code >= 0, what, error.text);
}

static void execute(const device *d, const char *text)
{
    must(d, sqlite3_exec(d->db, text, NULL, NULL, NULL) == SQLITE_OK, "a statement", sqlite3_errmsg(d->db));
}

/* The first column of the first row. To be freed with sqlite3_free. */
static char *read_text(const device *d, const char *query)
{
    sqlite3_stmt *stmt = NULL;
    must(d, sqlite3_prepare_v2(d->db, query, -1, &stmt, NULL) == SQLITE_OK, query, sqlite3_errmsg(d->db));
    must(d, sqlite3_step(stmt) == SQLITE_ROW, query, sqlite3_errmsg(d->db));
    char *text = sqlite3_mprintf("%s", (const char *)sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
    return text;
}

/* Everything of version 1 that a user would miss, in one text. Both versions have these columns. */
static char *content(const device *d)
{
    return read_text(
        d, "SELECT (SELECT group_concat(lane || seq || id || type || coalesce(subject, '') || coalesce(hex(data), '')"
           " || coalesce(extensions, '')) FROM (SELECT * FROM busbar_events WHERE type <> 'new' ORDER BY lane, seq))"
           " || (SELECT group_concat(lane || '/' || start || '/' || cursor || '/' || dead || '/' || delivered) FROM"
           " (SELECT * FROM busbar_cursor ORDER BY lane))"
           " || (SELECT group_concat(n || '/' || state || '/' || attempts || '/' || reason || '/' || data) FROM"
           " (SELECT * FROM busbar_exception ORDER BY n))"
           " || (SELECT group_concat(id || source || lane || seq) FROM busbar_given)");
}

/* ---- A device ---- */

static void open_file(device *d)
{
    char text[200];
    must(d,
         sqlite3_open_v2(FILE_NAME, &d->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, busbar_sim_disk_vfs(d->disk)) ==
             SQLITE_OK,
         "open", sqlite3_errmsg(d->db));
    snprintf(text, sizeof text, "PRAGMA journal_mode=%s; PRAGMA synchronous=%s", d->setting->journal,
             d->setting->synchronous);
    execute(d, text);
}

static void open_bus(device *d)
{
    const busbar_options options = {.size = sizeof options, .port = busbar_sim_port(d->sim), .source = "/house"};
    busbar_error error = {.text = ""};
    must(d, busbar_open(&d->bus, d->db, &options, &error) == BUSBAR_OK, "busbar_open", error.text);
}

static void close_all(device *d)
{
    must(d, busbar_close(d->bus) == BUSBAR_OK, "close", "the bus is in use");
    d->bus = NULL;
    must(d, sqlite3_close(d->db) == SQLITE_OK, "close the file", sqlite3_errmsg(d->db));
}

static void prepare(device *d)
{
    static char text[65536];
    FILE *file = fopen(VERSION_1_SQL, "rb");
    assert_non_null(file);
    size_t size = fread(text, 1, sizeof text - 1, file);
    assert_in_range(size, 1000, sizeof text - 2);
    fclose(file);
    text[size] = '\0';
    open_file(d);
    execute(d, text);
    assert_int_equal(sqlite3_close(d->db), SQLITE_OK);
    assert_int_equal(busbar_sim_disk_settle(d->disk), BUSBAR_OK);
}

/* The migration, and the first event behind it. The operations until the migration had returned. */
static uint64_t migrate(device *d, char **out_content)
{
    const busbar_event event = {.size = sizeof event, .type = "new"};
    open_file(d);
    *out_content = content(d);
    open_bus(d);
    must_do(d, busbar_migrate(d->bus), "migrate");
    uint64_t done = busbar_sim_disk_op_count(d->disk);
    must_do(d, busbar_publish(d->bus, &event, NULL), "publish");
    close_all(d);
    return done;
}

/* ---- What is left ---- */

static int find(const busbar_finding *finding, void *ctx)
{
    const device *d = ctx;
    must(d, false, finding->part, finding->text);
    return 0;
}

static void receive(const busbar_message *message, void *ctx)
{
    device *d = ctx;
    d->received += strcmp(message->topic, "new") != 0;
}

static void deliver(device *d)
{
    const busbar_loopback_options options = {.size = sizeof options, .receive = receive, .ctx = d};
    const busbar_route route = {.size = sizeof route, .name = "up", .topic = "{type}"};
    busbar_transport transport;
    assert_int_equal(busbar_loopback_new(&options, &transport), BUSBAR_OK);
    must_do(d, busbar_route_add(d->bus, &route, transport), "add a route");
    for (int i = 0; i < 200 && d->received < SENT; i++) {
        uint64_t wait_us = 0;
        must_do(d, busbar_step(d->bus, 100000, &wait_us), "step");
        busbar_sim_advance(d->sim, 100000);
    }
    must(d, d->received == SENT, "deliver", "not everything of version 1 arrived, or something twice");
}

static void examine(device *d, bool migrated, const char *expected)
{
    open_file(d);
    char *sound = read_text(d, "PRAGMA integrity_check");
    must(d, strcmp(sound, "ok") == 0, "integrity_check", sound);
    char *version = read_text(d, "SELECT schema_version FROM busbar_meta");
    must(d, strcmp(version, "1") == 0 || atoi(version) == BUSBAR_SCHEMA_VERSION, "the version", version);
    must(d, !migrated || strcmp(version, "1") != 0, "the version", "the migration had returned, and is gone");
    char *found = content(d);
    must(d, strcmp(found, expected) == 0, "what version 1 held has changed", found);
    sqlite3_free(sound);
    sqlite3_free(version);
    sqlite3_free(found);
    open_bus(d);
    must_do(d, busbar_migrate(d->bus), "migrate");
    must_do(d, busbar_check(d->bus, find, d), "check");
    deliver(d);
    must_do(d, busbar_check(d->bus, find, d), "check");
    close_all(d);
}

static void cut_at(const device *whole, cut c, uint64_t done, const char *expected, busbar_sim_disk *survivor)
{
    device d = {.setting = whole->setting, .disk = survivor, .sim = busbar_sim_new(c.seed), .cut = c};
    assert_int_equal(busbar_sim_disk_cut(whole->disk, c.op, c.seed, survivor), BUSBAR_OK);
    examine(&d, whole->setting->lasting && c.op >= done, expected);
    busbar_sim_free(d.sim);
}

/* At each operation; the first argument. */
static uint64_t seeds = 3;

/* One cut only, or all of them. How many it were. */
static uint64_t cut_setting(size_t index, const cut *only)
{
    device d = {.setting = &settings[index], .disk = busbar_sim_disk_new(1), .sim = busbar_sim_new(1)};
    busbar_sim_disk *survivor = busbar_sim_disk_new(2);
    char *expected = NULL;
    uint64_t cuts = 0;
    d.cut.setting = index;
    assert_true(d.disk && survivor);
    busbar_sim_disk_repeatable(d.disk, 1);
    prepare(&d);
    uint64_t done = migrate(&d, &expected);
    for (uint64_t op = 0; op <= busbar_sim_disk_op_count(d.disk); op++) {
        for (uint64_t seed = 1; seed <= seeds; seed++) {
            if (only && (only->op != op || only->seed != seed))
                continue;
            cut_at(&d, (cut){index, op, seed}, done, expected, survivor);
            cuts++;
        }
    }
    sqlite3_free(expected);
    busbar_sim_disk_free(survivor);
    busbar_sim_disk_free(d.disk);
    busbar_sim_free(d.sim);
    return cuts;
}

static void p13_a_power_cut_leaves_version_1_or_the_newest_whole(void **unused)
{
    (void)unused;
    const char *replay = getenv("MIGRATION_CUT");
    unsigned long long op = 0;
    unsigned long long seed = 0;
    cut only = {.setting = SETTING_COUNT};
    uint64_t cuts = 0;
    if (replay) {
        assert_int_equal(sscanf(replay, "%zu:%llu:%llu", &only.setting, &op, &seed), 3);
        only = (cut){only.setting, op, seed};
    }
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        if (!replay || only.setting == i)
            cuts += cut_setting(i, replay ? &only : NULL);
    }
    assert_true(cuts >= (replay ? 1 : 200 * seeds));
    print_message("# migration: %llu power cuts\n", (unsigned long long)cuts);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        seeds = strtoull(argv[1], NULL, 10);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p13_a_power_cut_leaves_version_1_or_the_newest_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
