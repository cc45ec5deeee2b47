/* SPDX-License-Identifier: MIT */
/*
 * A library without the parts that may be left out: what asks for one is refused by name and leaves nothing behind, all else
 * works, and what a library with the parts has left in the database is still there for it afterwards (P8, P13).
 * Usage: test_without PROGRAM   (whole.c)
 */
#include "fixture.h"

#include <busbar/loopback.h>
#include <stdio.h>
#include <sys/wait.h>

static const char *whole_program;

/* The handle's detail, or the one of a failed opening, names the option. */
static void assert_names(const char *text, const char *option)
{
    char wanted[64];
    snprintf(wanted, sizeof wanted, "-D%s=disabled", option);
    if (!strstr(text, wanted))
        fail_msg("\"%s\" does not name %s", text, wanted);
}

static void assert_refused(busbar *bus, int code, const char *option)
{
    busbar_error error = {.code = 0};
    assert_code(bus, code, BUSBAR_ENOTSUP);
    busbar_error_get(bus, &error);
    assert_int_equal(error.code, BUSBAR_ENOTSUP);
    assert_names(error.text, option);
}

/* ---- Refusing ---- */

static void an_opening_that_needs_a_part_is_refused(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    sqlite3 *second = fixture_connect(&f);
    const struct {
        busbar_options options;
        const char *part;
    } cases[] = {
        {{.max_bytes = 10000000}, "bounds"}, {{.reserve_bytes = 100000}, "bounds"},
        {{.max_events = {5}}, "bounds"},     {{.max_age_ms = {[BUSBAR_BULK] = 5}}, "bounds"},
        {{.keep_ms = 1}, "bounds"},          {{.keep_bytes = 1}, "bounds"},
        {{.keep_dead_ms = 1}, "bounds"},     {{.consumer_idle_ms = 1}, "bounds"},
        {{.poison_ends = 5}, "poison"},      {{.checkpoint_db = second}, "checkpoints"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        busbar *bus = NULL;
        busbar_error error = {.code = 0};
        busbar_options options = cases[i].options;
        options.size = sizeof options;
        options.port = f.options.port;
        options.source = f.options.source;
        sqlite3 *db = fixture_connect(&f);
        assert_int_equal(busbar_open(&bus, db, &options, &error), BUSBAR_ENOTSUP);
        assert_null(bus);
        assert_names(error.text, cases[i].part);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
    }
    assert_false(busbar_wal_race(NULL)); /* nobody is asked for a connection that is of no use */
    assert_int_equal(sqlite3_close(second), SQLITE_OK);
    fixture_close(&f);
}

static void a_scheduled_event_is_refused_and_the_transaction_goes_on(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    sql(f.db, "BEGIN");
    publish(f.bus, "a.b");
    busbar_event event = event_of("a.b");
    event.delay_ms = 1000;
    busbar_id id = {.seq = 77};
    assert_refused(f.bus, busbar_publish(f.bus, &event, &id), "schedule");
    event.delay_ms = 0;
    event.not_before_ms = BUSBAR_SIM_WALL_MS;
    assert_refused(f.bus, busbar_publish(f.bus, &event, &id), "schedule");
    assert_int_equal(id.seq, 77);
    sql(f.db, "COMMIT");
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_log_normal"), 1);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_later"), 0);
    fixture_close(&f);
}

static busbar_verdict count(busbar *bus, const busbar_record *record, busbar_reason *reason, void *ctx)
{
    (void)bus;
    (void)reason;
    int *calls = ctx;
    ++*calls;
    if (strcmp(record->type, "a.dead") == 0)
        return BUSBAR_DEAD;
    return strcmp(record->type, "a.again") == 0 && record->attempt == 1 ? BUSBAR_RETRY : BUSBAR_DONE;
}

static busbar_handler handler_of(const char *name, int *calls)
{
    return (busbar_handler){.size = sizeof(busbar_handler), .name = name, .fn = count, .ctx = calls};
}

static int64_t consumers(const fixture *f)
{
    return sql_integer(f->db, "SELECT count(*) FROM sqlite_schema WHERE name = 'busbar_consumer'") == 0
               ? 0
               : sql_integer(f->db, "SELECT count(*) FROM busbar_consumer");
}

static void a_handler_that_needs_a_part_is_refused_with_its_whole_table(void **unused)
{
    (void)unused;
    static const busbar_filter filter = {.op = BUSBAR_FILTER_EXACT, .attribute = "subject", .value = "x"};
    fixture f;
    int calls = 0;
    fixture_open(&f);
    busbar_handler table[] = {handler_of("good", &calls), handler_of("bad", &calls)};
    table[1].filter = &filter;
    assert_refused(f.bus, busbar_subscribe(f.bus, table, 2), "filters");
    table[1] = handler_of("bad", &calls);
    table[1].delivery = BUSBAR_INLINE;
    assert_refused(f.bus, busbar_subscribe(f.bus, table, 2), "inline_handlers");
    table[1].delivery = BUSBAR_OUTSIDE;
    assert_refused(f.bus, busbar_subscribe(f.bus, table, 2), "outside_handlers");
    table[1] = handler_of("bad", &calls);
    table[1].on_success = "a.done";
    assert_refused(f.bus, busbar_subscribe(f.bus, table, 2), "outcome_events");
    table[1].on_success = NULL;
    table[1].on_failure = "a.failed";
    assert_refused(f.bus, busbar_subscribe(f.bus, table, 2), "outcome_events");
    assert_int_equal(consumers(&f), 0);
    publish(f.bus, "a.b");
    settle(&f, 0);
    assert_int_equal(calls, 0);
    fixture_close(&f);
}

/* ---- Working ---- */

typedef struct peer {
    char ids[4096]; /* "id " of each message */
    int count;
} peer;

static void receive(const busbar_message *message, void *ctx)
{
    peer *p = ctx;
    p->count++;
    snprintf(p->ids + strlen(p->ids), sizeof p->ids - strlen(p->ids), "%s ", message->topic);
}

static busbar_transport loopback(peer *p)
{
    busbar_transport transport;
    busbar_loopback_options options = {.size = sizeof options, .receive = receive, .ctx = p};
    assert_int_equal(busbar_loopback_new(&options, &transport), BUSBAR_OK);
    return transport;
}

static busbar_route route_of(const char *name)
{
    return (busbar_route){.size = sizeof(busbar_route), .name = name, .topic = "{id}", .no_gaps = true};
}

/* Long enough for retries and for acknowledgements to be recorded. */
static void rest(fixture *f)
{
    for (int i = 0; i < 40; i++) {
        settle(f, 0);
        busbar_sim_advance(f->sim, 100000);
    }
    settle(f, 0);
}

static void a_route_that_needs_a_part_is_refused(void **unused)
{
    (void)unused;
    static const busbar_filter filter = {.op = BUSBAR_FILTER_EXACT, .attribute = "subject", .value = "x"};
    fixture f;
    peer p = {.count = 0};
    fixture_open(&f);
    busbar_route route = route_of("up");
    route.no_gaps = false;
    assert_refused(f.bus, busbar_route_add(f.bus, &route, loopback(&p)), "gaps");
    route.no_gaps = true;
    route.filter = &filter;
    assert_refused(f.bus, busbar_route_add(f.bus, &route, loopback(&p)), "filters");
    assert_int_equal(consumers(&f), 0);
    fixture_close(&f);
}

static void everything_else_works(void **unused)
{
    (void)unused;
    fixture f;
    peer p = {.ids = ""};
    int calls = 0;
    fixture_open(&f);
    busbar_handler handler = handler_of("local", &calls);
    handler.retry = (busbar_retry){.base_ms = 10};
    busbar_route route = route_of("up");
    busbar_transport transport = loopback(&p);
    assert_code(f.bus, busbar_subscribe(f.bus, &handler, 1), BUSBAR_OK);
    assert_code(f.bus, busbar_route_add(f.bus, &route, transport), BUSBAR_OK);
    const busbar_loopback_refusal refusal = {
        .size = sizeof refusal, .topic = "bad", .verdict = BUSBAR_REFUSED_DEAD, .text = "no"};
    assert_int_equal(busbar_loopback_refuse(transport, &refusal), BUSBAR_OK);
    static const char *const ids[] = {"one", "bad", "two", "three"};
    static const char *const types[] = {"a.b", "a.again", "a.dead", "a.b"};
    for (int i = 0; i < 4; i++) {
        busbar_event event = event_with(types[i], "{}");
        event.id = ids[i];
        event.lane = i == 3 ? BUSBAR_URGENT : BUSBAR_NORMAL;
        assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
        assert_int_equal(busbar_publish(f.bus, &event, NULL), BUSBAR_DUPLICATE);
    }
    rest(&f);
    assert_int_equal(calls, 5); /* one came twice */
    assert_string_equal(p.ids, "three one two ");
    assert_int_equal(progress_of(f.bus, "local", BUSBAR_NORMAL).dead, 1);
    assert_int_equal(progress_of(f.bus, "up", BUSBAR_NORMAL).dead, 1);
    busbar_loopback_link(transport, false);
    busbar_event late = event_of("a.b");
    late.ttl_ms = 500;
    assert_code(f.bus, busbar_publish(f.bus, &late, NULL), BUSBAR_OK);
    publish(f.bus, "a.b");
    rest(&f);
    busbar_loopback_link(transport, true);
    rest(&f);
    assert_int_equal(p.count, 4); /* time to live is no part: it holds */
    assert_int_equal(progress_of(f.bus, "up", BUSBAR_NORMAL).expired, 1);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_gap"), 1); /* recorded, for who tells it later */
    assert_balanced(f.bus, "local");
    assert_balanced(f.bus, "up");
    fixture_close(&f);
}

/* ---- In turn with a library that has the parts ---- */

static void run_whole(const fixture *f, const char *what)
{
    char command[1024];
    snprintf(command, sizeof command, "'%s' %s '%s'", whole_program, what, f->path);
    int status = system(command);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void p13_what_another_library_has_left_is_kept_for_it(void **unused)
{
    (void)unused;
    fixture f;
    peer p = {.ids = ""};
    fixture_open(&f);
    run_whole(&f, "prepare");
    fixture_reopen_bus(&f);
    busbar_route route = route_of("up");
    assert_code(f.bus, busbar_route_add(f.bus, &route, loopback(&p)), BUSBAR_OK);
    busbar_event same = event_of("a.b");
    same.id = "for-later";
    assert_int_equal(busbar_publish(f.bus, &same, NULL), BUSBAR_DUPLICATE);
    publish(f.bus, "a.b");
    busbar_sim_advance(f.sim, UINT64_C(7200000000)); /* the scheduled event is due: it waits on */
    rest(&f);
    assert_int_equal(p.count, 6); /* five were left by eviction */
    assert_int_equal(progress_of(f.bus, "up", BUSBAR_NORMAL).evicted, 15);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_later"), 1);
    assert_int_equal(sql_integer(f.db, "SELECT count FROM busbar_gap"), 15);
    assert_balanced(f.bus, "up");
    assert_code(f.bus, busbar_close(f.bus), BUSBAR_OK); /* gives the route up */
    run_whole(&f, "finish");
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_later"), 0);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_gap"), 0);
    assert_int_equal(busbar_open(&f.bus, f.db, &f.options, NULL), BUSBAR_OK);
    assert_balanced(f.bus, "up");
    fixture_close(&f);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_opening_that_needs_a_part_is_refused),
        cmocka_unit_test(a_scheduled_event_is_refused_and_the_transaction_goes_on),
        cmocka_unit_test(a_handler_that_needs_a_part_is_refused_with_its_whole_table),
        cmocka_unit_test(a_route_that_needs_a_part_is_refused),
        cmocka_unit_test(everything_else_works),
        cmocka_unit_test(p13_what_another_library_has_left_is_kept_for_it),
    };
    if (argc != 2)
        return 2;
    whole_program = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
