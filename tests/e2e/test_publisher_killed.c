/* SPDX-License-Identifier: MIT */
/*
 * A device is killed (SIGKILL) again and again, wherever it is, while it changes its state and publishes: state and log
 * always agree (P1), what it said it had committed is there, and no id comes twice (P5). And both publishers of a file in
 * turn, while a relay drains it: what was committed arrives once and what was not does not.
 */
#include "test.h"

#include <busbar/linux.h>
#include <stdio.h>

#include "device.h"
#include "scene.h"
#include "schedule.h"

#define CHANGES_MAX  25 /* that a life may last */
#define START_MS_MAX 30 /* that a life without a change may last */
#define LATE_MS_MAX  3
#define LIFE_MS_MAX  80 /* of a publisher beside another one and a relay, its start included */

typedef struct stored {
    entry *entries; /* in the order of the log */
    size_t count;
    size_t capacity;
} stored;

static int add_event(const busbar_record *event, const busbar_standing *standing, void *ctx)
{
    stored *it = ctx;
    char data[128];
    (void)standing;
    if (it->count == it->capacity) {
        it->capacity = it->capacity * 2 + 1024;
        it->entries = realloc(it->entries, it->capacity * sizeof(entry));
        assert_non_null(it->entries);
    }
    entry *added = &it->entries[it->count++];
    snprintf(data, sizeof data, "%.*s", (int)event->data_size_bytes, (const char *)event->data);
    assert_int_equal(sscanf(data, "{\"device\":\"%79[^\"]\",\"n\":%ld}", added->device, &added->n), 2);
    snprintf(added->id, sizeof added->id, "%s", event->id);
    return 0;
}

static stored read_log(const scene *it)
{
    stored all = {.entries = NULL};
    busbar_linux_database *database = NULL;
    busbar *bus = NULL;
    const busbar_options options = {.size = sizeof options, .port = busbar_linux_port(), .source = DEVICE_SOURCE};
    const busbar_query everything = {.size = sizeof everything};
    assert_int_equal(busbar_linux_database_open(&database, it->database, NULL, NULL), BUSBAR_OK);
    assert_int_equal(busbar_open(&bus, busbar_linux_database_handle(database), &options, NULL), BUSBAR_OK);
    assert_int_equal(busbar_list(bus, &everything, add_event, &all), BUSBAR_OK);
    assert_int_equal(busbar_close(bus), BUSBAR_OK);
    assert_int_equal(busbar_linux_database_close(database), BUSBAR_OK);
    return all;
}

/* P1: the log is 1, 2, 3, … up to the state, each once. */
static void assert_log_matches_state(const scene *it, const stored *all)
{
    int64_t state = scene_integer(it, "SELECT coalesce(max(n), 0) FROM state");
    assert_int_equal(all->count, state);
    for (size_t i = 0; i < all->count; i++)
        assert_int_equal(all->entries[i].n, i + 1);
}

/* What was printed after a commit is there, under the id that was printed. */
static void assert_log_has_what_was_said(const stored *all, const audit *said)
{
    for (size_t i = 0; i < said->count; i++) {
        assert_in_range(said->entries[i].n, 1, all->count);
        assert_string_equal(all->entries[said->entries[i].n - 1].id, said->entries[i].id);
    }
}

static void assert_sound(scene *it)
{
    audit said = {.entries = NULL};
    stored all = read_log(it);
    scene_assert_sound(it);
    assert_log_matches_state(it, &all);
    audit_add(&said, &it->publisher);
    audit_seal(&said);
    assert_log_has_what_was_said(&all, &said);
    audit in_log = {.entries = all.entries, .count = all.count};
    audit_seal(&in_log); /* P5; orders them by id */
    free(all.entries);
    audit_free(&said);
}

static void live_and_die(scene *it, size_t life)
{
    size_t before = process_lines(&it->publisher, "published ");
    scene_start_device(it, &it->publisher, "device.log", "unsteady", (const char *const[]){"pump", NULL});
    bool before_any_change = life % 4 == 3;
    if (!before_any_change)
        process_await_lines(&it->publisher, "published ", before + 1 + schedule_below(CHANGES_MAX));
    schedule_pass_below_ms(before_any_change ? START_MS_MAX : LATE_MS_MAX);
    process_kill(&it->publisher);
}

static void P1_P5_a_device_that_is_killed_leaves_state_and_events_that_agree(void **state)
{
    scene *it = *state;
    size_t kills = schedule_size(20, 50);
    schedule_begin();
    broker_file_path(it->directory, "device.log", it->publisher.log);
    for (size_t life = 0; life < kills; life++) {
        live_and_die(it, life);
        assert_sound(it);
    }
    size_t said = process_lines(&it->publisher, "published ");
    print_message("%zu kills: %zu changes were said, %lld are there\n", kills, said,
                  (long long)scene_integer(it, "SELECT n FROM state"));
    assert_true(said >= kills / 2);
}

/* ---- Both publishers of a file ------------------------------------------------------------------------------------------ */

static void start_publisher(scene *it, process *out, const char *name, const char *count)
{
    char log[32];
    snprintf(log, sizeof log, "%.20s.log", name);
    scene_start_device(it, out, log, "publish", (const char *const[]){name, count, NULL});
}

/* Its last life, which is not killed: the audit knows what became of all that the others tried. */
static void live_to_the_end(scene *it, process *publisher, const char *name)
{
    process_kill(publisher);
    start_publisher(it, publisher, name, "10");
    assert_int_equal(process_wait(publisher), 0);
}

static void assert_all_arrived(scene *it, const char *name)
{
    char query[96];
    snprintf(query, sizeof query, "SELECT n FROM state WHERE name = '%.20s'", name);
    receiver_await_reading(it->receiver, name, (long)scene_integer(it, query));
}

static void P1_P3_both_publishers_killed_in_turn_while_a_relay_drains(void **state)
{
    static const char *const names[] = {"left", "right"};
    scene *it = *state;
    process *both[] = {&it->publisher, &it->second};
    size_t kills = schedule_size(12, 50);
    if (!broker_available()) {
        print_message("there is no broker to run\n");
        skip();
    }
    schedule_begin();
    scene_open_broker(it);
    scene_start_relay(it, &it->worker, "relay.log", "100", "0", NULL);
    for (size_t i = 0; i < 2; i++)
        start_publisher(it, both[i], names[i], "0");
    for (size_t kill = 0; kill < kills; kill++) {
        size_t i = kill % 2;
        schedule_pass_below_ms(LIFE_MS_MAX);
        process_kill(both[i]);
        scene_assert_sound(it); /* P8, also beside those that live */
        start_publisher(it, both[i], names[i], "0");
    }
    for (size_t i = 0; i < 2; i++)
        live_to_the_end(it, both[i], names[i]);
    for (size_t i = 0; i < 2; i++)
        assert_all_arrived(it, names[i]);
    process_stop(&it->worker);
    print_message("%zu kills\n", kills + 2);
    const process publishers[] = {it->publisher, it->second};
    audit_assert_delivered(publishers, 2, it->receiver, 0); /* the relay lived: nothing came twice */
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test_setup_teardown(P1_P5_a_device_that_is_killed_leaves_state_and_events_that_agree, scene_set_up,
                                        scene_tear_down),
        cmocka_unit_test_setup_teardown(P1_P3_both_publishers_killed_in_turn_while_a_relay_drains, scene_set_up,
                                        scene_tear_down),
    };
    return cmocka_run_group_tests(cases, NULL, NULL);
}
