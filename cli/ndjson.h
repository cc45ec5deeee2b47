/* SPDX-License-Identifier: MIT */
/* Publishing a stream of CloudEvents, one JSON object a line. */
#ifndef NDJSON_H
#define NDJSON_H

#include "database.h"

/*
 * Stores the events of the file ("-": standard input) with the lane and time-to-live of `handling`. Bad lines are reported
 * and skipped. `max_bytes` is the limit on the bus; 0: none. Ends with a summary on stderr. Returns EXIT_DONE, or EXIT_FAILED if anything was not stored.
 */
int ndjson_publish(database *db, const char *path, const busbar_event *handling, uint64_t max_bytes);

#endif
