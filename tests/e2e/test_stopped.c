/* SPDX-License-Identifier: MIT */
/*
 * Of two processes that work the same consumers, the holder is stopped (SIGSTOP) past its lease and the other one takes over;
 * then the first wakes, with acknowledgements that it had not recorded: it records nothing, and stands by. And a lease of
 * a former boot is void at once.
 */
#include "test.h"

#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/wait.h>

#include "scene.h"
#include "schedule.h"

#define WINDOW       20
#define WINDOW_TEXT  "20"
#define ACK_GROUP    100 /* a route's default */
#define AT_RISK      (WINDOW + ACK_GROUP)
#define RATE_TEXT    "3000"
#define LEASE_TEXT   "500"
#define WAKE_MS      1000 /* time for what must not happen: a worker that wakes acts within a few */
#define QUIET_MS     400  /* longer than any delay after which a worker records what it has done */
#define LOCK_MS      200  /* longer than a process that runs keeps the write lock */
#define LATE_MS_MAX  4
#define TAKE_OVER_MS 4000 /* well below the lease of 10 s that holds if none is given */

/* Watches what is recorded, with a connection of its own. */
typedef struct watcher {
    sqlite3 *db;
} watcher;

static int64_t watcher_integer(const watcher *it, const char *query)
{
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(it->db, query, -1, &stmt, NULL) != SQLITE_OK || sqlite3_step(stmt) != SQLITE_ROW)
        fail_msg("%s: %s", query, sqlite3_errmsg(it->db));
    int64_t value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return value;
}

static void watcher_open(watcher *it, const scene *where)
{
    assert_int_equal(sqlite3_open_v2(where->database, &it->db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    sqlite3_busy_timeout(it->db, PROCESS_PATIENCE_MS);
}

static void watcher_close(watcher *it)
{
    assert_int_equal(sqlite3_close(it->db), SQLITE_OK);
}

/* Any commit of anybody shows in it. */
static int64_t watcher_version(const watcher *it)
{
    return watcher_integer(it, "PRAGMA data_version");
}

static bool watcher_all_done(const watcher *it)
{
    return watcher_integer(it, "SELECT count(*) FROM busbar_progress WHERE lane = 'normal' AND cursor <>"
                               " (SELECT max(seq) FROM busbar_log_normal)") == 0;
}

/* Waits until nothing is left to do, and nothing is recorded any more. Returns the version. */
static int64_t watcher_await_quiet(const watcher *it)
{
    uint64_t deadline_ms = broker_now_ms() + PROCESS_PATIENCE_MS;
    int64_t version = watcher_version(it);
    uint64_t since_ms = broker_now_ms();
    while (broker_now_ms() < since_ms + QUIET_MS || !watcher_all_done(it)) {
        assert_true(broker_now_ms() < deadline_ms);
        process_look_again();
        int64_t now = watcher_version(it);
        if (now != version)
            since_ms = broker_now_ms();
        version = now;
    }
    return version;
}

/* P8: what is counted as delivered is what the cursor has passed, once each. */
static void assert_counted_once(const watcher *it)
{
    assert_int_equal(watcher_integer(it,
                                     "SELECT count(*) FROM busbar_progress WHERE cursor - start <> filtered + delivered"
                                     " + dead + expired + evicted + retrying"),
                     0);
}

/* ---- Routes and transactional handlers ---------------------------------------------------------------------------------- */

typedef void start_fn(scene *it, process *out, const char *name);

/* A handler and a route in one process. */
static void start_device(scene *it, process *out, const char *name)
{
    scene_start_device(it, out, name, "run", (const char *const[]){it->port_text, WINDOW_TEXT, RATE_TEXT, NULL});
    process_await_lines(out, "running", 1);
}

static void start_relay(scene *it, process *out, const char *name)
{
    scene_start_relay(it, out, name, WINDOW_TEXT, RATE_TEXT, NULL);
}

static bool can_be_written(const scene *it)
{
    watcher eye;
    watcher_open(&eye, it);
    sqlite3_busy_timeout(eye.db, LOCK_MS);
    bool free = sqlite3_exec(eye.db, "BEGIN IMMEDIATE; ROLLBACK", NULL, NULL, NULL) == SQLITE_OK;
    watcher_close(&eye);
    return free;
}

/* What is stopped inside a transaction keeps SQLite's write lock, and then nobody can take over, or write at all. */
static void pause_between_transactions(const scene *it, const process *which)
{
    process_pause(which);
    while (!can_be_written(it)) {
        process_resume(which);
        schedule_pass_below_ms(LATE_MS_MAX);
        process_pause(which);
    }
}

/* Stops the holder in the middle of a drain; what the broker still acknowledges will be there when it wakes. */
static void stop_holder(scene *it)
{
    receiver_await(it->receiver, 100 + schedule_below(400));
    scene_hold_broker(it);
    pause_between_transactions(it, &it->worker);
    broker_resume(it->broker);
}

/* The first has been stopped past its lease, and the other one has done all the work. */
static void overtake(scene *it, start_fn *start)
{
    scene_publish(it, &it->publisher, "pump", "1500");
    scene_open_broker(it);
    start(it, &it->worker, "first.log");
    stop_holder(it);
    start(it, &it->second, "second.log");
    receiver_await_reading(it->receiver, "pump", 1500);
}

static void assert_the_first_wakes_and_records_nothing(scene *it)
{
    watcher eye;
    watcher_open(&eye, it);
    int64_t version = watcher_await_quiet(&eye);
    process_resume(&it->worker);
    poll(NULL, 0, WAKE_MS);
    assert_int_equal(watcher_version(&eye), version);
    assert_counted_once(&eye);
    watcher_close(&eye);
}

/* The second is killed, and the first does its work: it had stood by. */
static void assert_the_first_can_take_over_again(scene *it)
{
    scene_publish(it, &it->publisher, "pump", "1500");
    receiver_await_reading(it->receiver, "pump", 2000 + (long)schedule_below(500));
    process_kill(&it->second);
    receiver_await_reading(it->receiver, "pump", 3000);
}

/* After so many holders lost the route, in one way or the other. */
static void assert_sound_in_the_end(scene *it, size_t losses)
{
    watcher eye;
    watcher_open(&eye, it);
    (void)watcher_await_quiet(&eye);
    assert_counted_once(&eye);
    watcher_close(&eye);
    process_stop(&it->worker);
    audit_assert_delivered(&it->publisher, 1, it->receiver, losses * AT_RISK);
}

static void assert_handled_once(scene *it, size_t count)
{
    assert_int_equal(scene_integer(it, "SELECT count(*) FROM handled"), count);
    assert_int_equal(scene_integer(it, "SELECT count(*) FROM handled WHERE times <> 1"), 0);
    audit_assert_effects(it->receiver, "pump", count);
}

static void P3_P7_a_holder_that_wakes_after_its_lease_records_nothing_and_stands_by(void **state)
{
    scene *it = *state;
    schedule_begin();
    setenv("DEVICE_LEASE_MS", LEASE_TEXT, 1);
    overtake(it, start_device);
    assert_the_first_wakes_and_records_nothing(it);
    assert_the_first_can_take_over_again(it);
    assert_sound_in_the_end(it, 2);
    assert_handled_once(it, 3000);
}

static void P3_a_relay_that_wakes_after_its_lease_records_nothing_and_stands_by(void **state)
{
    scene *it = *state;
    if (schedule_size(0, 1) == 0) {
        print_message("it waits for the lease of a relay, 10 s: only in the suite `full`\n");
        skip();
    }
    schedule_begin();
    overtake(it, start_relay);
    assert_the_first_wakes_and_records_nothing(it);
    process_await_lines(&it->worker, "busbar: relay: another worker holds", 1);
    assert_the_first_can_take_over_again(it);
    assert_sound_in_the_end(it, 2);
}

/* Until all is done, the cursors only go on, and what is counted is what they have passed. */
static void assert_progress_is_sound_until_done(scene *it)
{
    watcher eye;
    int64_t last = 0;
    watcher_open(&eye, it);
    while (!watcher_all_done(&eye)) {
        int64_t now = watcher_integer(&eye, "SELECT sum(cursor) FROM busbar_cursor");
        assert_true(now >= last);
        assert_counted_once(&eye);
        last = now;
        process_look_again();
    }
    watcher_close(&eye);
}

/* The holder is stopped, at any moment, until the other one works; and then it wakes beside it. Both change places. */
static void stop_until_overtaken(scene *it)
{
    receiver_await(it->receiver, receiver_count(it->receiver) + schedule_below(700));
    pause_between_transactions(it, &it->worker);
    receiver_await(it->receiver, receiver_count(it->receiver) + WINDOW + 1 + schedule_below(500));
    process_resume(&it->worker);
    process first = it->worker;
    it->worker = it->second;
    it->second = first;
}

static void P3_P8_a_holder_that_wakes_while_the_other_works_disturbs_nothing(void **state)
{
    scene *it = *state;
    char count[32];
    size_t rounds = schedule_size(1, 12);
    long events = (long)(1000 + 1000 * rounds);
    schedule_begin();
    setenv("DEVICE_LEASE_MS", LEASE_TEXT, 1);
    snprintf(count, sizeof count, "%ld", events);
    scene_publish(it, &it->publisher, "pump", count);
    scene_open_broker(it);
    start_device(it, &it->worker, "first.log");
    receiver_await(it->receiver, 1); /* it is the holder */
    start_device(it, &it->second, "second.log");
    for (size_t i = 0; i < rounds; i++)
        stop_until_overtaken(it);
    assert_progress_is_sound_until_done(it);
    process_stop(&it->second);
    receiver_await_reading(it->receiver, "pump+", events);
    assert_sound_in_the_end(it, rounds);
    assert_handled_once(it, (size_t)events);
}

/* ---- Outside handlers: stopped in the handler itself, behind every look at the lease but the last -------------------------- */

static void start_outside(scene *it, process *out, const char *name, const char *freeze_at)
{
    scene_start_device(it, out, name, "outside", (const char *const[]){freeze_at, NULL});
    process_await_lines(out, "running", 1);
}

static void await_stopped(process *it)
{
    uint64_t deadline_ms = broker_now_ms() + PROCESS_PATIENCE_MS;
    int status = 0;
    pid_t stopped;
    while ((stopped = waitpid(it->pid, &status, WUNTRACED | WNOHANG)) == 0) {
        assert_true(broker_now_ms() < deadline_ms);
        process_look_again();
    }
    assert_int_equal(stopped, it->pid);
    assert_true(WIFSTOPPED(status));
}

static void P3_a_handler_that_was_overtaken_is_not_recorded(void **state)
{
    scene *it = *state;
    watcher eye;
    setenv("DEVICE_LEASE_MS", LEASE_TEXT, 1);
    scene_publish(it, &it->publisher, "pump", "100");
    start_outside(it, &it->worker, "first.log", "50");
    await_stopped(&it->worker);
    start_outside(it, &it->second, "second.log", "0");
    process_await_lines(&it->second, "handled pump 100", 1);
    watcher_open(&eye, it);
    int64_t version = watcher_await_quiet(&eye);
    process_resume(&it->worker);
    process_await_lines(&it->worker, "handled pump 50", 1); /* it has woken up, and its handler has ended well */
    poll(NULL, 0, WAKE_MS);
    assert_int_equal(watcher_version(&eye), version);
    assert_int_equal(process_lines(&it->worker, "handled pump 51"), 0);
    assert_counted_once(&eye);

    process_kill(&it->second);
    scene_publish(it, &it->publisher, "pump", "10");
    process_await_lines(&it->worker, "handled pump 110", 1);
    (void)watcher_await_quiet(&eye);
    assert_counted_once(&eye);
    watcher_close(&eye);
    process_stop(&it->worker);
}

/* ---- Boots --------------------------------------------------------------------------------------------------------------- */

/* It is stopped, not gone, and its lease lasts: only its boot tells that it is void. */
static void a_lease_of_a_former_boot_is_void_at_once(void **state)
{
    scene *it = *state;
    unsetenv("DEVICE_LEASE_MS");
    scene_publish(it, &it->publisher, "pump", "1500");
    scene_open_broker(it);
    setenv("DEVICE_BOOT", "former", 1);
    start_device(it, &it->worker, "former.log");
    stop_holder(it);
    setenv("DEVICE_BOOT", "present", 1);
    size_t before = receiver_count(it->receiver);
    uint64_t begun_ms = broker_now_ms();
    start_device(it, &it->second, "present.log");
    receiver_await(it->receiver, before + AT_RISK + 1); /* the last of the former boot may be among them */
    uint64_t taken_over_ms = broker_now_ms() - begun_ms;
    print_message("it took over in %llu ms\n", (unsigned long long)taken_over_ms);
    assert_true(taken_over_ms < TAKE_OVER_MS);
    receiver_await_reading(it->receiver, "pump+", 1500);
    unsetenv("DEVICE_BOOT");
    process_stop(&it->second);
    audit_assert_delivered_over_kills(&it->publisher, 1, it->receiver, 1, AT_RISK);
    assert_handled_once(it, 1500);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, scene_set_up, scene_tear_down)

int main(void)
{
    const struct CMUnitTest cases[] = {
        CASE(P3_P7_a_holder_that_wakes_after_its_lease_records_nothing_and_stands_by),
        CASE(P3_a_relay_that_wakes_after_its_lease_records_nothing_and_stands_by),
        CASE(P3_P8_a_holder_that_wakes_while_the_other_works_disturbs_nothing),
        CASE(P3_a_handler_that_was_overtaken_is_not_recorded),
        CASE(a_lease_of_a_former_boot_is_void_at_once),
    };
    return scene_run(cases);
}
