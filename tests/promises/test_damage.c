/* SPDX-License-Identifier: MIT */
/*
 * P12: a locked, read-only, removed or replaced database file and damaged pages are told by clear codes; what can go on goes
 * on, the handle comes back when the fault goes, and busbar_check finds what is broken (P8: the equation, too).
 */
#include "fixture.h"

#include <stdio.h>
#include <unistd.h>

#define SECOND_US 1000000u

typedef struct findings {
    size_t count;
    char part[16];
    char text[BUSBAR_DETAIL_SIZE];
    size_t of_part[8];
} findings;

static const char *const parts[] = {"file", "schema", "consumer", "exception", "log", "meta", "given", "lease"};

static int note(const busbar_finding *finding, void *ctx)
{
    findings *all = ctx;
    assert_true(strlen(finding->advice) > 10);
    if (all->count++ == 0) {
        snprintf(all->part, sizeof all->part, "%s", finding->part);
        snprintf(all->text, sizeof all->text, "%s", finding->text);
    }
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        all->of_part[i] += strcmp(parts[i], finding->part) == 0;
    return 0;
}

static findings check(busbar *bus)
{
    findings all = {.count = 0};
    assert_code(bus, busbar_check(bus, note, &all), BUSBAR_OK);
    return all;
}

static busbar_verdict count(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    (void)bus;
    (void)reason;
    if (strcmp(event->type, "a.dead") == 0)
        return BUSBAR_DEAD;
    if (strcmp(event->type, "a.retry") == 0)
        return BUSBAR_RETRY;
    ++*(int *)ctx;
    return BUSBAR_DONE;
}

static void subscribe(busbar *bus, const char *name, int *counter)
{
    busbar_handler handler = {
        .size = sizeof handler, .name = name, .fn = count, .ctx = counter, .start = BUSBAR_START_BEGINNING};
    assert_code(bus, busbar_subscribe(bus, &handler, 1), BUSBAR_OK);
}

static int step(fixture *f)
{
    uint64_t wait_us = 0;
    busbar_sim_advance(f->sim, SECOND_US);
    return busbar_step(f->bus, 100000, &wait_us);
}

static int try_publish(busbar *bus, const char *type, busbar_lane lane)
{
    busbar_event event = event_of(type);
    event.lane = lane;
    return busbar_publish(bus, &event, NULL);
}

/* ---- The file's place ---- */

static void expect_moved(fixture *f)
{
    busbar_status status = {.size = sizeof status};
    assert_code(f->bus, step(f), BUSBAR_EMOVED);
    assert_code(f->bus, busbar_status_get(f->bus, &status), BUSBAR_EMOVED);
    assert_code(f->bus, try_publish(f->bus, "a.b", BUSBAR_NORMAL), BUSBAR_EMOVED);
}

static void a_removed_file_is_told_and_comes_back(void **unused)
{
    (void)unused;
    fixture f;
    int handled = 0;
    char aside[200];
    fixture_open(&f);
    subscribe(f.bus, "h", &handled);
    publish(f.bus, "a.b");
    settle(&f, 50);
    snprintf(aside, sizeof aside, "%s.aside", f.path);
    assert_int_equal(rename(f.path, aside), 0);
    expect_moved(&f);
    assert_int_equal(rename(aside, f.path), 0);
    assert_code(f.bus, try_publish(f.bus, "a.b", BUSBAR_NORMAL), BUSBAR_OK);
    settle(&f, 50);
    assert_int_equal(handled, 2);
    fixture_close(&f);
}

static void a_publisher_without_a_worker_finds_out_within_a_second(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    publish(f.bus, "a.b");
    assert_int_equal(unlink(f.path), 0);
    busbar_sim_advance(f.sim, 2 * SECOND_US);
    publish(f.bus, "a.b"); /* it looks after it has written, so that no caller's transaction holds half of it */
    sql(f.db, "BEGIN");
    assert_code(f.bus, try_publish(f.bus, "a.b", BUSBAR_NORMAL), BUSBAR_EMOVED);
    sql(f.db, "COMMIT"); /* the transaction stays usable */
    fixture_close(&f);
}

static void a_restored_backup_under_an_open_handle_is_told(void **unused)
{
    (void)unused;
    fixture f;
    int handled = 0;
    char backup[200];
    fixture_open(&f);
    subscribe(f.bus, "h", &handled);
    publish(f.bus, "a.b");
    settle(&f, 50);
    snprintf(backup, sizeof backup, "VACUUM INTO '%s.backup'", f.path);
    sql(f.db, backup);
    snprintf(backup, sizeof backup, "%s.backup", f.path);
    assert_int_equal(rename(backup, f.path), 0);
    expect_moved(&f);
    assert_code(f.bus, busbar_close(f.bus), BUSBAR_OK);
    sqlite3_close(f.db);
    f.db = fixture_connect(&f); /* what the text of the code says to do */
    assert_code(NULL, busbar_open(&f.bus, f.db, &f.options, NULL), BUSBAR_OK);
    subscribe(f.bus, "h", &handled);
    publish(f.bus, "a.b");
    settle(&f, 50);
    assert_int_equal(handled, 2);
    fixture_close(&f);
}

/* ---- Read-only, locked ---- */

static void a_file_that_becomes_read_only_is_told_and_comes_back(void **unused)
{
    (void)unused;
    fixture f;
    int handled = 0;
    busbar_status status = {.size = sizeof status};
    fixture_open(&f);
    subscribe(f.bus, "h", &handled);
    publish(f.bus, "a.b");
    sql(f.db, "PRAGMA query_only = 1"); /* SQLITE_READONLY for every write */
    assert_code(f.bus, try_publish(f.bus, "a.b", BUSBAR_NORMAL), BUSBAR_EREADONLY);
    assert_code(f.bus, step(&f), BUSBAR_EREADONLY);
    assert_code(f.bus, busbar_status_get(f.bus, &status), BUSBAR_OK);
    assert_int_equal(check(f.bus).count, 0);
    sql(f.db, "PRAGMA query_only = 0");
    settle(&f, 50);
    assert_int_equal(handled, 1);
    fixture_close(&f);
}

static void a_lock_held_for_long_stops_nothing_for_good(void **unused)
{
    (void)unused;
    fixture f;
    int handled = 0;
    busbar_status status = {.size = sizeof status};
    fixture_open(&f);
    subscribe(f.bus, "h", &handled);
    publish(f.bus, "a.b");
    sqlite3 *other = fixture_connect(&f);
    sql(other, "BEGIN IMMEDIATE");
    for (int minute = 0; minute < 10; minute++) {
        busbar_sim_advance(f.sim, 60u * SECOND_US);
        assert_code(f.bus, step(&f), BUSBAR_OK); /* it is expected: tried again soon */
        assert_code(f.bus, try_publish(f.bus, "a.b", BUSBAR_NORMAL), BUSBAR_ELOCKED);
        assert_code(f.bus, busbar_status_get(f.bus, &status), BUSBAR_OK);
    }
    assert_int_equal(check(f.bus).count, 0);
    assert_int_equal(handled, 0);
    sql(other, "ROLLBACK");
    sqlite3_close(other);
    settle(&f, 50);
    assert_int_equal(handled, 1);
    fixture_close(&f);
}

/* ---- Damaged pages ---- */

static unsigned read_number(const unsigned char *bytes)
{
    return (unsigned)bytes[0] << 24 | (unsigned)bytes[1] << 16 | (unsigned)bytes[2] << 8 | bytes[3];
}

/* The table's first leaf page, by the file format of sqlite.org: the pages above it stay readable. */
static long leaf_of(FILE *file, long page, long page_bytes)
{
    unsigned char head[16];
    for (;;) {
        assert_int_equal(fseek(file, (page - 1) * page_bytes, SEEK_SET), 0);
        assert_int_equal(fread(head, sizeof head, 1, file), 1);
        if (head[0] != 5) /* not an interior page of a table */
            return page;
        unsigned char child[4];
        assert_int_equal(fseek(file, (page - 1) * page_bytes + ((long)head[12] << 8 | head[13]), SEEK_SET), 0);
        assert_int_equal(fread(child, sizeof child, 1, file), 1);
        page = (long)read_number(child);
    }
}

static void overwrite(const char *path, long root, long page_bytes, bool leaf)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    long page = leaf ? leaf_of(file, root, page_bytes) : root;
    assert_int_equal(fseek(file, (page - 1) * page_bytes, SEEK_SET), 0);
    for (long i = 0; i < page_bytes; i++)
        assert_int_equal(fputc(0xA5, file), 0xA5);
    assert_int_equal(fclose(file), 0);
}

/* Closes everything, damages a page of a table, and opens again. */
static void damage(fixture *f, const char *table, bool leaf)
{
    char text[200];
    snprintf(text, sizeof text, "SELECT rootpage FROM sqlite_schema WHERE name = '%s'", table);
    long root = (long)sql_integer(f->db, text);
    long page_bytes = (long)sql_integer(f->db, "PRAGMA page_size");
    assert_code(f->bus, busbar_close(f->bus), BUSBAR_OK);
    assert_int_equal(sqlite3_close(f->db), SQLITE_OK); /* the last one checkpoints */
    overwrite(f->path, root, page_bytes, leaf);
    f->db = fixture_connect(f);
    assert_code(NULL, busbar_open(&f->bus, f->db, &f->options, NULL), BUSBAR_OK);
}

static void publish_many(fixture *f, int count)
{
    sql(f->db, "BEGIN");
    for (int i = 0; i < count; i++)
        publish(f->bus, "a.b");
    sql(f->db, "COMMIT");
}

static void a_damaged_page_of_the_application_leaves_the_bus_alone(void **unused)
{
    (void)unused;
    fixture f;
    int handled = 0;
    fixture_open(&f);
    sql(f.db, "INSERT INTO state VALUES ('a', 1)");
    subscribe(f.bus, "h", &handled);
    damage(&f, "state", false);
    subscribe(f.bus, "h", &handled);
    publish(f.bus, "a.b");
    settle(&f, 50);
    assert_int_equal(handled, 1);
    findings found = check(f.bus);
    assert_true(found.count > 0);
    assert_int_equal(found.of_part[0], found.count);
    fixture_close(&f);
}

static void a_damaged_page_of_the_log_stops_who_needs_it_only(void **unused)
{
    (void)unused;
    fixture f;
    int behind = 0;
    int ahead = 0;
    fixture_open(&f);
    subscribe(f.bus, "behind", &behind);
    fixture_reopen_bus(&f); /* registered, and not running */
    publish_many(&f, 2000);
    subscribe(f.bus, "ahead", &ahead);
    settle(&f, 50);
    assert_int_equal(ahead, 2000);
    damage(&f, "busbar_log_normal", true);
    subscribe(f.bus, "behind", &behind);
    subscribe(f.bus, "ahead", &ahead);
    publish_many(&f, 10);
    for (int i = 0; i < 20; i++)
        assert_code(f.bus, step(&f), BUSBAR_ECORRUPT);
    assert_int_equal(ahead, 2010);
    assert_int_equal(behind, 0);
    assert_int_equal(progress_of(f.bus, "ahead", BUSBAR_NORMAL).delivered, 2010);
    assert_string_equal(check(f.bus).part, "file");
    assert_code(f.bus, busbar_close(f.bus), BUSBAR_OK);
    f.bus = NULL;
    fixture_close(&f);
}

static void damaged_tables_of_the_bus_are_told(void **unused)
{
    (void)unused;
    /* Publishing needs none but the first. */
    static const char *const tables[] = {"busbar_log_urgent", "busbar_consumer", "busbar_cursor", "busbar_exception"};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        fixture f;
        int handled = 0;
        fixture_open(&f);
        subscribe(f.bus, "h", &handled);
        assert_code(f.bus, try_publish(f.bus, "a.retry", BUSBAR_URGENT), BUSBAR_OK);
        settle(&f, 50);
        damage(&f, tables[i], false);
        busbar_handler handler = {.size = sizeof handler, .name = "h", .fn = count, .ctx = &handled};
        int result = busbar_subscribe(f.bus, &handler, 1);
        result = result < 0 ? result : step(&f);
        assert_code(f.bus, result, BUSBAR_ECORRUPT);
        busbar_lane lane = i == 0 ? BUSBAR_URGENT : BUSBAR_NORMAL;
        assert_code(f.bus, try_publish(f.bus, "a.b", lane), i == 0 ? BUSBAR_ECORRUPT : BUSBAR_OK);
        assert_string_equal(check(f.bus).part, "file");
        fixture_close(&f);
    }
}

/* ---- What the rows say ---- */

/* A consumer with events done, dead, waiting for retry and pending; another one that never ran; a given id. */
static void make_busy(fixture *f, int *handled)
{
    static const char *const types[] = {"a.b", "a.dead", "a.retry", "a.b"};
    fixture_open(f);
    subscribe(f->bus, "h", handled);
    subscribe(f->bus, "idle", handled);
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        for (size_t i = 0; i < sizeof types / sizeof *types; i++)
            assert_code(f->bus, try_publish(f->bus, types[i], (busbar_lane)lane), BUSBAR_OK);
    }
    busbar_event given = event_of("a.b");
    given.id = "given-1";
    assert_code(f->bus, busbar_publish(f->bus, &given, NULL), BUSBAR_OK);
    settle(f, 50);
    publish(f->bus, "a.b");
}

static void a_sound_bus_has_no_findings(void **unused)
{
    (void)unused;
    fixture f;
    int handled = 0;
    make_busy(&f, &handled);
    findings found = check(f.bus);
    if (found.count > 0)
        fail_msg("%s: %s", found.part, found.text);
    int64_t changes = sqlite3_total_changes(f.db);
    sql(f.db, "PRAGMA query_only = 1"); /* and the check itself writes nothing */
    assert_int_equal(check(f.bus).count, 0);
    assert_int_equal(sqlite3_total_changes(f.db), changes);
    sql(f.db, "PRAGMA query_only = 0");
    busbar_selector dead = {.size = sizeof dead, .consumer = "h"};
    uint64_t acted = 0;
    assert_code(f.bus, busbar_act(f.bus, &dead, BUSBAR_ACTION_DROP, &acted), BUSBAR_OK);
    assert_true(acted > 0);
    found = check(f.bus);
    if (found.count > 0)
        fail_msg("%s: %s", found.part, found.text);
    fixture_close(&f);
}

typedef struct breakage {
    const char *sql;
    const char *part;
    const char *text;
} breakage;

#define H "(SELECT id FROM busbar_consumer WHERE name = 'h')"

static const breakage breakages[] = {
    {"DROP TABLE busbar_gap", "schema", "busbar_gap"},
    {"DROP TABLE busbar_policy", "schema", "busbar_policy"},
    {"ALTER TABLE busbar_cursor RENAME COLUMN dropped TO dripped", "schema", "dropped"},
    {"DROP INDEX busbar_exception_open", "schema", "busbar_exception_open"},
    {"DELETE FROM busbar_kind WHERE type = 'a.b'", "log", "names the kind"},
    {"DELETE FROM busbar_session", "log", "names the session"},
    {"UPDATE busbar_meta SET watermark_bulk = 99", "meta", "watermark of the lane bulk, 99"},
    {"UPDATE busbar_meta SET next_consumer = 1", "meta", "number 1"},
    {"UPDATE busbar_cursor SET delivered = delivered + 1 WHERE lane = 1 AND consumer = " H, "consumer",
     "consumer h, lane urgent: 4 events passed, but 5"},
    {"UPDATE busbar_cursor SET dropped = 1 WHERE lane = 2 AND consumer = " H, "consumer",
     "consumer h, lane bulk: 0 dead letters should be kept, and 1 are"},
    {"UPDATE busbar_cursor SET cursor = cursor + 90, filtered = filtered + 90 WHERE lane = 2 AND consumer = " H,
     "consumer", "is beyond the newest event"},
    {"UPDATE busbar_cursor SET filtered = -1, delivered = delivered + 1 WHERE lane = 2 AND consumer = " H, "consumer",
     "negative"},
    {"UPDATE busbar_cursor SET cursor = 0, delivered = 0, dead = 0 WHERE lane = 1 AND consumer = " H
     "; DELETE FROM busbar_exception WHERE lane = 1 AND consumer = " H "; DELETE FROM busbar_log_urgent WHERE seq < 3",
     "consumer", "the events 1 to 2 are still to come"},
    {"DELETE FROM busbar_cursor WHERE lane = 0 AND consumer = " H, "consumer", "has 2 cursors"},
    {"INSERT INTO busbar_cursor (consumer, lane, start, cursor) VALUES (77, 0, 0, 0)", "consumer", "77"},
    {"UPDATE busbar_consumer SET owner_boot = NULL WHERE name = 'h'", "lease", "consumer h"},
    {"UPDATE busbar_exception SET consumer = 78 WHERE n = (SELECT min(n) FROM busbar_exception)", "consumer", ""},
    {"UPDATE busbar_exception SET state = 9 WHERE state = 2 AND lane = 0", "exception", "the state 9"},
    {"UPDATE busbar_given SET seq = 500", "given", "'given-1' leads to event 500"},
};

static void every_broken_row_is_found(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof breakages / sizeof *breakages; i++) {
        const breakage *b = &breakages[i];
        fixture f;
        int handled = 0;
        make_busy(&f, &handled);
        sql(f.db, b->sql);
        findings found = check(f.bus);
        if (found.count == 0 || strcmp(found.part, b->part) != 0 || !strstr(found.text, b->text))
            fail_msg("%s: %zu findings, %s: %s", b->sql, found.count, found.part, found.text);
        fixture_close(&f);
    }
}

static int refuse(const busbar_finding *finding, void *ctx)
{
    (void)finding;
    ++*(int *)ctx;
    return 7;
}

static void a_check_can_be_ended_and_refuses_misuse(void **unused)
{
    (void)unused;
    fixture f;
    int handled = 0;
    int told = 0;
    make_busy(&f, &handled);
    assert_int_equal(busbar_check(NULL, refuse, &told), BUSBAR_EINVAL);
    assert_code(f.bus, busbar_check(f.bus, NULL, NULL), BUSBAR_EINVAL);
    sql(f.db, "BEGIN");
    assert_code(f.bus, busbar_check(f.bus, refuse, &told), BUSBAR_ETXN);
    sql(f.db, "COMMIT");
    sql(f.db, "UPDATE busbar_cursor SET delivered = delivered + 1");
    assert_int_equal(busbar_check(f.bus, refuse, &told), 7);
    assert_int_equal(told, 1);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_removed_file_is_told_and_comes_back),
        cmocka_unit_test(a_publisher_without_a_worker_finds_out_within_a_second),
        cmocka_unit_test(a_restored_backup_under_an_open_handle_is_told),
        cmocka_unit_test(a_file_that_becomes_read_only_is_told_and_comes_back),
        cmocka_unit_test(a_lock_held_for_long_stops_nothing_for_good),
        cmocka_unit_test(a_damaged_page_of_the_application_leaves_the_bus_alone),
        cmocka_unit_test(a_damaged_page_of_the_log_stops_who_needs_it_only),
        cmocka_unit_test(damaged_tables_of_the_bus_are_told),
        cmocka_unit_test(a_sound_bus_has_no_findings),
        cmocka_unit_test(every_broken_row_is_found),
        cmocka_unit_test(a_check_can_be_ended_and_refuses_misuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
