/* SPDX-License-Identifier: MIT */
/* busbar tail: the newest events, and those that follow. */
#define _XOPEN_SOURCE 700

#include "command.h"
#include "database.h"
#include "event_json.h"
#include "human.h"
#include "out.h"
#include "recent.h"
#include "stop.h"
#include "value.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT_DEFAULT 10
#define STOP          1    /* what a callback returns to end the listing */
#define LOOK_MS       1000 /* how often to look where the system cannot tell of writes */

static const char help[] = "usage: busbar tail DATABASE [-f] [-n N] [--type PATTERN] [--json [--reveal]]\n"
                           "\n"
                           "Prints the newest events, in order of their time.\n"
                           "\n"
                           "  -f, --follow      go on with those that follow, as they commit, until interrupted\n"
                           "  -n, --lines N     how many to begin with (default 10)\n"
                           "  --type PATTERN    only events of these types; * is one segment, # any number: door.#\n"
                           "  --json            each event as CloudEvents JSON on a line, which is what\n"
                           "                    `busbar publish --ndjson` reads; events whose data are redacted are\n"
                           "                    left out, since a copy without them would pass for the event\n"
                           "  --reveal          with their data\n";

enum { OPT_FOLLOW, OPT_LINES, OPT_TYPE, OPT_JSON, OPT_REVEAL };

static const option options[] = {
    [OPT_FOLLOW] = {"follow", 'f', OPTION_FLAG}, [OPT_LINES] = {"lines", 'n', OPTION_VALUE},
    [OPT_TYPE] = {"type", 0, OPTION_VALUE},      [OPT_JSON] = {"json", 0, OPTION_FLAG},
    [OPT_REVEAL] = {"reveal", 0, OPTION_FLAG},
};

typedef struct tail {
    database db;
    const char *pattern;
    uint64_t count;
    bool follow;
    bool json;
    bool reveal;
    int64_t seen[BUSBAR_LANE_COUNT]; /* all up to here is printed, or did not fit the pattern */
    int64_t only_seq;                /* print nothing but this position; 0: all */
} tail;

/* ---- Printing -------------------------------------------------------------------------------------------------------- */

static void print_text(const busbar_record *event)
{
    out_cell(human_event_time(event).text, OUT_PLAIN, 25);
    out_text("  ");
    out_cell(busbar_lane_name(event->lane), event->lane == BUSBAR_URGENT ? OUT_WARNING : OUT_PLAIN, 6);
    out_text("  ");
    out_cell(event->id, OUT_PLAIN, 24);
    out_text("  ");
    out_cell(event->type, OUT_BOLD, 24);
    out_text("  ");
    out_cell(event->source, OUT_PLAIN, 0);
    out_text("\n");
}

static void print_json(const tail *self, const busbar_record *event)
{
    buffer line = {0};
    if (event_json_hides(event, self->reveal)) {
        out_note("the data of the event %s are redacted; it is left out, --reveal prints it", event->id);
        return;
    }
    if (event_json_line(&line, event)) {
        buffer_add_text(&line, "\n");
        out_bytes(line.bytes, line.size);
    } else {
        out_note("the event %s is too large to be written as JSON; it is left out", event->id);
    }
    buffer_free(&line);
}

static int print_event(const busbar_record *event, const busbar_standing *standing, void *ctx)
{
    tail *self = ctx;
    (void)standing;
    if (out_is_broken())
        return STOP;
    if (self->only_seq != 0 && event->seq != self->only_seq)
        return STOP; /* it was pruned in the meantime, and this is its successor */
    if (self->json)
        print_json(self, event);
    else
        print_text(event);
    if (event->seq > self->seen[event->lane])
        self->seen[event->lane] = event->seq;
    return 0;
}

/* ---- The newest ones ------------------------------------------------------------------------------------------------- */

static int print_position(tail *self, const recent_position *position)
{
    busbar_query query = {.size = sizeof query, .pattern = self->pattern, .limit = 1};
    for (int i = 0; i < BUSBAR_LANE_COUNT; i++)
        query.after_seq[i] = i == (int)position->lane ? position->seq - 1 : INT64_MAX - 1;
    self->only_seq = position->seq;
    int code = busbar_list(self->db.bus, &query, print_event, self);
    self->only_seq = 0;
    return code < 0 ? code : BUSBAR_OK;
}

static int print_recent(tail *self)
{
    busbar_status status = {.size = sizeof status};
    recent_position *positions = NULL;
    size_t count = 0;
    int code = busbar_status_get(self->db.bus, &status);
    if (code == BUSBAR_OK)
        code = recent_find(self->db.bus, &status, self->pattern, (size_t)self->count, &positions, &count);
    for (size_t i = 0; code == BUSBAR_OK && i < count && !out_is_broken(); i++)
        code = print_position(self, &positions[i]);
    free(positions);
    memcpy(self->seen, status.head, sizeof self->seen);
    return code == BUSBAR_OK ? EXIT_DONE : database_fail_query(&self->db, code, self->pattern);
}

/* ---- Following ------------------------------------------------------------------------------------------------------- */

static int print_new(tail *self)
{
    busbar_status status = {.size = sizeof status};
    busbar_query query = {.size = sizeof query, .pattern = self->pattern};
    int code = busbar_status_get(self->db.bus, &status);
    memcpy(query.after_seq, self->seen, sizeof query.after_seq);
    if (code == BUSBAR_OK && memcmp(status.head, self->seen, sizeof self->seen) == 0)
        return EXIT_DONE;
    if (code == BUSBAR_OK)
        code = busbar_list(self->db.bus, &query, print_event, self);
    if (code == BUSBAR_ELOCKED)
        return EXIT_DONE; /* for a moment; the next look shows what this one did not */
    if (code < 0)
        return database_fail_query(&self->db, code, self->pattern);
    for (int i = 0; i < BUSBAR_LANE_COUNT; i++) /* what did not fit the pattern need not be looked at again */
        if (status.head[i] > self->seen[i])
            self->seen[i] = status.head[i];
    out_flush();
    return EXIT_DONE;
}

/* Waits until there may be something new. False when it is time to end. */
static bool wait_for_more(void *wake)
{
    const busbar_wake_api *api = busbar_linux_port()->wake;
    struct pollfd fds[] = {
        {.fd = stop_fd(), .events = POLLIN},
        {.fd = STDOUT_FILENO, .events = 0}, /* says when the reader has gone */
        {.fd = wake != NULL ? api->fd(wake) : -1, .events = POLLIN},
    };
    int count = poll(fds, sizeof fds / sizeof fds[0], wake != NULL ? -1 : LOOK_MS);
    if (count < 0 && errno != EINTR)
        return false;
    if (wake != NULL && fds[2].revents != 0)
        api->clear(wake);
    return !stop_requested() && (fds[1].revents & (POLLERR | POLLNVAL)) == 0 && !out_is_broken();
}

/* NULL where the system cannot tell of writes. */
static void *open_wake(const tail *self)
{
    const busbar_port *port = busbar_linux_port();
    char *path = realpath(self->db.path, NULL);
    void *wake = path != NULL ? port->wake->open(port->ctx, path) : NULL;
    free(path);
    return wake;
}

static int follow(tail *self)
{
    const busbar_wake_api *api = busbar_linux_port()->wake;
    if (busbar_linux_database_copied(self->db.file))
        out_note("%s: is on read-only media; what is followed is a copy, which does not change", self->db.path);
    void *wake = open_wake(self);
    int exit_code = EXIT_DONE;
    do {
        exit_code = print_new(self); /* also first of all: something may have come before the watch began */
    } while (exit_code == EXIT_DONE && wait_for_more(wake));
    if (wake != NULL)
        api->close(wake);
    return exit_code;
}

/* ---- The verb -------------------------------------------------------------------------------------------------------- */

static int run(const arguments *args)
{
    const char *lines = args->values[OPT_LINES];
    tail self = {
        .pattern = args->values[OPT_TYPE],
        .count = COUNT_DEFAULT,
        .follow = args->values[OPT_FOLLOW] != NULL,
        .json = args->values[OPT_JSON] != NULL,
        .reveal = args->values[OPT_REVEAL] != NULL,
    };
    if (lines != NULL && !value_number(lines, RECENT_MAX, &self.count))
        return arguments_fail(args, "--lines is a number up to %d, not \"%s\"", RECENT_MAX, lines);
    if (self.follow && !stop_begin())
        return EXIT_FAILED;
    int exit_code = database_open_reading(&self.db, args->operands[0]);
    if (exit_code != EXIT_DONE)
        return exit_code;
    exit_code = print_recent(&self);
    out_flush();
    if (exit_code == EXIT_DONE && self.follow)
        exit_code = follow(&self);
    database_close(&self.db);
    return exit_code;
}

const command cmd_tail = {
    .name = "tail",
    .summary = "print the newest events, and follow as others commit",
    .help = help,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
