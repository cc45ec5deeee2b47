/* SPDX-License-Identifier: MIT */
/*
 * An application with the runner inside is killed (SIGKILL) again and again while it publishes, handles and forwards: what
 * it forwards is complete and repeated within the bound (P3), and each event was handled with exactly one effect, in the
 * database and at the receiver (P7). After each kill the counters of the subscription and the route add up (P8).
 */
#include "test.h"

#include <stdio.h>

#include "scene.h"
#include "schedule.h"

#define WINDOW       20
#define WINDOW_TEXT  "20"
#define ACK_GROUP    100 /* a route's default */
#define AT_RISK      (WINDOW + ACK_GROUP)
#define OWN          20 /* events that each life publishes itself */
#define OWN_TEXT     "20"
#define START_MS_MAX 25 /* a start lasts about so long; a kill may come in it */
#define IN_START     4  /* one kill in so many, by chance, waits for nothing */
#define LATE_MS_MAX  4

typedef struct drain {
    size_t count;
    size_t kills;
    size_t kills_in_handling;
    size_t forwarded;   /* when the second kind of kills began */
    size_t in_start;    /* kills that nothing was waited for */
    size_t in_handling; /* those at which not everything was handled */
} drain;

static void start_application(scene *it)
{
    scene_start_device(it, &it->worker, "app.log", "app",
                       (const char *const[]){"app", OWN_TEXT, it->port_text, WINDOW_TEXT, "0", NULL});
}

static size_t handled(const scene *it)
{
    return (size_t)scene_integer(it, "SELECT coalesce(max(rowid), 0) FROM handled");
}

/* The first kills come while it handles, and the others while it forwards the rest. */
static size_t progress(const scene *it, const drain *d, size_t kill)
{
    return kill < d->kills_in_handling ? handled(it) : receiver_count(it->receiver);
}

static void await_progress(scene *it, const drain *d, size_t kill, size_t done)
{
    uint64_t deadline_ms = broker_now_ms() + PROCESS_PATIENCE_MS;
    while (progress(it, d, kill) < done) {
        if (broker_now_ms() >= deadline_ms)
            fail_msg("it does not get on: %zu of %zu handled, %zu received\n%s", handled(it), d->count,
                     receiver_count(it->receiver), process_log(&it->worker));
        process_look_again();
    }
}

/* Each kill has its part of what was left when its kind of work began. */
static size_t part_of(drain *d, const scene *it, size_t kill)
{
    bool handling = kill < d->kills_in_handling;
    if (kill == d->kills_in_handling)
        d->forwarded = receiver_count(it->receiver);
    size_t done = handling ? 0 : d->forwarded;
    size_t all =
        handling ? d->count : 2 * d->count; /* to forward: the events, and what the handler publishes of them */
    size_t kills = handling ? d->kills_in_handling : d->kills - d->kills_in_handling;
    size_t part = (all - done) / (kills + 1);
    return done + part * (handling ? kill : kill - d->kills_in_handling) + schedule_below(part);
}

static void live_and_die(scene *it, drain *d, size_t kill)
{
    start_application(it);
    if (schedule_below(IN_START) == 0) {
        d->in_start++;
        schedule_pass_below_ms(START_MS_MAX);
    } else {
        await_progress(it, d, kill, part_of(d, it, kill));
        schedule_pass_below_ms(LATE_MS_MAX);
    }
    process_kill(&it->worker);
    scene_assert_sound(it);
    d->in_handling += handled(it) < d->count;
}

/* A last life that publishes, handles and forwards to the end. Returns how many the application has published in all. */
static long live_to_the_end(scene *it, size_t count)
{
    size_t lives_done = process_lines(&it->worker, "done");
    start_application(it);
    process_await_lines(&it->worker, "done", lives_done + 1);
    long own = (long)scene_integer(it, "SELECT n FROM state WHERE name = 'app'");
    scene_await_integer(it, "SELECT count(*) FROM handled", (int64_t)count + own);
    receiver_await_reading(it->receiver, "app+", own);
    process_stop(&it->worker);
    return own;
}

static void P3_P7_a_killed_application_loses_nothing_and_handles_nothing_twice(void **state)
{
    scene *it = *state;
    drain d = {.count = schedule_size(8000, 50000), .kills = schedule_size(24, 50)};
    char count[32];
    d.kills_in_handling = d.kills / 2;
    snprintf(count, sizeof count, "%zu", d.count);
    schedule_begin();
    scene_publish(it, &it->publisher, "pump", count);
    scene_open_broker(it);
    uint64_t begun_ms = broker_now_ms();
    for (size_t kill = 0; kill < d.kills; kill++) {
        live_and_die(it, &d, kill);
        assert_true(receiver_count(it->receiver) < 2 * d.count + kill * (AT_RISK + 2 * OWN)); /* still in the drain */
    }
    long own = live_to_the_end(it, d.count);
    print_message("%zu kills (%zu in the start, %zu while handling) in %llu ms; the application published %ld\n",
                  d.kills, d.in_start, d.in_handling, (unsigned long long)(broker_now_ms() - begun_ms), own);
    process publishers[] = {it->publisher, it->worker};
    size_t repeated = audit_assert_delivered_over_kills(publishers, 2, it->receiver, d.kills, AT_RISK);
    repeated += audit_assert_effects(it->receiver, "pump", d.count);
    repeated += audit_assert_effects(it->receiver, "app", (size_t)own);
    print_message("duplicates in all: %zu (at most %zu)\n", repeated, d.kills * AT_RISK);
    assert_true(repeated <= d.kills * AT_RISK);
    assert_int_equal(scene_integer(it, "SELECT count(*) FROM handled WHERE times <> 1"), 0);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test_setup_teardown(P3_P7_a_killed_application_loses_nothing_and_handles_nothing_twice,
                                        scene_set_up, scene_tear_down),
    };
    return scene_run(cases);
}
