/* SPDX-License-Identifier: MIT */
/* P7: outcome events are published with the outcome or not at all, and carry on what connects them with their cause. */
#include <stdio.h>

#include "fixture.h"

typedef struct party {
    const fixture *f;
    busbar_verdict verdict;
    int calls;
    bool writes;      /* a row of state in each call */
    bool commits;     /* ends the transaction it runs in */
    const char *text; /* of its reason */
} party;

static busbar_verdict handle(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    party *p = ctx;
    (void)bus;
    (void)event;
    p->calls++;
    if (p->writes)
        sql(p->f->db, "INSERT INTO state VALUES (hex(randomblob(8)), 1)");
    if (p->commits)
        sql(p->f->db, "COMMIT");
    if (p->text)
        snprintf(reason->text, sizeof reason->text, "%s", p->text);
    return p->verdict;
}

static busbar_handler handler_of(party *p, const fixture *f, busbar_delivery delivery)
{
    p->f = f;
    return (busbar_handler){.size = sizeof(busbar_handler),
                            .name = "h",
                            .pattern = "door.*",
                            .fn = handle,
                            .ctx = p,
                            .delivery = delivery,
                            .retry = {.base_ms = 100, .cap_ms = 100, .max_attempts = 3},
                            .on_success = "done.door",
                            .on_failure = "failed.door"};
}

static void subscribe(fixture *f, busbar_handler handler)
{
    assert_code(f->bus, busbar_subscribe(f->bus, &handler, 1), BUSBAR_OK);
}

static int64_t count_of(const fixture *f, const char *type)
{
    char query[200];
    snprintf(query, sizeof query, "SELECT count(*) FROM busbar_events WHERE type = '%s'", type);
    return sql_integer(f->db, query);
}

static const char *of_sequel(const fixture *f, const char *type, const char *column)
{
    char query[300];
    snprintf(query, sizeof query, "SELECT %s FROM busbar_events WHERE type = '%s'", column, type);
    return sql_text(f->db, query);
}

static void say(fixture *f, bool correlated)
{
    static const busbar_attribute extensions[] = {
        {.name = "traceparent", .string = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
        {.name = "tracestate", .string = "vendor=\"1\""},
        {.name = "other", .string = "stays behind"},
        {.name = "correlationid", .string = "case \"7\""},
    };
    busbar_event event = event_with("door.opened", "{\"n\":1}");
    event.id = "cause-1";
    event.subject = "hall";
    event.key = "k";
    event.lane = BUSBAR_URGENT;
    event.extensions = extensions;
    event.extension_count = correlated ? 4 : 3;
    assert_code(f->bus, busbar_publish(f->bus, &event, NULL), BUSBAR_OK);
}

static void success_is_told(busbar_delivery delivery)
{
    party p = {.verdict = BUSBAR_DONE};
    fixture f;
    fixture_open(&f);
    subscribe(&f, handler_of(&p, &f, delivery));
    say(&f, true);
    settle(&f, 1000);
    assert_int_equal(count_of(&f, "done.door"), 1);
    assert_int_equal(count_of(&f, "failed.door"), 0);
    assert_string_equal(of_sequel(&f, "done.door", "subject || ' ' || key || ' ' || lane"), "hall k urgent");
    assert_string_equal(of_sequel(&f, "done.door", "source"), "urn:test:device");
    assert_string_equal(of_sequel(&f, "done.door", "data"), "");
    assert_string_equal(of_sequel(&f, "done.door", "extensions ->> 'causationid'"), "cause-1");
    assert_string_equal(of_sequel(&f, "done.door", "extensions ->> 'correlationid'"), "case \"7\"");
    assert_string_equal(of_sequel(&f, "done.door", "extensions ->> 'traceparent'"),
                        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert_string_equal(of_sequel(&f, "done.door", "extensions ->> 'tracestate'"), "vendor=\"1\"");
    assert_string_equal(of_sequel(&f, "done.door", "extensions ->> 'other'"), "");
    assert_balanced(f.bus, "h");
    fixture_close(&f);
}

static void p7_success_is_told_with_what_connects_it(void **unused)
{
    (void)unused;
    success_is_told(BUSBAR_TRANSACTIONAL);
    success_is_told(BUSBAR_OUTSIDE);
}

static void failure_is_told_once(busbar_delivery delivery)
{
    party p = {.verdict = BUSBAR_RETRY, .text = "pump \"A\" is\tdry"};
    fixture f;
    fixture_open(&f);
    subscribe(&f, handler_of(&p, &f, delivery));
    say(&f, false);
    settle(&f, 0);
    assert_int_equal(p.calls, 1);
    assert_int_equal(count_of(&f, "failed.door"), 0); /* not while it may still succeed */
    settle(&f, 1000);
    assert_int_equal(p.calls, 3);
    assert_int_equal(count_of(&f, "failed.door"), 1);
    assert_int_equal(count_of(&f, "done.door"), 0);
    assert_string_equal(of_sequel(&f, "failed.door", "data ->> 'reason'"), "pump \"A\" is\tdry");
    assert_string_equal(of_sequel(&f, "failed.door", "data ->> 'attempts'"), "3");
    assert_string_equal(of_sequel(&f, "failed.door", "extensions ->> 'correlationid'"), "cause-1");
    assert_string_equal(of_sequel(&f, "failed.door", "extensions ->> 'causationid'"), "cause-1");
    assert_balanced(f.bus, "h");
    fixture_close(&f);
}

static void p9_failure_is_told_only_when_it_is_final(void **unused)
{
    (void)unused;
    failure_is_told_once(BUSBAR_TRANSACTIONAL);
    failure_is_told_once(BUSBAR_OUTSIDE);
}

static void a_dead_verdict_without_a_reason_is_told_at_once(void **unused)
{
    (void)unused;
    party p = {.verdict = BUSBAR_DEAD};
    fixture f;
    fixture_open(&f);
    subscribe(&f, handler_of(&p, &f, BUSBAR_TRANSACTIONAL));
    say(&f, false);
    settle(&f, 1000);
    assert_int_equal(p.calls, 1);
    assert_string_equal(of_sequel(&f, "failed.door", "data"), "{\"reason\":null,\"attempts\":1}");
    fixture_close(&f);
}

/* Handlers cut their texts with snprintf. The death is told all the same, and JSON stays JSON. */
static void a_reason_cut_within_a_character_is_told_without_it(void **unused)
{
    (void)unused;
    char text[BUSBAR_REASON_SIZE];
    fixture f;
    memset(text, 'a', sizeof text - 2);
    memcpy(text + sizeof text - 2, "\xc3", 2);
    party p = {.verdict = BUSBAR_DEAD, .text = text};
    fixture_open(&f);
    subscribe(&f, handler_of(&p, &f, BUSBAR_TRANSACTIONAL));
    say(&f, false);
    settle(&f, 1000);
    assert_int_equal(p.calls, 1);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_URGENT).dead, 1);
    text[sizeof text - 2] = '\0';
    assert_string_equal(of_sequel(&f, "failed.door", "data ->> 'reason'"), text);
    fixture_close(&f);
}

static void p7_the_sequel_commits_with_the_effects(void **unused)
{
    (void)unused;
    party p = {.verdict = BUSBAR_DONE, .writes = true};
    fixture f;
    fixture_open(&f);
    subscribe(&f, handler_of(&p, &f, BUSBAR_TRANSACTIONAL));
    /* The sequel cannot be written: then the handler's effect is not kept either, nor the progress. */
    sql(f.db, "CREATE TRIGGER broken BEFORE INSERT ON busbar_log_urgent WHEN new.id IS NULL"
              " BEGIN SELECT raise(ABORT, 'no'); END");
    say(&f, false);
    uint64_t wait_us;
    assert_true(busbar_step(f.bus, 1000, &wait_us) < 0);
    assert_int_equal(p.calls, 1);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM state"), 0);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_URGENT).cursor, 0);
    sql(f.db, "DROP TRIGGER broken");
    busbar_sim_advance(f.sim, 1000000);
    settle(&f, 1000);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM state"), 1);
    assert_int_equal(count_of(&f, "done.door"), 1);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_URGENT).delivered, 1);
    fixture_close(&f);
}

static void p9_a_handler_that_commits_dies_with_a_sequel(void **unused)
{
    (void)unused;
    party p = {.verdict = BUSBAR_DONE, .commits = true};
    fixture f;
    fixture_open(&f);
    subscribe(&f, handler_of(&p, &f, BUSBAR_TRANSACTIONAL));
    say(&f, false);
    settle(&f, 1000);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_URGENT).dead, 1);
    assert_int_equal(count_of(&f, "failed.door"), 1);
    assert_string_equal(of_sequel(&f, "failed.door", "data ->> 'attempts'"), "3");
    assert_balanced(f.bus, "h");
    fixture_close(&f);
}

/* The bus takes hardly any data: what it says itself of a failure must not stop the subscription. */
static void a_small_limit_on_data_does_not_stop_it(void **unused)
{
    (void)unused;
    party p = {.verdict = BUSBAR_DEAD, .text = "a reason that is longer than sixteen bytes"};
    fixture f;
    fixture_open_with(&f, (busbar_options){.size = sizeof(busbar_options), .max_data_bytes = 16});
    subscribe(&f, handler_of(&p, &f, BUSBAR_TRANSACTIONAL));
    say(&f, false);
    settle(&f, 1000);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_URGENT).dead, 1);
    assert_int_equal(count_of(&f, "failed.door"), 1);
    fixture_close(&f);
}

static busbar_verdict refuse(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    (void)bus;
    (void)event;
    (void)reason;
    ++*(int *)ctx;
    return BUSBAR_DEAD;
}

static void a_refused_sequel_is_left_out(void **unused)
{
    (void)unused;
    party p = {.verdict = BUSBAR_DONE, .writes = true};
    int refused = 0;
    fixture f;
    fixture_open(&f);
    subscribe(&f, handler_of(&p, &f, BUSBAR_TRANSACTIONAL));
    subscribe(&f, (busbar_handler){.size = sizeof(busbar_handler),
                                   .name = "guard",
                                   .pattern = "done.#",
                                   .fn = refuse,
                                   .ctx = &refused,
                                   .delivery = BUSBAR_INLINE});
    say(&f, false);
    settle(&f, 1000);
    assert_int_equal(refused, 1);
    assert_int_equal(count_of(&f, "done.door"), 0);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM state"), 1);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_URGENT).delivered, 1);
    fixture_close(&f);
}

static void bad_outcome_types_are_refused(void **unused)
{
    (void)unused;
    party p = {.verdict = BUSBAR_DONE};
    fixture f;
    fixture_open(&f);
    busbar_handler handler = handler_of(&p, &f, BUSBAR_TRANSACTIONAL);
    handler.on_success = "no spaces";
    assert_code(f.bus, busbar_subscribe(f.bus, &handler, 1), BUSBAR_ETYPE);
    handler = handler_of(&p, &f, BUSBAR_INLINE);
    assert_code(f.bus, busbar_subscribe(f.bus, &handler, 1), BUSBAR_EINVAL);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p7_success_is_told_with_what_connects_it),
        cmocka_unit_test(p9_failure_is_told_only_when_it_is_final),
        cmocka_unit_test(a_dead_verdict_without_a_reason_is_told_at_once),
        cmocka_unit_test(a_reason_cut_within_a_character_is_told_without_it),
        cmocka_unit_test(p7_the_sequel_commits_with_the_effects),
        cmocka_unit_test(p9_a_handler_that_commits_dies_with_a_sequel),
        cmocka_unit_test(a_small_limit_on_data_does_not_stop_it),
        cmocka_unit_test(a_refused_sequel_is_left_out),
        cmocka_unit_test(bad_outcome_types_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
