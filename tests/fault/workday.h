/* SPDX-License-Identifier: MIT */
/*
 * A day's work of an application and its bus, in an environment that can fail: everything that the interface offers, hour by
 * hour. What fails is tried again, given up or made good later, as a careful application would. Its books say in the end
 * what must be there.
 */
#ifndef BUSBAR_WORKDAY_H
#define BUSBAR_WORKDAY_H

#include "environment.h"

#define WORKDAY_ROWS_MAX     2000
#define WORKDAY_MESSAGES_MAX 2000
#define WORKDAY_AUTOS        4
#define WORKDAY_BAD          "a.bad"
#define WORKDAY_BULK_MAX     12u

/* A way to use SQLite and the bus. */
typedef struct shape {
    const char *name;
    const char *journal;
    const char *synchronous;
    bool alone; /* one connection does everything; else the route has its own */
} shape;

extern const shape workday_shapes[];
extern const size_t workday_shape_count;

typedef struct station {
    sqlite3 *db;
    busbar *bus;
    bool has_tables;
    bool has_subscriptions;
    bool has_route;
} station;

/* Published in no transaction of the application's, with a given id, until it is known to be stored. */
typedef struct lone {
    bool told;
    busbar_id id;
} lone;

typedef struct workday {
    environment *e;
    const shape *shape;
    station app;
    station relay; /* without `alone` */
    busbar_transport link;
    bool has_link;
    unsigned openings; /* of the application's database */
    unsigned closings; /* each is the end of a process */
    unsigned hours_in_trouble;
    bool over; /* everything after it must succeed, as before the first failure */
    bool waited;
    bool may_tell_late; /* what could not be undone for want of memory is undone, and told, when there is some */
    bool must_roll_back;
    bool may_bury; /* the route gives events up for the fault */

    int row_count;                  /* rows of `published` that were ever written */
    bool undone[WORKDAY_ROWS_MAX];  /* with their savepoint */
    bool lasting[WORKDAY_ROWS_MAX]; /* their commit returned */
    lone lone[WORKDAY_AUTOS];
    uint64_t messages[BUSBAR_LANE_COUNT][WORKDAY_MESSAGES_MAX]; /* hashes of the ids that the peer got, each once */
    int message_count[BUSBAR_LANE_COUNT];
    int64_t told_lost; /* by the gaps that the peer got */
    char failure[600]; /* the first thing that went wrong; empty: nothing did */
} workday;

/* The whole day: then the environment is healed, what was left is made good, and the books are checked, on the same handles
   and on new ones. Ends with everything closed. w->failure says how it went. */
void workday_run(workday *w, environment *e, const shape *s, unsigned heal_after);

/* ---- For the parts of a workday ---- */

/* Notes the first failure. */
void workday_fail(workday *w, const char *what, const char *why);
void workday_fail_number(workday *w, const char *what, int64_t number, int64_t expected);
/* A fault is at work: calls may fail. */
bool workday_in_trouble(const workday *w);
/* True if the call succeeded. That it failed must be for the fault, with a code of the environment and a text. */
bool workday_good(workday *w, const busbar *bus, int code, const char *what);
bool workday_sql(workday *w, sqlite3 *db, const char *text);
/* The first column of the first row; -1 if there is none. */
int64_t workday_integer(workday *w, sqlite3 *db, const char *text);
station *workday_relay(workday *w);
/* Opens what is not open. False if something does not. */
bool workday_ready(workday *w);
void workday_close(workday *w);
/* Lets both work for so many turns. */
void workday_work(workday *w, int turns);

/* reckoning.c: whether the books are right. On handles that are open; nothing fails any more. */
void reckoning_check(workday *w);
/* All consumers have finished everything. */
bool reckoning_is_settled(workday *w);

#endif
