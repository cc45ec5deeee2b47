/* SPDX-License-Identifier: MIT */
/* Local dispatch: P2 (nothing above the watermark outside a transaction), P4 (order), P7 (exactly-once local effect). */
#include "fixture.h"

#include <stdio.h>

/* What a handler saw, and what it is told to do. */
typedef struct log {
    char text[4096]; /* "type/attempt " for each call */
    int calls;
    const char *fail_type; /* the verdict for this type, else DONE */
    busbar_verdict verdict;
    const char *statement; /* executed on `db` in each call */
    sqlite3 *db;
    const char *publishes; /* a type published in each call for another type */
    const char *misuse_type;
    sqlite3 *watermark_db; /* check that no event is above the watermark */
} log;

static void check_watermark(const log *l, const busbar_record *event)
{
    static const char *const columns[] = {"watermark_normal", "watermark_urgent", "watermark_bulk"};
    char query[100];
    snprintf(query, sizeof query, "SELECT %s FROM busbar_meta", columns[event->lane]);
    assert_true(sql_integer(l->watermark_db, query) >= event->seq);
}

static busbar_verdict handle(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    log *l = ctx;
    size_t length = strlen(l->text);
    snprintf(l->text + length, sizeof l->text - length, "%s/%u ", event->type, (unsigned)event->attempt);
    l->calls++;
    if (l->watermark_db)
        check_watermark(l, event);
    if (l->publishes && strcmp(event->type, l->publishes) != 0)
        publish(bus, l->publishes);
    if (l->statement && (!l->misuse_type || strcmp(l->misuse_type, event->type) == 0))
        sql(l->db, l->statement);
    if (l->fail_type && strcmp(event->type, l->fail_type) == 0) {
        strcpy(reason->text, "pump is dry");
        return l->verdict;
    }
    return BUSBAR_DONE;
}

static busbar_handler handler_of(const char *name, const char *pattern, log *l)
{
    return (busbar_handler){.size = sizeof(busbar_handler), .name = name, .pattern = pattern, .fn = handle, .ctx = l};
}

static void subscribe(fixture *f, busbar_handler handler)
{
    assert_code(f->bus, busbar_subscribe(f->bus, &handler, 1), BUSBAR_OK);
}

/* ---- Registry ---- */

static void several_handlers_by_pattern_from_one_const_table(void **unused)
{
    (void)unused;
    static log doors;
    static log all;
    static log two;
    static const busbar_handler table[] = {
        {.size = sizeof(busbar_handler), .name = "doors", .pattern = "door.#", .fn = handle, .ctx = &doors},
        {.size = sizeof(busbar_handler), .name = "all", .fn = handle, .ctx = &all},
        {.size = sizeof(busbar_handler), .name = "two", .pattern = "*.opened", .fn = handle, .ctx = &two},
    };
    fixture f;
    fixture_open(&f);
    assert_code(f.bus, busbar_subscribe(f.bus, table, 3), BUSBAR_OK);
    publish(f.bus, "door.opened");
    publish(f.bus, "window.opened");
    publish(f.bus, "door.front.closed");
    settle(&f, 100);
    assert_string_equal(doors.text, "door.opened/1 door.front.closed/1 ");
    assert_string_equal(all.text, "door.opened/1 window.opened/1 door.front.closed/1 ");
    assert_string_equal(two.text, "door.opened/1 window.opened/1 ");
    assert_int_equal(progress_of(f.bus, "doors", BUSBAR_NORMAL).filtered, 1);
    assert_balanced(f.bus, "doors");
    assert_balanced(f.bus, "all");
    fixture_close(&f);
}

static void registration_is_all_or_none_and_checks_everything(void **unused)
{
    (void)unused;
    log l = {.calls = 0};
    fixture f;
    fixture_open(&f);
    busbar_handler table[] = {handler_of("good", "#", &l), handler_of("bad name!", "#", &l)};
    assert_code(f.bus, busbar_subscribe(f.bus, table, 2), BUSBAR_ENAME);
    table[1].name = "good";
    assert_code(f.bus, busbar_subscribe(f.bus, table, 2), BUSBAR_EEXISTS);
    table[1] = handler_of("other", "a.**", &l);
    assert_code(f.bus, busbar_subscribe(f.bus, table, 2), BUSBAR_EPATTERN);
    table[1] = handler_of("other", "#", &l);
    table[1].fn = NULL;
    assert_code(f.bus, busbar_subscribe(f.bus, table, 2), BUSBAR_EINVAL);
    assert_code(f.bus, busbar_subscribe(f.bus, NULL, 1), BUSBAR_EINVAL);
    sql(f.db, "BEGIN");
    assert_code(f.bus, busbar_subscribe(f.bus, table, 1), BUSBAR_ETXN);
    sql(f.db, "COMMIT");
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'busbar%'"), 0);
    assert_code(f.bus, busbar_subscribe(f.bus, table, 1), BUSBAR_OK);
    assert_code(f.bus, busbar_subscribe(f.bus, table, 1), BUSBAR_EEXISTS);
    fixture_close(&f);
}

static void start_at_now_or_from_the_beginning(void **unused)
{
    (void)unused;
    log now = {.calls = 0};
    log beginning = {.calls = 0};
    fixture f;
    fixture_open(&f);
    publish(f.bus, "a.before");
    subscribe(&f, handler_of("now", "#", &now));
    busbar_handler from_beginning = handler_of("beginning", "#", &beginning);
    from_beginning.start = BUSBAR_START_BEGINNING;
    subscribe(&f, from_beginning);
    publish(f.bus, "b.after");
    settle(&f, 100);
    assert_string_equal(now.text, "b.after/1 ");
    assert_string_equal(beginning.text, "a.before/1 b.after/1 ");
    fixture_close(&f);
}

static void the_name_keeps_progress_over_sessions_and_patterns(void **unused)
{
    (void)unused;
    log first = {.calls = 0};
    log second = {.calls = 0};
    fixture f;
    fixture_open(&f);
    subscribe(&f, handler_of("doors", "door.*", &first));
    publish(f.bus, "door.opened");
    settle(&f, 100);
    publish(f.bus, "door.closed");
    fixture_reopen_bus(&f);
    subscribe(&f, handler_of("doors", "#", &second));
    settle(&f, 100);
    assert_string_equal(first.text, "door.opened/1 ");
    assert_string_equal(second.text, "door.closed/1 ");
    assert_string_equal(sql_text(f.db, "SELECT pattern FROM busbar_consumer"), "#");
    fixture_close(&f);
}

/* ---- P4 ---- */

static void p4_order_is_commit_order_and_urgent_goes_first(void **unused)
{
    (void)unused;
    log l = {.calls = 0};
    fixture f;
    fixture_open(&f);
    subscribe(&f, handler_of("all", "#", &l));
    static const struct {
        const char *type;
        busbar_lane lane;
    } events[] = {{"b1", BUSBAR_BULK},   {"n1", BUSBAR_NORMAL}, {"u1", BUSBAR_URGENT},
                  {"n2", BUSBAR_NORMAL}, {"u2", BUSBAR_URGENT}, {"b2", BUSBAR_BULK}};
    for (size_t i = 0; i < 6; i++) {
        busbar_event event = event_of(events[i].type);
        event.lane = events[i].lane;
        busbar_sim_wall_step(f.sim, i % 2 ? -86400000 : 3600000); /* whatever the clock does */
        assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    }
    settle(&f, 100);
    assert_string_equal(l.text, "u1/1 u2/1 n1/1 n2/1 b1/1 b2/1 ");
    fixture_close(&f);
}

/* ---- P7 ---- */

static void p7_effect_event_and_cursor_commit_together(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    log l = {.statement = "INSERT INTO state VALUES ('n', 1) ON CONFLICT DO UPDATE SET value = value + 1",
             .db = f.db,
             .publishes = "follow.up"};
    subscribe(&f, handler_of("counter", "a.*", &l));
    for (int i = 0; i < 50; i++)
        publish(f.bus, "a.b");
    settle(&f, 100);
    assert_int_equal(sql_integer(f.db, "SELECT value FROM state"), 50);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_events WHERE type = 'follow.up'"), 50);
    assert_int_equal(progress_of(f.bus, "counter", BUSBAR_NORMAL).delivered, 50);
    assert_balanced(f.bus, "counter");
    fixture_close(&f);
}

static void p7_a_failing_handler_leaves_no_trace(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    log l = {.fail_type = "a.bad",
             .verdict = BUSBAR_RETRY,
             .statement = "INSERT INTO state VALUES (hex(randomblob(8)), 1)",
             .db = f.db,
             .publishes = "follow.up"};
    subscribe(&f, handler_of("h", "a.*", &l));
    publish(f.bus, "a.good");
    publish(f.bus, "a.bad");
    publish(f.bus, "a.good");
    settle(&f, 100);
    assert_string_equal(l.text, "a.good/1 a.bad/1 a.good/1 "); /* it blocks nothing */
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM state"), 2);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_events WHERE type = 'follow.up'"), 2);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).retrying, 1);
    assert_string_equal(sql_text(f.db, "SELECT reason FROM busbar_exception"), "pump is dry");
    assert_balanced(f.bus, "h");
    fixture_close(&f);
}

static int simulated_crash(const fixture *f, const char *copy)
{
    char command[800];
    snprintf(command, sizeof command, "cp %s %s && cp %s-wal %s-wal", f->path, copy, f->path, copy);
    return system(command);
}

static void p7_a_crash_between_batches_repeats_nothing(void **unused)
{
    (void)unused;
    fixture f;
    char copy[200];
    fixture_open(&f);
    log l = {.statement = "INSERT INTO state VALUES ('n', 1) ON CONFLICT DO UPDATE SET value = value + 1", .db = f.db};
    subscribe(&f, handler_of("counter", "#", &l));
    for (int i = 0; i < 300; i++)
        publish(f.bus, "a.b");
    busbar_sim_tick(f.sim, 20); /* batches end by time: 2 ms hold about a hundred readings of the clock */
    uint64_t wait_us;
    assert_code(f.bus, busbar_step(f.bus, 3000, &wait_us), BUSBAR_OK);
    int64_t done_so_far = progress_of(f.bus, "counter", BUSBAR_NORMAL).delivered;
    assert_in_range(done_so_far, 1, 299);
    snprintf(copy, sizeof copy, "%s/crashed.db", f.directory);
    assert_int_equal(simulated_crash(&f, copy), 0);
    sqlite3 *crashed;
    sqlite3_open(copy, &crashed);
    assert_int_equal(sql_integer(crashed, "SELECT value FROM state"), done_so_far);
    assert_int_equal(sql_integer(crashed, "SELECT cursor FROM busbar_cursor WHERE lane = 0"), done_so_far);
    sqlite3_close(crashed);
    settle(&f, 100);
    assert_int_equal(sql_integer(f.db, "SELECT value FROM state"), 300);
    fixture_close(&f);
}

static void misuse_is_caught(const char *statement, bool kept)
{
    fixture f;
    fixture_open(&f);
    log l = {.statement = statement, .db = f.db, .misuse_type = "a.guilty"};
    busbar_handler handler = handler_of("h", "#", &l);
    handler.retry.max_attempts = 2;
    subscribe(&f, handler);
    publish(f.bus, "a.before");
    publish(f.bus, "a.guilty");
    publish(f.bus, "a.after");
    settle(&f, 5000);
    busbar_progress p = progress_of(f.bus, "h", BUSBAR_NORMAL);
    assert_int_equal(p.delivered, 2);
    assert_int_equal(p.dead, 1);
    assert_balanced(f.bus, "h");
    assert_non_null(strstr(sql_text(f.db, "SELECT reason FROM busbar_exception"), "ended the transaction"));
    /* committed: the event before it was kept and comes once; rolled back: it was undone and comes again */
    const char *expected = kept ? "a.before/1 a.guilty/1 a.after/1 " : "a.before/1 a.guilty/1 a.before/1 ";
    assert_int_equal(strncmp(l.text, expected, strlen(expected)), 0);
    fixture_close(&f);
}

static void p7_a_handler_that_commits_is_caught(void **unused)
{
    (void)unused;
    misuse_is_caught("COMMIT", true);
    misuse_is_caught("COMMIT; BEGIN", true);
}

static void p7_a_handler_that_rolls_back_is_caught(void **unused)
{
    (void)unused;
    misuse_is_caught("ROLLBACK", false);
    misuse_is_caught("ROLLBACK; BEGIN IMMEDIATE", false);
}

/* Commits the bus's transaction, and lets another connection take the lock before the bus can record that. */
static busbar_verdict commit_and_lose_the_lock(busbar *bus, const busbar_record *event, busbar_reason *reason,
                                               void *ctx)
{
    log *l = ctx;
    if (l->calls == 1 && strcmp(event->type, "a.guilty") == 0) {
        sql(l->db, "COMMIT");
        sql(l->watermark_db, "BEGIN IMMEDIATE");
    }
    sqlite3 *lock = l->watermark_db;
    l->watermark_db = NULL;
    busbar_verdict verdict = handle(bus, event, reason, ctx);
    l->watermark_db = lock;
    return verdict;
}

static void p7_a_commit_is_accounted_for_even_if_the_database_is_locked_then(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    log l = {.db = f.db, .watermark_db = fixture_connect(&f)};
    busbar_handler handler = handler_of("h", "#", &l);
    handler.fn = commit_and_lose_the_lock;
    handler.retry.base_ms = handler.retry.cap_ms = 3600000;
    subscribe(&f, handler);
    publish(f.bus, "a.before");
    publish(f.bus, "a.guilty");
    publish(f.bus, "a.after");
    for (int i = 0; i < 10; i++) {
        uint64_t wait_us;
        assert_code(f.bus, busbar_step(f.bus, 1000, &wait_us), BUSBAR_OK);
        busbar_sim_advance(f.sim, 10000);
    }
    assert_string_equal(l.text, "a.before/1 a.guilty/1 ");
    sql(l.watermark_db, "COMMIT");
    settle(&f, 100);
    assert_string_equal(l.text, "a.before/1 a.guilty/1 a.after/1 ");
    busbar_progress p = progress_of(f.bus, "h", BUSBAR_NORMAL);
    assert_int_equal(p.delivered, 2);
    assert_int_equal(p.retrying, 1);
    assert_balanced(f.bus, "h");
    sqlite3_close(l.watermark_db);
    fixture_close(&f);
}

/* ---- Failing events ---- */

static void a_failing_event_is_tried_again_and_dies_in_the_end(void **unused)
{
    (void)unused;
    fixture f;
    log l = {.fail_type = "a.bad", .verdict = BUSBAR_RETRY};
    fixture_open(&f);
    busbar_handler handler = handler_of("h", "#", &l);
    handler.retry = (busbar_retry){.base_ms = 1000, .cap_ms = 60000, .max_attempts = 3};
    subscribe(&f, handler);
    publish(f.bus, "a.bad");
    settle(&f, 100);
    assert_string_equal(l.text, "a.bad/1 ");
    busbar_sim_advance(f.sim, 400000); /* the wait is 0.5 to 1 s */
    settle(&f, 0);
    assert_int_equal(l.calls, 1);
    busbar_sim_wall_step(f.sim, 86400000); /* never by wall time */
    settle(&f, 0);
    assert_int_equal(l.calls, 1);
    settle(&f, 10000);
    assert_string_equal(l.text, "a.bad/1 a.bad/2 a.bad/3 ");
    busbar_progress p = progress_of(f.bus, "h", BUSBAR_NORMAL);
    assert_int_equal(p.dead, 1);
    assert_int_equal(p.retrying, 0);
    assert_int_equal(sql_integer(f.db, "SELECT attempts FROM busbar_exception WHERE state = 3"), 3);
    assert_balanced(f.bus, "h");
    fixture_close(&f);
}

static void dead_at_once_and_retry_over_a_reboot(void **unused)
{
    (void)unused;
    fixture f;
    log dead = {.fail_type = "a.bad", .verdict = BUSBAR_DEAD};
    log retry = {.fail_type = "a.bad", .verdict = BUSBAR_RETRY};
    fixture_open(&f);
    busbar_sim_advance(f.sim, UINT64_C(86400) * 1000000); /* the next boot's clock is far behind this one's */
    subscribe(&f, handler_of("dead", "#", &dead));
    subscribe(&f, handler_of("retry", "#", &retry));
    publish(f.bus, "a.bad");
    settle(&f, 100);
    assert_int_equal(progress_of(f.bus, "dead", BUSBAR_NORMAL).dead, 1);
    assert_int_equal(progress_of(f.bus, "retry", BUSBAR_NORMAL).retrying, 1);
    assert_code(f.bus, busbar_close(f.bus), BUSBAR_OK);
    busbar_sim_reboot(f.sim);
    busbar_error error;
    assert_int_equal(busbar_open(&f.bus, f.db, &f.options, &error), BUSBAR_OK);
    retry.fail_type = NULL;
    subscribe(&f, handler_of("retry", "#", &retry));
    settle(&f, 0); /* another boot: due at once */
    assert_string_equal(retry.text, "a.bad/1 a.bad/2 ");
    assert_int_equal(progress_of(f.bus, "retry", BUSBAR_NORMAL).delivered, 1);
    assert_balanced(f.bus, "retry");
    assert_balanced(f.bus, "dead");
    fixture_close(&f);
}

static void at_the_bound_of_exceptions_the_lane_stops_and_says_so(void **unused)
{
    (void)unused;
    fixture f;
    log l = {.fail_type = "a.bad", .verdict = BUSBAR_RETRY};
    fixture_open(&f);
    busbar_handler handler = handler_of("h", "#", &l);
    handler.retry.base_ms = 100000000;
    handler.retry.cap_ms = 100000000;
    subscribe(&f, handler);
    sql(f.db, "BEGIN");
    for (int i = 0; i < 1005; i++)
        publish(f.bus, "a.bad");
    sql(f.db, "COMMIT");
    settle(&f, 500);
    busbar_progress p = progress_of(f.bus, "h", BUSBAR_NORMAL);
    assert_int_equal(p.retrying, 1000);
    assert_int_equal(p.cursor, 1000);
    assert_non_null(strstr(sql_text(f.db, "SELECT last_error FROM busbar_consumer"), "1,000"));
    assert_balanced(f.bus, "h");
    fixture_close(&f);
}

static void a_handler_may_change_the_schema_and_fail(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    log l = {.fail_type = "a.bad",
             .verdict = BUSBAR_RETRY,
             .statement = "CREATE TABLE made (x)",
             .db = f.db,
             .misuse_type = "a.bad"};
    busbar_handler handler = handler_of("h", "#", &l);
    handler.retry.max_attempts = 1;
    subscribe(&f, handler);
    publish(f.bus, "a.before");
    publish(f.bus, "a.bad");
    publish(f.bus, "a.after");
    settle(&f, 100);
    assert_string_equal(l.text, "a.before/1 a.bad/1 a.after/1 ");
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).dead, 1);
    assert_balanced(f.bus, "h");
    fixture_close(&f);
}

static void a_blocked_lane_stops_no_other_lane(void **unused)
{
    (void)unused;
    static const busbar_delivery deliveries[] = {BUSBAR_TRANSACTIONAL, BUSBAR_OUTSIDE};
    for (size_t i = 0; i < 2; i++) {
        fixture f;
        log l = {.fail_type = "a.bad", .verdict = BUSBAR_RETRY};
        fixture_open(&f);
        busbar_handler handler = handler_of("h", "#", &l);
        handler.delivery = deliveries[i];
        handler.retry.base_ms = handler.retry.cap_ms = 100000000;
        subscribe(&f, handler);
        sql(f.db, "BEGIN");
        busbar_event bad = event_of("a.bad");
        bad.lane = BUSBAR_URGENT;
        for (int j = 0; j < 1005; j++)
            assert_code(f.bus, busbar_publish(f.bus, &bad, NULL), BUSBAR_OK);
        publish(f.bus, "a.good");
        sql(f.db, "COMMIT");
        settle(&f, 500);
        assert_int_equal(progress_of(f.bus, "h", BUSBAR_URGENT).retrying, 1000);
        assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).delivered, 1);
        assert_balanced(f.bus, "h");
        fixture_close(&f);
    }
}

static void a_consumer_removed_elsewhere_is_told_once_and_stops_nobody(void **unused)
{
    (void)unused;
    fixture f;
    log removed = {.calls = 0};
    log stays = {.calls = 0};
    log again = {.calls = 0};
    fixture_open(&f);
    subscribe(&f, handler_of("removed", "#", &removed));
    subscribe(&f, handler_of("stays", "#", &stays));
    sqlite3 *db;
    busbar *other = fixture_connect_bus(&f, &db);
    assert_code(other, busbar_consumer_remove(other, "removed"), BUSBAR_OK);
    busbar_handler handler = handler_of("new", "#", &again);
    assert_code(other, busbar_subscribe(other, &handler, 1), BUSBAR_OK);
    publish(f.bus, "a.b");
    uint64_t wait_us;
    assert_code(f.bus, busbar_step(f.bus, 1000, &wait_us), BUSBAR_EREMOVED);
    settle(&f, 100);
    assert_int_equal(removed.calls, 0); /* never on another consumer's events */
    assert_int_equal(stays.calls, 1);
    settle_bus(other, f.sim, 100);
    assert_int_equal(again.calls, 1);
    subscribe(&f, handler_of("removed", "#", &again));
    assert_code(other, busbar_close(other), BUSBAR_OK);
    sqlite3_close(db);
    fixture_close(&f);
}

/* ---- Outside a transaction ---- */

/* Another connection takes the write lock while each event is handled. */
static busbar_verdict take_lock(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    (void)bus, (void)event, (void)reason;
    log *l = ctx;
    l->calls++;
    if (sqlite3_get_autocommit(l->db))
        sql(l->db, "BEGIN IMMEDIATE");
    return BUSBAR_DONE;
}

static void results_of_outside_handlers_survive_a_locked_database(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    log l = {.db = fixture_connect(&f)};
    busbar_handler handler = {
        .size = sizeof handler, .name = "h", .fn = take_lock, .ctx = &l, .delivery = BUSBAR_OUTSIDE};
    subscribe(&f, handler);
    for (int i = 0; i < 20; i++)
        publish(f.bus, "a.b");
    for (int i = 0; i < 10; i++) {
        uint64_t wait_us;
        assert_code(f.bus, busbar_step(f.bus, 100000, &wait_us), BUSBAR_OK);
        busbar_sim_advance(f.sim, 10000);
    }
    assert_int_equal(l.calls, 20);
    sql(l.db, "COMMIT");
    settle(&f, 10);
    assert_int_equal(l.calls, 20);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).delivered, 20);
    sqlite3_close(l.db);
    fixture_close(&f);
}

static void p2_outside_handlers_see_nothing_above_the_watermark(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    log l = {.watermark_db = f.db, .publishes = "follow.up"};
    busbar_handler handler = handler_of("h", "#", &l);
    handler.delivery = BUSBAR_OUTSIDE;
    subscribe(&f, handler);
    for (int i = 0; i < 5; i++) {
        publish(f.bus, "a.b");
        busbar_event event = event_of("a.u");
        event.lane = BUSBAR_URGENT;
        assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
        settle(&f, 100);
    }
    assert_int_equal(l.calls, 20);
    busbar_progress p = progress_of(f.bus, "h", BUSBAR_NORMAL);
    assert_int_equal(p.delivered, 15);
    assert_balanced(f.bus, "h");
    fixture_close(&f);
}

static void outside_handlers_fail_and_retry_like_the_others(void **unused)
{
    (void)unused;
    fixture f;
    log l = {.fail_type = "a.bad", .verdict = BUSBAR_RETRY};
    fixture_open(&f);
    busbar_handler handler = handler_of("h", "#", &l);
    handler.delivery = BUSBAR_OUTSIDE;
    handler.retry.max_attempts = 2;
    subscribe(&f, handler);
    publish(f.bus, "a.bad");
    publish(f.bus, "a.good");
    settle(&f, 10000);
    assert_string_equal(l.text, "a.bad/1 a.good/1 a.bad/2 ");
    busbar_progress p = progress_of(f.bus, "h", BUSBAR_NORMAL);
    assert_int_equal(p.dead, 1);
    assert_int_equal(p.delivered, 1);
    assert_balanced(f.bus, "h");
    fixture_close(&f);
}

/* ---- Calling context ---- */

static busbar_verdict misuse(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    (void)event, (void)reason;
    uint64_t wait_us;
    int *calls = ctx;
    (*calls)++;
    assert_int_equal(busbar_step(bus, 1000, &wait_us), BUSBAR_EMISUSE);
    assert_int_equal(busbar_close(bus), BUSBAR_EMISUSE);
    assert_int_equal(busbar_migrate(bus), BUSBAR_EMISUSE);
    return BUSBAR_DONE;
}

static void step_and_close_are_refused_where_they_must_be(void **unused)
{
    (void)unused;
    fixture f;
    int calls = 0;
    uint64_t wait_us = 5;
    fixture_open(&f);
    subscribe(&f, (busbar_handler){.size = sizeof(busbar_handler), .name = "h", .fn = misuse, .ctx = &calls});
    publish(f.bus, "a.b");
    sql(f.db, "BEGIN");
    assert_code(f.bus, busbar_step(f.bus, 1000, &wait_us), BUSBAR_ETXN);
    assert_code(f.bus, busbar_close(f.bus), BUSBAR_ETXN);
    sql(f.db, "COMMIT");
    assert_int_equal(wait_us, 5);
    settle(&f, 100);
    assert_int_equal(calls, 1);
    fixture_close(&f);
}

static void an_idle_bus_writes_nothing(void **unused)
{
    (void)unused;
    fixture f;
    log l = {.calls = 0};
    fixture_open(&f);
    subscribe(&f, handler_of("h", "#", &l));
    publish(f.bus, "a.b");
    settle(&f, 100);
    sqlite3 *watcher = fixture_connect(&f);
    int64_t version = sql_integer(watcher, "PRAGMA data_version");
    for (int i = 0; i < 3600; i++) {
        busbar_sim_advance(f.sim, 1000000);
        settle(&f, 0);
    }
    assert_int_equal(sql_integer(watcher, "PRAGMA data_version"), version);
    sqlite3_close(watcher);
    fixture_close(&f);
}

static void p15_the_write_lock_is_held_briefly_and_left_free_as_long(void **unused)
{
    (void)unused;
    fixture f;
    log l = {.calls = 0};
    fixture_open(&f);
    subscribe(&f, handler_of("h", "#", &l));
    sql(f.db, "BEGIN");
    for (int i = 0; i < 1000; i++)
        publish(f.bus, "a.b");
    sql(f.db, "COMMIT");
    busbar_sim_tick(f.sim, 50);
    uint64_t wait_us;
    assert_code(f.bus, busbar_step(f.bus, 4000, &wait_us), BUSBAR_OK); /* takes the lease, and a first batch */
    busbar_sim_advance(f.sim, 10000);
    int before = l.calls;
    assert_code(f.bus, busbar_step(f.bus, 2500, &wait_us), BUSBAR_OK);
    int in_batch = l.calls - before;
    assert_in_range(in_batch, 5, 40); /* 2 ms of 50 us readings */
    assert_in_range(wait_us, 500, 4000);
    assert_code(f.bus, busbar_step(f.bus, 100, &wait_us), BUSBAR_OK);
    assert_int_equal(l.calls - before, in_batch); /* the pause is kept */
    busbar_sim_tick(f.sim, 0);
    settle(&f, 100);
    assert_int_equal(l.calls, 1000);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(several_handlers_by_pattern_from_one_const_table),
        cmocka_unit_test(registration_is_all_or_none_and_checks_everything),
        cmocka_unit_test(start_at_now_or_from_the_beginning),
        cmocka_unit_test(the_name_keeps_progress_over_sessions_and_patterns),
        cmocka_unit_test(p4_order_is_commit_order_and_urgent_goes_first),
        cmocka_unit_test(p7_effect_event_and_cursor_commit_together),
        cmocka_unit_test(p7_a_failing_handler_leaves_no_trace),
        cmocka_unit_test(p7_a_crash_between_batches_repeats_nothing),
        cmocka_unit_test(p7_a_handler_that_commits_is_caught),
        cmocka_unit_test(p7_a_handler_that_rolls_back_is_caught),
        cmocka_unit_test(p7_a_commit_is_accounted_for_even_if_the_database_is_locked_then),
        cmocka_unit_test(a_failing_event_is_tried_again_and_dies_in_the_end),
        cmocka_unit_test(dead_at_once_and_retry_over_a_reboot),
        cmocka_unit_test(at_the_bound_of_exceptions_the_lane_stops_and_says_so),
        cmocka_unit_test(a_handler_may_change_the_schema_and_fail),
        cmocka_unit_test(a_blocked_lane_stops_no_other_lane),
        cmocka_unit_test(a_consumer_removed_elsewhere_is_told_once_and_stops_nobody),
        cmocka_unit_test(results_of_outside_handlers_survive_a_locked_database),
        cmocka_unit_test(p2_outside_handlers_see_nothing_above_the_watermark),
        cmocka_unit_test(outside_handlers_fail_and_retry_like_the_others),
        cmocka_unit_test(step_and_close_are_refused_where_they_must_be),
        cmocka_unit_test(an_idle_bus_writes_nothing),
        cmocka_unit_test(p15_the_write_lock_is_held_briefly_and_left_free_as_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
