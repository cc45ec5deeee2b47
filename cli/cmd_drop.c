/* SPDX-License-Identifier: MIT */
/* busbar drop: dead letters are forgotten, failed and scheduled events given up. */
#include "act.h"

static const char help[] =
    "usage: busbar drop DATABASE [ID...] [--OPTION...]\n"
    "\n"
    "Forgets dead letters for good, and gives up events that wait for their next attempt or\n"
    "are parked behind one. Without --consumer also scheduled events, as if they had not been\n"
    "published. Choose by id, or by consumer, type and age.\n"
    "\n"
    "  --consumer NAME     only those of this consumer; without it, of every one\n" ACT_HELP_CHOICE
    "  --all               all there are, of every consumer\n" ACT_HELP_MANNERS;

static int run(const arguments *args)
{
    static const act_verb verb = {
        .action = BUSBAR_ACTION_DROP,
        .name = "drop",
        .past = "dropped",
        .noun = "failed or waiting event",
        .nouns = "failed or waiting events",
    };
    return act_run(args, &verb);
}

const command cmd_drop = {
    .name = "drop",
    .summary = "forget dead letters and give up what waits",
    .help = help,
    .options = act_options,
    .option_count = ACT_OPTION_COUNT,
    .operands_min = 1,
    .operands_max = ACT_OPERANDS_MAX,
    .run = run,
};
