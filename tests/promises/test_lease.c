/* SPDX-License-Identifier: MIT */
/* Several workers on one file: the fenced lease. Two handles on two connections play two processes of one machine. */
#include "fixture.h"

#include <stdio.h>

#define LEASE_MS 10000

typedef struct worker {
    busbar *bus;
    sqlite3 *db;
    int calls;
    busbar_port port; /* without worker_gone: only the lease decides */
} worker;

static busbar_verdict count(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    (void)bus, (void)event, (void)reason;
    ++*(int *)ctx;
    return BUSBAR_DONE;
}

static void worker_open(worker *w, fixture *f, busbar_delivery delivery, bool knows_gone)
{
    busbar_error error = {.code = 0};
    memset(w, 0, sizeof *w);
    w->port = *busbar_sim_port(f->sim);
    if (!knows_gone) {
        w->port.worker_id = NULL;
        w->port.worker_gone = NULL;
    }
    busbar_options options = {
        .size = sizeof options, .port = &w->port, .source = "urn:test:device", .lease_ms = LEASE_MS};
    w->db = fixture_connect(f);
    if (busbar_open(&w->bus, w->db, &options, &error) != BUSBAR_OK)
        fail_msg("%s", error.text);
    busbar_handler handler = {.size = sizeof handler, .name = "h", .fn = count, .ctx = &w->calls, .delivery = delivery};
    assert_code(w->bus, busbar_subscribe(w->bus, &handler, 1), BUSBAR_OK);
}

static void worker_close(worker *w)
{
    assert_code(w->bus, busbar_close(w->bus), BUSBAR_OK);
    sqlite3_close(w->db);
}

static void step(worker *w)
{
    uint64_t wait_us;
    assert_code(w->bus, busbar_step(w->bus, 100000, &wait_us), BUSBAR_OK);
}

static void pass(fixture *f, uint64_t time_ms)
{
    busbar_sim_advance(f->sim, time_ms * 1000);
}

static void one_at_a_time_and_the_next_after_a_clean_close(void **unused)
{
    (void)unused;
    fixture f;
    worker a;
    worker b;
    fixture_open(&f);
    worker_open(&a, &f, BUSBAR_TRANSACTIONAL, false);
    worker_open(&b, &f, BUSBAR_TRANSACTIONAL, false);
    step(&a);
    for (int i = 0; i < 20; i++) {
        publish(f.bus, "a.b");
        pass(&f, 10);
        step(&b);
        step(&a);
    }
    assert_int_equal(a.calls, 20);
    assert_int_equal(b.calls, 0);
    worker_close(&a);
    publish(f.bus, "a.b");
    pass(&f, 10);
    step(&b);
    assert_int_equal(b.calls, 1);
    worker_close(&b);
    fixture_close(&f);
}

static void a_silent_owner_is_replaced_after_the_lease_and_records_nothing_then(void **unused)
{
    (void)unused;
    static const busbar_delivery deliveries[] = {BUSBAR_TRANSACTIONAL, BUSBAR_OUTSIDE};
    for (size_t i = 0; i < 2; i++) {
        fixture f;
        worker a;
        worker b;
        fixture_open(&f);
        worker_open(&a, &f, deliveries[i], false);
        worker_open(&b, &f, deliveries[i], false);
        step(&a);
        publish(f.bus, "a.b"); /* and a is silent from here: stopped by a debugger, say */
        step(&b);
        pass(&f, LEASE_MS - 1);
        step(&b);
        assert_int_equal(b.calls, 0);
        pass(&f, 2);
        step(&b);
        pass(&f, 10);
        step(&b);
        assert_int_equal(b.calls, 1);
        publish(f.bus, "a.b");
        step(&a); /* awake again: it must neither handle nor record */
        assert_int_equal(a.calls, 0);
        pass(&f, 10);
        step(&b);
        assert_int_equal(b.calls, 2);
        assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).delivered, 2);
        assert_balanced(f.bus, "h");
        worker_close(&a); /* gives back nothing that is not its own */
        publish(f.bus, "a.b");
        pass(&f, 10);
        step(&b);
        assert_int_equal(b.calls, 3);
        worker_close(&b);
        fixture_close(&f);
    }
}

typedef struct overtaken {
    fixture *f;
    worker *other;
    int calls;
} overtaken;

/* A handler so slow that another worker takes the consumer over meanwhile. */
static busbar_verdict be_overtaken(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    (void)bus, (void)event, (void)reason;
    overtaken *o = ctx;
    if (o->calls++ == 0) {
        step(o->other);
        pass(o->f, LEASE_MS + 1);
        step(o->other);
        pass(o->f, 10);
        step(o->other);
    }
    return BUSBAR_DONE;
}

static void the_fence_holds_against_a_worker_that_was_overtaken_in_its_handler(void **unused)
{
    (void)unused;
    fixture f;
    worker b;
    fixture_open_with(&f, (busbar_options){.lease_ms = LEASE_MS});
    worker_open(&b, &f, BUSBAR_OUTSIDE, false);
    overtaken o = {.f = &f, .other = &b};
    busbar_handler handler = {
        .size = sizeof handler, .name = "h", .fn = be_overtaken, .ctx = &o, .delivery = BUSBAR_OUTSIDE};
    assert_code(f.bus, busbar_subscribe(f.bus, &handler, 1), BUSBAR_OK);
    publish(f.bus, "a.b");
    uint64_t wait_us;
    assert_code(f.bus, busbar_step(f.bus, 0, &wait_us), BUSBAR_OK);
    assert_int_equal(o.calls, 1);
    assert_int_equal(b.calls, 1);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).delivered, 1);
    assert_balanced(f.bus, "h");
    worker_close(&b);
    fixture_close(&f);
}

static void a_living_owner_strikes_a_claim_out(void **unused)
{
    (void)unused;
    fixture f;
    worker a;
    worker b;
    fixture_open(&f);
    worker_open(&a, &f, BUSBAR_TRANSACTIONAL, false);
    worker_open(&b, &f, BUSBAR_TRANSACTIONAL, false);
    step(&a);
    publish(f.bus, "a.b");
    step(&b);
    assert_int_equal(sql_integer(f.db, "SELECT claim IS NOT NULL FROM busbar_consumer"), 1);
    step(&a);
    assert_int_equal(sql_integer(f.db, "SELECT claim IS NOT NULL FROM busbar_consumer"), 0);
    assert_int_equal(a.calls, 1);
    pass(&f, LEASE_MS + 1);
    publish(f.bus, "a.b");
    step(&b);
    assert_int_equal(b.calls, 0);
    step(&a);
    assert_int_equal(a.calls, 2);
    worker_close(&a);
    worker_close(&b);
    fixture_close(&f);
}

static void a_lease_of_a_former_boot_is_void(void **unused)
{
    (void)unused;
    fixture f;
    worker a;
    worker b;
    fixture_open(&f);
    worker_open(&a, &f, BUSBAR_TRANSACTIONAL, false);
    step(&a);
    publish(f.bus, "a.b");
    busbar_sim_reboot(f.sim);
    worker_open(&b, &f, BUSBAR_TRANSACTIONAL, false);
    step(&b);
    pass(&f, 10);
    step(&b);
    assert_int_equal(b.calls, 1);
    worker_close(&a);
    worker_close(&b);
    fixture_close(&f);
}

static void a_worker_that_has_certainly_ended_is_replaced_at_once(void **unused)
{
    (void)unused;
    fixture f;
    worker a;
    worker b;
    fixture_open(&f);
    worker_open(&a, &f, BUSBAR_TRANSACTIONAL, true);
    step(&a);
    assert_int_equal(busbar_sim_worker_set(f.sim, "worker-2"), BUSBAR_OK);
    worker_open(&b, &f, BUSBAR_TRANSACTIONAL, true);
    publish(f.bus, "a.b");
    step(&b);
    assert_int_equal(b.calls, 0);
    assert_int_equal(busbar_sim_worker_gone(f.sim, "worker-1"), BUSBAR_OK);
    pass(&f, LEASE_MS); /* b looks again when its claim is due */
    step(&b);
    pass(&f, 10);
    step(&b);
    assert_int_equal(b.calls, 1);
    worker_close(&a);
    worker_close(&b);
    fixture_close(&f);
}

static void an_idle_owner_beside_an_idle_competitor_writes_nothing(void **unused)
{
    (void)unused;
    fixture f;
    worker a;
    worker b;
    fixture_open(&f);
    worker_open(&a, &f, BUSBAR_TRANSACTIONAL, false);
    worker_open(&b, &f, BUSBAR_TRANSACTIONAL, false);
    step(&a);
    publish(f.bus, "a.b");
    pass(&f, 10);
    step(&a);
    sqlite3 *watcher = fixture_connect(&f);
    int64_t version = sql_integer(watcher, "PRAGMA data_version");
    for (int i = 0; i < 3600; i++) { /* an hour */
        pass(&f, 1000);
        step(&a);
        step(&b);
    }
    assert_int_equal(sql_integer(watcher, "PRAGMA data_version"), version);
    sqlite3_close(watcher);
    worker_close(&a);
    worker_close(&b);
    fixture_close(&f);
}

static void a_consumer_is_removed_only_when_nobody_holds_it(void **unused)
{
    (void)unused;
    fixture f;
    worker a;
    fixture_open(&f);
    worker_open(&a, &f, BUSBAR_TRANSACTIONAL, false);
    step(&a);
    assert_code(f.bus, busbar_consumer_remove(f.bus, "h"), BUSBAR_ELEASE);
    assert_code(a.bus, busbar_consumer_remove(a.bus, "h"), BUSBAR_EEXISTS);
    worker_close(&a);
    assert_code(f.bus, busbar_consumer_remove(f.bus, "nobody"), BUSBAR_ENOTFOUND);
    sql(f.db, "BEGIN");
    assert_code(f.bus, busbar_consumer_remove(f.bus, "h"), BUSBAR_ETXN);
    sql(f.db, "COMMIT");
    assert_code(f.bus, busbar_consumer_remove(f.bus, "h"), BUSBAR_OK);
    assert_int_equal(sql_integer(f.db, "SELECT (SELECT count(*) FROM busbar_consumer) + (SELECT count(*) FROM"
                                       " busbar_cursor) + (SELECT count(*) FROM busbar_exception)"),
                     0);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_at_a_time_and_the_next_after_a_clean_close),
        cmocka_unit_test(a_silent_owner_is_replaced_after_the_lease_and_records_nothing_then),
        cmocka_unit_test(the_fence_holds_against_a_worker_that_was_overtaken_in_its_handler),
        cmocka_unit_test(a_living_owner_strikes_a_claim_out),
        cmocka_unit_test(a_lease_of_a_former_boot_is_void),
        cmocka_unit_test(a_worker_that_has_certainly_ended_is_replaced_at_once),
        cmocka_unit_test(an_idle_owner_beside_an_idle_competitor_writes_nothing),
        cmocka_unit_test(a_consumer_is_removed_only_when_nobody_holds_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
