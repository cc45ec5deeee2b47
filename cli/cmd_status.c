/* SPDX-License-Identifier: MIT */
/* busbar status: how the bus and its consumers are doing. */
#include "command.h"
#include "database.h"
#include "health.h"
#include "human.h"
#include "json_writer.h"
#include "out.h"
#include "table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: busbar status DATABASE [--json] [--max-pending N] [--max-age DURATION] ...\n"
    "\n"
    "Shows the lanes of the log, the consumers and their counters, and the sizes on disk.\n"
    "\n"
    "A database is unhealthy, and the exit code is 4, if a consumer has dead letters that are\n"
    "kept, a handler that is stuck (it takes longer than its limit), or events that have failed\n"
    "for five minutes without a success. A route without a connection is healthy. It is\n"
    "degraded, with exit code 0, while events have failed for a shorter time. More rules, and\n"
    "other limits:\n"
    "\n" HEALTH_HELP "\n"
    "In each lane, for each consumer, in positions of the log:\n"
    "  head - start + replayed = filtered + delivered + dead + expired + evicted + retrying\n"
    "                            + (head - cursor)\n"
    "retrying counts the parked ones too; dead also those that were dropped since.\n"
    "\n"
    "  --json            one object: database, schema_version, healthy, health (ok, degraded,\n"
    "                    unhealthy), reasons (each with health, rule, consumer, value and\n"
    "                    limit in ms, bytes or events, text), database_bytes,\n"
    "                    wal_bytes, free_bytes, wal_race (this SQLite can, very rarely,\n"
    "                    damage a WAL database that several connections write), clock (how\n"
    "                    well this run of the machine knows the time: quality, and fix_ms, how\n"
    "                    long ago the last clock fix was noted), scheduled, lanes (by\n"
    "                    name: head, first, watermark), and consumers (each with name,\n"
    "                    class, pattern, filter, order, worker, worked (it lives), last_error,\n"
    "                    offline, failing_ms, stuck_ms, pending, retrying, parked, dead,\n"
    "                    dropped, replayed, unmatched, expired, evicted, gaps and gap_events\n"
    "                    (runs of missed events that a route has still to tell, and the events in\n"
    "                    them), never_finished (no worker runs it, and none has ever finished\n"
    "                    an event), oldest_ms, rate_per_s, eta_s, lanes); what is not known is\n"
    "                    null\n";

enum { OPT_JSON = HEALTH_OPTION_COUNT };

static const option options[] = {HEALTH_OPTIONS, [OPT_JSON] = {"json", 0, OPTION_FLAG}};

/* Workers take the lanes in this order, and people look at them so. */
static const busbar_lane lanes[] = {BUSBAR_URGENT, BUSBAR_NORMAL, BUSBAR_BULK};
#define LANE_COUNT (sizeof lanes / sizeof lanes[0])

typedef struct report {
    const database *db;
    busbar_status status;
    health_report health;
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
        sum.expired += p->expired;
        sum.evicted += p->evicted;
        sum.filtered += p->filtered;
        sum.delivered += p->delivered;
    }
    return sum;
}

/* Dead letters that are kept: for somebody to do something about. */
static int64_t kept_count(const busbar_consumer_status *consumer)
{
    busbar_progress sum = sum_of(consumer);
    return sum.dead - sum.dropped;
}

/* No worker has ever finished anything of it: a mistyped name, or a program that was not started yet. */
static bool never_finished(const busbar_consumer_status *consumer)
{
    busbar_progress sum = sum_of(consumer);
    int64_t finished = sum.filtered + sum.delivered + sum.dead + sum.expired + sum.retrying;
    return !consumer->worked && finished == 0 && consumer->pending + sum.evicted > 0;
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
    json_bool(json, "worked", consumer->worked);
    json_text(json, "last_error", consumer->last_error);
    json_bool(json, "offline", consumer->offline);
    json_int(json, "failing_ms", consumer->failing_ms);
    json_int(json, "stuck_ms", consumer->stuck_ms);
    json_int(json, "pending", consumer->pending);
    json_int(json, "retrying", sum.retrying);
    json_int(json, "parked", sum.parked);
    json_int(json, "dead", sum.dead);
    json_int(json, "dropped", sum.dropped);
    json_int(json, "replayed", sum.replayed);
    json_int(json, "unmatched", sum.unmatched);
    json_int(json, "expired", sum.expired);
    json_int(json, "evicted", sum.evicted);
    json_int(json, "gaps", consumer->gap_count);
    json_int(json, "gap_events", consumer->gap_events);
    json_bool(json, "never_finished", never_finished(consumer));
    add_known(json, "oldest_ms", consumer->oldest_ms);
    if (consumer->rate_per_s > 0)
        json_number(json, "rate_per_s", consumer->rate_per_s);
    else
        json_null(json, "rate_per_s");
    add_known(json, "eta_s", consumer->eta_s);
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
    health_add_json(&self->health, json);
    add_known(json, "database_bytes", self->status.database_bytes);
    add_known(json, "wal_bytes", self->status.wal_bytes);
    add_known(json, "free_bytes", self->status.free_bytes);
    json_bool(json, "wal_race", self->status.wal_race);
    json_begin(json, "clock", '{');
    json_text(json, "quality", busbar_clock_name(self->status.clock_quality));
    add_known(json, "fix_ms", self->status.clock_fix_ms);
    json_end(json, '}');
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

/* Of this run of the machine: how well the times of its events are known. */
static void print_clock(const busbar_status *status)
{
    out_cell("clock", OUT_BOLD, 10);
    if (status->clock_fix_ms < 0)
        out_line("no fix noted since this machine was started");
    else
        out_line("%s, by a fix noted %s ago", busbar_clock_name(status->clock_quality),
                 human_duration(status->clock_fix_ms).text);
}

static void print_sizes(const report *self)
{
    const busbar_status *status = &self->status;
    health_print(&self->health);
    out_cell("database", OUT_BOLD, 10);
    out_line("%s, schema %d", self->db->path, status->schema_version);
    out_cell("size", OUT_BOLD, 10);
    out_line("%s, of it free %s, and WAL %s", human_bytes(status->database_bytes).text,
             human_bytes(status->free_bytes).text, status->wal_bytes < 0 ? "-" : human_bytes(status->wal_bytes).text);
    print_clock(status);
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

/* Nobody works it, and so nothing that it has not finished is ever deleted, but for the limits. */
static void print_unworked(const report *self, const busbar_consumer_status *consumer)
{
    if (consumer->worked || consumer->pending == 0)
        return;
    out_line("%s: %s, and keeps %s %s from being deleted; `busbar forget %s %s` gives it up", consumer->name,
             never_finished(consumer) ? "no worker runs it, or has ever finished an event" : "no worker runs it",
             human_count(consumer->pending).text, consumer->pending == 1 ? "event" : "events", self->db->path,
             consumer->name);
}

static void print_gaps(const busbar_consumer_status *consumer)
{
    bool route = consumer->class_ == BUSBAR_CLASS_ROUTE;
    if (consumer->gap_count > 0)
        out_line("%s: missed %s %s, in %s %s%s", consumer->name, human_count(consumer->gap_events).text,
                 consumer->gap_events == 1 ? "event" : "events", human_count(consumer->gap_count).text,
                 consumer->gap_count == 1 ? "gap" : "gaps", route ? ", which the receiver is still to be told" : "");
}

/* What only few consumers have; in tables it would be a column of dashes. */
static int print_particulars(const busbar_consumer_status *consumer, void *ctx)
{
    print_unworked(ctx, consumer);
    print_gaps(consumer);
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
        code = busbar_consumer_list(self->db->bus, print_particulars, self);
    return code == BUSBAR_OK ? print_counters(self) : code;
}

/* ---- The verb -------------------------------------------------------------------------------------------------------- */

static int report_on(report *self, const busbar_health_rules *rules, bool json)
{
    self->status.size = sizeof self->status;
    int code = busbar_status_get(self->db->bus, &self->status);
    if (code == BUSBAR_OK)
        code = health_judge(self->db->bus, rules, &self->health);
    if (code == BUSBAR_OK)
        code = json ? print_json(self) : print_text(self);
    if (code != BUSBAR_OK)
        return database_fail(self->db, code);
    return self->health.health == BUSBAR_HEALTH_UNHEALTHY ? EXIT_UNHEALTHY : EXIT_DONE;
}

static int run(const arguments *args)
{
    static report self; /* holds a table: too large for the stack's taste, and needed once */
    busbar_health_rules rules;
    database db;
    if (!health_rules_read(args, &rules))
        return EXIT_USAGE;
    int exit_code = database_open_reading(&db, args->operands[0]);
    if (exit_code != EXIT_DONE)
        return exit_code;
    self.db = &db;
    exit_code = report_on(&self, &rules, args->values[OPT_JSON] != NULL);
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
