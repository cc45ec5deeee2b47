/* SPDX-License-Identifier: MIT */
/*
 * A stored event as CloudEvents JSON in the two shapes that are printed: on one line, and laid out for people. Only white
 * space between tokens changes, and on a terminal steering characters are written as \u escapes; values never change.
 */
#ifndef EVENT_JSON_H
#define EVENT_JSON_H

#include "json_writer.h"

#include <busbar/busbar.h>

/*
 * Whether the event has data that are not to be shown (busbar_kind_desc.redact), and nobody asked for them. What is printed
 * then is a copy of the event without data, and the place that prints it says so.
 */
bool event_json_hides(const busbar_record *event, bool reveal);
busbar_record event_json_without_data(const busbar_record *event);

/* Appends the event on one line, without a line end. False if it is too large to be written as JSON. */
bool event_json_line(buffer *out, const busbar_record *event);

/* Writes the event as a member of an object; null if it is too large to be written as JSON. */
void event_json_member(json_writer *out, const char *key, const busbar_record *event);

/* Appends the event laid out over several lines, with a line end. False as above. */
bool event_json_pretty(buffer *out, const busbar_record *event);

#endif
