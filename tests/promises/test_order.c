/* SPDX-License-Identifier: MIT */
/* P4 (order within a lane, and within a key where a consumer asks for it) and P9 (exceptions are bounded). */
#include <stdio.h>

#include <busbar/loopback.h>

#include "fixture.h"

#define REST_MS 90

/* What a handler saw, and which subjects fail. */
typedef struct log {
    char text[8000]; /* "subject/attempt " of each call */
    const char *bad; /* this subject gets the verdict, NULL: none */
    bool all_bad;
    busbar_verdict verdict;
    int calls;
} log;

static busbar_verdict handle(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    log *l = ctx;
    size_t length = strlen(l->text);
    (void)bus;
    l->calls++;
    if (!l->all_bad)
        snprintf(l->text + length, sizeof l->text - length, "%s/%u ", event->subject, (unsigned)event->attempt);
    strcpy(reason->text, "not today");
    return l->all_bad || (l->bad && strcmp(l->bad, event->subject) == 0) ? l->verdict : BUSBAR_DONE;
}

static busbar_handler handler_of(log *l, busbar_order order, busbar_delivery delivery)
{
    return (busbar_handler){.size = sizeof(busbar_handler),
                            .name = "h",
                            .fn = handle,
                            .ctx = l,
                            .delivery = delivery,
                            .order = order,
                            .retry = {.base_ms = 1000, .cap_ms = 1000, .jitter = BUSBAR_JITTER_NONE}};
}

static void subscribe(fixture *f, busbar_handler handler)
{
    assert_code(f->bus, busbar_subscribe(f->bus, &handler, 1), BUSBAR_OK);
}

static void say(fixture *f, const char *subject, const char *key, busbar_lane lane)
{
    busbar_event event = event_of("a.b");
    event.subject = subject;
    event.key = key;
    event.lane = lane;
    assert_code(f->bus, busbar_publish(f->bus, &event, NULL), BUSBAR_OK);
}

/* a1 b1 a2 n1 b2 a3, keys a, b and none, and one of key a in another lane. */
static void say_all(fixture *f)
{
    say(f, "a1", "a", BUSBAR_NORMAL);
    say(f, "b1", "b", BUSBAR_NORMAL);
    say(f, "a2", "a", BUSBAR_NORMAL);
    say(f, "n1", NULL, BUSBAR_NORMAL);
    say(f, "b2", "b", BUSBAR_NORMAL);
    say(f, "a3", "a", BUSBAR_NORMAL);
    say(f, "bulk", "a", BUSBAR_BULK);
}

static void heal(fixture *f, log *l)
{
    l->bad = NULL;
    l->text[0] = '\0';
    busbar_sim_advance(f->sim, 1000000);
    settle(f, REST_MS);
}

static void a_failure_holds_up(busbar_order order, busbar_delivery delivery, const char *before, const char *after,
                               int64_t parked)
{
    log l = {.bad = "a1", .verdict = BUSBAR_RETRY};
    fixture f;
    fixture_open(&f);
    subscribe(&f, handler_of(&l, order, delivery));
    say_all(&f);
    settle(&f, REST_MS);
    assert_string_equal(l.text, before);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).parked, parked);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).retrying, parked + 1);
    assert_balanced(f.bus, "h");
    heal(&f, &l);
    assert_string_equal(l.text, after);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).delivered, 6);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).retrying, 0);
    assert_balanced(f.bus, "h");
    fixture_close(&f);
}

static void p4_without_order_a_failure_holds_up_nothing(void **unused)
{
    (void)unused;
    const char *before = "a1/1 b1/1 a2/1 n1/1 b2/1 a3/1 bulk/1 ";
    a_failure_holds_up(BUSBAR_ORDER_NONE, BUSBAR_TRANSACTIONAL, before, "a1/2 ", 0);
    a_failure_holds_up(BUSBAR_ORDER_NONE, BUSBAR_OUTSIDE, before, "a1/2 ", 0);
}

static void p4_per_key_a_failure_parks_only_its_key(void **unused)
{
    (void)unused;
    const char *before = "a1/1 b1/1 n1/1 b2/1 bulk/1 ";
    a_failure_holds_up(BUSBAR_ORDER_KEY, BUSBAR_TRANSACTIONAL, before, "a1/2 a2/1 a3/1 ", 2);
    a_failure_holds_up(BUSBAR_ORDER_KEY, BUSBAR_OUTSIDE, before, "a1/2 a2/1 a3/1 ", 2);
}

static void p4_strict_a_failure_stops_its_lane(void **unused)
{
    (void)unused;
    const char *after = "a1/2 b1/1 a2/1 n1/1 b2/1 a3/1 ";
    a_failure_holds_up(BUSBAR_ORDER_STRICT, BUSBAR_TRANSACTIONAL, "a1/1 bulk/1 ", after, 0);
    a_failure_holds_up(BUSBAR_ORDER_STRICT, BUSBAR_OUTSIDE, "a1/1 bulk/1 ", after, 0);
}

static void p4_a_parked_event_that_fails_holds_up_the_rest(void **unused)
{
    (void)unused;
    log l = {.bad = "a1", .verdict = BUSBAR_RETRY};
    fixture f;
    fixture_open(&f);
    subscribe(&f, handler_of(&l, BUSBAR_ORDER_KEY, BUSBAR_TRANSACTIONAL));
    say_all(&f);
    settle(&f, REST_MS);
    l.bad = "a2";
    l.text[0] = '\0';
    busbar_sim_advance(f.sim, 1000000);
    settle(&f, REST_MS);
    assert_string_equal(l.text, "a1/2 a2/1 ");
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).parked, 1);
    say(&f, "a4", "a", BUSBAR_NORMAL); /* a newer one does not overtake either */
    heal(&f, &l);
    assert_string_equal(l.text, "a2/2 a3/1 a4/1 ");
    fixture_close(&f);
}

static void p4_a_dead_letter_lets_its_followers_go(void **unused)
{
    (void)unused;
    for (int order = BUSBAR_ORDER_KEY; order <= BUSBAR_ORDER_STRICT; order++) {
        log l = {.bad = "a1", .verdict = BUSBAR_RETRY};
        fixture f;
        fixture_open(&f);
        busbar_handler handler = handler_of(&l, (busbar_order)order, BUSBAR_TRANSACTIONAL);
        handler.retry.max_attempts = 2;
        subscribe(&f, handler);
        say_all(&f);
        settle(&f, 2000);
        assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).dead, 1);
        assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).delivered, 5);
        assert_non_null(strstr(l.text, "a1/2 "));
        assert_true(strstr(l.text, "a2/1 ") > strstr(l.text, "a1/2 "));
        assert_true(strstr(l.text, "a3/1 ") > strstr(l.text, "a2/1 "));
        assert_balanced(f.bus, "h");
        fixture_close(&f);
    }
}

static void p4_order_holds_over_restarts(void **unused)
{
    (void)unused;
    log l = {.bad = "a1", .verdict = BUSBAR_RETRY};
    fixture f;
    fixture_open(&f);
    subscribe(&f, handler_of(&l, BUSBAR_ORDER_KEY, BUSBAR_OUTSIDE));
    say_all(&f);
    settle(&f, REST_MS);
    fixture_reopen_bus(&f);
    subscribe(&f, handler_of(&l, BUSBAR_ORDER_KEY, BUSBAR_TRANSACTIONAL));
    l.text[0] = '\0';
    say(&f, "a4", "a", BUSBAR_NORMAL);
    settle(&f, REST_MS);
    assert_string_equal(l.text, "");
    heal(&f, &l);
    assert_string_equal(l.text, "a1/2 a2/1 a3/1 a4/1 ");
    fixture_close(&f);
}

/* Parking it could not be written, while results of others waited to be: it must not be passed with these. */
static void p8_an_event_that_could_not_be_parked_is_not_lost(void **unused)
{
    (void)unused;
    log l = {.bad = "a1", .verdict = BUSBAR_RETRY};
    fixture f;
    uint64_t wait_us;
    fixture_open(&f);
    subscribe(&f, handler_of(&l, BUSBAR_ORDER_KEY, BUSBAR_OUTSIDE));
    say_all(&f);
    sql(f.db, "CREATE TRIGGER broken BEFORE UPDATE OF cursor ON busbar_cursor WHEN new.cursor = 3"
              " BEGIN SELECT raise(ABORT, 'no'); END");
    assert_true(busbar_step(f.bus, 1000000, &wait_us) < 0);
    sql(f.db, "DROP TRIGGER broken");
    busbar_sim_advance(f.sim, 10000);
    settle(&f, REST_MS);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).parked, 2);
    assert_balanced(f.bus, "h");
    heal(&f, &l);
    assert_string_equal(l.text, "a1/2 a2/1 a3/1 ");
    fixture_close(&f);
}

static void reorder(fixture *f, log *l, busbar_order order)
{
    fixture_reopen_bus(f);
    subscribe(f, handler_of(l, order, BUSBAR_TRANSACTIONAL));
    l->text[0] = '\0';
}

static void p4_another_order_takes_over_what_waits(void **unused)
{
    (void)unused;
    log l = {.all_bad = true, .verdict = BUSBAR_RETRY};
    fixture f;
    fixture_open(&f);
    subscribe(&f, handler_of(&l, BUSBAR_ORDER_NONE, BUSBAR_TRANSACTIONAL));
    say_all(&f);
    settle(&f, REST_MS);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).retrying, 6);
    l.all_bad = false;
    l.bad = "a1";
    reorder(&f, &l, BUSBAR_ORDER_KEY); /* a1, b1 and n1 are first; a2, a3 and b2 wait for theirs */
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).parked, 3);
    busbar_sim_advance(f.sim, 1000000);
    settle(&f, REST_MS);
    assert_string_equal(l.text, "a1/2 b1/2 n1/2 b2/2 bulk/2 ");
    reorder(&f, &l, BUSBAR_ORDER_STRICT);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).parked, 2);
    l.bad = "a2";
    busbar_sim_advance(f.sim, 1000000);
    settle(&f, REST_MS);
    assert_string_equal(l.text, "a1/3 a2/2 ");
    reorder(&f, &l, BUSBAR_ORDER_NONE); /* nothing waits for another any more */
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).parked, 0);
    settle(&f, REST_MS);
    assert_string_equal(l.text, "a3/2 ");
    heal(&f, &l);
    assert_string_equal(l.text, "a2/3 ");
    assert_balanced(f.bus, "h");
    fixture_close(&f);
}

/* Registered here while another process, which has the consumer and knows no order, is still at work. */
static void p4_who_takes_a_consumer_over_lets_go_what_its_order_has_parked(void **unused)
{
    (void)unused;
    log l = {.all_bad = true, .verdict = BUSBAR_RETRY};
    sqlite3 *db = NULL;
    fixture f;
    fixture_open(&f);
    subscribe(&f, handler_of(&l, BUSBAR_ORDER_NONE, BUSBAR_TRANSACTIONAL));
    say(&f, "a1", "a", BUSBAR_NORMAL);
    say(&f, "a2", "a", BUSBAR_NORMAL);
    settle(&f, REST_MS);
    busbar *other = fixture_connect_bus(&f, &db);
    busbar_handler keyed = handler_of(&l, BUSBAR_ORDER_KEY, BUSBAR_TRANSACTIONAL);
    assert_code(other, busbar_subscribe(other, &keyed, 1), BUSBAR_OK);
    assert_int_equal(progress_of(other, "h", BUSBAR_NORMAL).parked, 1);
    l.all_bad = false;
    heal(&f, &l); /* the first goes, and the one that knows no order leaves the second parked */
    assert_string_equal(l.text, "a1/2 ");
    assert_code(f.bus, busbar_close(f.bus), BUSBAR_OK);
    settle_bus(other, f.sim, REST_MS);
    assert_string_equal(l.text, "a1/2 a2/2 ");
    assert_balanced(other, "h");
    assert_code(other, busbar_close(other), BUSBAR_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    f.bus = NULL;
    fixture_close(&f);
}

/* ---- The bound ---- */

static int read_error(const busbar_consumer_status *consumer, void *ctx)
{
    snprintf(ctx, BUSBAR_DETAIL_SIZE, "%s", consumer->last_error ? consumer->last_error : "");
    return 0;
}

static void bound_is_held(busbar_delivery delivery, busbar_order order)
{
    log l = {.all_bad = true, .verdict = BUSBAR_RETRY};
    char error[BUSBAR_DETAIL_SIZE] = "";
    fixture f;
    fixture_open(&f);
    busbar_handler handler = handler_of(&l, order, delivery);
    handler.retry.max_attempts = BUSBAR_UNLIMITED;
    handler.retry.base_ms = handler.retry.cap_ms = 3600000;
    subscribe(&f, handler);
    sql(f.db, "BEGIN");
    for (int i = 0; i < 1200; i++)
        say(&f, "x", order == BUSBAR_ORDER_KEY ? "one" : NULL, BUSBAR_NORMAL);
    sql(f.db, "COMMIT");
    settle(&f, REST_MS);
    for (int i = 0; i < 5; i++) {
        busbar_sim_advance(f.sim, 1500000);
        settle(&f, REST_MS);
    }
    busbar_progress progress = progress_of(f.bus, "h", BUSBAR_NORMAL);
    assert_int_equal(progress.retrying, 1000);
    assert_int_equal(progress.cursor, 1000); /* the lane stops before the next one */
    assert_int_equal(progress.parked, order == BUSBAR_ORDER_KEY ? 999 : 0);
    assert_balanced(f.bus, "h");
    assert_code(f.bus, busbar_consumer_list(f.bus, read_error, error), BUSBAR_OK);
    assert_non_null(strstr(error, "1,000 events wait for retry"));
    l.all_bad = false;
    busbar_sim_advance(f.sim, UINT64_C(3600000000));
    settle(&f, 2000);
    progress = progress_of(f.bus, "h", BUSBAR_NORMAL);
    assert_int_equal(progress.delivered, 1200);
    assert_int_equal(progress.retrying, 0);
    assert_code(f.bus, busbar_consumer_list(f.bus, read_error, error), BUSBAR_OK);
    assert_string_equal(error, "");
    fixture_close(&f);
}

static void p9_at_the_bound_the_lane_stops_and_the_status_says_why(void **unused)
{
    (void)unused;
    bound_is_held(BUSBAR_TRANSACTIONAL, BUSBAR_ORDER_NONE);
    bound_is_held(BUSBAR_OUTSIDE, BUSBAR_ORDER_NONE);
    bound_is_held(BUSBAR_TRANSACTIONAL, BUSBAR_ORDER_KEY);
    bound_is_held(BUSBAR_OUTSIDE, BUSBAR_ORDER_KEY);
}

/* ---- Routes ---- */

typedef struct peer {
    char text[4000]; /* the topics */
    busbar_transport transport;
} peer;

static void receive(const busbar_message *message, void *ctx)
{
    peer *p = ctx;
    size_t length = strlen(p->text);
    snprintf(p->text + length, sizeof p->text - length, "%s ", message->topic);
}

static void route(fixture *f, peer *p, busbar_order order, uint32_t max_attempts, bool manual)
{
    busbar_loopback_options options = {.size = sizeof options, .receive = receive, .ctx = p, .manual_ack = manual};
    assert_int_equal(busbar_loopback_new(&options, &p->transport), BUSBAR_OK);
    busbar_route up = {
        .size = sizeof up,
        .name = "up",
        .topic = "{subject}",
        .order = order,
        .retry = {.base_ms = 1000, .cap_ms = 1000, .max_attempts = max_attempts, .jitter = BUSBAR_JITTER_NONE}};
    assert_code(f->bus, busbar_route_add(f->bus, &up, p->transport), BUSBAR_OK);
}

static void refuse(peer *p, const char *topic, uint32_t count)
{
    busbar_loopback_refusal refusal = {.size = sizeof refusal, .topic = topic, .count = count, .text = "quota"};
    assert_int_equal(busbar_loopback_refuse(p->transport, &refusal), BUSBAR_OK);
}

static void wait_ms(fixture *f, uint64_t time_ms)
{
    for (uint64_t passed_ms = 0; passed_ms < time_ms; passed_ms += 10) {
        uint64_t wait_us = 0;
        for (int turn = 0; wait_us == 0 && turn < 100; turn++)
            assert_code(f->bus, busbar_step(f->bus, 1000000, &wait_us), BUSBAR_OK);
        busbar_sim_advance(f->sim, 10000);
    }
}

static void a_refusal_holds_up(busbar_order order, const char *before, const char *after)
{
    static peer p;
    fixture f;
    memset(&p, 0, sizeof p);
    fixture_open(&f);
    route(&f, &p, order, 0, false);
    refuse(&p, "a1", 1);
    say_all(&f);
    wait_ms(&f, 600);
    assert_string_equal(p.text, before);
    assert_balanced(f.bus, "up");
    p.text[0] = '\0';
    wait_ms(&f, 4000);
    assert_string_equal(p.text, after);
    assert_int_equal(progress_of(f.bus, "up", BUSBAR_NORMAL).delivered, 6);
    assert_int_equal(progress_of(f.bus, "up", BUSBAR_NORMAL).retrying, 0);
    assert_balanced(f.bus, "up");
    fixture_close(&f);
}

static void p4_refused_messages_hold_up_by_the_routes_order(void **unused)
{
    (void)unused;
    a_refusal_holds_up(BUSBAR_ORDER_NONE, "b1 a2 n1 b2 a3 bulk ", "a1 ");
    a_refusal_holds_up(BUSBAR_ORDER_STRICT, "bulk ", "a1 b1 a2 n1 b2 a3 ");
    a_refusal_holds_up(BUSBAR_ORDER_KEY, "b1 bulk n1 b2 ", "a1 a2 a3 ");
}

/* What it waits for may be dead by the time that it is recorded as parked. */
static void p4_who_is_parked_behind_a_message_that_dies_is_sent(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    memset(&p, 0, sizeof p);
    fixture_open(&f);
    route(&f, &p, BUSBAR_ORDER_KEY, 1, false); /* the first refusal is the last */
    refuse(&p, "a1", 1);
    say_all(&f);
    wait_ms(&f, 4000);
    assert_int_equal(progress_of(f.bus, "up", BUSBAR_NORMAL).dead, 1);
    assert_int_equal(progress_of(f.bus, "up", BUSBAR_NORMAL).delivered, 5);
    assert_int_equal(progress_of(f.bus, "up", BUSBAR_NORMAL).parked, 0);
    assert_true(strstr(p.text, "a3 ") > strstr(p.text, "a2 "));
    assert_balanced(f.bus, "up");
    fixture_close(&f);
}

static void p4_strict_and_key_have_one_message_on_its_way(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    memset(&p, 0, sizeof p);
    fixture_open(&f);
    route(&f, &p, BUSBAR_ORDER_STRICT, 0, true);
    say_all(&f);
    wait_ms(&f, 500);
    assert_string_equal(p.text, "a1 bulk ");
    busbar_loopback_ack(p.transport, 1);
    wait_ms(&f, 500);
    assert_string_equal(p.text, "a1 bulk b1 ");
    fixture_close(&f);
}

/* A connection that ends again and again with the only message of a strict lane: it is sent as soon as one holds. */
static void p4_a_strict_lane_outlives_a_bad_link(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    memset(&p, 0, sizeof p);
    fixture_open(&f);
    route(&f, &p, BUSBAR_ORDER_STRICT, 0, true);
    say(&f, "a1", "a", BUSBAR_NORMAL);
    say(&f, "a2", "a", BUSBAR_NORMAL);
    for (int i = 0; i < 10; i++) {
        wait_ms(&f, 300);
        busbar_loopback_link(p.transport, false);
        wait_ms(&f, 300);
        busbar_loopback_link(p.transport, true);
    }
    for (int i = 0; i < 4; i++) {
        wait_ms(&f, 2000);
        busbar_loopback_ack(p.transport, 10);
    }
    wait_ms(&f, 2000);
    assert_int_equal(progress_of(f.bus, "up", BUSBAR_NORMAL).delivered, 2);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p4_without_order_a_failure_holds_up_nothing),
        cmocka_unit_test(p4_per_key_a_failure_parks_only_its_key),
        cmocka_unit_test(p4_strict_a_failure_stops_its_lane),
        cmocka_unit_test(p4_a_parked_event_that_fails_holds_up_the_rest),
        cmocka_unit_test(p4_a_dead_letter_lets_its_followers_go),
        cmocka_unit_test(p4_order_holds_over_restarts),
        cmocka_unit_test(p8_an_event_that_could_not_be_parked_is_not_lost),
        cmocka_unit_test(p4_another_order_takes_over_what_waits),
        cmocka_unit_test(p4_who_takes_a_consumer_over_lets_go_what_its_order_has_parked),
        cmocka_unit_test(p9_at_the_bound_the_lane_stops_and_the_status_says_why),
        cmocka_unit_test(p4_refused_messages_hold_up_by_the_routes_order),
        cmocka_unit_test(p4_who_is_parked_behind_a_message_that_dies_is_sent),
        cmocka_unit_test(p4_strict_and_key_have_one_message_on_its_way),
        cmocka_unit_test(p4_a_strict_lane_outlives_a_bad_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
