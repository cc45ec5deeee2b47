/* SPDX-License-Identifier: MIT */
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRANSACTIONS  30u
#define STEP_US       100000u
#define TURN_US       60000u
#define TURNS         1000u
#define IDLE_TURNS    4u
#define KEPT          8u
#define MANY          280u /* pruning takes 256 at once */
#define LARGE_BYTES   1500u
#define DEVICE_SEED   7u
#define CHECKPOINTED  6u
#define LINK_LOST     10u
#define LINK_BACK     12u
#define WAL_RESTARTED 17u
#define WAL_TRUNCATED 23u

static const char TABLES[] =
    "CREATE TABLE published (n INTEGER PRIMARY KEY, txn INTEGER NOT NULL, id TEXT NOT NULL, lane INTEGER NOT NULL,"
    " seq INTEGER NOT NULL);"
    "CREATE TABLE effects (id TEXT PRIMARY KEY) WITHOUT ROWID;"
    "CREATE TABLE state (name TEXT PRIMARY KEY, value) WITHOUT ROWID;";

void machine_fail(machine *m, const char *what, const char *why)
{
    if (m->failure[0] == '\0')
        snprintf(m->failure, sizeof m->failure, "%.120s: %.250s", what, why);
}

static void check_code(machine *m, busbar *bus, int code, const char *what)
{
    busbar_error error = {.code = 0};
    if (code >= 0)
        return;
    busbar_error_get(bus, &error);
    machine_fail(m, what, error.text);
}

static void execute(machine *m, sqlite3 *db, const char *text)
{
    char *message = NULL;
    if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK)
        machine_fail(m, text, message ? message : sqlite3_errmsg(db));
    sqlite3_free(message);
}

int64_t machine_integer(sqlite3 *db, const char *text)
{
    sqlite3_stmt *stmt = NULL;
    int64_t value = -1;
    if (sqlite3_prepare_v2(db, text, -1, &stmt, NULL) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW)
        value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return value;
}

int machine_published(sqlite3 *db, published rows[HISTORY_MAX])
{
    sqlite3_stmt *stmt = NULL;
    int count = 0;
    int native = sqlite3_prepare_v2(db, "SELECT txn, id, lane, seq, n FROM published ORDER BY n", -1, &stmt, NULL);
    while (native == SQLITE_OK && (native = sqlite3_step(stmt)) == SQLITE_ROW && count < HISTORY_MAX) {
        rows[count] = (published){
            .txn = sqlite3_column_int64(stmt, 0),
            .id = history_id((const char *)sqlite3_column_text(stmt, 1)),
            .lane = (busbar_lane)sqlite3_column_int(stmt, 2),
            .seq = sqlite3_column_int64(stmt, 3),
        };
        native = sqlite3_column_int64(stmt, 4) == ++count ? SQLITE_OK : SQLITE_CORRUPT;
    }
    sqlite3_finalize(stmt);
    return native == SQLITE_DONE ? count : -1;
}

/* ---- What the device does ---------------------------------------------------------------------------------------- */

/* The event and the row that tells of it; in a transaction. */
static void publish_with_row(machine *m, busbar *bus, sqlite3 *db, const busbar_event *event)
{
    char text[600];
    busbar_id id;
    int result = busbar_publish(bus, event, &id);
    check_code(m, bus, result, "publish");
    if (result != BUSBAR_OK)
        return;
    history_note(&m->history->told, history_id(id.text), busbar_sim_disk_op_count(m->disk));
    snprintf(text, sizeof text,
             "INSERT INTO published (txn, id, lane, seq) VALUES (%lld, '%s', %d, %lld);"
             "INSERT OR REPLACE INTO state VALUES ('last', %lld)",
             (long long)m->txn, id.text, (int)id.lane, (long long)id.seq, (long long)id.seq);
    execute(m, db, text);
}

static void publish_one(machine *m, unsigned i, unsigned j)
{
    static const busbar_lane lanes[] = {BUSBAR_NORMAL, BUSBAR_URGENT, BUSBAR_NORMAL, BUSBAR_BULK, BUSBAR_NORMAL};
    static const char *const types[] = {"state.changed", "door.opened", "pump.alarm"};
    char given[32];
    char data[LARGE_BYTES + 64];
    snprintf(given, sizeof given, "given-%lld-%u", (long long)m->txn, j);
    int size = snprintf(data, sizeof data, "{\"i\":%u,\"j\":%u,\"pad\":\"%0*d\"}", i, j,
                        i % 6 == 4 ? (int)LARGE_BYTES : 60, (int)i);
    busbar_event event = {
        .size = sizeof event,
        .type = types[(i + j) % 3],
        .id = i % 4 == 1 ? given : NULL,
        .data = data,
        .data_size_bytes = (size_t)size,
        .lane = lanes[(i + j) % 5],
        .ttl_ms = (i + j) % 4 == 1 ? m->setting->ttl_ms : 0,
    };
    publish_with_row(m, m->bus, m->db, &event);
}

static void publish_in_savepoint(machine *m, unsigned i, unsigned j, bool keep)
{
    execute(m, m->db, "SAVEPOINT part");
    publish_one(m, i, j);
    execute(m, m->db, keep ? "RELEASE part" : "ROLLBACK TO part; RELEASE part");
}

void machine_transaction(machine *m, unsigned i)
{
    unsigned count = 1 + i % 4;
    bool keep = i % 7 != 6;
    m->txn++;
    execute(m, m->db, i % 2 ? "BEGIN" : "BEGIN IMMEDIATE");
    for (unsigned j = 0; j < count && m->failure[0] == '\0'; j++)
        publish_one(m, i, j);
    if (i % 5 == 2 || i % 5 == 3)
        publish_in_savepoint(m, i, count, i % 5 == 3);
    execute(m, m->db, keep && m->failure[0] == '\0' ? "COMMIT" : "ROLLBACK");
    if (keep && m->failure[0] == '\0')
        history_commit(m->history, (size_t)machine_integer(m->db, "SELECT count(*) FROM published"),
                       busbar_sim_disk_op_count(m->disk));
}

/* Transactional: writes, publishes, fails now and then. */
static busbar_verdict handle_inside(busbar *bus, const busbar_record *record, busbar_reason *reason, void *ctx)
{
    machine *m = ctx;
    char text[400];
    (void)reason;
    if (record->seq % 7 == 3 && record->attempt == 1)
        return BUSBAR_RETRY;
    if (record->seq % 11 == 5)
        return BUSBAR_DEAD;
    snprintf(text, sizeof text, "INSERT INTO effects VALUES ('%s')", record->id);
    execute(m, m->db, text);
    if (record->seq % 4 == 0) {
        busbar_event event = {.size = sizeof event, .type = "derived.seen"};
        m->txn++;
        publish_with_row(m, bus, m->db, &event);
    }
    return m->failure[0] == '\0' ? BUSBAR_DONE : BUSBAR_RETRY;
}

static busbar_verdict handle_outside(busbar *bus, const busbar_record *record, busbar_reason *reason, void *ctx)
{
    machine *m = ctx;
    (void)bus, (void)reason;
    history_note(&m->history->handled, history_id(record->id), busbar_sim_disk_op_count(m->disk));
    return BUSBAR_DONE;
}

static uint64_t count_of(const busbar_message *message)
{
    char payload[600];
    snprintf(payload, sizeof payload, "%.*s", (int)message->payload_size_bytes, (const char *)message->payload);
    const char *count = strstr(payload, "\"count\":");
    return count ? strtoull(count + 8, NULL, 10) : 0;
}

/* The peer. Its topics are the ids. */
static void receive(const busbar_message *message, void *ctx)
{
    machine *m = ctx;
    uint64_t id = history_id(message->topic);
    uint64_t op = busbar_sim_disk_op_count(m->disk);
    bool gap = strncmp(message->topic, "gap-", 4) == 0; /* of no event's */
    history_note(gap ? &m->history->gaps : &m->history->given, gap ? count_of(message) : id, op);
    if (!m->peer_waits)
        history_note(&m->history->acknowledged, id, op);
    else if (m->flight_count == MACHINE_WINDOW)
        machine_fail(m, "P3", "more messages in flight than the window allows");
    else
        m->flight[m->flight_count++] = id;
}

/* At most so many, the oldest first. How many it were. */
static size_t acknowledge(machine *m, size_t count)
{
    size_t acked = busbar_loopback_ack(m->transport, count);
    for (size_t i = 0; i < acked; i++)
        history_note(&m->history->acknowledged, m->flight[i], busbar_sim_disk_op_count(m->disk));
    m->flight_count -= acked;
    memmove(m->flight, m->flight + acked, m->flight_count * sizeof *m->flight);
    return acked;
}

static void set_link(machine *m, bool up)
{
    busbar_loopback_link(m->transport, up);
    m->flight_count = 0;
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static sqlite3 *open_database(machine *m)
{
    char text[400];
    sqlite3 *db = NULL;
    if (sqlite3_open_v2(MACHINE_FILE, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, busbar_sim_disk_vfs(m->disk)) !=
        SQLITE_OK)
        machine_fail(m, "open", sqlite3_errmsg(db));
    snprintf(text, sizeof text,
             "PRAGMA page_size=%d; PRAGMA journal_mode=%s; PRAGMA synchronous=%s; PRAGMA wal_autocheckpoint=%d",
             m->setting->page_bytes, m->setting->journal, m->setting->synchronous,
             m->setting->page_bytes == 1024 ? 30 : 0);
    execute(m, db, text);
    return db;
}

void machine_prepare(busbar_sim_disk *disk, const setting *s)
{
    machine m = {.setting = s, .disk = disk};
    sqlite3 *db = open_database(&m);
    execute(&m, db, TABLES);
    sqlite3_close(db);
    busbar_sim_disk_settle(disk);
}

static busbar *open_bus(machine *m, sqlite3 *db)
{
    busbar *bus = NULL;
    busbar_error error = {.code = 0};
    busbar_options options = {.size = sizeof options,
                              .port = busbar_sim_port(m->sim),
                              .source = "urn:test:device",
                              .keep_events = m->setting->prunes ? KEPT : 0,
                              .max_events = {m->setting->most, 0, m->setting->most}};
    if (busbar_open(&bus, db, &options, &error) != BUSBAR_OK)
        machine_fail(m, "busbar_open", error.text);
    return bus;
}

static void add_handlers(machine *m)
{
    const busbar_handler handlers[] = {
        {.size = sizeof *handlers,
         .name = "inside",
         .pattern = "state.#",
         .fn = handle_inside,
         .ctx = m,
         .start = BUSBAR_START_BEGINNING},
        {.size = sizeof *handlers,
         .name = "outside",
         .fn = handle_outside,
         .ctx = m,
         .start = BUSBAR_START_BEGINNING,
         .delivery = BUSBAR_OUTSIDE},
    };
    check_code(m, m->bus, busbar_subscribe(m->bus, handlers, 2), "subscribe");
}

static void add_route(machine *m, bool alone)
{
    busbar_loopback_options options = {
        .size = sizeof options, .receive = receive, .ctx = m, .window = MACHINE_WINDOW, .manual_ack = !alone};
    busbar_route route = {
        .size = sizeof route, .name = "up", .topic = "{id}", .window = MACHINE_WINDOW, .ack_group = MACHINE_ACK_GROUP};
    if (busbar_loopback_new(&options, &m->transport) != BUSBAR_OK)
        machine_fail(m, "busbar_loopback_new", "out of memory");
    else
        check_code(m, m->relay, busbar_route_add(m->relay, &route, m->transport), "route");
}

bool machine_start(machine *m, unsigned boots, bool alone)
{
    m->peer_waits = !alone;
    m->sim = busbar_sim_new(DEVICE_SEED);
    for (unsigned i = 0; i < boots; i++)
        busbar_sim_reboot(m->sim);
    m->db = open_database(m);
    m->bus = m->failure[0] ? NULL : open_bus(m, m->db);
    if (!m->bus)
        return false;
    if (m->journal_in_memory)
        execute(m, m->db, "PRAGMA journal_mode=MEMORY"); /* behind Busbar's back */
    check_code(m, m->bus, busbar_migrate(m->bus), "migrate");
    m->history->migrated_op = busbar_sim_disk_op_count(m->disk);
    m->relay_db = alone ? m->db : open_database(m);
    m->relay = alone ? m->bus : open_bus(m, m->relay_db);
    if (m->relay) {
        add_handlers(m);
        add_route(m, alone);
    }
    return m->failure[0] == '\0';
}

void machine_stop(machine *m)
{
    if (m->relay != m->bus)
        check_code(m, m->relay, busbar_close(m->relay), "close the relay's bus");
    check_code(m, m->bus, busbar_close(m->bus), "close");
    if (m->relay_db != m->db && sqlite3_close(m->relay_db) != SQLITE_OK)
        machine_fail(m, "close the relay's database", sqlite3_errmsg(m->relay_db));
    if (m->db && sqlite3_close(m->db) != SQLITE_OK)
        machine_fail(m, "close the database", sqlite3_errmsg(m->db));
    busbar_sim_free(m->sim);
}

/* What a step that did something changes. */
static uint64_t deeds(const machine *m)
{
    return busbar_sim_disk_op_count(m->disk) + m->history->given.count + m->history->handled.count;
}

void machine_work(machine *m, busbar *bus)
{
    uint64_t wait_us = 0;
    unsigned idle = 0;
    unsigned turns = 0;
    busbar_sim_disk_lie(m->disk, m->lies_in_steps);
    /* A relay without a descriptor looks after its transport every millisecond: not every wait is long. */
    for (; turns < TURNS && idle < IDLE_TURNS && wait_us <= TURN_US && m->failure[0] == '\0'; turns++) {
        uint64_t before = deeds(m);
        busbar_sim_advance(m->sim, wait_us > 0 ? wait_us : 10);
        check_code(m, bus, busbar_step(bus, STEP_US, &wait_us), "step");
        idle = deeds(m) == before ? idle + 1 : 0;
    }
    busbar_sim_disk_lie(m->disk, BUSBAR_SIM_DISK_LIE_NONE);
    if (turns == TURNS)
        machine_fail(m, "step", "does not come to rest");
}

/* ---- The workload ------------------------------------------------------------------------------------------------ */

static void maintain(machine *m, unsigned i)
{
    if (i % CHECKPOINTED == CHECKPOINTED - 1)
        execute(m, m->db, "PRAGMA wal_checkpoint(PASSIVE)");
    if (i == WAL_RESTARTED)
        execute(m, m->relay_db, "PRAGMA wal_checkpoint(RESTART)");
    if (i == WAL_TRUNCATED)
        execute(m, m->db, "PRAGMA wal_checkpoint(TRUNCATE)");
    if (i == LINK_LOST)
        set_link(m, false);
    if (i == LINK_BACK)
        set_link(m, true);
}

static void relay_some(machine *m, unsigned i)
{
    machine_work(m, m->relay);
    acknowledge(m, 2 + i % 3);
    machine_work(m, m->relay);
}

/* More events than are kept, and everybody has finished them. */
static void publish_many(machine *m)
{
    m->txn++;
    execute(m, m->db, "BEGIN");
    for (unsigned i = 0; i < MANY; i++) {
        busbar_event event = {.size = sizeof event, .type = "door.opened"};
        publish_with_row(m, m->bus, m->db, &event);
    }
    execute(m, m->db, "COMMIT");
    history_commit(m->history, (size_t)machine_integer(m->db, "SELECT count(*) FROM published"),
                   busbar_sim_disk_op_count(m->disk));
    for (unsigned i = 0; i < MANY && m->failure[0] == '\0'; i++) {
        machine_work(m, m->relay);
        acknowledge(m, SIZE_MAX);
        machine_work(m, m->bus);
        busbar_sim_advance(m->sim, TURN_US);
    }
}

static void read_rows(machine *m)
{
    int rows = machine_published(m->db, m->history->rows);
    if (rows < 0)
        machine_fail(m, "the table `published`", "cannot be read");
    m->history->row_count = rows < 0 ? 0 : (size_t)rows;
}

void machine_workload(machine *m)
{
    unsigned count = m->setting->prunes ? TRANSACTIONS / 4 : TRANSACTIONS;
    if (m->setting->prunes)
        publish_many(m);
    for (unsigned i = 0; i < count && m->failure[0] == '\0'; i++) {
        machine_transaction(m, i);
        if (i % 2 == 0)
            machine_work(m, m->bus);
        if (i % 3 != 1)
            relay_some(m, i);
        maintain(m, i);
        busbar_sim_advance(m->sim, TURN_US);
    }
    for (int i = 0; i < 100 && acknowledge(m, SIZE_MAX) + (i < 3) > 0; i++) {
        busbar_sim_advance(m->sim, 10 * TURN_US);
        machine_work(m, m->relay);
        machine_work(m, m->bus);
    }
    read_rows(m);
    if (m->setting->prunes && machine_integer(m->db, "SELECT count(*) FROM busbar_log_normal") >= (int64_t)MANY)
        machine_fail(m, "retention", "nothing was pruned");
    if (m->setting->most > 0 &&
        machine_integer(m->db, "SELECT max(evicted) FROM busbar_cursor") < (int64_t)m->setting->most)
        machine_fail(m, "bounds", "hardly anything was evicted");
    if (m->setting->ttl_ms > 0 && machine_integer(m->db, "SELECT count(DISTINCT consumer) FROM busbar_cursor"
                                                         " WHERE expired > 0") < 3)
        machine_fail(m, "time to live", "for one of the consumers nothing expired");
}
