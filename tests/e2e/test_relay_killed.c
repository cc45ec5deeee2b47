/* SPDX-License-Identifier: MIT */
/*
 * Relays are killed (SIGKILL) in the middle of their work, and others take over: nothing is missing, what comes twice is
 * within the bound (P3), and as long as one works the other sends nothing. After each kill the counters add up (P8).
 */
#include "test.h"

#include <poll.h>
#include <stdio.h>

#include "scene.h"
#include "schedule.h"

#define WINDOW       20
#define WINDOW_TEXT  "20"
#define ACK_GROUP    100 /* a route's default */
#define ACK_DELAY_MS 200 /* so is this */
#define AT_RISK      (WINDOW + ACK_GROUP)
#define TAKE_OVER_MS 4000 /* well below the lease of 10 s, which a worker that is known to be gone does not keep */
#define START_MS_MAX 25   /* a start lasts about so long; a kill may come in it */
#define WITH_BROKER  7    /* one kill in so many takes the broker along */
#define IN_START     4    /* of the others, one in so many, by chance, waits for nothing */
#define LATE_MS_MAX  4

static void start_relay(scene *it, process *out, const char *name, const char *rate, const char *last)
{
    scene_start_relay(it, out, name, WINDOW_TEXT, rate, last);
}

/* ---- Many kills in one drain ------------------------------------------------------------------------------------------- */

typedef struct drain {
    size_t count;
    size_t kills;
    size_t in_start;    /* kills that nothing was waited for */
    size_t with_broker; /* kills that took the broker and what was on its way along */
    uint64_t slowest_ms;
} drain;

static void await_take_over(scene *it, drain *d, size_t before)
{
    uint64_t begun_ms = broker_now_ms();
    receiver_await(it->receiver, before + 1);
    uint64_t taken_over_ms = broker_now_ms() - begun_ms;
    if (taken_over_ms > TAKE_OVER_MS)
        fail_msg("it needed %llu ms to take over", (unsigned long long)taken_over_ms);
    d->slowest_ms = taken_over_ms > d->slowest_ms ? taken_over_ms : d->slowest_ms;
}

static void kill_with_broker(scene *it, drain *d)
{
    d->with_broker++;
    scene_hold_broker(it);
    process_kill(&it->worker);
    broker_kill(it->broker);
    broker_restart(it->broker);
    receiver_reconnect(it->receiver);
}

/* One life of a relay. Each has its part of the drain to be killed in, so that the kills are spread over all of it. */
static void live_and_die(scene *it, drain *d, size_t kill)
{
    size_t part = d->count / (d->kills + 1);
    size_t before = receiver_count(it->receiver);
    start_relay(it, &it->worker, "relay.log", "0", NULL);
    bool with_broker = kill % WITH_BROKER == WITH_BROKER - 1;
    if (!with_broker && schedule_below(IN_START) == 0) {
        d->in_start++;
        schedule_pass_below_ms(START_MS_MAX);
        process_kill(&it->worker);
        scene_assert_sound(it);
        return;
    }
    await_take_over(it, d, before);
    receiver_await(it->receiver, kill * part + schedule_below(part));
    schedule_pass_below_ms(LATE_MS_MAX);
    if (with_broker)
        kill_with_broker(it, d);
    else
        process_kill(&it->worker);
    scene_assert_sound(it);
}

static void P3_killed_relays_lose_nothing_and_repeat_no_more_than_they_may(void **state)
{
    scene *it = *state;
    drain d = {.count = schedule_size(8000, 50000), .kills = schedule_size(16, 50)};
    char count[32];
    snprintf(count, sizeof count, "%zu", d.count);
    schedule_begin();
    scene_publish(it, &it->publisher, "pump", count);
    scene_open_broker(it);
    uint64_t begun_ms = broker_now_ms();
    for (size_t kill = 0; kill < d.kills; kill++) {
        live_and_die(it, &d, kill);
        assert_true(receiver_count(it->receiver) < d.count + kill * AT_RISK); /* it was a kill in the drain */
    }
    start_relay(it, &it->worker, "relay.log", "0", "--drain");
    assert_int_equal(process_wait(&it->worker), 0);
    receiver_await_reading(it->receiver, "pump", (long)d.count);
    print_message("%zu kills (%zu in the start, %zu with the broker) in %llu ms; the slowest take-over took %llu ms\n",
                  d.kills, d.in_start, d.with_broker, (unsigned long long)(broker_now_ms() - begun_ms),
                  (unsigned long long)d.slowest_ms);
    audit_assert_delivered_over_kills(&it->publisher, 1, it->receiver, d.kills, AT_RISK);
}

/* What was handed to the network and to nobody else is gone: only what was acknowledged may count as delivered. */
static void P3_a_relay_and_the_broker_killed_together_lose_nothing(void **state)
{
    scene *it = *state;
    scene_publish(it, &it->publisher, "pump", "1000");
    scene_open_broker(it);
    start_relay(it, &it->worker, "relay.log", "2000", NULL);
    receiver_await(it->receiver, 200);
    scene_hold_broker(it);
    poll(NULL, 0, 2 * ACK_DELAY_MS); /* time for what must not happen: recording what was not acknowledged */
    process_kill(&it->worker);
    scene_assert_sound(it);
    broker_restart(it->broker);
    receiver_reconnect(it->receiver);
    start_relay(it, &it->worker, "relay.log", "0", "--drain");
    assert_int_equal(process_wait(&it->worker), 0);
    receiver_await_reading(it->receiver, "pump", 1000);
    audit_assert_delivered(&it->publisher, 1, it->receiver, AT_RISK);
}

#define STANDBY_COUNT      4000
#define STANDBY_COUNT_TEXT "4000"

static void P3_of_two_relays_one_sends_and_the_other_takes_over_when_it_is_killed(void **state)
{
    scene *it = *state;
    process first;
    scene_publish(it, &it->publisher, "pump", "1000");
    scene_open_broker(it);
    start_relay(it, &it->worker, "first.log", "2000", NULL);
    receiver_await(it->receiver, 1);
    start_relay(it, &it->second, "second.log", "2000", NULL);
    process_await_lines(&it->second, "busbar: relay: another worker holds", 1);
    scene_publish(it, &it->publisher, "pump", "1000");
    receiver_await_reading(it->receiver, "pump", 2000);
    audit_assert_delivered(&it->publisher, 1, it->receiver, 0);

    scene_publish(it, &it->publisher, "pump", STANDBY_COUNT_TEXT);
    receiver_await_reading(it->receiver, "pump", 2000 + STANDBY_COUNT / 2);
    first = it->worker;
    process_kill(&it->worker);
    assert_true(receiver_count(it->receiver) < 2000 + STANDBY_COUNT);
    receiver_await_reading(it->receiver, "pump", 2000 + STANDBY_COUNT);
    audit_assert_delivered_over_kills(&it->publisher, 1, it->receiver, 1, AT_RISK);
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
