/* SPDX-License-Identifier: MIT */
/*
 * A door that tells what happens to it: each change of its state and the event about it are one transaction, and a handler
 * in the same program hears of it. No network anywhere; a relay may forward the events at any later time.
 *
 *     door DATABASE [COUNT]       opens or closes the door COUNT times (4)
 */
#include <busbar/linux.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* How many events the handler has seen; it runs on the runner's thread. */
typedef struct seen {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int count;
} seen;

static busbar_verdict on_door(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    seen *it = ctx;
    (void)bus;
    (void)reason;
    printf("  handler: %s %.*s\n", event->type, (int)event->data_size_bytes, (const char *)event->data);
    pthread_mutex_lock(&it->lock);
    it->count++;
    pthread_cond_signal(&it->changed);
    pthread_mutex_unlock(&it->lock);
    return BUSBAR_DONE;
}

/* Called once on the runner's thread: what it is to work on. */
static int set_up(busbar *bus, void *ctx)
{
    const busbar_handler handlers[] = {
        /* Outside a transaction: printing cannot be undone, so it waits until the event is safe on the disk. */
        {.size = sizeof handlers[0],
         .name = "bell",
         .pattern = "door.*",
         .fn = on_door,
         .ctx = ctx,
         .delivery = BUSBAR_OUTSIDE},
    };
    return busbar_subscribe(bus, handlers, 1);
}

static bool wait_for(seen *it, int count)
{
    struct timespec deadline;
    timespec_get(&deadline, TIME_UTC);
    deadline.tv_sec += 10;
    pthread_mutex_lock(&it->lock);
    while (it->count < count && pthread_cond_timedwait(&it->changed, &it->lock, &deadline) == 0) {
    }
    bool all = it->count >= count;
    pthread_mutex_unlock(&it->lock);
    return all;
}

static bool sql(sqlite3 *db, const char *text)
{
    if (sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK)
        return true;
    fprintf(stderr, "door: %s\n", sqlite3_errmsg(db));
    return false;
}

/* The application's own database: any connection in WAL mode will do. */
static sqlite3 *open_database(const char *path)
{
    sqlite3 *db = NULL;
    if (sqlite3_open(path, &db) != SQLITE_OK || sqlite3_busy_timeout(db, 5000) != SQLITE_OK ||
        !sql(
            db,
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
            "CREATE TABLE IF NOT EXISTS door (name TEXT PRIMARY KEY, is_open INTEGER NOT NULL, moves INTEGER NOT NULL);"
            "INSERT INTO door VALUES ('front', 0, 0) ON CONFLICT DO NOTHING")) {
        fprintf(stderr, "door: cannot use %s: %s\n", path, sqlite3_errmsg(db));
        sqlite3_close(db);
        return NULL;
    }
    return db;
}

/* The change and its event, in one transaction: both exist after COMMIT, neither after ROLLBACK. */
static bool move_door(sqlite3 *db, busbar *bus, bool open, bool regret)
{
    const char *data = open ? "{\"door\":\"front\",\"open\":true}" : "{\"door\":\"front\",\"open\":false}";
    const busbar_event event = {
        .size = sizeof event,
        .type = open ? "door.opened" : "door.closed",
        .subject = "front",
        .data = data,
        .data_size_bytes = strlen(data),
    };
    busbar_id id;
    if (!sql(db, "BEGIN IMMEDIATE"))
        return false;
    bool moved = sql(db, "UPDATE door SET is_open = 1 - is_open, moves = moves + 1 WHERE name = 'front'");
    if (moved && busbar_publish(bus, &event, &id) < 0) {
        busbar_error error;
        busbar_error_get(bus, &error);
        fprintf(stderr, "door: %s\n", error.text);
        moved = false;
    }
    if (!moved || regret) {
        sql(db, "ROLLBACK");
        if (moved)
            printf("%s, but rolled back: neither the move nor the event exists\n", event.type);
        return moved;
    }
    printf("%s: the door and event %s, in one transaction\n", event.type, id.text);
    return sql(db, "COMMIT");
}

static bool move_often(sqlite3 *db, busbar *bus, int count)
{
    for (int i = 0; i < count; i++) {
        if (!move_door(db, bus, i % 2 == 0, false))
            return false;
    }
    return move_door(db, bus, count % 2 == 0, true);
}

static int run(const char *path, sqlite3 *db, int count)
{
    seen it = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
    busbar_error error = {0};
    busbar *bus = NULL;
    busbar_runner *runner = NULL;
    const busbar_options bus_options = {
        .size = sizeof bus_options, .port = busbar_linux_port(), .source = "/house/door"};
    const busbar_runner_options options = {
        .size = sizeof options, .path = path, .bus = &bus_options, .setup = set_up, .ctx = &it};
    bool done = false;
    if (busbar_runner_start(&runner, &options, &error) == BUSBAR_OK &&
        busbar_open(&bus, db, &bus_options, &error) == BUSBAR_OK)
        done = move_often(db, bus, count) && wait_for(&it, count);
    if (error.code != 0)
        fprintf(stderr, "door: %s\n", error.text);
    busbar_close(bus);
    busbar_runner_stop(runner);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    int count = argc > 2 ? atoi(argv[2]) : 4;
    if (argc < 2 || count < 0) {
        fprintf(stderr, "usage: %s DATABASE [COUNT]\n", argv[0]);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    sqlite3 *db = open_database(argv[1]);
    int status = db != NULL ? run(argv[1], db, count) : EXIT_FAILURE;
    sqlite3_close(db);
    return status;
}
