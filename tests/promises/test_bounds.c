/* SPDX-License-Identifier: MIT */
/* P9 (bounded) and P8 (no silent loss): limits on bytes, events and age, held by the publisher itself. */
#include "fixture.h"

#include <stdio.h>
#include <sys/stat.h>

#define KIB 1024u

static busbar_options options_of(uint64_t max_bytes)
{
    return (busbar_options){.size = sizeof(busbar_options), .max_bytes = max_bytes};
}

static busbar_verdict done(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    (void)bus, (void)event, (void)reason, (void)ctx;
    return BUSBAR_DONE;
}

static const busbar_handler READER = {.size = sizeof(busbar_handler), .name = "reader", .fn = done};

static int publish_in(busbar *bus, busbar_lane lane, size_t size_bytes)
{
    static char data[200000];
    memset(data, 'x', sizeof data);
    data[0] = data[size_bytes - 1] = '"';
    busbar_event event = {
        .size = sizeof event, .type = "a.b", .lane = lane, .data = data, .data_size_bytes = size_bytes};
    return busbar_publish(bus, &event, NULL);
}

static int64_t stored(const fixture *f, const char *lane)
{
    char text[100];
    snprintf(text, sizeof text, "SELECT count(*) FROM busbar_log_%s", lane);
    return sql_integer(f->db, text);
}

static int64_t size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (int64_t)st.st_size : 0;
}

static int64_t bytes_on_disk(const fixture *f)
{
    char wal[200];
    snprintf(wal, sizeof wal, "%s-wal", f->path);
    return size_of(f->path) + size_of(wal);
}

static int take_gap_events(const busbar_consumer_status *consumer, void *ctx)
{
    *(int64_t *)ctx = consumer->gap_events;
    return consumer->gap_count > 0 && consumer->gap_events >= consumer->gap_count ? 0 : 1;
}

/* No gap may be left out, and none told that was not. The only consumer. */
static void assert_gaps_are_what_was_evicted(fixture *f, const char *consumer)
{
    int64_t told = 0;
    assert_code(f->bus, busbar_consumer_list(f->bus, take_gap_events, &told), BUSBAR_OK);
    assert_int_equal(told, sql_integer(f->db, "SELECT sum(evicted + expired) FROM busbar_cursor"));
    char text[300];
    snprintf(text, sizeof text,
             "SELECT (SELECT coalesce(sum(count), 0) FROM busbar_gap) -"
             " (SELECT sum(evicted + expired) FROM busbar_cursor AS c JOIN busbar_consumer AS o ON o.id = c.consumer"
             " WHERE o.name = '%s')",
             consumer);
    assert_int_equal(sql_integer(f->db, text), 0);
    assert_int_equal(sql_integer(f->db, "SELECT count(*) FROM busbar_gap WHERE last - first + 1 < count"), 0);
}

static void p9_the_file_and_its_wal_stay_below_the_limit_without_a_worker(void **unused)
{
    (void)unused;
    static const size_t sizes[] = {40, 3000, 200, 11000};
    fixture f;
    fixture_open_with(&f, options_of(1024 * KIB));
    sql(f.db, "PRAGMA wal_autocheckpoint=40");
    assert_code(f.bus, busbar_subscribe(f.bus, &READER, 1), BUSBAR_OK);
    for (int i = 0; i < 6000; i++) {
        if (i % 50 == 0)
            sql(f.db, "BEGIN");
        assert_code(f.bus, publish_in(f.bus, i % 3 ? BUSBAR_BULK : BUSBAR_NORMAL, sizes[i % 4]), BUSBAR_OK);
        if (i % 50 == 49)
            sql(f.db, "COMMIT");
        assert_true(bytes_on_disk(&f) <= 1024 * KIB);
    }
    assert_true(bytes_on_disk(&f) > 600 * KIB); /* the limit is made use of */
    assert_true(progress_of(f.bus, "reader", BUSBAR_BULK).evicted > 3000);
    assert_balanced(f.bus, "reader");
    assert_gaps_are_what_was_evicted(&f, "reader");
    settle(&f, 100);
    assert_balanced(f.bus, "reader");
    assert_int_equal(progress_of(f.bus, "reader", BUSBAR_BULK).cursor, 4000);
    fixture_close(&f);
}

/* A reader that stays keeps the WAL growing by pages with each small event; when it has gone, there is room again. */
static void p9_a_long_reader_makes_nobody_exceed_the_limit(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open_with(&f, options_of(4096 * KIB));
    assert_code(f.bus, busbar_subscribe(f.bus, &READER, 1), BUSBAR_OK);
    publish(f.bus, "a.b");
    sqlite3 *reader = fixture_connect(&f);
    sql(reader, "BEGIN; SELECT * FROM busbar_log_normal");
    int result = BUSBAR_OK;
    for (int i = 0; i < 20000 && result == BUSBAR_OK; i++) {
        result = publish_in(f.bus, BUSBAR_BULK, 40);
        assert_in_range(bytes_on_disk(&f), 0, 4096 * KIB);
    }
    assert_code(f.bus, result, BUSBAR_EBUSFULL);
    settle(&f, 0);
    assert_code(f.bus, publish_in(f.bus, BUSBAR_BULK, 40), BUSBAR_EBUSFULL);
    sql(reader, "COMMIT");
    assert_int_equal(sqlite3_close(reader), SQLITE_OK);
    busbar_sim_advance(f.sim, 5000000);
    settle(&f, 0);      /* the worker makes the WAL empty */
    sql(f.db, "BEGIN"); /* in which a publisher could not */
    assert_code(f.bus, publish_in(f.bus, BUSBAR_BULK, 40), BUSBAR_OK);
    sql(f.db, "COMMIT");
    fixture_close(&f);
}

static void a_publisher_without_a_worker_cuts_the_wal_off(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open_with(&f, options_of(2048 * KIB));
    publish(f.bus, "a.b");
    sqlite3 *reader = fixture_connect(&f);
    sql(reader, "BEGIN; SELECT * FROM busbar_log_normal");
    while (publish_in(f.bus, BUSBAR_BULK, 40) == BUSBAR_OK)
        ;
    assert_true(bytes_on_disk(&f) > 1024 * KIB);
    sql(reader, "COMMIT");
    assert_int_equal(sqlite3_close(reader), SQLITE_OK);
    assert_code(f.bus, publish_in(f.bus, BUSBAR_BULK, 40), BUSBAR_OK);
    assert_in_range(bytes_on_disk(&f), 0, 1024 * KIB);
    fixture_close(&f);
}

static void p9_many_publishers_stay_below_the_limit_together(void **unused)
{
    (void)unused;
    enum { PUBLISHERS = 20 };
    busbar *buses[PUBLISHERS];
    sqlite3 *dbs[PUBLISHERS];
    fixture f;
    fixture_open_with(&f, options_of(8192 * KIB));
    assert_code(f.bus, busbar_subscribe(f.bus, &READER, 1), BUSBAR_OK);
    for (int i = 0; i < PUBLISHERS; i++) {
        buses[i] = fixture_connect_bus(&f, &dbs[i]);
        sql(dbs[i], "PRAGMA wal_autocheckpoint=100");
        assert_code(buses[i], publish_in(buses[i], BUSBAR_NORMAL, 40), BUSBAR_OK);
    }
    for (int i = 0; i < 3000; i++) {
        (void)publish_in(buses[i % PUBLISHERS], BUSBAR_NORMAL, 4000);
        assert_in_range(bytes_on_disk(&f), 0, 8192 * KIB);
    }
    assert_true(sql_integer(f.db, "SELECT sum(evicted) FROM busbar_cursor") > 100);
    assert_balanced(f.bus, "reader");
    for (int i = 0; i < PUBLISHERS; i++) {
        assert_code(buses[i], busbar_close(buses[i]), BUSBAR_OK);
        assert_int_equal(sqlite3_close(dbs[i]), SQLITE_OK);
    }
    fixture_close(&f);
}

/* The application has used up the room of thousands of small events: each publish evicts some, until it is enough. */
static void what_is_evicted_stays_so_though_it_is_not_enough(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open_with(&f, options_of(2048 * KIB));
    sql(f.db, "PRAGMA wal_autocheckpoint=40; CREATE TABLE app (x)");
    assert_code(f.bus, busbar_subscribe(f.bus, &READER, 1), BUSBAR_OK);
    for (int result = BUSBAR_OK, i = 0; i < 30000 && result == BUSBAR_OK; i++)
        result = publish_in(f.bus, BUSBAR_BULK, 20);
    sql(f.db, "INSERT INTO app VALUES (zeroblob(600000))");
    int refused = 0;
    while (publish_in(f.bus, BUSBAR_NORMAL, 20) != BUSBAR_OK)
        assert_true(++refused < 100);
    assert_true(refused > 0);
    assert_balanced(f.bus, "reader");
    assert_gaps_are_what_was_evicted(&f, "reader");
    fixture_close(&f);
}

static void bulk_goes_first_then_normal_and_urgent_never(void **unused)
{
    (void)unused;
    fixture f;
    int result = BUSBAR_OK;
    fixture_open_with(&f, options_of(512 * KIB));
    sql(f.db, "PRAGMA wal_autocheckpoint=20");
    assert_code(f.bus, busbar_subscribe(f.bus, &READER, 1), BUSBAR_OK);
    for (int i = 0; i < 60; i++)
        assert_code(f.bus, publish_in(f.bus, BUSBAR_NORMAL, 1000), BUSBAR_OK);
    for (int i = 0; i < 60; i++)
        assert_code(f.bus, publish_in(f.bus, BUSBAR_BULK, 1000), BUSBAR_OK);
    while (stored(&f, "bulk") > 1) {
        assert_int_equal(stored(&f, "normal"), 60);
        assert_code(f.bus, publish_in(f.bus, BUSBAR_URGENT, 1000), BUSBAR_OK);
    }
    int64_t urgent = stored(&f, "urgent");
    while ((result = publish_in(f.bus, BUSBAR_URGENT, 1000)) == BUSBAR_OK)
        assert_int_equal(stored(&f, "urgent"), ++urgent);
    assert_code(f.bus, result, BUSBAR_EBUSFULL);
    assert_true(stored(&f, "normal") < 20);
    assert_int_equal(stored(&f, "urgent"), urgent);
    assert_int_equal(progress_of(f.bus, "reader", BUSBAR_URGENT).evicted, 0);
    assert_balanced(f.bus, "reader");
    assert_true(bytes_on_disk(&f) <= 512 * KIB);
    settle(&f, 100); /* acknowledging needs no room that is not there */
    assert_int_equal(progress_of(f.bus, "reader", BUSBAR_URGENT).delivered, urgent);
    fixture_close(&f);
}

static void a_refusal_leaves_the_callers_transaction_usable(void **unused)
{
    (void)unused;
    fixture f;
    busbar_options options = {.size = sizeof options, .max_events = {3, 2, 0}};
    options.full[BUSBAR_NORMAL] = BUSBAR_FULL_REFUSE;
    fixture_open_with(&f, options);
    sql(f.db, "BEGIN; INSERT INTO state VALUES ('a', 1)");
    for (int i = 0; i < 3; i++)
        publish(f.bus, "a.b");
    busbar_event event = event_of("a.b");
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_EBUSFULL);
    sql(f.db, "INSERT INTO state VALUES ('b', 2)");
    event.lane = BUSBAR_BULK;
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK); /* the other lanes go on */
    event.lane = BUSBAR_URGENT;
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_EBUSFULL); /* urgent ones are never evicted */
    sql(f.db, "COMMIT");
    assert_int_equal(sql_integer(f.db, "SELECT sum(value) FROM state"), 3);
    assert_int_equal(stored(&f, "normal"), 3);
    event.lane = BUSBAR_NORMAL;
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_EBUSFULL);
    fixture_close(&f);
}

/* What is only kept to be looked at is no reason to refuse. */
static void finished_events_make_room_before_anything_is_refused(void **unused)
{
    (void)unused;
    fixture f;
    busbar_options options = {.size = sizeof options, .max_events = {10, 10, 0}};
    options.full[BUSBAR_NORMAL] = BUSBAR_FULL_REFUSE;
    fixture_open_with(&f, options);
    assert_code(f.bus, busbar_subscribe(f.bus, &READER, 1), BUSBAR_OK);
    for (int i = 0; i < 100; i++) {
        assert_code(f.bus, publish_in(f.bus, i % 2 ? BUSBAR_NORMAL : BUSBAR_URGENT, 10), BUSBAR_OK);
        if (i % 10 == 9)
            settle(&f, 100);
    }
    assert_int_equal(progress_of(f.bus, "reader", BUSBAR_NORMAL).delivered, 50);
    assert_int_equal(progress_of(f.bus, "reader", BUSBAR_URGENT).delivered, 50);
    assert_true(stored(&f, "normal") <= 10 && stored(&f, "urgent") <= 10);
    fixture_close(&f);
}

static void finished_events_make_room_in_the_file_before_anything_is_refused(void **unused)
{
    (void)unused;
    fixture f;
    busbar_options options = options_of(512 * KIB);
    options.full[BUSBAR_NORMAL] = BUSBAR_FULL_REFUSE;
    fixture_open_with(&f, options);
    sql(f.db, "PRAGMA wal_autocheckpoint=20");
    assert_code(f.bus, busbar_subscribe(f.bus, &READER, 1), BUSBAR_OK);
    for (int i = 0; i < 2000; i++) { /* four times what there is room for, and a worker that keeps up */
        assert_code(f.bus, publish_in(f.bus, i % 2 ? BUSBAR_NORMAL : BUSBAR_URGENT, 1000), BUSBAR_OK);
        assert_true(bytes_on_disk(&f) <= 512 * KIB);
        if (i % 20 == 19)
            settle(&f, 100);
    }
    assert_int_equal(progress_of(f.bus, "reader", BUSBAR_NORMAL).delivered, 1000);
    assert_int_equal(progress_of(f.bus, "reader", BUSBAR_URGENT).delivered, 1000);
    assert_balanced(f.bus, "reader");
    fixture_close(&f);
}

/* One publish evicts a bounded number of rows; when the WAL takes up more at once than these free, nothing is refused yet. */
static void a_wal_that_grows_at_once_makes_nobody_refuse(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open_with(&f, options_of(8192 * KIB));
    sql(f.db, "PRAGMA wal_autocheckpoint=400; CREATE TABLE other (data)");
    assert_code(f.bus, busbar_subscribe(f.bus, &READER, 1), BUSBAR_OK);
    for (int i = 0; i < 50000; i++) {
        if (i % 1000 == 0)
            sql(f.db, "DELETE FROM other; INSERT INTO other VALUES (randomblob(600000))"); /* the application's */
        if (i % 20 == 0)
            sql(f.db, "BEGIN");
        assert_code(f.bus, publish_in(f.bus, BUSBAR_BULK, 100), BUSBAR_OK);
        if (i % 20 == 19)
            sql(f.db, "COMMIT");
        assert_true(bytes_on_disk(&f) <= 8192 * KIB);
    }
    assert_true(progress_of(f.bus, "reader", BUSBAR_BULK).evicted > 1000);
    assert_balanced(f.bus, "reader");
    fixture_close(&f);
}

/* An id that is remembered of an event that is gone is worth less than an event. */
static void remembered_ids_make_room_before_events_do(void **unused)
{
    (void)unused;
    fixture f;
    char id[60];
    fixture_open_with(&f, options_of(1024 * KIB));
    sql(f.db, "PRAGMA wal_autocheckpoint=20");
    assert_code(f.bus, busbar_subscribe(f.bus, &READER, 1), BUSBAR_OK);
    for (int i = 0; i < 12000; i++) { /* no worker runs */
        if (i % 10 == 0)
            sql(f.db, "BEGIN");
        busbar_event event = event_of("a.b");
        snprintf(id, sizeof id, "%s%d", "an-id-that-somebody-gave-0000000000000", i);
        event.id = id;
        assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
        if (i % 10 == 9)
            sql(f.db, "COMMIT");
        assert_true(bytes_on_disk(&f) <= 1024 * KIB);
    }
    int64_t count = stored(&f, "normal");
    assert_true(count > 500);
    assert_in_range(sql_integer(f.db, "SELECT count(*) FROM busbar_given"), count, count + count / 2);
    assert_int_equal(
        busbar_publish(f.bus, &(busbar_event){.size = sizeof(busbar_event), .type = "a.b", .id = id}, NULL),
        BUSBAR_DUPLICATE); /* what is in the log is told apart for certain */
    assert_balanced(f.bus, "reader");
    fixture_close(&f);
}

static void given_ids_are_forgotten_without_a_worker_too(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open_with(&f, (busbar_options){.size = sizeof(busbar_options), .keep_ids = 100});
    for (int i = 0; i < 3000; i++) {
        char id[20];
        busbar_event event = event_of("a.b");
        snprintf(id, sizeof id, "i%d", i);
        event.id = i % 2 ? id : NULL;
        assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    }
    assert_in_range(sql_integer(f.db, "SELECT count(*) FROM busbar_given"), 100, 132);
    fixture_close(&f);
}

static void a_lane_keeps_to_its_number_of_events_with_several_publishers(void **unused)
{
    (void)unused;
    fixture f;
    sqlite3 *other_db;
    fixture_open_with(&f, (busbar_options){.size = sizeof(busbar_options), .max_events = {100, 0, 1}});
    busbar *other = fixture_connect_bus(&f, &other_db);
    assert_code(f.bus, busbar_subscribe(f.bus, &READER, 1), BUSBAR_OK);
    for (int i = 0; i < 1000; i++) {
        publish(i % 3 ? f.bus : other, "a.b");
        assert_true(stored(&f, "normal") <= 101); /* what the other has just written is seen one event later */
        assert_code(f.bus, publish_in(i % 2 ? f.bus : other, BUSBAR_BULK, 10), BUSBAR_OK);
        assert_true(stored(&f, "bulk") <= 2);
        if (i % 97 == 0)
            settle(&f, 100);
        assert_balanced(f.bus, "reader");
    }
    assert_true(stored(&f, "normal") > 80);
    assert_gaps_are_what_was_evicted(&f, "reader");
    assert_code(other, busbar_close(other), BUSBAR_OK);
    sqlite3_close(other_db);
    fixture_close(&f);
}

/* ---- Eviction under a worker's hands ---- */

typedef struct hands {
    busbar *other; /* NULL: the handler's own */
    int seen;
} hands;

static busbar_verdict publish_more(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    hands *h = ctx;
    (void)reason;
    if (strcmp(event->type, "a.more") != 0) {
        h->seen++;
        return event->seq % 5 == 0 ? BUSBAR_DEAD : BUSBAR_DONE;
    }
    for (int i = 0; i < 7; i++) {
        busbar_event more = event_of(i % 3 ? "a.b" : "b.unwanted");
        int result = busbar_publish(h->other ? h->other : bus, &more, NULL);
        if (result != BUSBAR_OK)
            return BUSBAR_RETRY;
    }
    return BUSBAR_DONE;
}

static void evict_below(busbar_delivery delivery, bool elsewhere)
{
    fixture f;
    sqlite3 *other_db;
    fixture_open_with(&f, (busbar_options){.size = sizeof(busbar_options), .max_events = {12, 0, 0}});
    busbar *other = fixture_connect_bus(&f, &other_db);
    hands h = {.other = elsewhere ? other : NULL};
    busbar_handler handler = {.size = sizeof handler,
                              .name = "reader",
                              .pattern = "a.#",
                              .fn = publish_more,
                              .ctx = &h,
                              .delivery = delivery};
    assert_code(f.bus, busbar_subscribe(f.bus, &handler, 1), BUSBAR_OK);
    for (int i = 0; i < 60; i++) {
        for (int j = 0; j < 1 + i % 9; j++)
            publish(i % 2 ? f.bus : other, (i + j) % 4 == 1 ? "a.more" : "a.b");
        if (i % 2)
            settle(&f, 100);
        assert_balanced(f.bus, "reader");
    }
    busbar_progress p = progress_of(f.bus, "reader", BUSBAR_NORMAL);
    assert_true(p.evicted > 0 && p.filtered > 0);
    assert_true(h.seen <= p.delivered + p.dead);
    assert_true(p.evicted >= 0);
    assert_gaps_are_what_was_evicted(&f, "reader");
    assert_code(other, busbar_close(other), BUSBAR_OK);
    sqlite3_close(other_db);
    fixture_close(&f);
}

static void p8_holds_when_a_handler_evicts_what_its_batch_has_in_hand(void **unused)
{
    (void)unused;
    evict_below(BUSBAR_TRANSACTIONAL, false);
}

static void p8_holds_when_others_evict_under_an_outside_handler(void **unused)
{
    (void)unused;
    evict_below(BUSBAR_OUTSIDE, false);
    evict_below(BUSBAR_OUTSIDE, true);
}

/* Somebody who deletes events by hand is found out. */
static void p8_holds_when_events_are_missing(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    assert_code(f.bus, busbar_subscribe(f.bus, &READER, 1), BUSBAR_OK);
    for (int i = 0; i < 10; i++)
        publish(f.bus, "a.b");
    sql(f.db, "DELETE FROM busbar_log_normal WHERE seq IN (3, 4, 7)");
    settle(&f, 100);
    assert_int_equal(progress_of(f.bus, "reader", BUSBAR_NORMAL).delivered, 7);
    assert_int_equal(progress_of(f.bus, "reader", BUSBAR_NORMAL).evicted, 3);
    assert_balanced(f.bus, "reader");
    assert_int_equal(sql_integer(f.db, "SELECT sum(count) FROM busbar_gap WHERE reason = 5"), 3);
    fixture_close(&f);
}

/* ---- Age ---- */

static void p10_old_events_go_but_never_early(void **unused)
{
    (void)unused;
    fixture f;
    busbar_options options = {.size = sizeof options, .max_age_ms = {3600000, 0, 0}};
    fixture_open_with(&f, options);
    assert_code(f.bus, busbar_subscribe(f.bus, &READER, 1), BUSBAR_OK);
    for (int i = 0; i < 300; i++) {
        publish(f.bus, "a.b");
        busbar_sim_advance(f.sim, 60000000);
        busbar_sim_wall_step(f.sim, i % 2 ? INT64_C(315360000000) : -INT64_C(315360000000)); /* ten years */
        if (i < 60)
            assert_int_equal(progress_of(f.bus, "reader", BUSBAR_NORMAL).evicted, 0);
    }
    assert_in_range(stored(&f, "normal"), 60, 60 + 33);
    assert_balanced(f.bus, "reader");
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_gap WHERE reason = 3"), 1);
    assert_gaps_are_what_was_evicted(&f, "reader");
    fixture_close(&f);
}

static void insert_plain(fixture *f, int count)
{
    for (int i = 0; i < count; i++)
        sql(f->db, "INSERT INTO busbar_log_normal (kind, id)"
                   " SELECT id, lower(hex(randomblob(16))) FROM busbar_kind LIMIT 1");
}

/* They have no age: they go with the events behind them. */
static void rows_of_plain_sql_do_not_stop_the_limit_on_age(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open_with(&f, (busbar_options){.max_age_ms = {3600000, 0, 0}});
    assert_code(f.bus, busbar_subscribe(f.bus, &READER, 1), BUSBAR_OK);
    for (int i = 0; i < 5; i++) {
        publish(f.bus, "a.b");
        insert_plain(&f, 10);
    }
    busbar_sim_advance(f.sim, UINT64_C(7200000000));
    insert_plain(&f, 5);
    for (int i = 0; i < 40; i++)
        publish(f.bus, "a.b");
    assert_int_equal(stored(&f, "normal"), 10 + 5 + 40); /* the last ten may be as young as the next */
    assert_balanced(f.bus, "reader");
    assert_gaps_are_what_was_evicted(&f, "reader");
    fixture_close(&f);
}

static void a_worker_evicts_a_single_event_that_is_too_old(void **unused)
{
    (void)unused;
    fixture f;
    const busbar_handler other = {.size = sizeof other, .name = "other", .pattern = "x.y", .fn = READER.fn};
    fixture_open_with(&f, (busbar_options){.max_age_ms = {3600000, 0, 0}});
    assert_code(f.bus, busbar_subscribe(f.bus, &READER, 1), BUSBAR_OK);
    publish(f.bus, "a.b");
    busbar_sim_advance(f.sim, UINT64_C(1800000000));
    publish(f.bus, "a.b");
    busbar_sim_advance(f.sim, UINT64_C(1900000000));
    fixture_reopen_bus(&f); /* nobody works the reader */
    assert_code(f.bus, busbar_subscribe(f.bus, &other, 1), BUSBAR_OK);
    for (int i = 0; i < 20; i++) {
        settle(&f, 0);
        busbar_sim_advance(f.sim, 1000000);
    }
    assert_int_equal(stored(&f, "normal"), 1);
    assert_int_equal(progress_of(f.bus, "reader", BUSBAR_NORMAL).evicted, 1);
    busbar_sim_advance(f.sim, UINT64_C(7200000000));
    for (int i = 0; i < 20; i++) {
        settle(&f, 0);
        busbar_sim_advance(f.sim, 1000000);
    }
    assert_int_equal(stored(&f, "normal"), 1); /* the newest stays */
    assert_balanced(f.bus, "reader");
    fixture_close(&f);
}

static void limits_that_cannot_be_kept_are_refused(void **unused)
{
    (void)unused;
    fixture f;
    busbar *bus = NULL;
    fixture_open(&f);
    busbar_options options = f.options;
    options.max_bytes = 1000;
    assert_int_equal(busbar_open(&bus, f.db, &options, NULL), BUSBAR_EINVAL);
    options.max_bytes = 1024 * KIB;
    options.reserve_bytes = 1000 * KIB;
    assert_int_equal(busbar_open(&bus, f.db, &options, NULL), BUSBAR_EINVAL);
    options.reserve_bytes = 0;
    options.full[1] = (busbar_full)7;
    assert_int_equal(busbar_open(&bus, f.db, &options, NULL), BUSBAR_EINVAL);
    fixture_close(&f);
}

static busbar_verdict note_id(busbar *bus, const busbar_record *record, busbar_reason *reason, void *ctx)
{
    (void)bus, (void)reason;
    strcpy(ctx, record->id);
    return BUSBAR_DONE;
}

/* Who holds a limit of age reads the session of its own events, also in a transaction that is rolled back. */
static void p5_a_session_read_in_a_transaction_that_was_undone_names_no_event(void **unused)
{
    (void)unused;
    fixture f;
    busbar_id told;
    char read[BUSBAR_ID_MAX + 1] = "";
    busbar_event event = event_of("a.b");
    const busbar_handler handler = {.size = sizeof handler, .name = "h", .fn = note_id, .ctx = read};
    fixture_open_with(&f, (busbar_options){.max_age_ms = {3600000, 0, 0}});
    assert_code(f.bus, busbar_subscribe(f.bus, &handler, 1), BUSBAR_OK);
    sql(f.db, "BEGIN");
    for (int i = 0; i < 500; i++)
        publish(f.bus, "a.b");
    sql(f.db, "ROLLBACK");
    assert_code(f.bus, busbar_publish(f.bus, &event, &told), BUSBAR_OK);
    settle(&f, 50);
    assert_string_equal(read, told.text);
    fixture_close(&f);
}

/* Another consumer, which nobody works, needs all events. */
static void leave_one_behind(fixture *f)
{
    sqlite3 *other_db;
    const busbar_handler handler = {.size = sizeof handler, .name = "away", .fn = done};
    busbar *other = fixture_connect_bus(f, &other_db);
    assert_code(other, busbar_subscribe(other, &handler, 1), BUSBAR_OK);
    assert_code(other, busbar_close(other), BUSBAR_OK);
    sqlite3_close(other_db);
}

/* They are in the log when they are due, and count from then on. */
static void events_that_fall_due_keep_to_the_number(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open_with(&f, (busbar_options){.max_events = {100, 0, 20}, .full = {0, 0, BUSBAR_FULL_REFUSE}});
    leave_one_behind(&f);
    assert_code(f.bus, busbar_subscribe(f.bus, &READER, 1), BUSBAR_OK);
    busbar_event event = event_of("a.b");
    event.delay_ms = 1000;
    for (int i = 0; i < 1000; i++)
        assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    event.lane = BUSBAR_BULK;
    for (int i = 0; i < 50; i++)
        assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    busbar_sim_advance(f.sim, 2000000);
    for (int i = 0; i < 50; i++) {
        settle(&f, 0);
        assert_in_range(stored(&f, "normal"), 0, 100);
        busbar_sim_advance(f.sim, 10000);
    }
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_later"), 0);
    assert_int_equal(stored(&f, "bulk"), 50); /* they were promised, and none may be evicted */
    assert_true(progress_of(f.bus, "away", BUSBAR_NORMAL).evicted >= 900);
    assert_balanced(f.bus, "reader");
    assert_balanced(f.bus, "away");
    fixture_close(&f);
}

/* ---- What fails is copied ---- */

static busbar_verdict as_told(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    (void)bus, (void)event, (void)reason;
    return *(const busbar_verdict *)ctx;
}

/* The log is full, and every event of it fails: copies take the room of what is finished, or the lane stands still. */
static void fail_all(fixture *f, busbar_full full, bool held, const busbar_handler *handler)
{
    bool said = false;
    busbar_options options = options_of(4096 * KIB);
    options.full[BUSBAR_NORMAL] = full;
    fixture_open_with(f, options);
    sql(f->db, "PRAGMA wal_autocheckpoint=40");
    assert_code(f->bus, busbar_subscribe(f->bus, handler, 1), BUSBAR_OK);
    if (held)
        leave_one_behind(f);
    int result = BUSBAR_OK;
    for (int i = 0; i < 1500 && result == BUSBAR_OK; i++)
        result = publish_in(f->bus, BUSBAR_NORMAL, 3000);
    assert_code(f->bus, result, full == BUSBAR_FULL_REFUSE ? BUSBAR_EBUSFULL : BUSBAR_OK);
    for (int i = 0; i < 60; i++) {
        settle(f, 0);
        assert_in_range(bytes_on_disk(f), 1, 4096 * KIB);
        const char *error = sql_text(f->db, "SELECT last_error FROM busbar_consumer WHERE name = 'reader'");
        said = said || strstr(error, "options.max_bytes"); /* until one of the copies fails again */
        (void)publish_in(f->bus, BUSBAR_NORMAL, 3000);
        busbar_sim_advance(f->sim, 500000);
    }
    assert_balanced(f->bus, handler->name);
    int64_t copies = sql_integer(f->db, "SELECT count(*) FROM busbar_exception");
    print_message("%lld copies, %lld bytes\n", (long long)copies, (long long)bytes_on_disk(f));
    assert_true(copies > 20);
    assert_true(said || !held || full == BUSBAR_FULL_EVICT);
}

static void recover(fixture *f)
{
    for (int i = 0; i < 300; i++) {
        settle(f, 0);
        busbar_sim_advance(f->sim, 5000000);
    }
    assert_balanced(f->bus, "reader");
    assert_int_equal(sql_integer(f->db, "SELECT max(seq) FROM busbar_log_normal"),
                     progress_of(f->bus, "reader", BUSBAR_NORMAL).cursor);
    assert_string_equal(sql_text(f->db, "SELECT last_error FROM busbar_consumer WHERE name = 'reader'"), "");
    assert_in_range(bytes_on_disk(f), 1, 4096 * KIB);
    if (sql_integer(f->db, "SELECT count(*) FROM busbar_consumer") > 1)
        assert_code(f->bus, busbar_consumer_remove(f->bus, "away"), BUSBAR_OK);
    assert_code(f->bus, publish_in(f->bus, BUSBAR_NORMAL, 3000), BUSBAR_OK);
}

static void p9_events_that_fail_stay_below_the_limit(void **unused)
{
    (void)unused;
    static const struct {
        busbar_delivery delivery;
        busbar_full full;
        bool held;
    } cases[] = {{BUSBAR_TRANSACTIONAL, BUSBAR_FULL_EVICT, false},
                 {BUSBAR_TRANSACTIONAL, BUSBAR_FULL_EVICT, true},
                 {BUSBAR_TRANSACTIONAL, BUSBAR_FULL_REFUSE, false},
                 {BUSBAR_TRANSACTIONAL, BUSBAR_FULL_REFUSE, true},
                 {BUSBAR_OUTSIDE, BUSBAR_FULL_REFUSE, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture f;
        busbar_verdict verdict = BUSBAR_RETRY;
        const busbar_handler handler = {.size = sizeof handler,
                                        .name = "reader",
                                        .fn = as_told,
                                        .ctx = &verdict,
                                        .delivery = cases[i].delivery,
                                        .retry = {.max_attempts = BUSBAR_UNLIMITED}};
        fail_all(&f, cases[i].full, cases[i].held, &handler);
        verdict = BUSBAR_DONE;
        recover(&f);
        assert_int_equal(progress_of(f.bus, "reader", BUSBAR_NORMAL).dead, 0);
        fixture_close(&f);
    }
}

/* Dead letters are the operator's: dropping them lets the lane go on. */
static void p9_dead_letters_stay_below_the_limit(void **unused)
{
    (void)unused;
    fixture f;
    uint64_t count = 0;
    busbar_verdict verdict = BUSBAR_DEAD;
    const busbar_handler handler = {.size = sizeof handler, .name = "reader", .fn = as_told, .ctx = &verdict};
    const busbar_selector all = {.size = sizeof all, .consumer = "reader"};
    fail_all(&f, BUSBAR_FULL_REFUSE, true, &handler);
    assert_code(f.bus, busbar_act(f.bus, &all, BUSBAR_ACTION_DROP, &count), BUSBAR_OK);
    assert_true(count > 20);
    verdict = BUSBAR_DONE;
    recover(&f);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p5_a_session_read_in_a_transaction_that_was_undone_names_no_event),
        cmocka_unit_test(p9_the_file_and_its_wal_stay_below_the_limit_without_a_worker),
        cmocka_unit_test(p9_a_long_reader_makes_nobody_exceed_the_limit),
        cmocka_unit_test(a_publisher_without_a_worker_cuts_the_wal_off),
        cmocka_unit_test(p9_many_publishers_stay_below_the_limit_together),
        cmocka_unit_test(what_is_evicted_stays_so_though_it_is_not_enough),
        cmocka_unit_test(bulk_goes_first_then_normal_and_urgent_never),
        cmocka_unit_test(a_refusal_leaves_the_callers_transaction_usable),
        cmocka_unit_test(finished_events_make_room_before_anything_is_refused),
        cmocka_unit_test(finished_events_make_room_in_the_file_before_anything_is_refused),
        cmocka_unit_test(a_wal_that_grows_at_once_makes_nobody_refuse),
        cmocka_unit_test(remembered_ids_make_room_before_events_do),
        cmocka_unit_test(given_ids_are_forgotten_without_a_worker_too),
        cmocka_unit_test(a_lane_keeps_to_its_number_of_events_with_several_publishers),
        cmocka_unit_test(p8_holds_when_a_handler_evicts_what_its_batch_has_in_hand),
        cmocka_unit_test(p8_holds_when_others_evict_under_an_outside_handler),
        cmocka_unit_test(p8_holds_when_events_are_missing),
        cmocka_unit_test(p10_old_events_go_but_never_early),
        cmocka_unit_test(rows_of_plain_sql_do_not_stop_the_limit_on_age),
        cmocka_unit_test(a_worker_evicts_a_single_event_that_is_too_old),
        cmocka_unit_test(limits_that_cannot_be_kept_are_refused),
        cmocka_unit_test(events_that_fall_due_keep_to_the_number),
        cmocka_unit_test(p9_events_that_fail_stay_below_the_limit),
        cmocka_unit_test(p9_dead_letters_stay_below_the_limit),
    };
    return cmocka_run_group_tests_name("bounds", tests, NULL, NULL);
}
