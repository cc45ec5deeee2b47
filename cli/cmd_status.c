/* SPDX-License-Identifier: MIT */
/* busbar status: how the bus and its consumers are doing. */
#include "command.h"
#include "database.h"
#include "human.h"
#include "json_writer.h"
#include "out.h"
#include "table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: busbar status DATABASE [--json]\n"
    "\n"
    "Shows the lanes of the log, the consumers and their counters, and the sizes on disk.\n"
    "\n"
    "A database is unhealthy, and the exit code is 4, if a consumer has dead letters that are\n"
    "kept, has failed and not succeeded since (its last error), or has a handler that is stuck:\n"
    "it takes longer than its limit.\n"
    "\n"
    "In each lane, for each consumer, in positions of the log:\n"
    "  head - start + replayed = filtered + delivered + dead + expired + evicted + retrying\n"
    "                            + (head - cursor)\n"
    "retrying counts the parked ones too; dead also those that were dropped since.\n"
    "\n"
    "  --json            one object: database, schema_version, healthy, database_bytes,\n"
    "                    wal_bytes, free_bytes, wal_race (this SQLite can, very rarely,\n"
    "                    damage a WAL database that several connections write), scheduled,\n"
    "                    lanes (by name: head, first, watermark), and consumers (each with\n"
    "                    name, class, pattern, filter, order, worker, last_error, pending,\n"
    "                    retrying, parked, dead, dropped, replayed, unmatched, oldest_ms,\n"
    "                    rate_per_s, eta_s, stuck_ms, lanes); what is not known is null\n";

enum { OPT_JSON };

static const option options[] = {[OPT_JSON] = {"json", 0, OPTION_FLAG}};

/* Workers take the lanes in this order, and people look at them so. */
static const busbar_lane lanes[] = {BUSBAR_URGENT, BUSBAR_NORMAL, BUSBAR_BULK};
#define LANE_COUNT (sizeof lanes / sizeof lanes[0])

typedef struct report {
    const database *db;
    busbar_status status;
    bool healthy;
    json_writer json;
    table rows;
} report;

/* A consumer's counters over all lanes. */
static busbar_progress sum_of(const busbar_consumer_status *consumer)
{
    busbar_progress sum = {.dead = 0};
    for (size_t i = 0; i < LANE_COUNT; i++) {
        const busbar_progress *p = &consumer->progress[lanes[i]];
        sum.dead += p->dead;
        sum.retrying += p->retrying;
        sum.parked += p->parked;
        sum.dropped += p->dropped;
        sum.replayed += p->replayed;
        sum.unmatched += p->unmatched;
    }
    return sum;
}

/* Dead letters that are kept: for somebody to do something about. */
static int64_t kept_count(const busbar_consumer_status *consumer)
{
    busbar_progress sum = sum_of(consumer);
    return sum.dead - sum.dropped;
}

static const char *order_name(busbar_order order)
{
    if (order == BUSBAR_ORDER_STRICT)
        return "strict";
    return order == BUSBAR_ORDER_KEY ? "key" : "none";
}

static const char *class_name(busbar_class class_)
{
    return class_ == BUSBAR_CLASS_ROUTE ? "route" : "subscription";
}

static int judge(const busbar_consumer_status *consumer, void *ctx)
{
    report *self = ctx;
    if (kept_count(consumer) > 0 || consumer->last_error != NULL || consumer->stuck_ms > 0)
        self->healthy = false;
    return 0;
}

/* ---- JSON ------------------------------------------------------------------------------------------------------------ */

/* Numbers that can be unknown are negative then. */
static void add_known(json_writer *json, const char *key, int64_t value)
{
    if (value < 0)
        json_null(json, key);
    else
        json_int(json, key, value);
}

static void add_progress(json_writer *json, const busbar_progress *progress, busbar_lane lane)
{
    json_begin(json, busbar_lane_name(lane), '{');
    json_int(json, "start", progress->start);
    json_int(json, "cursor", progress->cursor);
    json_int(json, "filtered", progress->filtered);
    json_int(json, "delivered", progress->delivered);
    json_int(json, "dead", progress->dead);
    json_int(json, "expired", progress->expired);
    json_int(json, "evicted", progress->evicted);
    json_int(json, "retrying", progress->retrying);
    json_int(json, "parked", progress->parked);
    json_int(json, "dropped", progress->dropped);
    json_int(json, "replayed", progress->replayed);
    json_int(json, "unmatched", progress->unmatched);
    json_end(json, '}');
}

static int add_consumer(const busbar_consumer_status *consumer, void *ctx)
{
    report *self = ctx;
    json_writer *json = &self->json;
    busbar_progress sum = sum_of(consumer);
    json_begin(json, NULL, '{');
    json_text(json, "name", consumer->name);
    json_text(json, "class", class_name(consumer->class_));
    json_text(json, "pattern", consumer->pattern);
    json_text(json, "filter", consumer->filter);
    json_text(json, "order", order_name(consumer->order));
    json_text(json, "worker", consumer->worker);
    json_text(json, "last_error", consumer->last_error);
    json_int(json, "pending", consumer->pending);
    json_int(json, "retrying", sum.retrying);
    json_int(json, "parked", sum.parked);
    json_int(json, "dead", sum.dead);
    json_int(json, "dropped", sum.dropped);
    json_int(json, "replayed", sum.replayed);
    json_int(json, "unmatched", sum.unmatched);
    add_known(json, "oldest_ms", consumer->oldest_ms);
    if (consumer->rate_per_s > 0)
        json_number(json, "rate_per_s", consumer->rate_per_s);
    else
        json_null(json, "rate_per_s");
    add_known(json, "eta_s", consumer->eta_s);
    json_int(json, "stuck_ms", consumer->stuck_ms);
    json_begin(json, "lanes", '{');
    for (size_t i = 0; i < LANE_COUNT; i++)
        add_progress(json, &consumer->progress[lanes[i]], lanes[i]);
    json_end(json, '}');
    json_end(json, '}');
    return 0;
}

static void add_lane(json_writer *json, const busbar_status *status, busbar_lane lane)
{
    json_begin(json, busbar_lane_name(lane), '{');
    json_int(json, "head", status->head[lane]);
    json_int(json, "first", status->first[lane]);
    json_int(json, "watermark", status->watermark[lane]);
    json_end(json, '}');
}

static int print_json(report *self)
{
    json_writer *json = &self->json;
    json_begin(json, NULL, '{');
    json_text(json, "database", self->db->path);
    json_int(json, "schema_version", self->status.schema_version);
    json_bool(json, "healthy", self->healthy);
    add_known(json, "database_bytes", self->status.database_bytes);
    add_known(json, "wal_bytes", self->status.wal_bytes);
    add_known(json, "free_bytes", self->status.free_bytes);
    json_bool(json, "wal_race", self->status.wal_race);
    json_int(json, "scheduled", self->status.scheduled_count);
    json_begin(json, "lanes", '{');
    for (size_t i = 0; i < LANE_COUNT; i++)
        add_lane(json, &self->status, lanes[i]);
    json_end(json, '}');
    json_begin(json, "consumers", '[');
    int code = busbar_consumer_list(self->db->bus, add_consumer, self);
    json_end(json, ']');
    json_end(json, '}');
    if (code == BUSBAR_OK)
        json_print(json);
    return code;
}

/* ---- For people ------------------------------------------------------------------------------------------------------ */

static void print_sizes(const report *self)
{
    const busbar_status *status = &self->status;
    out_cell("health", OUT_BOLD, 10);
    out_cell(self->healthy ? "ok" : "unhealthy", self->healthy ? OUT_GOOD : OUT_BAD, 0);
    out_text("\n");
    out_cell("database", OUT_BOLD, 10);
    out_line("%s, schema %d", self->db->path, status->schema_version);
    out_cell("size", OUT_BOLD, 10);
    out_line("%s, of it free %s, and WAL %s", human_bytes(status->database_bytes).text,
             human_bytes(status->free_bytes).text, status->wal_bytes < 0 ? "-" : human_bytes(status->wal_bytes).text);
    if (status->scheduled_count > 0) {
        out_cell("scheduled", OUT_BOLD, 10);
        out_line("%s not due yet", human_count(status->scheduled_count).text);
    }
    if (status->wal_race) {
        out_cell("risk", OUT_BOLD, 10);
        out_line("this SQLite can, very rarely, damage a WAL database that several connections write; 3.51.3 cannot");
    }
    out_text("\n");
}

static void print_lanes(report *self)
{
    static const char *const headings[] = {"LANE", "EVENTS", "FIRST", "HEAD", "DURABLE TO"};
    const busbar_status *status = &self->status;
    table_begin(&self->rows, headings, sizeof headings / sizeof headings[0]);
    for (size_t i = 0; i < LANE_COUNT; i++) {
        busbar_lane lane = lanes[i];
        int64_t stored = status->first[lane] > 0 ? status->head[lane] - status->first[lane] + 1 : 0;
        human texts[] = {human_count(stored), human_count(status->first[lane]), human_count(status->head[lane]),
                         human_count(status->watermark[lane])};
        table_row(&self->rows, (table_cell[]){{busbar_lane_name(lane), OUT_PLAIN},
                                              {texts[0].text, OUT_PLAIN},
                                              {stored > 0 ? texts[1].text : NULL, OUT_PLAIN},
                                              {texts[2].text, OUT_PLAIN},
                                              {texts[3].text, OUT_PLAIN}});
    }
    table_end(&self->rows);
}

static human rate_text(double rate_per_s)
{
    human out = {"-"};
    if (rate_per_s > 0)
        snprintf(out.text, sizeof out.text, rate_per_s < 10 ? "%.1f/s" : "%.0f/s", rate_per_s);
    return out;
}

static int add_consumer_row(const busbar_consumer_status *consumer, void *ctx)
{
    report *self = ctx;
    human pending = human_count(consumer->pending);
    human oldest = human_duration(consumer->oldest_ms);
    busbar_progress sum = sum_of(consumer);
    human retrying = human_count(sum.retrying);
    human dead = human_count(kept_count(consumer));
    human rate = rate_text(consumer->rate_per_s);
    human eta = human_eta(consumer->pending > 0 ? consumer->eta_s : -1);
    table_cell cells[] = {
        {consumer->name, OUT_PLAIN},
        {class_name(consumer->class_), OUT_PLAIN},
        {consumer->pattern, OUT_PLAIN},
        {pending.text, OUT_PLAIN},
        {consumer->oldest_ms < 0 ? NULL : oldest.text, OUT_PLAIN},
        {retrying.text, sum.retrying > 0 ? OUT_WARNING : OUT_PLAIN},
        {dead.text, kept_count(consumer) > 0 ? OUT_BAD : OUT_PLAIN},
        {rate.text, OUT_PLAIN},
        {eta.text, OUT_PLAIN},
        {consumer->worker, OUT_PLAIN},
        {consumer->last_error, OUT_BAD},
    };
    table_row(&self->rows, cells);
    return 0;
}

static int print_consumers(report *self)
{
    static const char *const headings[] = {"CONSUMER", "CLASS", "TYPES", "PENDING", "OLDEST",    "RETRYING",
                                           "DEAD",     "RATE",  "ETA",   "WORKER",  "LAST ERROR"};
    out_text("\n");
    table_begin(&self->rows, headings, sizeof headings / sizeof headings[0]);
    int code = busbar_consumer_list(self->db->bus, add_consumer_row, self);
    table_end(&self->rows);
    return code;
}

static int add_counter_rows(const busbar_consumer_status *consumer, void *ctx)
{
    report *self = ctx;
    for (size_t i = 0; i < LANE_COUNT; i++) {
        const busbar_progress *p = &consumer->progress[lanes[i]];
        if (self->status.head[lanes[i]] == 0)
            continue; /* nothing was ever in this lane */
        int64_t values[] = {p->start,   p->cursor,  p->delivered, p->filtered, p->dead,     p->dropped,
                            p->expired, p->evicted, p->retrying,  p->parked,   p->replayed, p->unmatched};
        human texts[sizeof values / sizeof values[0]];
        table_cell cells[TABLE_COLUMNS_MAX] = {{consumer->name, OUT_PLAIN}, {busbar_lane_name(lanes[i]), OUT_PLAIN}};
        for (size_t j = 0; j < sizeof values / sizeof values[0]; j++) {
            texts[j] = human_count(values[j]);
            cells[2 + j] = (table_cell){texts[j].text, OUT_PLAIN};
        }
        table_row(&self->rows, cells);
    }
    return 0;
}

/* What only few consumers have; in tables it would be a column of dashes. */
static int print_particulars(const busbar_consumer_status *consumer, void *ctx)
{
    (void)ctx;
    if (consumer->filter != NULL)
        out_line("%s: only events with %s", consumer->name, consumer->filter);
    if (consumer->order != BUSBAR_ORDER_NONE)
        out_line("%s: order %s", consumer->name, order_name(consumer->order));
    if (consumer->stuck_ms > 0)
        out_line("%s: its handler is stuck, for %s", consumer->name, human_duration(consumer->stuck_ms).text);
    return 0;
}

static int print_counters(report *self)
{
    static const char *const headings[] = {"CONSUMER", "LANE",   "START",    "CURSOR",   "DELIVERED",
                                           "FILTERED", "DEAD",   "DROPPED",  "EXPIRED",  "EVICTED",
                                           "RETRYING", "PARKED", "REPLAYED", "UNMATCHED"};
    out_text("\n");
    table_begin(&self->rows, headings, sizeof headings / sizeof headings[0]);
    int code = busbar_consumer_list(self->db->bus, add_counter_rows, self);
    table_end(&self->rows);
    return code;
}

static int print_text(report *self)
{
    print_sizes(self);
    print_lanes(self);
    if (self->status.consumer_count == 0)
        return BUSBAR_OK;
    int code = print_consumers(self);
    if (code == BUSBAR_OK)
        code = busbar_consumer_list(self->db->bus, print_particulars, NULL);
    return code == BUSBAR_OK ? print_counters(self) : code;
}

/* ---- The verb -------------------------------------------------------------------------------------------------------- */

static int report_on(report *self, bool json)
{
    self->status.size = sizeof self->status;
    self->healthy = true;
    int code = busbar_status_get(self->db->bus, &self->status);
    if (code == BUSBAR_OK)
        code = busbar_consumer_list(self->db->bus, judge, self);
    if (code == BUSBAR_OK)
        code = json ? print_json(self) : print_text(self);
    if (code != BUSBAR_OK)
        return database_fail(self->db, code);
    return self->healthy ? EXIT_DONE : EXIT_UNHEALTHY;
}

static int run(const arguments *args)
{
    static report self; /* holds a table: too large for the stack's taste, and needed once */
    database db;
    int exit_code = database_open_reading(&db, args->operands[0]);
    if (exit_code != EXIT_DONE)
        return exit_code;
    self.db = &db;
    exit_code = report_on(&self, args->values[OPT_JSON] != NULL);
    database_close(&db);
    return exit_code;
}

const command cmd_status = {
    .name = "status",
    .summary = "show consumers, counters and sizes; exit code 4 if unhealthy",
    .help = help,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
