/* SPDX-License-Identifier: MIT */
/* busbar replay: what a consumer has finished, and the log still has, is delivered to it once more. */
#include "act.h"

static const char help[] =
    "usage: busbar replay DATABASE [ID...] --consumer NAME [--OPTION...]\n"
    "\n"
    "Delivers past events once more: those that the consumer is done with, whose type it wants,\n"
    "and that the log still has (the newest 1,000 of each lane at least). Its dead letters\n"
    "among them are retried. Its filter, which only its worker knows, is not asked.\n"
    "\n"
    "  --consumer NAME     who gets them\n" ACT_HELP_CHOICE ACT_HELP_MANNERS;

static int run(const arguments *args)
{
    static const act_verb verb = {
        .action = BUSBAR_ACTION_REPLAY,
        .name = "replay",
        .past = "put to be delivered again",
        .noun = "past event",
        .nouns = "past events",
        .needs_consumer = true,
    };
    return act_run(args, &verb);
}

const command cmd_replay = {
    .name = "replay",
    .summary = "deliver past events to a consumer once more",
    .help = help,
    .options = act_options,
    .option_count = ACT_OPTION_COUNT,
    .operands_min = 1,
    .operands_max = ACT_OPERANDS_MAX,
    .run = run,
};
