/* SPDX-License-Identifier: MIT */
#include "baseline.h"

#include <time.h>

#include "workload.h"

void baseline_insert_open(baseline_insert *it, sqlite3 *db)
{
    workload_exec(db, "CREATE TABLE by_hand (seq INTEGER PRIMARY KEY, kind INTEGER NOT NULL, session INTEGER NOT NULL,"
                      " at_ms INTEGER NOT NULL, id TEXT, subject TEXT, key TEXT, ext TEXT, ttl_ms INTEGER, data ANY)"
                      " STRICT");
    it->db = db;
    it->begin = workload_prepare(db, "BEGIN IMMEDIATE");
    it->commit = workload_prepare(db, "COMMIT");
    it->insert = workload_prepare(db, "INSERT INTO by_hand (kind, session, at_ms, id, subject, key, ext, ttl_ms, data)"
                                      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
}

/* A row tells when it was made, here too. */
static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void insert(baseline_insert *it, uint64_t number, bool json)
{
    const char *payload = workload_payload(number);
    sqlite3_bind_int64(it->insert, 1, 1);
    sqlite3_bind_int64(it->insert, 2, 1);
    sqlite3_bind_int64(it->insert, 3, now_ms());
    for (int i = 4; i <= 8; i++)
        sqlite3_bind_null(it->insert, i);
    if (json)
        sqlite3_bind_text(it->insert, 9, payload, WORKLOAD_PAYLOAD_SIZE, SQLITE_STATIC);
    else
        sqlite3_bind_blob(it->insert, 9, payload, WORKLOAD_PAYLOAD_SIZE, SQLITE_STATIC);
    workload_run(it->db, it->insert);
}

void baseline_insert_batch(baseline_insert *it, uint64_t first, unsigned count, bool json)
{
    workload_run(it->db, it->begin);
    for (unsigned i = 0; i < count; i++)
        insert(it, first + i, json);
    workload_run(it->db, it->commit);
}

void baseline_insert_close(baseline_insert *it)
{
    sqlite3_finalize(it->begin);
    sqlite3_finalize(it->insert);
    sqlite3_finalize(it->commit);
}
