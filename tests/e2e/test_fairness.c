/* SPDX-License-Identifier: MIT */
/*
 * P15: while a worker drains a backlog, an application commits small transactions. It is never locked out beyond its own
 * settings, and the worker gets on as well. Long form (E2E_FULL): 1,000,000 events, and then the time of a commit is
 * judged too, beside what the same application needs alone on the same machine at that time.
 */
#include "test.h"

#include <stdio.h>

#include "broker.h"
#include "fairness.h"
#include "process.h"
#include "schedule.h"

#define QUICK_EVENTS      30000
#define QUICK_TIME_MS     800
#define FULL_EVENTS       1000000
#define FULL_TIME_MS      10000
#define QUICK_PATIENCE_MS 60000
#define FULL_PATIENCE_MS  600000
#define P99_US_MAX        10000
#define P99_TIMES_ALONE   3
#define ROUNDS            3 /* so often a time may be measured before it counts: others use the machine too */
#define FAILURES_MAX      30
#define STALL_US          150000 /* a program that the machine does not run for so long is not locked out */
#define BUSY_MOVED_MIN    20     /* events that a worker must handle beside an application that never pauses */
#define BROKER_CONFIG     "allow_anonymous true\nmax_inflight_messages 1000\n"
#define WORKERS_MAX       2
#define NUMBER_TEXT_SIZE  24

typedef enum worker { DISPATCH, LOOPBACK, BROKER, BOTH } worker;

static const char *const worker_names[] = {"dispatch", "relay in process", "relay to broker", "two workers"};

/* What the application does. A timeout of 0 is SQLite's default: who finds the lock taken fails at once. */
typedef struct plan {
    worker worker;
    const char *journal;
    const char *begin;
    unsigned timeout_ms;
    unsigned pause_us; /* between two transactions, and before a failed one is tried again */
} plan;

/* 4 ms is about what a hold of 2 ms and a pause of 2 ms take together: who comes as often could meet hold after hold. */
static const plan plans[] = {
    {DISPATCH, "wal", "immediate", 5000, 3000},
    {DISPATCH, "wal", "deferred", 1000, 0},
    {DISPATCH, "wal", "immediate", 0, 0},
    {DISPATCH, "wal", "deferred", 0, 3000},
    {DISPATCH, "wal", "immediate", 0, 4000},
    {DISPATCH, "delete", "immediate", 5000, 3000},
    {DISPATCH, "delete", "deferred", 0, 4000},
    {LOOPBACK, "wal", "immediate", 5000, 3000},
    {LOOPBACK, "wal", "deferred", 1000, 0},
    {LOOPBACK, "wal", "immediate", 0, 4000},
    {LOOPBACK, "delete", "immediate", 5000, 3000},
    {LOOPBACK, "delete", "deferred", 0, 4000},
    {BROKER, "wal", "immediate", 1000, 3000},
    {BROKER, "wal", "deferred", 0, 4000},
    {BOTH, "wal", "immediate", 5000, 3000},
    {BOTH, "delete", "immediate", 5000, 3000},
    {BOTH, "wal", "deferred", 0, 4000},
};

typedef struct figures {
    long commits;
    long busy;
    long run;
    long run_us;
    long p50_us;
    long p99_us;
    long max_us;
    long moved;
    long ms;
} figures;

typedef struct site {
    char directory[BROKER_PATH_SIZE];
    char database[BROKER_PATH_SIZE];
    broker *broker; /* NULL: none */
    process workers[WORKERS_MAX];
    process application;
} site;

static bool full;

/* ---- Programs ---------------------------------------------------------------------------------------------------------- */

static void start(const site *it, process *out, const char *log, const char *mode, const char *const *more)
{
    const char *arguments[12] = {getenv("FAIRNESS"), mode, it->database};
    for (size_t i = 0; more[i] != NULL; i++)
        arguments[i + 3] = more[i];
    if (arguments[0] == NULL)
        fail_msg("FAIRNESS must name a program; run the tests with `meson test`");
    process_start(out, it->directory, log, arguments);
}

static const char *number_text(char out[NUMBER_TEXT_SIZE], long value)
{
    snprintf(out, NUMBER_TEXT_SIZE, "%ld", value);
    return out;
}

static void open_site(site *it, const plan *p)
{
    process filler;
    char count[NUMBER_TEXT_SIZE];
    broker_directory_make(it->directory);
    broker_file_path(it->directory, "device.db", it->database);
    start(it, &filler, "fill.log", "fill",
          (const char *const[]){number_text(count, full ? FULL_EVENTS : QUICK_EVENTS), p->journal, NULL});
    int exit_code = process_wait(&filler);
    if (exit_code != 0)
        fail_msg("it ended with %d:\n%s", exit_code, process_log(&filler));
    if (p->worker == BROKER)
        it->broker = broker_start(BROKER_CONFIG);
}

static void close_site(site *it)
{
    for (int i = 0; i < WORKERS_MAX; i++) {
        if (it->workers[i].pid > 0)
            process_stop(&it->workers[i]);
    }
    broker_free(it->broker);
    broker_directory_remove(it->directory);
    *it = (site){.broker = NULL};
}

static int set_up(void **state)
{
    *state = calloc(1, sizeof(site));
    return *state != NULL ? 0 : -1;
}

/* Whatever a failed test left running. */
static int tear_down(void **state)
{
    site *it = *state;
    process *const all[] = {&it->application, &it->workers[0], &it->workers[1]};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (all[i]->pid > 0)
            process_kill(all[i]);
    }
    broker_free(it->broker);
    if (it->directory[0] != '\0')
        broker_directory_remove(it->directory);
    free(it);
    return 0;
}

static void start_workers(site *it, worker which)
{
    char port[NUMBER_TEXT_SIZE] = "0";
    process *next = it->workers;
    if (it->broker != NULL)
        number_text(port, (long)broker_port(it->broker));
    if (which == DISPATCH || which == BOTH)
        start(it, next++, "dispatch.log", "dispatch", (const char *const[]){NULL});
    if (which != DISPATCH)
        start(it, next++, "relay.log", "relay", (const char *const[]){port, NULL});
    while (next-- > it->workers)
        process_await_lines(next, "running", 1);
}

/* Runs the application until its time is over and the consumer has come to `count`. */
static figures run_application(site *it, const plan *p, long time_ms, long count)
{
    char timeout[NUMBER_TEXT_SIZE];
    char pause[NUMBER_TEXT_SIZE];
    char time[NUMBER_TEXT_SIZE];
    char target[NUMBER_TEXT_SIZE];
    const char *const consumer = p->worker == DISPATCH ? FAIRNESS_HANDLER : FAIRNESS_ROUTE;
    figures f = {.commits = 0};
    uint64_t deadline_ms = broker_now_ms() + (full ? FULL_PATIENCE_MS : QUICK_PATIENCE_MS);
    broker_file_write(it->directory, "app.log", "");
    start(it, &it->application, "app.log", "app",
          (const char *const[]){p->begin, number_text(timeout, (long)p->timeout_ms),
                                number_text(pause, (long)p->pause_us), number_text(time, time_ms), consumer,
                                number_text(target, count), NULL});
    while (process_lines(&it->application, "result ") == 0 && broker_now_ms() < deadline_ms &&
           process_lines(&it->application, "fairness: ") == 0)
        process_look_again();
    char *log = process_log(&it->application);
    if (sscanf(log, FAIRNESS_RESULT, &f.commits, &f.busy, &f.run, &f.run_us, &f.p50_us, &f.p99_us, &f.max_us, &f.moved,
               &f.ms) != 9)
        fail_msg("the application has no result:\n%s", log);
    free(log);
    assert_int_equal(process_wait(&it->application), 0);
    return f;
}

/* ---- Judging ----------------------------------------------------------------------------------------------------------- */

static void print(const plan *p, const char *who, const figures *f)
{
    print_message("%-16s %-6s %-9s timeout %4u pause %4u us: %6ld commits, p50 %5ld p99 %6ld max %6ld us; locked %5ld, "
                  "in a row %3ld (%6ld us); worker %7ld events in %5ld ms\n",
                  who, p->journal, p->begin, p->timeout_ms, p->pause_us, f->commits, f->p50_us, f->p99_us, f->max_us,
                  f->busy, f->run, f->run_us, f->moved, f->ms);
}

/* Holds whatever else the machine does. */
static void assert_fair(const plan *p, const figures *f)
{
    assert_true(f->commits > 0);
    assert_true(f->moved >= BUSY_MOVED_MIN); /* else the application has run until the test's patience was over */
    if (p->timeout_ms > 0)
        assert_int_equal(f->busy, 0);
}

/* Holds unless something else stops the programs or the storage. NULL, or what was too long. */
static const char *complaint(const plan *p, const figures *alone, const figures *beside)
{
    long bound_us = alone->p99_us * P99_TIMES_ALONE > P99_US_MAX ? alone->p99_us * P99_TIMES_ALONE : P99_US_MAX;
    if (p->timeout_ms == 0 && beside->run > FAILURES_MAX && beside->run_us > STALL_US)
        return "an application without a timeout was locked out";
    if (full && p->timeout_ms > 0 && p->worker != BOTH && beside->p99_us >= bound_us)
        return "p99 was above 10 ms, and above three times what it is alone";
    return NULL;
}

static const char *measure(site *s, const plan *p)
{
    long events = full ? FULL_EVENTS : QUICK_EVENTS;
    plan undisturbed = *p;
    undisturbed.timeout_ms = 5000;
    open_site(s, p);
    figures alone = run_application(s, &undisturbed, full ? FULL_TIME_MS / 4 : QUICK_TIME_MS / 2, 0);
    print(&undisturbed, "alone", &alone);
    start_workers(s, p->worker);
    bool until_drained = p->pause_us > 0 && p->worker != BOTH;
    figures beside =
        run_application(s, p, full ? FULL_TIME_MS : QUICK_TIME_MS, until_drained ? events : BUSY_MOVED_MIN);
    print(p, worker_names[p->worker], &beside);
    close_site(s);
    assert_fair(p, &beside);
    return complaint(p, &alone, &beside);
}

static void check_plans(site *s, worker which)
{
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        const char *text = NULL;
        for (int round = 0; plans[i].worker == which && round < ROUNDS; round++) {
            text = measure(s, &plans[i]);
            if (text == NULL)
                break;
            print_message("%s\n", text);
        }
        if (text != NULL)
            fail_msg("%d times: %s", ROUNDS, text);
    }
}

static void P15_dispatch_locks_no_application_out(void **state)
{
    check_plans(*state, DISPATCH);
}

static void P15_a_relay_at_full_speed_locks_no_application_out(void **state)
{
    check_plans(*state, LOOPBACK);
}

static void P15_a_relay_to_a_broker_locks_no_application_out(void **state)
{
    if (!broker_available()) {
        print_message("skipped: there is no mosquitto to run\n");
        skip();
    }
    check_plans(*state, BROKER);
}

static void P15_two_workers_lock_no_application_out(void **state)
{
    check_plans(*state, BOTH);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test_setup_teardown(P15_dispatch_locks_no_application_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(P15_a_relay_at_full_speed_locks_no_application_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(P15_a_relay_to_a_broker_locks_no_application_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(P15_two_workers_lock_no_application_out, set_up, tear_down),
    };
    full = schedule_size(0, 1) == 1;
    return cmocka_run_group_tests(cases, NULL, NULL);
}
