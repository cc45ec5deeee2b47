/* SPDX-License-Identifier: MIT */
/*
 * Outward routes: busbar_route_add, and the worker that sends the events of one consumer through one transport.
 *
 * route.c has registration, lease and turn; route_answer.c hears the transport; route_send.c chooses what to send and
 * offer.c offers it; route_record.c commits what became of what was sent.
 */
#ifndef BB_ROUTE_H
#define BB_ROUTE_H

#include "outcome.h"
#include "suspicion.h"
#include "throttle.h"
#include "window.h"

/* Events that are tried again at the same time, at most. They count into the window. */
#define BB_ROUTE_RETRIES 8

/* An exception that is being tried again. */
typedef struct bb_resend {
    bb_trial trial; /* trial.key.n 0: the place is free */
    bool unmatched;
    uint32_t retry_after_ms;
    uint64_t token;
    bb_entry_state state; /* SENT, ACKED or REFUSED */
    busbar_refusal verdict;
    char reason[BUSBAR_REASON_SIZE];
} bb_resend;

typedef struct bb_route {
    bb_worker worker;    /* first: a worker is cast to its route */
    busbar_route config; /* every number has its effective value; the texts are the worker's and `topic` */
    char *topic;
    busbar_transport transport;
    bool started;
    bool watched; /* the bus's wake object watches the transport's descriptor: no need to look again and again */
    bool up;
    bool loaded;        /* positions are those of the lease that is held */
    bool refused_now;   /* the transport had no room: wait for its next event */
    bool lively;        /* something was sent or reported in this turn */
    bool retries_alone; /* a connection was lost while an exception was tried again: each of them goes alone */
    bool noted_poison;  /* `noted` must not be sent */
    bool stored_known;
    uint32_t peer_window;
    uint32_t held_count;                          /* nobody was there to receive, so often in a row */
    uint32_t data_version;                        /* of what was last seen: another connection may act on exceptions */
    uint64_t start_due_us;                        /* when to try to start the transport again */
    uint64_t blocked_until_us[BUSBAR_LANE_COUNT]; /* too many open exceptions: the lane's refusals wait until then */
    uint64_t settled_since_us;                    /* the oldest unrecorded result; 0: none */
    uint64_t held_until_us; /* nobody is there to receive (BUSBAR_UNMATCHED_HOLD): nothing is sent until then */
    uint64_t next_token;
    int64_t open[BUSBAR_LANE_COUNT]; /* exceptions that are not dead, as last seen */
    uint64_t acts;                   /* of this handle, as last seen */
    bb_suspicion suspicion;
    bb_exception_key noted; /* the event that was noted last, after a bad end (worker.noted: and the note stands) */
    int64_t retry_due_ms;   /* when the next exception is due; INT64_MAX: none */
    int64_t position[BUSBAR_LANE_COUNT]; /* read up to here */
    bb_window windows[BUSBAR_LANE_COUNT];
    bb_resend resends[BB_ROUTE_RETRIES];
    bb_throttle throttle;
    bb_buffer payload;
    char error[BUSBAR_REASON_SIZE];  /* what status should say; "" for nothing */
    char stored[BUSBAR_REASON_SIZE]; /* what it says */
    uint64_t error_due_us;           /* no error is written before: a flapping link must not wear the flash */
} bb_route;

/* Takes what the transport reports of messages and of the link. (route_answer.c) */
void bb_route_listen(bb_route *route, busbar *bus);

/* Sends what may be sent now. *out_wait_us: until more may be sent, as far as it is known here. (route_send.c) */
int bb_route_send(bb_route *route, busbar *bus, uint64_t deadline_us, uint64_t *out_wait_us);

/* Results wait to be recorded: count of settled entries at the fronts, and of settled resends. (route_record.c) */
size_t bb_route_settled(const bb_route *route);
/*
 * Outcomes of messages that are not recorded yet, also behind a message that is still in flight: what a kill would make the
 * next worker send again beside the window.
 */
size_t bb_route_unrecorded(const bb_route *route);
/* An exception that was tried again has its outcome. */
bool bb_route_resend_settled(const bb_route *route);
/* The lane stands still, until a recording finds room again: as many events wait for retry as may. */
bool bb_route_blocked(const bb_route *route, busbar_lane lane);
/* One of the settled entries is the outcome of a message, not only a run of events that were passed over. */
bool bb_route_has_outcome(const bb_route *route);
/* Records all of them in one transaction. BUSBAR_ELEASE if the lease was lost. */
int bb_route_record(bb_route *route, busbar *bus);

/* Messages accepted by the transport and not settled. */
size_t bb_route_in_flight(const bb_route *route);
/* The same of exceptions that are being tried again. */
size_t bb_route_resends_in_flight(const bb_route *route);
/* A message that was set aside has failed after all. */
void bb_route_convict(bb_route *route, const bb_exception_key *key, const char *text);
/* Sets what status should say. */
void bb_route_say(bb_route *route, const char *text);

#endif
