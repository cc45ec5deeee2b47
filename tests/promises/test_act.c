/* SPDX-License-Identifier: MIT */
/* busbar_act: what people do about dead and past events, and P8: the counters balance after every act. */
#include "fixture.h"

#include <busbar/loopback.h>
#include <stdio.h>

#define HOUR_MS 3600000

/* A handler that fails what it is told to fail. */
typedef struct world {
    fixture f;
    busbar_handler handler;
    const char *failing; /* types that hold this fail; NULL: none */
    busbar_verdict verdict;
    char handled[8192]; /* "subject " of each event that was handled with success */
} world;

static busbar_verdict judge(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    world *w = ctx;
    (void)bus;
    if (w->failing && strstr(event->type, w->failing)) {
        strcpy(reason->text, "told to fail");
        return w->verdict;
    }
    size_t length = strlen(w->handled);
    if (length < sizeof w->handled - 64)
        snprintf(w->handled + length, sizeof w->handled - length, "%s ", event->subject ? event->subject : "-");
    return BUSBAR_DONE;
}

static void subscribe(world *w)
{
    w->handler.ctx = w;
    assert_code(w->f.bus, busbar_subscribe(w->f.bus, &w->handler, 1), BUSBAR_OK);
}

static void begin(world *w, busbar_order order, busbar_options options)
{
    memset(w, 0, sizeof *w);
    options.size = sizeof options;
    fixture_open_with(&w->f, options);
    w->verdict = BUSBAR_DEAD;
    w->handler = (busbar_handler){.size = sizeof w->handler,
                                  .name = "h",
                                  .pattern = "t.#",
                                  .fn = judge,
                                  .order = order,
                                  .retry.base_ms = HOUR_MS};
    w->handler.retry.cap_ms = HOUR_MS;
    subscribe(w);
}

static void say(world *w, const char *type, const char *subject, const char *key)
{
    busbar_event event = event_of(type);
    event.subject = subject;
    event.key = key;
    assert_code(w->f.bus, busbar_publish(w->f.bus, &event, NULL), BUSBAR_OK);
}

static uint64_t act_on(world *w, busbar_selector selector, busbar_action action)
{
    uint64_t count = 99;
    selector.size = sizeof selector;
    assert_code(w->f.bus, busbar_act(w->f.bus, &selector, action, &count), BUSBAR_OK);
    assert_balanced(w->f.bus, "h");
    return count;
}

static uint64_t act(world *w, busbar_action action)
{
    return act_on(w, (busbar_selector){.consumer = "h"}, action);
}

static void assert_counts(world *w, int64_t delivered, int64_t dead, int64_t retrying, int64_t dropped,
                          int64_t replayed)
{
    busbar_progress p = progress_of(w->f.bus, "h", BUSBAR_NORMAL);
    assert_int_equal(p.delivered, delivered);
    assert_int_equal(p.dead, dead);
    assert_int_equal(p.retrying, retrying);
    assert_int_equal(p.dropped, dropped);
    assert_int_equal(p.replayed, replayed);
    assert_balanced(w->f.bus, "h");
}

static void a_dead_letter_is_tried_again_from_the_first_attempt(void **unused)
{
    (void)unused;
    world w;
    begin(&w, BUSBAR_ORDER_NONE, (busbar_options){.size = 0});
    w.failing = "bad";
    say(&w, "t.bad", "one", NULL);
    say(&w, "t.good", "two", NULL);
    settle(&w.f, 100);
    assert_counts(&w, 1, 1, 0, 0, 0);
    assert_int_equal(act(&w, BUSBAR_ACTION_RETRY), 1);
    assert_counts(&w, 1, 0, 1, 0, 0);
    assert_int_equal(sql_integer(w.f.db, "SELECT attempts = 0 AND state = 2 FROM busbar_exception"), 1);
    settle(&w.f, 100); /* it fails once more: dead again, and counted once */
    assert_counts(&w, 1, 1, 0, 0, 0);
    assert_int_equal(sql_integer(w.f.db, "SELECT attempts = 1 AND first_ms = last_ms AND first_boot <> 0"
                                         " FROM busbar_exception"),
                     1);
    w.failing = NULL;
    assert_int_equal(act(&w, BUSBAR_ACTION_RETRY), 1);
    settle(&w.f, 100);
    assert_counts(&w, 2, 0, 0, 0, 0);
    assert_string_equal(w.handled, "two one ");
    assert_int_equal(act(&w, BUSBAR_ACTION_RETRY), 0);
    fixture_close(&w.f);
}

static void what_waits_for_retry_is_tried_now(void **unused)
{
    (void)unused;
    world w;
    begin(&w, BUSBAR_ORDER_NONE, (busbar_options){.size = 0});
    w.failing = "bad";
    w.verdict = BUSBAR_RETRY;
    say(&w, "t.bad", "one", NULL);
    settle(&w.f, 100);
    assert_counts(&w, 0, 0, 1, 0, 0);
    w.failing = NULL;
    settle(&w.f, 100);
    assert_string_equal(w.handled, ""); /* it waits for up to an hour */
    assert_int_equal(act(&w, BUSBAR_ACTION_RETRY), 1);
    settle(&w.f, 100);
    assert_counts(&w, 1, 0, 0, 0, 0);
    fixture_close(&w.f);
}

/* The age limit counts from the first failure after somebody acted: what passed while it was dead is not held against it. */
static void a_revived_event_is_as_young_as_a_new_one(void **unused)
{
    (void)unused;
    world w;
    begin(&w, BUSBAR_ORDER_NONE, (busbar_options){.size = 0});
    fixture_reopen_bus(&w.f);
    w.handler.retry = (busbar_retry){.base_ms = 1000, .max_age_ms = 5000};
    subscribe(&w);
    w.failing = "bad";
    say(&w, "t.bad", "one", NULL);
    settle(&w.f, 100);
    busbar_sim_advance(w.f.sim, UINT64_C(1000) * HOUR_MS);
    assert_int_equal(act(&w, BUSBAR_ACTION_RETRY), 1);
    w.verdict = BUSBAR_RETRY;
    settle(&w.f, 100);
    assert_counts(&w, 0, 0, 1, 0, 0);
    fixture_close(&w.f);
}

static void dropping_forgets_dead_and_waiting_ones_and_counts_them(void **unused)
{
    (void)unused;
    world w;
    begin(&w, BUSBAR_ORDER_NONE, (busbar_options){.size = 0});
    w.failing = "bad";
    say(&w, "t.bad", "one", NULL);
    settle(&w.f, 100);
    w.verdict = BUSBAR_RETRY;
    say(&w, "t.bad", "two", NULL);
    settle(&w.f, 100);
    assert_counts(&w, 0, 1, 1, 0, 0);
    assert_int_equal(act(&w, BUSBAR_ACTION_DROP), 2);
    assert_counts(&w, 0, 2, 0, 2, 0);
    assert_int_equal(sql_integer(w.f.db, "SELECT count(*) FROM busbar_exception"), 0);
    assert_int_equal(act(&w, BUSBAR_ACTION_DROP), 0);
    fixture_close(&w.f);
}

static void past_events_are_delivered_once_more(void **unused)
{
    (void)unused;
    world w;
    begin(&w, BUSBAR_ORDER_NONE, (busbar_options){.size = 0});
    w.failing = "bad";
    say(&w, "t.good", "one", NULL);
    say(&w, "other", "not-wanted", NULL);
    say(&w, "t.bad", "two", NULL);
    say(&w, "t.good", "three", NULL);
    settle(&w.f, 100);
    say(&w, "t.good", "pending", NULL);
    w.failing = NULL;
    assert_int_equal(act(&w, BUSBAR_ACTION_REPLAY), 3); /* the dead one is retried, the pending one comes anyway */
    assert_counts(&w, 2, 0, 3, 0, 2);
    assert_int_equal(act(&w, BUSBAR_ACTION_REPLAY), 0); /* they wait already */
    memset(w.handled, 0, sizeof w.handled);
    settle(&w.f, 100);
    for (size_t i = 0; i < 4; i++) /* in any order: this consumer asks for none */
        assert_non_null(strstr(w.handled, (const char *[]){"one ", "two ", "three ", "pending "}[i]));
    assert_counts(&w, 6, 0, 0, 0, 2);
    fixture_close(&w.f);
}

static void a_filter_of_this_handle_chooses_what_is_replayed(void **unused)
{
    (void)unused;
    static const busbar_filter only_a = {.op = BUSBAR_FILTER_EXACT, .attribute = "subject", .value = "a"};
    world w;
    begin(&w, BUSBAR_ORDER_NONE, (busbar_options){.size = 0});
    fixture_reopen_bus(&w.f);
    w.handler.filter = &only_a;
    subscribe(&w);
    say(&w, "t.x", "a", NULL);
    say(&w, "t.x", "b", NULL);
    settle(&w.f, 100);
    assert_int_equal(act(&w, BUSBAR_ACTION_REPLAY), 1);
    settle(&w.f, 100);
    assert_string_equal(w.handled, "a a ");
    fixture_close(&w.f);
}

static void lanes_of_this_handle_choose_what_is_replayed(void **unused)
{
    (void)unused;
    world w;
    begin(&w, BUSBAR_ORDER_NONE, (busbar_options){.size = 0});
    fixture_reopen_bus(&w.f);
    w.handler.lanes = BUSBAR_LANES_URGENT;
    w.verdict = BUSBAR_DONE;
    subscribe(&w);
    busbar_event event = event_of("t.x");
    event.subject = "urgent";
    event.lane = BUSBAR_URGENT;
    assert_code(w.f.bus, busbar_publish(w.f.bus, &event, NULL), BUSBAR_OK);
    say(&w, "t.x", "normal", NULL);
    settle(&w.f, 100);
    assert_int_equal(act(&w, BUSBAR_ACTION_REPLAY), 1);
    settle(&w.f, 100);
    assert_string_equal(w.handled, "urgent urgent ");
    fixture_close(&w.f);
}

static void with_order_by_key_only_the_first_of_a_key_goes_on(void **unused)
{
    (void)unused;
    world w;
    begin(&w, BUSBAR_ORDER_KEY, (busbar_options){.size = 0});
    w.failing = "bad";
    say(&w, "t.bad", "a1", "a");
    say(&w, "t.bad", "b1", "b");
    say(&w, "t.bad", "a2", "a");
    say(&w, "t.bad", "-1", NULL);
    say(&w, "t.bad", "-2", NULL);
    settle(&w.f, 100);
    assert_counts(&w, 0, 5, 0, 0, 0);
    assert_int_equal(act(&w, BUSBAR_ACTION_RETRY), 5);
    assert_int_equal(progress_of(w.f.bus, "h", BUSBAR_NORMAL).parked, 1);
    w.failing = NULL;
    settle(&w.f, 100);
    assert_counts(&w, 5, 0, 0, 0, 0);
    assert_true(strstr(w.handled, "a1 ") < strstr(w.handled, "a2 "));
    assert_int_equal(act(&w, BUSBAR_ACTION_REPLAY), 5);
    assert_int_equal(progress_of(w.f.bus, "h", BUSBAR_NORMAL).parked, 1);
    settle(&w.f, 100);
    assert_counts(&w, 10, 0, 0, 0, 5);
    fixture_close(&w.f);
}

static void with_strict_order_a_lane_is_replayed_one_by_one(void **unused)
{
    (void)unused;
    world w;
    begin(&w, BUSBAR_ORDER_STRICT, (busbar_options){.size = 0});
    for (int i = 0; i < 3; i++)
        say(&w, "t.good", (const char *[]){"one", "two", "three"}[i], NULL);
    settle(&w.f, 100);
    assert_int_equal(act(&w, BUSBAR_ACTION_REPLAY), 3);
    assert_int_equal(progress_of(w.f.bus, "h", BUSBAR_NORMAL).parked, 2);
    say(&w, "t.good", "four", NULL);
    memset(w.handled, 0, sizeof w.handled);
    settle(&w.f, 100);
    assert_string_equal(w.handled, "one two three four ");
    assert_counts(&w, 7, 0, 0, 0, 3);
    fixture_close(&w.f);
}

/* What was dead comes back to its place in the order, whatever else was put behind it meanwhile. */
static void a_replayed_key_leaves_in_the_order_of_its_lane(void **unused)
{
    (void)unused;
    world w;
    begin(&w, BUSBAR_ORDER_KEY, (busbar_options){.size = 0});
    w.failing = "bad";
    say(&w, "t.good", "one", "k");
    say(&w, "t.good", "two", "k");
    say(&w, "t.bad", "three", "k");
    say(&w, "t.good", "four", "k");
    settle(&w.f, 100);
    w.failing = NULL;
    memset(w.handled, 0, sizeof w.handled);
    assert_int_equal(act(&w, BUSBAR_ACTION_REPLAY), 4);
    say(&w, "t.good", "five", "k");
    settle(&w.f, 100);
    assert_string_equal(w.handled, "one two three four five ");
    assert_counts(&w, 8, 0, 0, 0, 3);
    fixture_close(&w.f);
}

static void dropping_the_one_in_front_lets_the_next_go_and_dropping_a_parked_one_does_not(void **unused)
{
    (void)unused;
    world w;
    begin(&w, BUSBAR_ORDER_KEY, (busbar_options){.size = 0});
    w.failing = "bad";
    w.verdict = BUSBAR_RETRY;
    say(&w, "t.bad", "front", "k");
    say(&w, "t.parked.drop", "second", "k");
    say(&w, "t.parked", "third", "k");
    say(&w, "t.parked", "fourth", "k");
    settle(&w.f, 100);
    assert_int_equal(progress_of(w.f.bus, "h", BUSBAR_NORMAL).parked, 3);
    assert_int_equal(act(&w, BUSBAR_ACTION_RETRY), 1); /* parked ones are not meant */
    assert_int_equal(act_on(&w, (busbar_selector){.pattern = "t.parked.drop"}, BUSBAR_ACTION_DROP), 1);
    assert_int_equal(progress_of(w.f.bus, "h", BUSBAR_NORMAL).parked, 2);
    assert_int_equal(act_on(&w, (busbar_selector){.pattern = "t.bad"}, BUSBAR_ACTION_DROP), 1);
    assert_int_equal(progress_of(w.f.bus, "h", BUSBAR_NORMAL).parked, 1);
    settle(&w.f, 100);
    assert_string_equal(w.handled, "third fourth ");
    assert_counts(&w, 2, 2, 0, 2, 0);
    fixture_close(&w.f);
}

static void the_bound_on_open_events_holds(void **unused)
{
    (void)unused;
    world w;
    begin(&w, BUSBAR_ORDER_NONE, (busbar_options){.size = 0});
    sql(w.f.db, "BEGIN");
    for (int i = 0; i < 1200; i++)
        say(&w, "t.good", NULL, NULL);
    sql(w.f.db, "COMMIT");
    settle(&w.f, 100);
    busbar_selector selector = {.size = sizeof selector, .consumer = "h"};
    uint64_t count = 0;
    assert_code(w.f.bus, busbar_act(w.f.bus, &selector, BUSBAR_ACTION_REPLAY, &count), BUSBAR_EBOUND);
    assert_int_equal(count, 1000);
    assert_counts(&w, 1200, 0, 1000, 0, 1000);
    assert_code(w.f.bus, busbar_act(w.f.bus, &selector, BUSBAR_ACTION_REPLAY, &count), BUSBAR_EBOUND);
    assert_int_equal(count, 0);
    settle(&w.f, 100);
    assert_counts(&w, 2200, 0, 0, 0, 1000);
    fixture_close(&w.f);
}

static void a_selector_chooses_by_id_type_time_and_number(void **unused)
{
    (void)unused;
    world w;
    busbar_id id;
    begin(&w, BUSBAR_ORDER_NONE, (busbar_options){.size = 0});
    w.failing = "bad";
    busbar_event event = event_of("t.bad.first");
    assert_code(w.f.bus, busbar_publish(w.f.bus, &event, &id), BUSBAR_OK);
    busbar_sim_advance(w.f.sim, UINT64_C(1000) * HOUR_MS);
    event = event_of("t.bad.second");
    event.id = "given";
    assert_code(w.f.bus, busbar_publish(w.f.bus, &event, NULL), BUSBAR_OK);
    event.source = "urn:test:another";
    assert_code(w.f.bus, busbar_publish(w.f.bus, &event, NULL), BUSBAR_OK);
    settle(&w.f, 100);
    const struct {
        busbar_selector selector;
        uint64_t count;
    } cases[] = {
        {{.id = id.text}, 1},
        {{.id = "given"}, 2},
        {{.id = "given", .pattern = "t.bad.first"}, 0},
        {{.id = "nobody"}, 0},
        {{.pattern = "t.bad.*"}, 3},
        {{.pattern = "t.*"}, 0},
        {{.consumer = "h", .limit = 2}, 2},
        {{.consumer = "h", .since_ms = BUSBAR_SIM_WALL_MS + HOUR_MS / 2}, 2},
        {{.consumer = "h", .before_ms = BUSBAR_SIM_WALL_MS + HOUR_MS / 2}, 1},
        {{.consumer = "h", .since_ms = BUSBAR_SIM_WALL_MS + HOUR_MS / 2, .before_ms = BUSBAR_SIM_WALL_MS + HOUR_MS / 2},
         0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        busbar_selector selector = cases[i].selector;
        selector.dry_run = true;
        int changes = sqlite3_total_changes(w.f.db);
        assert_int_equal(act_on(&w, selector, BUSBAR_ACTION_RETRY), cases[i].count);
        assert_int_equal(act_on(&w, selector, BUSBAR_ACTION_DROP), cases[i].count);
        selector.consumer = "h";
        assert_int_equal(act_on(&w, selector, BUSBAR_ACTION_REPLAY), cases[i].count);
        assert_int_equal(sqlite3_total_changes(w.f.db), changes);
    }
    assert_int_equal(act_on(&w, (busbar_selector){.consumer = "h", .limit = 1}, BUSBAR_ACTION_RETRY), 1);
    assert_int_equal(sql_integer(w.f.db, "SELECT seq FROM busbar_exception WHERE state = 2"), 1);
    assert_int_equal(act_on(&w, (busbar_selector){.id = "given"}, BUSBAR_ACTION_DROP), 2);
    fixture_close(&w.f);
}

/* The limit counts over lanes and consumers. */
static void a_limit_is_one_for_all_lanes(void **unused)
{
    (void)unused;
    world w;
    begin(&w, BUSBAR_ORDER_NONE, (busbar_options){.size = 0});
    w.failing = "bad";
    for (int i = 0; i < 12; i++) {
        busbar_event event = event_of("t.bad");
        event.lane = (busbar_lane)(i % BUSBAR_LANE_COUNT);
        assert_code(w.f.bus, busbar_publish(w.f.bus, &event, NULL), BUSBAR_OK);
    }
    settle(&w.f, 100);
    assert_int_equal(act_on(&w, (busbar_selector){.consumer = "h", .limit = 6}, BUSBAR_ACTION_DROP), 6);
    assert_int_equal(progress_of(w.f.bus, "h", BUSBAR_URGENT).dropped, 4);
    assert_int_equal(progress_of(w.f.bus, "h", BUSBAR_NORMAL).dropped, 2);
    fixture_close(&w.f);
}

static void an_event_of_unknown_time_meets_no_condition_on_time(void **unused)
{
    (void)unused;
    world w;
    begin(&w, BUSBAR_ORDER_NONE, (busbar_options){.size = 0});
    busbar_sim_reboot(w.f.sim);
    busbar_sim_wall_quality(w.f.sim, BUSBAR_CLOCK_UNKNOWN);
    fixture_reopen_bus(&w.f);
    subscribe(&w);
    w.failing = "bad";
    say(&w, "t.bad", "one", NULL);
    settle(&w.f, 100);
    assert_int_equal(act_on(&w, (busbar_selector){.consumer = "h", .since_ms = 1}, BUSBAR_ACTION_DROP), 0);
    assert_int_equal(act_on(&w, (busbar_selector){.consumer = "h", .before_ms = INT64_MAX}, BUSBAR_ACTION_DROP), 0);
    assert_int_equal(act(&w, BUSBAR_ACTION_DROP), 1);
    fixture_close(&w.f);
}

/* A row of plain SQL that names no kind is a dead letter that nobody can read. It can be dropped with its consumer's. */
static void an_unreadable_dead_letter_can_be_dropped(void **unused)
{
    (void)unused;
    world w;
    begin(&w, BUSBAR_ORDER_NONE, (busbar_options){.size = 0});
    say(&w, "t.good", "one", NULL);
    sql(w.f.db, "INSERT INTO busbar_log_normal (kind, id) VALUES (4711, 'x')");
    settle(&w.f, 100);
    assert_counts(&w, 1, 1, 0, 0, 0);
    assert_int_equal(act_on(&w, (busbar_selector){.pattern = "#"}, BUSBAR_ACTION_DROP), 0);
    assert_int_equal(act(&w, BUSBAR_ACTION_DROP), 1);
    assert_counts(&w, 1, 1, 0, 1, 0);
    fixture_close(&w.f);
}

static void scheduled_events_are_dropped_without_a_consumer_only(void **unused)
{
    (void)unused;
    world w;
    busbar_id id;
    begin(&w, BUSBAR_ORDER_NONE, (busbar_options){.size = 0});
    busbar_event event = event_of("t.later");
    event.delay_ms = HOUR_MS;
    for (int i = 0; i < 100; i++)
        assert_code(w.f.bus, busbar_publish(w.f.bus, &event, &id), BUSBAR_OK);
    event.type = "t.other";
    assert_code(w.f.bus, busbar_publish(w.f.bus, &event, NULL), BUSBAR_OK);
    assert_int_equal(act(&w, BUSBAR_ACTION_DROP), 0);
    assert_int_equal(act_on(&w, (busbar_selector){.pattern = "t.later"}, BUSBAR_ACTION_RETRY), 0);
    assert_int_equal(act_on(&w, (busbar_selector){.id = id.text, .dry_run = true}, BUSBAR_ACTION_DROP), 1);
    assert_int_equal(act_on(&w, (busbar_selector){.id = id.text}, BUSBAR_ACTION_DROP), 1);
    assert_int_equal(act_on(&w, (busbar_selector){.pattern = "t.later", .limit = 7}, BUSBAR_ACTION_DROP), 7);
    assert_int_equal(act_on(&w, (busbar_selector){.pattern = "t.later"}, BUSBAR_ACTION_DROP), 92);
    busbar_sim_advance(w.f.sim, UINT64_C(2000) * HOUR_MS);
    settle(&w.f, 100);
    assert_counts(&w, 1, 0, 0, 0, 0);
    fixture_close(&w.f);
}

static void mistakes_are_told_and_change_nothing(void **unused)
{
    (void)unused;
    world w;
    begin(&w, BUSBAR_ORDER_NONE, (busbar_options){.size = 0});
    busbar *bus = w.f.bus;
    busbar_selector good = {.size = sizeof good, .consumer = "h"};
    busbar_selector bad = {.size = sizeof bad};
    uint64_t count = 7;
    assert_int_equal(busbar_act(NULL, &good, BUSBAR_ACTION_RETRY, &count), BUSBAR_EINVAL);
    assert_int_equal(count, 0);
    assert_code(bus, busbar_act(bus, NULL, BUSBAR_ACTION_RETRY, &count), BUSBAR_EINVAL);
    assert_code(bus, busbar_act(bus, &good, BUSBAR_ACTION_RETRY, NULL), BUSBAR_EINVAL);
    assert_code(bus, busbar_act(bus, &bad, BUSBAR_ACTION_RETRY, &count), BUSBAR_EINVAL);
    assert_code(bus, busbar_act(bus, &good, (busbar_action)0, &count), BUSBAR_EINVAL);
    assert_code(bus, busbar_act(bus, &good, (busbar_action)4, &count), BUSBAR_EINVAL);
    bad.pattern = "#";
    assert_code(bus, busbar_act(bus, &bad, BUSBAR_ACTION_REPLAY, &count), BUSBAR_EINVAL);
    bad.size = 1;
    assert_code(bus, busbar_act(bus, &bad, BUSBAR_ACTION_RETRY, &count), BUSBAR_EINVAL);
    bad = (busbar_selector){.size = sizeof bad, .pattern = "a..b"};
    assert_code(bus, busbar_act(bus, &bad, BUSBAR_ACTION_RETRY, &count), BUSBAR_EPATTERN);
    bad = (busbar_selector){.size = sizeof bad, .consumer = "nobody"};
    assert_code(bus, busbar_act(bus, &bad, BUSBAR_ACTION_RETRY, &count), BUSBAR_ENOTFOUND);
    sql(w.f.db, "BEGIN");
    assert_code(bus, busbar_act(bus, &good, BUSBAR_ACTION_RETRY, &count), BUSBAR_ETXN);
    sql(w.f.db, "COMMIT");
    assert_code(bus, busbar_act(bus, &good, BUSBAR_ACTION_RETRY, &count), BUSBAR_OK);
    fixture_close(&w.f);
}

static busbar_verdict act_inside(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    (void)event, (void)reason;
    busbar_selector selector = {.size = sizeof selector, .consumer = "h"};
    uint64_t count = 0;
    *(int *)ctx = busbar_act(bus, &selector, BUSBAR_ACTION_DROP, &count);
    return BUSBAR_DONE;
}

static void not_inside_a_handler_and_the_connection_stays_as_it_was(void **unused)
{
    (void)unused;
    fixture f;
    int code = 1;
    fixture_open(&f);
    const busbar_handler handler = {
        .size = sizeof handler, .name = "h", .fn = act_inside, .ctx = &code, .delivery = BUSBAR_OUTSIDE};
    assert_code(f.bus, busbar_subscribe(f.bus, &handler, 1), BUSBAR_OK);
    publish(f.bus, "t.x");
    settle(&f, 100);
    assert_int_equal(code, BUSBAR_EMISUSE);
    sqlite3_set_last_insert_rowid(f.db, 4711);
    busbar_selector selector = {.size = sizeof selector, .consumer = "h"};
    uint64_t count = 0;
    assert_code(f.bus, busbar_act(f.bus, &selector, BUSBAR_ACTION_REPLAY, &count), BUSBAR_OK);
    assert_int_equal(count, 1);
    assert_int_equal(sqlite3_last_insert_rowid(f.db), 4711);
    fixture_close(&f);
}

/* Another process drops the event while it is being handled outside of any transaction. */
typedef struct rival {
    busbar *bus;
    int calls;
    uint64_t dropped;
} rival;

static busbar_verdict drop_meanwhile(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    rival *r = ctx;
    busbar_selector selector = {.size = sizeof selector, .consumer = "h"};
    (void)bus, (void)event, (void)reason;
    if (r->calls++ == 0)
        return BUSBAR_DEAD;
    assert_code(r->bus, busbar_act(r->bus, &selector, BUSBAR_ACTION_DROP, &r->dropped), BUSBAR_OK);
    return BUSBAR_DONE;
}

static void what_others_do_meanwhile_is_counted_once(void **unused)
{
    (void)unused;
    fixture f;
    sqlite3 *db;
    rival r = {.calls = 0};
    fixture_open(&f);
    r.bus = fixture_connect_bus(&f, &db);
    const busbar_handler handler = {
        .size = sizeof handler, .name = "h", .fn = drop_meanwhile, .ctx = &r, .delivery = BUSBAR_OUTSIDE};
    assert_code(f.bus, busbar_subscribe(f.bus, &handler, 1), BUSBAR_OK);
    publish(f.bus, "t.x");
    settle(&f, 100);
    busbar_selector selector = {.size = sizeof selector, .consumer = "h"};
    uint64_t count = 0;
    assert_code(r.bus, busbar_act(r.bus, &selector, BUSBAR_ACTION_RETRY, &count), BUSBAR_OK);
    assert_int_equal(count, 1);
    assert_balanced(f.bus, "h");
    settle(&f, 100);
    assert_int_equal(r.calls, 2);
    assert_int_equal(r.dropped, 1);
    busbar_progress p = progress_of(f.bus, "h", BUSBAR_NORMAL);
    assert_int_equal(p.delivered, 0);
    assert_int_equal(p.dead, 1);
    assert_int_equal(p.dropped, 1);
    assert_balanced(f.bus, "h");
    assert_code(r.bus, busbar_close(r.bus), BUSBAR_OK);
    sqlite3_close(db);
    fixture_close(&f);
}

/* A route of the same handle looks into its exceptions only when it has reason to. */
static void a_route_sends_what_was_revived(void **unused)
{
    (void)unused;
    fixture f;
    busbar_transport transport;
    busbar_loopback_refusal refusal = {.size = sizeof refusal, .verdict = BUSBAR_REFUSED_DEAD, .text = "no"};
    busbar_route route = {.size = sizeof route, .name = "h", .topic = "{type}"};
    fixture_open(&f);
    assert_int_equal(busbar_loopback_new(NULL, &transport), BUSBAR_OK);
    assert_int_equal(busbar_loopback_refuse(transport, &refusal), BUSBAR_OK);
    assert_code(f.bus, busbar_route_add(f.bus, &route, transport), BUSBAR_OK);
    for (int i = 0; i < 3; i++)
        publish(f.bus, "t.x");
    settle(&f, 90);
    busbar_sim_advance(f.sim, 300000);
    settle(&f, 90);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).dead, 3);
    busbar_loopback_accept(transport);
    busbar_selector selector = {.size = sizeof selector, .consumer = "h"};
    uint64_t count = 0;
    assert_code(f.bus, busbar_act(f.bus, &selector, BUSBAR_ACTION_RETRY, &count), BUSBAR_OK);
    assert_int_equal(count, 3);
    assert_balanced(f.bus, "h");
    for (int i = 0; i < 10; i++) {
        settle(&f, 90);
        busbar_sim_advance(f.sim, 300000);
    }
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).delivered, 3);
    assert_balanced(f.bus, "h");
    fixture_close(&f);
}

/* ---- Retention ---- */

static void only_the_newest_dead_letters_are_kept_and_the_others_counted(void **unused)
{
    (void)unused;
    world w;
    begin(&w, BUSBAR_ORDER_NONE, (busbar_options){.keep_dead = 5});
    w.failing = "bad";
    for (int i = 0; i < 12; i++)
        say(&w, "t.bad", NULL, NULL);
    settle(&w.f, 200);
    assert_counts(&w, 0, 12, 0, 7, 0);
    assert_int_equal(sql_integer(w.f.db, "SELECT count(*) FROM busbar_exception"), 5);
    assert_int_equal(sql_integer(w.f.db, "SELECT min(seq) FROM busbar_exception"), 8);
    fixture_close(&w.f);
}

static int64_t dead_letters(world *w)
{
    settle(&w->f, 200);
    return sql_integer(w->f.db, "SELECT count(*) FROM busbar_exception");
}

static void old_dead_letters_are_forgotten_by_an_idle_bus_too(void **unused)
{
    (void)unused;
    world w;
    begin(&w, BUSBAR_ORDER_NONE, (busbar_options){.keep_dead_ms = HOUR_MS});
    w.failing = "bad";
    say(&w, "t.bad", NULL, NULL);
    assert_int_equal(dead_letters(&w), 1);
    busbar_sim_advance(w.f.sim, UINT64_C(1000) * (HOUR_MS - 60000));
    say(&w, "t.bad", NULL, NULL);
    assert_int_equal(dead_letters(&w), 2);
    busbar_sim_advance(w.f.sim, UINT64_C(1000) * 10 * 60000);
    assert_int_equal(dead_letters(&w), 1);
    assert_counts(&w, 0, 2, 0, 1, 0);
    uint64_t wait_us = 0;
    assert_code(w.f.bus, busbar_step(w.f.bus, 1000, &wait_us), BUSBAR_OK);
    assert_true(wait_us <= UINT64_C(1000) * HOUR_MS / 8); /* it asks to be stepped for the next one */
    fixture_close(&w.f);
}

/* Over a restart it is not known how long the machine was off: the age begins with what is known of the new run. */
static void the_age_of_a_dead_letter_counts_within_a_boot(void **unused)
{
    (void)unused;
    world w;
    begin(&w, BUSBAR_ORDER_NONE, (busbar_options){.keep_dead_ms = HOUR_MS});
    w.failing = "bad";
    say(&w, "t.bad", NULL, NULL);
    assert_int_equal(dead_letters(&w), 1);
    busbar_sim_reboot(w.f.sim);
    busbar_sim_advance(w.f.sim, UINT64_C(1000) * 2 * HOUR_MS); /* of which nothing is in the file */
    fixture_reopen_bus(&w.f);
    subscribe(&w);
    say(&w, "t.good", NULL, NULL);
    assert_int_equal(dead_letters(&w), 1);
    busbar_sim_advance(w.f.sim, UINT64_C(1000) * (HOUR_MS - 60000));
    assert_int_equal(dead_letters(&w), 1);
    busbar_sim_advance(w.f.sim, UINT64_C(1000) * 10 * 60000);
    assert_int_equal(dead_letters(&w), 0);
    assert_counts(&w, 1, 1, 0, 1, 0);
    fixture_close(&w.f);
}

/* ---- P8, whatever is done ---- */

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void stir(world *w, uint32_t *random)
{
    static const char *const keys[] = {NULL, "a", "b"};
    static const char *const types[] = {"t.good", "t.bad", "other"};
    busbar_action action = (busbar_action)(1 + next_random(random) % 3);
    busbar_selector selector = {.consumer = "h", .limit = next_random(random) % 4};
    switch (next_random(random) % 6) {
    case 0:
        act_on(w, selector, action);
        break;
    case 1:
        w->failing = next_random(random) % 2 ? "bad" : NULL;
        w->verdict = next_random(random) % 2 ? BUSBAR_DEAD : BUSBAR_RETRY;
        break;
    case 2:
        busbar_sim_advance(w->f.sim, UINT64_C(1000) * (next_random(random) % HOUR_MS));
        break;
    case 3:
        settle(&w->f, 100);
        assert_balanced(w->f.bus, "h");
        break;
    default:
        say(w, types[next_random(random) % 3], "s", keys[next_random(random) % 3]);
        break;
    }
}

static void p8_the_counters_balance_whatever_is_done(void **unused)
{
    (void)unused;
    for (uint32_t seed = 1; seed <= 9; seed++) {
        world w;
        uint32_t random = seed * 7919u;
        begin(&w, (busbar_order)(seed % 3), (busbar_options){.keep_dead = seed > 6 ? 2 : 0});
        for (int i = 0; i < 400; i++)
            stir(&w, &random);
        w.failing = NULL;
        settle(&w.f, 100);
        act(&w, BUSBAR_ACTION_RETRY);
        settle(&w.f, 100);
        busbar_progress p = progress_of(w.f.bus, "h", BUSBAR_NORMAL);
        assert_int_equal(p.retrying, 0); /* nothing is left parked behind nothing */
        assert_int_equal(p.dead, p.dropped);
        assert_balanced(w.f.bus, "h");
        fixture_close(&w.f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dead_letter_is_tried_again_from_the_first_attempt),
        cmocka_unit_test(what_waits_for_retry_is_tried_now),
        cmocka_unit_test(a_revived_event_is_as_young_as_a_new_one),
        cmocka_unit_test(dropping_forgets_dead_and_waiting_ones_and_counts_them),
        cmocka_unit_test(past_events_are_delivered_once_more),
        cmocka_unit_test(a_filter_of_this_handle_chooses_what_is_replayed),
        cmocka_unit_test(lanes_of_this_handle_choose_what_is_replayed),
        cmocka_unit_test(with_order_by_key_only_the_first_of_a_key_goes_on),
        cmocka_unit_test(with_strict_order_a_lane_is_replayed_one_by_one),
        cmocka_unit_test(a_replayed_key_leaves_in_the_order_of_its_lane),
        cmocka_unit_test(dropping_the_one_in_front_lets_the_next_go_and_dropping_a_parked_one_does_not),
        cmocka_unit_test(the_bound_on_open_events_holds),
        cmocka_unit_test(a_selector_chooses_by_id_type_time_and_number),
        cmocka_unit_test(a_limit_is_one_for_all_lanes),
        cmocka_unit_test(an_event_of_unknown_time_meets_no_condition_on_time),
        cmocka_unit_test(an_unreadable_dead_letter_can_be_dropped),
        cmocka_unit_test(scheduled_events_are_dropped_without_a_consumer_only),
        cmocka_unit_test(mistakes_are_told_and_change_nothing),
        cmocka_unit_test(not_inside_a_handler_and_the_connection_stays_as_it_was),
        cmocka_unit_test(what_others_do_meanwhile_is_counted_once),
        cmocka_unit_test(a_route_sends_what_was_revived),
        cmocka_unit_test(only_the_newest_dead_letters_are_kept_and_the_others_counted),
        cmocka_unit_test(old_dead_letters_are_forgotten_by_an_idle_bus_too),
        cmocka_unit_test(the_age_of_a_dead_letter_counts_within_a_boot),
        cmocka_unit_test(p8_the_counters_balance_whatever_is_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
