/* SPDX-License-Identifier: MIT */
/*
 * Checkpoints around SQLite's WAL-reset race (P12, P15): with a SQLite that has it, a worker copies the WAL back while it
 * holds the write lock, early enough that no connection does it unlocked; with one that has not, it leaves that to SQLite.
 * Told by what is written to the database file, and under which lock.
 */
#include "checkpoint.h"
#include "fixture.h"
#include "sync_vfs.h"

#include <busbar/sqlite.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FRAME_BYTES (4096 + 24) /* a page of the default size and its header, in the WAL */

typedef struct site {
    fixture f;
    busbar *app; /* publishes on app_db: SQLite's defaults but for the VFS */
    sqlite3 *app_db;
    busbar *worker;
    sqlite3 *worker_db;
    sqlite3 *checkpoint_db;
} site;

static int version_with_race(void)
{
    return 3051002;
}

static int version_without_race(void)
{
    return 3051003;
}

static sqlite3 *connect(const site *s)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open_v2(s->f.path, &db, SQLITE_OPEN_READWRITE, SYNC_VFS_NAME), SQLITE_OK);
    return db;
}

static busbar_verdict accept_event(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    (void)bus, (void)event, (void)reason, (void)ctx;
    return BUSBAR_DONE;
}

static void site_open_within(site *s, const busbar_sqlite *routines, bool guarded, uint64_t max_bytes)
{
    static const busbar_handler handler = {.size = sizeof handler, .name = "h", .pattern = "#", .fn = accept_event};
    sync_vfs_register();
    fixture_open(&s->f);
    busbar_options options = s->f.options;
    options.sqlite = routines;
    s->app_db = connect(s);
    s->worker_db = connect(s);
    s->checkpoint_db = connect(s);
    assert_int_equal(busbar_open(&s->app, s->app_db, &options, NULL), BUSBAR_OK);
    if (guarded) {
        sql(s->worker_db, "PRAGMA wal_autocheckpoint=0");
        options.checkpoint_db = s->checkpoint_db;
    }
    options.max_bytes = max_bytes;
    assert_int_equal(busbar_open(&s->worker, s->worker_db, &options, NULL), BUSBAR_OK);
    assert_code(s->worker, busbar_subscribe(s->worker, &handler, 1), BUSBAR_OK);
    sync_vfs_reset();
}

static void site_open(site *s, const busbar_sqlite *routines, bool guarded)
{
    site_open_within(s, routines, guarded, 0);
}

static void site_close(site *s)
{
    assert_code(s->worker, busbar_close(s->worker), BUSBAR_OK);
    assert_code(s->app, busbar_close(s->app), BUSBAR_OK);
    assert_int_equal(sqlite3_close(s->checkpoint_db), SQLITE_OK);
    assert_int_equal(sqlite3_close(s->worker_db), SQLITE_OK);
    assert_int_equal(sqlite3_close(s->app_db), SQLITE_OK);
    fixture_close(&s->f);
}

/* Transactions of the application with a page or two each, the worker stepping as a wake-up would have it. */
static void run_application(site *s, int transactions)
{
    for (int i = 0; i < transactions; i++) {
        sql(s->app_db, "BEGIN IMMEDIATE; INSERT INTO state VALUES (hex(randomblob(400)), 1)");
        publish(s->app, "a.b");
        sql(s->app_db, "COMMIT");
        settle_bus(s->worker, s->f.sim, 90);
    }
}

static int64_t wal_bytes(const site *s)
{
    char path[200];
    struct stat about;
    snprintf(path, sizeof path, "%s-wal", s->f.path);
    return stat(path, &about) == 0 ? (int64_t)about.st_size : 0;
}

static void with_the_race_the_worker_checkpoints_under_the_write_lock(void **unused)
{
    busbar_sqlite routines = BUSBAR_SQLITE_ROUTINES;
    site s;
    (void)unused;
    routines.libversion_number = version_with_race;
    site_open(&s, &routines, true);
    run_application(&s, 1500);
    assert_true(sync_vfs_counts().database_writes > 0);
    assert_int_equal(sync_vfs_counts().unlocked_writes, 0);
    assert_in_range(wal_bytes(&s), 500 * FRAME_BYTES, 700 * FRAME_BYTES); /* begun anew again and again */
    site_close(&s);
}

/* P9: the WAL must stay within what a limit leaves it. */
static void with_a_limit_the_worker_checkpoints_earlier(void **unused)
{
    busbar_sqlite routines = BUSBAR_SQLITE_ROUTINES;
    site s;
    (void)unused;
    routines.libversion_number = version_with_race;
    site_open_within(&s, &routines, true, 2 * 1024 * 1024);
    run_application(&s, 1500);
    assert_true(sync_vfs_counts().database_writes > 0);
    assert_int_equal(sync_vfs_counts().unlocked_writes, 0);
    assert_in_range(wal_bytes(&s), 20 * FRAME_BYTES, 2 * 1024 * 1024 / 8);
    site_close(&s);
}

/* The measure is one that can fail: the application's own checkpoints hold no write lock. */
static void without_the_second_connection_checkpoints_hold_no_lock(void **unused)
{
    site s;
    (void)unused;
    site_open(&s, NULL, false);
    run_application(&s, 1500);
    assert_true(sync_vfs_counts().unlocked_writes > 0);
    site_close(&s);
}

static void without_the_race_checkpoints_are_left_to_sqlite(void **unused)
{
    busbar_sqlite routines = BUSBAR_SQLITE_ROUTINES;
    busbar_status status = {.size = sizeof status};
    site s;
    (void)unused;
    routines.libversion_number = version_without_race;
    site_open(&s, &routines, true);
    run_application(&s, 1500);
    assert_true(sync_vfs_counts().database_writes > 0);
    assert_int_equal(sync_vfs_counts().unlocked_writes, sync_vfs_counts().database_writes);
    assert_code(s.app, busbar_status_get(s.app, &status), BUSBAR_OK);
    assert_false(status.wal_race);
    site_close(&s);
}

/* A reader that keeps its snapshot keeps the WAL: the worker neither spins nor takes the lock again and again. */
static void a_reader_that_stays_is_not_fought(void **unused)
{
    busbar_sqlite routines = BUSBAR_SQLITE_ROUTINES;
    uint64_t wait_us = 0;
    site s;
    (void)unused;
    routines.libversion_number = version_with_race;
    site_open(&s, &routines, true);
    sqlite3 *reader = connect(&s);
    sql(reader, "BEGIN; SELECT * FROM state");
    while (wal_bytes(&s) < 650 * FRAME_BYTES) /* beyond 500, not to the 1,000 of the application's own checkpoint */
        run_application(&s, 1);
    settle_bus(s.worker, s.f.sim, 200);
    int64_t writes = sync_vfs_counts().database_writes;
    for (int i = 0; i < 20; i++)
        assert_code(s.worker, busbar_step(s.worker, 1000, &wait_us), BUSBAR_OK);
    assert_int_equal(wait_us, BUSBAR_FOREVER);
    assert_int_equal(sync_vfs_counts().database_writes, writes);
    sql(reader, "COMMIT");
    busbar_sim_advance(s.f.sim, 2000000);
    run_application(&s, 1);
    assert_true(sync_vfs_counts().database_writes > writes);
    assert_int_equal(sync_vfs_counts().unlocked_writes, 0);
    assert_int_equal(sqlite3_close(reader), SQLITE_OK);
    site_close(&s);
}

static void a_rollback_journal_needs_no_checkpoints(void **unused)
{
    busbar_sqlite routines = BUSBAR_SQLITE_ROUTINES;
    busbar_status status = {.size = sizeof status};
    fixture f;
    (void)unused;
    routines.libversion_number = version_with_race;
    fixture_open(&f);
    sql(f.db, "PRAGMA journal_mode=DELETE");
    sqlite3 *second = fixture_connect(&f);
    busbar_options options = f.options;
    options.sqlite = &routines;
    options.checkpoint_db = second;
    sqlite3 *db = fixture_connect(&f);
    busbar *bus = NULL;
    char path[200];
    struct stat about;
    assert_int_equal(busbar_open(&bus, db, &options, NULL), BUSBAR_OK);
    publish(bus, "a.b");
    settle_bus(bus, f.sim, 90);
    snprintf(path, sizeof path, "%s-shm", f.path);
    assert_int_not_equal(stat(path, &about), 0);
    assert_code(bus, busbar_status_get(bus, &status), BUSBAR_OK);
    assert_false(status.wal_race);
    assert_code(bus, busbar_close(bus), BUSBAR_OK);
    sqlite3_close(db);
    sqlite3_close(second);
    fixture_close(&f);
}

/* Half a second of locked-out application would be worse than the race: a WAL that a reader has let grow is copied unlocked. */
static void a_large_backlog_is_copied_without_the_lock(void **unused)
{
    busbar_sqlite routines = BUSBAR_SQLITE_ROUTINES;
    site s;
    (void)unused;
    routines.libversion_number = version_with_race;
    site_open(&s, &routines, true);
    sql(s.app_db, "PRAGMA wal_autocheckpoint=0");
    sqlite3 *reader = connect(&s);
    sql(reader, "BEGIN; SELECT * FROM state");
    sql(s.app_db, "INSERT INTO state WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
                  " SELECT hex(randomblob(2000)), i FROM n");
    sql(reader, "COMMIT");
    assert_int_equal(sync_vfs_counts().database_writes, 0);
    run_application(&s, 1);
    assert_true(sync_vfs_counts().unlocked_writes > 4000);
    assert_int_equal(sqlite3_close(reader), SQLITE_OK);
    site_close(&s);
}

static void which_versions_have_the_race(void **unused)
{
    static const struct {
        int version;
        bool race;
    } cases[] = {{3006023, false}, {3007000, true},  {3040001, true},
                 {3051002, true},  {3051003, false}, {3052000, false}};
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(bb_checkpoint_racing(cases[i].version), cases[i].race);
    int linked = sqlite3_libversion_number();
    assert_int_equal(busbar_wal_race(NULL), linked >= 3007000 && linked <= 3051002);
}

static void a_connection_cannot_be_its_own_second(void **unused)
{
    fixture f;
    busbar_error error = {.code = 0};
    busbar *bus = NULL;
    (void)unused;
    fixture_open(&f);
    busbar_options options = f.options;
    options.checkpoint_db = f.db;
    assert_int_equal(busbar_open(&bus, f.db, &options, &error), BUSBAR_EINVAL);
    assert_non_null(strstr(error.text, "checkpoint_db"));
    assert_null(bus);
    sqlite3 *other = NULL;
    assert_int_equal(sqlite3_open(":memory:", &other), SQLITE_OK);
    options.checkpoint_db = other;
    assert_int_equal(busbar_open(&bus, f.db, &options, &error), BUSBAR_EINVAL);
    assert_non_null(strstr(error.text, "another database file"));
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_a_limit_the_worker_checkpoints_earlier),
        cmocka_unit_test(with_the_race_the_worker_checkpoints_under_the_write_lock),
        cmocka_unit_test(without_the_second_connection_checkpoints_hold_no_lock),
        cmocka_unit_test(without_the_race_checkpoints_are_left_to_sqlite),
        cmocka_unit_test(a_reader_that_stays_is_not_fought),
        cmocka_unit_test(a_rollback_journal_needs_no_checkpoints),
        cmocka_unit_test(a_large_backlog_is_copied_without_the_lock),
        cmocka_unit_test(which_versions_have_the_race),
        cmocka_unit_test(a_connection_cannot_be_its_own_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
