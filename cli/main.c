/* SPDX-License-Identifier: MIT */
/* The table of verbs, and the way from a command line to one of them. Knows no verb's options. */
#define _POSIX_C_SOURCE 200809L

#include "command.h"
#include "nearest.h"
#include "out.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <busbar/busbar.h>

static const command *const commands[] = {&cmd_init,   &cmd_publish, &cmd_list,  &cmd_show, &cmd_tail,
                                          &cmd_status, &cmd_check,   &cmd_retry, &cmd_drop, &cmd_replay,
                                          &cmd_relay,  &cmd_prune,   &cmd_forget};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static const char usage[] = "usage: busbar VERB DATABASE [ARGUMENT...] [--OPTION...]\n"
                            "       busbar VERB --help | --help | --version\n";

static const char ending[] =
    "\n"
    "Results go to standard output, everything else to standard error. Reading verbs take --json.\n"
    "Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 unhealthy.\n";

static int help(void)
{
    out_text("Busbar: an event bus inside an SQLite database.\n\n");
    out_text(usage);
    out_text("\nVerbs:\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        out_text("  ");
        out_cell(commands[i]->name, OUT_BOLD, 10);
        out_text(commands[i]->summary);
        out_text("\n");
    }
    out_text(ending);
    return EXIT_DONE;
}

static int version(void)
{
    out_line("busbar %d.%d.%d (schema %d)", BUSBAR_VERSION_MAJOR, BUSBAR_VERSION_MINOR, BUSBAR_VERSION_PATCH,
             BUSBAR_SCHEMA_VERSION);
    return EXIT_DONE;
}

static const command *find(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

/* The verbs, and what else can come first. */
static const char *first_word(size_t index, const void *ctx)
{
    static const char *const others[] = {"--help", "--version"};
    (void)ctx;
    return index < COMMAND_COUNT ? commands[index]->name : others[index - COMMAND_COUNT];
}

static int fail_unknown(const char *name)
{
    const char *near = nearest(name, strlen(name), COMMAND_COUNT + 2, first_word, NULL);
    const char *kind = name[0] == '-' ? "option" : "verb";
    if (near != NULL)
        out_error("unknown %s \"%s\"; did you mean \"%s\"?", kind, name, near);
    else
        out_error("unknown %s \"%s\"", kind, name);
    out_note("`busbar --help` lists the verbs");
    return EXIT_USAGE;
}

static int run(const command *verb, int count, char *const *words)
{
    arguments args;
    if (!arguments_parse(&args, verb->name, verb->options, verb->option_count, count, words))
        return EXIT_USAGE;
    if (args.wants_help) {
        out_text(verb->help);
        return EXIT_DONE;
    }
    if (args.operand_count == 0)
        return arguments_fail(&args, "%s needs the name of a database", verb->name);
    if (args.operand_count < verb->operands_min)
        return arguments_fail(&args, "%s needs %zu arguments, and got %zu", verb->name, verb->operands_min,
                              args.operand_count);
    if (args.operand_count > verb->operands_max)
        return arguments_fail(&args, "%s takes no argument \"%s\"", verb->name, args.operands[verb->operands_max]);
    return verb->run(&args);
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2) {
        out_error("no verb");
        out_note("`busbar --help` lists the verbs");
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return help();
    if (strcmp(argv[1], "--version") == 0)
        return version();
    bool asks_help = strcmp(argv[1], "help") == 0;
    if (asks_help && argc == 2)
        return help();
    const char *name = argv[asks_help ? 2 : 1];
    const command *verb = find(name);
    if (verb == NULL)
        return fail_unknown(name);
    if (asks_help) {
        out_text(verb->help);
        return EXIT_DONE;
    }
    return run(verb, argc - 2, argv + 2);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* writing then fails, which out.c tells from other failures */
    out_begin();
    return out_end(dispatch(argc, argv));
}
