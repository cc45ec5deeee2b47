/* SPDX-License-Identifier: MIT */
/*
 * Scheduling: an event with a not-before time is never early, and is appended exactly once (P1), with the id it was published
 * with (P5), whatever the clock does (P10).
 */
#include "fixture.h"

#include <stdio.h>

#define SECOND_US INT64_C(1000000)
#define HOUR_MS   INT64_C(3600000)
#define HOUR_US   (HOUR_MS * 1000)
#define YEAR_MS   (365 * 24 * HOUR_MS)

/* What a handler saw. */
typedef struct seen {
    char text[4096]; /* "type " for each call */
    int calls;
    int64_t seq; /* of the last */
    uint64_t ttl_ms;
    char id[BUSBAR_ID_MAX + 1];
    int64_t time_ms;
    bool refuses;
} seen;

static busbar_verdict see(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    (void)bus;
    (void)reason;
    seen *s = ctx;
    size_t length = strlen(s->text);
    snprintf(s->text + length, sizeof s->text - length, "%s ", event->type);
    snprintf(s->id, sizeof s->id, "%s", event->id);
    s->calls++;
    s->seq = event->seq;
    s->ttl_ms = event->ttl_ms;
    s->time_ms = event->time_ms;
    return s->refuses ? BUSBAR_DEAD : BUSBAR_DONE;
}

static void subscribe_as(busbar *bus, const char *name, seen *s, busbar_delivery delivery)
{
    busbar_handler handler = {
        .size = sizeof handler, .name = name, .fn = see, .ctx = s, .delivery = delivery, .pattern = "later.#"};
    assert_code(bus, busbar_subscribe(bus, &handler, 1), BUSBAR_OK);
}

static void subscribe(fixture *f, seen *s)
{
    subscribe_as(f->bus, "h", s, BUSBAR_TRANSACTIONAL);
}

static busbar_event delayed(const char *type, uint64_t delay_ms)
{
    busbar_event event = event_of(type);
    event.delay_ms = delay_ms;
    return event;
}

static busbar_event not_before(const char *type, int64_t wall_ms)
{
    busbar_event event = event_of(type);
    event.not_before_ms = wall_ms;
    return event;
}

static busbar_id put(busbar *bus, const busbar_event *event)
{
    busbar_id id;
    assert_code(bus, busbar_publish(bus, event, &id), BUSBAR_OK);
    return id;
}

static int64_t scheduled_count(busbar *bus)
{
    busbar_status status = {.size = sizeof status};
    assert_code(bus, busbar_status_get(bus, &status), BUSBAR_OK);
    return status.scheduled_count;
}

static uint64_t step(fixture *f)
{
    uint64_t wait_us = 0;
    for (int turns = 0; wait_us == 0 && turns < 100; turns++)
        assert_code(f->bus, busbar_step(f->bus, 1000000, &wait_us), BUSBAR_OK);
    return wait_us;
}

/* Another run of the machine. The handler goes on as before. */
static void reboot(fixture *f, seen *s, busbar_clock_quality quality)
{
    assert_code(f->bus, busbar_close(f->bus), BUSBAR_OK);
    busbar_sim_reboot(f->sim);
    busbar_sim_wall_quality(f->sim, quality);
    assert_code(f->bus, busbar_open(&f->bus, f->db, &f->options, NULL), BUSBAR_OK);
    subscribe(f, s);
}

/* Lets time pass in pieces in which every step may look at the clock. */
static void pass(fixture *f, uint64_t time_us)
{
    for (int i = 0; i < 20; i++) {
        busbar_sim_advance(f->sim, time_us / 20);
        step(f);
    }
}

/* ---- Relative ---- */

static void a_delayed_event_is_appended_when_due_and_not_before(void **unused)
{
    (void)unused;
    fixture f;
    seen s = {.calls = 0};
    fixture_open(&f);
    subscribe(&f, &s);
    busbar_event event = delayed("later.a", 10000);
    busbar_sim_advance(f.sim, 999); /* in the middle of a millisecond */
    busbar_id id = put(f.bus, &event);
    assert_int_equal(id.seq, 0);
    assert_int_equal(id.lane, BUSBAR_NORMAL);
    assert_int_equal(scheduled_count(f.bus), 1);
    settle(&f, 100);
    uint64_t wait_us = step(&f);
    assert_in_range(wait_us, 9 * SECOND_US, 10 * SECOND_US + 1000); /* the step knows when it is due */
    busbar_sim_advance(f.sim, wait_us - 1);
    step(&f);
    assert_int_equal(s.calls, 0);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_events"), 0);
    busbar_sim_advance(f.sim, 1);
    settle(&f, 100);
    assert_string_equal(s.text, "later.a ");
    assert_int_equal(s.seq, 1);
    assert_string_equal(s.id, id.text);
    assert_int_equal(s.time_ms / 1000, BUSBAR_SIM_WALL_MS / 1000); /* when it was published, not when it was due */
    assert_int_equal(scheduled_count(f.bus), 0);
    assert_balanced(f.bus, "h");
    fixture_close(&f);
}

static void never_less_than_its_delay(void **unused)
{
    (void)unused;
    fixture f;
    seen s = {.calls = 0};
    fixture_open(&f);
    subscribe(&f, &s);
    for (uint64_t phase_us = 0; phase_us < 1000; phase_us += 111) {
        s.calls = 0;
        busbar_sim_advance(f.sim, 1000 + phase_us);
        busbar_event event = delayed("later.a", 7);
        put(f.bus, &event);
        busbar_sim_advance(f.sim, 6999);
        step(&f);
        assert_int_equal(s.calls, 0);
        busbar_sim_advance(f.sim, 1001);
        settle(&f, 100);
        assert_int_equal(s.calls, 1);
    }
    fixture_close(&f);
}

static void order_begins_when_due(void **unused)
{
    (void)unused;
    fixture f;
    seen s = {.calls = 0};
    fixture_open(&f);
    subscribe(&f, &s);
    busbar_event events[] = {delayed("later.third", 3000), delayed("later.second", 2000), delayed("later.fourth", 3000),
                             not_before("later.between", BUSBAR_SIM_WALL_MS + 2500)};
    for (size_t i = 0; i < 4; i++)
        put(f.bus, &events[i]);
    publish(f.bus, "later.first");
    settle(&f, 100);
    assert_string_equal(s.text, "later.first ");
    busbar_sim_advance(f.sim, 10 * SECOND_US); /* all are due at once: in the order in which they were */
    settle(&f, 100);
    assert_string_equal(s.text, "later.first later.second later.between later.third later.fourth ");
    fixture_close(&f);
}

static void lanes_and_everything_else_stay_as_published(void **unused)
{
    (void)unused;
    fixture f;
    seen s = {.calls = 0};
    fixture_open(&f);
    subscribe(&f, &s);
    busbar_event event = event_with("later.a", "{\"n\":1}");
    busbar_attribute extension = {.name = "trace", .string = "abc"};
    busbar_retry retry = {.max_attempts = 7};
    event.delay_ms = 1000;
    event.lane = BUSBAR_BULK;
    event.subject = "s";
    event.key = "k";
    event.time = "2020-01-01T00:00:00Z";
    event.extensions = &extension;
    event.extension_count = 1;
    event.retry = &retry;
    put(f.bus, &event);
    event.delay_ms = 0;
    put(f.bus, &event);
    busbar_sim_advance(f.sim, 2 * SECOND_US);
    settle(&f, 100);
    assert_int_equal(s.calls, 2);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM (SELECT DISTINCT kind, session, subject, key, ext, ttl_ms,"
                                       " data, typeof(data) FROM busbar_log_bulk)"),
                     1);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_policy WHERE lane = 2"), 2);
    fixture_close(&f);
}

static void bad_times_are_refused(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    busbar_event events[] = {delayed("later.a", 1), delayed("later.a", UINT64_MAX), delayed("later.a", INT64_MAX),
                             not_before("later.a", -1), not_before("later.a", INT64_MAX)};
    events[0].not_before_ms = 1;
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
        assert_code(f.bus, busbar_publish(f.bus, &events[i], NULL), BUSBAR_ESCHEDULE);
    busbar_event json = event_with("later.a", "{");
    json.delay_ms = 5;
    assert_code(f.bus, busbar_publish(f.bus, &json, NULL), BUSBAR_EJSON);
    fixture_close(&f);
}

/* ---- Absolute ---- */

static void an_absolute_time_waits_for_a_trusted_clock(void **unused)
{
    (void)unused;
    fixture f;
    seen s = {.calls = 0};
    fixture_open(&f);
    subscribe(&f, &s);
    busbar_sim_wall_quality(f.sim, BUSBAR_CLOCK_UNKNOWN);
    busbar_event event = not_before("later.a", BUSBAR_SIM_WALL_MS + HOUR_MS);
    put(f.bus, &event);
    pass(&f, 2 * HOUR_US);
    assert_int_equal(s.calls, 0);
    assert_in_range(step(&f), 1, 5 * SECOND_US); /* somebody must look whether the clock is trusted by now */
    busbar_sim_wall_set(f.sim, BUSBAR_SIM_WALL_MS + 10 * YEAR_MS, BUSBAR_CLOCK_ESTIMATED);
    busbar_event another = delayed("elsewhere.a", 1000); /* what is due takes nothing else with it */
    put(f.bus, &another);
    pass(&f, HOUR_US);
    assert_int_equal(s.calls, 0);
    assert_int_equal(scheduled_count(f.bus), 1);
    busbar_sim_wall_set(f.sim, BUSBAR_SIM_WALL_MS + HOUR_MS - 1, BUSBAR_CLOCK_TRUSTED);
    step(&f);
    assert_int_equal(s.calls, 0);
    assert_int_equal(step(&f), 1000);
    busbar_sim_advance(f.sim, 1000);
    settle(&f, 100);
    assert_int_equal(s.calls, 1);
    assert_int_equal(scheduled_count(f.bus), 0);
    fixture_close(&f);
}

static void an_absolute_time_over_a_reboot(void **unused)
{
    (void)unused;
    fixture f;
    seen s = {.calls = 0};
    fixture_open(&f);
    subscribe(&f, &s);
    busbar_event event = not_before("later.a", BUSBAR_SIM_WALL_MS + HOUR_MS);
    put(f.bus, &event);
    reboot(&f, &s, BUSBAR_CLOCK_UNKNOWN);
    pass(&f, 3 * HOUR_US);
    assert_int_equal(s.calls, 0);
    busbar_sim_wall_set(f.sim, BUSBAR_SIM_WALL_MS + 3 * HOUR_MS, BUSBAR_CLOCK_TRUSTED);
    settle(&f, 100);
    assert_int_equal(s.calls, 1);
    fixture_close(&f);
}

static void a_time_in_the_past_is_due_at_once(void **unused)
{
    (void)unused;
    fixture f;
    seen s = {.calls = 0};
    fixture_open(&f);
    subscribe(&f, &s);
    busbar_event event = not_before("later.a", 1);
    event.ttl_ms = 5000;
    put(f.bus, &event);
    settle(&f, 100);
    assert_int_equal(s.calls, 1);
    assert_int_equal(s.ttl_ms, 5000);
    fixture_close(&f);
}

/* ---- Over a restart of the machine ---- */

static void trusted_before_and_after_it_is_due_by_wall_time(void **unused)
{
    (void)unused;
    fixture f;
    seen s = {.calls = 0};
    fixture_open(&f);
    subscribe(&f, &s);
    busbar_event event = delayed("later.a", HOUR_MS);
    put(f.bus, &event);
    busbar_sim_advance(f.sim, HOUR_US / 2);
    reboot(&f, &s, BUSBAR_CLOCK_TRUSTED);
    pass(&f, HOUR_US / 2);
    assert_int_equal(s.calls, 0); /* not early, though the fix was rounded */
    busbar_sim_advance(f.sim, 3 * SECOND_US);
    settle(&f, 100);
    assert_int_equal(s.calls, 1);
    fixture_close(&f);
}

static void without_trust_it_waits_its_whole_delay_anew(void **unused)
{
    (void)unused;
    const busbar_clock_quality before[] = {BUSBAR_CLOCK_ESTIMATED, BUSBAR_CLOCK_UNKNOWN, BUSBAR_CLOCK_TRUSTED};
    const busbar_clock_quality after[] = {BUSBAR_CLOCK_TRUSTED, BUSBAR_CLOCK_TRUSTED, BUSBAR_CLOCK_ESTIMATED};
    for (int i = 0; i < 3; i++) {
        fixture f;
        seen s = {.calls = 0};
        fixture_open(&f);
        busbar_sim_wall_quality(f.sim, before[i]);
        subscribe(&f, &s);
        busbar_event event = delayed("later.a", HOUR_MS);
        put(f.bus, &event);
        busbar_sim_advance(f.sim, HOUR_US / 2);
        reboot(&f, &s, after[i]);
        step(&f);                              /* from here on */
        for (int turn = 0; turn < 4; turn++) { /* what the wall clock shows has no meaning */
            busbar_sim_wall_step(f.sim, turn % 2 ? -20 * YEAR_MS : 10 * YEAR_MS);
            pass(&f, HOUR_US / 5);
        }
        assert_int_equal(s.calls, 0);
        fixture_reopen_bus(&f); /* what it has waited in this boot counts */
        subscribe(&f, &s);
        busbar_sim_advance(f.sim, HOUR_US / 5 + SECOND_US);
        settle(&f, 100);
        assert_int_equal(s.calls, 1);
        fixture_close(&f);
    }
}

static void anew_is_no_less_than_the_delay_either(void **unused)
{
    (void)unused;
    for (uint64_t phase_us = 0; phase_us < 1000; phase_us += 111) {
        fixture f;
        seen s = {.calls = 0};
        fixture_open(&f);
        subscribe(&f, &s);
        busbar_event event = delayed("later.a", 7000);
        put(f.bus, &event);
        reboot(&f, &s, BUSBAR_CLOCK_UNKNOWN);
        busbar_sim_advance(f.sim, phase_us);
        step(&f);
        busbar_sim_advance(f.sim, 7 * SECOND_US - 1);
        step(&f);
        assert_int_equal(s.calls, 0);
        busbar_sim_advance(f.sim, 1001);
        settle(&f, 100);
        assert_int_equal(s.calls, 1);
        fixture_close(&f);
    }
}

/* Each opening is a boot of its own: an event is left to the newest, and nobody rewrites what another has just written. */
static void without_a_boot_identity(void **unused)
{
    (void)unused;
    fixture f;
    seen s[3] = {{.calls = 0}};
    sqlite3 *db;
    fixture_open(&f);
    busbar_sim_fail(f.sim, BUSBAR_SIM_CALL_BOOT_ID, BUSBAR_SIM_ALWAYS);
    busbar_sim_wall_quality(f.sim, BUSBAR_CLOCK_UNKNOWN);
    fixture_reopen_bus(&f);
    subscribe(&f, &s[0]);
    busbar_event event = delayed("later.a", 10000);
    put(f.bus, &event);
    busbar *newer = fixture_connect_bus(&f, &db);
    subscribe_as(newer, "newer", &s[1], BUSBAR_TRANSACTIONAL);
    put(newer, &event);
    busbar_sim_advance(f.sim, 5 * SECOND_US);
    settle(&f, 100);
    settle_bus(newer, f.sim, 100); /* takes the older one's over, and leaves its own as it was */
    busbar_sim_advance(f.sim, 6 * SECOND_US);
    settle_bus(newer, f.sim, 100);
    settle(&f, 100);
    assert_int_equal(s[0].calls, 1);
    assert_int_equal(s[1].calls, 1);
    sqlite3 *watcher = fixture_connect(&f);
    int64_t version = sql_integer(watcher, "PRAGMA data_version");
    for (int i = 0; i < 3; i++) {
        busbar_sim_advance(f.sim, SECOND_US);
        settle(&f, 0);
        settle_bus(newer, f.sim, 0);
    }
    assert_int_equal(sql_integer(watcher, "PRAGMA data_version"), version);
    assert_int_equal(s[0].calls, 1);
    busbar_sim_advance(f.sim, 2 * SECOND_US);
    settle_bus(newer, f.sim, 100);
    settle(&f, 100);
    assert_int_equal(s[0].calls, 2);
    assert_int_equal(s[1].calls, 2);
    put(newer, &event);
    sqlite3_close(watcher);
    assert_code(newer, busbar_close(newer), BUSBAR_OK);
    sqlite3_close(db);
    busbar_sim_advance(f.sim, HOUR_US);
    fixture_reopen_bus(&f);
    subscribe(&f, &s[2]);
    pass(&f, 11 * SECOND_US);
    assert_int_equal(s[2].calls, 1);
    fixture_close(&f);
}

static void a_clock_that_becomes_trusted_brings_it_forward(void **unused)
{
    (void)unused;
    fixture f;
    seen s = {.calls = 0};
    fixture_open(&f);
    subscribe(&f, &s);
    busbar_event event = delayed("later.a", HOUR_MS);
    busbar_event soon = delayed("later.b", 24 * HOUR_MS);
    put(f.bus, &event);
    put(f.bus, &soon);
    busbar_sim_advance(f.sim, HOUR_US / 2);
    reboot(&f, &s, BUSBAR_CLOCK_UNKNOWN);
    pass(&f, HOUR_US / 4);
    fixture_reopen_bus(&f); /* and nobody remembers that it waits anew */
    subscribe(&f, &s);
    assert_in_range(step(&f), 1, 5 * SECOND_US);
    busbar_sim_wall_set(f.sim, BUSBAR_SIM_WALL_MS + 3 * HOUR_MS / 4, BUSBAR_CLOCK_TRUSTED);
    pass(&f, HOUR_US / 4);
    assert_int_equal(s.calls, 0);
    busbar_sim_advance(f.sim, 3 * SECOND_US);
    settle(&f, 100);
    assert_string_equal(s.text, "later.a ");
    pass(&f, 22 * HOUR_US);
    assert_int_equal(s.calls, 1);
    pass(&f, 2 * HOUR_US);
    assert_string_equal(s.text, "later.a later.b ");
    fixture_close(&f);
}

static void a_clock_set_back_makes_nothing_later_than_its_delay(void **unused)
{
    (void)unused;
    const busbar_clock_quality first[] = {BUSBAR_CLOCK_UNKNOWN, BUSBAR_CLOCK_TRUSTED};
    for (int i = 0; i < 2; i++) {
        fixture f;
        seen s = {.calls = 0};
        fixture_open(&f);
        subscribe(&f, &s);
        busbar_event event = delayed("later.a", HOUR_MS);
        put(f.bus, &event);
        reboot(&f, &s, first[i]);
        if (i == 0)
            step(&f);
        busbar_sim_wall_set(f.sim, BUSBAR_SIM_WALL_MS - 10 * YEAR_MS, BUSBAR_CLOCK_TRUSTED);
        step(&f);
        pass(&f, HOUR_US - SECOND_US);
        assert_int_equal(s.calls, 0);
        busbar_sim_advance(f.sim, 2 * SECOND_US);
        settle(&f, 100);
        assert_int_equal(s.calls, 1);
        fixture_close(&f);
    }
}

static void many_are_measured_anew_and_brought_forward_in_pieces(void **unused)
{
    (void)unused;
    fixture f;
    seen s = {.calls = 0};
    fixture_open(&f);
    subscribe(&f, &s);
    sql(f.db, "BEGIN");
    for (int i = 0; i < 1000; i++) {
        busbar_event event = delayed("later.a", HOUR_MS);
        put(f.bus, &event);
    }
    sql(f.db, "COMMIT");
    reboot(&f, &s, BUSBAR_CLOCK_UNKNOWN);
    settle(&f, 100);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_later WHERE due_boot = 2"), 1000);
    busbar_sim_wall_set(f.sim, BUSBAR_SIM_WALL_MS + HOUR_MS + 3000, BUSBAR_CLOCK_TRUSTED);
    settle(&f, 100);
    assert_int_equal(s.calls, 1000);
    assert_balanced(f.bus, "h");
    fixture_close(&f);
}

static void a_reboot_costs_one_write(void **unused)
{
    (void)unused;
    fixture f;
    seen s = {.calls = 0};
    fixture_open(&f);
    subscribe(&f, &s);
    busbar_event event = delayed("later.a", 1000 * HOUR_MS);
    for (int i = 0; i < 100; i++)
        put(f.bus, &event);
    reboot(&f, &s, BUSBAR_CLOCK_ESTIMATED);
    settle(&f, 100);
    assert_int_equal(sql_integer(f.db, "SELECT count(DISTINCT due_boot) FROM busbar_later"), 1);
    sqlite3 *watcher = fixture_connect(&f);
    int64_t version = sql_integer(watcher, "PRAGMA data_version");
    pass(&f, HOUR_US);
    assert_int_equal(sql_integer(watcher, "PRAGMA data_version"), version);
    sqlite3_close(watcher);
    fixture_close(&f);
}

/* ---- Time to live ---- */

static void the_time_to_live_runs_from_when_it_is_due(void **unused)
{
    (void)unused;
    fixture f;
    seen s = {.calls = 0};
    fixture_open(&f);
    subscribe(&f, &s);
    busbar_event relative = delayed("later.a", 10000);
    relative.ttl_ms = 500;
    put(f.bus, &relative);
    busbar_event absolute = not_before("later.b", BUSBAR_SIM_WALL_MS + 20000);
    absolute.ttl_ms = INT64_MAX;
    put(f.bus, &absolute);
    assert_int_equal(sql_integer(f.db, "SELECT ttl_ms FROM busbar_later"), 500);
    busbar_sim_advance(f.sim, 10200000); /* nobody stepped for a while */
    settle(&f, 100);
    assert_in_range(s.ttl_ms, 10500, 10501); /* the log counts from the publishing */
    busbar_sim_advance(f.sim, 11 * SECOND_US);
    settle(&f, 100);
    assert_string_equal(s.text, "later.a later.b ");
    assert_true(sql_integer(f.db, "SELECT ttl_ms FROM busbar_log_normal WHERE seq = 2") == INT64_MAX);
    assert_int_equal(s.ttl_ms, 0); /* for ever */
    fixture_close(&f);
}

static void the_time_to_live_of_a_kind_runs_from_then_too(void **unused)
{
    (void)unused;
    fixture f;
    seen s = {.calls = 0};
    busbar_kind kind;
    const busbar_kind_desc desc = {.size = sizeof desc, .type = "later.a", .ttl_ms = 1000};
    fixture_open(&f);
    subscribe(&f, &s);
    assert_code(f.bus, busbar_kind_register(f.bus, &desc, &kind), BUSBAR_OK);
    busbar_event event = delayed("later.a", HOUR_MS);
    put(f.bus, &event);
    busbar_sim_advance(f.sim, HOUR_US + 100000);
    settle(&f, 10);
    assert_string_equal(s.text, "later.a ");
    put(f.bus, &event);
    sql(f.db, "BEGIN IMMEDIATE; UPDATE busbar_later SET due_ms = due_ms - 2000; COMMIT"); /* due too long ago */
    busbar_sim_advance(f.sim, HOUR_US);
    settle(&f, 10);
    assert_int_equal(s.calls, 1);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).expired, 1);
    fixture_close(&f);
}

/* The time before it was due is none of its life, however well it is known. */
static void after_a_reboot_the_time_to_live_runs_from_when_it_is_due(void **unused)
{
    (void)unused;
    const busbar_clock_quality qualities[] = {BUSBAR_CLOCK_UNKNOWN, BUSBAR_CLOCK_ESTIMATED, BUSBAR_CLOCK_TRUSTED};
    for (int i = 0; i < 3; i++) {
        fixture f;
        seen s = {.calls = 0};
        fixture_open(&f);
        subscribe(&f, &s);
        busbar_event event = delayed("later.a", HOUR_MS);
        event.ttl_ms = 60000;
        put(f.bus, &event);
        settle(&f, 10);
        reboot(&f, &s, qualities[i]);
        settle(&f, 10);
        pass(&f, HOUR_US - 5 * SECOND_US);
        for (int second = 0; second < 20; second++) {
            busbar_sim_advance(f.sim, SECOND_US);
            step(&f);
        }
        assert_int_equal(s.calls, 1);
        assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).expired, 0);
        fixture_close(&f);
    }
}

/* ---- P1, P5 ---- */

static void p1_a_rollback_leaves_nothing(void **unused)
{
    (void)unused;
    fixture f;
    seen s = {.calls = 0};
    fixture_open(&f);
    subscribe(&f, &s);
    busbar_event event = delayed("later.a", 1000);
    busbar_event kept = delayed("later.kept", 1000);
    event.id = "given";
    sql(f.db, "BEGIN");
    put(f.bus, &event);
    sql(f.db, "ROLLBACK; BEGIN");
    put(f.bus, &kept);
    sql(f.db, "SAVEPOINT one");
    put(f.bus, &event);
    sql(f.db, "ROLLBACK TO one; COMMIT");
    assert_int_equal(scheduled_count(f.bus), 1);
    busbar_sim_advance(f.sim, 2 * SECOND_US);
    settle(&f, 100);
    assert_string_equal(s.text, "later.kept ");
    assert_int_equal(put(f.bus, &event).seq, 0); /* its id is free */
    fixture_close(&f);
}

static void p5_a_made_id_is_never_made_again(void **unused)
{
    (void)unused;
    fixture f;
    seen s = {.calls = 0};
    fixture_open(&f);
    busbar_event event = delayed("later.a", 1000);
    char ids[6][BUSBAR_ID_MAX + 1];
    for (int i = 0; i < 6; i++) {
        if (i == 3)
            fixture_reopen_bus(&f);
        sql(f.db, "BEGIN");
        busbar_id id = put(f.bus, &event);
        sql(f.db, i % 2 ? "COMMIT" : "ROLLBACK");
        strcpy(ids[i], id.text);
        for (int before = 0; before < i; before++)
            assert_string_not_equal(ids[i], ids[before]);
    }
    subscribe(&f, &s);
    busbar_sim_advance(f.sim, 2 * SECOND_US);
    settle(&f, 100);
    assert_int_equal(s.calls, 3);
    assert_string_equal(s.id, ids[5]);
    fixture_close(&f);
}

static int note_seq(const busbar_record *event, const busbar_standing *standing, void *ctx)
{
    (void)standing;
    *(int64_t *)ctx = event->seq;
    return 0;
}

static void p5_it_is_found_by_its_id_while_it_waits_and_afterwards(void **unused)
{
    (void)unused;
    const char *const given[] = {NULL, "given"};
    for (int i = 0; i < 2; i++) {
        fixture f;
        seen s = {.calls = 0};
        fixture_open(&f);
        subscribe(&f, &s);
        busbar_event event = delayed("later.a", 1000);
        event.id = given[i];
        busbar_id id = put(f.bus, &event);
        int64_t seq = -1;
        assert_code(f.bus, busbar_show(f.bus, id.text, note_seq, NULL, &seq), BUSBAR_OK);
        assert_int_equal(seq, 0);
        busbar_sim_advance(f.sim, 2 * SECOND_US);
        settle(&f, 100);
        assert_code(f.bus, busbar_show(f.bus, id.text, note_seq, NULL, &seq), BUSBAR_OK);
        assert_int_equal(seq, 1);
        fixture_close(&f);
    }
}

static void p5_a_given_id_is_known_while_it_waits_and_afterwards(void **unused)
{
    (void)unused;
    fixture f;
    seen s = {.calls = 0};
    fixture_open(&f);
    subscribe(&f, &s);
    busbar_event event = delayed("later.a", 1000);
    event.id = "given";
    event.lane = BUSBAR_URGENT;
    busbar_event now = event_of("later.now");
    now.id = "given";
    put(f.bus, &event);
    busbar_id id;
    assert_code(f.bus, busbar_publish(f.bus, &event, &id), BUSBAR_DUPLICATE);
    assert_int_equal(id.seq, 0);
    assert_int_equal(id.lane, BUSBAR_URGENT);
    assert_string_equal(id.text, "given");
    assert_code(f.bus, busbar_publish(f.bus, &now, &id), BUSBAR_DUPLICATE);
    now.source = "urn:another";
    assert_code(f.bus, busbar_publish(f.bus, &now, &id), BUSBAR_OK);
    busbar_sim_advance(f.sim, 2 * SECOND_US);
    settle(&f, 100);
    assert_int_equal(s.calls, 2);
    assert_code(f.bus, busbar_publish(f.bus, &event, &id), BUSBAR_DUPLICATE);
    assert_int_equal(id.seq, 1);
    assert_int_equal(id.lane, BUSBAR_URGENT);
    fixture_close(&f);
}

static int fail_commit(void *ctx)
{
    int *commits_before = ctx;
    return (*commits_before)-- == 0; /* not 0: the commit becomes a rollback */
}

/* Each commit of a step fails twice, for every other step begins with another; what was done in it is done again. */
static void step_with_failures(fixture *f)
{
    for (int i = 0; i < 8; i++) {
        int commits_before = i / 2;
        uint64_t wait_us = 0;
        sqlite3_commit_hook(f->db, fail_commit, &commits_before);
        (void)busbar_step(f->bus, 1000000, &wait_us);
        sqlite3_commit_hook(f->db, NULL, NULL);
        int64_t stored = sql_integer(f->db, "SELECT count(*) FROM busbar_events");
        assert_int_equal(scheduled_count(f->bus) + stored, 1);
    }
    settle(f, 100);
}

static void p1_a_move_that_does_not_commit_is_made_again(void **unused)
{
    (void)unused;
    fixture f;
    seen s = {.calls = 0};
    fixture_open(&f);
    subscribe(&f, &s);
    busbar_event event = delayed("later.a", 1000);
    put(f.bus, &event);
    settle(&f, 100);
    reboot(&f, &s, BUSBAR_CLOCK_UNKNOWN);
    step_with_failures(&f); /* the row of the new boot is taken back, too */
    assert_int_equal(sql_integer(f.db, "SELECT max(id) FROM busbar_boot"), 2);
    assert_int_equal(sql_integer(f.db, "SELECT due_boot FROM busbar_later"), 2);
    busbar_sim_advance(f.sim, 2 * SECOND_US);
    step_with_failures(&f);
    assert_int_equal(s.calls, 1);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM busbar_events"), 1);
    assert_int_equal(scheduled_count(f.bus), 0);
    fixture_close(&f);
}

static void several_handles_append_each_event_once(void **unused)
{
    (void)unused;
    fixture f;
    seen s[3] = {{.calls = 0}};
    sqlite3 *db[2];
    fixture_open(&f);
    busbar *other = fixture_connect_bus(&f, &db[0]);
    busbar *third = fixture_connect_bus(&f, &db[1]);
    subscribe(&f, &s[0]);
    subscribe_as(other, "o", &s[1], BUSBAR_TRANSACTIONAL);
    subscribe_as(third, "t", &s[2], BUSBAR_OUTSIDE);
    for (uint64_t i = 0; i < 600; i++) {
        busbar_event event = delayed("later.a", 1 + i % 50);
        put(i % 2 ? f.bus : third, &event);
    }
    for (int i = 0; i < 200; i++) {
        busbar_sim_advance(f.sim, 1000);
        uint64_t wait_us;
        assert_code(other, busbar_step(other, 100, &wait_us), BUSBAR_OK);
        assert_code(f.bus, busbar_step(f.bus, 100, &wait_us), BUSBAR_OK);
        assert_code(third, busbar_step(third, 100, &wait_us), BUSBAR_OK);
    }
    settle(&f, 100);
    settle_bus(other, f.sim, 100);
    settle_bus(third, f.sim, 100);
    assert_int_equal(scheduled_count(f.bus), 0);
    assert_int_equal(sql_integer(f.db, "SELECT count(DISTINCT id) FROM busbar_events"), 600);
    for (int i = 0; i < 3; i++)
        assert_int_equal(s[i].calls, 600);
    assert_balanced(f.bus, "h");
    assert_balanced(f.bus, "o");
    assert_code(other, busbar_close(other), BUSBAR_OK);
    assert_code(third, busbar_close(third), BUSBAR_OK);
    sqlite3_close(db[0]);
    sqlite3_close(db[1]);
    fixture_close(&f);
}

/* ---- Manners ---- */

static void an_idle_bus_writes_nothing_for_what_is_far_away(void **unused)
{
    (void)unused;
    fixture f;
    seen s = {.calls = 0};
    fixture_open(&f);
    subscribe(&f, &s);
    busbar_event relative = delayed("later.a", 10 * YEAR_MS);
    busbar_event absolute = not_before("later.b", BUSBAR_SIM_WALL_MS + 10 * YEAR_MS);
    put(f.bus, &relative);
    put(f.bus, &absolute);
    publish(f.bus, "a.b");
    settle(&f, 100);
    sqlite3 *watcher = fixture_connect(&f);
    int64_t version = sql_integer(watcher, "PRAGMA data_version");
    for (int i = 0; i < 3600; i++) {
        busbar_sim_advance(f.sim, SECOND_US);
        assert_true(step(&f) >= (uint64_t)SECOND_US);
    }
    assert_int_equal(sql_integer(watcher, "PRAGMA data_version"), version);
    sqlite3_close(watcher);
    fixture_close(&f);
}

static void p15_many_due_at_once_leave_room_for_others(void **unused)
{
    (void)unused;
    fixture f;
    seen s = {.calls = 0};
    fixture_open(&f);
    subscribe(&f, &s);
    sql(f.db, "BEGIN");
    for (int i = 0; i < 1000; i++) {
        busbar_event event = delayed("elsewhere.a", 1000);
        put(f.bus, &event);
    }
    sql(f.db, "COMMIT");
    settle(&f, 100);
    busbar_sim_advance(f.sim, 2 * SECOND_US);
    busbar_sim_tick(f.sim, 50); /* each reading of the clock takes time */
    uint64_t wait_us;
    assert_code(f.bus, busbar_step(f.bus, 100, &wait_us), BUSBAR_OK);
    int64_t moved = 1000 - scheduled_count(f.bus);
    assert_in_range(moved, 5, 60); /* 2 ms of 50 us readings */
    assert_code(f.bus, busbar_step(f.bus, 100, &wait_us), BUSBAR_OK);
    assert_int_equal(1000 - scheduled_count(f.bus), moved); /* the pause is kept */
    assert_in_range(wait_us, 1, 4000);
    busbar_sim_tick(f.sim, 0);
    settle(&f, 100);
    assert_int_equal(scheduled_count(f.bus), 0);
    fixture_close(&f);
}

static void p15_what_is_due_is_not_kept_waiting_by_a_backlog(void **unused)
{
    (void)unused;
    fixture f;
    seen s = {.calls = 0};
    fixture_open(&f);
    subscribe(&f, &s);
    settle(&f, 100);
    busbar_event event = delayed("later.a", 1);
    event.lane = BUSBAR_URGENT;
    put(f.bus, &event);
    sql(f.db, "BEGIN");
    for (int i = 0; i < 3000; i++)
        publish(f.bus, "elsewhere.a");
    sql(f.db, "COMMIT");
    subscribe_as(f.bus, "slow", &s, BUSBAR_OUTSIDE);
    busbar_sim_advance(f.sim, 2000);
    busbar_sim_tick(f.sim, 50);
    for (int i = 0; i < 20; i++) {
        uint64_t wait_us;
        assert_code(f.bus, busbar_step(f.bus, 3000, &wait_us), BUSBAR_OK);
        busbar_sim_advance(f.sim, wait_us < 10000 ? wait_us : 0);
    }
    assert_int_equal(scheduled_count(f.bus), 0);
    busbar_progress progress = progress_of(f.bus, "h", BUSBAR_NORMAL);
    assert_true(progress.cursor < 3000);
    busbar_sim_tick(f.sim, 0);
    settle(&f, 100);
    fixture_close(&f);
}

static void p9_there_is_a_bound(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    busbar_event event = delayed("later.a", 1000);
    put(f.bus, &event);
    sql(f.db, "WITH RECURSIVE t(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM t WHERE i < 100000)"
              " INSERT INTO busbar_later (n, lane, due_boot, due_ms, delay_ms, kind, session, at_ms, id)"
              " SELECT i, 0, 1, 1000000000, 1, 1, 1, 0, 'x' || i FROM t");
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_EBOUND);
    sql(f.db, "DELETE FROM busbar_later WHERE n = 50000");
    put(f.bus, &event);
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_EBOUND);
    publish(f.bus, "a.b"); /* what is not put off needs no room */
    fixture_close(&f);
}

/* ---- Inline handlers ---- */

static void inline_handlers_see_it_when_it_is_published(void **unused)
{
    (void)unused;
    fixture f;
    seen s = {.seq = -1};
    fixture_open(&f);
    subscribe_as(f.bus, "i", &s, BUSBAR_INLINE);
    seen worker = {.calls = 0};
    subscribe(&f, &worker);
    busbar_event event = delayed("later.a", 1000);
    busbar_id id = put(f.bus, &event);
    assert_int_equal(s.calls, 1);
    assert_int_equal(s.seq, 0);
    assert_string_equal(s.id, id.text);
    busbar_sim_advance(f.sim, 2 * SECOND_US);
    settle(&f, 100);
    assert_int_equal(s.calls, 1);
    assert_int_equal(worker.calls, 1);
    s.refuses = true;
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_EREFUSED);
    assert_int_equal(scheduled_count(f.bus), 0);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_delayed_event_is_appended_when_due_and_not_before),
        cmocka_unit_test(never_less_than_its_delay),
        cmocka_unit_test(order_begins_when_due),
        cmocka_unit_test(lanes_and_everything_else_stay_as_published),
        cmocka_unit_test(bad_times_are_refused),
        cmocka_unit_test(an_absolute_time_waits_for_a_trusted_clock),
        cmocka_unit_test(an_absolute_time_over_a_reboot),
        cmocka_unit_test(a_time_in_the_past_is_due_at_once),
        cmocka_unit_test(trusted_before_and_after_it_is_due_by_wall_time),
        cmocka_unit_test(without_trust_it_waits_its_whole_delay_anew),
        cmocka_unit_test(anew_is_no_less_than_the_delay_either),
        cmocka_unit_test(without_a_boot_identity),
        cmocka_unit_test(a_clock_that_becomes_trusted_brings_it_forward),
        cmocka_unit_test(a_clock_set_back_makes_nothing_later_than_its_delay),
        cmocka_unit_test(many_are_measured_anew_and_brought_forward_in_pieces),
        cmocka_unit_test(a_reboot_costs_one_write),
        cmocka_unit_test(the_time_to_live_runs_from_when_it_is_due),
        cmocka_unit_test(the_time_to_live_of_a_kind_runs_from_then_too),
        cmocka_unit_test(after_a_reboot_the_time_to_live_runs_from_when_it_is_due),
        cmocka_unit_test(p1_a_rollback_leaves_nothing),
        cmocka_unit_test(p5_a_made_id_is_never_made_again),
        cmocka_unit_test(p5_it_is_found_by_its_id_while_it_waits_and_afterwards),
        cmocka_unit_test(p5_a_given_id_is_known_while_it_waits_and_afterwards),
        cmocka_unit_test(p1_a_move_that_does_not_commit_is_made_again),
        cmocka_unit_test(several_handles_append_each_event_once),
        cmocka_unit_test(an_idle_bus_writes_nothing_for_what_is_far_away),
        cmocka_unit_test(p15_many_due_at_once_leave_room_for_others),
        cmocka_unit_test(p15_what_is_due_is_not_kept_waiting_by_a_backlog),
        cmocka_unit_test(p9_there_is_a_bound),
        cmocka_unit_test(inline_handlers_see_it_when_it_is_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
