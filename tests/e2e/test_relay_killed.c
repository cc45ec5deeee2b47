/* SPDX-License-Identifier: MIT */
/*
 * Relays are killed (SIGKILL) in the middle of their work, and others take over: nothing is missing, what comes twice is
 * within the bound (P3), and as long as one works the other sends nothing.
 */
#include "test.h"

#include <poll.h>

#include "scene.h"

#define WINDOW       20
#define WINDOW_TEXT  "20"
#define ACK_GROUP    100 /* a route's default */
#define ACK_DELAY_MS 200 /* so is this */
#define AT_RISK      (WINDOW + ACK_GROUP)
#define COUNT        4000
#define COUNT_TEXT   "4000"
#define RATE_TEXT    "2000"
#define KILLS        6
#define TAKE_OVER_MS 4000 /* well below the lease of 10 s, which a worker that is known to be gone does not keep */

static void start_relay(scene *it, process *out, const char *name, const char *last)
{
    scene_start_relay(it, out, name, WINDOW_TEXT, RATE_TEXT, last);
}

static void take_over(scene *it)
{
    size_t before = receiver_count(it->receiver);
    uint64_t begun_ms = broker_now_ms();
    start_relay(it, &it->worker, "relay.log", NULL);
    receiver_await(it->receiver, before + 1);
    uint64_t taken_over_ms = broker_now_ms() - begun_ms;
    if (taken_over_ms > TAKE_OVER_MS)
        fail_msg("it needed %llu ms to take over", (unsigned long long)taken_over_ms);
}

/* Since the last look. The receiver has got what a relay repeats as soon as it has got more than that of it. */
static void assert_repeated_at_most(scene *it, size_t *duplicates, size_t most)
{
    audit published = {.entries = NULL};
    audit_add(&published, &it->publisher);
    audit_seal(&published);
    audit_result now = audit_compare(&published, it->receiver);
    audit_free(&published);
    if (now.duplicates > *duplicates + most)
        fail_msg("a kill was followed by %zu duplicates; at most %zu are allowed", now.duplicates - *duplicates, most);
    *duplicates = now.duplicates;
}

static void P3_killed_relays_lose_nothing_and_repeat_no_more_than_they_may(void **state)
{
    scene *it = *state;
    size_t duplicates = 0;
    scene_publish(it, &it->publisher, "pump", COUNT_TEXT);
    scene_open_broker(it);
    for (size_t kill = 0; kill < KILLS; kill++) {
        size_t before = receiver_count(it->receiver);
        take_over(it);
        receiver_await(it->receiver, before + COUNT / (KILLS + 2));
        assert_repeated_at_most(it, &duplicates, kill == 0 ? 0 : AT_RISK);
        process_kill(&it->worker);
        assert_true(receiver_count(it->receiver) < COUNT);
    }
    start_relay(it, &it->worker, "relay.log", "--drain");
    assert_int_equal(process_wait(&it->worker), 0);
    receiver_await_reading(it->receiver, "pump", COUNT);
    audit_assert_delivered(&it->publisher, 1, it->receiver, AT_RISK * KILLS);
}

/* What was handed to the network and to nobody else is gone: only what was acknowledged may count as delivered. */
static void P3_a_relay_and_the_broker_killed_together_lose_nothing(void **state)
{
    scene *it = *state;
    scene_publish(it, &it->publisher, "pump", "1000");
    scene_open_broker(it);
    start_relay(it, &it->worker, "relay.log", NULL);
    receiver_await(it->receiver, 200);
    scene_hold_broker(it);
    poll(NULL, 0, 2 * ACK_DELAY_MS); /* time for what must not happen: recording what was not acknowledged */
    process_kill(&it->worker);
    broker_restart(it->broker);
    receiver_reconnect(it->receiver);
    start_relay(it, &it->worker, "relay.log", "--drain");
    assert_int_equal(process_wait(&it->worker), 0);
    receiver_await_reading(it->receiver, "pump", 1000);
    audit_assert_delivered(&it->publisher, 1, it->receiver, AT_RISK);
}

static void P3_of_two_relays_one_sends_and_the_other_takes_over_when_it_is_killed(void **state)
{
    scene *it = *state;
    process first;
    scene_publish(it, &it->publisher, "pump", "1000");
    scene_open_broker(it);
    start_relay(it, &it->worker, "first.log", NULL);
    receiver_await(it->receiver, 1);
    start_relay(it, &it->second, "second.log", NULL);
    process_await_lines(&it->second, "busbar: relay: another worker holds", 1);
    scene_publish(it, &it->publisher, "pump", "1000");
    receiver_await_reading(it->receiver, "pump", 2000);
    audit_assert_delivered(&it->publisher, 1, it->receiver, 0);

    scene_publish(it, &it->publisher, "pump", COUNT_TEXT);
    receiver_await_reading(it->receiver, "pump", 2000 + COUNT / 2);
    first = it->worker;
    process_kill(&it->worker);
    assert_true(receiver_count(it->receiver) < 2000 + COUNT);
    receiver_await_reading(it->receiver, "pump", 2000 + COUNT);
    audit_assert_delivered(&it->publisher, 1, it->receiver, AT_RISK);
    assert_int_equal(process_lines(&first, ""), 0); /* it had nothing to say, so it held the route all the time */
    process_stop(&it->second);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test_setup_teardown(P3_killed_relays_lose_nothing_and_repeat_no_more_than_they_may, scene_set_up,
                                        scene_tear_down),
        cmocka_unit_test_setup_teardown(P3_a_relay_and_the_broker_killed_together_lose_nothing, scene_set_up,
                                        scene_tear_down),
        cmocka_unit_test_setup_teardown(P3_of_two_relays_one_sends_and_the_other_takes_over_when_it_is_killed,
                                        scene_set_up, scene_tear_down),
    };
    return scene_run(cases);
}
