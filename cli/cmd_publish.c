/* SPDX-License-Identifier: MIT */
/* busbar publish: one event from the command line; many are read by ndjson.c. */
#include "command.h"
#include "database.h"
#include "file.h"
#include "limits.h"
#include "ndjson.h"
#include "out.h"
#include "value.h"

#include <string.h>

static const char help[] =
    "usage: busbar publish DATABASE TYPE [--OPTION...]\n"
    "       busbar publish DATABASE --ndjson [FILE] [--lane LANE] [--ttl DURATION] [LIMIT...]\n"
    "\n"
    "Stores one event and prints its id. TYPE has dot-separated segments: door.opened.\n"
    "\n"
    "  --data TEXT          the data: JSON, unless --datacontenttype says otherwise;\n"
    "                       @FILE reads a file, - standard input; 16 MiB at most\n"
    "  --datacontenttype T  the data's media type (default application/json)\n"
    "  --dataschema URI     the schema that the data follow\n"
    "  --source S           a URI-reference (default: an identity of this machine)\n"
    "  --subject S          what in the source the event is about\n"
    "  --key K              ordering key, sent as partitionkey\n"
    "  --id ID              a given id; if source and id are stored already, nothing is\n"
    "                       stored again, and the exit code is 0 all the same\n"
    "  --time T             when it happened, RFC 3339 (default: now)\n"
    "  --lane LANE          urgent, normal or bulk (default normal)\n"
    "  --ttl DURATION       worthless, and delivered to nobody, after so long: 500ms, 90s,\n"
    "                       10m, 1h30m, 3d\n"
    "  --delay DURATION     not now, but after so long; somebody must be working by then (a\n"
    "                       program with handlers, or busbar relay)\n"
    "  --not-before TIME    not before this time, RFC 3339; waits for a trusted clock\n"
    "  --ext NAME=TEXT      an extension attribute; NAME:int=5 and NAME:bool=true give it\n"
    "                       another type than text; up to 32 of them\n"
    "  --redact             data of this type and source are not to be shown from now on: list,\n"
    "                       show and tail leave them out unless --reveal is given\n"
    "\n"
    "Limits, which this publisher holds. At a limit the oldest events go, bulk ones first, then\n"
    "normal ones, urgent ones never; what goes is counted, and told by a gap. What then still has\n"
    "no room is refused, with exit code 1.\n"
    "\n" LIMITS_HELP_PUBLISHER
    "  --full [LANE=]refuse|evict  what becomes of a lane's events at a limit (default evict)\n" LIMITS_HELP_BOTH "\n"
    "With --ndjson: reads CloudEvents in structured JSON, one a line, from FILE or standard\n"
    "input, and stores them with their own id, source and extensions, up to 500 events or\n"
    "1 MiB in a transaction. Lines end with LF or CR LF; empty ones are skipped; one line has\n"
    "16 MiB at most. A line that is refused is reported with its number, the others are\n"
    "stored, and the exit code is 1. Where the bus is full, what was stored before stays.\n";

enum {
    OPT_NDJSON,
    OPT_DATA,
    OPT_CONTENT_TYPE,
    OPT_SCHEMA,
    OPT_SOURCE,
    OPT_SUBJECT,
    OPT_KEY,
    OPT_ID,
    OPT_TIME,
    OPT_LANE,
    OPT_TTL,
    OPT_DELAY,
    OPT_NOT_BEFORE,
    OPT_EXT,
    OPT_REDACT,
    OPT_MAX_BYTES,
    OPT_MAX_EVENTS,
    OPT_MAX_EVENT_AGE,
    OPT_FULL,
    OPT_RESERVE_BYTES
};

static const option options[] = {
    [OPT_NDJSON] = {"ndjson", 0, OPTION_FLAG},
    [OPT_DATA] = {"data", 0, OPTION_VALUE},
    [OPT_CONTENT_TYPE] = {"datacontenttype", 0, OPTION_VALUE},
    [OPT_SCHEMA] = {"dataschema", 0, OPTION_VALUE},
    [OPT_SOURCE] = {"source", 0, OPTION_VALUE},
    [OPT_SUBJECT] = {"subject", 0, OPTION_VALUE},
    [OPT_KEY] = {"key", 0, OPTION_VALUE},
    [OPT_ID] = {"id", 0, OPTION_VALUE},
    [OPT_TIME] = {"time", 0, OPTION_VALUE},
    [OPT_LANE] = {"lane", 0, OPTION_VALUE},
    [OPT_TTL] = {"ttl", 0, OPTION_VALUE},
    [OPT_DELAY] = {"delay", 0, OPTION_VALUE},
    [OPT_NOT_BEFORE] = {"not-before", 0, OPTION_VALUE},
    [OPT_EXT] = {"ext", 0, OPTION_MANY},
    [OPT_REDACT] = {"redact", 0, OPTION_FLAG},
    [OPT_MAX_BYTES] = {"max-bytes", 0, OPTION_VALUE},
    [OPT_MAX_EVENTS] = {"max-events", 0, OPTION_MANY},
    [OPT_MAX_EVENT_AGE] = {"max-event-age", 0, OPTION_MANY},
    [OPT_FULL] = {"full", 0, OPTION_MANY},
    [OPT_RESERVE_BYTES] = {"reserve-bytes", 0, OPTION_VALUE},
};
#define OPTION_COUNT (sizeof options / sizeof options[0])

/* An event from the command line, with what it points to. */
typedef struct draft {
    busbar_event event;
    busbar_attribute extensions[BUSBAR_EXTENSION_COUNT_MAX];
    char names[BUSBAR_EXTENSION_COUNT_MAX][BUSBAR_EXTENSION_NAME_MAX + 1];
    buffer data;
} draft;

/* Lane and time-to-live, which a CloudEvent does not carry. */
static int read_handling(const arguments *args, busbar_event *event)
{
    const char *lane = args->values[OPT_LANE];
    const char *ttl = args->values[OPT_TTL];
    if (lane != NULL && !value_lane(lane, &event->lane))
        return arguments_fail(args, "--lane is %s, not \"%s\"", VALUE_LANES, lane);
    if (ttl != NULL && (!value_duration(ttl, &event->ttl_ms) || event->ttl_ms == 0))
        return arguments_fail(args, "--ttl is a duration with a unit, such as 500ms, 90s, 10m or 3d, not \"%s\"", ttl);
    return EXIT_DONE;
}

static int read_schedule(const arguments *args, busbar_event *event)
{
    const char *delay = args->values[OPT_DELAY];
    const char *not_before = args->values[OPT_NOT_BEFORE];
    if (delay != NULL && not_before != NULL)
        return arguments_fail(args, "--delay and --not-before do not go together: give one of them");
    if (delay != NULL && (!value_duration(delay, &event->delay_ms) || event->delay_ms == 0))
        return arguments_fail(args, "--delay is a duration with a unit, such as 500ms, 90s, 10m or 3d, not \"%s\"",
                              delay);
    if (not_before != NULL && (!value_time(not_before, &event->not_before_ms) || event->not_before_ms <= 0))
        return arguments_fail(args, "--not-before is a time since 1970, such as 2026-12-01T08:00:00Z, not \"%s\"",
                              not_before);
    return EXIT_DONE;
}

static int read_extensions(const arguments *args, draft *out)
{
    size_t count = 0;
    for (size_t i = 0; i < args->many_count; i++) {
        if (args->many_option[i] != OPT_EXT)
            continue;
        if (count == BUSBAR_EXTENSION_COUNT_MAX)
            return arguments_fail(args, "--ext is given too often; an event has %d extension attributes at most",
                                  BUSBAR_EXTENSION_COUNT_MAX);
        if (!value_extension(args->many[i], out->names[count], sizeof out->names[count], &out->extensions[count]))
            return arguments_fail(args, "--ext is NAME=TEXT, NAME:int=NUMBER (32 bits) or NAME:bool=true, not \"%s\"",
                                  args->many[i]);
        out->event.extension_count = ++count;
    }
    out->event.extensions = out->extensions;
    return EXIT_DONE;
}

static int read_data(const char *data, draft *out)
{
    if (data == NULL)
        return EXIT_DONE;
    if (strcmp(data, "-") == 0 || data[0] == '@') {
        if (!file_read(data + (data[0] == '@'), DATABASE_DATA_MAX_BYTES, &out->data))
            return EXIT_FAILED;
        out->event.data_size_bytes = out->data.size;
        out->event.data = buffer_text(&out->data);
        return EXIT_DONE;
    }
    out->event.data = data;
    out->event.data_size_bytes = strlen(data);
    return EXIT_DONE;
}

static int read_draft(const arguments *args, draft *out)
{
    out->event = (busbar_event){
        .size = sizeof out->event,
        .type = args->operands[1],
        .source = args->values[OPT_SOURCE],
        .datacontenttype = args->values[OPT_CONTENT_TYPE],
        .dataschema = args->values[OPT_SCHEMA],
        .id = args->values[OPT_ID],
        .subject = args->values[OPT_SUBJECT],
        .key = args->values[OPT_KEY],
        .time = args->values[OPT_TIME],
    };
    int exit_code = read_handling(args, &out->event);
    if (exit_code == EXIT_DONE)
        exit_code = read_schedule(args, &out->event);
    if (exit_code == EXIT_DONE)
        exit_code = read_extensions(args, out);
    if (exit_code == EXIT_DONE)
        exit_code = read_data(args->values[OPT_DATA], out);
    return exit_code;
}

/* Says which word of the command line was refused, where it was one. */
static int fail(const database *db, int code, const busbar_event *event)
{
    const struct {
        int code;
        const char *name;
        const char *value;
    } words[] = {
        {BUSBAR_ETYPE, "the type", event->type},
        {BUSBAR_ESOURCE, "--source", event->source},
        {BUSBAR_EID, "--id", event->id},
        {BUSBAR_ESUBJECT, "--subject", event->subject},
        {BUSBAR_EKEY, "--key", event->key},
        {BUSBAR_ECONTENTTYPE, "--datacontenttype", event->datacontenttype},
        {BUSBAR_EDATASCHEMA, "--dataschema", event->dataschema},
        {BUSBAR_ETIME, "--time", event->time},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (words[i].code == code && words[i].value != NULL) {
            out_error("%s \"%s\": %s", words[i].name, words[i].value, busbar_error_text(code));
            return EXIT_USAGE;
        }
    if (code == BUSBAR_EEXTENSION) {
        out_error("--ext: %s", busbar_error_text(code));
        return EXIT_USAGE;
    }
    return database_fail(db, code);
}

/* The event's kind is redacted before there is an event of it. */
static int redact(const database *db, const busbar_event *event)
{
    busbar_kind kind;
    busbar_kind_desc desc = {
        .size = sizeof desc,
        .type = event->type,
        .source = event->source,
        .datacontenttype = event->datacontenttype,
        .dataschema = event->dataschema,
        .redact = true,
    };
    return busbar_kind_register(db->bus, &desc, &kind);
}

static int publish(const database *db, const busbar_event *event, bool redacted)
{
    busbar_id id;
    int code = redacted ? redact(db, event) : BUSBAR_OK;
    if (code == BUSBAR_OK)
        code = busbar_publish(db->bus, event, &id);
    if (code < 0)
        return fail(db, code, event);
    out_line("%s", id.text);
    if (code == BUSBAR_DUPLICATE)
        out_note("an event of this source with this id is stored already; nothing was stored");
    return EXIT_DONE;
}

static int publish_one(const arguments *args)
{
    static draft event; /* too large for the stack's taste, and needed once */
    database db;
    busbar_options limits = database_bus_options();
    if (args->operand_count < 2)
        return arguments_fail(args, "publish needs the type of the event after the database");
    int exit_code = limits_read(args, &limits);
    if (exit_code == EXIT_DONE)
        exit_code = read_draft(args, &event);
    if (event.event.source == NULL)
        limits.source = NULL;
    if (exit_code == EXIT_DONE)
        exit_code = database_open_with(&db, args->operands[0], &limits);
    if (exit_code == EXIT_DONE) {
        exit_code = publish(&db, &event.event, args->values[OPT_REDACT] != NULL);
        database_close(&db);
    }
    buffer_free(&event.data);
    return exit_code;
}

static int publish_many(const arguments *args)
{
    database db;
    busbar_event handling = {.size = sizeof handling};
    busbar_options limits = database_bus_options();
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (args->values[i] != NULL && i != OPT_NDJSON && i != OPT_LANE && i != OPT_TTL &&
            !limits_know(options[i].name))
            return arguments_fail(args, "--%s does not go with --ndjson: each line is a whole event", options[i].name);
    for (size_t i = 0; i < args->many_count; i++)
        if (args->many_option[i] == OPT_EXT)
            return arguments_fail(args, "--ext does not go with --ndjson: each line is a whole event");
    int exit_code = limits_read(args, &limits);
    if (exit_code == EXIT_DONE)
        exit_code = read_handling(args, &handling);
    if (exit_code == EXIT_DONE)
        exit_code = database_open_with(&db, args->operands[0], &limits);
    if (exit_code != EXIT_DONE)
        return exit_code;
    exit_code = ndjson_publish(&db, args->operand_count > 1 ? args->operands[1] : "-", &handling, limits.max_bytes);
    database_close(&db);
    return exit_code;
}

static int run(const arguments *args)
{
    return args->values[OPT_NDJSON] != NULL ? publish_many(args) : publish_one(args);
}

const command cmd_publish = {
    .name = "publish",
    .summary = "store an event, or a stream of them",
    .help = help,
    .options = options,
    .option_count = OPTION_COUNT,
    .operands_min = 1,
    .operands_max = 2,
    .run = run,
};
