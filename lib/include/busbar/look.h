/* SPDX-License-Identifier: MIT */
/*
 * busbar/look.h: looking at a bus and acting on what is found: lists, status, health, checks, dead letters. Comes with
 * busbar/busbar.h, and needs it.
 */
#ifndef BUSBAR_LOOK_H
#define BUSBAR_LOOK_H

#include <busbar/busbar.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Looking -------------------------------------------------------------------------------------------------------- */
/* Everything here reads only, works on a read-only connection, and leaves no read transaction open during a callback.
   On a database without Busbar's tables each function returns BUSBAR_ENOTBUS; with older ones, BUSBAR_ESCHEMAOLDER. */

typedef enum busbar_state {
    BUSBAR_STATE_ANY = 0,
    BUSBAR_STATE_PENDING = 1,  /* not yet reached by the consumer, and wanted by it */
    BUSBAR_STATE_RETRY = 2,    /* failed, waiting for its next attempt */
    BUSBAR_STATE_DEAD = 3,     /* given up, kept */
    BUSBAR_STATE_PARKED = 4,   /* waits behind another event */
    BUSBAR_STATE_DONE = 5,     /* delivered, or filtered out */
    BUSBAR_STATE_SCHEDULED = 6 /* not due yet, and so in no lane; of no consumer */
} busbar_state;

/* "any", "pending", "retry", "dead", "parked", "done", "scheduled"; NULL for anything else. Any context. */
BUSBAR_API const char *busbar_state_name(busbar_state state);

typedef struct busbar_query {
    size_t size;          /* sizeof(busbar_query) */
    const char *pattern;  /* on the type; NULL: all */
    const char *consumer; /* NULL: the log itself, or with state SCHEDULED what is not in it yet; no other state then */
    busbar_state state;   /* of the event for that consumer; ANY: pending, retry, parked and dead */
    int64_t after_seq[BUSBAR_LANE_COUNT]; /* indexed by lane: only events after this position */
    int64_t since_ms;                     /* only events at or after this wall time; 0: all. Unknown times pass */
    uint64_t limit;                       /* at most so many; 0: no limit */
} busbar_query;

/* How one consumer stands to one event. */
typedef struct busbar_standing {
    const char *consumer;
    busbar_state state;
    uint32_t attempts;
    const char *reason; /* of the last failure, or NULL */
    int64_t first_ms;   /* wall time of the first failure, UTC milliseconds; BUSBAR_TIME_UNKNOWN: none, or not known */
    int64_t last_ms;    /* of the last one */
} busbar_standing;

/* Gets one event; `standing` is NULL without a consumer in the query. Return 0 to go on, else the listing ends with it. */
typedef int busbar_list_fn(const busbar_record *event, const busbar_standing *standing, void *ctx);

/*
 * Lists events: urgent, normal, bulk, each in order. Each event is read on its own: the list is no snapshot.
 * Returns BUSBAR_OK; what `fn` returned if not 0; BUSBAR_ENOTFOUND (no such consumer); BUSBAR_EPATTERN; BUSBAR_EINVAL.
 */
BUSBAR_API int busbar_list(busbar *bus, const busbar_query *query, busbar_list_fn *fn, void *ctx);

/* Gets each consumer's standing to the event of busbar_show. Return 0 to go on. */
typedef int busbar_standing_fn(const busbar_standing *standing, void *ctx);

/*
 * Finds one event by its id (derived or given): calls `fn` once with it and no standing, then `standing_fn` (may be NULL)
 * once for each consumer. An id that several sources gave finds each. A scheduled event has the position 0 and no consumers.
 * Returns BUSBAR_OK; what a callback returned if not 0; BUSBAR_ENOTFOUND; BUSBAR_EINVAL.
 */
BUSBAR_API int busbar_show(busbar *bus, const char *id, busbar_list_fn *fn, busbar_standing_fn *standing_fn, void *ctx);

typedef enum busbar_class { BUSBAR_CLASS_SUBSCRIPTION = 1, BUSBAR_CLASS_ROUTE = 2 } busbar_class;

/* One consumer in one lane, in log positions. Always: head - start + replayed = filtered + delivered + dead + expired +
   evicted + retrying + (head - cursor), with head that of the lane. */
typedef struct busbar_progress {
    int64_t start;
    int64_t cursor;
    int64_t filtered;
    int64_t delivered;
    int64_t dead;
    int64_t expired;
    int64_t evicted;
    int64_t retrying;  /* open exceptions: waiting for retry, or parked */
    int64_t parked;    /* of these, parked behind another */
    int64_t dropped;   /* of the dead, no longer kept: dropped by somebody or by the limits on dead letters */
    int64_t replayed;  /* finished events that were put to be delivered once more */
    int64_t unmatched; /* of the delivered, with nobody there to receive them (BUSBAR_UNMATCHED_COUNT) */
} busbar_progress;

typedef struct busbar_consumer_status {
    size_t size;
    const char *name;
    busbar_class class_; /* the trailing underscore is for C++ */
    const char *pattern;
    const char *filter;     /* in words, perhaps cut; NULL: none */
    const char *worker;     /* who holds it now: the port's worker_id, ':' and a random token; NULL: nobody */
    const char *last_error; /* NULL: none since the last success */
    int64_t pending;        /* events behind the head, over all lanes, not counting retrying */
    int64_t oldest_ms;      /* age of the oldest pending event; -1: none, or not known */
    double rate_per_s;      /* events passed per second, filtered ones too, while last working; 0: not known */
    int64_t eta_s;          /* until pending is drained at that rate; -1: not known */
    int64_t stuck_ms; /* its worker has got nowhere for so long, beyond its handler's limit_ms; 0: it is not stuck */
    bool worked;      /* its worker lives, as far as can be told from here */
    bool offline;     /* last_error is that of a connection: a route that waits for its network */
    /* Offline: for how long. Else how long its events have failed without a success, even if last_error is gone. 0: neither */
    int64_t failing_ms;
    busbar_order order;
    int64_t
        gap_count; /* runs of events that it has missed: a route's that it has still to tell, a subscription's newest */
    int64_t gap_events;                          /* so many were lost in them */
    busbar_progress progress[BUSBAR_LANE_COUNT]; /* indexed by lane */
} busbar_consumer_status;

typedef struct busbar_status {
    size_t size;
    int schema_version;
    int64_t head[BUSBAR_LANE_COUNT];      /* position of the newest event; 0: never any */
    int64_t first[BUSBAR_LANE_COUNT];     /* position of the oldest stored event; 0: none stored */
    int64_t watermark[BUSBAR_LANE_COUNT]; /* up to here known to survive a power cut */
    int64_t consumer_count;
    int64_t scheduled_count; /* events that are not due yet */
    int64_t database_bytes;
    int64_t wal_bytes;                  /* -1: not known */
    int64_t free_bytes;                 /* in freed pages inside the file */
    busbar_clock_quality clock_quality; /* of the last clock fix of this boot: how well its events' times are known */
    int64_t clock_fix_ms;               /* how long ago it was; -1: there is none */
    bool wal_race; /* a WAL database, and a SQLite whose checkpoints can damage it: see busbar_wal_race() */
    /*
     * Since this handle was opened. Pages that its connection has written to the WAL, or to the file in the modes with a
     * rollback journal, times their size; with what the application wrote on the same connection, without checkpoints and
     * rollback journals. And transactions that the bus committed itself (in busbar_step, or publishing outside of any), of
     * them those that it had synced, each with one sync of the WAL: what others commit rides on these.
     */
    int64_t written_bytes;
    int64_t commit_count;
    int64_t synced_count;
} busbar_status;

/* Fills *out_status, whose size must be set. Returns BUSBAR_OK; BUSBAR_EINVAL. */
BUSBAR_API int busbar_status_get(busbar *bus, busbar_status *out_status);

/* Gets one consumer; valid until the function returns. Return 0 to go on, else the listing ends with it. */
typedef int busbar_consumer_fn(const busbar_consumer_status *consumer, void *ctx);

/* Lists the consumers by name. Returns BUSBAR_OK; what `fn` returned if not 0. */
BUSBAR_API int busbar_consumer_list(busbar *bus, busbar_consumer_fn *fn, void *ctx);

/* ---- Health --------------------------------------------------------------------------------------------------------- */

typedef enum busbar_health {
    BUSBAR_HEALTH_OK = 0,
    BUSBAR_HEALTH_DEGRADED = 1, /* something fails, and may still come right by itself */
    BUSBAR_HEALTH_UNHEALTHY = 2 /* somebody should look */
} busbar_health;

/* "ok", "degraded", "unhealthy"; NULL for anything else. Any context. */
BUSBAR_API const char *busbar_health_name(busbar_health health);

/*
 * What is unhealthy. Zero everywhere is the default: a dead letter that is kept, a stuck handler, a consumer whose events
 * have failed for five minutes without a success while some still wait. A route that merely has no connection is healthy:
 * being offline is normal.
 */
typedef struct busbar_health_rules {
    size_t size;              /* sizeof(busbar_health_rules) */
    uint64_t max_dead;        /* dead letters kept by a consumer; 0: none; BUSBAR_FOREVER: any number */
    uint64_t max_failing_ms;  /* a consumer fails (not for its connection) for so long; 0: 300,000; BUSBAR_FOREVER */
    uint64_t max_offline_ms;  /* a route has had no connection for so long; 0: no limit */
    uint64_t max_unworked_ms; /* a consumer without a living worker leaves an event waiting for so long; 0: no limit */
    uint64_t max_pending;     /* events that wait for a consumer; 0: no limit */
    uint64_t max_oldest_ms;   /* age of the oldest of them; 0: no limit */
    uint64_t max_file_bytes;  /* of the database file, free pages included; 0: no limit */
    uint64_t max_wal_bytes;   /* of its WAL; 0: no limit */
    bool allow_stuck;         /* a stuck handler is not unhealthy */
} busbar_health_rules;

/* One rule that is broken. Texts are valid until the function returns. */
typedef struct busbar_health_reason {
    size_t size;
    busbar_health health; /* DEGRADED or UNHEALTHY */
    const char *rule;     /* "dead", "stuck", "failing", "offline", "unworked", "pending", "oldest", "file", "wal" */
    const char *consumer; /* NULL: it is of the database */
    int64_t value;        /* in the unit of the rule's member */
    int64_t limit;
    const char *text; /* for people: names the consumer and the figure */
} busbar_health_reason;

/* Return 0 to go on, else it ends with that. */
typedef int busbar_health_fn(const busbar_health_reason *reason, void *ctx);

/*
 * Judges the bus by rules (NULL: the defaults) and tells each reason, most of all those of being unhealthy, to `fn` (may be
 * NULL). *out_health is the worst of them. Reads only.
 * Returns BUSBAR_OK, whatever the health is; what `fn` returned if not 0; BUSBAR_EINVAL.
 */
BUSBAR_API int busbar_health_get(busbar *bus, const busbar_health_rules *rules, busbar_health_fn *fn, void *ctx,
                                 busbar_health *out_health);

/* ---- Checking ------------------------------------------------------------------------------------------------------- */

/* Something in the database that should not be. Texts are valid until the function returns. */
typedef struct busbar_finding {
    size_t size;
    /* "file": pages are damaged, or cannot be read. "schema": a table or index is missing or of another shape. "consumer",
       "exception", "log", "meta", "given", "gap", "lease": what the rows say cannot be. */
    const char *part;
    const char *text;   /* what is wrong, and with which thing */
    const char *advice; /* what to do */
} busbar_finding;

/* Return 0 to go on, else the check ends with that. */
typedef int busbar_finding_fn(const busbar_finding *finding, void *ctx);

/*
 * Examines the whole database: SQLite's integrity check, Busbar's tables and indexes, the counters of every consumer and
 * lane (the equation of busbar_progress), cursors and the watermark against the log, and what rows refer to. Of each kind
 * of finding the first 20 are told. Reads everything, so it takes its time; writes nothing, works on a read-only connection
 * and beside workers. `fn` must not use the connection.
 * Returns BUSBAR_OK, also with findings; what `fn` returned if not 0; BUSBAR_EINVAL; BUSBAR_ENOTBUS; BUSBAR_ESCHEMAOLDER,
 * BUSBAR_ESCHEMANEWER; BUSBAR_ETXN in an open transaction.
 */
BUSBAR_API int busbar_check(busbar *bus, busbar_finding_fn *fn, void *ctx);

/* ---- Acting --------------------------------------------------------------------------------------------------------- */

typedef enum busbar_action {
    /* Dead letters, and events that wait for retry, are tried again now; the attempts of dead ones count from 0 again. */
    BUSBAR_ACTION_RETRY = 1,
    /* Dead letters are forgotten, events that wait for retry or are parked are given up; `dead` and `dropped` count them.
       Without a consumer, scheduled events too: as if they had not been published. */
    BUSBAR_ACTION_DROP = 2,
    /* Events that the consumer's cursor has passed, and the log still has, are delivered once more if its pattern fits: also
       those from before its registration. Its dead letters among them are retried. Its filter and its lanes are asked if
       the consumer is registered on this handle. Needs a consumer. */
    BUSBAR_ACTION_REPLAY = 3
} busbar_action;

/* Which events to act on: those that meet every condition given. At least one of consumer, id and pattern is required. */
typedef struct busbar_selector {
    size_t size;          /* sizeof(busbar_selector) */
    const char *consumer; /* NULL: every consumer */
    const char *id;       /* derived or given */
    const char *pattern;  /* on the type */
    int64_t since_ms;  /* published at or after this wall time; 0: any. Events of unknown time meet no such condition */
    int64_t before_ms; /* published before this wall time; 0: any */
    uint64_t limit;    /* at most so many, the oldest; 0: no limit */
    bool dry_run;      /* count only */
} busbar_selector;

/*
 * Acts on dead and past events, in bounded transactions of its own: of a large selection, a part may be done when an error
 * ends it; *out_count, which is always set, says how many were. Whoever works the consumer finds out at its next turn.
 * Returns BUSBAR_OK, also when nothing met the conditions; BUSBAR_EINVAL (nothing selected, unknown action, REPLAY without
 * a consumer); BUSBAR_EPATTERN; BUSBAR_ENOTFOUND (no such consumer); BUSBAR_EBOUND: as many events of the consumer wait as
 * may, go on when some are through; BUSBAR_ETXN in an open transaction; BUSBAR_EMISUSE inside a handler.
 */
BUSBAR_API int busbar_act(busbar *bus, const busbar_selector *selector, busbar_action action, uint64_t *out_count);

typedef struct busbar_pruning {
    size_t size;            /* sizeof(busbar_pruning) */
    uint64_t keep;          /* so many of the newest of each lane stay; 0: only the newest, which always does */
    uint64_t older_than_ms; /* only events published longer ago for certain; 0: any */
    bool vacuum;            /* give free pages back to the file system, see below */
    /* Called between its transactions, with no lock held: others, who wait for the write lock, get it for certain only while
     * this one sleeps. Not 0 ends it, with that result. It must not call the bus. May be NULL: no pauses. */
    int (*pause)(void *ctx);
    void *ctx; /* passed to pause */
} busbar_pruning;

/*
 * Deletes events that every consumer has finished, or that there is no consumer for, in transactions of its own of about 1 ms
 * each. Free pages are used again; the file gets smaller only with `vacuum`: by as much as is free with PRAGMA
 * auto_vacuum=INCREMENTAL, in transactions of 64 pages, else by writing it anew, which needs as much room again and locks
 * everybody out meanwhile. *out_count, which is always set, says how many events went, also before an error.
 * Returns BUSBAR_OK; what `pause` returned; BUSBAR_EINVAL; BUSBAR_ETXN in an open transaction; BUSBAR_EMISUSE inside a handler.
 */
BUSBAR_API int busbar_prune(busbar *bus, const busbar_pruning *pruning, uint64_t *out_count);

#ifdef __cplusplus
}
#endif

#endif
