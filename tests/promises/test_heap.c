/* SPDX-License-Identifier: MIT */
/*
 * P9, memory: what a handle, a kind, a subscription and a route take from the heap, that a drain needs the same whatever
 * the backlog, and that closing gives all of it back. What SQLite takes is
 * a figure of its own. Prints them as "# " lines.
 */
#include "fixture.h"

#include <busbar/loopback.h>
#include <stdio.h>

#include "heap.h"

/* What prepared statements and the schema hold in SQLite; its page cache is the application's to size. */
static int64_t sqlite_bytes(sqlite3 *db)
{
    int statements = 0;
    int schema = 0;
    int highest = 0;
    sqlite3_db_status(db, SQLITE_DBSTATUS_STMT_USED, &statements, &highest, 0);
    sqlite3_db_status(db, SQLITE_DBSTATUS_SCHEMA_USED, &schema, &highest, 0);
    return (int64_t)statements + schema;
}

typedef struct stage {
    int64_t used_bytes;
    int64_t sqlite_bytes;
} stage;

static stage now(const fixture *f)
{
    return (stage){heap_used_bytes(), sqlite_bytes(f->db)};
}

static stage tell(const char *what, const fixture *f, stage before)
{
    stage after = now(f);
    printf("# heap: %-44s %7lld  in SQLite %7lld\n", what, (long long)(after.used_bytes - before.used_bytes),
           (long long)(after.sqlite_bytes - before.sqlite_bytes));
    return after;
}

static busbar_verdict done(busbar *bus, const busbar_record *record, busbar_reason *reason, void *ctx)
{
    (void)bus;
    (void)record;
    (void)reason;
    (void)ctx;
    return BUSBAR_DONE;
}

static busbar_transport loopback(void)
{
    busbar_loopback_options options = {.size = sizeof options};
    busbar_transport transport;
    assert_int_equal(busbar_loopback_new(&options, &transport), BUSBAR_OK);
    return transport;
}

static void add_route(fixture *f, const char *name, uint32_t window, uint32_t ack_group, busbar_transport transport)
{
    busbar_route route = {.size = sizeof route, .name = name, .topic = "d/{type}", .window = window};
    route.ack_group = ack_group;
    assert_code(f->bus, busbar_route_add(f->bus, &route, transport), BUSBAR_OK);
}

static void publish_data(fixture *f, int events)
{
    static char data[201];
    memset(data, '7', sizeof data - 1);
    busbar_event event = event_with("a.b", data);
    sql(f->db, "BEGIN");
    for (int i = 0; i < events; i++)
        assert_code(f->bus, busbar_publish(f->bus, &event, NULL), BUSBAR_OK);
    sql(f->db, "COMMIT");
}

/* The most that is taken while so many events are relayed and handled, above what is taken at rest. */
static int64_t drain_peak(fixture *f, int events)
{
    publish_data(f, events);
    heap_peak_restart();
    int64_t rest = heap_used_bytes();
    settle(f, 90);
    busbar_sim_advance(f->sim, 300000);
    settle(f, 90);
    assert_balanced(f->bus, "up");
    assert_int_equal(progress_of(f->bus, "up", BUSBAR_NORMAL).cursor,
                     progress_of(f->bus, "local", BUSBAR_NORMAL).cursor);
    return heap_peak_bytes() - rest;
}

static void p9_heap_does_not_grow_with_the_backlog(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    assert_code(f.bus, busbar_close(f.bus), BUSBAR_OK);
    int64_t empty = heap_used_bytes();
    stage at = now(&f);
    assert_int_equal(busbar_open(&f.bus, f.db, &f.options, NULL), BUSBAR_OK);
    at = tell("an open handle", &f, at);
    publish_data(&f, 1);
    at = tell("and its first publish", &f, at);
    publish(f.bus, "c.d");
    at = tell("and another kind", &f, at);
    busbar_handler handler = {.size = sizeof handler, .name = "local", .pattern = "#", .fn = done};
    handler.start = BUSBAR_START_BEGINNING;
    assert_code(f.bus, busbar_subscribe(f.bus, &handler, 1), BUSBAR_OK);
    at = tell("and a subscription", &f, at);
    busbar_transport transports[2] = {loopback(), loopback()};
    at = now(&f);
    add_route(&f, "up", 0, 0, transports[0]);
    at = tell("and a route: window 20, group 100", &f, at);
    add_route(&f, "small", 4, 4, transports[1]);
    at = tell("and a route: window 4, group 4", &f, at);
    drain_peak(&f, 10);
    at = tell("and what stays after a first drain", &f, at);

    int64_t few = drain_peak(&f, 1000);
    int64_t many = drain_peak(&f, 20000);
    printf("# heap: %-44s %7lld  for 1,000 events\n# heap: %-44s %7lld  for 20,000\n", "peak of a drain, above that",
           (long long)few, "", (long long)many);
    tell("growth over all drains", &f, at);
    assert_true(many <= few + 256); /* not a byte per event */
    assert_true(heap_used_bytes() - at.used_bytes <= 256);
    assert_code(f.bus, busbar_close(f.bus), BUSBAR_OK);
    printf("# heap: after closing %lld\n", (long long)(heap_used_bytes() - empty));
    assert_int_equal(heap_used_bytes(), empty);
    assert_int_equal(busbar_open(&f.bus, f.db, &f.options, NULL), BUSBAR_OK);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(p9_heap_does_not_grow_with_the_backlog)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
