/* SPDX-License-Identifier: MIT */
/* The relay over the loopback transport: P2 (durable before visible), P3 (at least once), P4 (order), P6 (offline is free). */
#include "fixture.h"

#include <busbar/loopback.h>
#include <malloc.h>
#include <stdio.h>

/* What the peer received. */
typedef struct peer {
    char topics[20000]; /* "topic " of each message */
    char last[8192];    /* payload of the newest */
    int count;
    uint32_t expiry_s;     /* of the newest but for gaps */
    int64_t numbers[5000]; /* the `sequence` of each */
    sqlite3 *watermark_db; /* check that nothing is above the watermark */
} peer;

static void receive(const busbar_message *message, void *ctx)
{
    peer *p = ctx;
    size_t length = strlen(p->topics);
    snprintf(p->topics + length, sizeof p->topics - length, "%s ", message->topic);
    snprintf(p->last, sizeof p->last, "%.*s", (int)message->payload_size_bytes, (const char *)message->payload);
    if (!strstr(message->topic, "busbar.gap"))
        p->expiry_s = message->expiry_s;
    const char *sequence = strstr(p->last, "\"sequence\":\"");
    assert_non_null(sequence);
    p->numbers[p->count++ % 5000] = strtoll(sequence + 12, NULL, 10);
    assert_string_equal(message->content_type, "application/cloudevents+json");
    if (p->watermark_db)
        assert_true(sql_integer(p->watermark_db, "SELECT watermark_normal FROM busbar_meta") >=
                    p->numbers[(p->count - 1) % 5000]);
}

static busbar_transport loopback(peer *p, busbar_loopback_options options)
{
    busbar_transport transport;
    options.size = sizeof options;
    options.receive = receive;
    options.ctx = p;
    assert_int_equal(busbar_loopback_new(&options, &transport), BUSBAR_OK);
    return transport;
}

static busbar_route route_of(const char *name)
{
    return (busbar_route){.size = sizeof(busbar_route), .name = name, .topic = "d/{type}"};
}

static void add(fixture *f, busbar_route route, busbar_transport transport)
{
    assert_code(f->bus, busbar_route_add(f->bus, &route, transport), BUSBAR_OK);
}

/* A loopback has no descriptor: the worker asks to be stepped every 100 ms at rest. */
#define REST_MS 90

static void publish_many(fixture *f, int count)
{
    sql(f->db, "BEGIN");
    for (int i = 0; i < count; i++)
        publish(f->bus, "a.b");
    sql(f->db, "COMMIT");
}

static void everything_arrives_once_in_order_and_is_recorded(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open(&f);
    publish_many(&f, 500); /* before there was a route: a route begins at the beginning */
    add(&f, route_of("up"), loopback(&p, (busbar_loopback_options){.size = 0}));
    publish_many(&f, 500);
    settle(&f, REST_MS);
    busbar_sim_advance(f.sim, 300000); /* the acknowledgement group's delay */
    settle(&f, REST_MS);
    assert_int_equal(p.count, 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(p.numbers[i], i + 1);
    busbar_progress progress = progress_of(f.bus, "up", BUSBAR_NORMAL);
    assert_int_equal(progress.delivered, 1000);
    assert_int_equal(progress.cursor, 1000);
    assert_balanced(f.bus, "up");
    fixture_close(&f);
}

static void p2_the_transport_sees_nothing_above_the_watermark(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open(&f);
    p.watermark_db = f.db;
    add(&f, route_of("up"), loopback(&p, (busbar_loopback_options){.size = 0}));
    for (int i = 0; i < 30; i++) {
        publish_many(&f, 1 + i % 7);
        settle(&f, REST_MS);
    }
    assert_true(p.count > 100);
    fixture_close(&f);
}

static void p2_a_raised_watermark_lets_nothing_newer_through(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open(&f);
    p.watermark_db = f.db;
    busbar_route route = route_of("up");
    route.window = 2;
    busbar_transport transport = loopback(&p, (busbar_loopback_options){.manual_ack = true});
    add(&f, route, transport);
    for (int i = 0; i < 50; i++) {
        publish_many(&f, 3); /* while the watermark still covers some that wait */
        busbar_loopback_ack(transport, SIZE_MAX);
        settle(&f, 0);
    }
    assert_true(p.count > 50);
    fixture_close(&f);
}

static void p6_offline_costs_no_attempt_and_draining_starts_by_itself(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open(&f);
    busbar_transport transport = loopback(&p, (busbar_loopback_options){.link_down = true});
    busbar_route route = route_of("up");
    route.retry.max_attempts = 1;
    add(&f, route, transport);
    publish_many(&f, 100);
    for (int i = 0; i < 1000; i++) { /* weeks pass */
        busbar_sim_advance(f.sim, UINT64_C(3600) * 1000000);
        settle(&f, 0);
    }
    assert_int_equal(p.count, 0);
    busbar_loopback_link(transport, true);
    settle(&f, REST_MS); /* without a publish; at most one look of the worker later */
    busbar_sim_advance(f.sim, 300000);
    settle(&f, REST_MS);
    assert_int_equal(p.count, 100);
    busbar_progress progress = progress_of(f.bus, "up", BUSBAR_NORMAL);
    assert_int_equal(progress.delivered, 100);
    assert_int_equal(progress.dead + progress.retrying, 0);
    fixture_close(&f);
}

static void p3_unacknowledged_messages_are_sent_again_with_the_same_id(void **unused)
{
    (void)unused;
    static peer p;
    char first[sizeof p.last];
    fixture f;
    fixture_open(&f);
    busbar_transport transport = loopback(&p, (busbar_loopback_options){.manual_ack = true, .window = 10});
    busbar_route route = route_of("up");
    route.window = 5;
    add(&f, route, transport);
    publish_many(&f, 20);
    settle(&f, 0);
    assert_int_equal(p.count, 5); /* the window */
    strcpy(first, p.last);
    busbar_loopback_ack(transport, 2);
    settle(&f, 0);
    assert_int_equal(p.count, 7);
    busbar_sim_advance(f.sim, 300000); /* what is acknowledged is recorded, and nothing else */
    settle(&f, 0);
    assert_int_equal(progress_of(f.bus, "up", BUSBAR_NORMAL).cursor, 2);
    busbar_loopback_link(transport, false);
    settle(&f, 0);
    busbar_loopback_link(transport, true);
    settle(&f, 0);
    assert_int_equal(p.count, 12); /* 3 to 7 again */
    assert_int_equal(p.numbers[7], 3);
    assert_int_equal(p.numbers[11], 7);
    busbar_loopback_ack(transport, SIZE_MAX);
    for (int i = 0; i < 20; i++) {
        settle(&f, 0);
        busbar_loopback_ack(transport, SIZE_MAX);
        busbar_sim_advance(f.sim, 300000);
    }
    assert_int_equal(progress_of(f.bus, "up", BUSBAR_NORMAL).delivered, 20);
    assert_int_equal(p.count, 25);
    assert_non_null(strstr(first, "0000000000000000005"));
    assert_balanced(f.bus, "up");
    fixture_close(&f);
}

/* A worker that is gone without a word: nothing it had in memory was recorded. */
static void p3_a_kill_repeats_at_most_window_and_group(void **unused)
{
    (void)unused;
    enum { WINDOW = 10, GROUP = 20, TOTAL = 400 };
    static peer before;
    static peer after;
    fixture f;
    fixture_open(&f);
    busbar_route route = route_of("up");
    route.window = WINDOW;
    route.ack_group = GROUP;
    route.ack_delay_ms = 1000000;
    publish_many(&f, TOTAL);
    sqlite3 *db;
    busbar *killed = fixture_connect_bus(&f, &db);
    busbar_transport transport = loopback(&before, (busbar_loopback_options){.size = 0});
    assert_code(killed, busbar_route_add(killed, &route, transport), BUSBAR_OK);
    for (int i = 0; i < 57; i++) {
        uint64_t wait_us;
        busbar_sim_advance(f.sim, 1000);
        assert_code(killed, busbar_step(killed, 0, &wait_us), BUSBAR_OK);
    }
    assert_in_range(before.count, GROUP, TOTAL - 1);
    int64_t recorded = sql_integer(f.db, "SELECT cursor FROM busbar_cursor WHERE lane = 0");
    assert_true(before.count - recorded <= WINDOW + GROUP);
    assert_int_equal(busbar_sim_worker_gone(f.sim, "worker-1"), BUSBAR_OK);
    assert_int_equal(busbar_sim_worker_set(f.sim, "worker-2"), BUSBAR_OK);
    fixture_reopen_bus(&f);
    add(&f, route, loopback(&after, (busbar_loopback_options){.size = 0}));
    settle(&f, REST_MS);
    assert_int_equal(after.numbers[0], recorded + 1);
    assert_int_equal(after.numbers[after.count - 1], TOTAL);
    assert_true(before.count + after.count <= TOTAL + WINDOW + GROUP);
    assert_code(killed, busbar_close(killed), BUSBAR_OK);
    sqlite3_close(db);
    fixture_close(&f);
}

/* The oldest message stays unacknowledged while those behind it are settled. */
static void p3_acknowledgements_out_of_order_keep_the_bound(void **unused)
{
    (void)unused;
    enum { WINDOW = 10, GROUP = 20 };
    static peer p;
    fixture f;
    fixture_open(&f);
    busbar_transport transport = loopback(&p, (busbar_loopback_options){.manual_ack = true, .window = 1000});
    busbar_route route = route_of("up");
    route.window = WINDOW;
    route.ack_group = GROUP;
    add(&f, route, transport);
    publish_many(&f, 200);
    for (int i = 0; i < 60; i++) {
        settle(&f, 0);
        for (uint64_t token = 2; token <= 200; token++)
            (void)busbar_loopback_ack_token(transport, token);
        busbar_sim_advance(f.sim, 300000);
    }
    assert_int_equal(progress_of(f.bus, "up", BUSBAR_NORMAL).cursor, 0);
    assert_in_range(p.count, WINDOW, WINDOW + GROUP);
    for (int i = 0; i < 60; i++) {
        busbar_loopback_ack(transport, SIZE_MAX);
        busbar_sim_advance(f.sim, 300000);
        settle(&f, 0);
    }
    assert_int_equal(progress_of(f.bus, "up", BUSBAR_NORMAL).delivered, 200);
    assert_int_equal(p.count, 200);
    fixture_close(&f);
}

static void p4_urgent_overtakes_a_backlog_and_lanes_keep_their_order(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open(&f);
    publish_many(&f, 50);
    busbar_event event = event_of("fire.alarm");
    event.lane = BUSBAR_URGENT;
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    add(&f, route_of("up"), loopback(&p, (busbar_loopback_options){.size = 0}));
    settle(&f, REST_MS);
    assert_int_equal(strncmp(p.topics, "d/fire.alarm d/a.b ", 19), 0);
    assert_int_equal(p.count, 51);
    fixture_close(&f);
}

/* For transports that have something unsettled for good: those never let the bus rest. */
static void step_a_while(fixture *f)
{
    for (int i = 0; i < 50; i++) {
        uint64_t wait_us;
        assert_code(f->bus, busbar_step(f->bus, 1000, &wait_us), BUSBAR_OK);
        busbar_sim_advance(f->sim, 1000);
    }
}

/* The backlog was made durable when the link was up; the urgent event was not, and must not wait behind it for that. */
static void p4_urgent_overtakes_a_backlog_that_is_durable_already(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open(&f);
    busbar_transport transport = loopback(&p, (busbar_loopback_options){.manual_ack = true});
    busbar_route route = route_of("up");
    route.window = 5;
    publish_many(&f, 50);
    add(&f, route, transport);
    step_a_while(&f);
    assert_int_equal(p.count, 5);
    busbar_event event = event_of("fire.alarm");
    event.lane = BUSBAR_URGENT;
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    p.topics[0] = '\0';
    busbar_loopback_ack(transport, 1);
    step_a_while(&f);
    assert_string_equal(p.topics, "d/fire.alarm ");
    fixture_close(&f);
}

/* ---- P9: nothing grows with the backlog, and nothing pins the WAL ---- */

static void assert_nothing_open(const fixture *f)
{
    assert_int_equal(sqlite3_txn_state(f->db, "main"), SQLITE_TXN_NONE);
    for (sqlite3_stmt *stmt = sqlite3_next_stmt(f->db, NULL); stmt; stmt = sqlite3_next_stmt(f->db, stmt)) {
        if (sqlite3_stmt_busy(stmt))
            fail_msg("left open: %s", sqlite3_sql(stmt));
    }
}

static void p9_no_statement_is_open_while_the_network_is_waited_for(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open(&f);
    busbar_transport transport = loopback(&p, (busbar_loopback_options){.manual_ack = true});
    busbar_loopback_refusal refusal = {.size = sizeof refusal, .count = 3};
    busbar_route route = route_of("up");
    route.window = 7;
    assert_int_equal(busbar_loopback_refuse(transport, &refusal), BUSBAR_OK);
    add(&f, route, transport);
    publish_many(&f, 200);
    for (int i = 0; i < 300; i++) {
        uint64_t wait_us;
        assert_code(f.bus, busbar_step(f.bus, 1000, &wait_us), BUSBAR_OK);
        assert_nothing_open(&f);
        busbar_loopback_ack(transport, (size_t)(i % 9));
        if (i % 50 == 20)
            busbar_loopback_link(transport, i % 100 == 20);
        busbar_sim_advance(f.sim, 50000);
    }
    assert_int_equal(sql_integer(f.db, "PRAGMA wal_checkpoint(TRUNCATE)"), 0); /* 0: nobody was in the way */
    assert_balanced(f.bus, "up");
    fixture_close(&f);
}

/* Peak heap in bytes of a drain of `count` events, as far as the C library tells. */
static size_t peak_heap;

static void receive_and_measure(const busbar_message *message, void *ctx)
{
    (void)message;
    size_t used = mallinfo2().uordblks;
    peak_heap = used > peak_heap ? used : peak_heap;
    ++*(int *)ctx;
}

static size_t heap_of_drain(int count)
{
    int received = 0;
    busbar_transport transport;
    busbar_loopback_options options = {.size = sizeof options, .receive = receive_and_measure, .ctx = &received};
    fixture f;
    fixture_open(&f);
    publish_many(&f, count);
    sql(f.db, "PRAGMA cache_size=50"); /* SQLite's page cache is the application's to size */
    peak_heap = 0;
    assert_int_equal(busbar_loopback_new(&options, &transport), BUSBAR_OK);
    add(&f, route_of("up"), transport);
    settle(&f, REST_MS);
    assert_int_equal(received, count);
    fixture_close(&f);
    return peak_heap;
}

static void p9_memory_does_not_grow_with_the_backlog(void **unused)
{
    (void)unused;
    size_t small = heap_of_drain(10000); /* enough to fill the page cache */
    size_t large = heap_of_drain(100000);
    assert_in_range(large, 0, small + 65536);
}

/* ---- Outcomes ---- */

static void refusals_are_dead_or_tried_again_and_block_nothing(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open(&f);
    busbar_transport transport = loopback(&p, (busbar_loopback_options){.size = 0});
    busbar_loopback_refusal dead = {.size = sizeof dead,
                                    .topic = "d/a.dead",
                                    .verdict = BUSBAR_REFUSED_DEAD,
                                    .code = 0x90,
                                    .text = "topic name invalid"};
    busbar_loopback_refusal retry = {.size = sizeof retry, .topic = "d/a.retry", .count = 2, .text = "quota exceeded"};
    assert_int_equal(busbar_loopback_refuse(transport, &dead), BUSBAR_OK);
    assert_int_equal(busbar_loopback_refuse(transport, &retry), BUSBAR_OK);
    add(&f, route_of("up"), transport);
    publish(f.bus, "a.dead");
    publish(f.bus, "a.retry");
    publish(f.bus, "a.good");
    settle(&f, REST_MS);
    for (int i = 0; i < 50; i++) {
        busbar_sim_advance(f.sim, 200000);
        settle(&f, REST_MS);
    }
    assert_string_equal(p.topics, "d/a.good d/a.retry ");
    busbar_progress progress = progress_of(f.bus, "up", BUSBAR_NORMAL);
    assert_int_equal(progress.delivered, 2);
    assert_int_equal(progress.dead, 1);
    assert_int_equal(progress.retrying, 0);
    assert_string_equal(sql_text(f.db, "SELECT reason FROM busbar_exception WHERE state = 3"), "topic name invalid");
    assert_balanced(f.bus, "up");
    fixture_close(&f);
}

static void a_route_recovers_from_the_bound_of_exceptions(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open(&f);
    busbar_transport transport = loopback(&p, (busbar_loopback_options){.size = 0});
    busbar_loopback_refusal refusal = {.size = sizeof refusal, .topic = "d/a.b", .text = "quota exceeded"};
    assert_int_equal(busbar_loopback_refuse(transport, &refusal), BUSBAR_OK);
    busbar_route route = route_of("up");
    route.retry = (busbar_retry){.base_ms = 10000, .cap_ms = 10000, .max_attempts = 1000000};
    add(&f, route, transport);
    publish_many(&f, 1200);
    for (int i = 0; i < 20; i++) {
        settle(&f, REST_MS);
        busbar_sim_advance(f.sim, 300000);
    }
    assert_int_equal(progress_of(f.bus, "up", BUSBAR_NORMAL).retrying, 1000);
    busbar_event urgent = event_of("fire.alarm");
    urgent.lane = BUSBAR_URGENT;
    assert_code(f.bus, busbar_publish(f.bus, &urgent, NULL), BUSBAR_OK);
    for (int i = 0; i < 20; i++) {
        settle(&f, REST_MS);
        busbar_sim_advance(f.sim, 300000);
    }
    assert_int_equal(progress_of(f.bus, "up", BUSBAR_URGENT).delivered, 1); /* the lane that stands still is alone */
    busbar_loopback_accept(transport);
    for (int i = 0; i < 400; i++) {
        settle(&f, REST_MS);
        busbar_sim_advance(f.sim, 300000);
    }
    assert_int_equal(progress_of(f.bus, "up", BUSBAR_NORMAL).delivered, 1200);
    assert_balanced(f.bus, "up");
    fixture_close(&f);
}

static void an_oversize_event_is_dead_at_once_and_the_next_passes(void **unused)
{
    (void)unused;
    static peer p;
    char data[400];
    fixture f;
    fixture_open(&f);
    memset(data, '1', sizeof data);
    busbar_event event = event_of("a.large");
    event.data = data;
    event.data_size_bytes = sizeof data;
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    publish(f.bus, "a.small");
    add(&f, route_of("up"), loopback(&p, (busbar_loopback_options){.max_message_bytes = 350}));
    settle(&f, REST_MS);
    busbar_sim_advance(f.sim, 300000);
    settle(&f, REST_MS);
    assert_string_equal(p.topics, "d/a.small ");
    assert_int_equal(progress_of(f.bus, "up", BUSBAR_NORMAL).dead, 1);
    assert_balanced(f.bus, "up");
    fixture_close(&f);
}

static void a_pattern_filters_and_a_run_of_filtered_events_needs_no_memory(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open(&f);
    busbar_route route = route_of("up");
    route.pattern = "*.wanted";
    route.window = 1;
    route.ack_group = 1;
    add(&f, route, loopback(&p, (busbar_loopback_options){.size = 0}));
    publish_many(&f, 3000);
    publish(f.bus, "a.wanted");
    publish_many(&f, 10);
    for (int i = 0; i < 30; i++) {
        settle(&f, REST_MS);
        busbar_sim_advance(f.sim, 300000);
    }
    assert_int_equal(p.count, 1);
    busbar_progress progress = progress_of(f.bus, "up", BUSBAR_NORMAL);
    assert_int_equal(progress.filtered, 3010);
    assert_int_equal(progress.delivered, 1);
    assert_balanced(f.bus, "up");
    fixture_close(&f);
}

static void rate_limit_spreads_messages_over_time(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open(&f);
    busbar_route route = route_of("up");
    route.rate_per_s = 50;
    add(&f, route, loopback(&p, (busbar_loopback_options){.size = 0}));
    publish_many(&f, 1000);
    for (int i = 0; i < 4000; i++) { /* four seconds */
        uint64_t wait_us;
        assert_code(f.bus, busbar_step(f.bus, 1000, &wait_us), BUSBAR_OK);
        busbar_sim_advance(f.sim, 1000);
    }
    assert_in_range(p.count, 195, 210);
    fixture_close(&f);
}

static void time_to_live_becomes_expiry_and_ends_events(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open(&f);
    busbar_transport transport = loopback(&p, (busbar_loopback_options){.link_down = true});
    add(&f, route_of("up"), transport);
    busbar_event event = event_of("a.short");
    event.ttl_ms = 5000;
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    event.type = "a.long";
    event.ttl_ms = 60000;
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    busbar_sim_advance(f.sim, 10500000);
    busbar_sim_wall_step(f.sim, INT64_C(-315360000000)); /* ten years back changes nothing */
    busbar_loopback_link(transport, true);
    settle(&f, REST_MS);
    busbar_sim_advance(f.sim, 300000);
    settle(&f, REST_MS);
    assert_string_equal(p.topics, "d/a.long d/busbar.gap ");
    assert_in_range(p.expiry_s, 49, 50);
    assert_int_equal(progress_of(f.bus, "up", BUSBAR_NORMAL).expired, 1);
    assert_balanced(f.bus, "up");
    fixture_close(&f);
}

/* ---- What goes out ---- */

static void data_goes_out_byte_for_byte(void **unused)
{
    (void)unused;
    static const char *const data[] = {"9007199254740993",  "1.0",   "\"x\\u0000y\"",
                                       "{\"a\":1,\"a\":2}", "1e400", " [ ] "};
    static peer p;
    fixture f;
    fixture_open(&f);
    add(&f, route_of("up"), loopback(&p, (busbar_loopback_options){.size = 0}));
    for (size_t i = 0; i < sizeof data / sizeof *data; i++) {
        char expected[64];
        busbar_event event = event_with("a.b", data[i]);
        assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
        settle(&f, REST_MS);
        snprintf(expected, sizeof expected, "\"data\":%s}", data[i]);
        assert_non_null(strstr(p.last, expected));
    }
    busbar_event event = event_of("a.b");
    event.data = "\x00\xff\x10";
    event.data_size_bytes = 3;
    event.datacontenttype = "application/octet-stream";
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    settle(&f, REST_MS);
    assert_non_null(strstr(p.last, "\"data_base64\":\"AP8Q\""));
    event.datacontenttype = NULL;
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_EJSON);
    event.binary = true;
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    settle(&f, REST_MS);
    assert_non_null(strstr(p.last, "\"data_base64\":\"AP8Q\""));
    fixture_close(&f);
}

static void every_attribute_goes_out(void **unused)
{
    (void)unused;
    static peer p;
    static const busbar_attribute extensions[] = {
        {.name = "traceparent", .string = "00-ab-cd-01"},
        {.name = "severity", .type = BUSBAR_ATTRIBUTE_INTEGER, .integer = -7},
        {.name = "simulated", .type = BUSBAR_ATTRIBUTE_BOOLEAN, .integer = 1},
    };
    fixture f;
    fixture_open(&f);
    busbar_route route = route_of("up");
    route.topic = "dev/{source}/{type}/{subject}/{key}/{lane}/{id}";
    add(&f, route, loopback(&p, (busbar_loopback_options){.size = 0}));
    busbar_event event = event_with("a.b", "{}");
    event.source = "/sensors/1";
    event.id = "id+1";
    event.subject = "s \"quoted\" \\";
    event.key = "k";
    event.time = "2020-02-29T12:00:00.123456789Z";
    event.dataschema = "urn:schema:1";
    event.datacontenttype = "application/json; charset=utf-8";
    event.extensions = extensions;
    event.extension_count = 3;
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    settle(&f, REST_MS);
    assert_string_equal(p.topics, "dev//sensors/1/a.b/s \"quoted\" \\/k/normal/id%2B1 ");
    static const char *const parts[] = {
        "\"specversion\":\"1.0\"",
        "\"id\":\"id+1\"",
        "\"source\":\"/sensors/1\"",
        "\"type\":\"a.b\"",
        "\"subject\":\"s \\\"quoted\\\" \\\\\"",
        "\"time\":\"2020-02-29T12:00:00.123456789Z\"",
        "\"dataschema\":\"urn:schema:1\"",
        "\"datacontenttype\":\"application/json; charset=utf-8\"",
        "\"partitionkey\":\"k\"",
        "\"traceparent\":\"00-ab-cd-01\"",
        "\"severity\":-7",
        "\"simulated\":true",
        "\"data\":{}",
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (!strstr(p.last, parts[i]))
            fail_msg("%s is not in %s", parts[i], p.last);
    }
    fixture_close(&f);
}

/* ---- P10, as far as a route shows it ---- */

static void p10_an_event_from_before_the_clock_was_set_gets_its_time(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open(&f);
    busbar_sim_wall_quality(f.sim, BUSBAR_CLOCK_UNKNOWN);
    busbar_transport transport = loopback(&p, (busbar_loopback_options){.link_down = true});
    add(&f, route_of("up"), transport);
    publish(f.bus, "a.b");
    busbar_sim_advance(f.sim, 10000000);
    settle(&f, 0);
    busbar_sim_wall_set(f.sim, INT64_C(1770000010000), BUSBAR_CLOCK_TRUSTED);
    settle(&f, 0);
    busbar_loopback_link(transport, true);
    settle(&f, REST_MS);
    assert_non_null(strstr(p.last, "\"time\":\"2026-02-02T02:40:00."));
    fixture_close(&f);
}

/* ---- Registration ---- */

static void bad_routes_are_refused_and_their_transport_is_stopped(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open(&f);
    busbar_route route = route_of("up");
    route.topic = "d/+/{type}";
    assert_code(f.bus, busbar_route_add(f.bus, &route, loopback(&p, (busbar_loopback_options){.size = 0})),
                BUSBAR_ETOPIC);
    route = route_of("up");
    route.pattern = "a.#b";
    assert_code(f.bus, busbar_route_add(f.bus, &route, loopback(&p, (busbar_loopback_options){.size = 0})),
                BUSBAR_EPATTERN);
    route = route_of("");
    assert_code(f.bus, busbar_route_add(f.bus, &route, loopback(&p, (busbar_loopback_options){.size = 0})),
                BUSBAR_ENAME);
    route = route_of("up");
    route.window = 70000;
    assert_code(f.bus, busbar_route_add(f.bus, &route, loopback(&p, (busbar_loopback_options){.size = 0})),
                BUSBAR_EINVAL);
    add(&f, route_of("up"), loopback(&p, (busbar_loopback_options){.size = 0}));
    route = route_of("up");
    assert_code(f.bus, busbar_route_add(f.bus, &route, loopback(&p, (busbar_loopback_options){.size = 0})),
                BUSBAR_EEXISTS);
    fixture_reopen_bus(&f);
    busbar_handler handler = {.size = sizeof handler, .name = "up", .fn = (busbar_handler_fn *)(uintptr_t)receive};
    assert_code(f.bus, busbar_subscribe(f.bus, &handler, 1), BUSBAR_ECLASS);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_arrives_once_in_order_and_is_recorded),
        cmocka_unit_test(p2_the_transport_sees_nothing_above_the_watermark),
        cmocka_unit_test(p2_a_raised_watermark_lets_nothing_newer_through),
        cmocka_unit_test(p6_offline_costs_no_attempt_and_draining_starts_by_itself),
        cmocka_unit_test(p3_unacknowledged_messages_are_sent_again_with_the_same_id),
        cmocka_unit_test(p3_a_kill_repeats_at_most_window_and_group),
        cmocka_unit_test(p3_acknowledgements_out_of_order_keep_the_bound),
        cmocka_unit_test(p4_urgent_overtakes_a_backlog_and_lanes_keep_their_order),
        cmocka_unit_test(p4_urgent_overtakes_a_backlog_that_is_durable_already),
        cmocka_unit_test(p9_no_statement_is_open_while_the_network_is_waited_for),
        cmocka_unit_test(p9_memory_does_not_grow_with_the_backlog),
        cmocka_unit_test(refusals_are_dead_or_tried_again_and_block_nothing),
        cmocka_unit_test(a_route_recovers_from_the_bound_of_exceptions),
        cmocka_unit_test(an_oversize_event_is_dead_at_once_and_the_next_passes),
        cmocka_unit_test(a_pattern_filters_and_a_run_of_filtered_events_needs_no_memory),
        cmocka_unit_test(rate_limit_spreads_messages_over_time),
        cmocka_unit_test(time_to_live_becomes_expiry_and_ends_events),
        cmocka_unit_test(data_goes_out_byte_for_byte),
        cmocka_unit_test(every_attribute_goes_out),
        cmocka_unit_test(p10_an_event_from_before_the_clock_was_set_gets_its_time),
        cmocka_unit_test(bad_routes_are_refused_and_their_transport_is_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
