/* SPDX-License-Identifier: MIT */
/*
 * The command line as options and operands. Knows the forms of options (--name VALUE, --name=VALUE, -n VALUE, --, -), not
 * what any of them means. Reports mistakes itself, naming the nearest known option.
 */
#ifndef ARGUMENTS_H
#define ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>

typedef enum option_form {
    OPTION_FLAG,  /* no value */
    OPTION_VALUE, /* one value, given once at most */
    OPTION_MANY   /* a value, any number of times */
} option_form;

typedef struct option {
    const char *name; /* without the dashes */
    char letter;      /* of the short form, or 0 */
    option_form form;
} option;

#define ARGUMENTS_OPTIONS_MAX  48
#define ARGUMENTS_OPERANDS_MAX 65
#define ARGUMENTS_MANY_MAX     64 /* values of all OPTION_MANY options together */

/* Everything points into argv. An option is named by its index in the table it was parsed with. */
typedef struct arguments {
    const char *verb;
    const option *options;
    size_t option_count;
    const char *values[ARGUMENTS_OPTIONS_MAX]; /* NULL: not given; a flag that was given has "" */
    const char *operands[ARGUMENTS_OPERANDS_MAX];
    size_t operand_count;
    const char *many[ARGUMENTS_MANY_MAX];
    size_t many_option[ARGUMENTS_MANY_MAX];
    size_t many_count;
    bool wants_help;
} arguments;

/*
 * Reads the words after the verb. --help ends the reading with wants_help set. Returns false after it has reported a
 * mistake on stderr. *out is filled in any case.
 */
bool arguments_parse(arguments *out, const char *verb, const option *options, size_t option_count, int count,
                     char *const *words);

/* Reports a mistake in how the verb was called, with a pointer to its help. Returns EXIT_USAGE. */
__attribute__((format(printf, 2, 3))) int arguments_fail(const arguments *args, const char *format, ...);

#endif
