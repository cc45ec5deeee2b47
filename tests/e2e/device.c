/* SPDX-License-Identifier: MIT */
/* A device: see device.h. */
#include "device.h"

#include <busbar/linux.h>
#include <busbar/mosquitto.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "station.h"

#define ANSWER_PATIENCE_MS 30000
#define REGISTER_AT        10 /* changes: until then, everything is looked up in each transaction */

typedef enum role { ROLE_COUNT, ROLE_REPLY, ROLE_OUTSIDE } role;

/* What a runner's thread works with. */
typedef struct work {
    const char *path;
    role role;
    sqlite3 *db; /* the runner's own, in which handlers write */
    long freeze_at;
    unsigned port; /* of the broker; 0: no route */
    unsigned window;
    unsigned rate;
} work;

static void say(const char *text)
{
    puts(text);
    fflush(stdout);
}

/* ---- Handlers ---------------------------------------------------------------------------------------------------------- */

static bool read_data(const busbar_record *event, char device[64], long *out_n)
{
    char text[128];
    if (event->data_size_bytes >= sizeof text)
        return false;
    memcpy(text, event->data, event->data_size_bytes);
    text[event->data_size_bytes] = '\0';
    return sscanf(text, "{\"device\":\"%63[^\"]\",\"n\":%ld}", device, out_n) == 2;
}

/* Tells the receiver of the effect: a second one would have another id. */
static bool publish_effect(busbar *bus, const char *device, long n)
{
    char data[128];
    snprintf(data, sizeof data, "{\"device\":\"%s%c\",\"n\":%ld}", device, DEVICE_EFFECT, n);
    const busbar_event event = {
        .size = sizeof event, .type = DEVICE_COUNTED, .data = data, .data_size_bytes = strlen(data)};
    return busbar_publish(bus, &event, NULL) == BUSBAR_OK;
}

/* Transactional (P7): a row that says twice would show a second effect. */
static busbar_verdict count_reading(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    work *it = ctx;
    char device[64];
    char text[256];
    long n;
    (void)reason;
    if (!read_data(event, device, &n))
        return BUSBAR_DEAD;
    if (it->port != 0 && !publish_effect(bus, device, n))
        return BUSBAR_RETRY;
    snprintf(text, sizeof text, "INSERT INTO handled VALUES ('%s', %ld, 1) ON CONFLICT DO UPDATE SET times = times + 1",
             device, n);
    return sqlite3_exec(busbar_connection(bus), text, NULL, NULL, NULL) == SQLITE_OK ? BUSBAR_DONE : BUSBAR_RETRY;
}

static busbar_verdict note_reading(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    work *it = ctx;
    char device[64];
    long n;
    (void)bus;
    (void)reason;
    if (!read_data(event, device, &n))
        return BUSBAR_DEAD;
    if (n == it->freeze_at) {
        it->freeze_at = 0;
        raise(SIGSTOP);
    }
    printf("handled %s %ld\n", device, n);
    fflush(stdout);
    return BUSBAR_DONE;
}

static busbar_verdict answer(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    const busbar_event reply = {
        .size = sizeof reply, .type = DEVICE_ANSWER, .data = event->data, .data_size_bytes = event->data_size_bytes};
    (void)reason;
    (void)ctx;
    return busbar_publish(bus, &reply, NULL) == BUSBAR_OK ? BUSBAR_DONE : BUSBAR_RETRY;
}

/* ---- A runner ---------------------------------------------------------------------------------------------------------- */

static sqlite3 *open_own(void *ctx, busbar_error *out_error)
{
    work *it = ctx;
    sqlite3 *db = station_connect(it->path);
    if (db == NULL)
        out_error->code = BUSBAR_ECANTOPEN;
    return db;
}

static void close_own(void *ctx, sqlite3 *db)
{
    (void)ctx;
    if (sqlite3_close(db) != SQLITE_OK) {
        fprintf(stderr, "device: the runner's connection is still used\n");
        exit(1);
    }
}

static int add_route(busbar *bus, const work *it)
{
    const busbar_mosquitto_options options = {.size = sizeof options,
                                              .host = "127.0.0.1",
                                              .port = (uint16_t)it->port,
                                              .window = it->window,
                                              .reconnect_min_ms = 20,
                                              .reconnect_max_ms = 200};
    const busbar_route route = {.size = sizeof route,
                                .name = DEVICE_ROUTE,
                                .topic = "devices/{type}",
                                .window = it->window,
                                .rate_per_s = it->rate};
    busbar_transport transport;
    busbar_reason reason;
    int code = busbar_mosquitto_new(&options, &transport, &reason);
    return code == BUSBAR_OK ? busbar_route_add(bus, &route, transport) : code;
}

static int set_up(busbar *bus, void *ctx)
{
    work *it = ctx;
    const busbar_handler counter = {.size = sizeof counter,
                                    .name = DEVICE_COUNTER,
                                    .pattern = DEVICE_READING,
                                    .fn = count_reading,
                                    .ctx = it,
                                    .start = BUSBAR_START_BEGINNING};
    const busbar_handler replier = {
        .size = sizeof replier, .name = "replier", .pattern = DEVICE_QUESTION, .fn = answer};
    const busbar_handler outside = {.size = sizeof outside,
                                    .name = DEVICE_COUNTER,
                                    .pattern = DEVICE_READING,
                                    .fn = note_reading,
                                    .ctx = it,
                                    .delivery = BUSBAR_OUTSIDE,
                                    .start = BUSBAR_START_BEGINNING};
    const busbar_handler *const handlers[] = {
        [ROLE_COUNT] = &counter, [ROLE_REPLY] = &replier, [ROLE_OUTSIDE] = &outside};
    int code = busbar_subscribe(bus, handlers[it->role], 1);
    return code == BUSBAR_OK && it->port != 0 ? add_route(bus, it) : code;
}

static busbar_runner *start_runner(work *it)
{
    busbar_options bus = station_options();
    const busbar_runner_options options = {
        .size = sizeof options, .open = open_own, .close = close_own, .bus = &bus, .setup = set_up, .ctx = it};
    busbar_runner *runner = NULL;
    busbar_error error = {.code = 0};
    int code = busbar_runner_start(&runner, &options, &error);
    if (code != BUSBAR_OK)
        fprintf(stderr, "device: the runner does not start: %s\n", error.text);
    station_check(NULL, code, "start the runner");
    return runner;
}

static void block_end_signal(sigset_t *out_signals)
{
    sigemptyset(out_signals);
    sigaddset(out_signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, out_signals, NULL);
}

/* Lets the runner work until this process is told to end. */
static int finish(busbar_runner *runner, const sigset_t *signals)
{
    int signal_number;
    sigwait(signals, &signal_number);
    station_check(NULL, busbar_runner_error(runner, NULL), "the runner's last step");
    station_check(NULL, busbar_runner_stop(runner), "stop the runner");
    return 0;
}

static int run(work *it)
{
    sigset_t signals;
    block_end_signal(&signals);
    busbar_runner *runner = start_runner(it);
    say("running");
    return finish(runner, &signals);
}

/* ---- Publishing -------------------------------------------------------------------------------------------------------- */

static int publish(const char *path, const char *name, long count)
{
    station it;
    station_open(&it, path, name);
    it.announces = true;
    for (long i = 0; count == 0 || i < count; i++)
        station_change(&it, STATION_COMMIT);
    say("done");
    station_close(&it);
    return 0;
}

static _Noreturn void publish_unsteadily(const char *path, const char *name)
{
    station it;
    station_open(&it, path, name);
    for (unsigned i = 0;; i++) {
        if (i == REGISTER_AT)
            station_register(&it);
        station_change(&it, (station_fate)(i % STATION_FATE_COUNT));
    }
}

static int run_and_publish(work *it, const char *name, long count)
{
    sigset_t signals;
    block_end_signal(&signals);
    busbar_runner *runner = start_runner(it);
    publish(it->path, name, count);
    return finish(runner, &signals);
}

/* ---- Asking ------------------------------------------------------------------------------------------------------------ */

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static busbar_verdict note_answer(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    char device[64];
    (void)bus;
    (void)reason;
    return read_data(event, device, ctx) ? BUSBAR_DONE : BUSBAR_DEAD;
}

/* An event loop with nothing in it but the bus. */
static void await_answer(busbar *bus, long n, const long *answered)
{
    uint64_t deadline_ms = now_ms() + ANSWER_PATIENCE_MS;
    struct pollfd wake = {.fd = busbar_fd(bus), .events = POLLIN};
    while (*answered != n) {
        uint64_t wait_us = 0;
        station_check(bus, busbar_step(bus, 10000, &wait_us), "step");
        if (now_ms() >= deadline_ms) {
            fprintf(stderr, "device: no answer to question %ld\n", n);
            exit(1);
        }
        if (*answered != n && wait_us > 0)
            poll(&wake, 1, wait_us < ANSWER_PATIENCE_MS * 1000 ? (int)(wait_us / 1000) : ANSWER_PATIENCE_MS);
    }
}

static int ask(const char *path, long count)
{
    long answered = 0;
    const busbar_handler listener = {
        .size = sizeof listener, .name = "asker", .pattern = DEVICE_ANSWER, .fn = note_answer, .ctx = &answered};
    station it;
    station_open(&it, path, "asker");
    station_check(it.bus, busbar_subscribe(it.bus, &listener, 1), "subscribe");
    for (long n = 1; n <= count; n++) {
        char data[64];
        uint64_t begun_ms = now_ms();
        snprintf(data, sizeof data, "{\"device\":\"asker\",\"n\":%ld}", n);
        const busbar_event event = {
            .size = sizeof event, .type = DEVICE_QUESTION, .data = data, .data_size_bytes = strlen(data)};
        station_check(it.bus, busbar_publish(it.bus, &event, NULL), "publish");
        await_answer(it.bus, n, &answered);
        printf("answered %ld %llu\n", n, (unsigned long long)(now_ms() - begun_ms));
        fflush(stdout);
    }
    station_close(&it);
    return 0;
}

/* ---- The command line: written by the tests only ------------------------------------------------------------------------ */

static unsigned number(const char *text)
{
    return (unsigned)strtoul(text, NULL, 10);
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    work it = {.path = argc > 2 ? argv[2] : ""};
    if (argc == 3 && strcmp(mode, "init") == 0)
        return station_make_tables(it.path), 0;
    if (argc == 5 && strcmp(mode, "publish") == 0)
        return publish(it.path, argv[3], (long)number(argv[4]));
    if (argc == 4 && strcmp(mode, "unsteady") == 0)
        publish_unsteadily(it.path, argv[3]);
    if (argc == 4 && strcmp(mode, "ask") == 0)
        return ask(it.path, (long)number(argv[3]));
    if (argc == 4 && strcmp(mode, "outside") == 0) {
        it.role = ROLE_OUTSIDE;
        it.freeze_at = (long)number(argv[3]);
        return run(&it);
    }
    if (argc >= 6) {
        it.port = number(argv[argc - 3]);
        it.window = number(argv[argc - 2]);
        it.rate = number(argv[argc - 1]);
    }
    if (argc == 8 && strcmp(mode, "app") == 0)
        return run_and_publish(&it, argv[3], (long)number(argv[4]));
    if ((argc == 3 || argc == 6) && strcmp(mode, "run") == 0)
        return run(&it);
    it.role = ROLE_REPLY;
    if (argc == 3 && strcmp(mode, "reply") == 0)
        return run(&it);
    fprintf(stderr, "device: see device.h\n");
    return 2;
}
