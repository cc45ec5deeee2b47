/* SPDX-License-Identifier: MIT */
/* P13: a database of version 1 goes on as if nothing had happened. version_1.sql is what such a one holds. */
#include "fixture.h"

#include <busbar/loopback.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct peer {
    char text[4096]; /* "lane:position:id " for each message */
} peer;

static void receive(const busbar_message *message, void *ctx)
{
    peer *p = ctx;
    size_t length = strlen(p->text);
    snprintf(p->text + length, sizeof p->text - length, "%s ", message->topic);
}

static char *read_all(const char *path)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *text = calloc(1, 65536);
    assert_true(fread(text, 1, 65535, file) > 1000);
    fclose(file);
    return text;
}

/* The fixture's file, with the tables and rows of version 1. */
static void open_version_1(fixture *f)
{
    fixture_open(f);
    char *text = read_all(VERSION_1_SQL);
    sql(f->db, text);
    free(text);
    assert_int_equal(sql_integer(f->db, "SELECT schema_version FROM busbar_meta"), 1);
    fixture_reopen_bus(f);
}

static void add_route(fixture *f, peer *p)
{
    busbar_transport transport;
    const busbar_loopback_options options = {.size = sizeof options, .receive = receive, .ctx = p};
    const busbar_route route = {.size = sizeof route, .name = "up", .topic = "{lane}:{type}:{id}"};
    assert_int_equal(busbar_loopback_new(&options, &transport), BUSBAR_OK);
    assert_code(f->bus, busbar_route_add(f->bus, &route, transport), BUSBAR_OK);
}

static void p13_a_database_of_version_1_is_read_after_migration_only(void **unused)
{
    (void)unused;
    fixture f;
    busbar_status status = {.size = sizeof status};
    open_version_1(&f);
    assert_code(f.bus, busbar_status_get(f.bus, &status), BUSBAR_ESCHEMAOLDER);
    assert_code(f.bus, busbar_migrate(f.bus), BUSBAR_OK);
    assert_code(f.bus, busbar_status_get(f.bus, &status), BUSBAR_OK);
    assert_int_equal(status.schema_version, BUSBAR_SCHEMA_VERSION);
    assert_int_equal(status.head[BUSBAR_NORMAL], 4);
    assert_string_equal(sql_text(f.db, "PRAGMA integrity_check"), "ok");
    fixture_close(&f);
}

static void p13_everything_of_version_1_is_delivered(void **unused)
{
    (void)unused;
    fixture f;
    peer p = {.text = ""};
    busbar_id id;
    open_version_1(&f);
    busbar_event event = event_of("door.closed");
    assert_code(f.bus, busbar_publish(f.bus, &event, &id), BUSBAR_OK); /* migrates */
    assert_int_equal(id.seq, 5);
    add_route(&f, &p);
    settle(&f, 90);
    busbar_sim_advance(f.sim, 1000000);
    settle(&f, 90);
    const char *expected[] = {"normal:door.opened:0zzk8mjyydsxd5ev7cft-n2", /* its retry comes first */
                              "urgent:fire.alarm:0haab6fjc65k551t8y0j-u1", "normal:door.opened:0ze16ecrxf0yeybhe600-n3",
                              "normal:order.placed:order-7", "bulk:log.line:009gt9mmjf1hzg7w2kr4-b1"};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        if (!strstr(p.text, expected[i]))
            fail_msg("%s is missing in: %s", expected[i], p.text);
    }
    assert_null(strstr(p.text, "-n1 ")); /* the dead letter stays one */
    busbar_progress progress = progress_of(f.bus, "up", BUSBAR_NORMAL);
    assert_int_equal(progress.dead, 1);
    assert_int_equal(progress.delivered, 4);
    assert_int_equal(progress.retrying, 0);
    assert_balanced(f.bus, "up");
    fixture_close(&f);
}

static void p13_given_ids_and_dead_letters_of_version_1_are_known(void **unused)
{
    (void)unused;
    fixture f;
    peer p = {.text = ""};
    uint64_t count = 0;
    busbar_id id;
    open_version_1(&f);
    busbar_event event = event_of("order.placed");
    event.source = "/shop";
    event.id = "order-7";
    assert_code(f.bus, busbar_publish(f.bus, &event, &id), BUSBAR_DUPLICATE);
    assert_int_equal(id.seq, 4);
    const busbar_selector selector = {.size = sizeof selector, .consumer = "up", .pattern = "door.#"};
    assert_code(f.bus, busbar_act(f.bus, &selector, BUSBAR_ACTION_RETRY, &count), BUSBAR_OK);
    assert_int_equal(count, 2);
    add_route(&f, &p);
    settle(&f, 90);
    busbar_sim_advance(f.sim, 1000000);
    settle(&f, 90);
    assert_non_null(strstr(p.text, "normal:door.opened:1bwhj24d6aqx729em3er-n1"));
    assert_int_equal(progress_of(f.bus, "up", BUSBAR_NORMAL).dead, 0);
    assert_balanced(f.bus, "up");
    fixture_close(&f);
}

static void p13_a_migration_that_is_rolled_back_leaves_version_1(void **unused)
{
    (void)unused;
    fixture f;
    open_version_1(&f);
    sql(f.db, "BEGIN");
    assert_code(f.bus, busbar_migrate(f.bus), BUSBAR_OK);
    sql(f.db, "ROLLBACK");
    assert_int_equal(sql_integer(f.db, "SELECT schema_version FROM busbar_meta"), 1);
    publish(f.bus, "a.b");
    assert_int_equal(sql_integer(f.db, "SELECT schema_version FROM busbar_meta"), BUSBAR_SCHEMA_VERSION);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p13_a_database_of_version_1_is_read_after_migration_only),
        cmocka_unit_test(p13_everything_of_version_1_is_delivered),
        cmocka_unit_test(p13_given_ids_and_dead_letters_of_version_1_are_known),
        cmocka_unit_test(p13_a_migration_that_is_rolled_back_leaves_version_1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
