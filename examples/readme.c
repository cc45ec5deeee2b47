/* SPDX-License-Identifier: MIT */
/* A door is opened: the state and the event commit together, then a handler gets the event. */
#include <busbar/linux.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

static void check(bool ok, const char *what)
{
    if (!ok && fprintf(stderr, "%s\n", what))
        exit(1); /* what is not committed never was; what is not recorded comes again */
}

static void run(sqlite3 *db, const char *sql)
{
    bool ok = sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK;
    check(ok, sqlite3_errmsg(db));
}

static busbar_verdict on_door(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    (void)bus, (void)reason, (void)ctx;
    printf("%s %.*s\n", event->type, (int)event->data_size_bytes, (const char *)event->data);
    return BUSBAR_DONE;
}

int main(int argc, char **argv)
{
    const busbar_options options = {.size = sizeof options, .port = busbar_linux_port(), .source = "/house/door"};
    const busbar_handler handler = {.size = sizeof handler, .name = "printer", .pattern = "door.*", .fn = on_door};
    const busbar_event event = {.size = sizeof event, .type = "door.opened", .data = "{\"n\":1}", .data_size_bytes = 7};
    sqlite3 *db = NULL;
    busbar *bus = NULL;
    busbar_error error = {.code = BUSBAR_OK};
    check(sqlite3_open(argc > 1 ? argv[1] : "door.db", &db) == SQLITE_OK, "cannot open the database");
    run(db, "PRAGMA journal_mode=WAL; CREATE TABLE IF NOT EXISTS door (opened INTEGER)");
    check(busbar_open(&bus, db, &options, &error) == BUSBAR_OK, error.text);
    check(busbar_subscribe(bus, &handler, 1) == BUSBAR_OK, "cannot subscribe"); /* durable from now on */

    run(db, "BEGIN IMMEDIATE; INSERT INTO door VALUES (1)");
    check(busbar_publish(bus, &event, NULL) == BUSBAR_OK, "cannot publish");
    run(db, "COMMIT"); /* now both exist */

    for (uint64_t wait_us = 0; wait_us != BUSBAR_FOREVER;) { /* an application does this in its event loop */
        sqlite3_sleep((int)(wait_us / 1000));
        check(busbar_step(bus, 10000, &wait_us) == BUSBAR_OK, "cannot work");
    }
    busbar_close(bus);
    sqlite3_close(db);
    return 0;
}
