/* SPDX-License-Identifier: MIT */
/* P9 (bounded): what is kept of finished events, the end of an idle consumer's hold on the log, and pruning on request. */
#include "fixture.h"

#include <stdio.h>

#define HOUR_US (UINT64_C(3600) * 1000000)
#define DAY_MS  (UINT64_C(86400) * 1000)

static busbar_verdict done(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    (void)bus, (void)event, (void)reason, (void)ctx;
    return BUSBAR_DONE;
}

static const busbar_handler READER = {.size = sizeof(busbar_handler), .name = "reader", .fn = done};
static const busbar_handler STRAY = {.size = sizeof(busbar_handler), .name = "stray", .fn = done};

static int64_t stored(const fixture *f)
{
    return sql_integer(f->db, "SELECT count(*) FROM busbar_log_normal");
}

static void publish_many(fixture *f, int count)
{
    sql(f->db, "BEGIN");
    for (int i = 0; i < count; i++)
        publish(f->bus, "a.b");
    sql(f->db, "COMMIT");
}

/* As a worker does in a minute or two. */
static void work(fixture *f)
{
    for (int i = 0; i < 30; i++) {
        settle(f, 100);
        busbar_sim_advance(f->sim, 6000000);
    }
}

static void finished_events_are_kept_by_age(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open_with(&f,
                      (busbar_options){.size = sizeof(busbar_options), .keep_events = 100000, .keep_ms = 12 * 3600000});
    assert_code(f.bus, busbar_subscribe(f.bus, &READER, 1), BUSBAR_OK);
    for (int i = 0; i < 48; i++) {
        publish_many(&f, 40);
        work(&f);
        busbar_sim_advance(f.sim, HOUR_US - 180000000);
    }
    work(&f);
    assert_in_range(stored(&f), 11 * 40, 12 * 40 + 32);
    assert_balanced(f.bus, "reader");
    assert_int_equal(progress_of(f.bus, "reader", BUSBAR_NORMAL).delivered, 48 * 40);
    fixture_close(&f);
}

/* They have no age of their own. */
static void rows_of_plain_sql_go_with_the_events_behind_them(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open_with(&f,
                      (busbar_options){.size = sizeof(busbar_options), .keep_events = 100000, .keep_ms = 12 * 3600000});
    assert_code(f.bus, busbar_subscribe(f.bus, &READER, 1), BUSBAR_OK);
    for (int i = 0; i < 48; i++) {
        publish_many(&f, 5);
        for (int row = 0; row < 30; row++)
            sql(f.db, "INSERT INTO busbar_log_normal (kind, id)"
                      " SELECT id, lower(hex(randomblob(16))) FROM busbar_kind LIMIT 1");
        publish_many(&f, 5);
        work(&f);
        busbar_sim_advance(f.sim, HOUR_US - 180000000);
    }
    work(&f);
    assert_in_range(stored(&f), 11 * 40, 12 * 40 + 32);
    fixture_close(&f);
}

static void finished_events_are_kept_by_bytes(void **unused)
{
    (void)unused;
    static char data[2001];
    fixture f;
    fixture_open_with(&f,
                      (busbar_options){.size = sizeof(busbar_options), .keep_events = 100000, .keep_bytes = 600000});
    assert_code(f.bus, busbar_subscribe(f.bus, &READER, 1), BUSBAR_OK);
    memset(data, '1', sizeof data - 1);
    busbar_event event = event_with("a.b", data);
    for (int i = 0; i < 1000; i++) {
        assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
        if (i % 50 == 49)
            work(&f);
    }
    int64_t used = sql_integer(f.db, "SELECT (SELECT page_count FROM pragma_page_count)"
                                     " - (SELECT freelist_count FROM pragma_freelist_count)") *
                   4096;
    assert_in_range(used, 300000, 600000 + 50 * 4096);
    assert_int_equal(progress_of(f.bus, "reader", BUSBAR_NORMAL).delivered, 1000);
    fixture_close(&f);
}

/* The stray one was there once, and never came back. */
static void the_hold_of_an_idle_consumer_ends_by_its_rule_and_never_early(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open_with(
        &f, (busbar_options){.size = sizeof(busbar_options), .keep_events = 10, .consumer_idle_ms = 7 * DAY_MS});
    assert_code(f.bus, busbar_subscribe(f.bus, &STRAY, 1), BUSBAR_OK);
    publish_many(&f, 5);
    settle(&f, 100);
    fixture_reopen_bus(&f);
    assert_code(f.bus, busbar_subscribe(f.bus, &READER, 1), BUSBAR_OK);
    for (int hour = 0; hour < 7 * 24 - 1; hour++) {
        publish_many(&f, 10);
        work(&f);
        busbar_sim_advance(f.sim, HOUR_US - 180000000);
        busbar_sim_wall_step(f.sim, hour % 2 ? INT64_C(315360000000) : -INT64_C(315360000000)); /* ten years */
        assert_int_equal(progress_of(f.bus, "stray", BUSBAR_NORMAL).evicted, 0);
    }
    int64_t held = stored(&f);
    assert_true(held > 1600);
    busbar_sim_advance(f.sim, 3 * HOUR_US);
    work(&f);
    assert_true(stored(&f) < 300);
    assert_int_equal(progress_of(f.bus, "stray", BUSBAR_NORMAL).evicted, 1670);
    assert_balanced(f.bus, "stray");
    assert_int_equal(sql_integer(f.db, "SELECT sum(count) FROM busbar_gap WHERE reason = 4"), 1670);
    assert_int_equal(progress_of(f.bus, "reader", BUSBAR_NORMAL).evicted, 0);
    assert_code(f.bus, busbar_subscribe(f.bus, &STRAY, 1), BUSBAR_OK); /* it comes back, and goes on */
    publish_many(&f, 3);
    work(&f);
    assert_int_equal(progress_of(f.bus, "stray", BUSBAR_NORMAL).delivered, 8);
    assert_balanced(f.bus, "stray");
    fixture_close(&f);
}

static void prune(fixture *f, busbar_pruning pruning, uint64_t expected)
{
    uint64_t count = 99;
    pruning.size = sizeof pruning;
    assert_code(f->bus, busbar_prune(f->bus, &pruning, &count), BUSBAR_OK);
    assert_int_equal(count, expected);
}

/* A device that restarts every day and never knows the time: its days add up all the same, less an hour each at most. */
static void p10_the_hold_of_an_idle_consumer_ends_without_any_clock(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open_with(
        &f, (busbar_options){.size = sizeof(busbar_options), .keep_events = 10, .consumer_idle_ms = 7 * DAY_MS});
    assert_code(f.bus, busbar_subscribe(f.bus, &STRAY, 1), BUSBAR_OK);
    int64_t ended = 0;
    for (int hour = 0; hour < 9 * 24 && ended == 0; hour++) {
        if (hour % 24 == 0) {
            busbar_sim_reboot(f.sim);
            busbar_sim_wall_quality(f.sim, BUSBAR_CLOCK_UNKNOWN);
            fixture_reopen_bus(&f);
            assert_code(f.bus, busbar_subscribe(f.bus, &READER, 1), BUSBAR_OK);
        }
        publish_many(&f, 10);
        work(&f);
        busbar_sim_advance(f.sim, HOUR_US - 180000000); /* beside what working took */
        ended = progress_of(f.bus, "stray", BUSBAR_NORMAL).evicted > 0 ? hour : 0;
    }
    assert_in_range(ended, 7 * 24, 7 * 24 + 9);
    assert_true(stored(&f) < 300);
    assert_balanced(f.bus, "stray");
    fixture_close(&f);
}

/* Its process may be started after that of the worker. */
static void after_a_boot_an_idle_consumer_has_time_to_come_back(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open_with(&f,
                      (busbar_options){.size = sizeof(busbar_options), .keep_events = 10, .consumer_idle_ms = DAY_MS});
    assert_code(f.bus, busbar_subscribe(f.bus, &STRAY, 1), BUSBAR_OK);
    publish_many(&f, 5);
    settle(&f, 100);
    fixture_reopen_bus(&f);
    assert_code(f.bus, busbar_subscribe(f.bus, &READER, 1), BUSBAR_OK);
    publish_many(&f, 10);
    work(&f);
    busbar_sim_advance(f.sim, 3 * 24 * HOUR_US); /* the machine is off */
    busbar_sim_reboot(f.sim);
    busbar_sim_wall_quality(f.sim, BUSBAR_CLOCK_TRUSTED);
    fixture_reopen_bus(&f);
    assert_code(f.bus, busbar_subscribe(f.bus, &READER, 1), BUSBAR_OK);
    publish_many(&f, 10);
    work(&f);
    busbar_sim_advance(f.sim, HOUR_US / 2);
    work(&f);
    assert_int_equal(progress_of(f.bus, "stray", BUSBAR_NORMAL).evicted, 0);
    busbar_sim_advance(f.sim, HOUR_US);
    work(&f);
    assert_int_equal(progress_of(f.bus, "stray", BUSBAR_NORMAL).evicted, 20);
    assert_balanced(f.bus, "stray");
    fixture_close(&f);
}

static void pruning_takes_what_is_finished_only(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    publish_many(&f, 100);
    prune(&f, (busbar_pruning){.keep = 80}, 20); /* nobody is there to need them */
    assert_code(f.bus, busbar_subscribe(f.bus, &READER, 1), BUSBAR_OK);
    busbar_sim_advance(f.sim, HOUR_US);
    publish_many(&f, 50);
    prune(&f, (busbar_pruning){.older_than_ms = 3600001}, 0);
    prune(&f, (busbar_pruning){.older_than_ms = 3000000}, 80);
    prune(&f, (busbar_pruning){.keep = 0}, 0); /* the reader needs the rest */
    assert_int_equal(stored(&f), 50);
    settle(&f, 100);
    prune(&f, (busbar_pruning){.keep = 0}, 49); /* the newest stays */
    assert_balanced(f.bus, "reader");
    publish(f.bus, "a.b");
    assert_int_equal(sql_integer(f.db, "SELECT max(seq) FROM busbar_log_normal"), 151);
    sql(f.db, "BEGIN");
    uint64_t count = 1;
    busbar_pruning pruning = {.size = sizeof pruning};
    assert_code(f.bus, busbar_prune(f.bus, &pruning, &count), BUSBAR_ETXN);
    assert_int_equal(count, 0);
    sql(f.db, "ROLLBACK");
    fixture_close(&f);
}

static void the_file_shrinks_on_request_only(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    publish_many(&f, 20000);
    int64_t large = sql_integer(f.db, "PRAGMA page_count");
    prune(&f, (busbar_pruning){.keep = 10}, 19990);
    assert_int_equal(sql_integer(f.db, "PRAGMA page_count"), large);
    publish_many(&f, 10000); /* free pages are used again */
    assert_int_equal(sql_integer(f.db, "PRAGMA page_count"), large);
    prune(&f, (busbar_pruning){.keep = 10, .vacuum = true}, 10000);
    assert_true(sql_integer(f.db, "PRAGMA page_count") < large / 2);
    sql(f.db, "PRAGMA auto_vacuum=INCREMENTAL; VACUUM");
    publish_many(&f, 20000);
    assert_int_equal(sql_integer(f.db, "PRAGMA auto_vacuum"), 2);
    prune(&f, (busbar_pruning){.keep = 10, .vacuum = true}, 20000);
    assert_true(sql_integer(f.db, "PRAGMA page_count") < large / 2);
    assert_string_equal(sql_text(f.db, "PRAGMA integrity_check"), "ok");
    fixture_close(&f);
}

/* ---- Others write meanwhile ---- */

typedef struct neighbour {
    sqlite3 *db; /* never waits for a lock */
    int writes;
    int writes_max;       /* then it ends the pruning */
    int64_t most_changed; /* rows or pages that went between two of its writes */
    int64_t last;
    const char *measure;
} neighbour;

static int write_between(void *ctx)
{
    neighbour *n = ctx;
    int64_t now = sql_integer(n->db, n->measure);
    if (n->writes > 0 && n->last - now > n->most_changed)
        n->most_changed = n->last - now;
    n->last = now;
    sql(n->db, "INSERT OR REPLACE INTO state VALUES ('neighbour', 1)");
    return ++n->writes == n->writes_max ? 7 : 0;
}

static void open_neighbour(neighbour *n, const fixture *f, const char *measure)
{
    *n = (neighbour){.db = fixture_connect(f), .measure = measure};
    assert_int_equal(sqlite3_busy_timeout(n->db, 0), SQLITE_OK);
}

static void others_write_between_the_pieces_of_pruning(void **unused)
{
    (void)unused;
    fixture f;
    neighbour n;
    fixture_open(&f);
    publish_many(&f, 20000);
    open_neighbour(&n, &f, "SELECT count(*) FROM busbar_log_normal");
    prune(&f, (busbar_pruning){.keep = 10, .pause = write_between, .ctx = &n}, 19990);
    assert_true(n.writes >= 18);
    assert_in_range(n.most_changed, 1, 1100);
    sqlite3_close(n.db);
    fixture_close(&f);
}

static void others_write_between_the_pieces_of_an_incremental_vacuum(void **unused)
{
    (void)unused;
    fixture f;
    neighbour n;
    fixture_open(&f);
    sql(f.db, "PRAGMA auto_vacuum=INCREMENTAL; VACUUM");
    publish(f.bus, "a.b");
    sql(f.db, "CREATE TABLE big AS SELECT zeroblob(2000000); DROP TABLE big");
    int64_t spare = sql_integer(f.db, "PRAGMA freelist_count");
    assert_true(spare > 150);
    open_neighbour(&n, &f, "PRAGMA freelist_count");
    prune(&f, (busbar_pruning){.keep = 10, .vacuum = true, .pause = write_between, .ctx = &n}, 0);
    print_message("%lld free pages in %d pieces\n", (long long)spare, n.writes);
    assert_in_range(n.writes, spare / 64, spare / 64 + 1);
    assert_in_range(n.most_changed, 1, 64);
    assert_int_equal(sql_integer(f.db, "PRAGMA freelist_count"), 0);
    sqlite3_close(n.db);
    fixture_close(&f);
}

static void a_pause_may_end_the_pruning(void **unused)
{
    (void)unused;
    fixture f;
    neighbour n;
    uint64_t count = 0;
    fixture_open(&f);
    publish_many(&f, 20000);
    open_neighbour(&n, &f, "SELECT count(*) FROM busbar_log_normal");
    n.writes_max = 3;
    busbar_pruning pruning = {.size = sizeof pruning, .vacuum = true, .pause = write_between, .ctx = &n};
    assert_int_equal(busbar_prune(f.bus, &pruning, &count), 7);
    assert_int_equal(n.writes, 3);
    assert_int_equal(stored(&f), 20000 - (int64_t)count);
    assert_in_range(count, 3, 3 * 1100);
    sqlite3_close(n.db);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finished_events_are_kept_by_age),
        cmocka_unit_test(rows_of_plain_sql_go_with_the_events_behind_them),
        cmocka_unit_test(finished_events_are_kept_by_bytes),
        cmocka_unit_test(the_hold_of_an_idle_consumer_ends_by_its_rule_and_never_early),
        cmocka_unit_test(p10_the_hold_of_an_idle_consumer_ends_without_any_clock),
        cmocka_unit_test(after_a_boot_an_idle_consumer_has_time_to_come_back),
        cmocka_unit_test(pruning_takes_what_is_finished_only),
        cmocka_unit_test(the_file_shrinks_on_request_only),
        cmocka_unit_test(others_write_between_the_pieces_of_pruning),
        cmocka_unit_test(others_write_between_the_pieces_of_an_incremental_vacuum),
        cmocka_unit_test(a_pause_may_end_the_pruning),
    };
    return cmocka_run_group_tests_name("retention", tests, NULL, NULL);
}
