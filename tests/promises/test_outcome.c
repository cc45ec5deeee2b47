/* SPDX-License-Identifier: MIT */
/* P9: retry policies of consumers and events, verdicts that name a time or spend no attempt; over restarts, by monotonic time. */
#include <stdio.h>

#include <busbar/loopback.h>

#include "fixture.h"

/* When the handler was called, and what it says. */
typedef struct log {
    const fixture *f;
    int calls;
    uint32_t attempts[400];
    int64_t at_ms[400];
    busbar_verdict verdict;
    busbar_verdict first; /* of the first so many calls */
    int first_count;
    uint32_t after_ms;
    bool writes; /* a row of state in each call */
} log;

static int64_t clock_ms(const fixture *f)
{
    return (int64_t)(f->options.port->mono_us(f->options.port->ctx) / 1000);
}

static busbar_verdict handle(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    log *l = ctx;
    (void)bus;
    assert_true(l->calls < 400);
    l->attempts[l->calls] = event->attempt;
    l->at_ms[l->calls++] = clock_ms(l->f);
    reason->retry_after_ms = l->after_ms;
    if (l->writes)
        sql(l->f->db, "INSERT INTO state VALUES (hex(randomblob(8)), 1)");
    snprintf(reason->text, sizeof reason->text, "attempt %u", (unsigned)event->attempt);
    return l->calls <= l->first_count ? l->first : l->verdict;
}

static void subscribe(fixture *f, log *l, busbar_retry retry, busbar_delivery delivery)
{
    busbar_handler handler = {.size = sizeof handler, .name = "h", .fn = handle, .ctx = l, .retry = retry};
    handler.delivery = delivery;
    l->f = f;
    assert_code(f->bus, busbar_subscribe(f->bus, &handler, 1), BUSBAR_OK);
}

/* Time passes in steps; whatever is due in each is done. */
static void run(fixture *f, int64_t time_ms, int64_t step_ms)
{
    for (int64_t passed_ms = 0; passed_ms < time_ms; passed_ms += step_ms) {
        settle(f, 0);
        busbar_sim_advance(f->sim, (uint64_t)step_ms * 1000);
    }
    settle(f, 0);
}

static void open_with(fixture *f, log *l, busbar_retry retry)
{
    memset(l, 0, sizeof *l);
    l->verdict = BUSBAR_RETRY;
    fixture_open(f);
    subscribe(f, l, retry, BUSBAR_TRANSACTIONAL);
}

static int64_t wait_before(const log *l, int call)
{
    return l->at_ms[call] - l->at_ms[call - 1];
}

/* ---- Policies ---- */

static void p9_exponential_with_cap_and_maximum_attempts(void **unused)
{
    (void)unused;
    static const int64_t waits_ms[] = {0, 100, 200, 400, 500, 500, 500};
    static log l;
    fixture f;
    open_with(&f, &l, (busbar_retry){.base_ms = 100, .cap_ms = 500, .max_attempts = 7, .jitter = BUSBAR_JITTER_NONE});
    publish(f.bus, "a.b");
    run(&f, 10000, 1);
    assert_int_equal(l.calls, 7);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(l.attempts[i], i + 1);
        if (i > 0)
            assert_in_range(wait_before(&l, i), waits_ms[i], waits_ms[i] + 3);
    }
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).dead, 1);
    assert_string_equal(sql_text(f.db, "SELECT reason FROM busbar_exception"), "attempt 7");
    assert_int_equal(sql_integer(f.db, "SELECT attempts FROM busbar_exception"), 7);
    assert_balanced(f.bus, "h");
    fixture_close(&f);
}

/* Each event's first wait lies in the range of its jitter, and they are spread over it. */
static void jitter_is_spread(busbar_jitter jitter, int64_t least_ms, int64_t most_ms)
{
    enum { EVENTS = 100 };
    static log l;
    fixture f;
    int64_t low_ms = INT64_MAX;
    int64_t high_ms = 0;
    open_with(&f, &l, (busbar_retry){.base_ms = 1000, .cap_ms = 100000, .max_attempts = 2, .jitter = jitter});
    for (int i = 0; i < EVENTS; i++)
        publish(f.bus, "a.b");
    run(&f, 4000, 10);
    assert_int_equal(l.calls, 2 * EVENTS);
    for (int i = EVENTS; i < 2 * EVENTS; i++) {
        int64_t wait_ms = l.at_ms[i] - l.at_ms[0];
        low_ms = wait_ms < low_ms ? wait_ms : low_ms;
        high_ms = wait_ms > high_ms ? wait_ms : high_ms;
    }
    assert_in_range(low_ms, least_ms, least_ms + (most_ms - least_ms) / 4 + 12);
    assert_in_range(high_ms, most_ms - (most_ms - least_ms) / 4, most_ms + 12);
    fixture_close(&f);
}

static void p9_jitter_spreads_the_waits(void **unused)
{
    (void)unused;
    jitter_is_spread(BUSBAR_JITTER_EQUAL, 500, 1000);
    jitter_is_spread(BUSBAR_JITTER_FULL, 0, 1000);
    jitter_is_spread(BUSBAR_JITTER_DECORRELATED, 1000, 3000);
}

static void p9_never_give_up(void **unused)
{
    (void)unused;
    static log l;
    fixture f;
    open_with(
        &f, &l,
        (busbar_retry){.base_ms = 10, .cap_ms = 10, .max_attempts = BUSBAR_UNLIMITED, .jitter = BUSBAR_JITTER_NONE});
    publish(f.bus, "a.b");
    run(&f, 3600, 12);
    assert_true(l.calls > 250);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).retrying, 1);
    l.verdict = BUSBAR_DONE;
    run(&f, 100, 10);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).delivered, 1);
    fixture_close(&f);
}

static void p9_an_event_brings_its_own_policy(void **unused)
{
    (void)unused;
    static log l;
    static const busbar_retry own = {.base_ms = 50, .cap_ms = 50, .max_attempts = 3, .jitter = BUSBAR_JITTER_NONE};
    fixture f;
    open_with(&f, &l, (busbar_retry){.max_attempts = 1});
    busbar_event event = event_of("a.b");
    event.retry = &own;
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    settle(&f, 0);
    fixture_reopen_bus(&f); /* the policy is kept with the event */
    subscribe(&f, &l, (busbar_retry){.max_attempts = 1}, BUSBAR_OUTSIDE);
    run(&f, 1000, 1);
    assert_int_equal(l.calls, 3);
    assert_in_range(wait_before(&l, 2), 50, 53);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).dead, 1);
    publish(f.bus, "a.b"); /* and others have the consumer's */
    run(&f, 1000, 10);
    assert_int_equal(l.calls, 4);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).dead, 2);
    fixture_close(&f);
}

static void bad_policies_are_refused(void **unused)
{
    (void)unused;
    static log l;
    fixture f;
    open_with(&f, &l, (busbar_retry){.base_ms = 0});
    busbar_retry bad = {.jitter = (busbar_jitter)9};
    busbar_handler handler = {.size = sizeof handler, .name = "bad", .fn = handle, .ctx = &l, .retry = bad};
    assert_code(f.bus, busbar_subscribe(f.bus, &handler, 1), BUSBAR_ERETRY);
    busbar_event event = event_of("a.b");
    event.retry = &bad;
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_ERETRY);
    bad = (busbar_retry){.max_age_ms = UINT64_MAX};
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_ERETRY);
    fixture_close(&f);
}

/* ---- Verdicts ---- */

static void p9_a_handler_names_its_own_time(void **unused)
{
    (void)unused;
    static log l;
    fixture f;
    open_with(&f, &l, (busbar_retry){.base_ms = 100, .cap_ms = 100, .max_attempts = 9, .jitter = BUSBAR_JITTER_NONE});
    l.after_ms = 5000;
    publish(f.bus, "a.b");
    run(&f, 5100, 10);
    assert_int_equal(l.calls, 2);
    assert_in_range(wait_before(&l, 1), 5000, 5020);
    l.after_ms = 0; /* told in the call at 10 s; then the policy's again */
    run(&f, 5500, 10);
    assert_true(l.calls >= 4);
    assert_in_range(wait_before(&l, 3), 100, 420);
    fixture_close(&f);
}

static void waiting_spends_nothing(busbar_delivery delivery)
{
    static log l;
    fixture f;
    memset(&l, 0, sizeof l);
    l.first = BUSBAR_WAIT;
    l.first_count = 50;
    l.verdict = BUSBAR_RETRY;
    fixture_open(&f);
    subscribe(&f, &l,
              (busbar_retry){
                  .base_ms = 100, .cap_ms = 100, .max_attempts = 2, .jitter = BUSBAR_JITTER_NONE, .max_age_ms = 1000},
              delivery);
    publish(f.bus, "a.b");
    run(&f, 4900, 10); /* longer than the maximum age: but it has not failed */
    assert_true(l.calls > 40);
    for (int i = 0; i < l.calls; i++)
        assert_int_equal(l.attempts[i], 1);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).retrying, 1);
    assert_int_equal(sql_integer(f.db, "SELECT first_boot + first_ms + last_boot + last_ms FROM busbar_exception"), 0);
    run(&f, 3000, 10);
    assert_int_equal(l.calls, 52); /* two attempts that fail */
    assert_int_equal(l.attempts[50], 1);
    assert_int_equal(l.attempts[51], 2);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).dead, 1);
    assert_balanced(f.bus, "h");
    fixture_close(&f);
}

static void p9_wait_spends_no_attempt(void **unused)
{
    (void)unused;
    waiting_spends_nothing(BUSBAR_TRANSACTIONAL);
    waiting_spends_nothing(BUSBAR_OUTSIDE);
}

static void p7_wait_undoes_what_the_handler_wrote(void **unused)
{
    (void)unused;
    static log l;
    fixture f;
    open_with(&f, &l, (busbar_retry){.base_ms = 0});
    l.verdict = BUSBAR_WAIT;
    publish(f.bus, "a.b");
    l.writes = true;
    settle(&f, 0);
    assert_int_equal(l.calls, 1);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM state"), 0);
    assert_int_equal(sql_integer(f.db, "SELECT attempts FROM busbar_exception"), 0);
    assert_string_equal(sql_text(f.db, "SELECT reason FROM busbar_exception"), "attempt 1");
    fixture_close(&f);
}

static void an_unknown_verdict_is_a_failure(void **unused)
{
    (void)unused;
    static log l;
    fixture f;
    open_with(&f, &l, (busbar_retry){.max_attempts = 2, .base_ms = 10, .cap_ms = 10});
    l.verdict = (busbar_verdict)77;
    publish(f.bus, "a.b");
    run(&f, 200, 10);
    assert_int_equal(l.calls, 2);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).dead, 1);
    fixture_close(&f);
}

/* ---- Over restarts, and whatever the wall clock does ---- */

static void p9_attempts_and_waits_survive_a_restart(void **unused)
{
    (void)unused;
    static log l;
    busbar_retry retry = {.base_ms = 1000, .cap_ms = 1000, .max_attempts = 5, .jitter = BUSBAR_JITTER_NONE};
    fixture f;
    open_with(&f, &l, retry);
    publish(f.bus, "a.b");
    settle(&f, 0);
    for (int i = 0; i < 20 && l.calls < 5; i++) {
        fixture_reopen_bus(&f);
        subscribe(&f, &l, retry, i % 2 ? BUSBAR_OUTSIDE : BUSBAR_TRANSACTIONAL);
        run(&f, 600, 10);
    }
    assert_int_equal(l.calls, 5);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(l.attempts[i], i + 1);
        if (i > 0)
            assert_in_range(wait_before(&l, i), 1000, 1020); /* a restart neither shortens nor begins it anew */
    }
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).dead, 1);
    fixture_close(&f);
}

static void p9_a_reboot_ends_the_wait_and_keeps_the_attempts(void **unused)
{
    (void)unused;
    static log l;
    busbar_retry retry = {.base_ms = 3600000, .cap_ms = 3600000, .max_attempts = 3, .jitter = BUSBAR_JITTER_NONE};
    fixture f;
    open_with(&f, &l, retry);
    publish(f.bus, "a.b");
    settle(&f, 0);
    for (int i = 0; i < 2; i++) {
        busbar_sim_reboot(f.sim);
        fixture_reopen_bus(&f);
        subscribe(&f, &l, retry, BUSBAR_TRANSACTIONAL);
        run(&f, 100, 10);
    }
    assert_int_equal(l.calls, 3);
    assert_int_equal(l.attempts[2], 3);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).dead, 1);
    fixture_close(&f);
}

static void p9_the_maximum_age_counts_while_the_machine_runs(void **unused)
{
    (void)unused;
    static log l;
    busbar_retry retry = {.base_ms = 1000,
                          .cap_ms = 1000,
                          .max_attempts = BUSBAR_UNLIMITED,
                          .jitter = BUSBAR_JITTER_NONE,
                          .max_age_ms = 10000};
    fixture f;
    open_with(&f, &l, retry);
    publish(f.bus, "a.b");
    run(&f, 5500, 10);
    assert_int_equal(l.calls, 6); /* five seconds of age */
    fixture_reopen_bus(&f);       /* a restart of the program counts on */
    subscribe(&f, &l, retry, BUSBAR_TRANSACTIONAL);
    run(&f, 2000, 10);
    assert_int_equal(l.calls, 8); /* seven */
    busbar_sim_wall_step(f.sim, INT64_C(365) * 86400000);
    busbar_sim_reboot(f.sim); /* a year off, by wall time, counts nothing */
    fixture_reopen_bus(&f);
    subscribe(&f, &l, retry, BUSBAR_TRANSACTIONAL);
    run(&f, 2500, 10);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).retrying, 1);
    run(&f, 2000, 10);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).dead, 1);
    assert_in_range(l.calls, 12, 13);
    fixture_close(&f);
}

static void p9_wall_time_does_not_matter(void **unused)
{
    (void)unused;
    static log l;
    static const int64_t steps_ms[] = {86400000, -172800000, INT64_C(3650) * 86400000, -INT64_C(3650) * 86400000};
    fixture f;
    open_with(&f, &l,
              (busbar_retry){.base_ms = 1000, .cap_ms = 1000, .max_attempts = 20, .jitter = BUSBAR_JITTER_NONE});
    publish(f.bus, "a.b");
    for (int i = 0; i < 12; i++) {
        run(&f, 500, 10);
        busbar_sim_wall_step(f.sim, steps_ms[i % 4]);
        if (i == 6)
            busbar_sim_wall_quality(f.sim, BUSBAR_CLOCK_UNKNOWN);
    }
    assert_int_equal(l.calls, 7);
    for (int i = 1; i < l.calls; i++)
        assert_in_range(wait_before(&l, i), 1000, 1020);
    fixture_close(&f);
}

static void p9_refusals_are_attempts(void **unused)
{
    (void)unused;
    busbar_transport transport;
    fixture f;
    fixture_open(&f);
    assert_int_equal(busbar_loopback_new(NULL, &transport), BUSBAR_OK);
    busbar_route route = {.size = sizeof route,
                          .name = "up",
                          .topic = "t",
                          .retry = {.base_ms = 100, .cap_ms = 100, .max_attempts = 3, .jitter = BUSBAR_JITTER_NONE}};
    assert_code(f.bus, busbar_route_add(f.bus, &route, transport), BUSBAR_OK);
    busbar_loopback_refusal refusal = {.size = sizeof refusal, .count = 0, .text = "quota"};
    assert_int_equal(busbar_loopback_refuse(transport, &refusal), BUSBAR_OK);
    publish(f.bus, "a.b");
    for (int i = 0; i < 400; i++) {
        settle(&f, 90);
        busbar_sim_advance(f.sim, 10000);
    }
    busbar_progress progress = progress_of(f.bus, "up", BUSBAR_NORMAL);
    assert_int_equal(progress.dead, 1);
    assert_int_equal(sql_integer(f.db, "SELECT attempts FROM busbar_exception"), 3);
    assert_string_equal(sql_text(f.db, "SELECT reason FROM busbar_exception"), "quota");
    assert_balanced(f.bus, "up");
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p9_exponential_with_cap_and_maximum_attempts),
        cmocka_unit_test(p9_jitter_spreads_the_waits),
        cmocka_unit_test(p9_never_give_up),
        cmocka_unit_test(p9_an_event_brings_its_own_policy),
        cmocka_unit_test(bad_policies_are_refused),
        cmocka_unit_test(p9_a_handler_names_its_own_time),
        cmocka_unit_test(p9_wait_spends_no_attempt),
        cmocka_unit_test(p7_wait_undoes_what_the_handler_wrote),
        cmocka_unit_test(an_unknown_verdict_is_a_failure),
        cmocka_unit_test(p9_attempts_and_waits_survive_a_restart),
        cmocka_unit_test(p9_a_reboot_ends_the_wait_and_keeps_the_attempts),
        cmocka_unit_test(p9_the_maximum_age_counts_while_the_machine_runs),
        cmocka_unit_test(p9_wall_time_does_not_matter),
        cmocka_unit_test(p9_refusals_are_attempts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
