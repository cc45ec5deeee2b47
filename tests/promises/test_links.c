/* SPDX-License-Identifier: MIT */
/*
 * P11: an event that ends connections is set aside when its neighbour passes, and its attempts are counted; a link that flaps
 * convicts nobody. And what becomes of a message that the peer took while nobody was there to receive it.
 */
#include "fixture.h"

#include <busbar/loopback.h>
#include <stdio.h>

#define SEQ_MAX 40000

/* When a message has its answer. A cut takes with it what has none yet. */
typedef enum answering {
    AT_ONCE,
    LATE, /* at the end of a turn, all together */
    WIRE  /* at the end of a turn, one by one in their order, and the cut as well: as over a network */
} answering;

typedef struct message {
    uint64_t token;
    int64_t seq; /* 0: the poison */
} message;

/* The peer: it takes messages one by one and acknowledges each, but for what ends the connection. */
typedef struct peer {
    busbar_transport transport;
    message wire[200];
    size_t wire_count;
    const char *poison;     /* a topic that ends the connection; NULL: none */
    uint32_t cut_per_mille; /* a message ends it by chance */
    answering answering;
    uint32_t random;
    uint32_t losses;
    bool cut;
    int count;               /* different messages */
    int64_t order[SEQ_MAX];  /* positions in the order of their first arrival */
    uint32_t times[SEQ_MAX]; /* by position */
    uint32_t bad;            /* times that the poison arrived */
} peer;

static uint32_t next_random(peer *p)
{
    p->random = p->random * 1664525u + 1013904223u;
    return p->random >> 8;
}

static void cut(peer *p)
{
    p->cut = true;
    p->losses++;
    busbar_loopback_link(p->transport, false);
}

static void note(peer *p, int64_t seq)
{
    assert_in_range(seq, 1, SEQ_MAX - 1);
    if (p->times[seq]++ == 0)
        p->order[p->count++] = seq;
}

/* What has arrived has its answer, up to what ends the connection. */
static void read_wire(peer *p)
{
    for (size_t i = 0; i < p->wire_count && !p->cut; i++) {
        const message *one = &p->wire[i];
        if (one->seq == 0 || next_random(p) % 1000 < p->cut_per_mille) {
            p->bad += one->seq == 0;
            cut(p);
            break;
        }
        note(p, one->seq);
        busbar_loopback_ack_token(p->transport, one->token);
    }
    p->wire_count = 0;
}

static int64_t seq_of(const busbar_message *sent)
{
    char payload[2048];
    snprintf(payload, sizeof payload, "%.*s", (int)sent->payload_size_bytes, (const char *)sent->payload);
    const char *sequence = strstr(payload, "\"sequence\":\"");
    assert_non_null(sequence);
    return strtoll(sequence + 12, NULL, 10);
}

static void receive(const busbar_message *sent, void *ctx)
{
    peer *p = ctx;
    bool poison = p->poison && strcmp(sent->topic, p->poison) == 0;
    if (p->cut)
        return;
    if (p->answering == WIRE) {
        assert_true(p->wire_count < sizeof p->wire / sizeof p->wire[0]);
        p->wire[p->wire_count++] = (message){sent->token, poison ? 0 : seq_of(sent)};
        return;
    }
    if (poison || next_random(p) % 1000 < p->cut_per_mille) {
        p->bad += poison;
        cut(p);
        return;
    }
    note(p, seq_of(sent));
    if (p->answering == AT_ONCE)
        busbar_loopback_ack_token(p->transport, sent->token);
}

static peer *new_peer(void)
{
    static peer p;
    memset(&p, 0, sizeof p);
    p.random = 1;
    busbar_loopback_options options = {.size = sizeof options, .receive = receive, .ctx = &p, .manual_ack = true};
    assert_int_equal(busbar_loopback_new(&options, &p.transport), BUSBAR_OK);
    return &p;
}

static busbar_route route_of(void)
{
    return (busbar_route){.size = sizeof(busbar_route), .name = "up", .topic = "d/{type}", .ack_delay_ms = 1};
}

static void add(fixture *f, const busbar_route *route, const peer *p)
{
    assert_code(f->bus, busbar_route_add(f->bus, route, p->transport), BUSBAR_OK);
}

static void publish_in(fixture *f, const char *type, busbar_lane lane, const char *key)
{
    busbar_event event = event_of(type);
    event.lane = lane;
    event.key = key;
    assert_code(f->bus, busbar_publish(f->bus, &event, NULL), BUSBAR_OK);
}

static void publish_some(fixture *f, int count, const char *type)
{
    for (int i = 0; i < count; i++)
        publish(f->bus, type);
}

/* Turns of 10 ms; a link that was cut is back after one of them. */
static void turn(fixture *f, peer *p, int times)
{
    for (int i = 0; i < times; i++) {
        uint64_t wait_us = 0;
        assert_code(f->bus, busbar_step(f->bus, 1000, &wait_us), BUSBAR_OK);
        read_wire(p);
        if (p->answering == LATE && !p->cut)
            busbar_loopback_ack(p->transport, SIZE_MAX);
        if (p->cut) {
            assert_code(f->bus, busbar_step(f->bus, 1000, &wait_us), BUSBAR_OK);
            p->cut = false;
            busbar_loopback_link(p->transport, true);
        }
        busbar_sim_advance(f->sim, 10000);
    }
}

static busbar_progress progress(fixture *f)
{
    return progress_of(f->bus, "up", BUSBAR_NORMAL);
}

static void assert_first_arrivals_in_order(const peer *p, int from, int to)
{
    for (int i = from + 1; i < to; i++)
        assert_true(p->order[i - 1] < p->order[i]);
}

/* ---- One that ends connections ---- */

static void poison_at(int before, int behind, answering how, uint32_t window)
{
    enum { ATTEMPTS = 3 };
    fixture f;
    fixture_open(&f);
    peer *p = new_peer();
    p->poison = "d/poison";
    p->answering = how;
    busbar_route route = route_of();
    route.window = window;
    route.retry = (busbar_retry){.base_ms = 100, .cap_ms = 100, .max_attempts = ATTEMPTS};
    publish_some(&f, before, "good");
    publish(f.bus, "poison");
    publish_some(&f, behind, "good");
    add(&f, &route, p);
    for (int i = 0; i < 3000 && progress(&f).dead == 0; i++) {
        if (i % 4 == 0)
            publish(f.bus, "good"); /* it goes on */
        turn(&f, p, 1);
    }
    turn(&f, p, 50);
    busbar_progress now = progress(&f);
    assert_int_equal(now.dead, 1);
    assert_int_equal(now.retrying, 0);
    assert_int_equal(now.delivered, p->count);
    assert_int_equal(now.cursor, now.delivered + 1);
    assert_first_arrivals_in_order(p, 0, p->count);
    assert_int_equal(sql_integer(f.db, "SELECT attempts FROM busbar_exception"), ATTEMPTS);
    assert_string_equal(sql_text(f.db, "SELECT reason FROM busbar_exception"),
                        "the connection was lost each time that this message was alone on its way");
    assert_true(p->bad <= 2 + 4 * ATTEMPTS); /* so many connections it cost, whatever the backlog */
    assert_balanced(f.bus, "up");
    fixture_close(&f);
}

static void p11_the_head_of_lost_connections_is_parked_and_in_the_end_dead(void **unused)
{
    (void)unused;
    for (answering how = AT_ONCE; how <= WIRE; how++) {
        poison_at(0, 20, how, 20);
        poison_at(7, 20, how, 20);
        poison_at(30, 300, how, 20);
        poison_at(3, 3, how, 1);
    }
}

/* Nobody passes while it is the link: a neighbour that is lost too acquits. */
static void p11_it_is_not_to_blame_before_its_neighbour_passes(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    peer *p = new_peer();
    p->cut_per_mille = 1000;
    busbar_route route = route_of();
    publish_some(&f, 10, "good");
    add(&f, &route, p);
    turn(&f, p, 500);
    assert_true(p->losses > 200);
    assert_int_equal(progress(&f).cursor, 0);
    assert_int_equal(progress(&f).retrying, 0);
    p->cut_per_mille = 0;
    turn(&f, p, 50);
    assert_int_equal(progress(&f).delivered, 10);
    assert_int_equal(p->count, 10);
    fixture_close(&f);
}

static void p11_without_a_neighbour_nobody_is_convicted(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    peer *p = new_peer();
    p->poison = "d/poison";
    busbar_route route = route_of();
    publish(f.bus, "poison");
    add(&f, &route, p);
    turn(&f, p, 200);
    assert_true(p->bad > 50); /* it is tried with each connection */
    assert_int_equal(progress(&f).cursor, 0);
    p->poison = NULL;
    turn(&f, p, 20);
    assert_int_equal(progress(&f).delivered, 1);

    p->poison = "d/poison";
    publish(f.bus, "poison");
    turn(&f, p, 200);
    assert_int_equal(progress(&f).retrying, 0);
    publish(f.bus, "good"); /* here it is */
    turn(&f, p, 50);
    assert_int_equal(progress(&f).delivered, 2);
    assert_int_equal(progress(&f).retrying, 1);
    fixture_close(&f);
}

/* ---- Links that flap ---- */

static void flap(uint32_t losses, uint32_t cut_per_mille, answering how, busbar_order order)
{
    fixture f;
    fixture_open(&f);
    peer *p = new_peer();
    p->cut_per_mille = cut_per_mille;
    p->answering = how;
    p->random = losses + cut_per_mille;
    busbar_route route = route_of();
    route.order = order;
    route.retry = (busbar_retry){.base_ms = 20, .cap_ms = 20};
    add(&f, &route, p);
    int published = 0;
    while (p->losses < losses) {
        busbar_progress now = progress(&f);
        if (published - now.delivered < 30) {
            publish_some(&f, 10, "good");
            published += 10;
        }
        turn(&f, p, 10);
        assert_true(published < SEQ_MAX - 10);
    }
    p->cut_per_mille = 0;
    turn(&f, p, 500);
    busbar_progress now = progress(&f);
    assert_int_equal(now.dead, 0);
    assert_int_equal(now.retrying, 0);
    assert_int_equal(now.delivered, published);
    assert_int_equal(p->count, published);
    if (order == BUSBAR_ORDER_STRICT)
        assert_first_arrivals_in_order(p, 0, p->count);
    assert_balanced(f.bus, "up");
    fixture_close(&f);
}

/* How many times the link is lost in each of nine ways; another number as the argument. */
static uint32_t flaps = 200;

static void p11_a_flapping_link_kills_and_loses_nothing(void **unused)
{
    (void)unused;
    static const uint32_t per_mille[] = {100, 500, 900};
    for (size_t i = 0; i < sizeof per_mille / sizeof per_mille[0]; i++) {
        flap(flaps, per_mille[i], AT_ONCE, BUSBAR_ORDER_STRICT);
        flap(flaps, per_mille[i], LATE, BUSBAR_ORDER_NONE);
        flap(flaps, per_mille[i], WIRE, BUSBAR_ORDER_NONE);
    }
}

/* ---- Orders ---- */

/* Nothing of its lane may pass it, so nothing of its lane can tell; an event of another lane can. */
static void p11_strict_order_waits_for_a_neighbour_in_another_lane(void **unused)
{
    (void)unused;
    enum { ATTEMPTS = 2 };
    fixture f;
    fixture_open(&f);
    peer *p = new_peer();
    p->poison = "d/poison";
    busbar_route route = route_of();
    route.order = BUSBAR_ORDER_STRICT;
    route.retry = (busbar_retry){.base_ms = 50, .cap_ms = 50, .max_attempts = ATTEMPTS};
    publish(f.bus, "poison");
    publish_some(&f, 5, "good");
    add(&f, &route, p);
    turn(&f, p, 200);
    assert_true(p->bad > 50);
    assert_int_equal(progress(&f).cursor, 0);
    for (int i = 0; i < ATTEMPTS; i++) {
        assert_int_equal(progress(&f).dead, 0);
        publish_in(&f, "good", BUSBAR_URGENT, NULL);
        turn(&f, p, 100);
    }
    assert_int_equal(progress(&f).dead, 1);
    assert_int_equal(progress(&f).delivered, 5);
    assert_int_equal(progress_of(f.bus, "up", BUSBAR_URGENT).delivered, ATTEMPTS);
    fixture_close(&f);
}

/* The event behind it is of its key (`same_first`), or not. */
static void poison_with_a_key(bool same_first)
{
    enum { ATTEMPTS = 2 };
    const int other = same_first ? 3 : 2;
    fixture f;
    fixture_open(&f);
    peer *p = new_peer();
    p->poison = "d/poison";
    busbar_route route = route_of();
    route.order = BUSBAR_ORDER_KEY;
    route.retry = (busbar_retry){.base_ms = 300, .cap_ms = 300, .max_attempts = ATTEMPTS};
    publish_in(&f, "poison", BUSBAR_NORMAL, "a");
    publish_in(&f, "good", BUSBAR_NORMAL, same_first ? "a" : "b");
    publish_in(&f, "good", BUSBAR_NORMAL, same_first ? "b" : "a");
    publish_in(&f, "good", BUSBAR_NORMAL, "a");
    add(&f, &route, p);
    for (int i = 0; i < 100 && p->count == 0; i++)
        turn(&f, p, 1);
    assert_int_equal(p->order[0], other);
    turn(&f, p, 5);
    assert_int_equal(p->count, 1); /* those of its key wait behind it */
    assert_int_equal(progress(&f).retrying, 3);
    assert_int_equal(progress(&f).parked, 2);
    for (int i = 0; i < 200 && progress(&f).dead == 0; i++) {
        publish_in(&f, "good", BUSBAR_NORMAL, "b");
        turn(&f, p, 10);
    }
    turn(&f, p, 50);
    assert_int_equal(progress(&f).dead, 1);
    assert_int_equal(progress(&f).retrying, 0);
    assert_int_equal(sql_integer(f.db, "SELECT attempts FROM busbar_exception"), ATTEMPTS);
    int first = 0;
    int second = 0;
    for (int i = 0; i < p->count; i++) {
        first = p->order[i] == 5 - other ? i : first;
        second = p->order[i] == 4 ? i : second;
    }
    assert_true(first > 0 && second > first);
    assert_balanced(f.bus, "up");
    fixture_close(&f);
}

static void p11_order_by_key_lets_other_keys_pass(void **unused)
{
    (void)unused;
    poison_with_a_key(false);
    poison_with_a_key(true);
}

/* ---- Nobody is there to receive it ---- */

static void open_unmatched(fixture *f, peer *p, busbar_unmatched policy, busbar_order order)
{
    busbar_route route = route_of();
    route.unmatched = policy;
    route.order = order;
    route.retry = (busbar_retry){.base_ms = 100, .cap_ms = 10000, .max_attempts = 2};
    busbar_loopback_unmatched(p->transport, true);
    add(f, &route, p);
    publish_some(f, 50, "good");
    turn(f, p, 100);
}

static void unmatched_accept(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    open_unmatched(&f, new_peer(), BUSBAR_UNMATCHED_ACCEPT, BUSBAR_ORDER_NONE);
    assert_int_equal(progress(&f).delivered, 50);
    assert_int_equal(progress(&f).unmatched, 0);
    fixture_close(&f);
}

static void unmatched_count(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    peer *p = new_peer();
    open_unmatched(&f, p, BUSBAR_UNMATCHED_COUNT, BUSBAR_ORDER_NONE);
    assert_int_equal(progress(&f).delivered, 50);
    assert_int_equal(progress(&f).unmatched, 50);
    busbar_loopback_unmatched(p->transport, false);
    publish_some(&f, 10, "good");
    turn(&f, p, 20);
    assert_int_equal(progress(&f).delivered, 60);
    assert_int_equal(progress(&f).unmatched, 50);
    assert_balanced(f.bus, "up");
    fixture_close(&f);
}

static int64_t sent_again(const peer *p)
{
    int64_t once_more = 0;
    for (int i = 0; i < p->count; i++)
        once_more += p->times[p->order[i]] - 1;
    return once_more;
}

/* Offline by another name: it costs no attempt, and it ends in order. */
static void unmatched_hold(void **unused)
{
    (void)unused;
    static const busbar_order orders[] = {BUSBAR_ORDER_NONE, BUSBAR_ORDER_STRICT};
    for (size_t i = 0; i < 2; i++) {
        fixture f;
        fixture_open(&f);
        peer *p = new_peer();
        open_unmatched(&f, p, BUSBAR_UNMATCHED_HOLD, orders[i]);
        turn(&f, p, 2000);
        assert_int_equal(progress(&f).cursor, 0);
        assert_int_equal(progress(&f).delivered, 0);
        assert_int_equal(progress(&f).retrying, 0);
        assert_int_equal(progress(&f).dead, 0);
        assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_exception"), 0);
        assert_string_equal(sql_text(f.db, "SELECT last_error FROM busbar_consumer"),
                            "nobody is subscribed to the topic: waiting until somebody is");
        assert_in_range(sent_again(p), 6, 10); /* one message per wait: 0.1 s, 0.2 s, 0.4 s … 10 s */

        busbar_loopback_unmatched(p->transport, false);
        p->count = 0; /* from here on somebody is there */
        memset(p->times, 0, sizeof p->times);
        turn(&f, p, 1100);
        assert_int_equal(progress(&f).delivered, 50);
        assert_int_equal(p->count, 50);
        assert_first_arrivals_in_order(p, 0, 50);
        assert_string_equal(sql_text(f.db, "SELECT last_error FROM busbar_consumer"), "");
        assert_balanced(f.bus, "up");
        fixture_close(&f);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p11_the_head_of_lost_connections_is_parked_and_in_the_end_dead),
        cmocka_unit_test(p11_it_is_not_to_blame_before_its_neighbour_passes),
        cmocka_unit_test(p11_without_a_neighbour_nobody_is_convicted),
        cmocka_unit_test(p11_a_flapping_link_kills_and_loses_nothing),
        cmocka_unit_test(p11_strict_order_waits_for_a_neighbour_in_another_lane),
        cmocka_unit_test(p11_order_by_key_lets_other_keys_pass),
        cmocka_unit_test(unmatched_accept),
        cmocka_unit_test(unmatched_count),
        cmocka_unit_test(unmatched_hold),
    };
    if (argc > 1)
        flaps = (uint32_t)strtoul(argv[1], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
