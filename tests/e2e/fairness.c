/* SPDX-License-Identifier: MIT */
/* What the test of fairness runs: see fairness.h. The application sets nothing on its connection but what it is told. */
#include "fairness.h"

#include <busbar/linux.h>
#include <busbar/loopback.h>
#include <busbar/mosquitto.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "station.h"

#define TYPE         "reading.taken"
#define FILL_BATCH   1000
#define PAYLOAD_SIZE 200
#define WINDOW       100
#define LOOK_COMMITS 64 /* between two looks at how far the consumer has come */

/* Who finds the database locked without a timeout does not try again at once. */
#define RETRY_MIN_US 1000

static volatile sig_atomic_t ended;

static void on_end(int number)
{
    (void)number;
    ended = 1;
}

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void sleep_us(uint64_t us)
{
    const struct timespec pause = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};
    nanosleep(&pause, NULL);
}

static unsigned number(const char *text)
{
    return (unsigned)strtoul(text, NULL, 10);
}

static sqlite3 *connect_plainly(const char *path)
{
    sqlite3 *db = NULL;
    if (sqlite3_open(path, &db) != SQLITE_OK) {
        fprintf(stderr, "fairness: %s: %s\n", path, sqlite3_errmsg(db));
        exit(1);
    }
    return db;
}

static busbar *open_bus(sqlite3 *db)
{
    const busbar_options options = {.size = sizeof options, .port = busbar_linux_port(), .source = "urn:e2e:fairness"};
    busbar *bus = NULL;
    busbar_error error = {.code = 0};
    int code = busbar_open(&bus, db, &options, &error);
    if (code != BUSBAR_OK) {
        fprintf(stderr, "fairness: open the bus: %s\n", error.text);
        exit(1);
    }
    return bus;
}

static int publish(busbar *bus, busbar_kind kind)
{
    static char payload[PAYLOAD_SIZE];
    if (payload[0] == '\0') {
        memset(payload, 'x', sizeof payload);
        payload[0] = payload[sizeof payload - 1] = '"';
    }
    const busbar_event event = {
        .size = sizeof event, .type = TYPE, .kind = kind, .data = payload, .data_size_bytes = sizeof payload};
    return busbar_publish(bus, &event, NULL);
}

static busbar_kind register_kind(busbar *bus)
{
    const busbar_kind_desc desc = {.size = sizeof desc, .type = TYPE};
    busbar_kind kind;
    station_check(bus, busbar_kind_register(bus, &desc, &kind), "register a kind");
    return kind;
}

/* ---- The worker -------------------------------------------------------------------------------------------------------- */

typedef struct worker {
    const char *path;
    bool relays;
    unsigned port;
    busbar_linux_database *databases[2]; /* one for checkpoints, if there must be, and the one that is worked on */
    sqlite3_stmt *count;
} worker;

static busbar_verdict handle(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    worker *it = ctx;
    (void)event;
    (void)reason;
    if (it->count == NULL)
        sqlite3_prepare_v2(busbar_connection(bus), "UPDATE handled SET n = n + 1", -1, &it->count, NULL);
    int native = sqlite3_step(it->count);
    sqlite3_reset(it->count);
    return native == SQLITE_DONE ? BUSBAR_DONE : BUSBAR_RETRY;
}

static int add_handler(busbar *bus, worker *it)
{
    const busbar_handler handler = {
        .size = sizeof handler, .name = FAIRNESS_HANDLER, .fn = handle, .ctx = it, .start = BUSBAR_START_BEGINNING};
    return busbar_subscribe(bus, &handler, 1);
}

static int add_route(busbar *bus, unsigned port)
{
    const busbar_loopback_options loopback = {.size = sizeof loopback, .window = WINDOW};
    const busbar_mosquitto_options broker = {
        .size = sizeof broker, .host = "127.0.0.1", .port = (uint16_t)port, .window = WINDOW};
    const busbar_route route = {.size = sizeof route, .name = FAIRNESS_ROUTE, .topic = "fair/{type}", .window = WINDOW};
    busbar_transport transport;
    busbar_reason reason;
    int code =
        port == 0 ? busbar_loopback_new(&loopback, &transport) : busbar_mosquitto_new(&broker, &transport, &reason);
    return code == BUSBAR_OK ? busbar_route_add(bus, &route, transport) : code;
}

static int set_up(busbar *bus, void *ctx)
{
    worker *it = ctx;
    return it->relays ? add_route(bus, it->port) : add_handler(bus, it);
}

static sqlite3 *open_own(void *ctx, busbar_error *out_error)
{
    worker *it = ctx;
    const busbar_linux_database_options how = {.size = sizeof how, .mode = BUSBAR_LINUX_WRITE};
    busbar_linux_database **database = &it->databases[it->databases[0] != NULL];
    if (busbar_linux_database_open(database, it->path, &how, out_error) != BUSBAR_OK)
        return NULL;
    return busbar_linux_database_handle(*database);
}

static void close_own(void *ctx, sqlite3 *db)
{
    worker *it = ctx;
    size_t which = it->databases[1] != NULL && busbar_linux_database_handle(it->databases[1]) == db;
    if (it->count != NULL && sqlite3_db_handle(it->count) == db) {
        sqlite3_finalize(it->count);
        it->count = NULL;
    }
    station_check(NULL, busbar_linux_database_close(it->databases[which]), "close the runner's connection");
}

static int work(worker *it)
{
    const busbar_runner_options options = {
        .size = sizeof options, .open = open_own, .close = close_own, .setup = set_up, .ctx = it};
    busbar_runner *runner = NULL;
    busbar_error error = {.code = 0};
    sigset_t signals;
    int signal_number;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    int code = busbar_runner_start(&runner, &options, &error);
    if (code != BUSBAR_OK)
        fprintf(stderr, "fairness: the runner does not start: %s\n", error.text);
    station_check(NULL, code, "start the runner");
    puts("running");
    fflush(stdout);
    sigwait(&signals, &signal_number);
    station_check(NULL, busbar_runner_error(runner, NULL), "the runner's last step");
    station_check(NULL, busbar_runner_stop(runner), "stop the runner");
    return 0;
}

/* ---- The backlog ------------------------------------------------------------------------------------------------------- */

static int fill(const char *path, long count, const char *journal)
{
    sqlite3 *db = connect_plainly(path);
    station_sql(db, strcmp(journal, "wal") == 0 ? "PRAGMA journal_mode=WAL" : "PRAGMA journal_mode=DELETE");
    station_sql(db, "CREATE TABLE state (n INTEGER PRIMARY KEY, text TEXT);"
                    "CREATE TABLE handled (n INTEGER NOT NULL); INSERT INTO handled VALUES (0)");
    busbar *bus = open_bus(db);
    station_check(bus, busbar_migrate(bus), "make the bus's tables");
    busbar_kind kind = register_kind(bus);
    for (long i = 0; i < count; i += FILL_BATCH) {
        station_sql(db, "BEGIN IMMEDIATE");
        for (int j = 0; j < FILL_BATCH; j++)
            station_check(bus, publish(bus, kind), "publish");
        station_sql(db, "COMMIT");
    }
    station_check(bus, busbar_close(bus), "close the bus");
    return sqlite3_close(db) == SQLITE_OK ? 0 : 1;
}

/* ---- The application --------------------------------------------------------------------------------------------------- */

typedef struct application {
    sqlite3 *db;
    busbar *bus;
    busbar_kind kind;
    sqlite3_stmt *begin;
    sqlite3_stmt *change;
    sqlite3_stmt *commit;
    sqlite3_stmt *rollback;
    sqlite3_stmt *cursor;
    uint32_t *latencies_us; /* one per commit */
    size_t commits;
    size_t capacity;
    long busy;
    long run;
    uint64_t run_us;
} application;

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        fprintf(stderr, "fairness: %s: %s\n", sql, sqlite3_errmsg(db));
        exit(1);
    }
    return stmt;
}

/* True unless the database was locked; anything else than that ends the program. */
static bool run_statement(application *it, sqlite3_stmt *stmt)
{
    int native = sqlite3_step(stmt);
    sqlite3_reset(stmt);
    if (native == SQLITE_DONE || native == SQLITE_BUSY)
        return native == SQLITE_DONE;
    fprintf(stderr, "fairness: %s: %s\n", sqlite3_sql(stmt), sqlite3_errmsg(it->db));
    exit(1);
}

static bool publish_event(application *it)
{
    int code = publish(it->bus, it->kind);
    if (code == BUSBAR_ELOCKED)
        return false;
    station_check(it->bus, code, "publish");
    return true;
}

/* One transaction, as a simple application would write it. False: locked, and rolled back. */
static bool transact(application *it)
{
    if (run_statement(it, it->begin) && run_statement(it, it->change) && publish_event(it) &&
        run_statement(it, it->commit))
        return true;
    if (!sqlite3_get_autocommit(it->db))
        run_statement(it, it->rollback);
    return false;
}

static void note_latency(application *it, uint64_t us)
{
    if (it->commits == it->capacity) {
        it->capacity = it->capacity * 2 + 1024;
        it->latencies_us = realloc(it->latencies_us, it->capacity * sizeof *it->latencies_us);
        if (it->latencies_us == NULL)
            exit(1);
    }
    it->latencies_us[it->commits++] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

/* A transaction that finds the database locked is tried again on the application's next occasion. */
static void commit_one(application *it, uint64_t pause_us)
{
    uint64_t begun_us = now_us();
    long failures = 0;
    while (!ended && !transact(it)) {
        failures++;
        sleep_us(pause_us > RETRY_MIN_US ? pause_us : RETRY_MIN_US);
    }
    if (ended)
        return;
    uint64_t us = now_us() - begun_us;
    note_latency(it, us);
    it->busy += failures;
    it->run = failures > it->run ? failures : it->run;
    it->run_us = failures > 0 && us > it->run_us ? us : it->run_us;
}

static long cursor_of(application *it, const char *consumer)
{
    int native;
    sqlite3_bind_text(it->cursor, 1, consumer, -1, SQLITE_STATIC);
    while ((native = sqlite3_step(it->cursor)) == SQLITE_BUSY)
        sleep_us(1000);
    long cursor = native == SQLITE_ROW ? (long)sqlite3_column_int64(it->cursor, 0) : 0;
    sqlite3_reset(it->cursor);
    return cursor;
}

static int compare(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static void report(application *it, long moved, uint64_t us)
{
    size_t count = it->commits;
    if (count == 0)
        note_latency(it, us);
    qsort(it->latencies_us, it->commits, sizeof *it->latencies_us, compare);
    printf(FAIRNESS_RESULT, (long)count, it->busy, it->run, (long)it->run_us, (long)it->latencies_us[it->commits / 2],
           (long)it->latencies_us[it->commits * 99 / 100], (long)it->latencies_us[it->commits - 1], moved,
           (long)(us / 1000));
    fflush(stdout);
}

static void open_application(application *it, const char *path, const char *how, unsigned timeout_ms)
{
    it->db = connect_plainly(path);
    sqlite3_busy_timeout(it->db, 60000); /* until it is set up */
    it->bus = open_bus(it->db);
    it->kind = register_kind(it->bus);
    station_check(it->bus, publish(it->bus, it->kind), "publish"); /* its session is made */
    it->begin = prepare(it->db, strcmp(how, "immediate") == 0 ? "BEGIN IMMEDIATE" : "BEGIN");
    it->change = prepare(it->db, "INSERT INTO state (text) VALUES ('a row of the application''s own')");
    it->commit = prepare(it->db, "COMMIT");
    it->rollback = prepare(it->db, "ROLLBACK");
    it->cursor = prepare(it->db, "SELECT cursor FROM busbar_cursor JOIN busbar_consumer ON consumer = id"
                                 " WHERE lane = 0 AND name = ?1");
    sqlite3_busy_timeout(it->db, (int)timeout_ms);
}

static void close_application(application *it)
{
    sqlite3_stmt *const statements[] = {it->begin, it->change, it->commit, it->rollback, it->cursor};
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        sqlite3_finalize(statements[i]);
    sqlite3_busy_timeout(it->db, 60000);
    station_check(it->bus, busbar_close(it->bus), "close the bus");
    sqlite3_close(it->db);
    free(it->latencies_us);
}

static int apply(char **argv)
{
    application it = {.db = NULL};
    const uint64_t pause_us = number(argv[5]);
    const uint64_t time_us = UINT64_C(1000) * number(argv[6]);
    const long count = (long)number(argv[8]);
    signal(SIGTERM, on_end);
    open_application(&it, argv[2], argv[3], number(argv[4]));
    long begun = cursor_of(&it, argv[7]);
    long cursor = begun;
    uint64_t begun_us = now_us();
    while (!ended && (now_us() - begun_us < time_us || cursor < count)) {
        commit_one(&it, pause_us);
        if (pause_us > 0)
            sleep_us(pause_us);
        if (it.commits % LOOK_COMMITS == 0)
            cursor = cursor_of(&it, argv[7]);
    }
    report(&it, cursor_of(&it, argv[7]) - begun, now_us() - begun_us);
    close_application(&it);
    return 0;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 2 ? argv[1] : "";
    worker it = {.path = argc > 2 ? argv[2] : ""};
    if (argc == 5 && strcmp(mode, "fill") == 0)
        return fill(it.path, (long)number(argv[3]), argv[4]);
    if (argc == 3 && strcmp(mode, "dispatch") == 0)
        return work(&it);
    if (argc == 9 && strcmp(mode, "app") == 0)
        return apply(argv);
    it.relays = true;
    if (argc == 4 && strcmp(mode, "relay") == 0) {
        it.port = number(argv[3]);
        return work(&it);
    }
    fprintf(stderr, "fairness: see fairness.h\n");
    return 2;
}
