/* SPDX-License-Identifier: MIT */
/* What a device program stands on: its own connection, a bus on it, and state that changes together with events. */
#ifndef STATION_H
#define STATION_H

#include <busbar/busbar.h>
#include <sqlite3.h>

typedef struct station {
    sqlite3 *db;
    busbar *bus;
    const char *name;
    busbar_kind kind; /* of a reading, once it is registered */
    bool announces;   /* says before each commit what it is about to commit */
} station;

typedef enum station_fate {
    STATION_COMMIT,
    STATION_ROLLBACK,           /* the whole transaction */
    STATION_ROLLBACK_SAVEPOINT, /* one change in a savepoint that is rolled back, then one that is committed */
    STATION_FATE_COUNT
} station_fate;

/* Ends the program, saying why, unless the code is BUSBAR_OK; `bus` may be NULL. */
void station_check(const busbar *bus, int code, const char *what);
/* Runs statements, or ends the program. */
void station_sql(sqlite3 *db, const char *text);

/* A connection as these programs want it. NULL if the file cannot be opened. */
sqlite3 *station_connect(const char *path);
busbar_options station_options(void);

/* All that follows ends the program when it fails. */
void station_make_tables(const char *path);
void station_open(station *it, const char *path, const char *name);
void station_close(station *it);
/* From here on, every second event is published by its kind, which is registered ahead. */
void station_register(station *it);
/*
 * One transaction: the next state, and an event that tells of it. Prints "published NAME N ID" once it is committed, and
 * "trying NAME N ID" before, if the station announces: a kill between the two leaves a question that the next N answers.
 */
void station_change(station *it, station_fate fate);

#endif
