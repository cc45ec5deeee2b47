/* SPDX-License-Identifier: MIT */
/* P8 (no silent loss): gap records, and the busbar.gap events that tell the receiver of a route. */
#include "fixture.h"

#include <busbar/loopback.h>
#include <stdio.h>

typedef struct peer {
    char text[60000]; /* "seq " of each event, "[lane from-to:count reason id] " of each gap */
    char ids[64][64]; /* of the gaps */
    int gaps;
    int events;
    int64_t lost;
    busbar_transport transport; /* to whom `cuts` or `unmatched` is done: it acknowledges by hand */
    bool cuts;                  /* a gap ends the connection */
    bool unmatched;             /* nobody is subscribed to the topic of gaps */
    bool down;                  /* it did */
} peer;

/* A receiver that has something against gaps, and acknowledges events. */
static void answer(peer *p, bool gap)
{
    if (!p->transport.api)
        return;
    if (gap && p->cuts) {
        p->down = true;
        busbar_loopback_link(p->transport, false);
        return;
    }
    busbar_loopback_unmatched(p->transport, gap && p->unmatched);
    busbar_loopback_ack(p->transport, SIZE_MAX);
}

static long long number_after(const char *payload, const char *name)
{
    const char *at = strstr(payload, name);
    assert_non_null(at);
    return strtoll(at + strlen(name), NULL, 10);
}

static void text_after(const char *payload, const char *name, char out[64])
{
    const char *at = strstr(payload, name);
    assert_non_null(at);
    assert_int_equal(sscanf(at + strlen(name), "%60[^\"]", out), 1);
}

static void receive(const busbar_message *message, void *ctx)
{
    peer *p = ctx;
    char payload[2048];
    char lane[64];
    char reason[64];
    size_t length = strlen(p->text);
    snprintf(payload, sizeof payload, "%.*s", (int)message->payload_size_bytes, (const char *)message->payload);
    answer(p, strstr(payload, "\"type\":\"busbar.gap\"") != NULL);
    if (!strstr(payload, "\"type\":\"busbar.gap\"")) {
        p->events++;
        snprintf(p->text + length, sizeof p->text - length, "%lld ", number_after(payload, "\"sequence\":\""));
        return;
    }
    assert_non_null(strstr(payload, "\"source\":\"urn:test:device\""));
    assert_non_null(strstr(payload, "\"subject\":\"up\""));
    assert_non_null(strstr(payload, "\"consumer\":\"up\""));
    text_after(payload, "\"lane\":\"", lane);
    text_after(payload, "\"reason\":\"", reason);
    text_after(payload, "\"id\":\"", p->ids[p->gaps++ % 64]);
    long long count = number_after(payload, "\"count\":");
    p->lost += count;
    snprintf(p->text + length, sizeof p->text - length, "[%s %lld-%lld:%lld %s] ", lane,
             number_after(payload, "\"from\":"), number_after(payload, "\"to\":"), count, reason);
}

static busbar_transport loopback(peer *p, busbar_loopback_options options)
{
    busbar_transport transport;
    memset(p, 0, sizeof *p);
    options.size = sizeof options;
    options.receive = receive;
    options.ctx = p;
    assert_int_equal(busbar_loopback_new(&options, &transport), BUSBAR_OK);
    return transport;
}

static busbar_transport add(fixture *f, peer *p, busbar_loopback_options options)
{
    busbar_route route = {.size = sizeof route, .name = "up", .topic = "t/{type}"};
    busbar_transport transport = loopback(p, options);
    assert_code(f->bus, busbar_route_add(f->bus, &route, transport), BUSBAR_OK);
    return transport;
}

/* Half a second, also with messages in flight: then the worker looks after its transport all the time. */
static void rest(fixture *f)
{
    for (int i = 0; i < 20; i++) {
        settle(f, 0);
        busbar_sim_advance(f->sim, 25000);
    }
    settle(f, 0);
}

static void publish_many(fixture *f, int count, busbar_lane lane)
{
    for (int i = 0; i < count; i++) {
        busbar_event event = event_of("a.b");
        event.lane = lane;
        assert_code(f->bus, busbar_publish(f->bus, &event, NULL), BUSBAR_OK);
    }
}

static int64_t records(const fixture *f)
{
    return sql_integer(f->db, "SELECT count(*) FROM busbar_gap");
}

static busbar_options at_most(uint64_t events)
{
    return (busbar_options){.size = sizeof(busbar_options), .max_events = {events, 0, events}};
}

static void a_gap_is_told_before_the_next_event_of_its_lane_and_then_forgotten(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open_with(&f, at_most(5));
    busbar_transport transport = add(&f, &p, (busbar_loopback_options){.link_down = true});
    rest(&f);
    publish_many(&f, 20, BUSBAR_NORMAL);
    publish_many(&f, 7, BUSBAR_BULK);
    assert_int_equal(records(&f), 2); /* adjacent ones have merged */
    busbar_loopback_link(transport, true);
    rest(&f);
    assert_string_equal(p.text, "[normal 1-15:15 evicted] [bulk 1-2:2 evicted] 16 17 18 19 20 3 4 5 6 7 ");
    assert_int_equal(records(&f), 0);
    assert_int_equal(progress_of(f.bus, "up", BUSBAR_NORMAL).evicted, 15);
    assert_balanced(f.bus, "up");
    publish_many(&f, 3, BUSBAR_NORMAL);
    rest(&f);
    assert_int_equal(p.gaps, 2);
    fixture_close(&f);
}

static void p5_a_gap_keeps_its_id_over_connections_and_restarts(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open_with(&f, at_most(5));
    busbar_transport transport = add(&f, &p, (busbar_loopback_options){.manual_ack = true});
    rest(&f);
    busbar_loopback_link(transport, false);
    rest(&f);
    publish_many(&f, 20, BUSBAR_NORMAL);
    busbar_loopback_link(transport, true);
    rest(&f);
    assert_int_equal(p.gaps, 1);
    char first[64];
    memcpy(first, p.ids[0], sizeof first);
    busbar_loopback_link(transport, false);
    rest(&f);
    publish_many(&f, 10, BUSBAR_NORMAL); /* the gap that was sent does not grow: there is a second one */
    assert_int_equal(records(&f), 2);
    busbar_loopback_link(transport, true);
    rest(&f);
    assert_int_equal(p.gaps, 3);
    assert_string_equal(p.ids[1], first);
    assert_string_not_equal(p.ids[2], first);
    char second[64];
    memcpy(second, p.ids[2], sizeof second);
    fixture_reopen_bus(&f); /* nothing was acknowledged */
    add(&f, &p, (busbar_loopback_options){.size = 0});
    rest(&f);
    assert_string_equal(p.text, "[normal 1-15:15 evicted] [normal 16-25:10 evicted] 26 27 28 29 30 ");
    assert_string_equal(p.ids[0], first);
    assert_string_equal(p.ids[1], second);
    assert_int_equal(records(&f), 0);
    assert_balanced(f.bus, "up");
    fixture_close(&f);
}

static void what_is_in_flight_when_it_is_evicted_counts_once(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open_with(&f, at_most(10));
    busbar_transport transport = add(&f, &p, (busbar_loopback_options){.manual_ack = true});
    for (int i = 0; i < 40; i++) {
        publish_many(&f, 1 + i % 6, BUSBAR_NORMAL);
        rest(&f);
        publish_many(&f, i % 13, BUSBAR_NORMAL);
        busbar_loopback_ack(transport, (size_t)i % 9);
        if (i % 11 == 10)
            busbar_loopback_link(transport, false);
        rest(&f);
        busbar_loopback_link(transport, true);
        assert_balanced(f.bus, "up");
    }
    busbar_loopback_ack(transport, SIZE_MAX);
    for (int i = 0; i < 20; i++) {
        rest(&f);
        busbar_loopback_ack(transport, SIZE_MAX);
    }
    rest(&f);
    busbar_progress progress = progress_of(f.bus, "up", BUSBAR_NORMAL);
    assert_true(progress.evicted > 20);
    assert_int_equal(progress.cursor, sql_integer(f.db, "SELECT max(seq) FROM busbar_log_normal"));
    assert_int_equal(records(&f), 0);
    assert_true(p.lost >= progress.evicted); /* a gap may be told twice, as any event */
    assert_balanced(f.bus, "up");
    fixture_close(&f);
}

static void what_expired_is_told_too(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open(&f);
    busbar_transport transport = add(&f, &p, (busbar_loopback_options){.link_down = true});
    busbar_event event = event_of("a.b");
    event.ttl_ms = 1000;
    for (int i = 0; i < 5; i++)
        assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    busbar_sim_advance(f.sim, 5000000);
    publish_many(&f, 2, BUSBAR_NORMAL);
    busbar_loopback_link(transport, true);
    rest(&f);
    rest(&f);
    assert_int_equal(p.events, 2);
    assert_int_equal(p.gaps, 1);
    assert_non_null(strstr(p.text, "[normal 1-5:5 expired] "));
    assert_int_equal(records(&f), 0);
    assert_balanced(f.bus, "up");
    fixture_close(&f);
}

static void a_refused_gap_is_tried_again_and_a_hopeless_one_given_up(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open_with(&f, at_most(5));
    busbar_transport transport = add(&f, &p, (busbar_loopback_options){.link_down = true});
    busbar_loopback_refusal refusal = {
        .size = sizeof refusal, .topic = "t/busbar.gap", .count = 2, .verdict = BUSBAR_REFUSED_RETRY};
    assert_int_equal(busbar_loopback_refuse(transport, &refusal), BUSBAR_OK);
    rest(&f);
    publish_many(&f, 10, BUSBAR_NORMAL);
    busbar_loopback_link(transport, true);
    rest(&f);
    assert_int_equal(p.events, 5); /* a refused gap holds nothing up */
    for (int i = 0; i < 100 && records(&f) > 0; i++) {
        busbar_sim_advance(f.sim, 100000);
        rest(&f);
    }
    assert_int_equal(records(&f), 0);
    refusal.verdict = BUSBAR_REFUSED_DEAD;
    refusal.count = 1;
    assert_int_equal(busbar_loopback_refuse(transport, &refusal), BUSBAR_OK);
    busbar_loopback_link(transport, false);
    rest(&f);
    publish_many(&f, 10, BUSBAR_NORMAL);
    busbar_loopback_link(transport, true);
    rest(&f);
    assert_int_equal(records(&f), 0);
    assert_int_equal(p.events, 10);
    assert_balanced(f.bus, "up");
    fixture_close(&f);
}

/* So often an outage costs events, and leaves a gap that does not merge with the one before. */
static void lose_some(fixture *f, busbar_transport transport, int times)
{
    for (int i = 0; i < times; i++) {
        busbar_loopback_link(transport, false);
        rest(f);
        publish_many(f, 10, BUSBAR_NORMAL);
        busbar_loopback_link(transport, true);
        rest(f);
    }
}

static void p8_gaps_that_are_refused_hold_no_lane_and_are_given_up_by_the_policy(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open_with(&f, at_most(5));
    busbar_transport transport = add(&f, &p, (busbar_loopback_options){.size = 0});
    busbar_loopback_refusal refusal = {
        .size = sizeof refusal, .topic = "t/busbar.gap", .text = "not allowed", .verdict = BUSBAR_REFUSED_RETRY};
    assert_int_equal(busbar_loopback_refuse(transport, &refusal), BUSBAR_OK);
    rest(&f);
    lose_some(&f, transport, 12); /* more than there are places */
    assert_int_equal(p.events, 60);
    assert_true(records(&f) > 8);
    for (int i = 0; i < 40 && records(&f) > 0; i++) { /* ten attempts, and again for those that had no place */
        busbar_sim_advance(f.sim, 60000000);
        rest(&f);
    }
    assert_int_equal(records(&f), 0);
    assert_int_equal(p.gaps, 0);
    assert_int_equal(progress_of(f.bus, "up", BUSBAR_NORMAL).evicted, 60);
    assert_balanced(f.bus, "up");
    fixture_close(&f);
}

static busbar_transport add_with(fixture *f, peer *p, busbar_route route)
{
    busbar_transport transport = loopback(p, (busbar_loopback_options){.manual_ack = true});
    route.size = sizeof route;
    route.name = "up";
    route.topic = "t/{type}";
    assert_code(f->bus, busbar_route_add(f->bus, &route, transport), BUSBAR_OK);
    p->transport = transport;
    return transport;
}

static void p8_gaps_that_nobody_receives_wait_and_hold_no_lane(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open_with(&f, at_most(5));
    busbar_transport transport = add_with(&f, &p, (busbar_route){.unmatched = BUSBAR_UNMATCHED_HOLD});
    p.unmatched = true;
    rest(&f);
    lose_some(&f, transport, 12);
    assert_int_equal(p.events, 60);
    for (int i = 0; i < 60; i++) {
        busbar_sim_advance(f.sim, 60000000);
        rest(&f);
    }
    assert_true(records(&f) > 8);
    p.unmatched = false;
    p.lost = 0;
    for (int i = 0; i < 20; i++) {
        busbar_sim_advance(f.sim, 60000000);
        rest(&f);
    }
    assert_int_equal(records(&f), 0);
    assert_int_equal(p.lost, 60);
    assert_balanced(f.bus, "up");
    fixture_close(&f);
}

/* Connects again whenever a gap has ended the connection. */
static void rest_and_reconnect(fixture *f, peer *p, int seconds)
{
    for (int i = 0; i < seconds; i++) {
        settle(f, 0);
        if (p->down) {
            p->down = false;
            busbar_loopback_link(p->transport, true);
        }
        busbar_sim_advance(f->sim, 1000000);
    }
    settle(f, 0);
}

static void p11_gaps_that_end_connections_go_behind_events_and_are_given_up_by_the_policy(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open_with(&f, at_most(5));
    busbar_transport transport =
        add_with(&f, &p, (busbar_route){.retry = {.max_attempts = 3, .jitter = BUSBAR_JITTER_NONE}});
    rest(&f);
    lose_some(&f, transport, 1);
    assert_int_equal(p.gaps, 1); /* an innocent one */
    p.cuts = true;
    busbar_loopback_link(transport, false);
    rest(&f);
    publish_many(&f, 10, BUSBAR_NORMAL);
    busbar_loopback_link(transport, true);
    rest_and_reconnect(&f, &p, 600);
    assert_int_equal(p.events, 10);
    assert_int_equal(records(&f), 1);
    assert_in_range(p.gaps, 5, 15); /* without events beside it, too, it ends ever fewer connections */
    assert_non_null(strstr(sql_text(f.db, "SELECT last_error FROM busbar_consumer"), "busbar.gap"));
    for (int i = 0; i < 20; i++) { /* it is guilty only if an event passes beside it */
        publish_many(&f, 1, BUSBAR_NORMAL);
        rest_and_reconnect(&f, &p, 100);
    }
    assert_int_equal(p.events, 30);
    assert_int_equal(records(&f), 0);
    assert_in_range(p.gaps, 8, 25);
    assert_string_equal(sql_text(f.db, "SELECT last_error FROM busbar_consumer"), "");
    assert_balanced(f.bus, "up");
    fixture_close(&f);
}

static void a_route_can_be_silent_and_records_stay_few(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open_with(&f, at_most(3));
    busbar_route route = {.size = sizeof route, .name = "up", .topic = "t/{type}", .no_gaps = true};
    assert_code(f.bus, busbar_route_add(f.bus, &route, loopback(&p, (busbar_loopback_options){.size = 0})), BUSBAR_OK);
    for (int i = 0; i < 100; i++) {
        publish_many(&f, 6, BUSBAR_NORMAL);
        rest(&f);
    }
    assert_int_equal(p.gaps, 0);
    assert_in_range(records(&f), 20, 32);
    assert_int_equal(sql_integer(f.db, "SELECT sum(count) FROM busbar_gap"),
                     progress_of(f.bus, "up", BUSBAR_NORMAL).evicted);
    assert_balanced(f.bus, "up");
    assert_code(f.bus, busbar_close(f.bus), BUSBAR_OK);
    busbar_error error;
    assert_int_equal(busbar_open(&f.bus, f.db, &f.options, &error), BUSBAR_OK);
    add(&f, &p, (busbar_loopback_options){.size = 0}); /* told after all, by and by, in order */
    for (int i = 0; i < 10; i++)
        rest(&f);
    assert_in_range(p.gaps, 20, 32);
    assert_int_equal(records(&f), 0);
    assert_int_equal(p.lost, progress_of(f.bus, "up", BUSBAR_NORMAL).evicted);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gap_is_told_before_the_next_event_of_its_lane_and_then_forgotten),
        cmocka_unit_test(p5_a_gap_keeps_its_id_over_connections_and_restarts),
        cmocka_unit_test(what_is_in_flight_when_it_is_evicted_counts_once),
        cmocka_unit_test(what_expired_is_told_too),
        cmocka_unit_test(a_refused_gap_is_tried_again_and_a_hopeless_one_given_up),
        cmocka_unit_test(p8_gaps_that_are_refused_hold_no_lane_and_are_given_up_by_the_policy),
        cmocka_unit_test(p8_gaps_that_nobody_receives_wait_and_hold_no_lane),
        cmocka_unit_test(p11_gaps_that_end_connections_go_behind_events_and_are_given_up_by_the_policy),
        cmocka_unit_test(a_route_can_be_silent_and_records_stay_few),
    };
    return cmocka_run_group_tests_name("gap", tests, NULL, NULL);
}
