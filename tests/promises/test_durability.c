/* SPDX-License-Identifier: MIT */
/* What is synced and when, counted in a VFS: P1 (publishing adds no sync) and P2 (durable before visible). */
#include "fixture.h"
#include "sync_vfs.h"

#include <busbar/loopback.h>
#include <stdio.h>

/* A second connection through the counting VFS, with a bus of its own. */
typedef struct counted {
    fixture f;
    sqlite3 *db;
    busbar *bus;
} counted;

static void counted_open(counted *c, const char *pragmas)
{
    busbar_error error = {.code = 0};
    sync_vfs_register();
    fixture_open(&c->f);
    sql(c->f.db, "PRAGMA journal_mode=DELETE"); /* each case chooses its own */
    assert_int_equal(sqlite3_open_v2(c->f.path, &c->db, SQLITE_OPEN_READWRITE, SYNC_VFS_NAME), SQLITE_OK);
    sql(c->db, pragmas);
    if (busbar_open(&c->bus, c->db, &c->f.options, &error) != BUSBAR_OK)
        fail_msg("%s", error.text);
}

static void counted_close(counted *c)
{
    assert_code(c->bus, busbar_close(c->bus), BUSBAR_OK);
    assert_int_equal(sqlite3_close(c->db), SQLITE_OK);
    fixture_close(&c->f);
}

static const char *const SETTINGS[] = {
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",      "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL",
    "PRAGMA journal_mode=DELETE; PRAGMA synchronous=NORMAL",   "PRAGMA journal_mode=DELETE; PRAGMA synchronous=FULL",
    "PRAGMA journal_mode=TRUNCATE; PRAGMA synchronous=NORMAL", "PRAGMA journal_mode=PERSIST; PRAGMA synchronous=EXTRA",
};
#define SETTING_COUNT (sizeof SETTINGS / sizeof *SETTINGS)

static int64_t syncs_of(counted *c, int events)
{
    sync_vfs_reset();
    for (int i = 0; i < 20; i++) {
        sql(c->db, "BEGIN IMMEDIATE; INSERT INTO state VALUES (hex(randomblob(8)), 1)");
        for (int j = 0; j < events; j++)
            publish(c->bus, "a.b");
        sql(c->db, "COMMIT");
    }
    return sync_vfs_counts().syncs;
}

static void p1_publishing_adds_no_sync(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        counted c;
        counted_open(&c, SETTINGS[i]);
        publish(c.bus, "a.b");
        int64_t without = syncs_of(&c, 0);
        assert_int_equal(syncs_of(&c, 3), without);
        counted_close(&c);
    }
}

/* Everything that was committed when the peer gets its first message has reached the medium. */
typedef struct peer {
    int count;
    int64_t unsynced_bytes;
} peer;

static void receive(const busbar_message *message, void *ctx)
{
    peer *p = ctx;
    (void)message;
    if (p->count++ == 0)
        p->unsynced_bytes = sync_vfs_counts().unsynced_bytes;
}

static void p2_the_log_is_synced_before_the_transport_sees_it(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        counted c;
        peer p = {.count = 0};
        busbar_transport transport;
        busbar_loopback_options options = {.size = sizeof options, .receive = receive, .ctx = &p};
        busbar_route route = {.size = sizeof route, .name = "up", .topic = "t"};
        counted_open(&c, SETTINGS[i]);
        assert_int_equal(busbar_loopback_new(&options, &transport), BUSBAR_OK);
        assert_code(c.bus, busbar_route_add(c.bus, &route, transport), BUSBAR_OK);
        settle_bus(c.bus, c.f.sim, 90);
        sync_vfs_reset();
        for (int j = 0; j < 50; j++)
            publish(c.bus, "a.b");
        if (i == 0)
            assert_true(sync_vfs_counts().unsynced_bytes > 0); /* WAL and NORMAL: the barrier is needed */
        settle_bus(c.bus, c.f.sim, 90);
        assert_int_equal(p.count, 50);
        assert_int_equal(p.unsynced_bytes, 0);
        counted_close(&c);
    }
}

static busbar_verdict check_synced(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    (void)bus, (void)event, (void)reason;
    receive(NULL, ctx);
    return BUSBAR_DONE;
}

static void p2_the_log_is_synced_before_an_outside_handler_sees_it(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        counted c;
        peer p = {.count = 0};
        busbar_handler handler = {
            .size = sizeof handler, .name = "h", .fn = check_synced, .ctx = &p, .delivery = BUSBAR_OUTSIDE};
        counted_open(&c, SETTINGS[i]);
        assert_code(c.bus, busbar_subscribe(c.bus, &handler, 1), BUSBAR_OK);
        settle_bus(c.bus, c.f.sim, 10);
        for (int j = 0; j < 50; j++)
            publish(c.bus, "a.b");
        settle_bus(c.bus, c.f.sim, 10);
        assert_int_equal(p.count, 50);
        assert_int_equal(p.unsynced_bytes, 0);
        counted_close(&c);
    }
}

static void p2_one_sync_serves_a_whole_backlog(void **unused)
{
    (void)unused;
    counted c;
    peer p = {.count = 0};
    busbar_transport transport;
    busbar_loopback_options options = {.size = sizeof options, .receive = receive, .ctx = &p};
    busbar_route route = {.size = sizeof route, .name = "up", .topic = "t", .window = 100};
    counted_open(&c, SETTINGS[0]);
    sql(c.db, "PRAGMA wal_autocheckpoint=0"); /* only the barrier syncs */
    sql(c.db, "BEGIN");
    for (int j = 0; j < 5000; j++)
        publish(c.bus, "a.b");
    sql(c.db, "COMMIT");
    assert_int_equal(busbar_loopback_new(&options, &transport), BUSBAR_OK);
    assert_code(c.bus, busbar_route_add(c.bus, &route, transport), BUSBAR_OK);
    sync_vfs_reset();
    settle_bus(c.bus, c.f.sim, 90);
    assert_int_equal(p.count, 5000);
    assert_int_equal(sync_vfs_counts().syncs, 1);
    counted_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p1_publishing_adds_no_sync),
        cmocka_unit_test(p2_the_log_is_synced_before_the_transport_sees_it),
        cmocka_unit_test(p2_the_log_is_synced_before_an_outside_handler_sees_it),
        cmocka_unit_test(p2_one_sync_serves_a_whole_backlog),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
