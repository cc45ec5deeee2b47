/* SPDX-License-Identifier: MIT */
/* Looking at a bus: list, show, status. Reads only, works on a read-only connection, pins nothing during a callback. */
#include "fixture.h"

#include <stdio.h>

typedef struct seen {
    char text[4096]; /* "type:state " of each event; state "-" without a consumer */
    int count;
    int stop_after; /* 0: never */
    const fixture *f;
} seen;

static int note(const busbar_record *event, const busbar_standing *standing, void *ctx)
{
    seen *s = ctx;
    size_t length = strlen(s->text);
    snprintf(s->text + length, sizeof s->text - length, "%s:%s ", event->type,
             standing ? busbar_state_name(standing->state) : "-");
    if (s->f) /* no read transaction is open: the WAL can be reset under us */
        assert_int_equal(sqlite3_txn_state(s->f->db, "main"), SQLITE_TXN_NONE);
    return ++s->count == s->stop_after ? 42 : 0;
}

static busbar_verdict judge(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    (void)bus, (void)ctx;
    strcpy(reason->text, "as told");
    if (strcmp(event->type, "a.dead") == 0)
        return BUSBAR_DEAD;
    return strcmp(event->type, "a.retry") == 0 ? BUSBAR_RETRY : BUSBAR_DONE;
}

static const busbar_handler HANDLER = {.size = sizeof(busbar_handler), .name = "h", .pattern = "a.*", .fn = judge};

/* Five events handled, three pending, of which one is not wanted. */
static void prepare(fixture *f)
{
    fixture_open(f);
    assert_code(f->bus, busbar_subscribe(f->bus, &HANDLER, 1), BUSBAR_OK);
    publish(f->bus, "a.done");
    publish(f->bus, "a.retry");
    publish(f->bus, "b.other");
    publish(f->bus, "a.dead");
    publish(f->bus, "a.done");
    settle(f, 100);
    publish(f->bus, "a.new");
    publish(f->bus, "b.new");
    busbar_event urgent = event_of("a.urgent");
    urgent.lane = BUSBAR_URGENT;
    assert_code(f->bus, busbar_publish(f->bus, &urgent, NULL), BUSBAR_OK);
}

static void assert_listed(fixture *f, busbar_query query, const char *expected)
{
    seen s = {.f = f};
    query.size = sizeof query;
    assert_code(f->bus, busbar_list(f->bus, &query, note, &s), BUSBAR_OK);
    assert_string_equal(s.text, expected);
}

static void lists_by_lane_consumer_state_and_type(void **unused)
{
    (void)unused;
    fixture f;
    prepare(&f);
    assert_listed(&f, (busbar_query){.size = 0},
                  "a.urgent:- a.done:- a.retry:- b.other:- a.dead:- a.done:- a.new:- b.new:- ");
    assert_listed(&f, (busbar_query){.pattern = "b.#"}, "b.other:- b.new:- ");
    assert_listed(&f, (busbar_query){.limit = 2}, "a.urgent:- a.done:- ");
    assert_listed(&f, (busbar_query){.after_seq = {5, 1, 0}}, "a.new:- b.new:- ");
    assert_listed(&f, (busbar_query){.consumer = "h"}, "a.urgent:pending a.retry:retry a.dead:dead a.new:pending ");
    assert_listed(&f, (busbar_query){.consumer = "h", .state = BUSBAR_STATE_PENDING},
                  "a.urgent:pending a.new:pending ");
    assert_listed(&f, (busbar_query){.consumer = "h", .state = BUSBAR_STATE_RETRY}, "a.retry:retry ");
    assert_listed(&f, (busbar_query){.consumer = "h", .state = BUSBAR_STATE_DEAD}, "a.dead:dead ");
    assert_listed(&f, (busbar_query){.consumer = "h", .state = BUSBAR_STATE_PARKED}, "");
    assert_listed(&f, (busbar_query){.consumer = "h", .state = BUSBAR_STATE_DONE},
                  "a.done:done b.other:done a.done:done ");
    assert_listed(&f, (busbar_query){.consumer = "h", .pattern = "a.dead"}, "a.dead:dead ");
    fixture_close(&f);
}

static void since_compares_wall_time_and_lets_the_unknown_pass(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    publish(f.bus, "a.old");
    busbar_sim_advance(f.sim, UINT64_C(3600) * 1000000);
    publish(f.bus, "a.new");
    assert_listed(&f, (busbar_query){.since_ms = BUSBAR_SIM_WALL_MS + 1800000}, "a.new:- ");
    assert_listed(&f, (busbar_query){.since_ms = BUSBAR_SIM_WALL_MS - 1}, "a.old:- a.new:- ");
    busbar_sim_reboot(f.sim);
    busbar_sim_wall_quality(f.sim, BUSBAR_CLOCK_UNKNOWN);
    fixture_reopen_bus(&f);
    publish(f.bus, "a.timeless");
    assert_listed(&f, (busbar_query){.since_ms = BUSBAR_SIM_WALL_MS + 1800000}, "a.new:- a.timeless:- ");
    fixture_close(&f);
}

static int stop_with_one(const busbar_record *event, const busbar_standing *standing, void *ctx)
{
    (void)event, (void)standing;
    ++*(int *)ctx;
    return 1;
}

static void a_callback_can_end_the_listing_and_bad_queries_are_told(void **unused)
{
    (void)unused;
    fixture f;
    prepare(&f);
    seen s = {.stop_after = 3};
    busbar_query query = {.size = sizeof query};
    assert_int_equal(busbar_list(f.bus, &query, note, &s), 42);
    assert_int_equal(s.count, 3);
    int calls = 0;
    assert_int_equal(busbar_list(f.bus, &query, stop_with_one, &calls), 1);
    assert_int_equal(calls, 1);
    query.state = BUSBAR_STATE_DEAD;
    assert_code(f.bus, busbar_list(f.bus, &query, note, &s), BUSBAR_EINVAL);
    query.consumer = "nobody";
    assert_code(f.bus, busbar_list(f.bus, &query, note, &s), BUSBAR_ENOTFOUND);
    busbar_error error;
    busbar_error_get(f.bus, &error);
    assert_non_null(strstr(error.text, "\"nobody\""));
    query = (busbar_query){.size = sizeof query, .pattern = "a.**"};
    assert_code(f.bus, busbar_list(f.bus, &query, note, &s), BUSBAR_EPATTERN);
    query.size = 1;
    assert_code(f.bus, busbar_list(f.bus, &query, note, &s), BUSBAR_EINVAL);
    fixture_close(&f);
}

static int note_standing(const busbar_standing *standing, void *ctx)
{
    seen *s = ctx;
    size_t length = strlen(s->text);
    snprintf(s->text + length, sizeof s->text - length, "[%s %s %u %s] ", standing->consumer,
             busbar_state_name(standing->state), (unsigned)standing->attempts,
             standing->reason ? standing->reason : "-");
    return 0;
}

static void shows_by_derived_and_by_given_id(void **unused)
{
    (void)unused;
    fixture f;
    busbar_id id;
    prepare(&f);
    busbar_event event = event_of("a.given");
    event.id = "order-7";
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    event.source = "urn:another";
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    seen s = {.f = &f};
    assert_code(f.bus, busbar_show(f.bus, "order-7", note, note_standing, &s), BUSBAR_OK);
    assert_string_equal(s.text, "a.given:- [h pending 0 -] a.given:- [h pending 0 -] ");

    event = event_of("a.derived");
    assert_code(f.bus, busbar_publish(f.bus, &event, &id), BUSBAR_OK);
    s = (seen){.f = &f};
    assert_code(f.bus, busbar_show(f.bus, id.text, note, NULL, &s), BUSBAR_OK);
    assert_string_equal(s.text, "a.derived:- ");

    char dead[100];
    strcpy(dead, sql_text(f.db, "SELECT id FROM busbar_events WHERE type = 'a.dead'"));
    s = (seen){.f = &f};
    assert_code(f.bus, busbar_show(f.bus, dead, note, note_standing, &s), BUSBAR_OK);
    assert_string_equal(s.text, "a.dead:- [h dead 1 as told] ");
    assert_code(f.bus, busbar_show(f.bus, "no-such-id", note, NULL, &s), BUSBAR_ENOTFOUND);
    dead[0] = dead[0] == '0' ? '1' : '0';
    assert_code(f.bus, busbar_show(f.bus, dead, note, NULL, &s), BUSBAR_ENOTFOUND);
    fixture_close(&f);
}

static void an_exception_is_shown_after_its_event_was_pruned(void **unused)
{
    (void)unused;
    fixture f;
    prepare(&f);
    char dead[100];
    strcpy(dead, sql_text(f.db, "SELECT id FROM busbar_events WHERE type = 'a.dead'"));
    sql(f.db, "DELETE FROM busbar_log_normal WHERE seq <= 4");
    seen s = {.f = &f};
    assert_code(f.bus, busbar_show(f.bus, dead, note, note_standing, &s), BUSBAR_OK);
    assert_string_equal(s.text, "a.dead:- [h dead 1 as told] ");
    assert_listed(&f, (busbar_query){.consumer = "h", .state = BUSBAR_STATE_DEAD}, "a.dead:dead ");
    fixture_close(&f);
}

/* ---- Status ---- */

static int note_consumer(const busbar_consumer_status *consumer, void *ctx)
{
    busbar_consumer_status *out = ctx;
    *out = *consumer;
    return 0;
}

static void status_tells_positions_sizes_and_ages(void **unused)
{
    (void)unused;
    fixture f;
    prepare(&f);
    busbar_sim_advance(f.sim, 7000000);
    busbar_status status = {.size = sizeof status};
    assert_code(f.bus, busbar_status_get(f.bus, &status), BUSBAR_OK);
    assert_int_equal(status.head[BUSBAR_NORMAL], 7);
    assert_int_equal(status.head[BUSBAR_URGENT], 1);
    assert_int_equal(status.head[BUSBAR_BULK], 0);
    assert_int_equal(status.first[BUSBAR_NORMAL], 1);
    assert_int_equal(status.consumer_count, 1);
    assert_true(status.database_bytes > 0 && status.wal_bytes > 0);
    busbar_consumer_status consumer;
    assert_code(f.bus, busbar_consumer_list(f.bus, note_consumer, &consumer), BUSBAR_OK);
    assert_int_equal(consumer.class_, BUSBAR_CLASS_SUBSCRIPTION);
    assert_int_equal(consumer.pending, 3);
    assert_in_range(consumer.oldest_ms, 7000, 7100);
    assert_balanced(f.bus, "h");
    fixture_close(&f);
}

static void everything_here_works_read_only(void **unused)
{
    (void)unused;
    fixture f;
    prepare(&f);
    sqlite3 *db;
    busbar *bus;
    busbar_error error;
    assert_int_equal(sqlite3_open_v2(f.path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(busbar_open(&bus, db, &f.options, &error), BUSBAR_OK);
    seen s = {.count = 0};
    busbar_query query = {.size = sizeof query, .consumer = "h"};
    busbar_status status = {.size = sizeof status};
    busbar_consumer_status consumer;
    assert_code(bus, busbar_list(bus, &query, note, &s), BUSBAR_OK);
    assert_int_equal(s.count, 4);
    assert_code(bus, busbar_status_get(bus, &status), BUSBAR_OK);
    assert_code(bus, busbar_consumer_list(bus, note_consumer, &consumer), BUSBAR_OK);
    busbar_event event = event_of("a.b");
    assert_code(bus, busbar_publish(bus, &event, NULL), BUSBAR_EREADONLY);
    assert_code(bus, busbar_close(bus), BUSBAR_OK);
    sqlite3_close(db);
    fixture_close(&f);
}

static void retention_keeps_what_somebody_needs(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open_with(&f, (busbar_options){.keep_events = 10});
    assert_code(f.bus, busbar_subscribe(f.bus, &HANDLER, 1), BUSBAR_OK);
    fixture_reopen_bus(&f); /* registered, and not running */
    sql(f.db, "BEGIN");
    for (int i = 0; i < 2000; i++)
        publish(f.bus, "b.other");
    sql(f.db, "COMMIT");
    busbar_handler other = {.size = sizeof other, .name = "other", .fn = judge};
    assert_code(f.bus, busbar_subscribe(f.bus, &other, 1), BUSBAR_OK);
    for (int i = 0; i < 30; i++) {
        settle(&f, 50);
        busbar_sim_advance(f.sim, 200000);
    }
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_log_normal"), 2000);
    fixture_reopen_bus(&f);
    assert_code(f.bus, busbar_subscribe(f.bus, &HANDLER, 1), BUSBAR_OK);
    for (int i = 0; i < 30; i++) {
        settle(&f, 50);
        busbar_sim_advance(f.sim, 200000);
    }
    assert_in_range(sql_integer(f.db, "SELECT count(*) FROM busbar_log_normal"), 10, 10 + 256);
    assert_balanced(f.bus, "h");
    fixture_close(&f);
}

/* ---- Times of failures, scheduled events, redaction ---- */

static int note_times(const busbar_record *event, const busbar_standing *standing, void *ctx)
{
    (void)event;
    memcpy(ctx, standing, sizeof *standing);
    return 0;
}

static void a_standing_tells_when_the_event_failed_first_and_last(void **unused)
{
    (void)unused;
    fixture f;
    busbar_standing last;
    busbar_handler handler = HANDLER;
    handler.retry.base_ms = handler.retry.cap_ms = 60000;
    handler.retry.jitter = BUSBAR_JITTER_NONE;
    fixture_open(&f);
    assert_code(f.bus, busbar_subscribe(f.bus, &handler, 1), BUSBAR_OK);
    publish(f.bus, "a.retry");
    settle(&f, 100);
    busbar_query query = {.size = sizeof query, .consumer = "h", .state = BUSBAR_STATE_RETRY};
    assert_code(f.bus, busbar_list(f.bus, &query, note_times, &last), BUSBAR_OK);
    int64_t first_ms = last.first_ms;
    assert_int_equal(last.last_ms, first_ms);
    assert_true(first_ms >= BUSBAR_SIM_WALL_MS && first_ms < BUSBAR_SIM_WALL_MS + 1000);
    busbar_sim_advance(f.sim, UINT64_C(60000000));
    settle(&f, 100);
    assert_code(f.bus, busbar_list(f.bus, &query, note_times, &last), BUSBAR_OK);
    assert_int_equal(last.attempts, 2);
    assert_int_equal(last.first_ms, first_ms);
    assert_true(last.last_ms >= first_ms + 60000 && last.last_ms < first_ms + 61000);
    publish(f.bus, "a.new");
    query.state = BUSBAR_STATE_PENDING;
    assert_code(f.bus, busbar_list(f.bus, &query, note_times, &last), BUSBAR_OK);
    assert_true(last.first_ms == BUSBAR_TIME_UNKNOWN && last.last_ms == BUSBAR_TIME_UNKNOWN);
    fixture_close(&f);
}

static void what_is_not_due_yet_is_listed_and_shown_on_request(void **unused)
{
    (void)unused;
    fixture f;
    busbar_id id;
    prepare(&f);
    busbar_event event = event_of("a.later");
    event.delay_ms = 3600000;
    assert_code(f.bus, busbar_publish(f.bus, &event, &id), BUSBAR_OK);
    event.lane = BUSBAR_BULK;
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    assert_listed(&f, (busbar_query){.pattern = "a.later"}, "");
    assert_listed(&f, (busbar_query){.state = BUSBAR_STATE_SCHEDULED}, "a.later:- a.later:- ");
    assert_listed(&f, (busbar_query){.state = BUSBAR_STATE_SCHEDULED, .limit = 1}, "a.later:- ");
    assert_listed(&f, (busbar_query){.state = BUSBAR_STATE_SCHEDULED, .pattern = "b"}, "");
    assert_listed(&f, (busbar_query){.state = BUSBAR_STATE_SCHEDULED, .after_seq = {1, 1, 0}}, "a.later:- ");
    seen s = {.f = &f};
    assert_code(f.bus, busbar_show(f.bus, id.text, note, NULL, &s), BUSBAR_OK);
    assert_string_equal(s.text, "a.later:- ");
    busbar_query query = {.size = sizeof query, .consumer = "h", .state = BUSBAR_STATE_SCHEDULED};
    assert_code(f.bus, busbar_list(f.bus, &query, note, &s), BUSBAR_EINVAL);
    query.state = (busbar_state)(BUSBAR_STATE_SCHEDULED + 1);
    assert_code(f.bus, busbar_list(f.bus, &query, note, &s), BUSBAR_EINVAL);
    fixture_close(&f);
}

static int count_redacted(const busbar_record *event, const busbar_standing *standing, void *ctx)
{
    (void)standing;
    *(int *)ctx += event->redact;
    return 0;
}

static void assert_redacted(fixture *f, int expected)
{
    int count = 0;
    busbar_query query = {.size = sizeof query};
    assert_code(f->bus, busbar_list(f->bus, &query, count_redacted, &count), BUSBAR_OK);
    assert_int_equal(count, expected);
}

static void a_kind_is_redacted_from_its_registration_on_and_no_rollback_shows_its_data(void **unused)
{
    (void)unused;
    fixture f;
    busbar_kind kind;
    busbar_kind_desc desc = {.size = sizeof desc, .type = "card.used", .redact = true};
    fixture_open(&f);
    publish(f.bus, "card.used");
    publish(f.bus, "card.seen");
    assert_redacted(&f, 0);
    sql(f.db, "BEGIN");
    assert_code(f.bus, busbar_kind_register(f.bus, &desc, &kind), BUSBAR_OK);
    sql(f.db, "ROLLBACK");
    assert_redacted(&f, 0);
    busbar_event event = {.size = sizeof event, .kind = kind};
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    assert_redacted(&f, 2);
    fixture_reopen_bus(&f); /* another handle does not ask for it */
    desc.redact = false;
    assert_code(f.bus, busbar_kind_register(f.bus, &desc, &kind), BUSBAR_OK);
    publish(f.bus, "card.used");
    assert_redacted(&f, 3);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_by_lane_consumer_state_and_type),
        cmocka_unit_test(since_compares_wall_time_and_lets_the_unknown_pass),
        cmocka_unit_test(a_callback_can_end_the_listing_and_bad_queries_are_told),
        cmocka_unit_test(shows_by_derived_and_by_given_id),
        cmocka_unit_test(an_exception_is_shown_after_its_event_was_pruned),
        cmocka_unit_test(status_tells_positions_sizes_and_ages),
        cmocka_unit_test(everything_here_works_read_only),
        cmocka_unit_test(retention_keeps_what_somebody_needs),
        cmocka_unit_test(a_standing_tells_when_the_event_failed_first_and_last),
        cmocka_unit_test(what_is_not_due_yet_is_listed_and_shown_on_request),
        cmocka_unit_test(a_kind_is_redacted_from_its_registration_on_and_no_rollback_shows_its_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
