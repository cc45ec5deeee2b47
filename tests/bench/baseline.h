/* SPDX-License-Identifier: MIT */
/*
 * What Busbar is compared with: programs that do the same bare, or the way a user would do it without Busbar. They use
 * prepared statements, the same rows, the same settings and the same bytes on the wire, and know nothing of Busbar.
 */
#ifndef BENCH_BASELINE_H
#define BENCH_BASELINE_H

#include <sqlite3.h>
#include <stdbool.h>

#include "measure.h"

/* ---- baseline_insert.c: a row by hand into a table without index, of the shape of the log. */

typedef struct baseline_insert {
    sqlite3 *db;
    sqlite3_stmt *begin;
    sqlite3_stmt *insert;
    sqlite3_stmt *commit;
} baseline_insert;

void baseline_insert_open(baseline_insert *it, sqlite3 *db);
void baseline_insert_batch(baseline_insert *it, uint64_t first, unsigned count, bool json);
void baseline_insert_close(baseline_insert *it);

/* ---- baseline_loop.c: select, savepoint, an empty function, release; the cursor and a commit per batch. */

typedef struct baseline_loop {
    sqlite3 *db;
    const char *table;
    unsigned batch;
    bool savepoints; /* false: the function runs outside of the transaction */
    bool courteous;  /* after each batch it leaves the write lock free as long as it held it */
} baseline_loop;

/* Works the whole table; returns how many rows it had. */
uint64_t baseline_loop_run(const baseline_loop *it);

/* ---- baseline_mosquitto.c, baseline_paho.c: messages from memory, QoS 1, a window. */

typedef struct baseline_message {
    char *topic;
    void *payload;
    int payload_size;
} baseline_message;

typedef struct baseline_wire {
    const baseline_message *messages;
    unsigned count;
    unsigned port;
    int window;
    const char *directory; /* of Paho's files */
} baseline_wire;

/* One connection, worked by the caller's thread. */
typedef struct baseline_client baseline_client;
baseline_client *baseline_client_connect(const baseline_wire *wire);
void baseline_client_publish(baseline_client *it, const char *topic, const void *payload, int payload_size);
/* Works the connection until so many messages are acknowledged in all; 0: what can be done now. */
void baseline_client_wait(baseline_client *it, unsigned acked);
unsigned baseline_client_acked(const baseline_client *it);
void baseline_client_close(baseline_client *it);

/* Measures from the connection to the last acknowledgement. */
void baseline_mosquitto(const baseline_wire *wire, measurement *out);
bool baseline_paho_there(void);
void baseline_paho(const baseline_wire *wire, measurement *out);

/* ---- baseline_outbox.c: the usual outbox: text id, status, two indexes; select, publish, update, row by row. */

void baseline_outbox_create(sqlite3 *db);
/* In one transaction; the numbers of the rows begin with `first`. */
void baseline_outbox_insert(sqlite3 *db, const baseline_message *messages, uint64_t first, unsigned count);
/* Publishes each and marks it when it is acknowledged. */
void baseline_outbox_drain(sqlite3 *db, const baseline_wire *wire, measurement *out);
/* Marks each in a transaction of its own, as if it had been acknowledged, and deletes what is marked. */
void baseline_outbox_finish(sqlite3 *db);

#endif
