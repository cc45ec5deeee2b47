/* SPDX-License-Identifier: MIT */
/* busbar show: one event, and how each consumer stands to it. */
#include "command.h"
#include "database.h"
#include "event_json.h"
#include "human.h"
#include "out.h"
#include "standing.h"
#include "table.h"

#include <inttypes.h>
#include <stdio.h>

static const char help[] = "usage: busbar show DATABASE ID [--json] [--reveal]\n"
                           "\n"
                           "Shows the event with this id (of each source that gave it) as CloudEvents JSON, and below\n"
                           "it how each consumer stands to it. Exit code 3 if there is no such event.\n"
                           "\n"
                           "  --json            one object a line: lane, seq, event (a CloudEvent), consumers (each\n"
                           "                    with consumer, state, attempts, reason, first_ms, last_ms); and\n"
                           "                    redacted, which is true if the event's data are left out\n"
                           "  --reveal          show data that are redacted\n";

enum { OPT_JSON, OPT_REVEAL };

static const option options[] = {[OPT_JSON] = {"json", 0, OPTION_FLAG}, [OPT_REVEAL] = {"reveal", 0, OPTION_FLAG}};

/* One event is begun by its callback and ended by the next one's, or by the end of all. */
typedef struct showing {
    bool json;
    bool reveal;
    bool begun;
    bool has_consumers;
    uint64_t count;
    json_writer object;
    table consumers;
} showing;

static const char *const headings[] = {"CONSUMER", "STATE", "ATTEMPTS", "LAST FAILURE", "REASON"};
#define COLUMNS (1 + STANDING_COLUMNS)

/* ---- JSON ------------------------------------------------------------------------------------------------------------ */

static void begin_object(showing *self, const busbar_record *event)
{
    json_begin(&self->object, NULL, '{');
    json_text(&self->object, "lane", busbar_lane_name(event->lane));
    json_int(&self->object, "seq", event->seq);
    bool hides = event_json_hides(event, self->reveal);
    busbar_record bare = event_json_without_data(event);
    json_bool(&self->object, "redacted", hides);
    event_json_member(&self->object, "event", hides ? &bare : event);
    json_begin(&self->object, "consumers", '[');
}

static void add_to_object(showing *self, const busbar_standing *standing)
{
    json_begin(&self->object, NULL, '{');
    standing_members(&self->object, standing);
    json_end(&self->object, '}');
}

static void end_object(showing *self)
{
    json_end(&self->object, ']');
    json_end(&self->object, '}');
    json_print(&self->object);
}

/* ---- For people ------------------------------------------------------------------------------------------------------ */

static const char *clock_name(busbar_clock_quality quality)
{
    return quality == BUSBAR_CLOCK_TRUSTED ? "" : " (estimated: by a clock that was not synchronised)";
}

static void print_header(const busbar_record *event)
{
    char position[48] = "not due yet";
    if (event->seq > 0)
        snprintf(position, sizeof position, "position %" PRId64, event->seq);
    if (event->time_ms == BUSBAR_TIME_UNKNOWN)
        out_line("%s lane, %s, published at a time not known (its clock was never set)", busbar_lane_name(event->lane),
                 position);
    else
        out_line("%s lane, %s, published %s%s", busbar_lane_name(event->lane), position,
                 human_time(event->time_ms).text, clock_name(event->time_quality));
}

static void begin_text(showing *self, const busbar_record *event)
{
    buffer text = {0};
    out_text(self->count > 1 ? "\n" : "");
    print_header(event);
    bool hides = event_json_hides(event, self->reveal);
    busbar_record bare = event_json_without_data(event);
    if (event_json_pretty(&text, hides ? &bare : event))
        out_bytes(text.bytes, text.size);
    else
        out_note("the event %s is too large to be written as JSON", event->id);
    if (hides)
        out_line("data: %s, redacted; --reveal shows it", human_bytes((int64_t)event->data_size_bytes).text);
    buffer_free(&text);
    table_begin(&self->consumers, headings, COLUMNS);
}

static void add_to_table(showing *self, const busbar_standing *standing)
{
    standing_texts texts = {.attempts = ""};
    table_cell cells[COLUMNS] = {{standing->consumer, OUT_PLAIN}};
    standing_cells(standing, &texts, cells + 1);
    if (!self->has_consumers)
        out_text("\n");
    table_row(&self->consumers, cells);
}

/* ---- Both ------------------------------------------------------------------------------------------------------------ */

static void end_event(showing *self)
{
    if (self->begun && self->json)
        end_object(self);
    else if (self->begun && self->has_consumers)
        table_end(&self->consumers);
    self->begun = false;
    self->has_consumers = false;
}

static int begin_event(const busbar_record *event, const busbar_standing *standing, void *ctx)
{
    showing *self = ctx;
    (void)standing;
    end_event(self);
    self->begun = true;
    self->count++;
    if (self->json)
        begin_object(self, event);
    else
        begin_text(self, event);
    return 0;
}

static int add_consumer(const busbar_standing *standing, void *ctx)
{
    showing *self = ctx;
    if (self->json)
        add_to_object(self, standing);
    else
        add_to_table(self, standing);
    self->has_consumers = true;
    return 0;
}

static int show(const database *db, const char *id, showing *self)
{
    int code = busbar_show(db->bus, id, begin_event, add_consumer, self);
    if (code == BUSBAR_ENOTFOUND) {
        out_error("%s: there is no event with the id \"%s\"", db->path, id);
        return EXIT_NOT_FOUND;
    }
    end_event(self);
    return code == BUSBAR_OK ? EXIT_DONE : database_fail(db, code);
}

static int run(const arguments *args)
{
    static showing self; /* holds a table: too large for the stack's taste, and needed once */
    database db;
    int exit_code = database_open_reading(&db, args->operands[0]);
    if (exit_code != EXIT_DONE)
        return exit_code;
    self.json = args->values[OPT_JSON] != NULL;
    self.reveal = args->values[OPT_REVEAL] != NULL;
    exit_code = show(&db, args->operands[1], &self);
    database_close(&db);
    return exit_code;
}

const command cmd_show = {
    .name = "show",
    .summary = "show one event, and how each consumer stands to it",
    .help = help,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .operands_min = 2,
    .operands_max = 2,
    .run = run,
};
