/* SPDX-License-Identifier: MIT */
#include "json_writer.h"

#include "escape.h"
#include "out.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static void add_key(json_writer *self, const char *key)
{
    if (self->comma)
        buffer_add_text(&self->text, ",");
    self->comma = true;
    if (key == NULL)
        return;
    escape_add_json(&self->text, key, strlen(key));
    buffer_add_text(&self->text, ":");
}

void json_begin(json_writer *self, const char *key, char bracket)
{
    add_key(self, key);
    buffer_add(&self->text, &bracket, 1);
    self->comma = false;
}

void json_end(json_writer *self, char bracket)
{
    buffer_add(&self->text, &bracket, 1);
    self->comma = true;
}

void json_text(json_writer *self, const char *key, const char *value)
{
    if (value == NULL) {
        json_null(self, key);
        return;
    }
    add_key(self, key);
    escape_add_json(&self->text, value, strlen(value));
}

void json_int(json_writer *self, const char *key, int64_t value)
{
    add_key(self, key);
    buffer_printf(&self->text, "%" PRId64, value);
}

void json_number(json_writer *self, const char *key, double value)
{
    if (!isfinite(value)) {
        json_null(self, key);
        return;
    }
    add_key(self, key);
    buffer_printf(&self->text, "%.6g", value);
}

void json_bool(json_writer *self, const char *key, bool value)
{
    add_key(self, key);
    buffer_add_text(&self->text, value ? "true" : "false");
}

void json_null(json_writer *self, const char *key)
{
    add_key(self, key);
    buffer_add_text(&self->text, "null");
}

void json_raw(json_writer *self, const char *key, const char *json, size_t size)
{
    add_key(self, key);
    buffer_add(&self->text, json, size);
}

void json_print(json_writer *self)
{
    buffer_add_text(&self->text, "\n");
    out_bytes(self->text.bytes, self->text.size);
    buffer_free(&self->text);
    self->comma = false;
}
