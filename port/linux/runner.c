/* SPDX-License-Identifier: MIT */
/*
 * A thread that works a bus on a connection of its own. Uses the bus as any application would; knows nothing of what
 * its handlers and transports do. The mutex guards what other threads ask for (the start's result, the last error) and
 * is held for copying only, never while anything of the bus or of the caller runs.
 */
#include <busbar/linux.h>
#include <busbar/sqlite.h>

#include "error.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define BUDGET_DEFAULT_US 10000
#define BACKOFF_FIRST_US  UINT64_C(1000000)
#define BACKOFF_LAST_US   UINT64_C(30000000)

/* How often to look where nothing can tell: without a wake object in the port. */
#define POLLING_US UINT64_C(100000)

static const busbar_sqlite linked_routines = BUSBAR_SQLITE_ROUTINES;

typedef struct connection {
    busbar_linux_database *database; /* NULL if the caller opened it */
    sqlite3 *db;
} connection;

/* Of another thread, which waits for the answer. */
typedef struct question {
    busbar_status *out;
    int result;
    bool answered;
} question;

struct busbar_runner {
    pthread_t thread;
    int signal_fd; /* eventfd: look at `stopping`, or just step */
    int timer_fd;  /* counts suspended time, which a timeout of ppoll does not */
    atomic_bool stopping;
    busbar_runner_options options;
    busbar_options bus_options;

    /* The thread's own. */
    connection main;
    connection checkpoint; /* for checkpoints alone; only with a SQLite that needs it */
    busbar *bus;
    int bus_fd; /* -1: none, then the bus is polled */
    int close_result;

    pthread_mutex_t mutex;
    pthread_cond_t started;
    bool has_started;
    int result;         /* of the start, then of the latest step */
    busbar_error error; /* of the latest failure */
    pthread_cond_t answered;
    struct question *question; /* NULL: nobody asks for the status */
};

static int fail_errno(busbar_error *out_error, const char *what, int number)
{
    return bb_linux_error_set(out_error, number == ENOMEM ? BUSBAR_ENOMEM : BUSBAR_EIO, 0, "runner: %s: %s", what,
                              strerror(number));
}

/* ---- What other threads may see ---------------------------------------------------------------------------------- */

static void report(busbar_runner *runner, int result, const busbar_error *error)
{
    pthread_mutex_lock(&runner->mutex);
    runner->result = result;
    if (error != NULL)
        runner->error = *error;
    pthread_mutex_unlock(&runner->mutex);
}

static void report_start(busbar_runner *runner, int result, const busbar_error *error)
{
    pthread_mutex_lock(&runner->mutex);
    runner->has_started = true;
    runner->result = result;
    runner->error = *error;
    pthread_cond_signal(&runner->started);
    pthread_mutex_unlock(&runner->mutex);
}

/* ---- The thread: beginning and end ------------------------------------------------------------------------------- */

static const busbar_sqlite *routines(const busbar_runner *runner)
{
    return runner->bus_options.sqlite != NULL ? runner->bus_options.sqlite : &linked_routines;
}

/* With a limit on the file and its WAL, of which a quarter is set aside for the WAL, that is kept well below it. */
static int open_connection(const busbar_runner *runner, connection *out, busbar_error *error)
{
    const busbar_runner_options *options = &runner->options;
    uint64_t wal_bytes = runner->bus_options.max_bytes / 16;
    if (options->open != NULL) {
        out->db = options->open(options->ctx, error);
        if (out->db != NULL)
            return BUSBAR_OK;
        if (error->code >= 0)
            return bb_linux_error_set(error, BUSBAR_ECANTOPEN, 0, "runner: the caller's opener gave no connection");
        return error->code;
    }
    busbar_linux_database_options how = {.size = sizeof how,
                                         .mode = options->create ? BUSBAR_LINUX_CREATE : BUSBAR_LINUX_WRITE,
                                         .cache_kib = options->cache_kib,
                                         .wal_bytes = wal_bytes};
    int rc = busbar_linux_database_open(&out->database, options->path, &how, error);
    if (rc == BUSBAR_OK)
        out->db = busbar_linux_database_handle(out->database);
    return rc;
}

static void close_connection(const busbar_runner_options *options, connection *which)
{
    if (options->open != NULL && which->db != NULL)
        options->close(options->ctx, which->db);
    busbar_linux_database_close(which->database);
}

/* Runs a text without answer; what cannot be prepared has nothing to run. */
static void execute(const busbar_runner *runner, const char *text)
{
    const busbar_sqlite *sql = routines(runner);
    sqlite3_stmt *stmt = NULL;
    if (sql->prepare_v3(runner->main.db, text, -1, 0, &stmt, NULL) == SQLITE_OK)
        sql->step(stmt);
    sql->finalize(stmt);
}

static bool is_wal(const busbar_runner *runner)
{
    const busbar_sqlite *sql = routines(runner);
    sqlite3_stmt *stmt = NULL;
    bool wal = sql->prepare_v3(runner->main.db, "PRAGMA main.journal_mode", -1, 0, &stmt, NULL) == SQLITE_OK &&
               sql->step(stmt) == SQLITE_ROW && strcmp((const char *)sql->column_text(stmt, 0), "wal") == 0;
    sql->finalize(stmt);
    return wal;
}

/*
 * With a SQLite that has the WAL-reset race, only the bus checkpoints, over a connection of its own. It is opened first: an
 * opener that remembers its last connection remembers the one that is worked on.
 */
static int open_connections(busbar_runner *runner, busbar_error *error)
{
    bool guarded = runner->bus_options.checkpoint_db == NULL && busbar_wal_race(runner->bus_options.sqlite);
    int rc = guarded ? open_connection(runner, &runner->checkpoint, error) : BUSBAR_OK;
    if (rc == BUSBAR_OK)
        rc = open_connection(runner, &runner->main, error);
    if (rc < 0 || !guarded)
        return rc;
    if (runner->main.db == runner->checkpoint.db) {
        runner->checkpoint.db = NULL; /* closed once, as the one that is worked on */
        return bb_linux_error_set(error, BUSBAR_EINVAL, 0,
                                  "runner: the opener gave the same connection twice; each call must open a new one");
    }
    if (!is_wal(runner))
        return BUSBAR_OK;
    execute(runner, "PRAGMA wal_autocheckpoint=0");
    runner->bus_options.checkpoint_db = runner->checkpoint.db;
    return BUSBAR_OK;
}

static int set_up(busbar_runner *runner, busbar_error *error)
{
    if (runner->options.setup == NULL)
        return BUSBAR_OK;
    int rc = runner->options.setup(runner->bus, runner->options.ctx);
    if (rc < 0) {
        busbar_error_get(runner->bus, error);
        if (error->code != rc)
            bb_linux_error_set(error, rc, 0, "runner: its setup callback failed: %s", busbar_error_text(rc));
        return rc;
    }
    if (routines(runner)->get_autocommit(runner->main.db) == 0)
        return bb_linux_error_set(error, BUSBAR_ETXN, 0,
                                  "runner: its setup callback left a transaction open; commit it");
    return BUSBAR_OK;
}

/* A descriptor that the platform refuses is no reason not to work: the bus is then polled, and the error says why. */
static void find_descriptor(busbar_runner *runner, busbar_error *error)
{
    int fd = busbar_fd(runner->bus);
    runner->bus_fd = fd >= 0 ? fd : -1;
    if (fd < 0 && fd != BUSBAR_ENOTSUP)
        busbar_error_get(runner->bus, error);
}

static int begin(busbar_runner *runner, busbar_error *error)
{
    int rc = open_connections(runner, error);
    if (rc == BUSBAR_OK)
        rc = busbar_open(&runner->bus, runner->main.db, &runner->bus_options, error);
    if (rc == BUSBAR_OK)
        rc = set_up(runner, error);
    if (rc == BUSBAR_OK)
        find_descriptor(runner, error);
    return rc;
}

/* A transaction that the caller's code forgot would keep the bus from closing; nobody else can end it. */
static void end(busbar_runner *runner)
{
    if (runner->bus != NULL) {
        if (routines(runner)->get_autocommit(runner->main.db) == 0)
            execute(runner, "ROLLBACK");
        runner->close_result = busbar_close(runner->bus);
        assert(runner->close_result != BUSBAR_EMISUSE && runner->close_result != BUSBAR_ETXN);
    }
    close_connection(&runner->options, &runner->checkpoint);
    close_connection(&runner->options, &runner->main);
}

/* ---- The thread: working ----------------------------------------------------------------------------------------- */

static bool is_stopping(busbar_runner *runner)
{
    return atomic_load(&runner->stopping);
}

static void set_timer(const busbar_runner *runner, uint64_t delay_us)
{
    struct itimerspec when = {.it_value = {0, 0}}; /* zero: never */
    if (delay_us != BUSBAR_FOREVER) {
        when.it_value.tv_sec = (time_t)(delay_us / 1000000u);
        when.it_value.tv_nsec = (long)(delay_us % 1000000u) * 1000;
    }
    timerfd_settime(runner->timer_fd, 0, &when, NULL);
}

/* Sleeps until the timer runs out, somebody signals, or `fd` (if not -1) is readable. True if the timer has run out. */
static bool await(const busbar_runner *runner, int fd)
{
    struct pollfd set[3] = {{.fd = runner->signal_fd, .events = POLLIN},
                            {.fd = runner->timer_fd, .events = POLLIN},
                            {.fd = fd, .events = POLLIN}};
    if (ppoll(set, 3, NULL, NULL) < 0)
        return false;
    uint64_t count;
    if ((set[0].revents & POLLIN) != 0 && read(runner->signal_fd, &count, sizeof count) < 0)
        assert(errno == EAGAIN);
    return (set[1].revents & POLLIN) != 0;
}

/* Between two steps. */
static void answer_status(busbar_runner *runner)
{
    pthread_mutex_lock(&runner->mutex);
    question *asked = runner->question;
    pthread_mutex_unlock(&runner->mutex);
    if (asked == NULL)
        return;
    int result = busbar_status_get(runner->bus, asked->out);
    pthread_mutex_lock(&runner->mutex);
    asked->result = result;
    asked->answered = true;
    runner->question = NULL;
    pthread_cond_broadcast(&runner->answered);
    pthread_mutex_unlock(&runner->mutex);
}

/*
 * After a failure only a stop ends the wait: wake-ups may come in all the time, and a full disk is not to be hammered.
 */
static void back_off(busbar_runner *runner, uint64_t delay_us)
{
    set_timer(runner, delay_us);
    while (!is_stopping(runner) && !await(runner, -1))
        answer_status(runner);
}

static void rest(busbar_runner *runner, uint64_t wait_us)
{
    if (runner->bus_fd < 0 && wait_us > POLLING_US)
        wait_us = POLLING_US;
    if (wait_us == 0)
        return;
    set_timer(runner, wait_us);
    await(runner, runner->bus_fd);
}

static void work(busbar_runner *runner)
{
    uint64_t backoff_us = BACKOFF_FIRST_US;
    while (!is_stopping(runner)) {
        uint64_t wait_us = 0;
        answer_status(runner);
        int rc = busbar_step(runner->bus, runner->options.budget_us, &wait_us);
        if (rc >= 0) {
            report(runner, BUSBAR_OK, NULL);
            backoff_us = BACKOFF_FIRST_US;
            rest(runner, wait_us);
            continue;
        }
        busbar_error error;
        busbar_error_get(runner->bus, &error);
        report(runner, rc, &error);
        back_off(runner, backoff_us);
        backoff_us = backoff_us * 2 < BACKOFF_LAST_US ? backoff_us * 2 : BACKOFF_LAST_US;
    }
}

static void *thread_main(void *argument)
{
    busbar_runner *runner = argument;
    busbar_error error;
    memset(&error, 0, sizeof error);
    int rc = begin(runner, &error);
    if (rc < 0) {
        end(runner);
        report_start(runner, rc, &error);
        return NULL;
    }
    report_start(runner, BUSBAR_OK, &error);
    work(runner);
    end(runner);
    return NULL;
}

/* ---- The interface ----------------------------------------------------------------------------------------------- */

static int check_options(const busbar_runner_options *options)
{
    if (options == NULL || options->size != sizeof *options)
        return BUSBAR_EINVAL;
    if ((options->path != NULL) == (options->open != NULL))
        return BUSBAR_EINVAL;
    if (options->open != NULL && options->close == NULL)
        return BUSBAR_EINVAL;
    return options->bus == NULL || options->bus->size == sizeof *options->bus ? BUSBAR_OK : BUSBAR_EINVAL;
}

static void take_options(busbar_runner *runner, const busbar_runner_options *options)
{
    runner->options = *options;
    if (runner->options.budget_us == 0)
        runner->options.budget_us = BUDGET_DEFAULT_US;
    if (options->bus != NULL)
        runner->bus_options = *options->bus;
    runner->bus_options.size = sizeof runner->bus_options;
    if (runner->bus_options.port == NULL)
        runner->bus_options.port = busbar_linux_port();
}

static void destroy(busbar_runner *runner)
{
    if (runner->signal_fd >= 0)
        close(runner->signal_fd);
    if (runner->timer_fd >= 0)
        close(runner->timer_fd);
    pthread_cond_destroy(&runner->answered);
    pthread_cond_destroy(&runner->started);
    pthread_mutex_destroy(&runner->mutex);
    free(runner);
}

/* NULL with errno set. */
static busbar_runner *create(const busbar_runner_options *options)
{
    busbar_runner *runner = calloc(1, sizeof *runner);
    if (runner == NULL)
        return NULL;
    pthread_mutex_init(&runner->mutex, NULL);
    pthread_cond_init(&runner->started, NULL);
    pthread_cond_init(&runner->answered, NULL);
    atomic_init(&runner->stopping, false);
    runner->bus_fd = -1;
    take_options(runner, options);
    runner->signal_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    runner->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (runner->signal_fd >= 0 && runner->timer_fd >= 0)
        return runner;
    int number = errno;
    destroy(runner);
    errno = number;
    return NULL;
}

/* A thread inherits the mask of the one that makes it: no signal of the application is ever handled on it. */
static int start_thread(busbar_runner *runner)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int number = pthread_create(&runner->thread, NULL, thread_main, runner);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return number;
}

static int await_start(busbar_runner *runner, busbar_error *out_error)
{
    pthread_mutex_lock(&runner->mutex);
    while (!runner->has_started)
        pthread_cond_wait(&runner->started, &runner->mutex);
    int rc = runner->result;
    if (rc < 0 && out_error != NULL)
        *out_error = runner->error;
    pthread_mutex_unlock(&runner->mutex);
    return rc;
}

int busbar_runner_start(busbar_runner **out_runner, const busbar_runner_options *options, busbar_error *out_error)
{
    if (out_runner == NULL || check_options(options) != BUSBAR_OK)
        return bb_linux_error_set(
            out_error, BUSBAR_EINVAL, 0,
            "busbar_runner_start: wants options of a known size, and either path or open and close");
    busbar_runner *runner = create(options);
    if (runner == NULL)
        return fail_errno(out_error, "cannot be made", errno);
    int number = start_thread(runner);
    if (number != 0) {
        destroy(runner);
        return fail_errno(out_error, "its thread cannot be started", number);
    }
    int rc = await_start(runner, out_error);
    if (rc < 0) {
        pthread_join(runner->thread, NULL);
        destroy(runner);
        return rc;
    }
    *out_runner = runner;
    return BUSBAR_OK;
}

void busbar_runner_wake(busbar_runner *runner)
{
    int number = errno;
    uint64_t one = 1;
    /* Refused only when 2^64 - 2 wake-ups are pending: then it is awake. */
    if (write(runner->signal_fd, &one, sizeof one) < 0)
        errno = number;
}

int busbar_runner_status(busbar_runner *runner, busbar_status *out_status)
{
    if (runner == NULL || out_status == NULL)
        return BUSBAR_EINVAL;
    if (pthread_equal(pthread_self(), runner->thread) != 0)
        return BUSBAR_EMISUSE;
    question mine = {.out = out_status};
    pthread_mutex_lock(&runner->mutex);
    while (runner->question != NULL) /* another thread's */
        pthread_cond_wait(&runner->answered, &runner->mutex);
    runner->question = &mine;
    busbar_runner_wake(runner);
    while (!mine.answered)
        pthread_cond_wait(&runner->answered, &runner->mutex);
    pthread_mutex_unlock(&runner->mutex);
    return mine.result;
}

int busbar_runner_error(busbar_runner *runner, busbar_error *out_error)
{
    pthread_mutex_lock(&runner->mutex);
    int rc = runner->result;
    if (out_error != NULL)
        *out_error = runner->error;
    pthread_mutex_unlock(&runner->mutex);
    return rc;
}

int busbar_runner_stop(busbar_runner *runner)
{
    if (runner == NULL)
        return BUSBAR_OK;
    if (pthread_equal(pthread_self(), runner->thread))
        return BUSBAR_EMISUSE;
    atomic_store(&runner->stopping, true);
    busbar_runner_wake(runner);
    pthread_join(runner->thread, NULL);
    int rc = runner->close_result;
    destroy(runner);
    return rc;
}
