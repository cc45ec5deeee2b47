/* SPDX-License-Identifier: MIT */
/* Where a test takes place. */
#include "test.h"

#include "scene.h"

#include <netinet/tcp.h>
#include <sqlite3.h>
#include <stdio.h>

#define ARGUMENTS_MAX 24

static const char *program(const char *variable)
{
    const char *path = getenv(variable);
    if (path == NULL)
        fail_msg("%s must name a program; run the tests with `meson test`", variable);
    return path;
}

int scene_set_up(void **state)
{
    scene *it = calloc(1, sizeof *it);
    process maker;
    assert_non_null(it);
    broker_directory_make(it->directory);
    broker_file_path(it->directory, "device.db", it->database);
    it->port = broker_free_port();
    snprintf(it->port_text, sizeof it->port_text, "%u", it->port);
    scene_start_device(it, &maker, "init.log", "init", (const char *const[]){NULL});
    assert_int_equal(process_wait(&maker), 0);
    *state = it;
    return 0;
}

static void end(process *it)
{
    if (it->pid > 0)
        process_kill(it);
}

/* P8, whatever was killed and when: every position is accounted for, and nothing in the file is damaged. */
static bool is_sound(scene *it)
{
    process checker;
    const char *const arguments[] = {program("BUSBAR"), "check", it->database, NULL};
    process_start(&checker, it->directory, "check.log", arguments);
    int exit_code = process_wait(&checker);
    char *log = exit_code != 0 ? process_log(&checker) : NULL;
    if (log != NULL)
        print_error("busbar check ended with %d:\n%s\n", exit_code, log);
    free(log);
    return exit_code == 0;
}

void scene_assert_sound(scene *it)
{
    assert_true(is_sound(it));
}

int scene_tear_down(void **state)
{
    scene *it = *state;
    end(&it->publisher);
    end(&it->worker);
    end(&it->second);
    bool sound = is_sound(it);
    receiver_free(it->receiver);
    broker_free(it->broker);
    broker_directory_remove(it->directory);
    free(it);
    return sound ? 0 : 1;
}

/* ---- Programs ---------------------------------------------------------------------------------------------------------- */

void scene_start_device(scene *it, process *out, const char *name, const char *mode, const char *const *more)
{
    const char *arguments[ARGUMENTS_MAX] = {program("DEVICE"), mode, it->database};
    for (size_t i = 0; more[i] != NULL; i++) {
        assert_true(i + 4 < ARGUMENTS_MAX);
        arguments[i + 3] = more[i];
    }
    process_start(out, it->directory, name, arguments);
}

void scene_publish(scene *it, process *publisher, const char *device, const char *count)
{
    char name[64];
    snprintf(name, sizeof name, "%.50s.log", device);
    scene_start_device(it, publisher, name, "publish", (const char *const[]){device, count, NULL});
    int exit_code = process_wait(publisher);
    if (exit_code != 0)
        fail_msg("it ended with %d:\n%s", exit_code, process_log(publisher));
}

void scene_start_relay(scene *it, process *out, const char *name, const char *window, const char *rate,
                       const char *last)
{
    char url[64];
    snprintf(url, sizeof url, "mqtt://%s:%u", BROKER_HOST, it->port);
    const char *const arguments[] = {
        program("BUSBAR"), "relay", it->database, "--url", url,  "--topic", "devices/{type}",
        "--window",        window,  "--rate",     rate,    last, NULL};
    process_start(out, it->directory, name, arguments);
}

/* ---- The broker -------------------------------------------------------------------------------------------------------- */

void scene_open_broker(scene *it)
{
    it->broker = broker_start_on(it->port, NULL);
    it->receiver = receiver_start(it->port);
}

/* True if something was sent to the port that has not been read. */
static bool has_unread(unsigned port)
{
    char line[256];
    bool found = false;
    FILE *sockets = fopen("/proc/net/tcp", "r");
    assert_non_null(sockets);
    while (fgets(line, sizeof line, sockets) != NULL) {
        unsigned local_port;
        unsigned state;
        unsigned unread;
        int fields = sscanf(line, " %*d: %*[0-9A-F]:%X %*[0-9A-F:] %X %*[0-9A-F]:%X", &local_port, &state, &unread);
        found |= fields == 3 && local_port == port && state == TCP_ESTABLISHED && unread > 0;
    }
    fclose(sockets);
    return found;
}

void scene_hold_broker(const scene *it)
{
    uint64_t deadline_ms = broker_now_ms() + PROCESS_PATIENCE_MS;
    broker_pause(it->broker);
    while (!has_unread(it->port)) {
        assert_true(broker_now_ms() < deadline_ms);
        process_look_again();
    }
}

void scene_interrupt_broker(scene *it, const process *sender)
{
    scene_hold_broker(it);
    broker_kill(it->broker);
    process_pause(sender); /* or it could be heard by the broker before there is a subscription */
    broker_restart(it->broker);
    receiver_reconnect(it->receiver);
    process_resume(sender);
}

/* ---- The database ------------------------------------------------------------------------------------------------------ */

char *scene_text(const scene *it, const char *query)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_open_v2(it->database, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    sqlite3_busy_timeout(db, PROCESS_PATIENCE_MS);
    if (sqlite3_prepare_v2(db, query, -1, &stmt, NULL) != SQLITE_OK || sqlite3_step(stmt) != SQLITE_ROW)
        fail_msg("%s: %s", query, sqlite3_errmsg(db));
    const char *value = (const char *)sqlite3_column_text(stmt, 0);
    char *copy = strdup(value != NULL ? value : "");
    assert_non_null(copy);
    sqlite3_finalize(stmt);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return copy;
}

int64_t scene_integer(const scene *it, const char *query)
{
    char *text = scene_text(it, query);
    int64_t value = strtoll(text, NULL, 10);
    free(text);
    return value;
}

void scene_await_integer(const scene *it, const char *query, int64_t value)
{
    uint64_t deadline_ms = broker_now_ms() + PROCESS_PATIENCE_MS;
    int64_t found;
    while ((found = scene_integer(it, query)) != value) {
        if (broker_now_ms() >= deadline_ms)
            fail_msg("%s: %lld instead of %lld", query, (long long)found, (long long)value);
        process_look_again();
    }
}
