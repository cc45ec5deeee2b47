/* SPDX-License-Identifier: MIT */
/* Observers are told what happens; the status tells of a handler that does not come back. P8, P9. */
#include <stdio.h>

#include <busbar/loopback.h>

#include "fixture.h"

typedef struct seen {
    char text[2000]; /* "what:consumer:type:seq:attempts:reason " of each */
    int count;
} seen;

static void observe(const busbar_observation *o, void *ctx)
{
    static const char *const names[] = {"?", "published", "delivered", "failed", "dead", "expired"};
    seen *s = ctx;
    size_t length = strlen(s->text);
    assert_int_equal(o->size, sizeof *o);
    snprintf(s->text + length, sizeof s->text - length, "%s:%s:%s:%d.%lld:%u:%s ", names[o->what],
             o->consumer ? o->consumer : "-", o->type ? o->type : "-", o->lane, (long long)o->seq,
             (unsigned)o->attempts, o->reason ? o->reason : "-");
    s->count++;
}

typedef struct party {
    busbar_verdict verdict;
    const char *publishes;
} party;

static busbar_verdict handle(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    const party *p = ctx;
    (void)event;
    if (p->publishes)
        publish(bus, p->publishes);
    if (p->verdict != BUSBAR_DONE)
        strcpy(reason->text, "dry");
    return p->verdict;
}

static void open_with(fixture *f, seen *s)
{
    memset(s, 0, sizeof *s);
    fixture_open_with(f, (busbar_options){.size = sizeof(busbar_options), .observer = observe, .observer_ctx = s});
}

static void subscribe(fixture *f, party *p, busbar_delivery delivery)
{
    busbar_handler handler = {.size = sizeof handler,
                              .name = "h",
                              .pattern = "a.*",
                              .fn = handle,
                              .ctx = p,
                              .delivery = delivery,
                              .retry = {.base_ms = 100, .cap_ms = 100, .max_attempts = 2}};
    assert_code(f->bus, busbar_subscribe(f->bus, &handler, 1), BUSBAR_OK);
}

static void a_life_is_told(busbar_delivery delivery)
{
    static seen s;
    party p = {.verdict = BUSBAR_WAIT};
    fixture f;
    open_with(&f, &s);
    subscribe(&f, &p, delivery);
    publish(f.bus, "a.b");
    assert_string_equal(s.text, "published:-:a.b:0.1:0:- ");
    s.text[0] = '\0';
    settle(&f, 0);
    assert_string_equal(s.text, "failed:h:a.b:0.1:0:dry "); /* and no attempt was spent */
    s.text[0] = '\0';
    p.verdict = BUSBAR_RETRY;
    settle(&f, 1000);
    assert_string_equal(s.text, "failed:h:a.b:0.1:1:dry dead:h:a.b:0.1:2:dry ");
    s.text[0] = '\0';
    p.verdict = BUSBAR_DONE;
    publish(f.bus, "b.c"); /* nobody's: only published */
    publish(f.bus, "a.c");
    settle(&f, 1000);
    assert_string_equal(s.text, "published:-:b.c:0.2:0:- published:-:a.c:0.3:0:- delivered:h:a.c:0.3:0:- ");
    fixture_close(&f);
}

static void the_life_of_an_event_is_told(void **unused)
{
    (void)unused;
    a_life_is_told(BUSBAR_TRANSACTIONAL);
    a_life_is_told(BUSBAR_OUTSIDE);
}

static void what_a_handler_publishes_is_told(void **unused)
{
    (void)unused;
    static seen s;
    party p = {.verdict = BUSBAR_DONE, .publishes = "follow.up"};
    fixture f;
    open_with(&f, &s);
    subscribe(&f, &p, BUSBAR_TRANSACTIONAL);
    publish(f.bus, "a.b");
    s.text[0] = '\0';
    settle(&f, 1000);
    assert_string_equal(s.text, "published:-:follow.up:0.2:0:- delivered:h:a.b:0.1:0:- ");
    fixture_close(&f);
}

static void what_was_not_stored_is_not_told(void **unused)
{
    (void)unused;
    static seen s;
    fixture f;
    open_with(&f, &s);
    busbar_event event = event_with("a.b", "{");
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_EJSON);
    event = event_of("a.b");
    event.id = "x";
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_DUPLICATE);
    assert_int_equal(s.count, 1);
    fixture_close(&f);
}

static void routes_tell_too(void **unused)
{
    (void)unused;
    static seen s;
    busbar_transport transport;
    fixture f;
    open_with(&f, &s);
    assert_int_equal(busbar_loopback_new(NULL, &transport), BUSBAR_OK);
    busbar_route route = {.size = sizeof route,
                          .name = "up",
                          .topic = "{type}",
                          .retry = {.base_ms = 100, .cap_ms = 100, .max_attempts = 2}};
    assert_code(f.bus, busbar_route_add(f.bus, &route, transport), BUSBAR_OK);
    busbar_loopback_refusal refusal = {.size = sizeof refusal, .topic = "a.bad", .count = 2, .text = "quota"};
    assert_int_equal(busbar_loopback_refuse(transport, &refusal), BUSBAR_OK);
    publish(f.bus, "a.good");
    publish(f.bus, "a.bad");
    s.text[0] = '\0';
    for (int i = 0; i < 200; i++) {
        settle(&f, 90);
        busbar_sim_advance(f.sim, 10000);
    }
    assert_non_null(strstr(s.text, "delivered:up:"));
    assert_non_null(strstr(s.text, "failed:up:"));
    assert_non_null(strstr(s.text, ":0.2:1:quota "));
    assert_non_null(strstr(s.text, "dead:up:"));
    assert_non_null(strstr(s.text, ":0.2:2:quota "));
    fixture_close(&f);
}

/* Handlers and routes alike, each event of a run. */
static void what_expires_is_told(void **unused)
{
    (void)unused;
    static seen s;
    party p = {.verdict = BUSBAR_DONE};
    busbar_transport transport;
    fixture f;
    open_with(&f, &s);
    assert_int_equal(busbar_loopback_new(NULL, &transport), BUSBAR_OK);
    busbar_route route = {.size = sizeof route, .name = "up", .topic = "{type}"};
    assert_code(f.bus, busbar_route_add(f.bus, &route, transport), BUSBAR_OK);
    subscribe(&f, &p, BUSBAR_TRANSACTIONAL);
    busbar_event event = event_of("a.b");
    event.ttl_ms = 1000;
    for (int i = 0; i < 2; i++)
        assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    busbar_sim_advance(f.sim, 2000000);
    s.text[0] = '\0';
    for (int i = 0; i < 20; i++) {
        settle(&f, 90);
        busbar_sim_advance(f.sim, 100000);
    }
    static const char *const told[] = {"expired:up:-:0.1:0:- ", "expired:up:-:0.2:0:- ", "expired:h:-:0.1:0:- ",
                                       "expired:h:-:0.2:0:- "};
    for (int i = 0; i < 4; i++)
        assert_non_null(strstr(s.text, told[i]));
    fixture_close(&f);
}

/* ---- Stuck ---- */

static int64_t stuck_of_h;

static int read_stuck(const busbar_consumer_status *consumer, void *ctx)
{
    (void)ctx;
    if (strcmp(consumer->name, "h") == 0)
        stuck_of_h = consumer->stuck_ms;
    return 0;
}

static int64_t stuck_ms(busbar *bus)
{
    stuck_of_h = -1;
    assert_code(bus, busbar_consumer_list(bus, read_stuck, NULL), BUSBAR_OK);
    return stuck_of_h;
}

/* A handler that takes long, looked at by another program meanwhile. */
typedef struct slow {
    fixture *f;
    busbar *other;
    int64_t limit_ms;
    int calls;
} slow;

static busbar_verdict be_slow(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    slow *s = ctx;
    (void)bus;
    (void)event;
    (void)reason;
    s->calls++;
    busbar_sim_advance(s->f->sim, (uint64_t)s->limit_ms * 1000 - 100000);
    assert_int_equal(stuck_ms(s->other), 0); /* not yet */
    busbar_sim_advance(s->f->sim, 5100000);
    assert_in_range(stuck_ms(s->other), s->limit_ms + 4900, s->limit_ms + 5200);
    return BUSBAR_DONE;
}

static void slowness_is_told(busbar_delivery delivery, uint32_t limit_ms)
{
    fixture f;
    sqlite3 *db;
    fixture_open(&f);
    slow s = {.f = &f, .limit_ms = limit_ms > 0 ? limit_ms : 30000};
    busbar_handler handler = {
        .size = sizeof handler, .name = "h", .fn = be_slow, .ctx = &s, .delivery = delivery, .limit_ms = limit_ms};
    assert_code(f.bus, busbar_subscribe(f.bus, &handler, 1), BUSBAR_OK);
    uint64_t wait_us;
    assert_code(f.bus, busbar_step(f.bus, 1000, &wait_us), BUSBAR_OK);
    busbar_sim_advance(f.sim, UINT64_C(3600000000)); /* nothing to do is not stuck */
    s.other = fixture_connect_bus(&f, &db);
    assert_int_equal(stuck_ms(s.other), 0);
    publish(f.bus, "a.b");
    settle(&f, 100);
    assert_int_equal(s.calls, 1); /* nobody killed it */
    assert_int_equal(stuck_ms(s.other), 0);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).delivered, 1);
    assert_code(s.other, busbar_close(s.other), BUSBAR_OK);
    sqlite3_close(db);
    fixture_close(&f);
}

static void the_status_tells_of_a_handler_that_takes_too_long(void **unused)
{
    (void)unused;
    slowness_is_told(BUSBAR_OUTSIDE, 2000);
    slowness_is_told(BUSBAR_OUTSIDE, 0);
    slowness_is_told(BUSBAR_TRANSACTIONAL, 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_life_of_an_event_is_told),
        cmocka_unit_test(what_a_handler_publishes_is_told),
        cmocka_unit_test(what_was_not_stored_is_not_told),
        cmocka_unit_test(routes_tell_too),
        cmocka_unit_test(what_expires_is_told),
        cmocka_unit_test(the_status_tells_of_a_handler_that_takes_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
