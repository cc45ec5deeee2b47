/* SPDX-License-Identifier: MIT */
/*
 * A device of the power-cut tests: an application, its bus and a relay on a simulated disk, and the reference workload that
 * runs on it. Everything in it repeats from run to run.
 */
#ifndef BUSBAR_MACHINE_H
#define BUSBAR_MACHINE_H

#include <busbar/loopback.h>
#include <busbar/sim.h>
#include <sqlite3.h>

#include "history.h"

#define MACHINE_FILE      "app.db"
#define MACHINE_WINDOW    6u
#define MACHINE_ACK_GROUP 4u

/* A way to use SQLite: "wal/normal/4096". */
typedef struct setting {
    const char *name;
    const char *journal;
    const char *synchronous;
    int page_bytes;
    bool prunes;     /* more events, few of which are kept when they are finished */
    unsigned most;   /* events of a lane: older ones are evicted by those who publish; 0: no limit */
    unsigned ttl_ms; /* of one event in four, so short that some expire; 0: none */
} setting;

typedef struct machine {
    const setting *setting;
    busbar_sim_disk *disk;
    history *history;
    busbar_sim *sim;
    sqlite3 *db;       /* the application's */
    sqlite3 *relay_db; /* the relay's; the same if there is one connection only */
    busbar *bus;
    busbar *relay;
    busbar_transport transport;
    int64_t txn;
    uint64_t flight[MACHINE_WINDOW]; /* ids that the peer has not acknowledged, oldest first */
    size_t flight_count;
    bool peer_waits;        /* the peer acknowledges when the workload says so */
    unsigned lies_in_steps; /* control: what the disk does not sync while the bus works */
    bool journal_in_memory; /* control */
    char failure[400];      /* the first thing that went wrong; empty: nothing did */
} machine;

/* What is on the disk before: an application's file without Busbar's tables. */
void machine_prepare(busbar_sim_disk *disk, const setting *s);

/*
 * Switches it on: `boots` is how often it was off before. With `alone` there is one connection for all, and the peer
 * acknowledges everything at once. False, with m->failure, if something does not open.
 */
bool machine_start(machine *m, unsigned boots, bool alone);
/* Ends it in order. */
void machine_stop(machine *m);

/* Publishes some events with state in a transaction; `i` chooses how. */
void machine_transaction(machine *m, unsigned i);
/* Lets the bus, and the relay, work until they wait. */
void machine_work(machine *m, busbar *bus);
/* The whole reference workload on a machine that was started. */
void machine_workload(machine *m);

/* Reads the table `published`; the number of rows, or -1. */
int machine_published(sqlite3 *db, published rows[HISTORY_MAX]);
/* The first column of the first row; -1 if there is none. */
int64_t machine_integer(sqlite3 *db, const char *text);
/* Notes the first failure. */
void machine_fail(machine *m, const char *what, const char *why);

#endif
