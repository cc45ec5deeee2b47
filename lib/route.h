/* SPDX-License-Identifier: MIT */
/*
 * Outward routes: busbar_route_add, and the worker that sends the events of one consumer through one transport.
 *
 * route.c has registration, lease and turn; route_answer.c hears the transport; route_send.c chooses what to send and
 * offer.c offers it; route_record.c commits what became of what was sent.
 */
#ifndef BB_ROUTE_H
#define BB_ROUTE_H

#include "gap.h"
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

/* Gaps that are told at the same time, at most. They count into the window. */
#define BB_ROUTE_NOTICES 8

/* A gap that is being told. */
typedef struct bb_notice {
    bb_gap gap; /* gap.n 0: the place is free */
    busbar_lane lane;
    bb_entry_state state; /* UNSENT, SENT, or ACKED: done with */
    uint64_t token;
    uint64_t due_us;   /* UNSENT: not before */
    uint32_t attempts; /* that were refused, or found nobody there; since it was taken up */
    uint32_t refusals;
    uint64_t refused_since_us;
} bb_notice;

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
    int32_t open[BUSBAR_LANE_COUNT]; /* exceptions that are not dead, as last seen */
    uint64_t acts;                   /* of this handle, as last seen */
    bb_suspicion suspicion;
    bb_exception_key noted; /* the event that was noted last, after a bad end (worker.noted: and the note stands) */
    int64_t retry_due_ms;   /* when the next exception is due; INT64_MAX: none */
    int64_t position[BUSBAR_LANE_COUNT]; /* read up to here */
    bb_window windows[BUSBAR_LANE_COUNT];
    bool noticed;                         /* some of them may be in use */
    bool gaps_stale;                      /* there may be gaps that no notice stands for */
    bool gaps_waiting[BUSBAR_LANE_COUNT]; /* there are, and no place is free */
    bool gaps_guilty;                     /* one ended connections, and none was answered since */
    uint32_t gap_losses;                  /* so often they were set aside for that */
    uint64_t gaps_due_us;                 /* none is sent before */
    bb_throttle throttle;
    bb_buffer payload;
    char error[BUSBAR_REASON_SIZE];  /* what status should say; "" for nothing */
    char stored[BUSBAR_REASON_SIZE]; /* what it says */
    uint64_t error_due_us;           /* no error is written before: a flapping link must not wear the flash */
    bb_resend resends[BB_ROUTE_RETRIES];
    bb_notice notices[BB_ROUTE_NOTICES]; /* in the order in which they are sent */
} bb_route;

/* Takes what the transport reports of messages and of the link. (route_answer.c) */
void bb_route_listen(bb_route *route, busbar *bus);

/* Sends what may be sent now. *out_wait_us: until more may be sent, as far as it is known here. (route_send.c) */
int bb_route_send(bb_route *route, busbar *bus, uint64_t deadline_us, uint64_t *out_wait_us);

/* One message at a time: one of them may end connections, or the process. (route_suspect.c, also what follows) */
bool bb_route_suspects(const bb_route *route);
/* This message waits until another has passed, or has not. */
bool bb_route_set_aside(const bb_route *route, const bb_exception_key *key);
/* An answer for one message speaks for the link, and against a message that was set aside. */
void bb_route_answered(bb_route *route, busbar *bus, const bb_exception_key *key);
/* The connection was lost with what is on its way. */
void bb_route_lost(bb_route *route);
/* What was noted came back without an answer: the link was lost, or nobody was there to receive it. */
int bb_route_withdraw_if_back(bb_route *route, busbar *bus);

/* What is to be said to who wants gaps told; NULL where this library does it. (route_gap.c, also what follows) */
const char *bb_route_gap_refusal(void);
/* Takes up gaps as far as there are places. */
int bb_route_gap_load(bb_route *route, busbar *bus);
/* A notice, which was sent, was answered. False: the event of the transport is about none. */
bool bb_route_gap_settle(bb_route *route, busbar *bus, const busbar_transport_event *event);
/* Until one that was refused is to be sent again. */
uint64_t bb_route_gap_wait_us(const bb_route *route, uint64_t now_us);
size_t bb_route_gap_count(const bb_route *route, bb_entry_state state);
/* The lane waits for gaps that have no place yet. */
bool bb_route_gap_holds(const bb_route *route, busbar *bus, busbar_lane lane);
/* One that is on its way, as a suspicion knows it: with a position below zero. Untouched if there is none. */
void bb_route_gap_in_flight(const bb_route *route, bb_exception_key *out_key);
/* It ended connections each time that it was alone on its way, and another message has passed: that is a refusal. */
void bb_route_gap_convict(bb_route *route, busbar *bus, const bb_exception_key *key);
/* The connection was lost. */
void bb_route_gap_lose(bb_route *route, busbar *bus);
void bb_route_gap_clear(bb_route *route);
/* In the transaction that records results: what is told is forgotten. */
int bb_route_gap_write(bb_route *route, busbar *bus);
/* And then in memory. */
void bb_route_gap_forget(bb_route *route);

/* Results wait to be recorded: count of settled entries at the fronts, and of settled resends. (route_record.c) */
size_t bb_route_settled(const bb_route *route);
/*
 * Outcomes of messages that are not recorded yet, also behind a message that is still in flight: what a kill would make the
 * next worker send again beside the window.
 */
size_t bb_route_unrecorded(const bb_route *route);
/* An exception that was tried again has its outcome. */
bool bb_route_resend_settled(const bb_route *route);
/* Something waits to be recorded, since now if nothing did. */
void bb_route_note_settled(bb_route *route, const busbar *bus);
/* The lane stands still, until a recording finds room again for one more exception. */
bool bb_route_blocked(const bb_route *route, busbar_lane lane);
/* One of the settled entries is the outcome of a message, not only a run of events that were passed over. */
bool bb_route_has_outcome(const bb_route *route);
/* Records all of them in one transaction. BUSBAR_ELEASE if the lease was lost. */
int bb_route_record(bb_route *route, busbar *bus);

/* Messages accepted by the transport and not settled. */
size_t bb_route_in_flight(const bb_route *route);
/* The same of exceptions that are being tried again. */
size_t bb_route_resends_in_flight(const bb_route *route);
/* A place for one more; NULL: none. */
bb_resend *bb_route_free_resend(bb_route *route);
/* Sets what status should say. */
void bb_route_say(bb_route *route, const char *text);

#endif
