/* SPDX-License-Identifier: MIT */
/*
 * Compares what publishers say that they committed with what a receiver got. It knows only these two: their logs, and
 * the messages. Duplicates are found as a receiver finds them, by source and id.
 *
 * A publisher that was killed between a commit and the line that tells of it has said "trying" before. Its next life knows:
 * if that goes on with the next n, the event was committed and has to arrive; if with the same n, it was not and must not.
 */
#ifndef AUDIT_H
#define AUDIT_H

#include "process.h"
#include "receiver.h"

/* A committed event: a line "published DEVICE N ID" of a log, or "trying DEVICE N ID" as told above. */
typedef struct entry {
    char device[RECEIVER_TEXT_SIZE];
    char id[RECEIVER_TEXT_SIZE];
    long n;
} entry;

typedef struct audit {
    entry *entries; /* by id */
    size_t count;
    size_t unsaid; /* of these, committed before a kill that kept it from being said */
} audit;

typedef struct audit_result {
    size_t missing;      /* published, not received */
    size_t unknown;      /* received, not published; or not as it was published */
    size_t duplicates;   /* received again */
    size_t deepest;      /* so far back in the order of its device the deepest duplicate was: what one kill repeated */
    size_t out_of_order; /* first received after a later one of the same device (P4) */
} audit_result;

/* Adds what a program published. Its last life must not have been killed. */
void audit_add(audit *it, const process *publisher);
/* Fails the test if an id was given twice (P5). To be called when all is added. */
void audit_seal(audit *it);
audit_result audit_compare(const audit *it, receiver *from);
void audit_free(audit *it);

/* The whole check: everything arrived, in order, as it was published, and at most so many a second time. */
void audit_assert_delivered(const process *publishers, size_t publisher_count, receiver *from, size_t duplicates_max);

/* The same after so many kills, each of which may have repeated `at_risk` events and no older one. Returns the duplicates. */
size_t audit_assert_delivered_over_kills(const process *publishers, size_t publisher_count, receiver *from,
                                         size_t kills, size_t at_risk);

/* P7: what the handler published of each event 1 … count of a device arrived, under one id. Returns the duplicates. */
size_t audit_assert_effects(receiver *from, const char *device, size_t count);

#endif
