/* SPDX-License-Identifier: MIT */
/*
 * The runner (busbar/linux.h): a thread that works a bus, is woken by whoever publishes, never ends by itself (P12),
 * and stops when told.
 */
#include "test.h"

#include <busbar/linux.h>
#include <sqlite3.h>

#include "scratch.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 20

/* ---- What the handler and the test share ------------------------------------------------------------------------- */

typedef struct counter {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int value;
} counter;

static void count_up(counter *it)
{
    pthread_mutex_lock(&it->mutex);
    it->value++;
    pthread_cond_broadcast(&it->changed);
    pthread_mutex_unlock(&it->mutex);
}

/* False if it did not come to that in time. */
static bool count_await(counter *it, int value)
{
    struct timespec until;
    int answer = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&it->mutex);
    while (it->value < value && answer == 0)
        answer = pthread_cond_timedwait(&it->changed, &it->mutex, &until);
    bool reached = it->value >= value;
    pthread_mutex_unlock(&it->mutex);
    return reached;
}

static int count_get(counter *it)
{
    pthread_mutex_lock(&it->mutex);
    int value = it->value;
    pthread_mutex_unlock(&it->mutex);
    return value;
}

typedef struct place {
    char directory[SCRATCH_PATH_SIZE];
    char path[SCRATCH_PATH_SIZE];
    counter handled;
    counter opened;
    counter closed;
    counter released; /* a blocking handler waits for it */
    int setup_result;
    const char *setup_sql;         /* run by setup, or NULL */
    bool is_blocking;              /* the handler waits */
    sigset_t mask;                 /* of the runner's thread */
    int stop_result;               /* of a stop inside the handler */
    _Atomic(busbar_runner *) self; /* for that stop */
    const char *vfs;
} place;

static void counter_make(counter *it)
{
    pthread_mutex_init(&it->mutex, NULL);
    pthread_cond_init(&it->changed, NULL);
}

static int set_up(void **state)
{
    place *it = calloc(1, sizeof *it);
    scratch_make(it->directory);
    scratch_path(it->directory, "state.db", it->path);
    counter_make(&it->handled);
    counter_make(&it->opened);
    counter_make(&it->closed);
    counter_make(&it->released);
    *state = it;
    return 0;
}

static int tear_down(void **state)
{
    place *it = *state;
    scratch_remove(it->directory);
    free(it);
    return 0;
}

/* ---- The runner's side ------------------------------------------------------------------------------------------- */

static busbar_verdict handle(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    (void)bus;
    (void)event;
    (void)reason;
    place *it = ctx;
    pthread_sigmask(SIG_SETMASK, NULL, &it->mask);
    if (atomic_load(&it->self) != NULL)
        it->stop_result = busbar_runner_stop(atomic_load(&it->self));
    count_up(&it->handled);
    if (it->is_blocking)
        count_await(&it->released, 1);
    return BUSBAR_DONE;
}

static sqlite3 *connection_of_setup; /* setup is not told it; the opener below leaves it here */

static int subscribe(busbar *bus, void *ctx)
{
    place *it = ctx;
    const busbar_handler handler = {.size = sizeof handler,
                                    .name = "count",
                                    .pattern = "pump.#",
                                    .fn = handle,
                                    .ctx = it,
                                    .start = BUSBAR_START_BEGINNING};
    int rc = it->setup_result != 0 ? it->setup_result : busbar_subscribe(bus, &handler, 1);
    if (rc == BUSBAR_OK && it->setup_sql != NULL)
        sqlite3_exec(connection_of_setup, it->setup_sql, NULL, NULL, NULL);
    return rc;
}

static sqlite3 *open_own(void *ctx, busbar_error *out_error)
{
    place *it = ctx;
    sqlite3 *db = NULL;
    if (sqlite3_open_v2(it->path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, it->vfs) != SQLITE_OK) {
        sqlite3_close(db);
        out_error->code = BUSBAR_ECANTOPEN;
        return NULL;
    }
    sqlite3_exec(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL", NULL, NULL, NULL);
    connection_of_setup = db; /* the last one: one before it would be for checkpoints */
    count_up(&it->opened);
    return db;
}

static void close_own(void *ctx, sqlite3 *db)
{
    place *it = ctx;
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    count_up(&it->closed);
}

/* What a runner opens: with a SQLite that has the WAL-reset race, one more for checkpoints. */
static unsigned connections(void)
{
    return busbar_wal_race(NULL) ? 2 : 1;
}

static busbar_runner_options options_of(place *it)
{
    return (busbar_runner_options){
        .size = sizeof(busbar_runner_options), .path = it->path, .create = true, .setup = subscribe, .ctx = it};
}

static busbar_runner_options own_options_of(place *it)
{
    busbar_runner_options options = options_of(it);
    options.path = NULL;
    options.open = open_own;
    options.close = close_own;
    return options;
}

static busbar_runner *must_start(const busbar_runner_options *options)
{
    busbar_error error = {0};
    busbar_runner *runner = NULL;
    if (busbar_runner_start(&runner, options, &error) != BUSBAR_OK)
        fail_msg("%s", error.text);
    return runner;
}

/* ---- The publisher's side ---------------------------------------------------------------------------------------- */

static int publish_to(const char *path, unsigned count)
{
    busbar_linux_database *database = NULL;
    busbar *bus = NULL;
    busbar_linux_database_options how = {.size = sizeof how, .mode = BUSBAR_LINUX_WRITE};
    const busbar_options options = {.size = sizeof options, .port = busbar_linux_port(), .source = "/test"};
    const busbar_event event = {.size = sizeof event, .type = "pump.started"};
    int rc = busbar_linux_database_open(&database, path, &how, NULL);
    if (rc == BUSBAR_OK)
        rc = busbar_open(&bus, busbar_linux_database_handle(database), &options, NULL);
    for (unsigned i = 0; i < count && rc == BUSBAR_OK; i++)
        rc = busbar_publish(bus, &event, NULL);
    if (busbar_close(bus) != BUSBAR_OK || busbar_linux_database_close(database) != BUSBAR_OK)
        return BUSBAR_EMISUSE;
    return rc;
}

/*
 * A process that publishes one event for each byte it reads, and answers each with its result. Forked before this
 * process opens the database: a connection of SQLite must not be carried over a fork.
 */
static void publish_on_demand(const char *path, int fd)
{
    char order;
    while (read(fd, &order, 1) == 1) {
        int rc = publish_to(path, 1);
        if (write(fd, &rc, sizeof rc) != (ssize_t)sizeof rc)
            break;
    }
    _exit(0);
}

typedef struct publisher {
    pid_t pid;
    int fd;
} publisher;

static publisher publisher_start(const char *path)
{
    int fds[2];
    publisher it;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    it.pid = fork();
    assert_true(it.pid >= 0);
    if (it.pid == 0) {
        close(fds[0]);
        publish_on_demand(path, fds[1]);
    }
    close(fds[1]);
    it.fd = fds[0];
    return it;
}

static int publisher_publish(const publisher *it)
{
    int rc = BUSBAR_EIO;
    assert_int_equal(write(it->fd, "p", 1), 1);
    assert_int_equal(read(it->fd, &rc, sizeof rc), sizeof rc);
    return rc;
}

static void publisher_stop(const publisher *it)
{
    close(it->fd);
    assert_int_equal(waitpid(it->pid, NULL, 0), it->pid);
}

/* ---- Working ----------------------------------------------------------------------------------------------------- */

static void what_another_connection_publishes_is_handled(void **state)
{
    place *it = *state;
    busbar_runner_options options = options_of(it);
    busbar_runner *runner = must_start(&options);
    for (int i = 1; i <= 10; i++) {
        assert_int_equal(publish_to(it->path, 1), BUSBAR_OK);
        assert_true(count_await(&it->handled, i));
    }
    assert_int_equal(publish_to(it->path, 500), BUSBAR_OK);
    assert_true(count_await(&it->handled, 510));
    assert_int_equal(busbar_runner_error(runner, NULL), BUSBAR_OK);
    assert_int_equal(busbar_runner_stop(runner), BUSBAR_OK);
    assert_int_equal(count_get(&it->handled), 510);
}

/* What it has written since it was started is what its bus has. */
static void its_status_is_that_of_its_bus(void **state)
{
    place *it = *state;
    busbar_runner_options options = options_of(it);
    busbar_status status = {.size = sizeof status};
    busbar_runner *runner = must_start(&options);
    assert_int_equal(publish_to(it->path, 100), BUSBAR_OK);
    assert_true(count_await(&it->handled, 100));
    assert_int_equal(busbar_runner_status(runner, &status), BUSBAR_OK);
    int64_t written = status.written_bytes;
    assert_int_equal(status.head[BUSBAR_NORMAL], 100);
    assert_true(written > 0 && status.commit_count > 0);
    assert_int_equal(publish_to(it->path, 100), BUSBAR_OK);
    assert_true(count_await(&it->handled, 200));
    assert_int_equal(busbar_runner_status(runner, &status), BUSBAR_OK);
    assert_true(status.written_bytes > written);
    assert_int_equal(busbar_runner_status(runner, NULL), BUSBAR_EINVAL);
    status.size = 1;
    assert_int_equal(busbar_runner_status(runner, &status), BUSBAR_EINVAL);
    assert_int_equal(busbar_runner_stop(runner), BUSBAR_OK);
}

static void what_another_process_publishes_is_handled(void **state)
{
    place *it = *state;
    publisher other = publisher_start(it->path);
    busbar_runner_options options = options_of(it);
    busbar_runner *runner = must_start(&options);
    for (int i = 1; i <= 20; i++) {
        assert_int_equal(publisher_publish(&other), BUSBAR_OK);
        assert_true(count_await(&it->handled, i));
    }
    publisher_stop(&other);
    assert_int_equal(busbar_runner_stop(runner), BUSBAR_OK);
}

/* Published while nobody ran: the next runner finds it without being woken. */
static void what_was_published_before_the_start_is_handled(void **state)
{
    place *it = *state;
    busbar_runner_options options = options_of(it);
    assert_int_equal(busbar_runner_stop(must_start(&options)), BUSBAR_OK);
    assert_int_equal(publish_to(it->path, 3), BUSBAR_OK);
    busbar_runner *runner = must_start(&options);
    assert_true(count_await(&it->handled, 3));
    assert_int_equal(busbar_runner_stop(runner), BUSBAR_OK);
}

static void without_a_wake_object_the_bus_is_polled(void **state)
{
    place *it = *state;
    busbar_port port = *busbar_linux_port();
    port.wake = NULL;
    const busbar_options bus = {.size = sizeof bus, .port = &port};
    busbar_runner_options options = options_of(it);
    options.bus = &bus;
    busbar_runner *runner = must_start(&options);
    assert_int_equal(publish_to(it->path, 1), BUSBAR_OK);
    assert_true(count_await(&it->handled, 1));
    assert_int_equal(publish_to(it->path, 1), BUSBAR_OK);
    assert_true(count_await(&it->handled, 2));
    assert_int_equal(busbar_runner_error(runner, NULL), BUSBAR_OK);
    assert_int_equal(busbar_runner_stop(runner), BUSBAR_OK);
}

static void *refuse_to_wake(void *ctx, const char *path)
{
    (void)ctx;
    (void)path;
    return NULL;
}

/* As when the system has no watches left: it works all the same, and says why it is slow. */
static void a_refused_wake_object_is_told_and_does_not_stop_it(void **state)
{
    place *it = *state;
    busbar_error error = {0};
    busbar_port port = *busbar_linux_port();
    busbar_wake_api wake = *port.wake;
    wake.open = refuse_to_wake;
    port.wake = &wake;
    const busbar_options bus = {.size = sizeof bus, .port = &port};
    busbar_runner_options options = options_of(it);
    options.bus = &bus;
    busbar_runner *runner = must_start(&options);
    assert_int_equal(publish_to(it->path, 1), BUSBAR_OK);
    assert_true(count_await(&it->handled, 1));
    assert_int_equal(busbar_runner_error(runner, &error), BUSBAR_OK);
    assert_int_equal(error.code, BUSBAR_EIO);
    assert_int_equal(busbar_runner_stop(runner), BUSBAR_OK);
}

static _Atomic unsigned clock_readings;

static uint64_t counting_mono_us(void *ctx)
{
    atomic_fetch_add(&clock_readings, 1);
    return busbar_linux_port()->mono_us(ctx);
}

/* An idle runner sleeps: a busy loop would read the clock a million times. */
static void an_idle_runner_sleeps(void **state)
{
    place *it = *state;
    busbar_port port = *busbar_linux_port();
    port.mono_us = counting_mono_us;
    const busbar_options bus = {.size = sizeof bus, .port = &port};
    busbar_runner_options options = options_of(it);
    options.bus = &bus;
    busbar_runner *runner = must_start(&options);
    assert_int_equal(publish_to(it->path, 1), BUSBAR_OK);
    assert_true(count_await(&it->handled, 1));
    unsigned before = atomic_load(&clock_readings);
    struct timespec half = {0, 500000000};
    nanosleep(&half, NULL);
    assert_in_range(atomic_load(&clock_readings) - before, 0, 2000);
    assert_int_equal(busbar_runner_stop(runner), BUSBAR_OK);
}

/* ---- The thread -------------------------------------------------------------------------------------------------- */

static void every_signal_is_blocked_in_its_thread(void **state)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGALRM, SIGCHLD, SIGUSR1, SIGPIPE};
    place *it = *state;
    sigset_t own;
    busbar_runner_options options = options_of(it);
    busbar_runner *runner = must_start(&options);
    assert_int_equal(publish_to(it->path, 1), BUSBAR_OK);
    assert_true(count_await(&it->handled, 1));
    assert_int_equal(busbar_runner_stop(runner), BUSBAR_OK);
    pthread_sigmask(SIG_SETMASK, NULL, &own);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        assert_int_equal(sigismember(&it->mask, signals[i]), 1);
        assert_int_equal(sigismember(&own, signals[i]), 0);
    }
}

static void no_lock_is_held_while_a_handler_runs(void **state)
{
    place *it = *state;
    it->is_blocking = true;
    busbar_runner_options options = options_of(it);
    busbar_runner *runner = must_start(&options);
    assert_int_equal(publish_to(it->path, 1), BUSBAR_OK);
    assert_true(count_await(&it->handled, 1));
    assert_int_equal(busbar_runner_error(runner, NULL), BUSBAR_OK);
    busbar_runner_wake(runner);
    count_up(&it->released);
    assert_int_equal(busbar_runner_stop(runner), BUSBAR_OK);
}

static void a_handler_cannot_stop_its_own_runner(void **state)
{
    place *it = *state;
    busbar_runner_options options = options_of(it);
    busbar_runner *runner = must_start(&options);
    atomic_store(&it->self, runner);
    assert_int_equal(publish_to(it->path, 1), BUSBAR_OK);
    assert_true(count_await(&it->handled, 1));
    atomic_store(&it->self, NULL);
    assert_int_equal(publish_to(it->path, 1), BUSBAR_OK);
    assert_true(count_await(&it->handled, 2));
    assert_int_equal(busbar_runner_stop(runner), BUSBAR_OK);
    assert_int_equal(it->stop_result, BUSBAR_EMISUSE);
}

static void starting_and_stopping_gives_everything_back(void **state)
{
    place *it = *state;
    busbar_runner_options options = options_of(it);
    unsigned before = scratch_open_fds();
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(busbar_runner_stop(must_start(&options)), BUSBAR_OK);
    assert_int_equal(scratch_open_fds(), before);
    assert_int_equal(busbar_runner_stop(NULL), BUSBAR_OK);
}

/* ---- Starting ---------------------------------------------------------------------------------------------------- */

static void expect_no_start(const busbar_runner_options *options, int code)
{
    busbar_error error = {0};
    busbar_runner *runner = NULL;
    unsigned before = scratch_open_fds();
    assert_int_equal(busbar_runner_start(&runner, options, &error), code);
    assert_null(runner);
    assert_int_equal(error.code, code);
    assert_int_not_equal(error.text[0], '\0');
    assert_int_equal(busbar_runner_start(&runner, options, NULL), code);
    assert_int_equal(scratch_open_fds(), before);
}

static void bad_options_are_refused(void **state)
{
    place *it = *state;
    busbar_runner *runner = NULL;
    busbar_runner_options options = options_of(it);
    assert_int_equal(busbar_runner_start(NULL, &options, NULL), BUSBAR_EINVAL);
    assert_int_equal(busbar_runner_start(&runner, NULL, NULL), BUSBAR_EINVAL);
    options.size--;
    expect_no_start(&options, BUSBAR_EINVAL);
    options = options_of(it);
    options.open = open_own;
    expect_no_start(&options, BUSBAR_EINVAL);
    options.path = NULL;
    expect_no_start(&options, BUSBAR_EINVAL);
    options.open = NULL;
    expect_no_start(&options, BUSBAR_EINVAL);
    const busbar_options bus = {.size = 1};
    options = options_of(it);
    options.bus = &bus;
    expect_no_start(&options, BUSBAR_EINVAL);
}

static void a_missing_file_is_the_result_of_the_start(void **state)
{
    place *it = *state;
    busbar_runner_options options = options_of(it);
    options.create = false;
    expect_no_start(&options, BUSBAR_ENOTFOUND);
}

static void a_failing_setup_is_the_result_of_the_start(void **state)
{
    place *it = *state;
    busbar_runner_options options = own_options_of(it);
    it->setup_result = BUSBAR_EPATTERN;
    expect_no_start(&options, BUSBAR_EPATTERN);
    assert_int_equal(count_get(&it->opened), 2 * connections());
    assert_int_equal(count_get(&it->closed), 2 * connections());
}

static void a_setup_that_leaves_a_transaction_open_is_refused(void **state)
{
    place *it = *state;
    busbar_runner_options options = own_options_of(it);
    it->setup_sql = "BEGIN";
    expect_no_start(&options, BUSBAR_ETXN);
    assert_int_equal(count_get(&it->closed), 2 * connections());
}

static sqlite3 *open_nothing(void *ctx, busbar_error *out_error)
{
    (void)ctx;
    (void)out_error;
    return NULL;
}

static void an_opener_that_gives_nothing_is_the_result_of_the_start(void **state)
{
    place *it = *state;
    busbar_runner_options options = own_options_of(it);
    options.open = open_nothing;
    expect_no_start(&options, BUSBAR_ECANTOPEN);
    assert_int_equal(count_get(&it->closed), 0);
}

static sqlite3 *open_once(void *ctx, busbar_error *out_error)
{
    place *it = ctx;
    return count_get(&it->opened) > count_get(&it->closed) ? connection_of_setup : open_own(ctx, out_error);
}

static void an_opener_that_gives_one_connection_twice_is_told(void **state)
{
    place *it = *state;
    busbar_runner_options options = own_options_of(it);
    options.open = open_once;
    if (!busbar_wal_race(NULL))
        skip();
    expect_no_start(&options, BUSBAR_EINVAL);
    assert_int_equal(count_get(&it->opened), count_get(&it->closed));
}

static void the_callers_connections_are_opened_and_closed_once(void **state)
{
    place *it = *state;
    busbar_runner_options options = own_options_of(it);
    busbar_runner *runner = must_start(&options);
    assert_int_equal(publish_to(it->path, 1), BUSBAR_OK);
    assert_true(count_await(&it->handled, 1));
    assert_int_equal(count_get(&it->closed), 0);
    assert_int_equal(busbar_runner_stop(runner), BUSBAR_OK);
    assert_int_equal(count_get(&it->opened), connections());
    assert_int_equal(count_get(&it->closed), connections());
}

/* ---- Failing (P12) ----------------------------------------------------------------------------------------------- */

/* A VFS whose files fail while the switch is on. */
static atomic_bool is_faulty;
static sqlite3_vfs faulty_vfs;
static sqlite3_vfs *sound_vfs;
static sqlite3_io_methods faulty_methods;
static const sqlite3_io_methods *sound_methods;

static int write_or_fail(sqlite3_file *file, const void *data, int size_bytes, sqlite3_int64 offset)
{
    return atomic_load(&is_faulty) ? SQLITE_IOERR_WRITE : sound_methods->xWrite(file, data, size_bytes, offset);
}

static int open_faulty(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
    (void)vfs;
    int native = sound_vfs->xOpen(sound_vfs, name, file, flags, out_flags);
    if (native != SQLITE_OK || (flags & SQLITE_OPEN_WAL) == 0)
        return native;
    sound_methods = file->pMethods;
    faulty_methods = *sound_methods;
    faulty_methods.xWrite = write_or_fail;
    file->pMethods = &faulty_methods;
    return SQLITE_OK;
}

static int set_up_faulty(void **state)
{
    atomic_store(&is_faulty, false);
    sound_vfs = sqlite3_vfs_find(NULL);
    faulty_vfs = *sound_vfs;
    faulty_vfs.zName = "faulty";
    faulty_vfs.xOpen = open_faulty;
    sqlite3_vfs_register(&faulty_vfs, 0);
    if (set_up(state) != 0)
        return -1;
    ((place *)*state)->vfs = "faulty";
    return 0;
}

static int tear_down_faulty(void **state)
{
    sqlite3_vfs_unregister(&faulty_vfs);
    return tear_down(state);
}

static bool await_result(busbar_runner *runner, int code)
{
    uint64_t until_us = scratch_now_us() + PATIENCE_S * 1000000u;
    const struct timespec moment = {0, 5000000};
    while (busbar_runner_error(runner, NULL) != code && scratch_now_us() < until_us)
        nanosleep(&moment, NULL);
    return busbar_runner_error(runner, NULL) == code;
}

static void a_failure_is_told_and_outlived(void **state)
{
    place *it = *state;
    busbar_error error = {0};
    busbar_runner_options options = own_options_of(it);
    busbar_runner *runner = must_start(&options);
    assert_int_equal(publish_to(it->path, 1), BUSBAR_OK);
    assert_true(count_await(&it->handled, 1));
    atomic_store(&is_faulty, true);
    assert_int_equal(publish_to(it->path, 1), BUSBAR_OK);
    assert_true(await_result(runner, BUSBAR_EIO));
    atomic_store(&is_faulty, false);
    assert_true(await_result(runner, BUSBAR_OK));
    assert_true(count_await(&it->handled, 2));
    assert_int_equal(busbar_runner_error(runner, &error), BUSBAR_OK);
    assert_int_equal(error.code, BUSBAR_EIO);
    assert_int_not_equal(error.text[0], '\0');
    assert_int_equal(busbar_runner_stop(runner), BUSBAR_OK);
}

/* It neither hammers the failing disk, however often it is woken, nor sleeps through a stop. */
static void after_a_failure_only_a_stop_ends_the_wait(void **state)
{
    place *it = *state;
    const struct timespec moment = {0, 1000000};
    busbar_port port = *busbar_linux_port();
    port.mono_us = counting_mono_us;
    const busbar_options bus = {.size = sizeof bus, .port = &port};
    busbar_runner_options options = own_options_of(it);
    options.bus = &bus;
    busbar_runner *runner = must_start(&options);
    atomic_store(&is_faulty, true);
    assert_int_equal(publish_to(it->path, 1), BUSBAR_OK);
    assert_true(await_result(runner, BUSBAR_EIO));
    uint64_t begin_us = scratch_now_us();
    unsigned before = atomic_load(&clock_readings);
    for (unsigned i = 0; i < 200; i++) {
        busbar_runner_wake(runner);
        nanosleep(&moment, NULL);
    }
    assert_in_range(atomic_load(&clock_readings) - before, 0, 100);
    assert_int_equal(busbar_runner_error(runner, NULL), BUSBAR_EIO);
    assert_int_equal(busbar_runner_stop(runner), BUSBAR_OK);
    assert_in_range(scratch_now_us() - begin_us, 0, 900000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_another_connection_publishes_is_handled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(its_status_is_that_of_its_bus, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_another_process_publishes_is_handled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_published_before_the_start_is_handled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_wake_object_the_bus_is_polled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_refused_wake_object_is_told_and_does_not_stop_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_idle_runner_sleeps, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_signal_is_blocked_in_its_thread, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_lock_is_held_while_a_handler_runs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_handler_cannot_stop_its_own_runner, set_up, tear_down),
        cmocka_unit_test_setup_teardown(starting_and_stopping_gives_everything_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_options_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_missing_file_is_the_result_of_the_start, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failing_setup_is_the_result_of_the_start, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_setup_that_leaves_a_transaction_open_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_opener_that_gives_nothing_is_the_result_of_the_start, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_opener_that_gives_one_connection_twice_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_callers_connections_are_opened_and_closed_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failure_is_told_and_outlived, set_up_faulty, tear_down_faulty),
        cmocka_unit_test_setup_teardown(after_a_failure_only_a_stop_ends_the_wait, set_up_faulty, tear_down_faulty),
    };
    return cmocka_run_group_tests_name("linux runner", tests, NULL, NULL);
}
