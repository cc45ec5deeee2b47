/* SPDX-License-Identifier: MIT */
#include "relay_match.h"

#include "buffer.h"
#include "command.h"

#include <stdlib.h>
#include <string.h>

#define LETTERS_AND_DIGITS "abcdefghijklmnopqrstuvwxyz0123456789"

static bool is_name(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && length <= BUSBAR_EXTENSION_NAME_MAX && strspn(name, LETTERS_AND_DIGITS) == length;
}

/* Attributes of CloudEvents that no filter asks for. */
static bool is_excepted(const char *name)
{
    return strcmp(name, "time") == 0 || strcmp(name, "data") == 0 || strcmp(name, "specversion") == 0;
}

/* Takes the asterisk off a value, and says what it meant. False if there is one at both ends, or nothing beside it. */
static bool read_value(char *value, busbar_filter *out)
{
    size_t length = strlen(value);
    bool suffix = value[0] == '*';
    bool prefix = length > 1 && value[length - 1] == '*';
    if (length == (suffix ? 1u : 0u) || (suffix && prefix))
        return false;
    if (prefix)
        value[length - 1] = '\0';
    out->value = suffix ? value + 1 : value;
    out->op = suffix ? BUSBAR_FILTER_SUFFIX : prefix ? BUSBAR_FILTER_PREFIX : BUSBAR_FILTER_EXACT;
    return true;
}

/* `text` is the word, and becomes the texts that *out points to. */
static int read_word(const arguments *args, const char *name, const char *word, char *text, busbar_filter *out)
{
    char *equals = strchr(text, '=');
    if (equals == NULL)
        return arguments_fail(args, "--%s is ATTRIBUTE=VALUE, such as 'source=/pump/*', not \"%s\"", name, word);
    *equals = '\0';
    if (is_excepted(text))
        return arguments_fail(args, "--%s does not look at \"%s\"", name, text);
    if (!is_name(text))
        return arguments_fail(args,
                              "--%s: \"%s\" is no attribute; it is type, source, subject, id, key, datacontenttype, "
                              "dataschema or the name of an extension, which has lower-case letters and digits only",
                              name, text);
    out->attribute = text;
    if (!read_value(equals + 1, out))
        return arguments_fail(args,
                              "--%s: the value of \"%s\" is a text, a beginning and *, or * and an end, not \"%s\"",
                              name, text, equals + 1);
    if (strlen(out->value) > BUSBAR_EXTENSION_VALUE_MAX)
        return arguments_fail(args, "--%s: the value of \"%s\" is longer than %d bytes", name, text,
                              BUSBAR_EXTENSION_VALUE_MAX);
    return EXIT_DONE;
}

int relay_match_add(relay_match *self, const arguments *args, bool excluded, const char *word)
{
    busbar_filter filter = {.attribute = NULL};
    if (self->text_count == RELAY_MATCH_MAX)
        return arguments_fail(args, "--match and --match-not are given too often; %d times at most, both together",
                              RELAY_MATCH_MAX);
    char *text = memory_copy(word);
    self->texts[self->text_count++] = text;
    int exit_code = read_word(args, excluded ? "match-not" : "match", word, text, &filter);
    if (exit_code != EXIT_DONE)
        return exit_code;
    if (excluded)
        self->excluded[self->excluded_count++] = filter;
    else
        self->parts[self->part_count++] = filter;
    return EXIT_DONE;
}

const busbar_filter *relay_match_filter(relay_match *self)
{
    size_t count = self->part_count;
    if (self->excluded_count > 0) {
        self->any =
            (busbar_filter){.op = BUSBAR_FILTER_ANY, .filters = self->excluded, .filter_count = self->excluded_count};
        self->parts[count++] = (busbar_filter){.op = BUSBAR_FILTER_NOT, .filters = &self->any, .filter_count = 1};
    }
    if (count == 0)
        return NULL;
    self->root = (busbar_filter){.op = BUSBAR_FILTER_ALL, .filters = self->parts, .filter_count = count};
    return &self->root;
}

void relay_match_free(relay_match *self)
{
    for (size_t i = 0; i < self->text_count; i++)
        free(self->texts[i]);
    self->text_count = 0;
}
