/* SPDX-License-Identifier: MIT */
/* P1 (atomic) and P5 (stable identity): the write path through the public interface. */
#include "fixture.h"

#include <stdio.h>

/* ---- P1: an event exists if and only if its transaction or savepoint committed ---- */

static void p1_event_commits_with_the_state(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    sql(f.db, "BEGIN; INSERT INTO state VALUES ('door', 'open')");
    publish(f.bus, "door.opened");
    sql(f.db, "COMMIT");
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_events WHERE type = 'door.opened'"), 1);
    fixture_close(&f);
}

static void p1_rollback_takes_event_and_tables_away(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    sql(f.db, "BEGIN; INSERT INTO state VALUES ('door', 'open')");
    publish(f.bus, "door.opened"); /* makes the tables, too */
    sql(f.db, "ROLLBACK");
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'busbar%'"), 0);
    publish(f.bus, "door.closed");
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_events"), 1);
    assert_string_equal(sql_text(f.db, "SELECT type FROM busbar_events"), "door.closed");
    fixture_close(&f);
}

static void p1_nested_savepoints_decide_each_for_itself(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    sql(f.db, "BEGIN");
    publish(f.bus, "a.kept");
    sql(f.db, "SAVEPOINT one");
    publish(f.bus, "b.undone");
    sql(f.db, "SAVEPOINT two");
    publish(f.bus, "c.undone");
    sql(f.db, "RELEASE two");
    sql(f.db, "ROLLBACK TO one; RELEASE one; SAVEPOINT three");
    publish(f.bus, "d.kept");
    sql(f.db, "RELEASE three; COMMIT");
    assert_string_equal(sql_text(f.db, "SELECT group_concat(type) FROM busbar_events"), "a.kept,d.kept");
    fixture_close(&f);
}

static void p1_an_outer_savepoint_is_a_transaction(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    sql(f.db, "SAVEPOINT outermost");
    publish(f.bus, "a.undone");
    sql(f.db, "ROLLBACK TO outermost; RELEASE outermost");
    publish(f.bus, "b.kept");
    assert_string_equal(sql_text(f.db, "SELECT group_concat(type) FROM busbar_events"), "b.kept");
    fixture_close(&f);
}

static void p1_a_refused_event_leaves_the_transaction_usable(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    sql(f.db, "BEGIN; INSERT INTO state VALUES ('x', 1)");
    busbar_event event = event_with("a.b", "{broken");
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_EJSON);
    publish(f.bus, "a.b");
    sql(f.db, "COMMIT");
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_events"), 1);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM state"), 1);
    fixture_close(&f);
}

static void p1_a_failure_half_way_leaves_no_half_event(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    publish(f.bus, "a.b");
    /* The last write of a publish fails: the event before it must go, too. */
    sql(f.db, "CREATE TRIGGER fails BEFORE INSERT ON busbar_given BEGIN SELECT RAISE(ABORT, 'no'); END");
    busbar_event event = event_of("new.kind");
    event.id = "given";
    sql(f.db, "BEGIN; INSERT INTO state VALUES ('x', 1)");
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_ESQLITE);
    sql(f.db, "COMMIT");
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_ESQLITE);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_events"), 1);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_kind"), 1);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM state"), 1);
    sql(f.db, "DROP TRIGGER fails");
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    fixture_close(&f);
}

/* ---- The trap of the kind cache: a number that a rollback took back ---- */

static void trap_rolled_back_kind_is_not_another_kind(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    assert_code(f.bus, busbar_migrate(f.bus), BUSBAR_OK);
    sqlite3 *other_db;
    busbar *other = fixture_connect_bus(&f, &other_db);

    sql(f.db, "BEGIN; SAVEPOINT s");
    publish(f.bus, "pump.alarm");
    sql(f.db, "ROLLBACK TO s; COMMIT");
    publish(other, "door.opened"); /* takes the number that pump.alarm had for a moment */
    sql(f.db, "BEGIN IMMEDIATE");
    publish(f.bus, "pump.alarm");
    sql(f.db, "COMMIT");
    assert_string_equal(sql_text(f.db, "SELECT group_concat(type) FROM busbar_events"), "door.opened,pump.alarm");

    assert_code(other, busbar_close(other), BUSBAR_OK);
    sqlite3_close(other_db);
    fixture_close(&f);
}

static void trap_rolled_back_kind_registered_ahead(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    assert_code(f.bus, busbar_migrate(f.bus), BUSBAR_OK);
    sqlite3 *other_db;
    busbar *other = fixture_connect_bus(&f, &other_db);
    busbar_kind_desc desc = {.size = sizeof desc, .type = "pump.alarm"};
    busbar_kind kind;
    sql(f.db, "BEGIN");
    assert_code(f.bus, busbar_kind_register(f.bus, &desc, &kind), BUSBAR_OK);
    sql(f.db, "ROLLBACK");
    publish(other, "door.opened");
    busbar_event event = event_of(NULL);
    event.kind = kind;
    sql(f.db, "BEGIN IMMEDIATE");
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    sql(f.db, "COMMIT");
    assert_string_equal(sql_text(f.db, "SELECT group_concat(type) FROM busbar_events"), "door.opened,pump.alarm");
    assert_code(other, busbar_close(other), BUSBAR_OK);
    sqlite3_close(other_db);
    fixture_close(&f);
}

static void trap_rolled_back_session_is_not_another_session(void **unused)
{
    (void)unused;
    fixture f;
    busbar_id mine;
    busbar_id theirs;
    fixture_open(&f);
    assert_code(f.bus, busbar_migrate(f.bus), BUSBAR_OK);
    sqlite3 *other_db;
    busbar *other = fixture_connect_bus(&f, &other_db);
    busbar_event event = event_of("a.b");
    sql(f.db, "BEGIN");
    publish(f.bus, "a.b");
    sql(f.db, "ROLLBACK");
    assert_code(other, busbar_publish(other, &event, &theirs), BUSBAR_OK);
    sql(f.db, "BEGIN");
    assert_code(f.bus, busbar_publish(f.bus, &event, &mine), BUSBAR_OK);
    sql(f.db, "COMMIT");
    assert_string_not_equal(mine.text, theirs.text);
    char query[400];
    snprintf(query, sizeof query, "SELECT count(*) FROM busbar_events WHERE id = '%s' AND seq = 2", mine.text);
    assert_int_equal(sql_integer(f.db, query), 1);
    assert_int_equal(sql_integer(f.db, "SELECT count(DISTINCT id) FROM busbar_events"), 2);
    assert_code(other, busbar_close(other), BUSBAR_OK);
    sqlite3_close(other_db);
    fixture_close(&f);
}

static int statements;

static int count_statement(unsigned event, void *ctx, void *stmt, void *text)
{
    (void)event, (void)ctx, (void)stmt, (void)text;
    statements++;
    return 0;
}

static void a_publisher_that_is_always_in_a_transaction_looks_nothing_up_in_the_end(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    for (int i = 0; i < 4; i++) {
        sql(f.db, "BEGIN IMMEDIATE; INSERT INTO state VALUES (hex(randomblob(8)), 1)");
        statements = 0;
        sqlite3_trace_v2(f.db, SQLITE_TRACE_STMT, count_statement, NULL);
        publish(f.bus, "a.b");
        sqlite3_trace_v2(f.db, 0, NULL, NULL);
        sql(f.db, "COMMIT");
    }
    assert_int_equal(statements, 1); /* the INSERT alone */
    fixture_close(&f);
}

static void trap_two_rollbacks_and_the_session_is_still_stored(void **unused)
{
    (void)unused;
    fixture f;
    busbar_id id;
    fixture_open(&f);
    assert_code(f.bus, busbar_migrate(f.bus), BUSBAR_OK);
    busbar_event event = event_of("a.b");
    for (int i = 0; i < 3; i++) {
        sql(f.db, "BEGIN");
        assert_code(f.bus, busbar_publish(f.bus, &event, &id), BUSBAR_OK);
        sql(f.db, i < 2 ? "ROLLBACK" : "COMMIT");
    }
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_session"), 1);
    assert_string_equal(sql_text(f.db, "SELECT id FROM busbar_events WHERE seq = 1"), id.text);
    fixture_close(&f);
}

/* ---- P5: ids are stable and never used again ---- */

static void p5_the_id_told_is_the_id_stored(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    static const busbar_lane lanes[] = {BUSBAR_NORMAL, BUSBAR_URGENT, BUSBAR_BULK, BUSBAR_NORMAL};
    for (size_t i = 0; i < sizeof lanes / sizeof *lanes; i++) {
        busbar_event event = event_of("a.b");
        event.lane = lanes[i];
        busbar_id id;
        assert_code(f.bus, busbar_publish(f.bus, &event, &id), BUSBAR_OK);
        char query[400];
        snprintf(query, sizeof query, "SELECT lane || seq FROM busbar_events WHERE id = '%s'", id.text);
        char expected[40];
        snprintf(expected, sizeof expected, "%s%d", busbar_lane_name(lanes[i]), i == 3 ? 2 : 1);
        assert_string_equal(sql_text(f.db, query), expected);
    }
    fixture_close(&f);
}

static busbar_verdict done(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    (void)bus, (void)event, (void)reason, (void)ctx;
    return BUSBAR_DONE;
}

static const busbar_handler no_handler = {
    .size = sizeof(busbar_handler), .name = "nothing", .pattern = "no.such", .fn = done};

static void p5_an_empty_log_does_not_start_again(void **unused)
{
    (void)unused;
    fixture f;
    busbar_id before;
    busbar_id after;
    fixture_open_with(&f, (busbar_options){.keep_events = 1});
    busbar_event event = event_of("a.b");
    for (int i = 0; i < 600; i++)
        assert_code(f.bus, busbar_publish(f.bus, &event, &before), BUSBAR_OK);
    sql(f.db, "INSERT INTO busbar_consumer (id, name, class, pattern) VALUES (99, 'done', 2, '#');"
              "INSERT INTO busbar_cursor (consumer, lane, start, cursor) SELECT 99, lane, 0, 600 FROM"
              " (SELECT 0 AS lane UNION SELECT 1 UNION SELECT 2)");
    assert_code(f.bus, busbar_subscribe(f.bus, &no_handler, 1), BUSBAR_OK);
    for (int i = 0; i < 20; i++) {
        settle(&f, 50);
        busbar_sim_advance(f.sim, 200000);
    }
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_log_normal"), 1);
    fixture_reopen_bus(&f);
    assert_code(f.bus, busbar_publish(f.bus, &event, &after), BUSBAR_OK);
    assert_int_equal(after.seq, before.seq + 1);
    fixture_close(&f);
}

static void p5_a_restored_backup_gives_new_ids(void **unused)
{
    (void)unused;
    fixture f;
    busbar_id lost;
    busbar_id again;
    char command[512];
    fixture_open(&f);
    publish(f.bus, "a.b");
    sql(f.db, "PRAGMA wal_checkpoint(TRUNCATE)");
    snprintf(command, sizeof command, "VACUUM INTO '%s/backup.db'", f.directory);
    sql(f.db, command);
    busbar_event event = event_of("a.b");
    fixture_reopen_bus(&f); /* a session that the backup does not know */
    assert_code(f.bus, busbar_publish(f.bus, &event, &lost), BUSBAR_OK);
    assert_code(f.bus, busbar_close(f.bus), BUSBAR_OK);
    sqlite3_close(f.db);

    char backup[200];
    snprintf(backup, sizeof backup, "%s/backup.db", f.directory);
    assert_int_equal(rename(backup, f.path), 0);
    f.db = fixture_connect(&f);
    busbar_sim_random_mode(f.sim, BUSBAR_SIM_RANDOM_CONSTANT); /* a badly seeded generator on top of it */
    busbar_sim_advance(f.sim, 1000);
    busbar_error error;
    assert_int_equal(busbar_open(&f.bus, f.db, &f.options, &error), BUSBAR_OK);
    assert_code(f.bus, busbar_publish(f.bus, &event, &again), BUSBAR_OK);
    assert_int_equal(again.seq, lost.seq);
    assert_string_not_equal(again.text, lost.text);
    fixture_close(&f);
}

static void p5_a_bad_random_generator_repeats_no_id(void **unused)
{
    (void)unused;
    fixture f;
    char ids[8][BUSBAR_ID_MAX + 1];
    fixture_open(&f);
    busbar_sim_random_mode(f.sim, BUSBAR_SIM_RANDOM_CONSTANT);
    busbar_event event = event_of("a.b");
    for (int i = 0; i < 8; i++) {
        busbar_id id;
        fixture_reopen_bus(&f);
        assert_code(f.bus, busbar_publish(f.bus, &event, &id), BUSBAR_OK);
        strcpy(ids[i], id.text);
        ids[i][strcspn(ids[i], "-")] = '\0'; /* the session's part alone */
        for (int j = 0; j < i; j++)
            assert_string_not_equal(ids[i], ids[j]);
    }
    fixture_close(&f);
}

static void p5_without_random_bytes_nothing_is_published(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    busbar_sim_fail(f.sim, BUSBAR_SIM_CALL_RANDOM, 1);
    busbar_event event = event_of("a.b");
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_ERANDOM);
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    fixture_close(&f);
}

/* ---- Ids that the caller gives ---- */

static void given_id_is_stored_once_per_source(void **unused)
{
    (void)unused;
    fixture f;
    busbar_id first;
    busbar_id second;
    fixture_open(&f);
    busbar_event event = event_with("a.b", "1");
    event.id = "order-7";
    assert_code(f.bus, busbar_publish(f.bus, &event, &first), BUSBAR_OK);
    assert_string_equal(first.text, "order-7");
    publish(f.bus, "between");
    event.data = "2";
    event.type = "another.type";
    assert_int_equal(busbar_publish(f.bus, &event, &second), BUSBAR_DUPLICATE);
    assert_int_equal(second.seq, first.seq);
    assert_int_equal(second.lane, first.lane);
    assert_string_equal(second.text, "order-7");
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_events"), 2);
    event.source = "urn:another";
    assert_code(f.bus, busbar_publish(f.bus, &event, &second), BUSBAR_OK);
    assert_int_equal(second.seq, 3);
    fixture_close(&f);
}

static void given_id_rolled_back_is_free_again(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    busbar_event event = event_of("a.b");
    event.id = "order-7";
    sql(f.db, "BEGIN");
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    assert_int_equal(busbar_publish(f.bus, &event, NULL), BUSBAR_DUPLICATE);
    sql(f.db, "ROLLBACK");
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    assert_int_equal(busbar_publish(f.bus, &event, NULL), BUSBAR_DUPLICATE);
    fixture_close(&f);
}

/* ---- Limits: each with its own code, before anything is written ---- */

static char long_text[BUSBAR_SOURCE_MAX + 10];

static void every_field_has_its_own_error(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open_with(&f, (busbar_options){.max_data_bytes = 8});
    memset(long_text, 'a', sizeof long_text - 1);
    const busbar_attribute upper = {.name = "Upper", .string = "x"};
    const busbar_attribute control = {.name = "note", .string = "a\nb"};
    const busbar_attribute core = {.name = "id", .string = "x"};
    const busbar_attribute twice[] = {{.name = "a", .string = "1"}, {.name = "a", .string = "2"}};
    const struct {
        busbar_event event;
        int code;
    } cases[] = {
        {{.type = NULL}, BUSBAR_ETYPE},
        {{.type = ""}, BUSBAR_ETYPE},
        {{.type = "a..b"}, BUSBAR_ETYPE},
        {{.type = "a.*"}, BUSBAR_ETYPE},
        {{.type = "a b"}, BUSBAR_ETYPE},
        {{.type = "a\xff"}, BUSBAR_ETYPE},
        {{.type = long_text}, BUSBAR_ETYPE},
        {{.type = "a", .source = ""}, BUSBAR_ESOURCE},
        {{.type = "a", .source = "two words"}, BUSBAR_ESOURCE},
        {{.type = "a", .source = long_text}, BUSBAR_ESOURCE},
        {{.type = "a", .datacontenttype = "json"}, BUSBAR_ECONTENTTYPE},
        {{.type = "a", .dataschema = "relative/path"}, BUSBAR_EDATASCHEMA},
        {{.type = "a", .id = ""}, BUSBAR_EID},
        {{.type = "a", .id = "a\x01"}, BUSBAR_EID},
        {{.type = "a", .subject = ""}, BUSBAR_ESUBJECT},
        {{.type = "a", .key = ""}, BUSBAR_EKEY},
        {{.type = "a", .time = "yesterday"}, BUSBAR_ETIME},
        {{.type = "a", .data = "123456789", .data_size_bytes = 9}, BUSBAR_EDATASIZE},
        {{.type = "a", .data = "{", .data_size_bytes = 1}, BUSBAR_EJSON},
        {{.type = "a", .data_size_bytes = 1}, BUSBAR_EINVAL},
        {{.type = "a", .lane = (busbar_lane)7}, BUSBAR_ELANE},
        {{.type = "a", .extensions = &upper, .extension_count = 1}, BUSBAR_EEXTENSION},
        {{.type = "a", .extensions = &control, .extension_count = 1}, BUSBAR_EEXTENSION},
        {{.type = "a", .extensions = &core, .extension_count = 1}, BUSBAR_EEXTENSION},
        {{.type = "a", .extensions = twice, .extension_count = 2}, BUSBAR_EEXTENSION},
        {{.kind = {9}}, BUSBAR_EINVAL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        busbar_event event = cases[i].event;
        event.size = sizeof event;
        busbar_id id = {.seq = 77};
        assert_code(f.bus, busbar_publish(f.bus, &event, &id), cases[i].code);
        assert_int_equal(id.seq, 77); /* outputs are untouched on failure */
        busbar_error error;
        busbar_error_get(f.bus, &error);
        assert_int_equal(error.code, cases[i].code);
        assert_true(strlen(error.text) > 10);
    }
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'busbar%'"), 0);
    fixture_close(&f);
}

static void json_fault_is_told_by_position(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    busbar_event event = event_with("a.b", "{\"n\": 01}");
    busbar_error error;
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_EJSON);
    busbar_error_get(f.bus, &error);
    assert_int_equal(error.offset, 7);
    assert_non_null(strstr(error.text, "byte 7"));
    event.datacontenttype = "text/plain";
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    fixture_close(&f);
}

static void require_transaction_refuses_autocommit(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open_with(&f, (busbar_options){.require_transaction = true});
    busbar_event event = event_of("a.b");
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_ENOTXN);
    sql(f.db, "BEGIN");
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    sql(f.db, "COMMIT");
    fixture_close(&f);
}

/* ---- Codes that name what the application has to do ---- */

static void a_locked_database_is_told_apart_from_a_stale_snapshot(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    publish(f.bus, "a.b");
    sqlite3 *other = fixture_connect(&f);
    busbar_event event = event_of("a.b");
    sql(other, "BEGIN IMMEDIATE");
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_ELOCKED);
    sql(other, "COMMIT");
    sql(f.db, "BEGIN; SELECT * FROM state"); /* takes a snapshot */
    sql(other, "INSERT INTO state VALUES ('x', 1)");
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_ESTALE);
    sql(f.db, "ROLLBACK");
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    sqlite3_close(other);
    fixture_close(&f);
}

static void a_value_that_sqlite_refuses_is_told_and_not_stored(void **unused)
{
    (void)unused;
    fixture f;
    static char data[40000];
    fixture_open(&f);
    publish(f.bus, "a.b");
    sqlite3_limit(f.db, SQLITE_LIMIT_LENGTH, 30000);
    memset(data, '7', sizeof data);
    busbar_event event = event_of("a.b");
    event.data = data;
    event.data_size_bytes = sizeof data;
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_EDATASIZE);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_events"), 1);
    publish(f.bus, "a.b");
    fixture_close(&f);
}

static void a_statement_that_is_still_writing_is_not_disturbed(void **unused)
{
    (void)unused;
    fixture f;
    sqlite3_stmt *stmt;
    fixture_open(&f);
    assert_code(f.bus, busbar_migrate(f.bus), BUSBAR_OK);
    sqlite3_prepare_v2(f.db, "INSERT INTO state VALUES ('a', 1), ('b', 2) RETURNING name", -1, &stmt, NULL);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    busbar_event event = event_of("a.b");
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_ETXN);
    while (sqlite3_step(stmt) == SQLITE_ROW)
        ;
    assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM state"), 2);
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    fixture_close(&f);
}

static void a_full_database_is_told_and_recovers(void **unused)
{
    (void)unused;
    fixture f;
    char data[3000];
    fixture_open(&f);
    publish(f.bus, "a.b");
    int64_t pages = sql_integer(f.db, "PRAGMA page_count");
    char limit[64];
    snprintf(limit, sizeof limit, "PRAGMA max_page_count=%d", (int)pages + 2);
    sql(f.db, limit);
    memset(data, '7', sizeof data);
    busbar_event event = event_of("a.b");
    event.data = data;
    event.data_size_bytes = sizeof data;
    int result = BUSBAR_OK;
    for (int i = 0; i < 20 && result == BUSBAR_OK; i++)
        result = busbar_publish(f.bus, &event, NULL);
    assert_code(f.bus, result, BUSBAR_EFULL);
    sql(f.db, "PRAGMA max_page_count=100000");
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p1_event_commits_with_the_state),
        cmocka_unit_test(p1_rollback_takes_event_and_tables_away),
        cmocka_unit_test(p1_nested_savepoints_decide_each_for_itself),
        cmocka_unit_test(p1_an_outer_savepoint_is_a_transaction),
        cmocka_unit_test(p1_a_refused_event_leaves_the_transaction_usable),
        cmocka_unit_test(p1_a_failure_half_way_leaves_no_half_event),
        cmocka_unit_test(trap_rolled_back_kind_is_not_another_kind),
        cmocka_unit_test(trap_rolled_back_kind_registered_ahead),
        cmocka_unit_test(trap_rolled_back_session_is_not_another_session),
        cmocka_unit_test(trap_two_rollbacks_and_the_session_is_still_stored),
        cmocka_unit_test(a_publisher_that_is_always_in_a_transaction_looks_nothing_up_in_the_end),
        cmocka_unit_test(p5_the_id_told_is_the_id_stored),
        cmocka_unit_test(p5_an_empty_log_does_not_start_again),
        cmocka_unit_test(p5_a_restored_backup_gives_new_ids),
        cmocka_unit_test(p5_a_bad_random_generator_repeats_no_id),
        cmocka_unit_test(p5_without_random_bytes_nothing_is_published),
        cmocka_unit_test(given_id_is_stored_once_per_source),
        cmocka_unit_test(given_id_rolled_back_is_free_again),
        cmocka_unit_test(every_field_has_its_own_error),
        cmocka_unit_test(json_fault_is_told_by_position),
        cmocka_unit_test(require_transaction_refuses_autocommit),
        cmocka_unit_test(a_locked_database_is_told_apart_from_a_stale_snapshot),
        cmocka_unit_test(a_value_that_sqlite_refuses_is_told_and_not_stored),
        cmocka_unit_test(a_statement_that_is_still_writing_is_not_disturbed),
        cmocka_unit_test(a_full_database_is_told_and_recovers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
