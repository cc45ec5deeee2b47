/* SPDX-License-Identifier: MIT */
/* A bus on a real database file of its own, with a virtual platform under it. */
#ifndef BUSBAR_FIXTURE_H
#define BUSBAR_FIXTURE_H

#include <busbar/busbar.h>
#include <busbar/sim.h>
#include <sqlite3.h>

#include "test.h"

typedef struct fixture {
    char directory[128];
    char path[160];
    sqlite3 *db; /* WAL, synchronous NORMAL */
    busbar_sim *sim;
    busbar_options options;
    busbar *bus;
} fixture;

/* A new directory, file, connection, platform and bus; the table `state (name PRIMARY KEY, value)` is the application's. */
void fixture_open(fixture *f);
/* The same, but the bus is opened with these options (size, port and source are filled in). */
void fixture_open_with(fixture *f, busbar_options options);
void fixture_close(fixture *f);

/* Closes and opens the bus: the next session. */
void fixture_reopen_bus(fixture *f);
/* Another connection to the same file. */
sqlite3 *fixture_connect(const fixture *f);
/* Another bus on another connection; *out_db is to be closed after the bus. */
busbar *fixture_connect_bus(const fixture *f, sqlite3 **out_db);

/* Runs statements that must succeed. */
void sql(sqlite3 *db, const char *text);
/* The first column of the first row; fails the test if there is none. */
int64_t sql_integer(sqlite3 *db, const char *text);
/* The same as text, in a buffer that the next call overwrites; "" for NULL. */
const char *sql_text(sqlite3 *db, const char *text);

/* An event of a type without data. */
busbar_event event_of(const char *type);
/* The same with data, a NUL-terminated text. */
busbar_event event_with(const char *type, const char *data);
/* Publishes it, and it must succeed. */
void publish(busbar *bus, const char *type);

/* Steps until the bus has nothing to do now; virtual time passes where a worker asks for less than `patience_ms`. */
void settle(fixture *f, uint64_t patience_ms);
void settle_bus(busbar *bus, busbar_sim *sim, uint64_t patience_ms);

/* Fails the test with the handle's detail unless `code` is `expected`. */
void assert_code(const busbar *bus, int code, int expected);

/* The progress of a consumer in a lane. */
busbar_progress progress_of(busbar *bus, const char *consumer, busbar_lane lane);
/* P8: head - start + replayed = filtered + delivered + dead + expired + evicted + retrying + (head - cursor), in every lane. */
void assert_balanced(busbar *bus, const char *consumer);

#endif
