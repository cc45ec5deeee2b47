/* SPDX-License-Identifier: MIT */
/* busbar list: the events in the log, or how they stand with one consumer. */
#include "command.h"
#include "database.h"
#include "event_json.h"
#include "human.h"
#include "json_writer.h"
#include "out.h"
#include "standing.h"
#include "table.h"
#include "value.h"

#include <inttypes.h>
#include <stdio.h>

#define TABLE_LIMIT_DEFAULT 100
#define STOP                1 /* what a callback returns to end the listing */

static const char help[] = "usage: busbar list DATABASE [--OPTION...]\n"
                           "\n"
                           "Lists events: urgent, normal, bulk, each in order.\n"
                           "\n"
                           "  --type PATTERN    only events of these types; * is one segment, # any number: door.#\n"
                           "  --consumer NAME   only what this consumer has not finished, with its state\n"
                           "  --state STATE     pending, retry, dead, parked or done, with --consumer; or scheduled:\n"
                           "                    what is not due yet, and so of no consumer\n"
                           "  --lane LANE       urgent, normal or bulk\n"
                           "  --since TIME      not older than this: 2026-05-01T12:00:00Z, 2026-05-01, 10m, 2h, 3d;\n"
                           "                    events whose time is not known are listed too\n"
                           "  --limit N         at most N events, 0 for all (default: 100; all with --json)\n"
                           "  --json            one object a line: lane, seq, size_bytes, redacted, event (a\n"
                           "                    CloudEvent, without its data if redacted is true), and with\n"
                           "                    --consumer: consumer, state, attempts, reason, first_ms, last_ms\n"
                           "  --reveal          with --json: show data that are redacted\n"
                           "\n"
                           "Tables cut long cells, but never ids; --json has everything. The time is that of\n"
                           "publishing, \"-\" if it is not known.\n";

enum { OPT_TYPE, OPT_CONSUMER, OPT_STATE, OPT_LANE, OPT_SINCE, OPT_LIMIT, OPT_JSON, OPT_REVEAL };

static const option options[] = {
    [OPT_TYPE] = {"type", 0, OPTION_VALUE},   [OPT_CONSUMER] = {"consumer", 0, OPTION_VALUE},
    [OPT_STATE] = {"state", 0, OPTION_VALUE}, [OPT_LANE] = {"lane", 0, OPTION_VALUE},
    [OPT_SINCE] = {"since", 0, OPTION_VALUE}, [OPT_LIMIT] = {"limit", 0, OPTION_VALUE},
    [OPT_JSON] = {"json", 0, OPTION_FLAG},    [OPT_REVEAL] = {"reveal", 0, OPTION_FLAG},
};

typedef struct listing {
    busbar_query query;
    uint64_t limit; /* 0: none */
    uint64_t count;
    bool json;
    bool reveal;
    bool cut; /* there is more than the limit */
    table rows;
} listing;

/* ---- What is asked for ----------------------------------------------------------------------------------------------- */

static int read_since(const arguments *args, busbar_query *query)
{
    const busbar_port *port = busbar_linux_port();
    const char *text = args->values[OPT_SINCE];
    int64_t now_ms = 0;
    if (text == NULL)
        return EXIT_DONE;
    bool clock_set = port->wall_ms(port->ctx, &now_ms) != BUSBAR_CLOCK_UNKNOWN;
    uint64_t ago_ms;
    if (!clock_set && value_duration(text, &ago_ms)) {
        out_error("--since %s needs to know the time, and this machine's clock is not set; give a date", text);
        return EXIT_FAILED;
    }
    if (!value_since(text, now_ms, &query->since_ms))
        return arguments_fail(
            args, "--since is a time (2026-05-01T12:00:00Z), a date or a duration (10m, 2h, 3d), not \"%s\"", text);
    if (query->since_ms < 1)
        query->since_ms = 1; /* zero would mean all, which is the same before any event was published */
    return EXIT_DONE;
}

/* One lane is asked for by starting behind the end of the others. */
static int read_lane(const arguments *args, busbar_query *query)
{
    busbar_lane lane;
    if (args->values[OPT_LANE] == NULL)
        return EXIT_DONE;
    if (!value_lane(args->values[OPT_LANE], &lane))
        return arguments_fail(args, "--lane is %s, not \"%s\"", VALUE_LANES, args->values[OPT_LANE]);
    for (int i = 0; i < BUSBAR_LANE_COUNT; i++)
        query->after_seq[i] = i == (int)lane ? 0 : INT64_MAX - 1;
    return EXIT_DONE;
}

static int read_state(const arguments *args, busbar_query *query)
{
    const char *state = args->values[OPT_STATE];
    if (state == NULL)
        return EXIT_DONE;
    if (!value_state(state, &query->state))
        return arguments_fail(args, "--state is %s, not \"%s\"", VALUE_STATES, state);
    if (query->state == BUSBAR_STATE_SCHEDULED && query->consumer != NULL)
        return arguments_fail(args,
                              "--state scheduled does not go with --consumer: what is not due yet is of no consumer");
    if (query->state != BUSBAR_STATE_SCHEDULED && query->consumer == NULL)
        return arguments_fail(args, "--state needs --consumer: an event has a state for each consumer");
    return EXIT_DONE;
}

static int read_limit(const arguments *args, listing *out)
{
    const char *limit = args->values[OPT_LIMIT];
    out->limit = out->json ? 0 : TABLE_LIMIT_DEFAULT;
    if (limit != NULL && !value_number(limit, INT32_MAX, &out->limit))
        return arguments_fail(args, "--limit is a number, 0 for all, not \"%s\"", limit);
    out->query.limit = out->limit > 0 ? out->limit + 1 : 0; /* one more tells whether there is more */
    return EXIT_DONE;
}

static int read_query(const arguments *args, listing *out)
{
    out->json = args->values[OPT_JSON] != NULL;
    out->reveal = args->values[OPT_REVEAL] != NULL;
    out->query = (busbar_query){
        .size = sizeof out->query, .pattern = args->values[OPT_TYPE], .consumer = args->values[OPT_CONSUMER]};
    int exit_code = read_since(args, &out->query);
    if (exit_code == EXIT_DONE)
        exit_code = read_lane(args, &out->query);
    if (exit_code == EXIT_DONE)
        exit_code = read_state(args, &out->query);
    if (exit_code == EXIT_DONE)
        exit_code = read_limit(args, out);
    return exit_code;
}

/* ---- What is printed ------------------------------------------------------------------------------------------------- */

static const char *const headings[] = {"ID",   "LANE",  "TYPE",     "SOURCE",       "TIME",
                                       "SIZE", "STATE", "ATTEMPTS", "LAST FAILURE", "REASON"};
#define COLUMNS_PLAIN    6
#define COLUMNS_STANDING (COLUMNS_PLAIN + STANDING_COLUMNS)

static void print_row(listing *self, const busbar_record *event, const busbar_standing *standing)
{
    human time = human_event_time(event);
    human size = human_bytes((int64_t)event->data_size_bytes);
    standing_texts texts = {.attempts = ""};
    char sizes[HUMAN_SIZE + 16];
    snprintf(sizes, sizeof sizes, "%s%s", size.text, event_json_hides(event, false) ? ", redacted" : "");
    table_cell cells[COLUMNS_STANDING] = {
        {event->id, OUT_PLAIN},   {busbar_lane_name(event->lane), OUT_PLAIN},
        {event->type, OUT_PLAIN}, {event->source, OUT_PLAIN},
        {time.text, OUT_PLAIN},   {sizes, OUT_PLAIN},
    };
    if (standing != NULL)
        standing_cells(standing, &texts, cells + COLUMNS_PLAIN);
    table_row(&self->rows, cells);
}

static void print_object(const listing *self, const busbar_record *event, const busbar_standing *standing)
{
    json_writer json = {0};
    bool hides = event_json_hides(event, self->reveal);
    busbar_record bare = event_json_without_data(event);
    json_begin(&json, NULL, '{');
    json_text(&json, "lane", busbar_lane_name(event->lane));
    json_int(&json, "seq", event->seq);
    json_int(&json, "size_bytes", (int64_t)event->data_size_bytes);
    json_bool(&json, "redacted", hides);
    event_json_member(&json, "event", hides ? &bare : event);
    if (standing != NULL)
        standing_members(&json, standing);
    json_end(&json, '}');
    json_print(&json);
}

static int print_event(const busbar_record *event, const busbar_standing *standing, void *ctx)
{
    listing *self = ctx;
    self->cut = self->limit > 0 && self->count == self->limit;
    if (self->cut || out_is_broken())
        return STOP;
    self->count++;
    if (self->json)
        print_object(self, event, standing);
    else
        print_row(self, event, standing);
    return 0;
}

static int list(const database *db, listing *self)
{
    if (!self->json)
        table_begin(&self->rows, headings, self->query.consumer != NULL ? COLUMNS_STANDING : COLUMNS_PLAIN);
    int code = busbar_list(db->bus, &self->query, print_event, self);
    if (code == BUSBAR_ENOTFOUND) {
        out_error("%s: there is no consumer \"%s\"; `busbar status` names those there are", db->path,
                  self->query.consumer);
        return EXIT_NOT_FOUND;
    }
    if (!self->json && (code >= 0 || self->count > 0))
        table_end(&self->rows);
    if (code < 0)
        return database_fail_query(db, code, self->query.pattern);
    if (self->cut)
        out_note("there are more than %" PRIu64 " events; --limit N shows more, --limit 0 all", self->limit);
    return EXIT_DONE;
}

static int run(const arguments *args)
{
    static listing self; /* holds a table: too large for the stack's taste, and needed once */
    database db;
    int exit_code = read_query(args, &self);
    if (exit_code == EXIT_DONE)
        exit_code = database_open_reading(&db, args->operands[0]);
    if (exit_code != EXIT_DONE)
        return exit_code;
    exit_code = list(&db, &self);
    database_close(&db);
    return exit_code;
}

const command cmd_list = {
    .name = "list",
    .summary = "list events, or what a consumer has not finished",
    .help = help,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
