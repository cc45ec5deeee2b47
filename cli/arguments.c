/* SPDX-License-Identifier: MIT */
#include "arguments.h"

#include "command.h"
#include "nearest.h"
#include "out.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The words that are still to be read. */
typedef struct reading {
    arguments *out;
    char *const *words;
    size_t count;
    size_t next;
} reading;

int arguments_fail(const arguments *args, const char *format, ...)
{
    char text[OUT_MESSAGE_SIZE];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    out_error("%s", text);
    out_note("`busbar %s --help` shows how it is used", args->verb);
    return EXIT_USAGE;
}

static const char *option_name(size_t index, const void *ctx)
{
    const arguments *args = ctx;
    return index < args->option_count ? args->options[index].name : "help";
}

static bool fail_unknown(const arguments *args, const char *name, size_t length)
{
    const char *near = nearest(name, length, args->option_count + 1, option_name, args);
    if (near != NULL)
        arguments_fail(args, "unknown option --%.*s; did you mean --%s?", (int)length, name, near);
    else
        arguments_fail(args, "unknown option --%.*s", (int)length, name);
    return false;
}

static bool store(arguments *args, size_t index, const char *value)
{
    const char *name = args->options[index].name;
    if (args->options[index].form == OPTION_MANY) {
        if (args->many_count == ARGUMENTS_MANY_MAX)
            return arguments_fail(args, "--%s is given too often; %d times at most", name, ARGUMENTS_MANY_MAX) == 0;
        args->many[args->many_count] = value;
        args->many_option[args->many_count++] = index;
        return true;
    }
    if (args->values[index] != NULL && args->options[index].form == OPTION_VALUE)
        return arguments_fail(args, "--%s is given twice; once is enough", name) == 0;
    args->values[index] = value;
    return true;
}

/* Stores the option with its value: what is attached to it in the same word, else the next word. */
static bool take(reading *in, size_t index, const char *attached)
{
    const option *known = &in->out->options[index];
    if (known->form == OPTION_FLAG) {
        if (attached != NULL)
            return arguments_fail(in->out, "--%s takes no value", known->name) == 0;
        return store(in->out, index, "");
    }
    if (attached == NULL && in->next == in->count)
        return arguments_fail(in->out, "--%s needs a value", known->name) == 0;
    return store(in->out, index, attached != NULL ? attached : in->words[in->next++]);
}

static bool read_long(reading *in, const char *word)
{
    const char *equals = strchr(word, '=');
    size_t length = equals != NULL ? (size_t)(equals - word) : strlen(word);
    if (length == 4 && memcmp(word, "help", 4) == 0) {
        in->out->wants_help = true;
        return true;
    }
    for (size_t i = 0; i < in->out->option_count; i++) {
        const char *name = in->out->options[i].name;
        if (strlen(name) == length && memcmp(name, word, length) == 0)
            return take(in, i, equals != NULL ? equals + 1 : NULL);
    }
    return fail_unknown(in->out, word, length);
}

/* -f, -n 5 or -n5; letters are not bundled. */
static bool read_short(reading *in, const char *word)
{
    if (strcmp(word, "h") == 0) {
        in->out->wants_help = true;
        return true;
    }
    for (size_t i = 0; i < in->out->option_count; i++)
        if (in->out->options[i].letter == word[0])
            return take(in, i, word[1] != '\0' ? word + 1 : NULL);
    return arguments_fail(in->out, "unknown option -%s", word) == 0;
}

static bool read_operand(reading *in, const char *word)
{
    arguments *args = in->out;
    if (args->operand_count == ARGUMENTS_OPERANDS_MAX)
        return arguments_fail(args, "too many arguments, from \"%s\" on", word) == 0;
    args->operands[args->operand_count++] = word;
    return true;
}

bool arguments_parse(arguments *out, const char *verb, const option *options, size_t option_count, int count,
                     char *const *words)
{
    assert(option_count <= ARGUMENTS_OPTIONS_MAX);
    *out = (arguments){.verb = verb, .options = options, .option_count = option_count};
    reading in = {out, words, (size_t)count, 0};
    bool only_operands = false;
    while (in.next < in.count && !out->wants_help) {
        const char *word = words[in.next++];
        bool ok;
        if (only_operands || word[0] != '-' || word[1] == '\0')
            ok = read_operand(&in, word);
        else if (strcmp(word, "--") == 0)
            ok = only_operands = true;
        else
            ok = word[1] == '-' ? read_long(&in, word + 2) : read_short(&in, word + 1);
        if (!ok)
            return false;
    }
    return true;
}
