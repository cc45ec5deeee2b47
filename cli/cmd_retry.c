/* SPDX-License-Identifier: MIT */
/* busbar retry: dead letters, and events that wait for their next attempt, are tried again now. */
#include "act.h"

static const char help[] =
    "usage: busbar retry DATABASE [ID...] [--OPTION...]\n"
    "\n"
    "Tries again now: dead letters, whose attempts count from 0 again, and events that wait\n"
    "for their next attempt. Choose by id, or by consumer, type and age.\n"
    "\n"
    "  --consumer NAME     only those of this consumer; without it, of every one\n" ACT_HELP_CHOICE
    "  --all               all there are, of every consumer\n" ACT_HELP_MANNERS;

static int run(const arguments *args)
{
    static const act_verb verb = {
        .action = BUSBAR_ACTION_RETRY,
        .name = "retry",
        .past = "retried",
        .noun = "failed event",
        .nouns = "failed events",
    };
    return act_run(args, &verb);
}

const command cmd_retry = {
    .name = "retry",
    .summary = "try dead letters and failed events again now",
    .help = help,
    .options = act_options,
    .option_count = ACT_OPTION_COUNT,
    .operands_min = 1,
    .operands_max = ACT_OPERANDS_MAX,
    .run = run,
};
