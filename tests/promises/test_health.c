/* SPDX-License-Identifier: MIT */
/* Health and status: the verdict and its rules, how long a backlog will take, and what was written (P6, P8). */
#include "fixture.h"

#include <busbar/loopback.h>
#include <stdio.h>

#define SECOND_US 1000000u
#define MINUTE_US (60u * SECOND_US)
#define REST_MS   90

/* ---- Looking ---- */

typedef struct verdict {
    busbar_health health;
    char rules[200]; /* "dead! failing " with an exclamation mark for what is unhealthy */
    char text[200];  /* of the first */
} verdict;

static int note(const busbar_health_reason *reason, void *ctx)
{
    verdict *v = ctx;
    size_t length = strlen(v->rules);
    if (length == 0)
        snprintf(v->text, sizeof v->text, "%s", reason->text);
    snprintf(v->rules + length, sizeof v->rules - length, "%s%s ", reason->rule,
             reason->health == BUSBAR_HEALTH_UNHEALTHY ? "!" : "");
    assert_true(reason->consumer == NULL || strncmp(reason->text, reason->consumer, strlen(reason->consumer)) == 0);
    return 0;
}

static verdict judge(busbar *bus, busbar_health_rules rules)
{
    verdict v = {.rules = ""};
    busbar_health silent;
    rules.size = sizeof rules;
    assert_code(bus, busbar_health_get(bus, &rules, note, &v, &v.health), BUSBAR_OK);
    assert_code(bus, busbar_health_get(bus, &rules, NULL, NULL, &silent), BUSBAR_OK);
    assert_int_equal(silent, v.health);
    return v;
}

static void expect(busbar *bus, busbar_health_rules rules, busbar_health health, const char *reasons)
{
    verdict v = judge(bus, rules);
    assert_string_equal(v.rules, reasons);
    assert_string_equal(busbar_health_name(v.health), busbar_health_name(health));
}

static const busbar_health_rules DEFAULTS = {.size = sizeof DEFAULTS};

static int pick(const busbar_consumer_status *consumer, void *ctx)
{
    busbar_consumer_status *out = ctx;
    if (strcmp(consumer->name, "c") == 0)
        *out = *consumer; /* its texts are not looked at */
    return 0;
}

static busbar_consumer_status look(busbar *bus)
{
    busbar_consumer_status out = {.size = 0};
    assert_code(bus, busbar_consumer_list(bus, pick, &out), BUSBAR_OK);
    assert_int_equal(out.size, sizeof out);
    return out;
}

static busbar_status status_of(busbar *bus)
{
    busbar_status status = {.size = sizeof status};
    assert_code(bus, busbar_status_get(bus, &status), BUSBAR_OK);
    return status;
}

/* ---- A consumer "c" ---- */

typedef struct script {
    busbar_sim *sim;
    uint64_t takes_us; /* each event, of virtual time */
    busbar_verdict verdict;
    int count;
} script;

static busbar_verdict handle(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    script *s = ctx;
    (void)bus;
    (void)event;
    snprintf(reason->text, sizeof reason->text, "failure %d",
             ++s->count); /* another text, and still the same trouble */
    busbar_sim_advance(s->sim, s->takes_us);
    return s->verdict;
}

static void subscribe(fixture *f, script *s, const char *pattern)
{
    busbar_handler handler = {
        .size = sizeof handler, .name = "c", .pattern = pattern, .fn = handle, .ctx = s, .limit_ms = 1000};
    s->sim = f->sim;
    assert_code(f->bus, busbar_subscribe(f->bus, &handler, 1), BUSBAR_OK);
}

static void publish_many(fixture *f, int count, busbar_lane lane)
{
    busbar_event event = event_of("a.b");
    event.lane = lane;
    sql(f->db, "BEGIN");
    for (int i = 0; i < count; i++)
        assert_code(f->bus, busbar_publish(f->bus, &event, NULL), BUSBAR_OK);
    sql(f->db, "COMMIT");
}

static busbar_transport add_route(fixture *f, bool down)
{
    busbar_loopback_options options = {.size = sizeof options, .link_down = down};
    busbar_route route = {.size = sizeof route, .name = "c", .topic = "t"};
    busbar_transport transport;
    assert_int_equal(busbar_loopback_new(&options, &transport), BUSBAR_OK);
    assert_code(f->bus, busbar_route_add(f->bus, &route, transport), BUSBAR_OK);
    return transport;
}

static void pass_time(fixture *f, uint64_t time_us)
{
    uint64_t wait_us = 0;
    for (uint64_t passed_us = 0; passed_us < time_us; passed_us += SECOND_US) {
        busbar_sim_advance(f->sim, SECOND_US);
        assert_code(f->bus, busbar_step(f->bus, 1000, &wait_us), BUSBAR_OK);
    }
}

/* ---- The verdict ---- */

static void an_empty_and_a_working_bus_are_healthy(void **unused)
{
    (void)unused;
    fixture f;
    script s = {.verdict = BUSBAR_DONE};
    fixture_open(&f);
    publish(f.bus, "a.b");
    expect(f.bus, DEFAULTS, BUSBAR_HEALTH_OK, "");
    subscribe(&f, &s, NULL);
    publish_many(&f, 50, BUSBAR_NORMAL);
    expect(f.bus, DEFAULTS, BUSBAR_HEALTH_OK, "");
    settle(&f, 50);
    expect(f.bus, DEFAULTS, BUSBAR_HEALTH_OK, "");
    busbar_health health;
    assert_code(f.bus, busbar_health_get(f.bus, NULL, NULL, NULL, &health), BUSBAR_OK);
    assert_code(f.bus, busbar_health_get(f.bus, NULL, NULL, NULL, NULL), BUSBAR_EINVAL);
    assert_code(f.bus, busbar_health_get(f.bus, &(busbar_health_rules){.size = 1}, NULL, NULL, &health), BUSBAR_EINVAL);
    fixture_close(&f);
}

static void dead_letters_are_unhealthy_until_somebody_acts(void **unused)
{
    (void)unused;
    fixture f;
    script s = {.verdict = BUSBAR_DEAD};
    fixture_open(&f);
    subscribe(&f, &s, NULL);
    publish(f.bus, "a.b");
    publish(f.bus, "a.b");
    settle(&f, 50);
    pass_time(&f, 10 * MINUTE_US); /* no success since, and nothing waits: only the letters are left */
    assert_true(look(f.bus).failing_ms > 500000);
    expect(f.bus, DEFAULTS, BUSBAR_HEALTH_UNHEALTHY, "dead! ");
    assert_string_equal(judge(f.bus, DEFAULTS).text, "c: dead letters are kept: 2");
    expect(f.bus, (busbar_health_rules){.max_dead = 2}, BUSBAR_HEALTH_OK, "");
    expect(f.bus, (busbar_health_rules){.max_dead = 1}, BUSBAR_HEALTH_UNHEALTHY, "dead! ");
    expect(f.bus, (busbar_health_rules){.max_dead = BUSBAR_FOREVER}, BUSBAR_HEALTH_OK, "");
    fixture_close(&f);
}

static void failing_is_degraded_and_after_five_minutes_unhealthy(void **unused)
{
    (void)unused;
    fixture f;
    script s = {.verdict = BUSBAR_RETRY};
    fixture_open(&f);
    subscribe(&f, &s, NULL);
    publish(f.bus, "a.b");
    pass_time(&f, 4 * MINUTE_US);
    expect(f.bus, DEFAULTS, BUSBAR_HEALTH_DEGRADED, "failing ");
    assert_false(look(f.bus).offline);
    assert_in_range(look(f.bus).failing_ms, 230000, 245000);
    expect(f.bus, (busbar_health_rules){.max_failing_ms = 60000}, BUSBAR_HEALTH_UNHEALTHY, "failing! ");
    pass_time(&f, 2 * MINUTE_US);
    expect(f.bus, DEFAULTS, BUSBAR_HEALTH_UNHEALTHY, "failing! ");
    s.verdict = BUSBAR_DONE;
    busbar_selector retry = {.size = sizeof retry, .consumer = "c"};
    uint64_t count = 0;
    assert_code(f.bus, busbar_act(f.bus, &retry, BUSBAR_ACTION_RETRY, &count), BUSBAR_OK);
    settle(&f, 50);
    expect(f.bus, DEFAULTS, BUSBAR_HEALTH_OK, "");
    assert_int_equal(look(f.bus).failing_ms, 0);
    fixture_close(&f);
}

static void p6_being_offline_is_healthy_unless_a_rule_says_else(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    busbar_transport transport = add_route(&f, false);
    publish(f.bus, "a.b");
    settle(&f, REST_MS);
    pass_time(&f, 2 * MINUTE_US); /* errors are not written at any pace */
    busbar_loopback_link(transport, false);
    publish_many(&f, 10, BUSBAR_NORMAL);
    pass_time(&f, 60 * MINUTE_US);
    assert_true(look(f.bus).offline);
    assert_true(look(f.bus).failing_ms > 50 * 60000);
    expect(f.bus, DEFAULTS, BUSBAR_HEALTH_OK, "");
    expect(f.bus, (busbar_health_rules){.max_offline_ms = 7200000}, BUSBAR_HEALTH_OK, "");
    expect(f.bus, (busbar_health_rules){.max_offline_ms = 1800000}, BUSBAR_HEALTH_UNHEALTHY, "offline! ");
    expect(f.bus, (busbar_health_rules){.max_pending = 9}, BUSBAR_HEALTH_UNHEALTHY, "pending! ");
    expect(f.bus, (busbar_health_rules){.max_pending = 10}, BUSBAR_HEALTH_OK, "");
    expect(f.bus, (busbar_health_rules){.max_oldest_ms = 3000000}, BUSBAR_HEALTH_UNHEALTHY, "oldest! ");
    busbar_loopback_link(transport, true);
    pass_time(&f, MINUTE_US);
    assert_false(look(f.bus).offline);
    expect(f.bus, (busbar_health_rules){.max_offline_ms = 1}, BUSBAR_HEALTH_OK, "");
    fixture_close(&f);
}

static void refusals_are_failures_of_events(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    busbar_transport transport = add_route(&f, false);
    busbar_loopback_refusal refusal = {.size = sizeof refusal, .verdict = BUSBAR_REFUSED_RETRY, .text = "not allowed"};
    assert_int_equal(busbar_loopback_refuse(transport, &refusal), BUSBAR_OK);
    publish(f.bus, "a.b");
    pass_time(&f, 6 * MINUTE_US);
    assert_false(look(f.bus).offline);
    expect(f.bus, DEFAULTS, BUSBAR_HEALTH_UNHEALTHY, "failing! ");
    fixture_close(&f);
}

/* A success ends it, a new connection does not; and the time without one is told apart. */
static void events_that_fail_over_a_flapping_link_are_failures_all_the_same(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    busbar_transport transport = add_route(&f, false);
    busbar_loopback_refusal refusal = {.size = sizeof refusal, .verdict = BUSBAR_REFUSED_RETRY, .text = "not allowed"};
    assert_int_equal(busbar_loopback_refuse(transport, &refusal), BUSBAR_OK);
    publish(f.bus, "a.b");
    for (int i = 0; i < 3; i++) {
        pass_time(&f, 2 * MINUTE_US);
        busbar_loopback_link(transport, false);
        pass_time(&f, MINUTE_US + 10 * SECOND_US);
        assert_true(look(f.bus).offline);
        assert_in_range(look(f.bus).failing_ms, 1, 75000);
        busbar_loopback_link(transport, true);
        pass_time(&f, SECOND_US);
    }
    assert_in_range(look(f.bus).failing_ms, 500000, 600000);
    expect(f.bus, DEFAULTS, BUSBAR_HEALTH_UNHEALTHY, "failing! ");
    busbar_loopback_accept(transport);
    pass_time(&f, 6 * MINUTE_US);
    assert_int_equal(look(f.bus).failing_ms, 0);
    expect(f.bus, DEFAULTS, BUSBAR_HEALTH_OK, "");
    fixture_close(&f);
}

static void a_consumer_without_a_worker_is_found(void **unused)
{
    (void)unused;
    fixture f;
    script s = {.verdict = BUSBAR_DONE};
    busbar_health_rules rules = {.max_unworked_ms = 600000};
    fixture_open(&f);
    subscribe(&f, &s, NULL);
    publish(f.bus, "a.b");
    settle(&f, 50);
    assert_true(look(f.bus).worked);
    fixture_reopen_bus(&f); /* registered, and not running */
    assert_false(look(f.bus).worked);
    busbar_sim_advance(f.sim, 60u * (uint64_t)MINUTE_US);
    expect(f.bus, rules, BUSBAR_HEALTH_OK, ""); /* nothing waits for it */
    publish(f.bus, "a.b");
    expect(f.bus, rules, BUSBAR_HEALTH_OK, "");
    busbar_sim_advance(f.sim, 11u * (uint64_t)MINUTE_US);
    expect(f.bus, rules, BUSBAR_HEALTH_UNHEALTHY, "unworked! ");
    assert_string_equal(judge(f.bus, rules).text, "c: no worker runs, and an event has waited 660 s; the limit is 600");
    expect(f.bus, DEFAULTS, BUSBAR_HEALTH_OK, "");
    fixture_close(&f);
}

static void a_stuck_handler_is_unhealthy(void **unused)
{
    (void)unused;
    fixture f;
    script s = {.verdict = BUSBAR_DONE};
    sqlite3 *db;
    fixture_open(&f);
    subscribe(&f, &s, NULL);
    publish(f.bus, "a.b");
    settle(&f, 50);
    busbar *watcher = fixture_connect_bus(&f, &db);
    publish(f.bus, "a.b");
    busbar_sim_advance(f.sim,
                       MINUTE_US); /* nobody steps: as seen from another process while a handler does not return */
    expect(watcher, DEFAULTS, BUSBAR_HEALTH_UNHEALTHY, "stuck! ");
    expect(watcher, (busbar_health_rules){.allow_stuck = true}, BUSBAR_HEALTH_OK, "");
    assert_code(watcher, busbar_close(watcher), BUSBAR_OK);
    sqlite3_close(db);
    fixture_close(&f);
}

static void sizes_have_limits(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    publish_many(&f, 1000, BUSBAR_NORMAL);
    busbar_status status = status_of(f.bus);
    uint64_t file = (uint64_t)status.database_bytes;
    uint64_t wal = (uint64_t)status.wal_bytes;
    expect(f.bus, (busbar_health_rules){.max_file_bytes = file, .max_wal_bytes = wal}, BUSBAR_HEALTH_OK, "");
    expect(f.bus, (busbar_health_rules){.max_file_bytes = file - 1}, BUSBAR_HEALTH_UNHEALTHY, "file! ");
    expect(f.bus, (busbar_health_rules){.max_wal_bytes = wal - 1}, BUSBAR_HEALTH_UNHEALTHY, "wal! ");
    fixture_close(&f);
}

/* ---- How long it will take ---- */

static void turn(fixture *f)
{
    uint64_t wait_us = 0;
    assert_code(f->bus, busbar_step(f->bus, 100000, &wait_us), BUSBAR_OK);
    if (wait_us != BUSBAR_FOREVER)
        busbar_sim_advance(f->sim, wait_us); /* the application's turn to write */
}

/* Works off the rest; the estimate made before was right within 20 %. */
static void expect_estimate_right(fixture *f)
{
    int64_t eta_s = look(f->bus).eta_s;
    uint64_t from_us = busbar_sim_port(f->sim)->mono_us(busbar_sim_port(f->sim)->ctx);
    while (look(f->bus).pending > 0)
        turn(f);
    uint64_t took_us = busbar_sim_port(f->sim)->mono_us(busbar_sim_port(f->sim)->ctx) - from_us;
    double took_s = (double)took_us / 1e6;
    if (eta_s < 0 || (double)eta_s < took_s * 0.8 - 1 || (double)eta_s > took_s * 1.2 + 1)
        fail_msg("it took %.1f s, and %lld were told", took_s, (long long)eta_s);
}

static void work(fixture *f, int64_t until_pending)
{
    while (look(f->bus).pending > until_pending)
        turn(f);
}

static void the_estimate_holds_at_a_steady_rate(void **unused)
{
    (void)unused;
    fixture f;
    script s = {.takes_us = 10000, .verdict = BUSBAR_DONE};
    fixture_open(&f);
    subscribe(&f, &s, NULL);
    publish_many(&f, 5000, BUSBAR_NORMAL);
    work(&f, 4500);
    expect_estimate_right(&f);
    assert_int_equal(look(f.bus).eta_s, 0);
    fixture_close(&f);
}

static void the_estimate_follows_a_rate_that_changes(void **unused)
{
    (void)unused;
    fixture f;
    script s = {.takes_us = 1000, .verdict = BUSBAR_DONE};
    fixture_open(&f);
    subscribe(&f, &s, NULL);
    publish_many(&f, 8000, BUSBAR_NORMAL);
    work(&f, 5000);
    s.takes_us = 20000; /* twenty times slower */
    work(&f, 4500);     /* for ten seconds */
    expect_estimate_right(&f);
    publish_many(&f, 20000, BUSBAR_NORMAL);
    s.takes_us = 2000;
    work(&f, 16000);
    expect_estimate_right(&f);
    fixture_close(&f);
}

static void the_rate_is_that_of_the_lane_worked_last(void **unused)
{
    (void)unused;
    fixture f;
    script s = {.takes_us = 100, .verdict = BUSBAR_DONE};
    fixture_open(&f);
    subscribe(&f, &s, NULL);
    publish_many(&f, 20000, BUSBAR_URGENT);
    settle(&f, 50);
    s.takes_us = 20000;
    publish_many(&f, 2000, BUSBAR_BULK);
    work(&f, 1500);
    expect_estimate_right(&f);
    fixture_close(&f);
}

static void the_estimate_knows_what_is_filtered(void **unused)
{
    (void)unused;
    fixture f;
    script s = {.takes_us = 50000, .verdict = BUSBAR_DONE};
    fixture_open(&f);
    subscribe(&f, &s, "b.*");
    for (int i = 0; i < 400; i++) {
        publish_many(&f, 9, BUSBAR_NORMAL);
        publish(f.bus, "b.wanted");
    }
    work(&f, 3000);
    expect_estimate_right(&f);
    fixture_close(&f);
}

static void the_estimate_holds_for_a_route(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    busbar_loopback_options options = {.size = sizeof options};
    busbar_route route = {.size = sizeof route, .name = "c", .topic = "t", .rate_per_s = 50};
    busbar_transport transport;
    assert_int_equal(busbar_loopback_new(&options, &transport), BUSBAR_OK);
    assert_code(f.bus, busbar_route_add(f.bus, &route, transport), BUSBAR_OK);
    publish_many(&f, 4000, BUSBAR_NORMAL);
    work(&f, 3500);
    expect_estimate_right(&f);
    fixture_close(&f);
}

static void an_outage_does_not_spoil_the_estimate(void **unused)
{
    (void)unused;
    fixture f;
    uint64_t wait_us = 0;
    fixture_open(&f);
    busbar_loopback_options options = {.size = sizeof options, .manual_ack = true};
    busbar_route route = {.size = sizeof route, .name = "c", .topic = "t"};
    busbar_transport transport;
    assert_int_equal(busbar_loopback_new(&options, &transport), BUSBAR_OK);
    assert_code(f.bus, busbar_route_add(f.bus, &route, transport), BUSBAR_OK);
    publish_many(&f, 3000, BUSBAR_NORMAL);
    for (int second = 0; second < 40; second++) { /* 10 messages per 100 ms, but for an hour in between */
        if (second == 20) {
            busbar_loopback_link(transport, false);
            pass_time(&f, 60 * MINUTE_US);
            busbar_loopback_link(transport, true);
        }
        for (int i = 0; i < 10; i++) {
            assert_code(f.bus, busbar_step(f.bus, 1000, &wait_us), BUSBAR_OK);
            busbar_loopback_ack(transport, 5);
            busbar_sim_advance(f.sim, 100000);
        }
        if (second >= 4 && second != 20)
            assert_true(look(f.bus).rate_per_s > 40 && look(f.bus).rate_per_s < 60);
    }
    fixture_close(&f);
}

/* ---- What was written ---- */

static void written_bytes_and_commits_are_counted(void **unused)
{
    (void)unused;
    fixture f;
    script s = {.verdict = BUSBAR_DONE};
    fixture_open(&f);
    subscribe(&f, &s, NULL);
    settle(&f, 50);
    busbar_status before = status_of(f.bus);
    sql(f.db, "PRAGMA wal_checkpoint(TRUNCATE)");
    sql(f.db, "PRAGMA wal_autocheckpoint = 0");
    publish_many(&f, 500, BUSBAR_NORMAL); /* the application's transaction */
    busbar_status published = status_of(f.bus);
    assert_int_equal(published.commit_count, before.commit_count);
    /* The WAL has a header of 32 bytes, and 24 with each page. */
    int64_t pages = (published.wal_bytes - 32) / (sql_integer(f.db, "PRAGMA page_size") + 24);
    assert_int_equal(published.written_bytes - before.written_bytes, pages * sql_integer(f.db, "PRAGMA page_size"));
    settle(&f, 50);
    busbar_status handled = status_of(f.bus);
    assert_true(handled.commit_count > published.commit_count);
    assert_true(handled.synced_count <= handled.commit_count);
    fixture_reopen_bus(&f);
    assert_int_equal(status_of(f.bus).written_bytes, 0);
    assert_int_equal(status_of(f.bus).commit_count, 0);
    assert_code(f.bus, busbar_consumer_remove(f.bus, "c"), BUSBAR_OK);
    int64_t synced = status_of(f.bus).synced_count;
    add_route(&f, false); /* P2: the watermark is raised by one synced commit for all of them */
    publish_many(&f, 10, BUSBAR_NORMAL);
    settle(&f, REST_MS);
    assert_int_equal(status_of(f.bus).synced_count, synced + 1);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_and_a_working_bus_are_healthy),
        cmocka_unit_test(dead_letters_are_unhealthy_until_somebody_acts),
        cmocka_unit_test(failing_is_degraded_and_after_five_minutes_unhealthy),
        cmocka_unit_test(p6_being_offline_is_healthy_unless_a_rule_says_else),
        cmocka_unit_test(refusals_are_failures_of_events),
        cmocka_unit_test(events_that_fail_over_a_flapping_link_are_failures_all_the_same),
        cmocka_unit_test(a_consumer_without_a_worker_is_found),
        cmocka_unit_test(a_stuck_handler_is_unhealthy),
        cmocka_unit_test(sizes_have_limits),
        cmocka_unit_test(the_estimate_holds_at_a_steady_rate),
        cmocka_unit_test(the_estimate_follows_a_rate_that_changes),
        cmocka_unit_test(the_rate_is_that_of_the_lane_worked_last),
        cmocka_unit_test(the_estimate_knows_what_is_filtered),
        cmocka_unit_test(the_estimate_holds_for_a_route),
        cmocka_unit_test(an_outage_does_not_spoil_the_estimate),
        cmocka_unit_test(written_bytes_and_commits_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
