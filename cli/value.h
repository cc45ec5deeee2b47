/* SPDX-License-Identifier: MIT */
/* Texts from the command line as values. Every function returns false and touches nothing if the text is not one. */
#ifndef VALUE_H
#define VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include <busbar/busbar.h>

/* A decimal number without sign, at most `max`. */
bool value_number(const char *text, uint64_t max, uint64_t *out);

/* 500000, 512K, 64M, 2G (of 1,024): a size in bytes. */
bool value_bytes(const char *text, uint64_t *out_bytes);

/* 500ms, 90s, 10m, 1h30m, 3d, 2w: numbers with their units, at most 100 years. */
bool value_duration(const char *text, uint64_t *out_ms);

/* An RFC 3339 timestamp, or a date (its beginning in UTC), as milliseconds since 1970 in UTC. */
bool value_time(const char *text, int64_t *out_ms);

/* A timestamp, a date, or a duration before now_ms. */
bool value_since(const char *text, int64_t now_ms, int64_t *out_ms);

bool value_lane(const char *text, busbar_lane *out);
bool value_state(const char *text, busbar_state *out);

/* The known choices as "pending, retry or dead", for messages. */
#define VALUE_LANES  "urgent, normal or bulk"
#define VALUE_STATES "pending, retry, dead, parked, done or scheduled"

/*
 * name=text, name:int=5, name:bool=true. The name is copied, with a NUL, to `name`, which has `name_size` bytes; a string
 * value points into `text`.
 */
bool value_extension(const char *text, char *name, size_t name_size, busbar_attribute *out);

#endif
