/* SPDX-License-Identifier: MIT */
/*
 * Compares what publishers say that they committed with what a receiver got. It knows only these two: their logs, and
 * the messages. Duplicates are found as a receiver finds them, by source and id.
 */
#ifndef AUDIT_H
#define AUDIT_H

#include "process.h"
#include "receiver.h"

/* A committed event: a line "published DEVICE N ID" of a log. */
typedef struct entry {
    char device[RECEIVER_TEXT_SIZE];
    char id[RECEIVER_TEXT_SIZE];
    long n;
} entry;

typedef struct audit {
    entry *entries; /* by id */
    size_t count;
} audit;

typedef struct audit_result {
    size_t missing;      /* published, not received */
    size_t unknown;      /* received, not published; or not as it was published */
    size_t duplicates;   /* received again */
    size_t out_of_order; /* first received after a later one of the same device (P4) */
} audit_result;

/* Adds what a program published. */
void audit_add(audit *it, const process *publisher);
/* Fails the test if an id was given twice (P5). To be called when all is added. */
void audit_seal(audit *it);
audit_result audit_compare(const audit *it, receiver *from);
void audit_free(audit *it);

/* The whole check: everything arrived, in order, as it was published, and at most so many a second time. */
void audit_assert_delivered(const process *publishers, size_t publisher_count, receiver *from, size_t duplicates_max);

#endif
