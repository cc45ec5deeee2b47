/* SPDX-License-Identifier: MIT */
/* Several workers on one file: the fenced lease. Two handles on two connections play two processes of one machine. */
#include "fixture.h"
#include "sync_vfs.h"

#include <busbar/loopback.h>
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

/* Two seconds of a bus that is stepped often: longer than every delay of a worker. */
static void work(busbar *bus, fixture *f)
{
    for (int turn = 0; turn < 100; turn++) {
        uint64_t wait_us;
        assert_code(bus, busbar_step(bus, 100000, &wait_us), BUSBAR_OK);
        pass(f, 20);
    }
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

static void add_route(busbar *bus, const char *name, busbar_loopback_options options)
{
    busbar_transport transport;
    busbar_route route = {.size = sizeof route, .name = name, .topic = "t/{type}"};
    options.size = sizeof options;
    assert_int_equal(busbar_loopback_new(&options, &transport), BUSBAR_OK);
    assert_code(bus, busbar_route_add(bus, &route, transport), BUSBAR_OK);
}

/* A loopback whose next look for acknowledgements lasts so long that another worker takes the route over and does all. */
typedef struct slow_link {
    fixture *f;
    busbar *other;
    bool armed;
    busbar_transport loopback;
} slow_link;

static int slow_start(void *ctx, busbar_reason *reason)
{
    slow_link *link = ctx;
    return link->loopback.api->start(link->loopback.ctx, reason);
}

static busbar_send_result slow_send(void *ctx, const busbar_message *message, busbar_reason *reason)
{
    slow_link *link = ctx;
    return link->loopback.api->send(link->loopback.ctx, message, reason);
}

static void slow_poll(void *ctx, busbar_transport_event_fn *fn, void *fn_ctx)
{
    slow_link *link = ctx;
    if (link->armed) {
        link->armed = false;
        work(link->other, link->f);
        pass(link->f, LEASE_MS);
        work(link->other, link->f);
    }
    link->loopback.api->poll(link->loopback.ctx, fn, fn_ctx);
}

static void slow_close(void *ctx)
{
    slow_link *link = ctx;
    link->loopback.api->close(link->loopback.ctx);
}

static void slow_stop(void *ctx)
{
    slow_link *link = ctx;
    link->loopback.api->stop(link->loopback.ctx);
}

static void add_slow_route(busbar *bus, slow_link *link)
{
    static const busbar_transport_api api = {.version = BUSBAR_TRANSPORT_VERSION,
                                             .start = slow_start,
                                             .send = slow_send,
                                             .poll = slow_poll,
                                             .close = slow_close,
                                             .stop = slow_stop};
    const busbar_route route = {.size = sizeof route, .name = "out", .topic = "t", .ack_group = 1};
    assert_int_equal(busbar_loopback_new(NULL, &link->loopback), BUSBAR_OK);
    assert_code(bus, busbar_route_add(bus, &route, (busbar_transport){.api = &api, .ctx = link}), BUSBAR_OK);
}

/* Its acknowledgements come when it still believes that it holds the route: only the fence knows better. */
static void p3_the_fence_holds_against_a_route_whose_acknowledgements_are_late(void **unused)
{
    (void)unused;
    fixture f;
    sqlite3 *other_db;
    slow_link link = {.f = &f};
    fixture_open_with(&f, (busbar_options){.lease_ms = LEASE_MS});
    add_slow_route(f.bus, &link);
    link.other = fixture_connect_bus(&f, &other_db);
    add_route(link.other, "out", (busbar_loopback_options){.window = 0});
    work(f.bus, &f); /* it holds the route now */
    for (int i = 0; i < 5; i++)
        publish(f.bus, "a.b");
    uint64_t wait_us;
    assert_code(f.bus, busbar_step(f.bus, 0, &wait_us), BUSBAR_OK); /* sends */
    assert_int_equal(progress_of(f.bus, "out", BUSBAR_NORMAL).delivered, 0);
    link.armed = true;
    work(f.bus, &f);
    assert_false(link.armed);
    assert_int_equal(progress_of(f.bus, "out", BUSBAR_NORMAL).delivered, 5);
    assert_int_equal(progress_of(f.bus, "out", BUSBAR_NORMAL).cursor, 5);
    assert_balanced(f.bus, "out");
    assert_code(link.other, busbar_close(link.other), BUSBAR_OK);
    sqlite3_close(other_db);
    fixture_close(&f);
}

/* It has nothing to say: not a result, and no claim either. */
static void a_worker_that_wakes_when_all_is_done_writes_nothing(void **unused)
{
    (void)unused;
    static const busbar_delivery deliveries[] = {BUSBAR_TRANSACTIONAL, BUSBAR_OUTSIDE};
    for (size_t i = 0; i < 2; i++) {
        fixture f;
        worker a;
        worker b;
        fixture_open(&f);
        worker_open(&a, &f, deliveries[i], false);
        add_route(a.bus, "out", (busbar_loopback_options){.manual_ack = true});
        worker_open(&b, &f, deliveries[i], false);
        add_route(b.bus, "out", (busbar_loopback_options){.window = 0});
        step(&a);
        publish(f.bus, "a.b");
        step(&b);
        pass(&f, LEASE_MS + 1);
        work(b.bus, &f);
        assert_int_equal(b.calls, 1);
        assert_int_equal(progress_of(f.bus, "out", BUSBAR_NORMAL).delivered, 1);
        sqlite3 *watcher = fixture_connect(&f);
        int64_t version = sql_integer(watcher, "PRAGMA data_version");
        work(a.bus, &f);
        assert_int_equal(sql_integer(watcher, "PRAGMA data_version"), version);
        assert_int_equal(a.calls, 0);
        sqlite3_close(watcher);
        worker_close(&a);
        worker_close(&b);
        fixture_close(&f);
    }
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

/* ---- An idle bus ---- */

#define HOUR_MS UINT64_C(3600000)
#define LATE_MS 14400000u /* a retry waits at least half of it */

/* A bus whose writes are counted. */
typedef struct counted {
    sqlite3 *db;
    busbar *bus;
    int calls;
} counted;

static busbar_verdict put_off(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    (void)bus, (void)event, (void)reason, (void)ctx;
    return BUSBAR_RETRY;
}

/* Two handles share the subscription and the route that is connected. */
static void counted_open(counted *c, fixture *f)
{
    busbar_error error = {.code = 0};
    *c = (counted){.calls = 0};
    assert_int_equal(sqlite3_open_v2(f->path, &c->db, SQLITE_OPEN_READWRITE, SYNC_VFS_NAME), SQLITE_OK);
    sql(c->db, "PRAGMA synchronous=NORMAL");
    if (busbar_open(&c->bus, c->db, &f->options, &error) != BUSBAR_OK)
        fail_msg("%s", error.text);
    const busbar_handler handlers[] = {
        {.size = sizeof handlers[0], .name = "in", .fn = count, .ctx = &c->calls},
        {.size = sizeof handlers[0], .name = "outside", .fn = count, .ctx = &c->calls, .delivery = BUSBAR_OUTSIDE},
    };
    assert_code(c->bus, busbar_subscribe(c->bus, handlers, 2), BUSBAR_OK);
    add_route(c->bus, "connected", (busbar_loopback_options){.window = 0});
}

static void counted_close(counted *c)
{
    assert_code(c->bus, busbar_close(c->bus), BUSBAR_OK);
    assert_int_equal(sqlite3_close(c->db), SQLITE_OK);
}

/* One handle alone has work that cannot be done now: a route without a link, and a retry that is not due. */
static void add_waiting(counted *c)
{
    const busbar_handler failing = {
        .size = sizeof failing, .name = "failing", .fn = put_off, .retry = {.base_ms = LATE_MS, .cap_ms = LATE_MS}};
    assert_code(c->bus, busbar_subscribe(c->bus, &failing, 1), BUSBAR_OK);
    add_route(c->bus, "offline", (busbar_loopback_options){.link_down = true});
}

/* Lets time pass; each handle is stepped when it is due, and once a second besides. */
static void pass_stepping(fixture *f, counted *handles, size_t handle_count, uint64_t time_ms)
{
    uint64_t left_us = time_ms * 1000;
    int busy = 0;
    while (left_us > 0) {
        uint64_t wait_us = left_us < 1000000 ? left_us : 1000000;
        for (size_t i = 0; i < handle_count; i++) {
            uint64_t due_us = 0;
            assert_code(handles[i].bus, busbar_step(handles[i].bus, 100000, &due_us), BUSBAR_OK);
            wait_us = due_us < wait_us ? due_us : wait_us;
        }
        busy = wait_us == 0 ? busy + 1 : 0;
        assert_true(busy < 1000); /* it says that there is more to do, and does nothing */
        busbar_sim_advance(f->sim, wait_us);
        left_us -= wait_us;
    }
}

static void an_idle_bus_writes_nothing_for_an_hour(void **unused)
{
    (void)unused;
    fixture f;
    counted handles[2];
    sync_vfs_register();
    fixture_open(&f);
    for (size_t i = 0; i < 2; i++)
        counted_open(&handles[i], &f);
    add_waiting(&handles[0]);
    for (int i = 0; i < 5; i++)
        publish(f.bus, "a.b");
    pass_stepping(&f, handles, 2, 60000);
    assert_int_equal(handles[0].calls + handles[1].calls, 10);
    assert_int_equal(progress_of(f.bus, "connected", BUSBAR_NORMAL).delivered, 5);
    assert_int_equal(progress_of(f.bus, "offline", BUSBAR_NORMAL).delivered, 0);
    assert_int_equal(progress_of(f.bus, "failing", BUSBAR_NORMAL).retrying, 5);

    sync_vfs_reset();
    pass_stepping(&f, handles, 2, HOUR_MS);
    sync_counts idle = sync_vfs_counts();
    assert_int_equal(idle.unsynced_bytes, 0);
    assert_int_equal(idle.database_writes, 0);
    assert_int_equal(idle.syncs, 0);

    publish(handles[1].bus, "a.b"); /* and it does count */
    assert_true(sync_vfs_counts().unsynced_bytes > 0);
    for (size_t i = 0; i < 2; i++)
        counted_close(&handles[i]);
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
        cmocka_unit_test(p3_the_fence_holds_against_a_route_whose_acknowledgements_are_late),
        cmocka_unit_test(a_worker_that_wakes_when_all_is_done_writes_nothing),
        cmocka_unit_test(a_living_owner_strikes_a_claim_out),
        cmocka_unit_test(a_lease_of_a_former_boot_is_void),
        cmocka_unit_test(a_worker_that_has_certainly_ended_is_replaced_at_once),
        cmocka_unit_test(an_idle_bus_writes_nothing_for_an_hour),
        cmocka_unit_test(a_consumer_is_removed_only_when_nobody_holds_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
