/* SPDX-License-Identifier: MIT */
#include "survivor.h"

#include <stdio.h>
#include <string.h>

/* What the survivor holds before anything is done with it. */
typedef struct finding {
    const run *run;
    uint64_t op;
    machine m;
    verdict v;
    published rows[HISTORY_MAX];
    size_t row_count;
    bool has_tables;
    int64_t cursor[BUSBAR_LANE_COUNT]; /* of the route */
    int64_t delivered;                 /* by the transactional subscription */
    int64_t evicted;                   /* from under the route, or expired for it */
} finding;

static void fault(finding *f, enum broken what, const char *text)
{
    if (f->v.broken == 0)
        snprintf(f->v.text, sizeof f->v.text, "%.250s", text);
    f->v.broken |= what;
}

static void fault_numbers(finding *f, enum broken what, const char *text, int64_t a, int64_t b)
{
    char line[300];
    snprintf(line, sizeof line, "%s: %lld, %lld", text, (long long)a, (long long)b);
    fault(f, what, line);
}

const char *survivor_names(unsigned broken)
{
    static const char *const names[BROKEN_KINDS] = {"file", "P1", "P2", "P3", "P4", "P5", "P7", "P8", "work"};
    static char text[64];
    text[0] = '\0';
    for (unsigned i = 0; i < BROKEN_KINDS; i++)
        if (broken & 1u << i)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", text[0] ? " " : "", names[i]);
    return text;
}

/* ---- The file ---------------------------------------------------------------------------------------------------- */

static sqlite3 *open_survivor(finding *f, busbar_sim_disk *survivor)
{
    sqlite3 *db = NULL;
    if (sqlite3_open_v2(MACHINE_FILE, &db, SQLITE_OPEN_READWRITE, busbar_sim_disk_vfs(survivor)) != SQLITE_OK)
        fault(f, BROKEN_FILE, sqlite3_errmsg(db));
    return db;
}

static void check_integrity(finding *f, sqlite3 *db)
{
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &stmt, NULL) != SQLITE_OK ||
        sqlite3_step(stmt) != SQLITE_ROW)
        fault(f, BROKEN_FILE, sqlite3_errmsg(db));
    else if (strcmp((const char *)sqlite3_column_text(stmt, 0), "ok") != 0)
        fault(f, BROKEN_FILE, (const char *)sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
}

/* ---- P1: state and log ------------------------------------------------------------------------------------------- */

/* Up to here events of a lane may have been pruned: nobody needs them any more, and the log has none below. */
static int64_t pruned_to(const finding *f, sqlite3 *db, int lane)
{
    static const char *const logs[] = {"normal", "urgent", "bulk"};
    char text[160];
    if (!f->run->setting->prunes && f->run->setting->most == 0)
        return 0;
    snprintf(
        text, sizeof text,
        "SELECT min((SELECT min(cursor) FROM busbar_cursor WHERE lane = %d), (SELECT min(seq) - 1 FROM busbar_log_%s))",
        lane, logs[lane]);
    return machine_integer(db, text);
}

static void check_event(finding *f, sqlite3_stmt *stmt, const published *rows, size_t count)
{
    busbar_lane lane = (busbar_lane)sqlite3_column_int(stmt, 0);
    int64_t seq = sqlite3_column_int64(stmt, 1);
    uint64_t id = history_id((const char *)sqlite3_column_text(stmt, 2));
    size_t i = 0;
    while (i < count && (rows[i].seq != seq || rows[i].lane != lane))
        i++;
    if (i == count || rows[i].id != id)
        fault_numbers(f, BROKEN_P1, "an event of the log has no row of its own in the state (lane, seq)", lane, seq);
}

/* Every event of the log has its row, and every row its event: as many of each, and each event is among the rows. */
static void check_log(finding *f, sqlite3 *db, const published *rows, size_t count)
{
    static const char list[] =
        "SELECT CASE lane WHEN 'urgent' THEN 1 WHEN 'normal' THEN 0 ELSE 2 END, seq, id FROM busbar_events";
    sqlite3_stmt *stmt = NULL;
    int64_t pruned[BUSBAR_LANE_COUNT];
    size_t events = 0;
    size_t expected = 0;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        pruned[lane] = pruned_to(f, db, lane);
    for (size_t i = 0; i < count; i++)
        expected += rows[i].seq > pruned[rows[i].lane];
    if (sqlite3_prepare_v2(db, list, -1, &stmt, NULL) != SQLITE_OK)
        fault(f, BROKEN_P1, sqlite3_errmsg(db));
    for (; stmt && sqlite3_step(stmt) == SQLITE_ROW; events++)
        check_event(f, stmt, rows, count);
    sqlite3_finalize(stmt);
    if (events != expected)
        fault_numbers(f, BROKEN_P1, "the log and the state differ in size", (int64_t)events, (int64_t)expected);
}

/* What is there is what was there after some whole number of transactions. */
static void check_prefix(finding *f)
{
    const history *h = f->run->history;
    if (f->row_count > h->row_count) {
        fault_numbers(f, BROKEN_P1, "more rows than were ever written", (int64_t)f->row_count, (int64_t)h->row_count);
        return;
    }
    for (size_t i = 0; i < f->row_count; i++)
        if (f->rows[i].id != h->rows[i].id || f->rows[i].txn != h->rows[i].txn)
            fault_numbers(f, BROKEN_P1, "another row than was written", (int64_t)i, f->rows[i].txn);
    if (f->row_count > 0 && f->row_count < h->row_count && h->rows[f->row_count - 1].txn == h->rows[f->row_count].txn)
        fault_numbers(f, BROKEN_P1, "a transaction is there in part (its number, rows)", h->rows[f->row_count].txn,
                      (int64_t)f->row_count);
}

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

/* How many of the last commits SQLite may lose in this mode (sqlite.org/pragma.html#pragma_synchronous); -1: any. */
static int commits_at_risk(const setting *s)
{
    bool normal = is(s->synchronous, "normal");
    if (is(s->journal, "wal"))
        return normal ? -1 : 0;
    if (is(s->journal, "delete")) /* the directory is synced with EXTRA only */
        return is(s->synchronous, "extra") ? 0 : 1;
    return is(s->journal, "truncate") && normal ? 1 : 0;
}

/* A transaction whose commit had returned is still there, as far as the setting promises it. */
static void check_durable(finding *f)
{
    const history *h = f->run->history;
    int at_risk = commits_at_risk(f->run->setting);
    size_t returned = 0;
    while (returned < h->commit_count && h->commits[returned].op <= f->op)
        returned++;
    if (at_risk < 0 || returned <= (size_t)at_risk)
        return;
    size_t rows = h->commits[returned - 1 - (size_t)at_risk].rows;
    if (f->row_count < rows)
        fault_numbers(f, BROKEN_P1, "a transaction whose commit had returned is gone (rows, expected)",
                      (int64_t)f->row_count, (int64_t)rows);
}

static void check_state(finding *f, sqlite3 *db)
{
    int64_t tables = machine_integer(db, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'busbar_%'");
    int rows = machine_published(db, f->rows);
    f->row_count = rows < 0 ? 0 : (size_t)rows;
    f->has_tables = tables > 0;
    if (rows < 0)
        fault(f, BROKEN_P1, "the application's table has holes or cannot be read");
    check_prefix(f);
    check_durable(f);
    if (f->has_tables)
        check_log(f, db, f->rows, f->row_count);
    else if (f->row_count > 0)
        fault(f, BROKEN_P1, "there are events' rows, but no log");
    if (!f->has_tables && commits_at_risk(f->run->setting) == 0 && f->run->history->migrated_op <= f->op)
        fault(f, BROKEN_P1, "the tables had been created and are gone");
}

/* ---- P2 ---------------------------------------------------------------------------------------------------------- */

static bool has_row(const finding *f, uint64_t id)
{
    for (size_t i = f->row_count; i > 0; i--)
        if (f->rows[i - 1].id == id)
            return true;
    return false;
}

static void check_given(finding *f, const seen_list *list, const char *text)
{
    for (size_t i = 0; i < list->count && list->at[i].op <= f->op; i++)
        if (!has_row(f, list->at[i].id))
            fault_numbers(f, BROKEN_P2, text, (int64_t)i, (int64_t)f->row_count);
}

/* ---- P7, P8: the counters ---------------------------------------------------------------------------------------- */

typedef struct balance {
    finding *f;
    const busbar_status *status;
} balance;

static int check_consumer(const busbar_consumer_status *consumer, void *ctx)
{
    balance *b = ctx;
    finding *f = b->f;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        const busbar_progress *p = &consumer->progress[lane];
        int64_t head = b->status->head[lane];
        if (head - p->start !=
            p->filtered + p->delivered + p->dead + p->expired + p->evicted + p->retrying + (head - p->cursor))
            fault_numbers(f, BROKEN_P8, consumer->name, lane, p->cursor);
        if (p->cursor > head)
            fault_numbers(f, BROKEN_P8, "a cursor is beyond the log", p->cursor, head);
        if (is(consumer->name, "up")) {
            f->cursor[lane] = p->cursor;
            f->evicted += p->evicted + p->expired;
        }
        if (is(consumer->name, "inside"))
            f->delivered += p->delivered;
    }
    return 0;
}

static int add_finding(const busbar_finding *found, void *ctx)
{
    finding *f = ctx;
    fault(f, strcmp(found->part, "file") == 0 ? BROKEN_FILE : BROKEN_P8, found->text);
    return 0;
}

static void check_counters(finding *f, busbar *bus, sqlite3 *db, const seen_list *gaps, uint64_t op)
{
    busbar_status status = {.size = sizeof status};
    balance b = {.f = f, .status = &status};
    memset(f->cursor, 0, sizeof f->cursor);
    f->delivered = 0;
    f->evicted = 0;
    if (busbar_status_get(bus, &status) != BUSBAR_OK || busbar_consumer_list(bus, check_consumer, &b) != BUSBAR_OK ||
        busbar_check(bus, add_finding, f) != BUSBAR_OK) {
        busbar_error error = {.code = 0};
        busbar_error_get(bus, &error);
        fault(f, BROKEN_WORK, error.text);
    }
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        if (status.watermark[lane] > status.head[lane])
            fault_numbers(f, BROKEN_P2, "the watermark is above the log", status.watermark[lane], status.head[lane]);
    /* Subscriptions tell nobody: what they have missed is in their gaps, all of it and nothing else. */
    int64_t untold = machine_integer(db, "SELECT count(*) FROM busbar_cursor AS c JOIN busbar_consumer AS o"
                                         " ON o.id = c.consumer WHERE o.class = 1 AND evicted + expired <>"
                                         " (SELECT coalesce(sum(count), 0) FROM busbar_gap AS g"
                                         " WHERE g.consumer = c.consumer AND g.lane = c.lane)");
    if (untold != 0)
        fault_numbers(f, BROKEN_P8, "gaps and what was missed differ (lanes)", untold, 0);
    int64_t told = machine_integer(db, "SELECT coalesce(sum(count), 0) FROM busbar_gap AS g JOIN busbar_consumer AS o"
                                       " ON o.id = g.consumer WHERE o.name = 'up'");
    for (size_t i = 0; i < gaps->count && gaps->at[i].op <= op; i++)
        told += (int64_t)gaps->at[i].id;
    if (told < f->evicted)
        fault_numbers(f, BROKEN_P8, "the route has told of less than was evicted and expired", told, f->evicted);
    int64_t effects = machine_integer(db, "SELECT count(*) FROM effects");
    if (effects != f->delivered)
        fault_numbers(f, BROKEN_P7, "effects and deliveries recorded", effects, f->delivered);
}

/* ---- P3: the relay ----------------------------------------------------------------------------------------------- */

/* The cursor has passed nothing that was not acknowledged, and not too much that was given lies above it. */
static void check_cursor(finding *f)
{
    const history *h = f->run->history;
    size_t again = 0;
    int64_t evicted = f->evicted;
    int at_risk = commits_at_risk(f->run->setting);
    for (size_t i = 0; i < f->row_count; i++) {
        const published *row = &f->rows[i];
        if (row->seq > f->cursor[row->lane])
            again += history_has(&h->given, h->given_before, row->id, f->op);
        else if (!history_has(&h->acknowledged, 0, row->id, f->op) && --evicted < 0)
            fault_numbers(f, BROKEN_P3, "recorded as delivered, but never acknowledged (lane, seq)", row->lane,
                          row->seq);
    }
    size_t allowed = MACHINE_WINDOW + MACHINE_ACK_GROUP + (at_risk > 0 ? MACHINE_ACK_GROUP : 0);
    if (at_risk >= 0 && again > allowed)
        fault_numbers(f, BROKEN_P3, "too much would be sent again (messages, allowed)", (int64_t)again,
                      (int64_t)allowed);
}

/* After the cut the relay sends exactly what lies above its cursor, in the order of each lane. */
static void check_sent(finding *f, const int64_t cursor[BUSBAR_LANE_COUNT], int64_t before_evicted,
                       const history *after, size_t before)
{
    const published *rows = after->rows;
    size_t expected = 0;
    size_t missed = 0;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        size_t at = before;
        for (size_t i = 0; i < after->row_count; i++) {
            if (rows[i].lane != (busbar_lane)lane || rows[i].seq <= cursor[lane])
                continue;
            expected++;
            size_t found = before;
            while (found < after->given.count && after->given.at[found].id != rows[i].id)
                found++;
            if (found == after->given.count && f->evicted > before_evicted)
                missed++;
            else if (found == after->given.count)
                fault_numbers(f, BROKEN_P3, "never arrived (lane, seq)", lane, rows[i].seq);
            else if (found < at)
                fault_numbers(f, BROKEN_P4, "arrived out of order (lane, seq)", lane, rows[i].seq);
            else
                at = found + 1;
        }
    }
    if (missed > (size_t)(f->evicted - before_evicted))
        fault_numbers(f, BROKEN_P8, "never arrived, and counted as evicted", (int64_t)missed,
                      f->evicted - before_evicted);
    expected -= missed;
    if (after->given.count - before != expected)
        fault_numbers(f, BROKEN_P3, "messages sent after the cut, and expected", (int64_t)(after->given.count - before),
                      (int64_t)expected);
}

/* ---- P5 ---------------------------------------------------------------------------------------------------------- */

/* No id that a publisher was told after the cut had been told before it. */
static void check_ids(finding *f, const history *after, size_t before)
{
    for (size_t i = before; i < after->told.count; i++)
        for (size_t j = 0; j < before; j++)
            if (after->told.at[i].id == after->told.at[j].id)
                fault_numbers(f, BROKEN_P5, "an id was given twice", (int64_t)i, (int64_t)j);
}

/* ---- All of it --------------------------------------------------------------------------------------------------- */

static void look(finding *f, busbar_sim_disk *survivor)
{
    sqlite3 *db = open_survivor(f, survivor);
    if (f->v.broken == 0)
        check_integrity(f, db);
    if (f->v.broken == 0)
        check_state(f, db);
    if ((f->v.broken & BROKEN_FILE) == 0) {
        check_given(f, &f->run->history->given, "the transport was given what is gone");
        check_given(f, &f->run->history->handled, "an outside handler was given what is gone");
    }
    sqlite3_close(db);
}

/* The device is switched on again, catches up, and goes on. */
static void go_on(finding *f, history *after)
{
    machine *m = &f->m;
    size_t given = after->given.count;
    size_t told = after->told.count;
    int64_t cursor[BUSBAR_LANE_COUNT];
    if (machine_start(m, f->run->boots + 1, true)) {
        check_counters(f, m->bus, m->db, &f->run->history->gaps, f->op);
        memcpy(cursor, f->cursor, sizeof cursor);
        int64_t evicted = f->evicted;
        check_cursor(f);
        machine_transaction(m, 5);
        machine_work(m, m->bus);
        busbar_sim_advance(m->sim, 1000000); /* retries are due, too */
        machine_transaction(m, 8);
        machine_work(m, m->bus);
        int rows = machine_published(m->db, after->rows);
        after->row_count = rows < 0 ? 0 : (size_t)rows;
        check_counters(f, m->bus, m->db, &after->gaps, UINT64_MAX);
        check_sent(f, cursor, evicted, after, given);
        check_ids(f, after, told);
        check_log(f, m->db, after->rows, after->row_count);
    }
    machine_stop(m);
    if (m->failure[0] != '\0')
        fault(f, BROKEN_WORK, m->failure);
}

verdict survivor_check(const run *r, uint64_t op, uint64_t seed, busbar_sim_disk *survivor, history *after)
{
    finding f = {.run = r, .op = op};
    history_inherit(after, r->history, op);
    int result = busbar_sim_disk_cut(r->disk, op, seed, survivor);
    if (result != BUSBAR_OK) {
        fault(&f, BROKEN_WORK, busbar_error_name(result));
        return f.v;
    }
    busbar_sim_disk_repeatable(survivor, seed);
    f.m = (machine){.setting = r->setting, .disk = survivor, .history = after, .txn = 1000 * (r->boots + 1)};
    look(&f, survivor);
    if (f.v.broken == 0)
        go_on(&f, after);
    return f.v;
}
