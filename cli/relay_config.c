/* SPDX-License-Identifier: MIT */
#include "relay_config.h"

#include "file.h"
#include "nearest.h"
#include "out.h"

#include <assert.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#define CONFIG_MAX_BYTES (1024u * 1024)
#define NUMBER_MAX       4294967295.0 /* no option takes more */

static const char *option_name(size_t index, const void *ctx)
{
    (void)ctx;
    return relay_options[index].name;
}

static bool fail_unknown(const char *path, const char *key)
{
    const char *near = nearest(key, strlen(key), RELAY_OPTION_COUNT, option_name, NULL);
    if (near != NULL)
        out_error("%s: unknown key \"%s\"; did you mean \"%s\"?", path, key, near);
    else
        out_error("%s: unknown key \"%s\"; the keys are the names of the options of `busbar relay`", path, key);
    return false;
}

/* "config" is no key: a file does not name another one. */
static bool find_key(const char *key, size_t *out_index)
{
    for (size_t i = 0; i < RELAY_OPTION_COUNT; i++)
        if (i != RELAY_CONFIG && strcmp(relay_options[i].name, key) == 0) {
            *out_index = i;
            return true;
        }
    return false;
}

static char *number_text(double number)
{
    char text[16];
    snprintf(text, sizeof text, "%" PRIu32, (uint32_t)number);
    return memory_copy(text);
}

/* The value as a word of the command line; NULL also for a flag that is false. False if it has the wrong type. */
static bool read_value(const cJSON *item, option_form form, char **out)
{
    if (form == OPTION_FLAG) {
        *out = cJSON_IsTrue(item) ? memory_copy("") : NULL;
        return cJSON_IsBool(item);
    }
    if (cJSON_IsString(item)) {
        *out = memory_copy(item->valuestring);
        return true;
    }
    double number = cJSON_IsNumber(item) ? item->valuedouble : -1;
    if (!(number >= 0 && number <= NUMBER_MAX) || number != (double)(uint32_t)number)
        return false;
    *out = number_text(number);
    return true;
}

static bool add_text(relay_config *self, const char *path, size_t index, const char *text)
{
    if (self->many_count == ARGUMENTS_MANY_MAX) {
        out_error("%s: \"%s\" has too many values; %d at most", path, relay_options[index].name, ARGUMENTS_MANY_MAX);
        return false;
    }
    self->many[self->many_count] = memory_copy(text);
    self->many_option[self->many_count++] = index;
    return true;
}

/* One text, or an array of them. */
static bool take_texts(relay_config *self, const char *path, const cJSON *member, size_t index)
{
    const cJSON *item;
    assert(member);
    if (cJSON_IsString(member))
        return add_text(self, path, index, member->valuestring);
    bool ok = cJSON_IsArray(member);
    cJSON_ArrayForEach(item, member)
    {
        ok = ok && cJSON_IsString(item);
    }
    if (!ok) {
        out_error("%s: the value of \"%s\" must be a string or an array of strings", path, member->string);
        return false;
    }
    cJSON_ArrayForEach(item, member)
    {
        if (!add_text(self, path, index, item->valuestring))
            return false;
    }
    return true;
}

static bool take_member(relay_config *self, const char *path, const cJSON *item, bool *seen)
{
    size_t index;
    if (!find_key(item->string, &index))
        return fail_unknown(path, item->string);
    if (seen[index]) {
        out_error("%s: the key \"%s\" stands there twice", path, item->string);
        return false;
    }
    seen[index] = true;
    if (relay_options[index].form == OPTION_MANY)
        return take_texts(self, path, item, index);
    if (!read_value(item, relay_options[index].form, &self->values[index])) {
        out_error("%s: the value of \"%s\" must be %s", path, item->string,
                  relay_options[index].form == OPTION_FLAG ? "true or false" : "a string or a whole number");
        return false;
    }
    return true;
}

static bool take_object(relay_config *self, const char *path, const cJSON *root)
{
    bool seen[RELAY_OPTION_COUNT] = {false};
    const cJSON *item;
    if (!cJSON_IsObject(root)) {
        out_error("%s: must be one JSON object, such as {\"url\": \"mqtt://localhost\", \"topic\": \"events/{type}\"}",
                  path);
        return false;
    }
    cJSON_ArrayForEach(item, root)
    {
        if (!take_member(self, path, item, seen))
            return false;
    }
    return true;
}

static bool fail_syntax(const char *path, const char *text, const char *at)
{
    size_t line = 1;
    const char *line_begin = text;
    for (const char *c = text; c < at; c++)
        if (*c == '\n') {
            line++;
            line_begin = c + 1;
        }
    out_error("%s: is not valid JSON at line %zu, column %zu", path, line, (size_t)(at - line_begin) + 1);
    return false;
}

static bool parse(relay_config *self, const char *path, const char *text, size_t size)
{
    const char *end = text;
    cJSON *root = cJSON_ParseWithLengthOpts(text, size, &end, 0);
    const char *rest = end;
    while (rest < text + size && (*rest == ' ' || *rest == '\t' || *rest == '\n' || *rest == '\r'))
        rest++;
    bool ok;
    if (root == NULL || rest < text + size)
        ok = fail_syntax(path, text, rest);
    else
        ok = take_object(self, path, root);
    cJSON_Delete(root);
    return ok;
}

bool relay_config_read(relay_config *out, const char *path)
{
    buffer text = {0};
    *out = (relay_config){.many_count = 0};
    bool ok = file_read(path, CONFIG_MAX_BYTES, &text);
    const char *bytes = buffer_text(&text);
    if (ok && (strlen(bytes) != text.size || strstr(bytes, "\\u0000") != NULL)) {
        out_error("%s: holds a NUL character, which no option can have", path);
        ok = false;
    }
    ok = ok && parse(out, path, bytes, text.size);
    buffer_free(&text);
    return ok;
}

void relay_config_free(relay_config *self)
{
    for (size_t i = 0; i < RELAY_OPTION_COUNT; i++)
        free(self->values[i]);
    for (size_t i = 0; i < self->many_count; i++)
        free(self->many[i]);
    *self = (relay_config){.many_count = 0};
}
