/* SPDX-License-Identifier: MIT */
/* P4: lanes. Urgent first, a share for the others, and consumers of some lanes only. The first argument: size of the backlog. */
#include <stdio.h>

#include <busbar/loopback.h>

#include "fixture.h"

#define REST_MS 90

static int backlog_count = 20000;

typedef struct log {
    char lanes[2000]; /* a letter for each event: u, n, b */
    int count;
} log;

static void note(log *l, char letter)
{
    if (l->count < (int)sizeof l->lanes - 1)
        l->lanes[l->count] = letter;
    l->count++;
}

static busbar_verdict handle(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    (void)bus;
    (void)reason;
    note(ctx, "nub"[event->lane]);
    return BUSBAR_DONE;
}

static void receive(const busbar_message *message, void *ctx)
{
    note(ctx, message->topic[0]);
}

static void fill(fixture *f, busbar_lane lane, int count)
{
    busbar_event event = event_of("a.b");
    event.lane = lane;
    sql(f->db, "BEGIN");
    for (int i = 0; i < count; i++)
        assert_code(f->bus, busbar_publish(f->bus, &event, NULL), BUSBAR_OK);
    sql(f->db, "COMMIT");
}

static void subscribe(fixture *f, log *l, busbar_delivery delivery, uint32_t lanes, uint32_t share)
{
    busbar_handler handler = {.size = sizeof handler,
                              .name = "h",
                              .fn = handle,
                              .ctx = l,
                              .delivery = delivery,
                              .lanes = lanes,
                              .share = share,
                              .start = BUSBAR_START_BEGINNING};
    assert_code(f->bus, busbar_subscribe(f->bus, &handler, 1), BUSBAR_OK);
}

static busbar_transport add_route(fixture *f, log *l, uint32_t lanes, uint32_t share, busbar_loopback_options options)
{
    busbar_transport transport;
    options.size = sizeof options;
    options.receive = receive;
    options.ctx = l;
    assert_int_equal(busbar_loopback_new(&options, &transport), BUSBAR_OK);
    busbar_route route = {.size = sizeof route, .name = "h", .topic = "{lane}", .lanes = lanes, .share = share};
    assert_code(f->bus, busbar_route_add(f->bus, &route, transport), BUSBAR_OK);
    return transport;
}

/* Steps for so long, whatever the bus asks for. */
static void run(fixture *f, int time_ms)
{
    for (int passed_ms = 0; passed_ms < time_ms; passed_ms += 10) {
        uint64_t wait_us = 0;
        for (int turn = 0; wait_us == 0 && turn < 1000; turn++)
            assert_code(f->bus, busbar_step(f->bus, 1000000, &wait_us), BUSBAR_OK);
        busbar_sim_advance(f->sim, 10000);
    }
}

/* ---- The share ---- */

/* Of any `share` events in a row one is of the lane, as long as `total` of it are not through. */
static void assert_share(const log *l, char letter, int total, int share)
{
    int since = 0;
    for (int i = 0, seen = 0; i < l->count && seen < total; i++) {
        bool one = l->lanes[i] == letter;
        seen += one;
        since = one ? 0 : since + 1;
        if (since >= share)
            fail_msg("%d events in a row without one of '%c' at %d: %.60s", since, letter, i,
                     &l->lanes[i >= share ? i - share : 0]);
    }
}

static void assert_shares(const log *l, int share)
{
    assert_int_equal(l->count, 700);
    assert_share(l, 'n', 150, share + 1); /* two lanes can be due at once: one of them is next */
    assert_share(l, 'b', 50, share + 1);
    int urgent = 0;
    for (int i = 0; i < 100; i++)
        urgent += l->lanes[i] == 'u';
    assert_true(urgent >= 100 - 2 * (100 / share + 1)); /* and no more than their shares */
}

static void share_of_handlers(busbar_delivery delivery, uint32_t share)
{
    static log l;
    fixture f;
    memset(&l, 0, sizeof l);
    fixture_open(&f);
    fill(&f, BUSBAR_BULK, 50);
    fill(&f, BUSBAR_NORMAL, 150);
    fill(&f, BUSBAR_URGENT, 500);
    subscribe(&f, &l, delivery, BUSBAR_LANES_ALL, share);
    settle(&f, REST_MS);
    assert_shares(&l, share > 0 ? (int)share : 32);
    fixture_close(&f);
}

static void p4_a_share_keeps_bulk_from_starving(void **unused)
{
    (void)unused;
    share_of_handlers(BUSBAR_TRANSACTIONAL, 0);
    share_of_handlers(BUSBAR_TRANSACTIONAL, 10);
    share_of_handlers(BUSBAR_OUTSIDE, 0);
    share_of_handlers(BUSBAR_OUTSIDE, 10);
}

static void share_of_route(uint32_t share, uint32_t window)
{
    static log l;
    fixture f;
    memset(&l, 0, sizeof l);
    fixture_open(&f);
    fill(&f, BUSBAR_BULK, 50);
    fill(&f, BUSBAR_NORMAL, 150);
    fill(&f, BUSBAR_URGENT, 500);
    add_route(&f, &l, BUSBAR_LANES_ALL, share, (busbar_loopback_options){.window = window});
    run(&f, 20000);
    assert_shares(&l, share > 0 ? (int)share : 32);
    fixture_close(&f);
}

static void p4_a_share_keeps_bulk_messages_from_starving(void **unused)
{
    (void)unused;
    share_of_route(0, 0);
    share_of_route(10, 0);
    share_of_route(10, 3); /* and when one turn has room for less than a share */
}

/* Urgent events that never end: batches are short, and each of them has some. */
static void p4_bulk_gets_through_under_urgent_load(void **unused)
{
    (void)unused;
    static log l;
    fixture f;
    memset(&l, 0, sizeof l);
    fixture_open(&f);
    fill(&f, BUSBAR_BULK, 20);
    subscribe(&f, &l, BUSBAR_TRANSACTIONAL, BUSBAR_LANES_ALL, 8);
    for (int i = 0; i < 200; i++) {
        uint64_t wait_us;
        fill(&f, BUSBAR_URGENT, 3);
        assert_code(f.bus, busbar_step(f.bus, 1, &wait_us), BUSBAR_OK); /* one batch, of hardly any time */
        busbar_sim_advance(f.sim, wait_us < 1000000 ? wait_us : 0);
        fill(&f, BUSBAR_URGENT, 2);
    }
    settle(&f, REST_MS);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_BULK).delivered, 20);
    assert_share(&l, 'b', 20, 9);
    fixture_close(&f);
}

/* ---- Some lanes only ---- */

static void assert_only_urgent(fixture *f, const log *l)
{
    assert_int_equal(l->count, 30);
    for (int i = 0; i < 30; i++)
        assert_int_equal(l->lanes[i], 'u');
    assert_int_equal(progress_of(f->bus, "h", BUSBAR_NORMAL).filtered, 40);
    assert_int_equal(progress_of(f->bus, "h", BUSBAR_BULK).filtered, 50);
    assert_int_equal(progress_of(f->bus, "h", BUSBAR_URGENT).delivered, 30);
    assert_balanced(f->bus, "h");
}

static void p8_a_consumer_of_some_lanes_passes_over_the_others(void **unused)
{
    (void)unused;
    for (int kind = 0; kind < 3; kind++) {
        static log l;
        fixture f;
        memset(&l, 0, sizeof l);
        fixture_open(&f);
        if (kind == 2)
            add_route(&f, &l, BUSBAR_LANES_URGENT, 0, (busbar_loopback_options){.window = 0});
        else
            subscribe(&f, &l, kind ? BUSBAR_OUTSIDE : BUSBAR_TRANSACTIONAL, BUSBAR_LANES_URGENT, 0);
        for (int i = 0; i < 10; i++) {
            fill(&f, BUSBAR_NORMAL, 4);
            fill(&f, BUSBAR_BULK, 5);
            fill(&f, BUSBAR_URGENT, 3);
            run(&f, 100);
        }
        run(&f, 10000); /* a route records what it passed over after a while */
        assert_only_urgent(&f, &l);
        fixture_close(&f);
    }
}

static void unknown_lanes_are_refused(void **unused)
{
    (void)unused;
    static log l;
    fixture f;
    fixture_open(&f);
    busbar_handler handler = {.size = sizeof handler, .name = "h", .fn = handle, .ctx = &l, .lanes = 8};
    assert_code(f.bus, busbar_subscribe(f.bus, &handler, 1), BUSBAR_ELANE);
    fixture_close(&f);
}

/* ---- Urgent over a backlog ---- */

static void p4_urgent_is_first_on_the_wire_after_connecting(void **unused)
{
    (void)unused;
    static log l;
    fixture f;
    memset(&l, 0, sizeof l);
    fixture_open(&f);
    busbar_transport transport = add_route(&f, &l, BUSBAR_LANES_ALL, 0, (busbar_loopback_options){.link_down = true});
    run(&f, 100);
    fill(&f, BUSBAR_NORMAL, backlog_count / 2);
    fill(&f, BUSBAR_BULK, backlog_count - backlog_count / 2);
    run(&f, 200);
    fill(&f, BUSBAR_URGENT, 1);
    busbar_loopback_link(transport, true);
    run(&f, 200);
    assert_true(l.count > 0);
    assert_int_equal(l.lanes[0], 'u');
    fixture_close(&f);
}

/* What was on its way when the connection was lost does not go before it either. */
static void p4_urgent_is_first_on_the_wire_after_a_lost_connection(void **unused)
{
    (void)unused;
    static log l;
    fixture f;
    memset(&l, 0, sizeof l);
    fixture_open(&f);
    busbar_transport transport = add_route(&f, &l, BUSBAR_LANES_ALL, 0, (busbar_loopback_options){.manual_ack = true});
    fill(&f, BUSBAR_NORMAL, 100);
    run(&f, 200);
    assert_int_equal(l.count, 20);
    busbar_loopback_link(transport, false);
    run(&f, 100);
    fill(&f, BUSBAR_URGENT, 2);
    busbar_loopback_link(transport, true);
    run(&f, 200);
    l.lanes[l.count] = '\0';
    assert_true(l.count > 22);
    assert_memory_equal(&l.lanes[20], "uun", 3);
    for (int i = 0; i < 20; i++) {
        busbar_loopback_ack(transport, SIZE_MAX);
        run(&f, 100);
    }
    run(&f, 1000);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).delivered, 100);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_URGENT).delivered, 2);
    fixture_close(&f);
}

static void p4_urgent_is_next_for_a_handler_with_a_backlog(void **unused)
{
    (void)unused;
    static log l;
    fixture f;
    uint64_t wait_us;
    memset(&l, 0, sizeof l);
    fixture_open(&f);
    subscribe(&f, &l, BUSBAR_TRANSACTIONAL, BUSBAR_LANES_ALL, 0);
    fill(&f, BUSBAR_BULK, 1000);
    busbar_sim_tick(f.sim, 20);
    assert_code(f.bus, busbar_step(f.bus, 3000, &wait_us), BUSBAR_OK);
    assert_in_range(l.count, 1, 900);
    int before = l.count;
    fill(&f, BUSBAR_URGENT, 1);
    busbar_sim_tick(f.sim, 0);
    settle(&f, REST_MS);
    assert_int_equal(l.lanes[before], 'u');
    assert_int_equal(l.count, 1001);
    fixture_close(&f);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p4_a_share_keeps_bulk_from_starving),
        cmocka_unit_test(p4_a_share_keeps_bulk_messages_from_starving),
        cmocka_unit_test(p4_bulk_gets_through_under_urgent_load),
        cmocka_unit_test(p8_a_consumer_of_some_lanes_passes_over_the_others),
        cmocka_unit_test(unknown_lanes_are_refused),
        cmocka_unit_test(p4_urgent_is_first_on_the_wire_after_connecting),
        cmocka_unit_test(p4_urgent_is_first_on_the_wire_after_a_lost_connection),
        cmocka_unit_test(p4_urgent_is_next_for_a_handler_with_a_backlog),
    };
    if (argc > 1)
        backlog_count = atoi(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
