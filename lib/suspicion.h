/* SPDX-License-Identifier: MIT */
/*
 * Which message ends connections (P11). A message is suspected when it was alone on its way each time that a connection was
 * lost; it is guilty only if, set aside, the next message then passes. A link that flaps acquits: there the next message is
 * lost too. Pure.
 */
#ifndef BB_SUSPICION_H
#define BB_SUSPICION_H

#include "exception.h"

typedef struct bb_suspicion {
    uint32_t losses;          /* connections in a row that were lost before anything was acknowledged */
    bb_exception_key suspect; /* was alone on its way when the last one was lost; seq 0: none */
    uint32_t alone;           /* so often in a row */
    bool aside;               /* it is set aside: the next message goes first */
    uint32_t narrow;          /* so many answers until more than one message at a time may go again */
} bb_suspicion;

/* One message at a time: to find out which one it is. */
bool bb_suspicion_single(const bb_suspicion *suspicion);
/* This message must wait until the next one has passed, or has not. */
bool bb_suspicion_aside(const bb_suspicion *suspicion, const bb_exception_key *key);
/* There is no other message to send: the one that is set aside goes once more, and is suspected as before. */
void bb_suspicion_relent(bb_suspicion *suspicion);
/* A connection was lost with so many messages on their way; `only`: the one, if it was one. */
void bb_suspicion_lost(bb_suspicion *suspicion, size_t in_flight, const bb_exception_key *only);
/* A message had an answer. True: the suspect is guilty, and forgotten here; *out_guilty is it. */
bool bb_suspicion_passed(bb_suspicion *suspicion, const bb_exception_key *key, bb_exception_key *out_guilty);

#endif
