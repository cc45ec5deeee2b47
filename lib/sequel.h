/* SPDX-License-Identifier: MIT */
/* Outcome events: what a handler's registration has published when an event is done, or has become a dead letter. */
#ifndef BB_SEQUEL_H
#define BB_SEQUEL_H

#include "handle.h"

typedef struct bb_sequel_failure {
    uint32_t attempts;
    const char *reason; /* NULL: none was given */
} bb_sequel_failure;

/* What is to be said to who asks for outcome events; NULL where this library has them. */
const char *bb_sequel_refusal(void);

/*
 * Publishes an event of `type` that follows from `cause`, in the open transaction. It takes over subject, key, lane,
 * traceparent, tracestate and correlationid (the cause's id if it has none), and names the cause in causationid. `failure`:
 * its attempts and reason become the data, if the bus takes so much; NULL: no data.
 */
int bb_sequel_publish(busbar *bus, const char *type, const busbar_record *cause, const bb_sequel_failure *failure);

#endif
