/* SPDX-License-Identifier: MIT */
/*
 * P12, faults are errors, not ends: one history of opening, publishing, handling, relaying and looking, run again and again,
 * in which the first, the second, the third … allocation or call of SQLite fails. Nobody crashes, every failure has a code
 * of the environment, and once it is over, work goes on as if it had not been: P1 (what was published is there, and nothing
 * else), P3 and P7 (everything arrives; a transactional handler's effects are there once), P8 (the sums are right).
 */
#include "fixture.h"

#include <busbar/loopback.h>
#include <busbar/sqlite.h>
#include <stdio.h>

#include "heap.h"

/* ---- SQLite, one call of which fails ---- */

static struct {
    int64_t until; /* 0: no call is to fail */
    int code;
    bool rolls_back; /* SQLite ends the transaction with some failures, and with others it does not */
    bool failed;
    int native; /* of the last call, if it was made to fail */
} fault;

static bool fails(sqlite3 *db)
{
    fault.native = SQLITE_OK;
    if (fault.until == 0 || --fault.until > 0)
        return false;
    fault.failed = true;
    fault.native = fault.code;
    if (fault.rolls_back && !sqlite3_get_autocommit(db))
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return true;
}

static int prepare(sqlite3 *db, const char *text, int size, unsigned flags, sqlite3_stmt **out_stmt, const char **tail)
{
    return fails(db) ? fault.code : sqlite3_prepare_v3(db, text, size, flags, out_stmt, tail);
}

static int step(sqlite3_stmt *stmt)
{
    return fails(sqlite3_db_handle(stmt)) ? fault.code & 0xff : sqlite3_step(stmt);
}

static int bind_text(sqlite3_stmt *stmt, int index, const char *text, int size_bytes, void (*destructor)(void *))
{
    return fails(sqlite3_db_handle(stmt)) ? fault.code : sqlite3_bind_text(stmt, index, text, size_bytes, destructor);
}

static int extended_errcode(sqlite3 *db)
{
    return fault.native != SQLITE_OK ? fault.native : sqlite3_extended_errcode(db);
}

static const char *errmsg(sqlite3 *db)
{
    return fault.native != SQLITE_OK ? sqlite3_errstr(fault.native) : sqlite3_errmsg(db);
}

/* ---- The history ---- */

#define EVENTS_MAX 8
#define WORKER     "worker-1"

typedef struct history {
    fixture f;
    busbar_sqlite routines;
    char published[EVENTS_MAX][BUSBAR_ID_MAX + 1];
    int published_count;
    char outside[4000]; /* " id" of each event that the outside handler got */
    char relayed[60000];
} history;

static bool failed(void)
{
    return fault.failed || heap_failed();
}

/* Every failure is the one that was made, and says so. True if the call succeeded. */
static bool went_well(const busbar *bus, int code)
{
    busbar_error error = {.code = 0};
    if (code >= 0)
        return true;
    busbar_error_get(bus, &error);
    if (!failed() || code > BUSBAR_ENOMEM || code < BUSBAR_ESQLITE || (bus && error.text[0] == '\0'))
        fail_msg("%s: %s", busbar_error_name(code), error.text);
    return false;
}

static busbar_verdict inside(busbar *bus, const busbar_record *record, busbar_reason *reason, void *ctx)
{
    history *h = ctx;
    char text[400];
    (void)reason;
    snprintf(text, sizeof text, "INSERT INTO effects VALUES ('%s')", record->id);
    sql(h->f.db, text);
    if (strcmp(record->type, "a.b") != 0)
        return BUSBAR_DONE;
    busbar_event event = event_of("follow.up");
    return went_well(bus, busbar_publish(bus, &event, NULL)) ? BUSBAR_DONE : BUSBAR_RETRY;
}

static busbar_verdict outside(busbar *bus, const busbar_record *record, busbar_reason *reason, void *ctx)
{
    history *h = ctx;
    (void)bus;
    (void)reason;
    size_t length = strlen(h->outside);
    snprintf(h->outside + length, sizeof h->outside - length, " %s", record->id);
    return BUSBAR_DONE;
}

static void receive(const busbar_message *message, void *ctx)
{
    history *h = ctx;
    size_t length = strlen(h->relayed);
    snprintf(h->relayed + length, sizeof h->relayed - length, "%.*s\n", (int)message->payload_size_bytes,
             (const char *)message->payload);
}

static void open_bus(history *h)
{
    busbar_error error = {.code = 0};
    int code = busbar_open(&h->f.bus, h->f.db, &h->f.options, &error);
    if (code < 0) {
        assert_true(failed());
        assert_int_equal(error.code, code);
        assert_true(error.text[0] != '\0');
        code = busbar_open(&h->f.bus, h->f.db, &h->f.options, NULL);
    }
    assert_int_equal(code, BUSBAR_OK);
}

static void add_consumers(history *h)
{
    const busbar_handler handlers[2] = {
        {.size = sizeof(busbar_handler), .name = "in", .fn = inside, .ctx = h, .start = BUSBAR_START_BEGINNING},
        {.size = sizeof(busbar_handler),
         .name = "out",
         .pattern = "#",
         .fn = outside,
         .ctx = h,
         .start = BUSBAR_START_BEGINNING,
         .delivery = BUSBAR_OUTSIDE},
    };
    const busbar_route route = {.size = sizeof route, .name = "up", .topic = "d/{type}/{subject}", .window = 2};
    const busbar_loopback_options options = {.size = sizeof options, .receive = receive, .ctx = h};
    busbar_transport transport;
    int code;
    for (int i = 0; !went_well(h->f.bus, busbar_subscribe(h->f.bus, handlers, 2)); i++)
        assert_true(i < 2);
    for (int i = 0;; i++) {
        assert_true(i < 3);
        code = busbar_loopback_new(&options, &transport);
        if (code == BUSBAR_OK && went_well(h->f.bus, busbar_route_add(h->f.bus, &route, transport)))
            break;
    }
}

static int64_t stored(const history *h)
{
    const char *count = "SELECT count(*) FROM sqlite_schema WHERE name = 'busbar_events'";
    return sql_integer(h->f.db, count) == 0
               ? 0
               : sql_integer(h->f.db, "SELECT count(*) FROM busbar_events WHERE type <> 'follow.up'");
}

static bool try_publish(history *h, busbar_event event)
{
    busbar_id id;
    assert_true(h->published_count < EVENTS_MAX);
    if (!went_well(h->f.bus, busbar_publish(h->f.bus, &event, &id)))
        return false;
    strcpy(h->published[h->published_count++], id.text);
    return true;
}

/* In a transaction of the application's; again from its beginning if something fails. */
static bool transaction(history *h)
{
    const busbar_attribute extension = {.name = "site", .type = BUSBAR_ATTRIBUTE_INTEGER, .integer = 7};
    int before = h->published_count;
    busbar_event keyed = event_with("a.c", "[1,2]");
    keyed.key = "k";
    busbar_event given = event_of("a.d");
    given.id = "given";
    given.lane = BUSBAR_URGENT;
    given.extensions = &extension;
    given.extension_count = 1;
    sql(h->f.db, "BEGIN IMMEDIATE; INSERT INTO state VALUES ('pump', 1)");
    bool well = try_publish(h, keyed) && try_publish(h, given);
    if (!sqlite3_get_autocommit(h->f.db))
        sql(h->f.db, well ? "COMMIT" : "ROLLBACK");
    if (!well)
        h->published_count = before;
    return well;
}

static void publish_all(history *h)
{
    const busbar_kind_desc desc = {.size = sizeof desc, .type = "a.e", .dataschema = "urn:schema"};
    busbar_event first = event_with("a.b", "{\"n\":1}");
    first.subject = "door";
    first.ttl_ms = 3600000;
    for (int i = 0; !try_publish(h, first); i++) {
        assert_int_equal(stored(h), 0); /* P1: what failed left nothing */
        assert_true(i < 2);
    }
    for (int i = 0; !transaction(h); i++) {
        assert_int_equal(stored(h), 1);
        assert_int_equal(sql_integer(h->f.db, "SELECT count(*) FROM state"), 0);
        assert_true(i < 2);
    }
    busbar_event registered = {.size = sizeof registered, .lane = BUSBAR_BULK};
    for (int i = 0; !went_well(h->f.bus, busbar_kind_register(h->f.bus, &desc, &registered.kind)); i++)
        assert_true(i < 2);
    for (int i = 0; !try_publish(h, registered); i++)
        assert_true(i < 2);
    assert_int_equal(stored(h), 4);
    busbar_event later = event_of("a.f");
    later.delay_ms = 500;
    for (int i = 0; !try_publish(h, later); i++)
        assert_true(i < 2);
}

static void work(history *h)
{
    for (int turns = 0; turns < 40; turns++) {
        uint64_t wait_us = 0;
        if (!went_well(h->f.bus, busbar_step(h->f.bus, 1000000, &wait_us)))
            wait_us = 1000000;
        busbar_sim_advance(h->f.sim, wait_us > 3000000 ? 3000000 : wait_us + 1);
    }
}

static int see(const busbar_record *event, const busbar_standing *standing, void *ctx)
{
    (void)event;
    (void)standing;
    (void)ctx;
    return 0;
}

static int see_standing(const busbar_standing *standing, void *ctx)
{
    return see(NULL, standing, ctx);
}

static int see_consumer(const busbar_consumer_status *consumer, void *ctx)
{
    (void)consumer;
    (void)ctx;
    return 0;
}

static void look(history *h)
{
    busbar *bus = h->f.bus;
    busbar_status status = {.size = sizeof status};
    busbar_query query = {.size = sizeof query};
    (void)went_well(bus, busbar_status_get(bus, &status));
    (void)went_well(bus, busbar_consumer_list(bus, see_consumer, NULL));
    (void)went_well(bus, busbar_list(bus, &query, see, NULL));
    query.consumer = "up";
    query.pattern = "a.#";
    (void)went_well(bus, busbar_list(bus, &query, see, NULL));
    (void)went_well(bus, busbar_show(bus, h->published[0], see, see_standing, NULL));
    (void)went_well(bus, busbar_show(bus, "given", see, see_standing, NULL));
}

/* What was relayed is relayed once more, and at once; nothing is given up. */
static void act(history *h)
{
    busbar_selector again = {.size = sizeof again, .consumer = "up", .pattern = "a.#", .limit = 3};
    busbar_selector given = {.size = sizeof given, .consumer = "up", .id = "given"};
    busbar_selector none = {.size = sizeof none, .pattern = "no.such"};
    uint64_t count = 0;
    (void)went_well(h->f.bus, busbar_act(h->f.bus, &again, BUSBAR_ACTION_REPLAY, &count));
    (void)went_well(h->f.bus, busbar_act(h->f.bus, &given, BUSBAR_ACTION_REPLAY, &count));
    (void)went_well(h->f.bus, busbar_act(h->f.bus, &again, BUSBAR_ACTION_RETRY, &count));
    (void)went_well(h->f.bus, busbar_act(h->f.bus, &none, BUSBAR_ACTION_DROP, &count));
}

static void check(history *h)
{
    sqlite3 *db = h->f.db;
    assert_string_equal(sql_text(db, "PRAGMA integrity_check"), "ok");
    assert_int_equal(stored(h), h->published_count);
    assert_int_equal(sql_integer(db, "SELECT count(*) FROM busbar_events WHERE type = 'follow.up'"), 1);
    assert_int_equal(sql_integer(db, "SELECT count(*) FROM effects"), h->published_count + 1);
    assert_int_equal(sql_integer(db, "SELECT count(DISTINCT id) FROM effects"), h->published_count + 1);
    for (int i = 0; i < h->published_count; i++) {
        if (!strstr(h->outside, h->published[i]) || !strstr(h->relayed, h->published[i]))
            fail_msg("%s did not arrive", h->published[i]);
    }
    assert_balanced(h->f.bus, "in");
    assert_balanced(h->f.bus, "out");
    assert_balanced(h->f.bus, "up");
}

/* A lease that the fault kept from being given back is free when its worker has ended. */
static void forget(history *h)
{
    int code = BUSBAR_ENOTFOUND;
    for (int i = 0; code != BUSBAR_OK; i++) {
        if (i == 3)
            fail_msg("it cannot be removed: %s", busbar_error_name(code));
        code = busbar_consumer_remove(h->f.bus, "up");
        if (code == BUSBAR_ELEASE && failed()) {
            assert_int_equal(busbar_sim_worker_gone(h->f.sim, WORKER), BUSBAR_OK);
        } else {
            (void)went_well(h->f.bus, code);
        }
    }
    assert_int_equal(sql_integer(h->f.db, "SELECT count(*) FROM busbar_consumer"), 2);
}

/* The whole history. False if the fault lies behind its end. */
static bool run(int64_t n, bool allocation, int code, bool rolls_back)
{
    static history h;
    memset(&h, 0, sizeof h);
    memset(&fault, 0, sizeof fault);
    h.routines = (busbar_sqlite)BUSBAR_SQLITE_ROUTINES;
    h.routines.prepare_v3 = prepare;
    h.routines.step = step;
    h.routines.bind_text = bind_text;
    h.routines.extended_errcode = extended_errcode;
    h.routines.errmsg = errmsg;
    fixture_open_with(&h.f, (busbar_options){.sqlite = &h.routines});
    assert_int_equal(busbar_sim_worker_set(h.f.sim, WORKER), BUSBAR_OK);
    sql(h.f.db, "PRAGMA synchronous=NORMAL; CREATE TABLE effects (id TEXT)");
    assert_int_equal(busbar_close(h.f.bus), BUSBAR_OK);
    heap_fail_at(allocation ? n : 0);
    fault.until = allocation ? 0 : n;
    fault.code = code;
    fault.rolls_back = rolls_back;

    open_bus(&h);
    add_consumers(&h);
    publish_all(&h);
    work(&h);
    look(&h);
    act(&h);
    assert_int_equal(busbar_close(h.f.bus), BUSBAR_OK);
    open_bus(&h);
    add_consumers(&h);
    work(&h);
    int64_t still = fault.until;
    fault.until = 0; /* the check itself needs no fault */
    check(&h);
    fault.until = still;
    assert_int_equal(busbar_close(h.f.bus), BUSBAR_OK);
    open_bus(&h);
    forget(&h);
    bool reached = failed();
    heap_fail_at(0);
    fault.until = 0;
    fixture_close(&h.f);
    return reached;
}

static void p12_any_allocation_may_fail(void **unused)
{
    (void)unused;
    int64_t n = 1;
    while (run(n, true, 0, false))
        n++;
    printf("# %lld allocations failed in turn\n", (long long)n - 1);
    assert_true(n > 10);
}

/* ---- A transaction of the bus that cannot be rolled back ---- */

static bool refuses_rollback; /* as for want of memory: a statement that must be prepared again */
static bool refuses_append;

static int step_badly(sqlite3_stmt *stmt)
{
    const char *text = sqlite3_sql(stmt);
    bool bad = (refuses_rollback && strcmp(text, "ROLLBACK") == 0) ||
               (refuses_append && strncmp(text, "INSERT INTO main.busbar_log", 27) == 0);
    fault.native = bad ? SQLITE_NOMEM : SQLITE_OK;
    return bad ? SQLITE_NOMEM : sqlite3_step(stmt);
}

static void open_badly(history *h)
{
    memset(h, 0, sizeof *h);
    memset(&fault, 0, sizeof fault);
    h->routines = (busbar_sqlite)BUSBAR_SQLITE_ROUTINES;
    h->routines.step = step_badly;
    h->routines.extended_errcode = extended_errcode;
    h->routines.errmsg = errmsg;
    fixture_open_with(&h->f, (busbar_options){.sqlite = &h->routines});
    publish(h->f.bus, "a.b");
}

/* Publishes outside of any transaction, which fails half-way, and its transaction stays open. */
static void leave_open(history *h)
{
    busbar_event event = event_of("a.new");
    refuses_rollback = refuses_append = true;
    assert_code(h->f.bus, busbar_publish(h->f.bus, &event, NULL), BUSBAR_ENOMEM);
    refuses_rollback = refuses_append = false;
    assert_false(sqlite3_get_autocommit(h->f.db));
}

static void p1_what_is_left_open_is_undone_before_anything_else(void **unused)
{
    static history h;
    busbar_kind kind;
    const busbar_kind_desc desc = {.size = sizeof desc, .type = "a.e"};
    (void)unused;
    open_badly(&h);
    leave_open(&h);
    assert_code(h.f.bus, busbar_migrate(h.f.bus), BUSBAR_EROLLEDBACK);
    assert_true(sqlite3_get_autocommit(h.f.db));
    leave_open(&h);
    assert_code(h.f.bus, busbar_kind_register(h.f.bus, &desc, &kind), BUSBAR_EROLLEDBACK);
    assert_true(sqlite3_get_autocommit(h.f.db));
    publish(h.f.bus, "a.b");
    assert_int_equal(sql_integer(h.f.db, "SELECT count(*) FROM busbar_events"), 2);
    leave_open(&h);
    assert_code(h.f.bus, busbar_close(h.f.bus), BUSBAR_OK);
    assert_true(sqlite3_get_autocommit(h.f.db));
    h.f.bus = NULL;
    fixture_close(&h.f);
}

/* The application has ended it, and begun its own: SQLite cannot tell whose it is. Whatever is done to it is said. */
static void p1_a_transaction_that_may_be_the_applications_is_not_undone_in_silence(void **unused)
{
    static history h;
    busbar_event event = event_of("a.b");
    (void)unused;
    open_badly(&h);
    leave_open(&h);
    sql(h.f.db, "ROLLBACK; BEGIN; INSERT INTO state VALUES ('pump', 1)");
    assert_code(h.f.bus, busbar_publish(h.f.bus, &event, NULL), BUSBAR_EROLLEDBACK);
    assert_true(sqlite3_get_autocommit(h.f.db));
    assert_int_equal(sql_integer(h.f.db, "SELECT count(*) FROM busbar_events"), 1);
    leave_open(&h);
    sql(h.f.db, "ROLLBACK; BEGIN"); /* of one that has written nothing yet it can: this is not the bus's */
    publish(h.f.bus, "a.b");
    sql(h.f.db, "COMMIT");
    assert_int_equal(sql_integer(h.f.db, "SELECT count(*) FROM busbar_events"), 2);
    fixture_close(&h.f);
}

static int64_t stride = 5;

static void sweep(int code, bool rolls_back)
{
    int64_t n = 1;
    while (run(n, false, code, rolls_back))
        n += stride;
    printf("# %lld calls of SQLite, one in %lld failed in turn: %s\n", (long long)n - 1, (long long)stride,
           sqlite3_errstr(code));
    assert_true(n > 100);
}

static void p12_any_call_of_sqlite_may_fail(void **unused)
{
    (void)unused;
    sweep(SQLITE_IOERR_READ, false);
}

static void p12_any_call_of_sqlite_may_fail_and_roll_back(void **unused)
{
    (void)unused;
    sweep(SQLITE_FULL, true);
}

/* Argument: every how many calls of SQLite one is to fail. */
int main(int argc, char **argv)
{
    if (argc > 1)
        stride = strtoll(argv[1], NULL, 10);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p12_any_allocation_may_fail),
        cmocka_unit_test(p1_what_is_left_open_is_undone_before_anything_else),
        cmocka_unit_test(p1_a_transaction_that_may_be_the_applications_is_not_undone_in_silence),
        cmocka_unit_test(p12_any_call_of_sqlite_may_fail),
        cmocka_unit_test(p12_any_call_of_sqlite_may_fail_and_roll_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
