/* SPDX-License-Identifier: MIT */
/*
 * Time to live: P10 (it runs on monotonic and on trusted time only), P8 (what has expired is counted), for routes and for
 * handlers of both kinds.
 */
#include "fixture.h"

#include <busbar/loopback.h>
#include <stdio.h>

#define SECOND   INT64_C(1000)
#define HOUR     (3600 * SECOND)
#define DAY      (24 * HOUR)
#define YEARS_10 (3653 * DAY)
#define US(ms)   ((uint64_t)(ms)*1000)
#define REST_MS  90

typedef struct peer {
    int64_t numbers[256];
    uint32_t expiry_s[256];
    int count;
    int gaps; /* busbar.gap events: what was missed */
} peer;

static void receive(const busbar_message *message, void *ctx)
{
    peer *p = ctx;
    char json[1024];
    snprintf(json, sizeof json, "%.*s", (int)message->payload_size_bytes, (const char *)message->payload);
    if (strstr(json, "\"type\":\"busbar.gap\"")) {
        p->gaps++;
        return;
    }
    const char *sequence = strstr(json, "\"sequence\":\"");
    assert_non_null(sequence);
    p->expiry_s[p->count % 256] = message->expiry_s;
    p->numbers[p->count++ % 256] = strtoll(sequence + 12, NULL, 10);
}

static busbar_transport add_route(fixture *f, peer *p, uint64_t ttl_ms)
{
    busbar_loopback_options options = {.size = sizeof options, .receive = receive, .ctx = p, .link_down = true};
    busbar_route route = {.size = sizeof route, .name = "up", .topic = "t", .ttl_ms = ttl_ms};
    busbar_transport transport;
    *p = (peer){.count = 0};
    assert_int_equal(busbar_loopback_new(&options, &transport), BUSBAR_OK);
    assert_code(f->bus, busbar_route_add(f->bus, &route, transport), BUSBAR_OK);
    return transport;
}

static void drain(fixture *f, busbar_transport transport)
{
    busbar_loopback_link(transport, true);
    settle(f, REST_MS);
    busbar_sim_advance(f->sim, 300000);
    settle(f, REST_MS);
    assert_balanced(f->bus, "up");
}

static void publish_ttl(busbar *bus, const char *type, uint64_t ttl_ms)
{
    busbar_event event = event_of(type);
    event.ttl_ms = ttl_ms;
    assert_code(bus, busbar_publish(bus, &event, NULL), BUSBAR_OK);
}

static void reboot(fixture *f)
{
    busbar_sim_reboot(f->sim);
    fixture_reopen_bus(f);
}

static void assert_counts(fixture *f, const char *consumer, int64_t delivered, int64_t expired)
{
    busbar_progress progress = progress_of(f->bus, consumer, BUSBAR_NORMAL);
    assert_int_equal(progress.delivered, delivered);
    assert_int_equal(progress.expired, expired);
    assert_balanced(f->bus, consumer);
}

/* ---- Which of them counts ---- */

static void the_smallest_of_event_or_kind_and_route_counts(void **unused)
{
    (void)unused;
    static const struct {
        uint64_t event;
        uint64_t kind;
        uint64_t route;
        uint32_t left_s;
    } cases[] = {
        {0, 0, 0, 0},     {90, 0, 0, 90},   {0, 80, 0, 80},  {0, 0, 70, 70},         {90, 80, 0, 90},
        {90, 80, 70, 70}, {60, 80, 70, 60}, {0, 80, 90, 80}, {UINT64_MAX, 80, 0, 0}, {UINT64_MAX, 80, 70, 70},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        peer p;
        fixture f;
        busbar_kind_desc desc = {.size = sizeof desc, .type = "a.b", .ttl_ms = cases[i].kind * 1000};
        busbar_event event = {.size = sizeof event};
        fixture_open(&f);
        assert_code(f.bus, busbar_kind_register(f.bus, &desc, &event.kind), BUSBAR_OK);
        event.ttl_ms = cases[i].event == UINT64_MAX ? BUSBAR_FOREVER : cases[i].event * 1000;
        assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
        drain(&f, add_route(&f, &p, cases[i].route * 1000));
        assert_int_equal(p.count, 1);
        assert_int_equal(p.expiry_s[0], cases[i].left_s);
        fixture_close(&f);
    }
}

static void a_kind_keeps_its_time_to_live_and_registering_anew_changes_it(void **unused)
{
    (void)unused;
    peer p;
    fixture f;
    busbar_kind kind;
    sqlite3 *db;
    busbar_kind_desc desc = {.size = sizeof desc, .type = "a.b", .ttl_ms = 3600000};
    fixture_open(&f);
    sql(f.db, "BEGIN"); /* a registration that is rolled back is made good by the first publish */
    assert_code(f.bus, busbar_kind_register(f.bus, &desc, &kind), BUSBAR_OK);
    sql(f.db, "ROLLBACK");
    busbar_event event = {.size = sizeof event, .kind = kind};
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    assert_int_equal(sql_integer(f.db, "SELECT ttl_ms FROM busbar_kind"), 3600000);
    busbar_transport transport = add_route(&f, &p, 0);
    drain(&f, transport);
    assert_int_equal(p.expiry_s[0], 3600);

    busbar *other = fixture_connect_bus(&f, &db);
    desc.ttl_ms = 0; /* says nothing of it */
    assert_code(other, busbar_kind_register(other, &desc, &kind), BUSBAR_OK);
    assert_int_equal(sql_integer(f.db, "SELECT ttl_ms FROM busbar_kind"), 3600000);
    desc.ttl_ms = 60000;
    assert_code(other, busbar_kind_register(other, &desc, &kind), BUSBAR_OK);
    busbar_sim_advance(f.sim, US(2 * SECOND)); /* workers that run see it within a second */
    publish(f.bus, "a.b");
    drain(&f, transport);
    assert_int_equal(p.expiry_s[1], 60);
    desc.ttl_ms = BUSBAR_FOREVER;
    assert_code(other, busbar_kind_register(other, &desc, &kind), BUSBAR_OK);
    busbar_sim_advance(f.sim, US(2 * SECOND));
    publish(f.bus, "a.b");
    drain(&f, transport);
    assert_int_equal(p.expiry_s[2], 0);
    assert_code(other, busbar_close(other), BUSBAR_OK);
    sqlite3_close(db);
    fixture_close(&f);
}

static int collect(const busbar_record *event, const busbar_standing *standing, void *ctx)
{
    uint64_t *ttl_ms = ctx;
    (void)standing;
    ttl_ms[event->seq - 1] = event->ttl_ms;
    return 0;
}

static void a_listing_tells_the_time_to_live(void **unused)
{
    (void)unused;
    fixture f;
    uint64_t ttl_ms[4] = {1, 1, 1, 1};
    busbar_kind kind;
    busbar_kind_desc desc = {.size = sizeof desc, .type = "a.b", .ttl_ms = 7000};
    busbar_query query = {.size = sizeof query};
    fixture_open(&f);
    publish_ttl(f.bus, "c.d", 0);
    assert_code(f.bus, busbar_kind_register(f.bus, &desc, &kind), BUSBAR_OK);
    publish_ttl(f.bus, "a.b", 0);
    publish_ttl(f.bus, "a.b", 9000);
    publish_ttl(f.bus, "a.b", BUSBAR_FOREVER);
    assert_code(f.bus, busbar_list(f.bus, &query, collect, ttl_ms), BUSBAR_OK);
    assert_int_equal(ttl_ms[0], 0);
    assert_int_equal(ttl_ms[1], 7000);
    assert_int_equal(ttl_ms[2], 9000);
    assert_int_equal(ttl_ms[3], 0);
    fixture_close(&f);
}

static void out_of_range_is_refused(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    busbar_event event = event_of("a.b");
    event.ttl_ms = (uint64_t)INT64_MAX + 1;
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_EINVAL);
    event.ttl_ms = INT64_MAX;
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    busbar_kind kind;
    busbar_kind_desc desc = {.size = sizeof desc, .type = "a.b", .ttl_ms = UINT64_MAX - 1};
    assert_code(f.bus, busbar_kind_register(f.bus, &desc, &kind), BUSBAR_EINVAL);
    busbar_loopback_options options = {.size = sizeof options};
    busbar_route route = {.size = sizeof route, .name = "up", .topic = "t", .ttl_ms = UINT64_MAX - 1};
    busbar_transport transport;
    assert_int_equal(busbar_loopback_new(&options, &transport), BUSBAR_OK);
    assert_code(f.bus, busbar_route_add(f.bus, &route, transport), BUSBAR_EINVAL);
    fixture_close(&f);
}

/* ---- Within a boot ---- */

static void p10_within_a_boot_only_monotonic_time_counts(void **unused)
{
    (void)unused;
    static const int64_t steps[] = {0, YEARS_10, -YEARS_10};
    for (int i = 0; i < 3; i++) {
        peer p;
        fixture f;
        fixture_open(&f);
        busbar_transport transport = add_route(&f, &p, 0);
        publish_ttl(f.bus, "a.b", 10 * HOUR);
        publish_ttl(f.bus, "a.b", HOUR);
        settle(&f, REST_MS);
        busbar_sim_wall_step(f.sim, steps[i]);
        busbar_sim_advance(f.sim, US(HOUR / 2));
        settle(&f, REST_MS);
        busbar_sim_suspend(f.sim, US(HOUR / 2 + SECOND)); /* time asleep counts */
        drain(&f, transport);
        assert_int_equal(p.count, 1);
        assert_in_range(p.expiry_s[0], 9 * 3600 - 2, 9 * 3600);
        assert_counts(&f, "up", 1, 1);
        fixture_close(&f);
    }
}

static void p10_a_step_while_draining_expires_nothing_early(void **unused)
{
    (void)unused;
    peer p;
    fixture f;
    fixture_open(&f);
    for (int i = 0; i < 60; i++)
        publish_ttl(f.bus, "a.b", DAY);
    reboot(&f);
    busbar_sim_wall_quality(f.sim, BUSBAR_CLOCK_TRUSTED);
    busbar_transport transport = add_route(&f, &p, 0);
    settle(&f, REST_MS);
    for (int i = 0; i < 60; i++) {
        busbar_sim_wall_step(f.sim, i % 3 == 1 ? -2 * YEARS_10 : YEARS_10);
        busbar_sim_advance(f.sim, US(61 * SECOND)); /* each step is noted */
        if (i == 30)
            busbar_loopback_drop_after(transport, 30);
        busbar_loopback_link(transport, i > 10);
        settle(&f, REST_MS);
    }
    drain(&f, transport);
    assert_int_equal(progress_of(f.bus, "up", BUSBAR_NORMAL).expired, 0);
    for (int i = 1; i < p.count; i++) /* P4: what was sent a second time comes again in order */
        assert_true(p.numbers[i] <= p.numbers[i - 1] + 1);
    assert_true(p.count >= 60);
    fixture_close(&f);
}

/* ---- Over boots ---- */

static void p10_over_boots_trusted_wall_time_counts(void **unused)
{
    (void)unused;
    peer p;
    fixture f;
    fixture_open(&f); /* trusted */
    publish_ttl(f.bus, "a.b", 10 * HOUR);
    publish_ttl(f.bus, "a.b", HOUR);
    busbar_sim_advance(f.sim, US(HOUR / 2));
    reboot(&f);
    busbar_sim_advance(f.sim, US(2 * HOUR)); /* it was off, say: only the wall clock knows */
    busbar_sim_wall_quality(f.sim, BUSBAR_CLOCK_TRUSTED);
    fixture_reopen_bus(&f);
    drain(&f, add_route(&f, &p, 0));
    assert_int_equal(p.count, 1);
    assert_in_range(p.expiry_s[0], 27000 - 2, 27000);
    assert_counts(&f, "up", 1, 1);
    fixture_close(&f);
}

static void p10_a_fix_after_the_event_counts_for_it_too(void **unused)
{
    (void)unused;
    peer p;
    fixture f;
    fixture_open(&f);
    busbar_sim_wall_quality(f.sim, BUSBAR_CLOCK_UNKNOWN);
    for (int boot = 0; boot < 3; boot++) { /* only the second boot ever knows the time */
        publish_ttl(f.bus, "a.b", 5 * HOUR);
        busbar_sim_advance(f.sim, US(HOUR));
        if (boot == 1)
            busbar_sim_wall_set(f.sim, BUSBAR_SIM_WALL_MS, BUSBAR_CLOCK_TRUSTED);
        fixture_reopen_bus(&f);
        publish_ttl(f.bus, "a.b", 50 * HOUR);
        reboot(&f);
        busbar_sim_wall_quality(f.sim, BUSBAR_CLOCK_UNKNOWN);
    }
    busbar_sim_wall_set(f.sim, BUSBAR_SIM_WALL_MS + 10 * HOUR, BUSBAR_CLOCK_TRUSTED);
    drain(&f, add_route(&f, &p, 0));
    assert_counts(&f, "up", 5, 1); /* of the boots without a clock nothing is known: all their time is left */
    assert_in_range(p.expiry_s[0], 5 * 3600 - 1, 5 * 3600);
    assert_int_equal(p.numbers[2], 4);
    assert_in_range(p.expiry_s[2], 40 * 3600 - 2, 40 * 3600);
    fixture_close(&f);
}

static void p10_a_wall_clock_that_contradicts_itself_expires_nothing(void **unused)
{
    (void)unused;
    for (int publishing = 0; publishing < 2; publishing++) {
        for (int forward = 0; forward < 2; forward++) {
            peer p;
            peer q;
            fixture f;
            int64_t step_ms = forward ? YEARS_10 : -YEARS_10;
            fixture_open(&f);
            (void)add_route(&f, &q, 0);
            publish_ttl(f.bus, "a.b", 10 * HOUR);
            busbar_sim_advance(f.sim, US(HOUR));
            settle(&f, REST_MS);
            if (publishing) { /* the boot that published was stepped, and noticed */
                busbar_sim_wall_step(f.sim, step_ms);
                settle(&f, REST_MS);
                publish_ttl(f.bus, "a.b", 10 * HOUR);
            }
            reboot(&f);
            busbar_sim_wall_set(f.sim, BUSBAR_SIM_WALL_MS + 2 * HOUR, BUSBAR_CLOCK_TRUSTED);
            busbar_transport transport = add_route(&f, &p, 0);
            settle(&f, REST_MS);
            if (!publishing)
                busbar_sim_wall_step(f.sim, step_ms); /* the one that sends is stepped before the link comes */
            drain(&f, transport);
            assert_counts(&f, "up", 1 + publishing, 0);
            assert_in_range(p.expiry_s[0], 8 * 3600 - 2, 10 * 3600);
            fixture_close(&f);
        }
    }
}

static void p10_a_wrong_fix_that_was_just_mended_expires_nothing(void **unused)
{
    (void)unused;
    peer p;
    fixture f;
    fixture_open(&f);
    publish_ttl(f.bus, "a.b", 10 * HOUR);
    reboot(&f);
    busbar_sim_wall_set(f.sim, BUSBAR_SIM_WALL_MS + YEARS_10, BUSBAR_CLOCK_TRUSTED);
    publish_ttl(f.bus, "a.b", 10 * HOUR);
    busbar_transport transport = add_route(&f, &p, 0);
    settle(&f, REST_MS);
    for (int i = 0; i < 3; i++) { /* so many are noted at once */
        busbar_sim_advance(f.sim, US(10 * SECOND));
        busbar_sim_wall_step(f.sim, HOUR);
        settle(&f, REST_MS);
    }
    busbar_sim_advance(f.sim, US(10 * SECOND)); /* too soon for another fix */
    busbar_sim_wall_step(f.sim, -YEARS_10 + HOUR);
    drain(&f, transport);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_clock"), 5);
    assert_counts(&f, "up", 2, 0);
    fixture_close(&f);
}

static void p10_an_estimated_clock_expires_nothing(void **unused)
{
    (void)unused;
    peer p;
    fixture f;
    fixture_open(&f);
    busbar_sim_wall_quality(f.sim, BUSBAR_CLOCK_ESTIMATED);
    publish_ttl(f.bus, "a.b", HOUR);
    reboot(&f);
    busbar_sim_wall_set(f.sim, BUSBAR_SIM_WALL_MS + YEARS_10, BUSBAR_CLOCK_ESTIMATED);
    fixture_reopen_bus(&f);
    drain(&f, add_route(&f, &p, 0));
    assert_counts(&f, "up", 1, 0);
    publish_ttl(f.bus, "a.b", HOUR);
    reboot(&f); /* what was published is still not known, only what time it is now */
    busbar_sim_wall_set(f.sim, BUSBAR_SIM_WALL_MS + YEARS_10, BUSBAR_CLOCK_TRUSTED);
    drain(&f, add_route(&f, &p, 0));
    assert_counts(&f, "up", 2, 0);
    fixture_close(&f);
}

static void p10_without_any_clock_the_time_that_is_certain_counts(void **unused)
{
    (void)unused;
    peer p;
    fixture f;
    fixture_open(&f);
    busbar_sim_wall_quality(f.sim, BUSBAR_CLOCK_UNKNOWN);
    publish_ttl(f.bus, "a.b", 3 * HOUR);
    reboot(&f);
    busbar_sim_wall_quality(f.sim, BUSBAR_CLOCK_UNKNOWN);
    publish_ttl(f.bus, "a.b", 30 * HOUR); /* from here on this boot is known to run */
    busbar_sim_advance(f.sim, US(2 * HOUR));
    fixture_reopen_bus(&f);
    busbar_transport transport = add_route(&f, &p, 0);
    busbar_loopback_drop_after(transport, 1);
    busbar_loopback_link(transport, true);
    settle(&f, REST_MS);
    assert_int_equal(p.count, 1);
    assert_in_range(p.expiry_s[0], 3600 - 1, 3600);
    busbar_sim_advance(f.sim, US(HOUR + SECOND)); /* it was not acknowledged, and is too old to be sent once more */
    drain(&f, transport);
    assert_int_equal(p.count, 2);
    assert_int_equal(p.numbers[1], 2);
    assert_counts(&f, "up", 1, 1);
    fixture_close(&f);
}

/* A boot that was made up runs perhaps at the same time as others. */
static void p10_without_a_boot_identity_nothing_expires_for_the_time_of_another_opening(void **unused)
{
    (void)unused;
    peer p;
    fixture f;
    sqlite3 *db;
    fixture_open(&f);
    busbar_sim_fail(f.sim, BUSBAR_SIM_CALL_BOOT_ID, BUSBAR_SIM_ALWAYS);
    fixture_reopen_bus(&f);
    busbar *publisher = fixture_connect_bus(&f, &db);
    publish(f.bus, "a.b"); /* since then the relay's boot is known to run */
    busbar_transport transport = add_route(&f, &p, 0);
    drain(&f, transport);
    for (int i = 0; i < 2; i++) { /* with a trusted clock; without */
        busbar_sim_advance(f.sim, US(24 * HOUR));
        publish_ttl(publisher, "a.b", HOUR);
        drain(&f, transport);
        assert_counts(&f, "up", 2 + i, 0);
        busbar_sim_wall_quality(f.sim, BUSBAR_CLOCK_UNKNOWN);
        assert_code(publisher, busbar_close(publisher), BUSBAR_OK);
        busbar_error error;
        assert_int_equal(busbar_open(&publisher, db, &f.options, &error), BUSBAR_OK);
    }
    assert_code(publisher, busbar_close(publisher), BUSBAR_OK);
    sqlite3_close(db);
    fixture_close(&f);
}

static void several_boots_offline_then_one_trusted_fix(void **unused)
{
    (void)unused;
    peer p;
    fixture f;
    fixture_open(&f);
    for (int boot = 0; boot < 10; boot++) { /* every day a boot; every other one never knows the time */
        busbar_sim_wall_set(f.sim, BUSBAR_SIM_WALL_MS + boot * DAY,
                            boot % 2 == 0 ? BUSBAR_CLOCK_TRUSTED : BUSBAR_CLOCK_UNKNOWN);
        publish_ttl(f.bus, "a.b", 3 * DAY);
        busbar_sim_advance(f.sim, US(HOUR));
        reboot(&f);
        busbar_sim_wall_quality(f.sim, BUSBAR_CLOCK_UNKNOWN);
    }
    busbar_transport transport = add_route(&f, &p, 0);
    settle(&f, REST_MS);
    busbar_sim_wall_set(f.sim, BUSBAR_SIM_WALL_MS + 10 * DAY, BUSBAR_CLOCK_TRUSTED);
    drain(&f, transport);
    /* Known to be 10, 8, 6, 4 days old: expired. 2 days: a day is left. The other five: not known. */
    assert_counts(&f, "up", 6, 4);
    for (int i = 0; i < 6; i++) {
        static const int64_t numbers[] = {2, 4, 6, 8, 9, 10};
        assert_int_equal(p.numbers[i], numbers[i]);
        assert_in_range(p.expiry_s[i], (uint32_t)(numbers[i] == 9 ? DAY / SECOND : 3 * DAY / SECOND) - 2,
                        (uint32_t)(numbers[i] == 9 ? DAY / SECOND : 3 * DAY / SECOND));
    }
    fixture_close(&f);
}

/* ---- Handlers ---- */

typedef struct handled {
    int count;
    int64_t seqs[256];
    int failures; /* so many calls fail first */
} handled;

static busbar_verdict handle(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    handled *h = ctx;
    (void)bus;
    (void)reason;
    if (h->failures > 0) {
        h->failures--;
        return BUSBAR_RETRY;
    }
    h->seqs[h->count++ % 256] = event->seq;
    return BUSBAR_DONE;
}

static void subscribe(fixture *f, handled *h, busbar_delivery delivery, uint64_t ttl_ms)
{
    busbar_handler handler = {.size = sizeof handler,
                              .name = "h",
                              .fn = handle,
                              .ctx = h,
                              .delivery = delivery,
                              .start = BUSBAR_START_BEGINNING,
                              .ttl_ms = ttl_ms};
    assert_code(f->bus, busbar_subscribe(f->bus, &handler, 1), BUSBAR_OK);
}

static int expired_seen;

static void observe(const busbar_observation *observation, void *ctx)
{
    (void)ctx;
    if (observation->what == BUSBAR_OBSERVED_EXPIRED) {
        assert_string_equal(observation->consumer, "h");
        expired_seen++;
    }
}

static void handlers_get_no_expired_event(void **unused)
{
    (void)unused;
    for (int delivery = BUSBAR_TRANSACTIONAL; delivery <= BUSBAR_OUTSIDE; delivery++) {
        fixture f;
        handled h = {.count = 0};
        expired_seen = 0;
        fixture_open_with(&f, (busbar_options){.size = sizeof(busbar_options), .observer = observe});
        for (int i = 0; i < 200; i++) /* two of four expire, one never does, one lives longer */
            publish_ttl(f.bus, "a.b", i % 4 == 3 ? 0 : i % 4 == 2 ? 3 * HOUR : HOUR);
        busbar_sim_advance(f.sim, US(HOUR));
        subscribe(&f, &h, (busbar_delivery)delivery, 0);
        settle(&f, REST_MS);
        assert_int_equal(h.count, 100);
        for (int i = 0; i < 100; i++)
            assert_int_equal(h.seqs[i], 4 * (i / 2) + 3 + i % 2);
        assert_counts(&f, "h", 100, 100);
        assert_int_equal(expired_seen, 100);
        fixture_close(&f);
    }
}

static void a_run_of_expired_events_costs_few_commits(void **unused)
{
    (void)unused;
    for (int delivery = BUSBAR_TRANSACTIONAL; delivery <= BUSBAR_OUTSIDE; delivery++) {
        fixture f;
        handled h = {.count = 0};
        fixture_open(&f);
        sql(f.db, "BEGIN");
        for (int i = 0; i < 5000; i++)
            publish_ttl(f.bus, "a.b", HOUR);
        sql(f.db, "COMMIT");
        busbar_sim_advance(f.sim, US(HOUR));
        subscribe(&f, &h, (busbar_delivery)delivery, 0);
        int64_t written = sql_integer(f.db, "SELECT total_changes()");
        settle(&f, REST_MS);
        assert_counts(&f, "h", 0, 5000);
        assert_true(sql_integer(f.db, "SELECT total_changes()") - written < 5000 + 5000 + 100); /* with the pruning */
        fixture_close(&f);
    }
}

static void p15_what_has_expired_leaves_the_write_lock_free_as_long_as_it_takes_it(void **unused)
{
    (void)unused;
    for (int delivery = BUSBAR_TRANSACTIONAL; delivery <= BUSBAR_OUTSIDE; delivery++) {
        fixture f;
        handled h = {.count = 0};
        uint64_t wait_us = 0;
        fixture_open(&f);
        sql(f.db, "BEGIN");
        for (int i = 0; i < 2000; i++)
            publish_ttl(f.bus, "a.b", HOUR);
        sql(f.db, "COMMIT");
        busbar_sim_advance(f.sim, US(HOUR));
        subscribe(&f, &h, (busbar_delivery)delivery, 0);
        busbar_sim_tick(f.sim, 50);
        assert_code(f.bus, busbar_step(f.bus, 100, &wait_us), BUSBAR_OK); /* takes the lease, and a first run */
        busbar_sim_advance(f.sim, 10000);
        int64_t before = progress_of(f.bus, "h", BUSBAR_NORMAL).expired;
        assert_code(f.bus, busbar_step(f.bus, 2700, &wait_us), BUSBAR_OK);
        int64_t expired = progress_of(f.bus, "h", BUSBAR_NORMAL).expired;
        assert_in_range(expired - before, 5, 50);
        assert_in_range(wait_us, 500, 4000);
        assert_code(f.bus, busbar_step(f.bus, 100, &wait_us), BUSBAR_OK);
        assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).expired, expired); /* the pause is kept */
        busbar_sim_tick(f.sim, 0);
        settle(&f, REST_MS);
        assert_counts(&f, "h", 0, 2000);
        fixture_close(&f);
    }
}

static void a_handler_has_a_time_to_live_of_its_own(void **unused)
{
    (void)unused;
    for (int delivery = BUSBAR_TRANSACTIONAL; delivery <= BUSBAR_OUTSIDE; delivery++) {
        fixture f;
        handled h = {.count = 0};
        fixture_open(&f);
        publish(f.bus, "a.b");
        busbar_sim_advance(f.sim, US(HOUR));
        publish(f.bus, "a.b");
        subscribe(&f, &h, (busbar_delivery)delivery, HOUR);
        settle(&f, REST_MS);
        assert_counts(&f, "h", 1, 1);
        assert_int_equal(h.seqs[0], 2);
        fixture_close(&f);
    }
}

static void what_nobody_wants_is_filtered_whatever_its_age(void **unused)
{
    (void)unused;
    for (int delivery = BUSBAR_TRANSACTIONAL; delivery <= BUSBAR_OUTSIDE; delivery++) {
        fixture f;
        handled h = {.count = 0};
        busbar_filter wanted = {.op = BUSBAR_FILTER_EXACT, .attribute = "subject", .value = "mine"};
        busbar_handler handler = {.size = sizeof handler,
                                  .name = "h",
                                  .pattern = "a.*",
                                  .fn = handle,
                                  .ctx = &h,
                                  .delivery = (busbar_delivery)delivery,
                                  .start = BUSBAR_START_BEGINNING,
                                  .ttl_ms = HOUR,
                                  .filter = &wanted};
        fixture_open(&f);
        busbar_event event = event_of("a.b");
        publish(f.bus, "c.d");
        publish(f.bus, "a.b");
        event.subject = "mine";
        assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
        busbar_sim_advance(f.sim, US(HOUR));
        assert_code(f.bus, busbar_subscribe(f.bus, &handler, 1), BUSBAR_OK);
        settle(&f, REST_MS);
        assert_counts(&f, "h", 0, 1);
        assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).filtered, 2);
        fixture_close(&f);
    }
}

static void an_event_that_waits_for_retry_expires(void **unused)
{
    (void)unused;
    for (int delivery = BUSBAR_TRANSACTIONAL; delivery <= BUSBAR_OUTSIDE; delivery++) {
        fixture f;
        handled h = {.failures = 1};
        fixture_open(&f);
        publish_ttl(f.bus, "a.b", HOUR);
        subscribe(&f, &h, (busbar_delivery)delivery, 0);
        settle(&f, 100);
        assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).retrying, 1);
        busbar_sim_advance(f.sim, US(HOUR));
        settle(&f, 100);
        assert_int_equal(h.count, 0);
        assert_counts(&f, "h", 0, 1);
        assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).retrying, 0);
        fixture_close(&f);
    }
}

static void p10_handlers_count_over_boots_as_routes_do(void **unused)
{
    (void)unused;
    for (int delivery = BUSBAR_TRANSACTIONAL; delivery <= BUSBAR_OUTSIDE; delivery++) {
        fixture f;
        handled h = {.count = 0};
        fixture_open(&f);
        publish_ttl(f.bus, "a.b", HOUR);
        publish_ttl(f.bus, "a.b", DAY);
        reboot(&f);
        busbar_sim_wall_set(f.sim, BUSBAR_SIM_WALL_MS + 2 * HOUR, BUSBAR_CLOCK_TRUSTED);
        subscribe(&f, &h, (busbar_delivery)delivery, 0);
        settle(&f, REST_MS);
        assert_counts(&f, "h", 1, 1);
        assert_int_equal(h.seqs[0], 2);
        fixture_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smallest_of_event_or_kind_and_route_counts),
        cmocka_unit_test(a_kind_keeps_its_time_to_live_and_registering_anew_changes_it),
        cmocka_unit_test(a_listing_tells_the_time_to_live),
        cmocka_unit_test(out_of_range_is_refused),
        cmocka_unit_test(p10_within_a_boot_only_monotonic_time_counts),
        cmocka_unit_test(p10_a_step_while_draining_expires_nothing_early),
        cmocka_unit_test(p10_over_boots_trusted_wall_time_counts),
        cmocka_unit_test(p10_a_fix_after_the_event_counts_for_it_too),
        cmocka_unit_test(p10_a_wall_clock_that_contradicts_itself_expires_nothing),
        cmocka_unit_test(p10_a_wrong_fix_that_was_just_mended_expires_nothing),
        cmocka_unit_test(p10_an_estimated_clock_expires_nothing),
        cmocka_unit_test(p10_without_any_clock_the_time_that_is_certain_counts),
        cmocka_unit_test(p10_without_a_boot_identity_nothing_expires_for_the_time_of_another_opening),
        cmocka_unit_test(several_boots_offline_then_one_trusted_fix),
        cmocka_unit_test(handlers_get_no_expired_event),
        cmocka_unit_test(a_run_of_expired_events_costs_few_commits),
        cmocka_unit_test(p15_what_has_expired_leaves_the_write_lock_free_as_long_as_it_takes_it),
        cmocka_unit_test(a_handler_has_a_time_to_live_of_its_own),
        cmocka_unit_test(what_nobody_wants_is_filtered_whatever_its_age),
        cmocka_unit_test(an_event_that_waits_for_retry_expires),
        cmocka_unit_test(p10_handlers_count_over_boots_as_routes_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
