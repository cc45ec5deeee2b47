/* SPDX-License-Identifier: MIT */
/* P9 (bounded): sessions, kinds, boots and clock fixes that nothing needs are collected, without a worker, and P5 holds. */
#include "fixture.h"

#include <stdio.h>

static busbar_verdict done(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    (void)bus, (void)event, (void)reason, (void)ctx;
    return BUSBAR_DONE;
}

static const busbar_handler READER = {.size = sizeof(busbar_handler), .name = "reader", .fn = done};

/* One run of a program that publishes an event, and ends. */
static void run_once(fixture *f, int n, const char *type)
{
    char name[40];
    snprintf(name, sizeof name, "process-%d", n);
    assert_int_equal(busbar_sim_worker_set(f->sim, name), BUSBAR_OK);
    fixture_reopen_bus(f);
    publish(f->bus, type);
    assert_int_equal(busbar_sim_worker_gone(f->sim, name), BUSBAR_OK);
}

static int64_t rows(const fixture *f, const char *table)
{
    char text[100];
    snprintf(text, sizeof text, "SELECT count(*) FROM busbar_%s", table);
    return sql_integer(f->db, text);
}

static int64_t pages(const fixture *f)
{
    return sql_integer(f->db, "PRAGMA page_count");
}

/* Each stored event still has its session and its kind. */
static void assert_nothing_dangles(const fixture *f)
{
    assert_int_equal(
        sql_integer(f->db, "SELECT (SELECT count(*) FROM busbar_log_normal) + (SELECT count(*) FROM busbar_log_urgent)"
                           " + (SELECT count(*) FROM busbar_log_bulk) - (SELECT count(*) FROM busbar_events AS e"
                           " WHERE length(e.id) > 20 AND e.boot IS NOT NULL)"),
        0);
    assert_int_equal(sql_integer(f->db, "SELECT count(*) FROM busbar_exception WHERE session NOT IN"
                                        " (SELECT id FROM busbar_session)"),
                     0);
}

/* ---- A cron job ---- */

typedef struct job {
    fixture f;
    int runs;
    int64_t at_first; /* bytes of the file after a tenth of the year */
    int64_t most_sessions, most_boots, most_fixes;
} job;

#define RUNS 52560 /* every ten minutes for a year */
#define DAYS 365

static int cron_parts = 16; /* one in so many */

static void connect(job *j)
{
    busbar_error error = {.code = 0};
    j->f.db = fixture_connect(&j->f);
    if (busbar_open(&j->f.bus, j->f.db, &j->f.options, &error) != BUSBAR_OK)
        fail_msg("%s", error.text);
}

static void disconnect(job *j)
{
    assert_code(j->f.bus, busbar_close(j->f.bus), BUSBAR_OK);
    assert_int_equal(sqlite3_close(j->f.db), SQLITE_OK);
}

/* A process as `busbar publish` is one: it opens the file, publishes outside of any transaction, and ends. */
static void begin_process(job *j, char name[40])
{
    snprintf(name, 40, "process-%d", j->runs++);
    assert_int_equal(busbar_sim_worker_set(j->f.sim, name), BUSBAR_OK);
    connect(j);
}

static void end_process(job *j, const char *name)
{
    disconnect(j);
    assert_int_equal(busbar_sim_worker_gone(j->f.sim, name), BUSBAR_OK);
}

static void publish_once(job *j)
{
    char name[40];
    begin_process(j, name);
    publish(j->f.bus, "a.tick");
    end_process(j, name);
}

/* A process that works until nothing is left, as `busbar relay --drain`. */
static void drain_once(job *j)
{
    char name[40];
    begin_process(j, name);
    assert_code(j->f.bus, busbar_subscribe(j->f.bus, &READER, 1), BUSBAR_OK);
    settle(&j->f, 1000);
    end_process(j, name);
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void look(job *j, int run, int runs)
{
    connect(j);
    int64_t bytes = pages(&j->f) * sql_integer(j->f.db, "PRAGMA page_size");
    assert_nothing_dangles(&j->f);
    j->most_sessions = larger(j->most_sessions, rows(&j->f, "session"));
    j->most_boots = larger(j->most_boots, rows(&j->f, "boot"));
    j->most_fixes = larger(j->most_fixes, rows(&j->f, "clock"));
    if (run >= runs / 10 && j->at_first == 0)
        j->at_first = bytes;
    disconnect(j);
}

/* The machine restarts every day; sometimes it knows the time. */
static void pass_year(job *j, bool drained)
{
    int runs = RUNS / cron_parts;
    int day = runs / DAYS;
    for (int i = 0; i < runs; i++) {
        if (i % day == 0) {
            busbar_sim_reboot(j->f.sim);
            busbar_sim_wall_quality(j->f.sim, i % 3 ? BUSBAR_CLOCK_UNKNOWN : BUSBAR_CLOCK_TRUSTED);
        }
        publish_once(j);
        if (drained && i % day == day - 1)
            drain_once(j);
        busbar_sim_advance(j->f.sim, (uint64_t)cron_parts * 600 * 1000000);
        if (i % (5 * day) == 0)
            look(j, i, runs);
    }
}

static void open_job(job *j, busbar_options options)
{
    memset(j, 0, sizeof *j);
    fixture_open_with(&j->f, options);
    busbar_event urgent = event_of("a.once");
    urgent.lane = BUSBAR_URGENT;
    /* It stays for ever, and must not hold others up. */
    assert_code(j->f.bus, busbar_publish(j->f.bus, &urgent, NULL), BUSBAR_OK);
    disconnect(j);
}

/* A session for each event that is kept, and what collection has not come to: it looks at 64 in 16 runs. */
static void close_job(job *j, const char *what, int64_t kept)
{
    connect(j);
    int64_t bytes = pages(&j->f) * sql_integer(j->f.db, "PRAGMA page_size");
    int64_t limit = j->f.options.max_bytes ? (int64_t)j->f.options.max_bytes : j->at_first + j->at_first / 4;
    print_message("%s: %d processes; %lld bytes at the end, %lld after a tenth; at most %lld sessions, %lld boots, %lld"
                  " clock fixes\n",
                  what, j->runs, (long long)bytes, (long long)j->at_first, (long long)j->most_sessions,
                  (long long)j->most_boots, (long long)j->most_fixes);
    assert_true(bytes <= limit);
    assert_in_range(j->most_sessions, 1, kept);
    assert_in_range(j->most_boots, 1, 1 + kept / (RUNS / cron_parts / DAYS) + 2 * 64);
    assert_in_range(j->most_fixes, 1, 2 * j->most_boots);
    fixture_close(&j->f);
}

/* Every ten minutes for a year: without a worker, and events bounded in number. */
static void a_year_of_cron_leaves_a_bounded_file(void **unused)
{
    (void)unused;
    job j;
    open_job(&j, (busbar_options){.size = sizeof(busbar_options), .max_events = {100, 0, 0}});
    pass_year(&j, false);
    close_job(&j, "without a consumer, 100 events", 100 + 2 * 64);
}

static void a_year_of_cron_that_is_drained_every_day(void **unused)
{
    (void)unused;
    job j;
    open_job(&j, (busbar_options){.size = sizeof(busbar_options), .keep_events = 200});
    drain_once(&j);
    pass_year(&j, true);
    connect(&j);
    assert_balanced(j.f.bus, "reader");
    assert_int_equal(progress_of(j.f.bus, "reader", BUSBAR_NORMAL).delivered, RUNS / cron_parts / DAYS * DAYS);
    disconnect(&j);
    close_job(&j, "drained every day, 200 kept", 3 * (200 + RUNS / cron_parts / DAYS) + 2 * 64);
}

/* By bytes, of which sessions need more than events: the consumer was there once, and its share is evicted, and told. */
static void a_year_of_cron_that_nobody_ever_drains(void **unused)
{
    (void)unused;
    job j;
    open_job(&j, (busbar_options){.size = sizeof(busbar_options), .max_bytes = 384 * 1024});
    drain_once(&j);
    pass_year(&j, false);
    connect(&j);
    busbar_progress p = progress_of(j.f.bus, "reader", BUSBAR_NORMAL);
    assert_balanced(j.f.bus, "reader");
    assert_true(p.evicted > RUNS / cron_parts / 6 && p.delivered == 0);
    assert_int_equal(p.evicted, sql_integer(j.f.db, "SELECT sum(count) FROM busbar_gap"));
    assert_int_equal(sql_integer(j.f.db, "SELECT count(*) FROM busbar_gap"), 1);
    disconnect(&j);
    close_job(&j, "never drained, 384 KiB", 1000);
}

/* A reboot every day, types that are never used twice, a subscription that is worked on once a week. */
static void boots_and_kinds_go_with_the_events_that_named_them(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open_with(&f, (busbar_options){.size = sizeof(busbar_options), .keep_events = 50});
    assert_code(f.bus, busbar_subscribe(f.bus, &READER, 1), BUSBAR_OK);
    for (int i = 0; i < 3000; i++) {
        char type[40];
        snprintf(type, sizeof type, "a.day.n%d", i);
        if (i % 4 == 0) {
            busbar_sim_reboot(f.sim);
            busbar_sim_wall_quality(f.sim, BUSBAR_CLOCK_TRUSTED);
        }
        run_once(&f, i, type);
        busbar_sim_advance(f.sim, UINT64_C(6) * 3600 * 1000000);
        if (i % 28 != 27)
            continue;
        assert_code(f.bus, busbar_subscribe(f.bus, &READER, 1), BUSBAR_OK);
        settle(&f, 1000);
        assert_balanced(f.bus, "reader");
        assert_nothing_dangles(&f);
    }
    assert_int_equal(progress_of(f.bus, "reader", BUSBAR_NORMAL).delivered, 3000 - 3000 % 28);
    assert_true(rows(&f, "session") < 700);
    assert_true(rows(&f, "kind") < 900);
    assert_true(rows(&f, "boot") < 200);
    assert_true(rows(&f, "clock") < 400);
    fixture_close(&f);
}

/* An application that runs for a long time keeps what it has at hand, whatever others collect. */
static void a_live_session_and_its_kinds_are_not_collected(void **unused)
{
    (void)unused;
    fixture f;
    sqlite3 *other_db;
    fixture_open_with(&f, (busbar_options){.size = sizeof(busbar_options), .max_events = {5, 0, 0}});
    busbar *app = fixture_connect_bus(&f, &other_db);
    busbar_event event = event_of("app.first");
    busbar_id before;
    busbar_id after;
    assert_code(app, busbar_publish(app, &event, &before), BUSBAR_OK);
    for (int i = 0; i < 400; i++) {
        char type[40];
        snprintf(type, sizeof type, "a.n%d", i);
        run_once(&f, i, type);
    }
    assert_code(app, busbar_publish(app, &event, &after), BUSBAR_OK);
    assert_memory_equal(before.text, after.text, 20); /* of the same session */
    assert_string_equal(sql_text(f.db, "SELECT type FROM busbar_events ORDER BY lane, seq DESC LIMIT 1"), "app.first");
    assert_string_equal(sql_text(f.db, "SELECT id FROM busbar_events ORDER BY lane, seq DESC LIMIT 1"), after.text);
    assert_nothing_dangles(&f);
    assert_true(rows(&f, "kind") > 400);
    assert_code(app, busbar_close(app), BUSBAR_OK);
    sqlite3_close(other_db);
    fixture_close(&f);
}

/* The number of a collected kind never names another one: a handle without a session, which nobody sees, may know it. */
static void p5_a_kind_that_was_collected_is_looked_up_again(void **unused)
{
    (void)unused;
    fixture f;
    sqlite3 *other_db;
    fixture_open_with(&f, (busbar_options){.size = sizeof(busbar_options), .max_events = {5, 0, 0}});
    run_once(&f, 1000, "app.first");
    busbar *app = fixture_connect_bus(&f, &other_db);
    busbar_kind kind;
    busbar_kind_desc desc = {.size = sizeof desc, .type = "app.first"};
    sql(other_db, "BEGIN");
    assert_code(app, busbar_kind_register(app, &desc, &kind), BUSBAR_OK);
    sql(other_db, "ROLLBACK"); /* its session is gone, the kind was there before */
    for (int i = 0; i < 1000; i++) {
        char type[40];
        snprintf(type, sizeof type, "a.n%d", i);
        run_once(&f, i, type);
    }
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_kind WHERE type = 'app.first'"), 0);
    busbar_event event = {.size = sizeof event, .kind = kind};
    assert_code(app, busbar_publish(app, &event, NULL), BUSBAR_OK);
    assert_string_equal(sql_text(f.db, "SELECT type FROM busbar_events ORDER BY lane, seq DESC LIMIT 1"), "app.first");
    assert_true(sql_integer(f.db, "SELECT max(id) FROM busbar_kind") > 1000); /* numbers go on */
    assert_code(app, busbar_close(app), BUSBAR_OK);
    sqlite3_close(other_db);
    fixture_close(&f);
}

/* A process that opens and closes the bus again and again: nobody would find out that a session is over, but it says so. */
static void sessions_of_a_process_that_lives_are_collected(void **unused)
{
    (void)unused;
    fixture f;
    sqlite3 *other_db;
    fixture_open_with(&f, (busbar_options){.size = sizeof(busbar_options), .max_events = {5, 0, 0}});
    busbar *app = fixture_connect_bus(&f, &other_db); /* stays open */
    busbar_event event = event_of("app.first");
    busbar_id before;
    busbar_id after;
    assert_code(app, busbar_publish(app, &event, &before), BUSBAR_OK);
    for (int i = 0; i < 1000; i++) {
        publish(f.bus, "a.b");
        fixture_reopen_bus(&f);
    }
    assert_true(rows(&f, "session") < 100);
    assert_code(app, busbar_publish(app, &event, &after), BUSBAR_OK);
    assert_memory_equal(before.text, after.text, 20); /* of the same session */
    assert_nothing_dangles(&f);
    assert_code(app, busbar_close(app), BUSBAR_OK);
    sqlite3_close(other_db);
    fixture_close(&f);
}

/* What it has scheduled is appended later, and names it then. */
static void a_session_with_scheduled_events_does_not_end_by_closing(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open_with(&f, (busbar_options){.size = sizeof(busbar_options), .max_events = {5, 0, 0}});
    busbar_event later = event_of("a.later");
    later.delay_ms = 3600000;
    assert_code(f.bus, busbar_publish(f.bus, &later, NULL), BUSBAR_OK);
    for (int i = 0; i < 200; i++) {
        fixture_reopen_bus(&f);
        publish(f.bus, "a.b");
    }
    busbar_sim_advance(f.sim, UINT64_C(3601) * 1000000);
    fixture_reopen_bus(&f);
    assert_code(f.bus, busbar_subscribe(f.bus, &READER, 1), BUSBAR_OK);
    settle(&f, 1000);
    assert_int_equal(rows(&f, "later"), 0);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_events WHERE type = 'a.later'"), 1);
    assert_int_equal(progress_of(f.bus, "reader", BUSBAR_NORMAL).dead, 0);
    assert_nothing_dangles(&f);
    fixture_close(&f);
}

/* Closing fails for nobody: in a transaction, beside a writer, with a connection that may not write any more. */
static void closing_goes_well_where_the_end_of_the_session_cannot_be_noted(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    sqlite3 *other_db = fixture_connect(&f);
    publish(f.bus, "a.b");
    sql(f.db, "BEGIN; INSERT INTO state VALUES ('in', 1)");
    fixture_reopen_bus(&f);
    assert_int_equal(sqlite3_get_autocommit(f.db), 0);
    sql(f.db, "ROLLBACK");
    publish(f.bus, "a.b");
    sql(other_db, "BEGIN IMMEDIATE");
    fixture_reopen_bus(&f);
    sql(other_db, "ROLLBACK");
    publish(f.bus, "a.b");
    sql(f.db, "PRAGMA query_only = 1");
    fixture_reopen_bus(&f);
    sql(f.db, "PRAGMA query_only = 0");
    assert_int_equal(sqlite3_get_autocommit(f.db), 1);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_session WHERE end_normal IS NULL"), 3);
    publish(f.bus, "a.b");
    fixture_reopen_bus(&f);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_session WHERE end_normal IS NULL"), 3);
    sqlite3_close(other_db);
    fixture_close(&f);
}

/* Not even that of the newest, which nobody ever used. */
static void p5_the_number_of_a_kind_is_not_used_again(void **unused)
{
    (void)unused;
    fixture f;
    char type[40];
    busbar_kind kind;
    busbar_kind_desc desc = {.size = sizeof desc, .type = "a.unused"};
    fixture_open_with(&f, (busbar_options){.size = sizeof(busbar_options), .max_events = {5, 0, 0}});
    for (int i = 0; i < 300; i++) {
        snprintf(type, sizeof type, "a.n%d", i);
        publish(f.bus, type);
    }
    assert_code(f.bus, busbar_kind_register(f.bus, &desc, &kind), BUSBAR_OK);
    int64_t highest = sql_integer(f.db, "SELECT max(id) FROM busbar_kind");
    assert_int_equal(busbar_sim_worker_gone(f.sim, "worker-1"), BUSBAR_OK);
    for (int i = 0; i < 200; i++)
        run_once(&f, i, "a.n0");
    assert_true(rows(&f, "kind") < 200);
    publish(f.bus, "a.new");
    assert_int_equal(sql_integer(f.db, "SELECT id FROM busbar_kind WHERE type = 'a.new'"), highest + 1);
    fixture_close(&f);
}

/* ---- Plain SQL, as docs/format.md has it ---- */

/* What version 1 had. */
#define KIND_AS_BEFORE "INSERT OR IGNORE INTO busbar_kind (type, source) VALUES ('meter.read', '/house/meter');"
#define KIND                                                                                                           \
    "INSERT INTO busbar_kind (type, source) VALUES ('meter.read', '/house/meter')"                                     \
    " ON CONFLICT (type, source, datacontenttype, dataschema)"                                                         \
    " DO UPDATE SET end_normal = NULL, end_urgent = NULL, end_bulk = NULL WHERE end_normal IS NOT NULL;"
#define EVENT                                                                                                          \
    "INSERT INTO busbar_log_normal (kind, id, data) SELECT id, lower(hex(randomblob(16))), '1' FROM busbar_kind"       \
    " WHERE type = 'meter.read' AND source = '/house/meter' AND datacontenttype = '' AND dataschema = '';"

static const char PLAIN[] = "BEGIN IMMEDIATE;" KIND EVENT "COMMIT";
static const char PLAIN_AS_BEFORE[] = "BEGIN IMMEDIATE;" KIND_AS_BEFORE EVENT "COMMIT";

static int count_finding(const busbar_finding *finding, void *ctx)
{
    print_message("%s: %s\n", finding->part, finding->text);
    ++*(int *)ctx;
    return 0;
}

static void a_kind_of_plain_sql_takes_no_number_from_others(void **unused)
{
    (void)unused;
    fixture f;
    int findings = 0;
    fixture_open(&f);
    assert_code(f.bus, busbar_subscribe(f.bus, &READER, 1), BUSBAR_OK);
    publish(f.bus, "a.first");
    for (int i = 0; i < 3; i++) {
        char type[40];
        sql(f.db, i == 1 ? PLAIN_AS_BEFORE : PLAIN);
        sql(f.db,
            "INSERT OR IGNORE INTO busbar_kind (type, source) SELECT 'plain.n' || count(*), '/' FROM busbar_kind");
        snprintf(type, sizeof type, "a.next%d", i);
        publish(f.bus, type);
        publish(f.bus, type);
    }
    settle(&f, 1000);
    assert_int_equal(rows(&f, "kind"), 8);
    assert_int_equal(progress_of(f.bus, "reader", BUSBAR_NORMAL).delivered, 10);
    assert_code(f.bus, busbar_check(f.bus, count_finding, &findings), BUSBAR_OK);
    assert_int_equal(findings, 0);
    fixture_close(&f);
}

/* Kinds come and go while a trigger, of which the library sees no session, goes on using its own. */
static void use_plain_sql_among_kinds_that_come_and_go(const char *first, const char *each)
{
    fixture f;
    fixture_open_with(&f, (busbar_options){.size = sizeof(busbar_options), .max_events = {30, 0, 0}});
    if (first) {
        busbar_event event = event_of("meter.read");
        event.source = first;
        assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    }
    assert_int_equal(busbar_sim_worker_gone(f.sim, "worker-1"), BUSBAR_OK);
    for (int i = 0; i < 1200; i++) {
        char type[40];
        snprintf(type, sizeof type, "a.n%d", i);
        run_once(&f, i, type);
        if (i % 7 == 0)
            sql(f.db, each);
    }
    assert_true(rows(&f, "kind") < 700);
    assert_true(sql_integer(f.db, "SELECT count(*) FROM busbar_kind WHERE end_normal IS NOT NULL") > 0);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_kind WHERE end_normal IS NOT NULL"
                                       " AND begin_normal IS NULL"),
                     0);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_log_normal"
                                       " WHERE kind NOT IN (SELECT id FROM busbar_kind)"),
                     0);
    assert_true(sql_integer(f.db, "SELECT count(*) FROM busbar_log_normal WHERE session = 0") >= 3);
    fixture_close(&f);
}

static void a_kind_that_plain_sql_uses_is_not_collected(void **unused)
{
    (void)unused;
    use_plain_sql_among_kinds_that_come_and_go("/house/meter", PLAIN);
    use_plain_sql_among_kinds_that_come_and_go(NULL, PLAIN);
    use_plain_sql_among_kinds_that_come_and_go(NULL, PLAIN_AS_BEFORE);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_year_of_cron_leaves_a_bounded_file),
        cmocka_unit_test(a_year_of_cron_that_is_drained_every_day),
        cmocka_unit_test(a_year_of_cron_that_nobody_ever_drains),
        cmocka_unit_test(boots_and_kinds_go_with_the_events_that_named_them),
        cmocka_unit_test(a_live_session_and_its_kinds_are_not_collected),
        cmocka_unit_test(p5_a_kind_that_was_collected_is_looked_up_again),
        cmocka_unit_test(sessions_of_a_process_that_lives_are_collected),
        cmocka_unit_test(a_session_with_scheduled_events_does_not_end_by_closing),
        cmocka_unit_test(closing_goes_well_where_the_end_of_the_session_cannot_be_noted),
        cmocka_unit_test(p5_the_number_of_a_kind_is_not_used_again),
        cmocka_unit_test(a_kind_of_plain_sql_takes_no_number_from_others),
        cmocka_unit_test(a_kind_that_plain_sql_uses_is_not_collected),
    };
    if (argc > 1)
        cron_parts = atoi(argv[1]);
    return cmocka_run_group_tests_name("collection", tests, NULL, NULL);
}
