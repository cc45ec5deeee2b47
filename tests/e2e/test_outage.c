/* SPDX-License-Identifier: MIT */
/*
 * The broker is away, or goes away: what was published with the device's state reaches it all the same, in order, with the
 * runner in the application and with `busbar relay` beside it (P1, P3, P4, P6, P7).
 */
#include "test.h"

#include "scene.h"

#define WINDOW      20
#define WINDOW_TEXT "20"
#define ACK_GROUP   100 /* a route's default */

/* Each reading was handled, and had its effect once. */
static void assert_handled(const scene *it, int64_t count)
{
    scene_await_integer(it, "SELECT count(*) FROM handled", count);
    assert_int_equal(scene_integer(it, "SELECT count(*) FROM handled WHERE times <> 1"), 0);
    assert_int_equal(scene_integer(it, "SELECT max(n) FROM handled"), count);
    assert_int_equal(scene_integer(it, "SELECT n FROM state"), count);
}

/* Nothing that comes after `last` could have been overtaken: a last event, and all before it has arrived. */
static void assert_arrived(scene *it, const char *device, long last, size_t duplicates_max)
{
    process publishers[2];
    receiver_await_reading(it->receiver, device, last);
    scene_publish(it, &publishers[1], "last", "1");
    receiver_await_reading(it->receiver, "last", 1);
    publishers[0] = it->publisher;
    audit_assert_delivered(publishers, 2, it->receiver, duplicates_max);
}

/* ---- The broker comes late ---------------------------------------------------------------------------------------------- */

static void P6_events_of_an_offline_time_arrive_once_with_the_runner_inside_the_application(void **state)
{
    scene *it = *state;
    scene_start_device(it, &it->worker, "app.log", "app",
                       (const char *const[]){"pump", "1000", it->port_text, WINDOW_TEXT, "0", NULL});
    it->publisher = it->worker;
    it->publisher.pid = 0;
    process_await_lines(&it->worker, "done", 1);
    assert_handled(it, 1000);
    process_pause(&it->worker);
    scene_open_broker(it);
    process_resume(&it->worker);
    assert_arrived(it, "pump", 1000, 0);
    process_stop(&it->worker);
}

static void P6_events_of_an_offline_time_arrive_once_with_a_relay_beside_the_application(void **state)
{
    scene *it = *state;
    scene_start_device(it, &it->second, "run.log", "run", (const char *const[]){NULL});
    scene_start_relay(it, &it->worker, "relay.log", WINDOW_TEXT, "0", NULL);
    process_await_lines(&it->second, "running", 1);
    process_await_lines(&it->worker, "busbar: relay: ", 1); /* it has tried, and says that there is no broker */
    scene_publish(it, &it->publisher, "pump", "1000");
    assert_handled(it, 1000);
    process_pause(&it->worker);
    scene_open_broker(it);
    process_resume(&it->worker);
    assert_arrived(it, "pump", 1000, 0);
    process_stop(&it->worker);
    process_stop(&it->second);
}

/* ---- The broker is killed in the middle ---------------------------------------------------------------------------------- */

#define DRAIN_COUNT      4000
#define DRAIN_COUNT_TEXT "4000"
#define DRAIN_RATE_TEXT  "1500"
#define INTERRUPTIONS    3

static void interrupt_drain(scene *it)
{
    for (size_t i = 1; i <= INTERRUPTIONS; i++) {
        receiver_await(it->receiver, i * DRAIN_COUNT / (INTERRUPTIONS + 1));
        scene_interrupt_broker(it, &it->worker);
        assert_true(receiver_count(it->receiver) < DRAIN_COUNT);
    }
    assert_arrived(it, "pump", DRAIN_COUNT, (WINDOW + ACK_GROUP) * INTERRUPTIONS);
    process_stop(&it->worker);
}

static void P3_a_killed_broker_costs_the_application_nothing_but_duplicates(void **state)
{
    scene *it = *state;
    scene_publish(it, &it->publisher, "pump", DRAIN_COUNT_TEXT);
    scene_open_broker(it);
    scene_start_device(it, &it->worker, "run.log", "run",
                       (const char *const[]){it->port_text, WINDOW_TEXT, DRAIN_RATE_TEXT, NULL});
    interrupt_drain(it);
}

static void P3_a_killed_broker_costs_the_relay_nothing_but_duplicates(void **state)
{
    scene *it = *state;
    scene_publish(it, &it->publisher, "pump", DRAIN_COUNT_TEXT);
    scene_open_broker(it);
    scene_start_relay(it, &it->worker, "relay.log", WINDOW_TEXT, DRAIN_RATE_TEXT, NULL);
    interrupt_drain(it);
}

/* ---- Nobody is subscribed ------------------------------------------------------------------------------------------------ */

static void P6_what_nobody_is_subscribed_to_is_held_back_if_the_relay_is_told_so(void **state)
{
    scene *it = *state;
    scene_publish(it, &it->publisher, "pump", "200");
    it->broker = broker_start_on(it->port, NULL);
    scene_start_relay(it, &it->worker, "relay.log", WINDOW_TEXT, "0", "--unmatched=hold");
    scene_await_integer(it, "SELECT count(*) FROM busbar_consumer WHERE last_error LIKE 'nobody is subscribed%'", 1);
    assert_int_equal(scene_integer(it, "SELECT sum(delivered) FROM busbar_cursor"), 0);
    it->receiver = receiver_start(it->port);
    assert_arrived(it, "pump", 200, 0);
    scene_await_integer(it, "SELECT sum(delivered) FROM busbar_cursor", 201);
    assert_int_equal(scene_integer(it, "SELECT count(*) FROM busbar_exception"), 0);
    process_stop(&it->worker);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test_setup_teardown(P6_events_of_an_offline_time_arrive_once_with_the_runner_inside_the_application,
                                        scene_set_up, scene_tear_down),
        cmocka_unit_test_setup_teardown(P6_events_of_an_offline_time_arrive_once_with_a_relay_beside_the_application,
                                        scene_set_up, scene_tear_down),
        cmocka_unit_test_setup_teardown(P3_a_killed_broker_costs_the_application_nothing_but_duplicates, scene_set_up,
                                        scene_tear_down),
        cmocka_unit_test_setup_teardown(P3_a_killed_broker_costs_the_relay_nothing_but_duplicates, scene_set_up,
                                        scene_tear_down),
        cmocka_unit_test_setup_teardown(P6_what_nobody_is_subscribed_to_is_held_back_if_the_relay_is_told_so,
                                        scene_set_up, scene_tear_down),
    };
    return scene_run(cases);
}
