/* SPDX-License-Identifier: MIT */
/* Inline handlers: P1 (in the publisher's transaction, all or nothing) and P8 (they cost no row). */
#include <stdio.h>

#include "fixture.h"

typedef struct party {
    const fixture *f;
    int calls;
    char text[1000];    /* "type@seq " of each call */
    const char *refuse; /* this type is refused */
    busbar_verdict verdict;
    const char *reason;
    bool writes;           /* a row of state in each call */
    const char *publishes; /* an event of this type, for each of another type */
    int published;         /* what publishing returned last */
    const char *statement; /* ends the transaction, say */
    bool misuses;          /* steps and closes the bus */
    bool recurses;         /* publishes its own type */
} party;

static busbar_verdict handle(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    party *p = ctx;
    size_t length = strlen(p->text);
    uint64_t wait_us;
    p->calls++;
    snprintf(p->text + length, sizeof p->text - length, "%s@%lld ", event->type, (long long)event->seq);
    if (p->writes)
        sql(p->f->db, "INSERT INTO state VALUES (hex(randomblob(8)), 1)");
    if (p->publishes && (p->recurses || strcmp(p->publishes, event->type) != 0)) {
        busbar_event more = event_of(p->publishes);
        p->published = busbar_publish(bus, &more, NULL);
    }
    if (p->statement)
        sqlite3_exec(p->f->db, p->statement, NULL, NULL, NULL);
    if (p->misuses) {
        assert_int_equal(busbar_step(bus, 1000, &wait_us), BUSBAR_EMISUSE);
        assert_int_equal(busbar_close(bus), BUSBAR_EMISUSE);
    }
    if (p->reason)
        snprintf(reason->text, sizeof reason->text, "%s", p->reason);
    return p->refuse && strcmp(p->refuse, event->type) == 0 ? p->verdict : BUSBAR_DONE;
}

static busbar_handler handler_of(const char *name, party *p, const fixture *f)
{
    p->f = f;
    return (busbar_handler){
        .size = sizeof(busbar_handler), .name = name, .fn = handle, .ctx = p, .delivery = BUSBAR_INLINE};
}

static void subscribe(fixture *f, busbar_handler handler)
{
    assert_code(f->bus, busbar_subscribe(f->bus, &handler, 1), BUSBAR_OK);
}

static int try_publish(fixture *f, const char *type)
{
    busbar_event event = event_of(type);
    return busbar_publish(f->bus, &event, NULL);
}

static int64_t rows(const fixture *f, const char *table)
{
    char query[100];
    snprintf(query, sizeof query, "SELECT count(*) FROM %s", table);
    return sql_integer(f->db, query);
}

static void p1_what_it_writes_commits_with_the_event(void **unused)
{
    (void)unused;
    party p = {.writes = true};
    fixture f;
    fixture_open(&f);
    subscribe(&f, handler_of("h", &p, &f));
    publish(f.bus, "a.b"); /* in a transaction of its own */
    assert_int_equal(rows(&f, "state"), 1);
    sql(f.db, "BEGIN");
    publish(f.bus, "a.b");
    sql(f.db, "ROLLBACK");
    assert_int_equal(rows(&f, "state"), 1);
    assert_int_equal(rows(&f, "busbar_events"), 1);
    sql(f.db, "BEGIN");
    publish(f.bus, "a.b");
    sql(f.db, "SAVEPOINT inner");
    publish(f.bus, "a.c");
    sql(f.db, "ROLLBACK TO inner");
    sql(f.db, "COMMIT");
    assert_int_equal(rows(&f, "state"), 2);
    assert_int_equal(rows(&f, "busbar_events"), 2);
    assert_string_equal(p.text, "a.b@1 a.b@2 a.b@2 a.c@3 ");
    fixture_close(&f);
}

static void p1_a_refused_event_leaves_the_transaction_usable(void **unused)
{
    (void)unused;
    party first = {.writes = true};
    party second = {.refuse = "a.bad", .verdict = BUSBAR_DEAD, .reason = "the door is locked", .writes = true};
    fixture f;
    busbar_error error;
    fixture_open(&f);
    subscribe(&f, handler_of("first", &first, &f));
    subscribe(&f, handler_of("guard", &second, &f));
    assert_code(f.bus, try_publish(&f, "a.bad"), BUSBAR_EREFUSED);
    busbar_error_get(f.bus, &error);
    assert_non_null(strstr(error.text, "guard"));
    assert_non_null(strstr(error.text, "the door is locked"));
    assert_int_equal(rows(&f, "state"), 0);
    sql(f.db, "BEGIN");
    sql(f.db, "INSERT INTO state VALUES ('mine', 1)");
    publish(f.bus, "a.good");
    assert_code(f.bus, try_publish(&f, "a.bad"), BUSBAR_EREFUSED);
    publish(f.bus, "a.bad2"); /* a new kind after a refusal */
    sql(f.db, "COMMIT");
    assert_int_equal(rows(&f, "busbar_events"), 2);
    assert_int_equal(rows(&f, "state"), 1 + 4);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_events WHERE type = 'a.bad'"), 0);
    second.refuse = NULL;
    publish(f.bus, "a.bad"); /* its kind was not kept then */
    assert_string_equal(sql_text(f.db, "SELECT type FROM busbar_events WHERE seq = 3"), "a.bad");
    fixture_close(&f);
}

static void every_verdict_but_done_refuses(void **unused)
{
    (void)unused;
    static const int verdicts[] = {BUSBAR_RETRY, BUSBAR_DEAD, BUSBAR_WAIT, 99, -1};
    party p = {.refuse = "a.b"};
    fixture f;
    busbar_error error;
    fixture_open(&f);
    subscribe(&f, handler_of("h", &p, &f));
    for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++) {
        p.verdict = (busbar_verdict)verdicts[i];
        assert_code(f.bus, try_publish(&f, "a.b"), BUSBAR_EREFUSED);
    }
    busbar_error_get(f.bus, &error);
    assert_non_null(strstr(error.text, "no reason"));
    p.refuse = NULL;
    publish(f.bus, "a.b");
    assert_int_equal(rows(&f, "busbar_events"), 1);
    fixture_close(&f);
}

static void a_nested_event_has_its_own_fate(void **unused)
{
    (void)unused;
    party outer = {.publishes = "audit.line"};
    party guard = {.refuse = "audit.line", .verdict = BUSBAR_DEAD};
    fixture f;
    fixture_open(&f);
    busbar_handler handler = handler_of("outer", &outer, &f);
    handler.pattern = "door.*";
    subscribe(&f, handler);
    subscribe(&f, handler_of("guard", &guard, &f));
    publish(f.bus, "door.opened"); /* what it publishes is refused; it says DONE all the same */
    assert_int_equal(outer.published, BUSBAR_EREFUSED);
    assert_int_equal(rows(&f, "busbar_events"), 1);
    guard.refuse = NULL;
    publish(f.bus, "door.opened");
    assert_int_equal(outer.published, BUSBAR_OK);
    assert_int_equal(rows(&f, "busbar_events"), 3);
    guard.refuse = "door.opened"; /* the cause is refused after its consequence was accepted: both go */
    guard.verdict = BUSBAR_RETRY;
    assert_code(f.bus, try_publish(&f, "door.opened"), BUSBAR_EREFUSED);
    assert_int_equal(rows(&f, "busbar_events"), 3);
    fixture_close(&f);
}

static void endless_nesting_is_refused(void **unused)
{
    (void)unused;
    party p = {.publishes = "a.b", .recurses = true};
    fixture f;
    fixture_open(&f);
    subscribe(&f, handler_of("h", &p, &f));
    publish(f.bus, "a.b");
    assert_in_range(p.calls, 2, 10);
    assert_int_equal(rows(&f, "busbar_events"), p.calls);
    publish(f.bus, "a.b"); /* and it works as before */
    fixture_close(&f);
}

static void p8_patterns_filters_and_lanes(void **unused)
{
    (void)unused;
    static const busbar_filter hall = {.op = BUSBAR_FILTER_EXACT, .attribute = "subject", .value = "hall"};
    party p = {.calls = 0};
    fixture f;
    fixture_open(&f);
    busbar_handler handler = handler_of("h", &p, &f);
    handler.pattern = "door.#";
    handler.filter = &hall;
    handler.lanes = BUSBAR_LANES_URGENT | BUSBAR_LANES_BULK;
    subscribe(&f, handler);
    busbar_event event = event_of("door.opened");
    event.subject = "hall";
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    assert_int_equal(p.calls, 0);
    event.lane = BUSBAR_BULK;
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    assert_int_equal(p.calls, 1);
    event.subject = "kitchen";
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    event.subject = "hall";
    event.type = "window.opened";
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    assert_int_equal(p.calls, 1);
    assert_int_equal(rows(&f, "busbar_consumer"), 0); /* a name, but no progress */
    assert_int_equal(rows(&f, "busbar_exception"), 0);
    fixture_close(&f);
}

static void given_ids_are_free_again_after_a_refusal(void **unused)
{
    (void)unused;
    party p = {.refuse = "a.b", .verdict = BUSBAR_DEAD};
    fixture f;
    fixture_open(&f);
    subscribe(&f, handler_of("h", &p, &f));
    busbar_event event = event_of("a.b");
    busbar_id id = {.seq = 77};
    event.id = "order-1";
    assert_code(f.bus, busbar_publish(f.bus, &event, &id), BUSBAR_EREFUSED);
    assert_int_equal(id.seq, 77); /* untouched */
    p.refuse = NULL;
    assert_code(f.bus, busbar_publish(f.bus, &event, &id), BUSBAR_OK);
    assert_int_equal(id.seq, 1);
    assert_int_equal(p.calls, 2);
    assert_code(f.bus, busbar_publish(f.bus, &event, &id), BUSBAR_DUPLICATE);
    assert_int_equal(p.calls, 2); /* nothing was stored, so nobody is asked */
    fixture_close(&f);
}

static void ends_the_transaction(const char *statement, bool in_transaction)
{
    party p = {.statement = statement};
    fixture f;
    fixture_open(&f);
    publish(f.bus, "before");
    subscribe(&f, handler_of("h", &p, &f));
    if (in_transaction)
        sql(f.db, "BEGIN; INSERT INTO state VALUES ('mine', 1)");
    assert_code(f.bus, try_publish(&f, "a.b"), BUSBAR_EMISUSE);
    sqlite3_exec(f.db, "ROLLBACK", NULL, NULL, NULL);
    assert_true(sqlite3_get_autocommit(f.db) != 0);
    p.statement = NULL;
    publish(f.bus, "a.c");
    assert_string_equal(sql_text(f.db, "SELECT type FROM busbar_events ORDER BY seq DESC LIMIT 1"), "a.c");
    fixture_close(&f);
}

static void p1_a_handler_that_ends_the_transaction_is_caught(void **unused)
{
    (void)unused;
    ends_the_transaction("ROLLBACK", false);
    ends_the_transaction("ROLLBACK", true);
    ends_the_transaction("COMMIT", false);
    ends_the_transaction("COMMIT", true);
}

static void the_bus_cannot_be_stepped_or_closed_inside(void **unused)
{
    (void)unused;
    party p = {.misuses = true};
    fixture f;
    fixture_open(&f);
    subscribe(&f, handler_of("h", &p, &f));
    publish(f.bus, "a.b");
    assert_int_equal(p.calls, 1);
    fixture_close(&f);
}

/* Names are one space: of inline handlers and of consumers of this handle. */
static void names_are_unique(void **unused)
{
    (void)unused;
    party p = {.calls = 0};
    fixture f;
    fixture_open(&f);
    subscribe(&f, handler_of("h", &p, &f));
    busbar_handler again = handler_of("h", &p, &f);
    assert_code(f.bus, busbar_subscribe(f.bus, &again, 1), BUSBAR_EEXISTS);
    again.delivery = BUSBAR_TRANSACTIONAL;
    assert_code(f.bus, busbar_subscribe(f.bus, &again, 1), BUSBAR_EEXISTS);
    again.name = "worker";
    subscribe(&f, again);
    again.delivery = BUSBAR_INLINE;
    assert_code(f.bus, busbar_subscribe(f.bus, &again, 1), BUSBAR_EEXISTS);
    fixture_close(&f);
}

/* What a transactional handler publishes passes the guards too, and is undone with it. */
static void p7_events_of_handlers_pass_the_guards(void **unused)
{
    (void)unused;
    party worker = {.publishes = "follow.up"};
    party guard = {.writes = true};
    fixture f;
    fixture_open(&f);
    busbar_handler handler = handler_of("worker", &worker, &f);
    handler.delivery = BUSBAR_TRANSACTIONAL;
    handler.pattern = "a.*";
    subscribe(&f, handler);
    handler = handler_of("guard", &guard, &f);
    handler.pattern = "follow.*";
    subscribe(&f, handler);
    publish(f.bus, "a.b");
    worker.refuse = "a.b";
    worker.verdict = BUSBAR_DEAD;
    settle(&f, 1000);
    assert_int_equal(guard.calls, 1);
    assert_int_equal(rows(&f, "state"), 0);
    worker.refuse = NULL;
    publish(f.bus, "a.b");
    settle(&f, 1000);
    assert_int_equal(guard.calls, 2);
    assert_int_equal(rows(&f, "state"), 1);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p1_what_it_writes_commits_with_the_event),
        cmocka_unit_test(p1_a_refused_event_leaves_the_transaction_usable),
        cmocka_unit_test(every_verdict_but_done_refuses),
        cmocka_unit_test(a_nested_event_has_its_own_fate),
        cmocka_unit_test(endless_nesting_is_refused),
        cmocka_unit_test(p8_patterns_filters_and_lanes),
        cmocka_unit_test(given_ids_are_free_again_after_a_refusal),
        cmocka_unit_test(p1_a_handler_that_ends_the_transaction_is_caught),
        cmocka_unit_test(the_bus_cannot_be_stepped_or_closed_inside),
        cmocka_unit_test(names_are_unique),
        cmocka_unit_test(p7_events_of_handlers_pass_the_guards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
