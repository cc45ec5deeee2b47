/* SPDX-License-Identifier: MIT */
/*
 * For shell tests: checks that standard input is JSON objects, one a line, and prints members of them.
 *
 *     json_check [PATH...] < FILE        PATH: member names and array indexes between slashes: event/data/n, consumers/0
 *
 * For each line, prints the value at each PATH on a line of its own: strings without quotes, other values as JSON. Exit
 * code 1 if there is no line, a line is no object, or a value is missing.
 */
#define _POSIX_C_SOURCE 200809L

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool fail(size_t line, const char *what)
{
    fprintf(stderr, "json_check: line %zu: %s\n", line, what);
    return false;
}

static const cJSON *child(const cJSON *parent, const char *name)
{
    char *end;
    long index = strtol(name, &end, 10);
    if (cJSON_IsArray(parent))
        return *end == '\0' && index >= 0 ? cJSON_GetArrayItem(parent, (int)index) : NULL;
    return cJSON_GetObjectItemCaseSensitive(parent, name);
}

static const cJSON *find(const cJSON *root, const char *path)
{
    char copy[256];
    snprintf(copy, sizeof copy, "%s", path);
    char *rest = copy;
    for (char *name; root != NULL && (name = strtok_r(rest, "/", &rest)) != NULL;)
        root = child(root, name);
    return root;
}

static bool print_value(const cJSON *root, const char *path, size_t line)
{
    const cJSON *value = find(root, path);
    if (value == NULL)
        return fail(line, path);
    if (cJSON_IsString(value)) {
        puts(value->valuestring);
        return true;
    }
    char *text = cJSON_PrintUnformatted(value);
    puts(text);
    cJSON_free(text);
    return true;
}

/* cJSON takes raw control characters in strings, which JSON does not allow. */
static bool has_control(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] < 0x20)
            return true;
    return false;
}

static bool check_line(const char *text, size_t size, size_t line, int count, char *const *paths)
{
    const char *end = NULL;
    if (size == 0 || text[size - 1] != '\n')
        return fail(line, "does not end");
    if (has_control(text, size - 1))
        return fail(line, "has a control character");
    cJSON *root = cJSON_ParseWithLengthOpts(text, size - 1, &end, 0);
    bool ok = cJSON_IsObject(root) && end == text + size - 1;
    if (!ok)
        fail(line, "is not a JSON object");
    for (int i = 0; ok && i < count; i++)
        ok = print_value(root, paths[i], line);
    cJSON_Delete(root);
    return ok;
}

int main(int argc, char **argv)
{
    char *text = NULL;
    size_t capacity = 0;
    size_t line = 0;
    bool ok = true;
    for (ssize_t size; ok && (size = getline(&text, &capacity, stdin)) > 0;)
        ok = check_line(text, (size_t)size, ++line, argc - 1, argv + 1);
    free(text);
    if (ok && line == 0)
        ok = fail(0, "there is nothing");
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
