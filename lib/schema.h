/* SPDX-License-Identifier: MIT */
/* The tables: their text per version, and the way from one version to the next. docs/format.md describes them. */
#ifndef BB_SCHEMA_H
#define BB_SCHEMA_H

#include "store.h"

/* A part of a migration: brings the tables towards version `to`. A version may have several parts, in order. */
typedef struct bb_schema_step {
    int to;
    const char *sql;
} bb_schema_step;

extern const bb_schema_step bb_schema_steps[];
extern const size_t bb_schema_step_count;

/* The version of the tables in the file, 0 if there are none. */
int bb_schema_version(bb_store *store, int *out_version);

/*
 * Takes every step above the file's version, in order, all in one scope: a failing step leaves the file as it was.
 * BUSBAR_ESCHEMANEWER if the file is beyond the last step.
 */
int bb_schema_migrate(bb_store *store, const bb_schema_step *steps, size_t count);

/* For readers: BUSBAR_ENOTBUS, BUSBAR_ESCHEMAOLDER or BUSBAR_ESCHEMANEWER if the tables are not of this version. */
int bb_schema_check(bb_store *store);

#endif
