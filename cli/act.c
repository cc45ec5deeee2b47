/* SPDX-License-Identifier: MIT */
#include "act.h"

#include "database.h"
#include "human.h"
#include "json_writer.h"
#include "out.h"
#include "value.h"

#include <inttypes.h>
#include <string.h>

const option act_options[ACT_OPTION_COUNT] = {
    [ACT_CONSUMER] = {"consumer", 0, OPTION_VALUE},
    [ACT_TYPE] = {"type", 0, OPTION_VALUE},
    [ACT_OLDER_THAN] = {"older-than", 0, OPTION_VALUE},
    [ACT_NEWER_THAN] = {"newer-than", 0, OPTION_VALUE},
    [ACT_SINCE] = {"since", 0, OPTION_VALUE},
    [ACT_LIMIT] = {"limit", 0, OPTION_VALUE},
    [ACT_ALL] = {"all", 0, OPTION_FLAG},
    [ACT_DRY_RUN] = {"dry-run", 0, OPTION_FLAG},
    [ACT_YES] = {"yes", 'y', OPTION_FLAG},
    [ACT_JSON] = {"json", 0, OPTION_FLAG},
};

typedef struct act {
    const act_verb *verb;
    const arguments *args;
    database db;
    busbar_selector selector;
    uint64_t limit; /* 0: none */
    uint64_t count;
    bool missed; /* an id that was given chose nothing */
} act;

static bool given(const act *self, enum act_option index)
{
    return self->args->values[index] != NULL;
}

/* ---- What is chosen -------------------------------------------------------------------------------------------------- */

/* The instant that lies the option's age ago. */
static int read_age(const act *self, enum act_option index, int64_t *out_ms)
{
    const busbar_port *port = busbar_linux_port();
    const char *name = act_options[index].name;
    const char *text = self->args->values[index];
    int64_t now_ms = 0;
    uint64_t age_ms;
    if (text == NULL)
        return EXIT_DONE;
    if (!value_duration(text, &age_ms))
        return arguments_fail(self->args, "--%s is a duration with a unit, such as 90s, 10m, 2h or 1d, not \"%s\"",
                              name, text);
    if (port->wall_ms(port->ctx, &now_ms) == BUSBAR_CLOCK_UNKNOWN) {
        out_error("--%s %s needs to know the time, and this machine's clock is not set", name, text);
        return EXIT_FAILED;
    }
    *out_ms = now_ms - (int64_t)age_ms > 0 ? now_ms - (int64_t)age_ms : 1;
    return EXIT_DONE;
}

static int read_since(const act *self, int64_t *out_ms)
{
    const char *text = self->args->values[ACT_SINCE];
    uint64_t age_ms;
    if (text == NULL)
        return EXIT_DONE;
    if (given(self, ACT_NEWER_THAN))
        return arguments_fail(self->args, "--since and --newer-than say the same: give one of them");
    if (value_duration(text, &age_ms))
        return read_age(self, ACT_SINCE, out_ms);
    if (!value_time(text, out_ms))
        return arguments_fail(
            self->args, "--since is a time (2026-05-01T12:00:00Z), a date or a duration (10m, 2h, 3d), not \"%s\"",
            text);
    if (*out_ms < 1)
        *out_ms = 1; /* zero would mean no condition */
    return EXIT_DONE;
}

static int read_times(act *self)
{
    int exit_code = read_age(self, ACT_OLDER_THAN, &self->selector.before_ms);
    if (exit_code == EXIT_DONE)
        exit_code = read_age(self, ACT_NEWER_THAN, &self->selector.since_ms);
    return exit_code == EXIT_DONE ? read_since(self, &self->selector.since_ms) : exit_code;
}

/* A word forgotten must not mean all there is. */
static int check_choice(const act *self)
{
    const arguments *args = self->args;
    bool chosen = args->operand_count > 1 || given(self, ACT_CONSUMER) || given(self, ACT_TYPE) ||
                  given(self, ACT_OLDER_THAN) || given(self, ACT_NEWER_THAN) || given(self, ACT_SINCE);
    if (self->verb->needs_consumer && !given(self, ACT_CONSUMER))
        return arguments_fail(args, "%s needs --consumer: who is to get the events again?", self->verb->name);
    if (chosen && given(self, ACT_ALL))
        return arguments_fail(args, "--all does not go with a choice: leave one of them out");
    if (!chosen && !given(self, ACT_ALL))
        return arguments_fail(args, "nothing is chosen: give ids, --consumer, --type or an age, or --all");
    if (!given(self, ACT_YES) && !given(self, ACT_DRY_RUN) && !out_can_ask())
        return arguments_fail(args, "there is no terminal to ask on: give --yes if it is meant, or --dry-run to see");
    return EXIT_DONE;
}

static int read_choice(act *self)
{
    const char *limit = self->args->values[ACT_LIMIT];
    const char *type = self->args->values[ACT_TYPE];
    const char *consumer = self->args->values[ACT_CONSUMER];
    bool anything = consumer == NULL && self->args->operand_count == 1;
    self->selector = (busbar_selector){
        .size = sizeof self->selector, .consumer = consumer, .pattern = type == NULL && anything ? "#" : type};
    if (limit != NULL && (!value_number(limit, INT32_MAX, &self->limit) || self->limit == 0))
        return arguments_fail(self->args, "--limit is a number from 1 on, not \"%s\"", limit);
    int exit_code = read_times(self);
    return exit_code == EXIT_DONE ? check_choice(self) : exit_code;
}

/* ---- Doing it -------------------------------------------------------------------------------------------------------- */

static int act_once(act *self, const char *id, bool dry_run)
{
    uint64_t count = 0;
    if (self->limit > 0 && self->count >= self->limit)
        return BUSBAR_OK;
    self->selector.id = id;
    self->selector.limit = self->limit > 0 ? self->limit - self->count : 0;
    self->selector.dry_run = dry_run;
    int code = busbar_act(self->db.bus, &self->selector, self->verb->action, &count);
    self->count += count;
    if (code == BUSBAR_OK && id != NULL && count == 0 && dry_run) {
        out_note("%s: there is no %s with the id \"%s\"", self->db.path, self->verb->noun, id);
        self->missed = true;
    }
    return code;
}

/* Each id that was given, or all that fits the other choices. */
static int act_each(act *self, bool dry_run)
{
    const arguments *args = self->args;
    int code = BUSBAR_OK;
    self->count = 0;
    if (args->operand_count == 1)
        return act_once(self, NULL, dry_run);
    for (size_t i = 1; code == BUSBAR_OK && i < args->operand_count; i++)
        code = act_once(self, args->operands[i], dry_run);
    return code;
}

static int fail(const act *self, int code)
{
    if (code == BUSBAR_ENOTFOUND) {
        out_error("%s: there is no consumer \"%s\"; `busbar status` names those there are", self->db.path,
                  self->selector.consumer);
        return EXIT_NOT_FOUND;
    }
    if (code == BUSBAR_EBOUND) {
        out_error("%s: as many events of the consumer wait as may; go on when some are through", self->db.path);
        return EXIT_FAILED;
    }
    return database_fail_query(&self->db, code, self->selector.pattern);
}

static void report(const act *self)
{
    bool dry_run = given(self, ACT_DRY_RUN);
    json_writer json = {0};
    if (!given(self, ACT_JSON)) {
        out_line("%s %s%s%s", human_count((int64_t)self->count).text,
                 self->count == 1 ? self->verb->noun : self->verb->nouns, dry_run ? " would be " : " ",
                 self->verb->past);
        return;
    }
    json_begin(&json, NULL, '{');
    json_text(&json, "action", self->verb->name);
    json_int(&json, "count", (int64_t)self->count);
    json_bool(&json, "dry_run", dry_run);
    json_end(&json, '}');
    json_print(&json);
}

/* Only the worker knows the filter itself; who is asked should know that it will not be. */
static int warn_of_filter(const busbar_consumer_status *consumer, void *ctx)
{
    const act *self = ctx;
    if (consumer->filter != NULL && strcmp(consumer->name, self->selector.consumer) == 0)
        out_note("%s has a filter, which is not asked here: %s", consumer->name, consumer->filter);
    return 0;
}

static bool is_meant(const act *self)
{
    const char *consumer = self->selector.consumer;
    return given(self, ACT_YES) ||
           out_ask("%s: %s %s%s%s: %s? [y/N] ", self->db.path, human_count((int64_t)self->count).text,
                   self->count == 1 ? self->verb->noun : self->verb->nouns, consumer != NULL ? " of consumer " : "",
                   consumer != NULL ? consumer : "", self->verb->name);
}

static int act_on(act *self)
{
    int code = act_each(self, true);
    if (code != BUSBAR_OK)
        return fail(self, code);
    if (self->count == 0) {
        if (!self->missed)
            out_error("%s: there is no %s that was chosen", self->db.path, self->verb->noun);
        return EXIT_NOT_FOUND;
    }
    int exit_code = self->missed ? EXIT_NOT_FOUND : EXIT_DONE;
    if (self->verb->action == BUSBAR_ACTION_REPLAY)
        (void)busbar_consumer_list(self->db.bus, warn_of_filter, self);
    if (!given(self, ACT_DRY_RUN)) {
        if (!is_meant(self)) {
            out_note("nothing was done");
            return EXIT_FAILED;
        }
        code = act_each(self, false);
    }
    report(self);
    return code == BUSBAR_OK ? exit_code : fail(self, code);
}

int act_run(const arguments *args, const act_verb *verb)
{
    act self = {.verb = verb, .args = args};
    int exit_code = read_choice(&self);
    if (exit_code == EXIT_DONE)
        exit_code = database_open_writing(&self.db, args->operands[0]);
    if (exit_code != EXIT_DONE)
        return exit_code;
    exit_code = act_on(&self);
    database_close(&self.db);
    return exit_code;
}
