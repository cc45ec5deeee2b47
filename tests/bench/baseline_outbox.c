/* SPDX-License-Identifier: MIT */
#include "baseline.h"

#include <stdio.h>
#include <string.h>

#include "workload.h"

#define ID_SIZE 37 /* a UUID and a NUL */

void baseline_outbox_create(sqlite3 *db)
{
    workload_exec(db, "CREATE TABLE outbox (id TEXT NOT NULL PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL,"
                      " status TEXT NOT NULL DEFAULT 'pending', created_ms INTEGER NOT NULL, sent_ms INTEGER);"
                      "CREATE INDEX outbox_status ON outbox (status, created_ms)");
}

/* As random as a UUID for an index, and the same in every run. */
static void make_id(char out[ID_SIZE], uint64_t number)
{
    uint64_t high = (number + 1) * UINT64_C(0x9e3779b97f4a7c15);
    uint64_t low = (high ^ (high >> 29)) * UINT64_C(0xbf58476d1ce4e5b9);
    (void)snprintf(out, ID_SIZE, "%08x-%04x-4%03x-a%03x-%012llx", (unsigned)(high >> 32),
                   (unsigned)(high >> 16) & 0xffffu, (unsigned)high & 0xfffu, (unsigned)(low >> 48) & 0xfffu,
                   (unsigned long long)low & UINT64_C(0xffffffffffff));
}

void baseline_outbox_insert(sqlite3 *db, const baseline_message *messages, uint64_t first, unsigned count)
{
    sqlite3_stmt *insert =
        workload_prepare(db, "INSERT INTO outbox (id, topic, payload, created_ms) VALUES (?1, ?2, ?3, ?4)");
    char id[ID_SIZE];
    workload_exec(db, "BEGIN IMMEDIATE");
    for (unsigned i = 0; i < count; i++) {
        make_id(id, first + i);
        sqlite3_bind_text(insert, 1, id, -1, SQLITE_STATIC);
        sqlite3_bind_text(insert, 2, messages[i].topic, -1, SQLITE_STATIC);
        sqlite3_bind_blob(insert, 3, messages[i].payload, messages[i].payload_size, SQLITE_STATIC);
        sqlite3_bind_int64(insert, 4, (int64_t)(first + i));
        workload_run(db, insert);
    }
    workload_exec(db, "COMMIT");
    sqlite3_finalize(insert);
}

/* ---- Select, publish, update ---- */

typedef struct turns {
    sqlite3 *db;
    sqlite3_stmt *select;
    sqlite3_stmt *update;
} turns;

static turns turns_open(sqlite3 *db)
{
    return (turns){.db = db,
                   .select = workload_prepare(db, "SELECT id, topic, payload FROM outbox WHERE status = 'pending'"
                                                  " ORDER BY created_ms LIMIT 1"),
                   .update = workload_prepare(db, "UPDATE outbox SET status = 'sent', sent_ms = ?2 WHERE id = ?1")};
}

static void turns_close(turns *it)
{
    sqlite3_finalize(it->select);
    sqlite3_finalize(it->update);
}

/* False when nothing is pending. `client` NULL: nothing is sent. */
static bool turn(turns *it, baseline_client *client, unsigned *sent)
{
    char id[ID_SIZE] = "";
    bool found = sqlite3_step(it->select) == SQLITE_ROW;
    if (found) {
        strncpy(id, (const char *)sqlite3_column_text(it->select, 0), sizeof id - 1);
        if (client)
            baseline_client_publish(client, (const char *)sqlite3_column_text(it->select, 1),
                                    sqlite3_column_blob(it->select, 2), sqlite3_column_bytes(it->select, 2));
    }
    sqlite3_reset(it->select);
    if (!found)
        return false;
    if (client)
        baseline_client_wait(client, ++*sent);
    sqlite3_bind_text(it->update, 1, id, -1, SQLITE_STATIC);
    sqlite3_bind_int64(it->update, 2, (int64_t)(measure_now_ns() / 1000000));
    workload_run(it->db, it->update);
    return true;
}

void baseline_outbox_drain(sqlite3 *db, const baseline_wire *wire, measurement *out)
{
    baseline_client *client = baseline_client_connect(wire);
    turns it = turns_open(db);
    unsigned sent = 0;
    measure_begin(out);
    while (turn(&it, client, &sent))
        continue;
    measure_end(out, sent);
    measure_must(sent == wire->count, "an outbox that was drained");
    turns_close(&it);
    baseline_client_close(client);
}

void baseline_outbox_finish(sqlite3 *db)
{
    turns it = turns_open(db);
    while (turn(&it, NULL, NULL))
        continue;
    turns_close(&it);
    workload_exec(db, "DELETE FROM outbox WHERE status = 'sent'");
}
