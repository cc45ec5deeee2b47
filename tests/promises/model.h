/* SPDX-License-Identifier: MIT */
/*
 * A small reference model of what consumers do with events: plain arrays, no database, no time of its own. It is told what
 * is published, delivered and answered, says what of it was not allowed, and knows every counter.
 */
#ifndef BUSBAR_MODEL_H
#define BUSBAR_MODEL_H

#include <busbar/busbar.h>

#define MODEL_TYPES    5 /* a.x a.y b.x b.y c.done */
#define MODEL_KEYS     4
#define MODEL_OPEN_MAX 1000

extern const char *const model_types[MODEL_TYPES];

typedef struct model_event {
    uint8_t type;
    uint8_t key; /* 0: none */
    bool own_policy;
    uint32_t ttl_ms; /* only without a key; 0: none */
    int boot;
    int64_t born_ms; /* counted over boots */
} model_event;

/* What is known of an event for one consumer, beside what is open. */
typedef enum model_fate {
    MODEL_UNREACHED = 0,
    MODEL_UNWANTED,
    MODEL_OPEN, /* waits for retry, or is parked */
    MODEL_DONE,
    MODEL_DEAD,
    MODEL_DROPPED,
    MODEL_EVICTED,
    MODEL_EXPIRED
} model_fate;

/* A message of a route whose outcome is not recorded. */
typedef enum model_message {
    MODEL_NO_MESSAGE = 0,
    MODEL_SENT,
    MODEL_LOST,
    MODEL_ACKED,
    MODEL_REFUSED,      /* to be tried again */
    MODEL_REFUSED_DEAD, /* for ever */
    MODEL_PASSED,       /* parked without having been sent */
    MODEL_LATE,         /* not sent, because its time is over: that is still to be told */
    MODEL_TOLD_LATE
} model_message;

typedef struct model_open {
    int lane;
    int64_t seq;
    bool parked;
    bool unsure; /* whether its losses were counted as an attempt, or it was only set apart */
    uint32_t attempts;
    int64_t due_ms; /* not before, in that boot */
    int boot;
    model_message message;
    uint32_t after_ms; /* named by the peer that refused it */
    uint32_t losses;   /* so often lost on its way since the last answer */
} model_open;

typedef struct model_flight {
    int64_t seq;
    model_message message;
    uint32_t after_ms;
    uint32_t losses;
} model_flight;

typedef struct model_lane {
    int64_t cursor; /* everything up to here has a fate, and it is recorded */
    int64_t sent;   /* a route has looked at everything up to here */
    int64_t filtered, delivered, dead, dropped, replayed, evicted, expired;
    uint8_t *fates; /* by seq */
    int64_t
        held[MODEL_KEYS]; /* up to here events of the key may have been parked, though nothing holds them any more */
    int64_t capacity;
    model_flight *flight; /* a route's window */
    size_t flight_count;
} model_lane;

typedef struct model_consumer {
    const char *name;
    bool route;
    unsigned types; /* a bit per wanted type */
    uint32_t lanes; /* BUSBAR_LANES_… */
    busbar_order order;
    busbar_retry retry;
    bool sequel; /* publishes c.done for each success */
    model_lane lane[BUSBAR_LANE_COUNT];
    model_open open[MODEL_OPEN_MAX + 64];
    size_t open_count;
} model_consumer;

typedef struct model_log {
    model_event *events; /* by seq; [0] is not used */
    int64_t head;
    int64_t capacity;
} model_log;

#define MODEL_CONSUMERS 5

typedef struct model {
    model_log log[BUSBAR_LANE_COUNT];
    model_consumer consumers[MODEL_CONSUMERS];
    int boot;
    int64_t now_ms;   /* of the boot; whoever calls sets it */
    int64_t total_ms; /* and this, over all boots */
    char fault[400];  /* "": nothing that was not allowed has happened */
} model;

/* The policy of events that bring their own. */
extern const busbar_retry model_own_retry;

void model_free(model *m);
void model_publish(model *m, int lane, model_event event);
/* Between two steps, when no worker has anything in hand but a route its window: everything up to there is not in the log any more. */
void model_evicted(model *m, int lane, int64_t until);
bool model_wants(const model *m, const model_consumer *c, int lane, int64_t seq);

/* A handler is called; and what it answers. */
void model_handled(model *m, model_consumer *c, int lane, int64_t seq, uint32_t attempt);
void model_answered(model *m, model_consumer *c, int lane, int64_t seq, busbar_verdict verdict, uint32_t after_ms);

/* It is told that its time was over. */
void model_expired(model *m, model_consumer *c, int lane, int64_t seq);

/* A route sends; its message is answered (MODEL_ACKED, MODEL_REFUSED, MODEL_REFUSED_DEAD); its link is lost. */
void model_sent(model *m, model_consumer *c, int lane, int64_t seq);
void model_settled(model *m, model_consumer *c, int lane, int64_t seq, model_message message, uint32_t after_ms);
void model_link_lost(model_consumer *c);
/* Something that the route did has an outcome, which was not found recorded yet. */
bool model_unrecorded(const model_consumer *c);
/* What was not recorded is forgotten: the process has ended. */
void model_forget(model_consumer *c);

/* The cursor is found there: what was passed has its fate. */
void model_moved(model *m, model_consumer *c, int lane, int64_t cursor);
/* A row of an open exception is found with so many attempts; or (there = false) it is found gone. */
void model_recorded(model *m, model_consumer *c, size_t index, bool there, uint32_t attempts);

/* What people do; a dead or waiting one is tried now, a finished one delivered once more, one is given up. */
bool model_can_replay(const model *m, const model_consumer *c, int lane, int64_t seq);
void model_replay(model *m, model_consumer *c, int lane, int64_t seq);
void model_retry(model *m, model_consumer *c, int lane, int64_t seq);
void model_drop(model *m, model_consumer *c, int lane, int64_t seq);

/* The consumer goes on with another order. */
void model_reorder(model *m, model_consumer *c, busbar_order order);

/* Index into open, or SIZE_MAX. */
size_t model_find(const model_consumer *c, int lane, int64_t seq);
model_fate model_fate_of(const model_consumer *c, int lane, int64_t seq);
void model_fault(model *m, const model_consumer *c, int lane, int64_t seq, const char *text);

#endif
