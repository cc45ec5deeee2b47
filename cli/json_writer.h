/* SPDX-License-Identifier: MIT */
/* Builds one JSON value in memory and prints it as a line. Knows JSON, nothing of events. */
#ifndef JSON_WRITER_H
#define JSON_WRITER_H

#include "buffer.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct json_writer {
    buffer text;
    bool comma; /* the next member needs one before it */
} json_writer;

/* `key` is NULL for the outermost value and for elements of arrays. The bracket is '{' or '['. */
void json_begin(json_writer *self, const char *key, char bracket);
void json_end(json_writer *self, char bracket);
/* A NULL value is null. */
void json_text(json_writer *self, const char *key, const char *value);
void json_int(json_writer *self, const char *key, int64_t value);
void json_number(json_writer *self, const char *key, double value);
void json_bool(json_writer *self, const char *key, bool value);
void json_null(json_writer *self, const char *key);
/* A value that is JSON already. */
void json_raw(json_writer *self, const char *key, const char *json, size_t size);
/* Prints the value on a line and starts anew. */
void json_print(json_writer *self);

#endif
