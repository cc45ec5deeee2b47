/* SPDX-License-Identifier: MIT */
/*
 * A device is killed (SIGKILL) again and again, wherever it is, while it changes its state and publishes: state and log
 * always agree (P1), what it said it had committed is there, and no id comes twice (P5).
 */
#include "test.h"

#include <busbar/linux.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>

#include "device.h"
#include "scene.h"

#define KILLS        40
#define CHANGES_MAX  25 /* that a life may last */
#define START_MS_MAX 30 /* that a life without a change may last */
#define LATE_MS_MAX  3

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

static void assert_sound(const scene *it)
{
    audit said = {.entries = NULL};
    stored all = read_log(it);
    char *integrity = scene_text(it, "PRAGMA integrity_check");
    assert_string_equal(integrity, "ok");
    assert_log_matches_state(it, &all);
    audit_add(&said, &it->publisher);
    audit_seal(&said);
    assert_log_has_what_was_said(&all, &said);
    audit in_log = {.entries = all.entries, .count = all.count};
    audit_seal(&in_log); /* P5; orders them by id */
    free(all.entries);
    free(integrity);
    audit_free(&said);
}

static void live_and_die(scene *it, int life)
{
    size_t before = process_lines(&it->publisher, "published ");
    scene_start_device(it, &it->publisher, "device.log", "unsteady", (const char *const[]){"pump", NULL});
    bool before_any_change = life % 4 == 3;
    if (!before_any_change)
        process_await_lines(&it->publisher, "published ", before + 1 + (size_t)(rand() % CHANGES_MAX));
    poll(NULL, 0, rand() % (before_any_change ? START_MS_MAX : LATE_MS_MAX)); /* not waited for: the moment is chance */
    process_kill(&it->publisher);
}

static void P1_P5_a_device_that_is_killed_leaves_state_and_events_that_agree(void **state)
{
    scene *it = *state;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srand(seed);
    broker_file_path(it->directory, "device.log", it->publisher.log);
    for (int life = 0; life < KILLS; life++) {
        live_and_die(it, life);
        assert_sound(it);
    }
    size_t said = process_lines(&it->publisher, "published ");
    print_message("%d kills: %zu changes were said, %lld are there\n", KILLS, said,
                  (long long)scene_integer(it, "SELECT n FROM state"));
    assert_true(said >= KILLS);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test_setup_teardown(P1_P5_a_device_that_is_killed_leaves_state_and_events_that_agree, scene_set_up,
                                        scene_tear_down),
    };
    return cmocka_run_group_tests(cases, NULL, NULL);
}
