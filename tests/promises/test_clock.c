/* SPDX-License-Identifier: MIT */
/* P10 (no clock needed): what time events get, by whatever clock the machine had, and that order never asks for it. */
#include "fixture.h"

#include <busbar/loopback.h>
#include <stdio.h>

#define SECOND   INT64_C(1000)
#define HOUR     (3600 * SECOND)
#define DAY      (24 * HOUR)
#define YEARS_10 (3653 * DAY)
#define US(ms)   ((uint64_t)(ms)*1000)

/* What the receiver got, in order. */
typedef struct peer {
    char json[64][512];
    int count;
} peer;

static void receive(const busbar_message *message, void *ctx)
{
    peer *p = ctx;
    snprintf(p->json[p->count++ % 64], sizeof p->json[0], "%.*s", (int)message->payload_size_bytes,
             (const char *)message->payload);
}

static busbar_transport add_route(busbar *bus, peer *p)
{
    busbar_loopback_options options = {.size = sizeof options, .receive = receive, .ctx = p, .link_down = true};
    busbar_route route = {.size = sizeof route, .name = "up", .topic = "t"};
    busbar_transport transport;
    p->count = 0;
    assert_int_equal(busbar_loopback_new(&options, &transport), BUSBAR_OK);
    assert_code(bus, busbar_route_add(bus, &route, transport), BUSBAR_OK);
    return transport;
}

#define REST_MS 90

static void drain(fixture *f, busbar_transport transport)
{
    busbar_loopback_link(transport, true);
    settle(f, REST_MS);
    busbar_sim_advance(f->sim, 300000);
    settle(f, REST_MS);
}

/* ---- What is stored of the events ---- */

typedef struct times {
    int64_t ms[64];
    busbar_clock_quality quality[64];
    int count;
} times;

static int collect(const busbar_record *event, const busbar_standing *standing, void *ctx)
{
    times *t = ctx;
    (void)standing;
    t->ms[t->count] = event->time_ms;
    t->quality[t->count++] = event->time_quality;
    return 0;
}

static times times_of(busbar *bus)
{
    times t = {.count = 0};
    busbar_query query = {.size = sizeof query};
    assert_code(bus, busbar_list(bus, &query, collect, &t), BUSBAR_OK);
    return t;
}

static int64_t fixes(const fixture *f)
{
    return sql_integer(f->db, "SELECT count(*) FROM busbar_clock");
}

static void fixture_open_without_clock(fixture *f)
{
    fixture_open(f);
    busbar_sim_wall_quality(f->sim, BUSBAR_CLOCK_UNKNOWN);
}

static int64_t mono_ms(const fixture *f)
{
    return (int64_t)(f->options.port->mono_us(f->options.port->ctx) / 1000);
}

static void p10_a_fix_of_another_handle_serves_every_session_of_the_boot(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    sqlite3 *db;
    fixture_open_without_clock(&f);
    for (int i = 0; i < 3; i++) { /* three sessions, none of which ever sees the clock */
        publish(f.bus, "a.b");
        busbar_sim_advance(f.sim, US(HOUR));
        fixture_reopen_bus(&f);
    }
    assert_int_equal(fixes(&f), 0);
    busbar *other = fixture_connect_bus(&f, &db);
    busbar_transport transport = add_route(other, &p);
    settle_bus(other, f.sim, REST_MS);
    busbar_sim_wall_set(f.sim, BUSBAR_SIM_WALL_MS + 3 * HOUR, BUSBAR_CLOCK_TRUSTED);
    int64_t set_ms = mono_ms(&f);
    busbar_loopback_link(transport, true);
    settle_bus(other, f.sim, REST_MS);
    assert_int_equal(fixes(&f), 1);
    assert_int_equal(p.count, 3);
    int64_t first_ms = sql_integer(f.db, "SELECT min(mono_ms) FROM busbar_session");
    times t = times_of(f.bus);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(t.quality[i], BUSBAR_CLOCK_TRUSTED);
        assert_in_range(t.ms[i], BUSBAR_SIM_WALL_MS + 3 * HOUR - (set_ms - first_ms) + i * HOUR - 2,
                        BUSBAR_SIM_WALL_MS + 3 * HOUR - (set_ms - first_ms) + i * HOUR + 2);
        assert_null(strstr(p.json[i], "timequality"));
    }
    assert_non_null(strstr(p.json[0], "\"time\":\"2026-01-01T00:0"));
    assert_code(other, busbar_close(other), BUSBAR_OK);
    sqlite3_close(db);
    fixture_close(&f);
}

static void p10_a_trusted_fix_wins_over_estimated_ones_of_its_boot(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    busbar_sim_wall_set(f.sim, BUSBAR_SIM_WALL_MS - YEARS_10, BUSBAR_CLOCK_ESTIMATED);
    static peer p;
    busbar_transport transport = add_route(f.bus, &p);
    publish(f.bus, "a.b");
    settle(&f, REST_MS);
    assert_int_equal(times_of(f.bus).ms[0], BUSBAR_SIM_WALL_MS - YEARS_10);
    assert_int_equal(times_of(f.bus).quality[0], BUSBAR_CLOCK_ESTIMATED);
    busbar_sim_advance(f.sim, US(HOUR));
    busbar_sim_wall_set(f.sim, BUSBAR_SIM_WALL_MS + HOUR, BUSBAR_CLOCK_TRUSTED);
    settle(&f, REST_MS);
    busbar_sim_wall_quality(f.sim,
                            BUSBAR_CLOCK_ESTIMATED); /* what an estimated clock says from now on is worth nothing */
    busbar_sim_wall_step(f.sim, YEARS_10);
    busbar_sim_advance(f.sim, US(HOUR));
    publish(f.bus, "a.b");
    drain(&f, transport);
    times t = times_of(f.bus);
    assert_in_range(t.ms[0], BUSBAR_SIM_WALL_MS - 200, BUSBAR_SIM_WALL_MS);
    assert_in_range(t.ms[1] - t.ms[0], 2 * HOUR, 2 * HOUR + SECOND);
    assert_int_equal(t.quality[0], BUSBAR_CLOCK_TRUSTED);
    assert_int_equal(t.quality[1], BUSBAR_CLOCK_TRUSTED);
    assert_int_equal(p.count, 2);
    assert_null(strstr(p.json[0], "timequality"));
    assert_null(strstr(p.json[1], "timequality"));
    fixture_close(&f);
}

static void p10_of_two_fixes_of_one_instant_the_better_is_kept(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    uint64_t wait_us = 0;
    fixture_open(&f);
    busbar_sim_wall_set(f.sim, BUSBAR_SIM_WALL_MS - YEARS_10, BUSBAR_CLOCK_ESTIMATED);
    (void)add_route(f.bus, &p);
    publish(f.bus, "a.b");
    busbar_sim_wall_set(f.sim, BUSBAR_SIM_WALL_MS, BUSBAR_CLOCK_TRUSTED);
    assert_code(f.bus, busbar_step(f.bus, 1000, &wait_us), BUSBAR_OK);
    assert_int_equal(fixes(&f), 1);
    assert_int_equal(times_of(f.bus).ms[0], BUSBAR_SIM_WALL_MS);
    fixture_close(&f);
}

static void p10_an_estimated_time_says_so_and_when_it_was_told(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open(&f);
    busbar_sim_wall_quality(f.sim, BUSBAR_CLOCK_ESTIMATED);
    busbar_attribute own = {.name = "timequality", .string = "mine"};
    busbar_event event = event_of("a.b");
    publish(f.bus, "a.b");
    event.time = "2020-01-01T00:00:00Z"; /* the publisher's own: not ours to judge */
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    event.time = NULL;
    event.extensions = &own;
    event.extension_count = 1;
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    busbar_sim_reboot(f.sim);
    busbar_sim_wall_set(f.sim, BUSBAR_SIM_WALL_MS + DAY, BUSBAR_CLOCK_TRUSTED);
    fixture_reopen_bus(&f);
    drain(&f, add_route(f.bus, &p));
    assert_int_equal(p.count, 3);
    assert_non_null(strstr(p.json[0],
                           "\"time\":\"2026-01-01T00:00:00.000Z\",\"timequality\":\"estimated\",\"recordedtime\":"
                           "\"2026-01-02T00:00:00."));
    assert_null(strstr(p.json[1], "timequality"));
    assert_null(strstr(p.json[1], "recordedtime"));
    assert_null(strstr(p.json[2], "estimated"));
    assert_non_null(strstr(p.json[2], "\"timequality\":\"mine\""));
    fixture_close(&f);
}

static void p10_events_of_boots_without_a_clock_have_no_time_and_say_when_they_were_told(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    char sequence[64];
    fixture_open_without_clock(&f);
    for (int boot = 0; boot < 4; boot++) {
        publish(f.bus, "a.b");
        busbar_sim_advance(f.sim, US(HOUR));
        publish(f.bus, "a.b");
        busbar_sim_reboot(f.sim);
        busbar_sim_wall_quality(f.sim, BUSBAR_CLOCK_UNKNOWN);
        fixture_reopen_bus(&f);
    }
    publish(f.bus, "a.b");
    busbar_transport transport = add_route(f.bus, &p);
    settle(&f, REST_MS);
    busbar_sim_advance(f.sim, US(HOUR));
    busbar_sim_wall_set(f.sim, BUSBAR_SIM_WALL_MS, BUSBAR_CLOCK_TRUSTED);
    drain(&f, transport);
    assert_int_equal(p.count, 9);
    for (int i = 0; i < 9; i++) {
        snprintf(sequence, sizeof sequence, "\"sequence\":\"%019d\"", i + 1);
        assert_non_null(strstr(p.json[i], sequence)); /* P4 */
        assert_true((strstr(p.json[i], "\"timequality\":\"unknown\",\"recordedtime\":\"2026-01-01T00:00:00.") !=
                     NULL) == (i < 8));
        assert_true((strstr(p.json[i], "\"time\":") != NULL) == (i == 8));
    }
    assert_non_null(strstr(p.json[8], "\"time\":\"2025-12-31T2"));
    fixture_close(&f);
}

static void p10_without_any_clock_nothing_is_told_of_time(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open_without_clock(&f);
    publish(f.bus, "a.b");
    drain(&f, add_route(f.bus, &p));
    assert_int_equal(p.count, 1);
    assert_non_null(strstr(p.json[0], "\"timequality\":\"unknown\""));
    assert_null(strstr(p.json[0], "\"time\":"));
    assert_null(strstr(p.json[0], "recordedtime"));
    assert_int_equal(fixes(&f), 0);
    fixture_close(&f);
}

static void p10_a_step_of_ten_years_changes_no_order_and_no_earlier_time(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    char sequence[64];
    fixture_open(&f);
    busbar_transport transport = add_route(f.bus, &p);
    publish(f.bus, "a.b");
    settle(&f, REST_MS);
    for (int i = 0; i < 6; i++) {
        busbar_sim_advance(f.sim, US(HOUR));
        busbar_sim_wall_step(f.sim, i % 2 == 0 ? YEARS_10 : -2 * YEARS_10);
        settle(&f, REST_MS);
        publish(f.bus, "a.b");
    }
    assert_int_equal(fixes(&f), 7);
    busbar_sim_wall_step(f.sim, -YEARS_10); /* and once more while it drains */
    drain(&f, transport);
    assert_int_equal(p.count, 7);
    for (int i = 0; i < 7; i++) {
        snprintf(sequence, sizeof sequence, "\"sequence\":\"%019d\"", i + 1);
        assert_non_null(strstr(p.json[i], sequence));
    }
    times t = times_of(f.bus);
    assert_in_range(t.ms[0], BUSBAR_SIM_WALL_MS, BUSBAR_SIM_WALL_MS + SECOND);
    assert_in_range(t.ms[1] - t.ms[0], YEARS_10 + HOUR, YEARS_10 + HOUR + SECOND);
    assert_in_range(t.ms[0] - t.ms[2], YEARS_10 - 2 * HOUR - SECOND, YEARS_10 - 2 * HOUR);
    fixture_close(&f);
}

static void p10_a_step_is_noted_while_working_but_not_every_one(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open(&f);
    (void)add_route(f.bus, &p);
    publish(f.bus, "a.b");
    settle(&f, REST_MS);
    for (int i = 0; i < 600; i++) { /* ten minutes of a clock that is stepped every second */
        busbar_sim_advance(f.sim, US(SECOND));
        busbar_sim_wall_step(f.sim, i % 2 == 0 ? HOUR : -HOUR);
        settle(&f, REST_MS);
    }
    assert_in_range(fixes(&f), 6, 14); /* one a minute, and a few at once */
    fixture_close(&f);
}

static void p10_the_first_steps_are_noted_at_once(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open(&f);
    (void)add_route(f.bus, &p);
    for (int i = 0; i < 3; i++) {
        int64_t wall_ms = 0;
        busbar_sim_advance(f.sim, US(5 * SECOND));
        busbar_sim_wall_step(f.sim, HOUR);
        settle(&f, REST_MS);
        busbar_sim_advance(f.sim, US(5 * SECOND));
        f.options.port->wall_ms(f.options.port->ctx, &wall_ms);
        publish(f.bus, "a.b");
        times t = times_of(f.bus);
        assert_in_range(llabs(t.ms[t.count - 1] - wall_ms), 0, SECOND);
    }
    fixture_close(&f);
}

static void p10_an_idle_bus_writes_nothing_for_its_clock(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open(&f);
    (void)add_route(f.bus, &p);
    publish(f.bus, "a.b");
    settle(&f, REST_MS);
    int64_t written = sql_integer(f.db, "SELECT total_changes()");
    for (int i = 0; i < 24 * 60; i++) { /* a day, in which the clock drifts by 200 ms an hour */
        busbar_sim_advance(f.sim, US(60 * SECOND));
        busbar_sim_wall_step(f.sim, i % 60 == 0 ? 200 : 0);
        settle(&f, REST_MS);
    }
    assert_int_equal(fixes(&f), 1);
    assert_int_equal(sql_integer(f.db, "SELECT total_changes()"), written);
    fixture_close(&f);
}

static void p10_drift_between_trusted_fixes_is_spread_over_the_time_between(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open(&f);
    busbar_transport transport = add_route(f.bus, &p);
    busbar_loopback_link(transport, true);
    publish(f.bus, "a.b");
    settle(&f, REST_MS);
    for (int i = 0; i < 10; i++) { /* each hour of the machine is 200 ms longer by the true time */
        busbar_sim_advance(f.sim, US(HOUR));
        busbar_sim_wall_step(f.sim, 200);
        publish(f.bus, "a.b");
        settle(&f, REST_MS);
        busbar_sim_advance(f.sim, 300000); /* the acknowledgement group's delay: a commit that is made anyway */
        settle(&f, REST_MS);
    }
    assert_in_range(fixes(&f), 5, 11);
    times t = times_of(f.bus);
    assert_int_equal(t.count, 11);
    for (int i = 1; i < 10; i++)
        assert_in_range(t.ms[i] - t.ms[i - 1], HOUR + 150, HOUR + 900);
    fixture_close(&f);
}

static void p10_drift_of_a_time_offline_is_spread_when_it_is_known(void **unused)
{
    (void)unused;
    static peer p;
    fixture f;
    fixture_open(&f);
    busbar_transport transport = add_route(f.bus, &p);
    publish(f.bus, "a.b");
    settle(&f, REST_MS);
    for (int i = 0; i < 20; i++) { /* no link, no commit: nobody notes anything */
        busbar_sim_advance(f.sim, US(HOUR));
        busbar_sim_wall_step(f.sim, 200);
        settle(&f, REST_MS);
        publish(f.bus, "a.b");
    }
    assert_int_equal(fixes(&f), 1);
    drain(&f, transport);
    assert_int_equal(fixes(&f), 2);
    times t = times_of(f.bus);
    for (int i = 0; i <= 20; i++)
        assert_in_range(t.ms[i] - t.ms[0], i * (HOUR + 200), i * (HOUR + 200) + 100);
    fixture_close(&f);
}

static void p10_time_asleep_counts(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    publish(f.bus, "a.b");
    busbar_sim_suspend(f.sim, US(12 * HOUR)); /* the clock is only estimated from here on */
    publish(f.bus, "a.b");
    times t = times_of(f.bus);
    assert_int_equal(t.ms[1] - t.ms[0], 12 * HOUR);
    assert_int_equal(t.quality[1], BUSBAR_CLOCK_TRUSTED);
    fixture_close(&f);
}

static void p10_a_publisher_without_a_worker_notes_the_clock_too(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open_without_clock(&f);
    publish(f.bus, "a.b");
    publish(f.bus, "a.b");
    busbar_sim_advance(f.sim, US(HOUR));
    busbar_sim_wall_set(f.sim, BUSBAR_SIM_WALL_MS, BUSBAR_CLOCK_TRUSTED);
    sql(f.db, "BEGIN");
    publish(f.bus, "a.b");
    sql(f.db, "ROLLBACK");
    assert_int_equal(fixes(&f), 0); /* it went with the transaction */
    busbar_sim_advance(f.sim, US(HOUR));
    sql(f.db, "BEGIN");
    publish(f.bus, "a.b");
    sql(f.db, "COMMIT");
    assert_int_equal(fixes(&f), 1);
    busbar_sim_reboot(f.sim); /* before any worker ran */
    fixture_reopen_bus(&f);
    times t = times_of(f.bus);
    assert_int_equal(t.count, 3);
    assert_int_equal(t.ms[0], BUSBAR_SIM_WALL_MS - HOUR);
    assert_int_equal(t.quality[0], BUSBAR_CLOCK_TRUSTED);
    fixture_close(&f);
}

static void p10_an_impossible_wall_time_counts_as_none(void **unused)
{
    (void)unused;
    static const int64_t impossible[] = {INT64_MIN, -1, INT64_C(253402300800000), INT64_MAX};
    for (size_t i = 0; i < sizeof impossible / sizeof impossible[0]; i++) {
        fixture f;
        fixture_open(&f);
        busbar_sim_wall_set(f.sim, impossible[i], BUSBAR_CLOCK_TRUSTED);
        publish(f.bus, "a.b");
        assert_int_equal(times_of(f.bus).ms[0], BUSBAR_TIME_UNKNOWN);
        assert_int_equal(fixes(&f), 0);
        fixture_close(&f);
    }
}

static busbar_status status_of(busbar *bus)
{
    busbar_status status = {.size = sizeof status};
    assert_code(bus, busbar_status_get(bus, &status), BUSBAR_OK);
    return status;
}

static void p10_the_status_says_how_well_the_time_is_known(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open_without_clock(&f);
    publish(f.bus, "a.b");
    assert_int_equal(status_of(f.bus).clock_quality, BUSBAR_CLOCK_UNKNOWN);
    assert_int_equal(status_of(f.bus).clock_fix_ms, -1);
    busbar_sim_wall_set(f.sim, BUSBAR_SIM_WALL_MS, BUSBAR_CLOCK_ESTIMATED);
    fixture_reopen_bus(&f);
    publish(f.bus, "a.b");
    busbar_sim_advance(f.sim, US(HOUR));
    assert_int_equal(status_of(f.bus).clock_quality, BUSBAR_CLOCK_ESTIMATED);
    assert_int_equal(status_of(f.bus).clock_fix_ms, HOUR);
    assert_string_equal(busbar_clock_name(status_of(f.bus).clock_quality), "estimated");
    busbar_sim_reboot(f.sim);
    fixture_reopen_bus(&f);
    assert_int_equal(status_of(f.bus).clock_quality, BUSBAR_CLOCK_UNKNOWN); /* of this boot nothing is known yet */
    fixture_close(&f);
}

/* Under a sanitizer, sums of such numbers end the test. */
static void times_that_no_clock_can_have_said_do_no_harm(void **unused)
{
    (void)unused;
    fixture f;
    static peer p;
    fixture_open(&f);
    busbar_event event = event_of("a.b");
    event.ttl_ms = 3600 * 1000;
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    busbar_sim_reboot(f.sim);
    fixture_reopen_bus(&f);
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    sql(f.db, "UPDATE busbar_session SET mono_ms = 9223372036854775807;"
              "UPDATE busbar_log_normal SET at_ms = 9223372036854775807 WHERE seq = 1;"
              "UPDATE busbar_log_normal SET at_ms = -9223372036854775807 WHERE seq = 2;"
              "INSERT OR REPLACE INTO busbar_clock SELECT id, -9223372036854775807, 9223372036854775807, 2"
              " FROM busbar_boot;"
              "INSERT OR REPLACE INTO busbar_clock SELECT id, 9223372036854775807, -9223372036854775807, 2"
              " FROM busbar_boot");
    fixture_reopen_bus(&f);
    busbar_transport transport = add_route(f.bus, &p);
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_OK);
    drain(&f, transport);
    assert_int_equal(p.count, 3);
    times t = times_of(f.bus);
    assert_int_equal(t.count, 3);
    for (int i = 0; i < 3; i++)
        assert_in_range(llabs(t.ms[i]), 0, INT64_C(1) << 53);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p10_a_fix_of_another_handle_serves_every_session_of_the_boot),
        cmocka_unit_test(p10_a_trusted_fix_wins_over_estimated_ones_of_its_boot),
        cmocka_unit_test(p10_of_two_fixes_of_one_instant_the_better_is_kept),
        cmocka_unit_test(p10_an_estimated_time_says_so_and_when_it_was_told),
        cmocka_unit_test(p10_events_of_boots_without_a_clock_have_no_time_and_say_when_they_were_told),
        cmocka_unit_test(p10_without_any_clock_nothing_is_told_of_time),
        cmocka_unit_test(p10_a_step_of_ten_years_changes_no_order_and_no_earlier_time),
        cmocka_unit_test(p10_a_step_is_noted_while_working_but_not_every_one),
        cmocka_unit_test(p10_the_first_steps_are_noted_at_once),
        cmocka_unit_test(p10_an_idle_bus_writes_nothing_for_its_clock),
        cmocka_unit_test(p10_drift_between_trusted_fixes_is_spread_over_the_time_between),
        cmocka_unit_test(p10_drift_of_a_time_offline_is_spread_when_it_is_known),
        cmocka_unit_test(p10_time_asleep_counts),
        cmocka_unit_test(p10_a_publisher_without_a_worker_notes_the_clock_too),
        cmocka_unit_test(p10_an_impossible_wall_time_counts_as_none),
        cmocka_unit_test(times_that_no_clock_can_have_said_do_no_harm),
        cmocka_unit_test(p10_the_status_says_how_well_the_time_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
