/* SPDX-License-Identifier: MIT */
/* Several processes on one file: publishers side by side (P4), and handlers that wake each other across processes. */
#include "test.h"

#include <stdio.h>

#include "scene.h"

#define QUESTIONS      100
#define QUESTIONS_TEXT "100"
#define ANSWER_MS_MAX  1000

static void P4_two_publishers_and_one_runner_keep_the_order_of_each(void **state)
{
    scene *it = *state;
    scene_open_broker(it);
    scene_start_device(it, &it->worker, "run.log", "run", (const char *const[]){it->port_text, "20", "0", NULL});
    process_await_lines(&it->worker, "running", 1);
    scene_start_device(it, &it->publisher, "left.log", "publish", (const char *const[]){"left", "1500", NULL});
    scene_start_device(it, &it->second, "right.log", "publish", (const char *const[]){"right", "1500", NULL});
    receiver_await_reading(it->receiver, "left", 1500);
    receiver_await_reading(it->receiver, "right", 1500);
    assert_int_equal(process_wait(&it->publisher), 0);
    assert_int_equal(process_wait(&it->second), 0);
    const process publishers[] = {it->publisher, it->second};
    audit_assert_delivered(publishers, 2, it->receiver, 0);
    scene_await_integer(it, "SELECT count(*) FROM handled", 3000);
    assert_int_equal(scene_integer(it, "SELECT count(*) FROM handled WHERE times <> 1"), 0);
    process_stop(&it->worker);
}

static long slowest_answer_ms(const process *asker)
{
    char *log = process_log(asker);
    long slowest_ms = 0;
    for (const char *line = log; *line != '\0'; line = strchr(line, '\n') + 1) {
        long n;
        long ms;
        if (sscanf(line, "answered %ld %ld", &n, &ms) == 2 && ms > slowest_ms)
            slowest_ms = ms;
    }
    free(log);
    return slowest_ms;
}

/* There and back: two processes sleep in turn, and each is woken by what the other commits. */
static void a_handler_in_another_process_answers_without_waiting_to_be_polled(void **state)
{
    scene *it = *state;
    scene_start_device(it, &it->worker, "reply.log", "reply", (const char *const[]){NULL});
    process_await_lines(&it->worker, "running", 1);
    scene_start_device(it, &it->publisher, "ask.log", "ask", (const char *const[]){QUESTIONS_TEXT, NULL});
    assert_int_equal(process_wait(&it->publisher), 0);
    assert_int_equal(process_lines(&it->publisher, "answered "), QUESTIONS);
    long slowest_ms = slowest_answer_ms(&it->publisher);
    print_message("the slowest of %d answers took %ld ms\n", QUESTIONS, slowest_ms);
    assert_true(slowest_ms < ANSWER_MS_MAX);
    process_stop(&it->worker);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test_setup_teardown(P4_two_publishers_and_one_runner_keep_the_order_of_each, scene_set_up,
                                        scene_tear_down),
        cmocka_unit_test_setup_teardown(a_handler_in_another_process_answers_without_waiting_to_be_polled, scene_set_up,
                                        scene_tear_down),
    };
    return scene_run(cases);
}
