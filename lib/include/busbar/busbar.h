/* SPDX-License-Identifier: MIT */
/*
 * busbar/busbar.h: the application's interface.
 *
 * Busbar is an event bus inside the application's own SQLite database. An event is published in the same transaction as
 * the state it tells of; handlers run locally; routes forward events through a transport when there is a connection.
 *
 * Durability   An event exists if and only if the transaction (or savepoint) that published it committed. No transport,
 *              and no handler outside a transaction, sees it before a synced commit would keep it through a power cut.
 * Threads      A handle belongs to one sqlite3 connection and has that connection's thread rules. No function starts a
 *              thread, sleeps, or waits for a network. Handles on different connections are independent.
 * Allocation   Opening, registering and the first use of an event kind allocate; publishing a known kind does not.
 * Callbacks    Handlers run inside busbar_step(). They may use the connection and publish. They must not close the bus,
 *              step it, or end the transaction they run in: each of these is refused or caught.
 * Results      int functions return 0, or a negative code of BUSBAR_ERROR_MAP; positive only where the comment says so.
 *              Outputs are untouched on failure. busbar_error_get() has the detail of the last failure on a handle.
 *              Every function that reaches the database may also return the codes of the "environment" part of the list;
 *              the comments below name the others.
 * Structs      Option and event structs begin with their size, and zero means default in every member.
 * Strings      UTF-8, NUL-terminated. Inputs are copied where they are kept, unless the comment says otherwise.
 */
#ifndef BUSBAR_H
#define BUSBAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <busbar/port.h>
#include <busbar/transport.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define BUSBAR_API __attribute__((visibility("default")))
#else
#define BUSBAR_API
#endif

/* The library's version, and the version of the tables it writes. The second changes only with a migration. */
#define BUSBAR_VERSION_MAJOR  0
#define BUSBAR_VERSION_MINOR  1
#define BUSBAR_VERSION_PATCH  0
#define BUSBAR_SCHEMA_VERSION 2

/* Limits, in bytes of UTF-8 unless named otherwise. Longer input is refused, never cut. */
#define BUSBAR_TYPE_MAX            255
#define BUSBAR_SOURCE_MAX          1024
#define BUSBAR_ID_MAX              255
#define BUSBAR_SUBJECT_MAX         1024
#define BUSBAR_KEY_MAX             255
#define BUSBAR_CONTENT_TYPE_MAX    255
#define BUSBAR_SCHEMA_URI_MAX      1024
#define BUSBAR_TIME_MAX            40
#define BUSBAR_EXTENSION_COUNT_MAX 32
#define BUSBAR_EXTENSION_NAME_MAX  64
#define BUSBAR_EXTENSION_VALUE_MAX 4096
#define BUSBAR_NAME_MAX            64 /* of a consumer: letters, digits, '.', '_', '-' */
#define BUSBAR_PATTERN_MAX         255
#define BUSBAR_TOPIC_MAX           1024  /* a template, and what it expands to */
#define BUSBAR_DATA_DEFAULT_MAX    65536 /* options.max_data_bytes == 0 */
#define BUSBAR_DATA_MAX            (256 * 1024 * 1024)
#define BUSBAR_JSON_DEPTH_MAX      256 /* nesting of JSON data */

#define BUSBAR_FOREVER      UINT64_MAX
#define BUSBAR_TIME_UNKNOWN INT64_MIN

/* ---- Errors --------------------------------------------------------------------------------------------------------- */

/* One list yields the enum, busbar_error_name() and busbar_error_text(). */
#define BUSBAR_ERROR_MAP(X)                                                                                            \
    /* misuse: a mistake of the caller */                                                                              \
    X(EINVAL, -1, "an argument is missing or out of range")                                                            \
    X(EMISUSE, -2, "not allowed here: inside a handler, or after close")                                               \
    X(ETXN, -3, "not allowed inside an open transaction")                                                              \
    X(ENOTXN, -4, "this bus publishes only inside a transaction, and none is open")                                    \
    X(EPORT, -5, "the port is missing, too old, or lacks a function")                                                  \
    X(ENOTSUP, -6, "not supported by this build or this port")                                                         \
    /* one field of an event, a handler or a route */                                                                  \
    X(ETYPE, -20, "type is not a dot-separated event type")                                                            \
    X(ESOURCE, -21, "source is not a URI-reference")                                                                   \
    X(EID, -22, "id is empty, too long or not printable UTF-8")                                                        \
    X(ESUBJECT, -23, "subject is empty, too long or not printable UTF-8")                                              \
    X(EKEY, -24, "key is empty, too long or not printable UTF-8")                                                      \
    X(ECONTENTTYPE, -25, "datacontenttype is not a media type")                                                        \
    X(EDATASCHEMA, -26, "dataschema is not an absolute URI")                                                           \
    X(ETIME, -27, "time is not an RFC 3339 timestamp")                                                                 \
    X(EEXTENSION, -28, "an extension attribute has a name or value that CloudEvents does not allow")                   \
    X(EDATASIZE, -29, "data is larger than this bus allows")                                                           \
    X(EJSON, -30, "data is not valid JSON")                                                                            \
    X(ELANE, -31, "there is no such lane")                                                                             \
    X(ENAME, -32, "a consumer's name is empty, too long or has other characters than letters, digits, . _ -")          \
    X(EPATTERN, -33, "the type pattern is malformed")                                                                  \
    X(ETOPIC, -34, "the topic template is malformed")                                                                  \
    X(EEVENT, -35, "not a CloudEvent in JSON format")                                                                  \
    X(EFILTER, -36, "the filter is malformed: an unknown operation or attribute, no value, too deep or too large")     \
    X(ERETRY, -37, "the retry policy is out of range")                                                                 \
    X(ESCHEDULE, -38, "both delay_ms and not_before_ms are given, or one is out of range")                             \
    /* expected outcomes */                                                                                            \
    X(ENOTFOUND, -50, "there is no such thing")                                                                        \
    X(EEXISTS, -51, "a consumer of this name is already registered on this handle")                                    \
    X(ECLASS, -52, "the name belongs to a consumer of the other class (subscription, route)")                          \
    X(EREMOVED, -54, "the consumer was removed by another handle: register it again")                                  \
    X(ELEASE, -53, "another worker holds this consumer")                                                               \
    X(EREFUSED, -55, "an inline handler refused the event")                                                            \
    X(EBOUND, -56, "as many events of the consumer wait for retry as may; go on when some are through")                \
    X(EBUSFULL, -57, "the bus is full: a limit on its bytes or events is reached, and nothing may be evicted")         \
    /* environment: SQLite and the platform */                                                                         \
    X(ENOMEM, -70, "out of memory")                                                                                    \
    X(ELOCKED, -71, "the database is locked by another connection; try again")                                         \
    X(ESTALE, -72, "the snapshot being read is stale; finish open SELECTs, roll back, and start again")                \
    X(EROLLEDBACK, -73, "SQLite has rolled the whole transaction back; nothing of it was kept")                        \
    X(EFULL, -74, "the disk or the database is full")                                                                  \
    X(EIO, -75, "the storage reported an I/O error")                                                                   \
    X(ECORRUPT, -76, "the database file is damaged")                                                                   \
    X(EREADONLY, -77, "the database is read-only")                                                                     \
    X(ECANTOPEN, -78, "the database or one of its files cannot be opened")                                             \
    X(ERANDOM, -79, "the port has no random bytes")                                                                    \
    X(ESQLITE, -80, "SQLite reported an error")                                                                        \
    X(EMOVED, -81, "the database file was removed or replaced while it was open: close it and open it again")          \
    /* version and setting */                                                                                          \
    X(ESCHEMANEWER, -90, "the tables were written by a newer Busbar")                                                  \
    X(ESCHEMAOLDER, -91, "the tables were written by an older Busbar and this connection cannot migrate them")         \
    X(ENOTBUS, -92, "this is not a Busbar database")                                                                   \
    X(EUNSAFE, -93, "journal_mode OFF or MEMORY, or synchronous OFF, would lose committed events")                     \
    X(ECOPY, -94, "the connection was opened by another copy of SQLite; pass its routines in options.sqlite")          \
    X(EOLDSQLITE, -95, "SQLite is older than 3.37.0")

enum busbar_code {
    BUSBAR_OK = 0,
    BUSBAR_DUPLICATE = 1, /* busbar_publish: an event with this source and id exists already */
#define BUSBAR_ERROR_ENUM(name, value, text) BUSBAR_##name = (value),
    BUSBAR_ERROR_MAP(BUSBAR_ERROR_ENUM)
#undef BUSBAR_ERROR_ENUM
};

/* The code's name ("BUSBAR_EFULL") and its sentence. Static texts; unknown codes have texts too. Any context. */
BUSBAR_API const char *busbar_error_name(int code);
BUSBAR_API const char *busbar_error_text(int code);

#define BUSBAR_DETAIL_SIZE 256

typedef struct busbar_error {
    int code;                      /* BUSBAR_E… of the last call that failed on the handle, 0 if none did */
    int native;                    /* SQLite's extended result code, or 0 */
    size_t offset;                 /* BUSBAR_EJSON, BUSBAR_EEVENT: byte position of the first fault */
    char text[BUSBAR_DETAIL_SIZE]; /* what happened, to which thing, what to do; one line */
} busbar_error;

typedef struct busbar busbar;

/* Copies the detail of the last failure on this handle. Any context. */
BUSBAR_API void busbar_error_get(const busbar *bus, busbar_error *out_error);

/* ---- Opening -------------------------------------------------------------------------------------------------------- */

typedef struct sqlite3 sqlite3;

struct busbar_sqlite; /* busbar/sqlite.h */

/* What an observer is told of. For counting and logging: it may call nothing of the bus but busbar_error_… and …_name. */
typedef enum busbar_observed {
    BUSBAR_OBSERVED_PUBLISHED = 1, /* by this handle; void if the transaction rolls back */
    BUSBAR_OBSERVED_DELIVERED = 2,
    BUSBAR_OBSERVED_FAILED = 3, /* and to be tried again */
    BUSBAR_OBSERVED_DEAD = 4,
    BUSBAR_OBSERVED_EXPIRED = 5 /* its time to live was over: it was not delivered, and never will be */
} busbar_observed;

/* Valid until the observer returns. All but PUBLISHED are told when the outcome is written; should its commit fail, the
   event is handled, and told, once more. */
typedef struct busbar_observation {
    size_t size;
    busbar_observed what;
    const char *consumer; /* NULL: PUBLISHED */
    int lane;             /* a busbar_lane */
    int64_t seq;
    const char *type;   /* NULL: not known any more; of what a route did, never known */
    uint32_t attempts;  /* FAILED, DEAD */
    const char *reason; /* FAILED, DEAD; may be NULL */
} busbar_observation;

typedef void busbar_observer_fn(const busbar_observation *observation, void *ctx);

/* Lanes are logs of their own: workers take urgent events first and bulk last; order holds within a lane. */
typedef enum busbar_lane { BUSBAR_NORMAL = 0, BUSBAR_URGENT = 1, BUSBAR_BULK = 2 } busbar_lane;
#define BUSBAR_LANE_COUNT 3

/* "normal", "urgent", "bulk"; NULL for anything else. Any context. */
BUSBAR_API const char *busbar_lane_name(busbar_lane lane);

/* "unknown", "estimated", "trusted"; NULL for anything else. Any context. */
BUSBAR_API const char *busbar_clock_name(busbar_clock_quality quality);

/* What becomes of a lane's events when a limit of busbar_options is reached. */
typedef enum busbar_full {
    BUSBAR_FULL_EVICT = 0, /* the oldest go, counted, and told by a gap. Urgent ones never: for these it is as REFUSE */
    BUSBAR_FULL_REFUSE = 1 /* they stay: busbar_publish says BUSBAR_EBUSFULL when nothing else can make room */
} busbar_full;

typedef struct busbar_options {
    size_t size;                        /* sizeof(busbar_options) */
    const busbar_port *port;            /* required; must outlive the handle */
    const struct busbar_sqlite *sqlite; /* NULL: the copy of SQLite that the library was linked with */
    const char *source;                 /* of events that name none; NULL: the port's device identity */
    bool require_transaction;           /* refuse to publish in autocommit (BUSBAR_ENOTXN) */
    size_t max_data_bytes;              /* 0: BUSBAR_DATA_DEFAULT_MAX */
    uint32_t lease_ms;                  /* how long a silent worker keeps its consumers; 0: 10,000 */
    uint32_t write_hold_us;             /* longest hold of the write lock by step(), but for one event; 0: 2,000 */
    uint32_t keep_events;               /* finished events kept per lane for people to look at; 0: 1,000 */
    uint32_t keep_ids;                  /* caller-given ids remembered for deduplication; 0: 100,000 */
    uint32_t keep_dead;                 /* dead letters kept per consumer, the newest; 0: 10,000 */
    uint64_t keep_dead_ms;              /* and so long after their last failure, counted within a boot; 0: for ever */
    uint32_t poison_ends;         /* an event that was alone in hand at so many ends of the process is dead; 0: 3 */
    busbar_observer_fn *observer; /* NULL: none */
    void *observer_ctx;
    sqlite3 *checkpoint_db; /* another connection to the same file, see busbar_wal_race(); NULL: none */
    /*
     * Limits, which busbar_publish itself holds, with or without a worker. An array is indexed by lane. When the file has no
     * room, room is made in the bulk lane, then in the normal one, as `full` of that lane allows.
     */
    uint64_t
        max_bytes; /* of the database file and its WAL, but for what one transaction adds; 0: no limit. At least 256 KiB */
    uint64_t
        reserve_bytes; /* of these, left to acknowledging, deleting and dropping, and half of it to copies of events that
                          fail (when it is used up, a lane whose events fail stands still); 0: a sixteenth, at least 64 KiB */
    uint64_t max_events[BUSBAR_LANE_COUNT]; /* stored events of a lane, at least 1; 0: no limit */
    uint64_t max_age_ms[BUSBAR_LANE_COUNT]; /* events older than that are evicted, urgent ones too; 0: no limit */
    busbar_full full[BUSBAR_LANE_COUNT];
    /* Finished events, of which keep_events are kept, also go when they are older, or the file has more in use. By workers. */
    uint64_t keep_ms;    /* 0: whatever their age */
    uint64_t keep_bytes; /* 0: whatever the size */
    /*
     * How long a consumer that no worker holds keeps events from being deleted, from when a worker of another one first sees
     * it so. Then it is moved on, and told of the gap when it comes back. Time with the machine off counts as far as trusted
     * wall time tells, but after a boot it has an eighth of this, an hour at most, to come back. 0: for ever.
     */
    uint64_t consumer_idle_ms;
} busbar_options;

/*
 * Whether a copy of SQLite (NULL: the one that the library was linked with) has the WAL-reset race: in 3.7.0 to 3.51.2, when
 * one connection runs a checkpoint while another commits, the database can, very rarely, be damaged (sqlite.org, release
 * 3.51.3). With such a version, a handle whose options.checkpoint_db is another connection to its file runs the checkpoints
 * in busbar_step(): it holds the write lock meanwhile, so that no commit comes between, and does so at 500 pages, so that
 * SQLite's own checkpoint at 1,000 hardly ever runs on any connection. Turn that off on the handle's own connection (PRAGMA
 * wal_autocheckpoint=0). The runner of busbar/linux.h does all of this by itself. Both connections belong to the caller and
 * must outlive the bus; checkpoint_db may be used for nothing else meanwhile. False from a library that was built without
 * checkpoints (-Dcheckpoints=disabled), which takes no checkpoint_db. Any context.
 */
BUSBAR_API bool busbar_wal_race(const struct busbar_sqlite *sqlite);

/*
 * Opens a bus on the caller's connection. Writes nothing, whatever is in the file, and takes the same time with any
 * backlog. The connection stays the caller's and must outlive the bus; Busbar takes none of its hooks and changes none of
 * its settings. Open the same connection only once. On failure *out_bus is untouched and nothing is kept; *out_error, if
 * not NULL, gets the detail.
 * Returns BUSBAR_OK; BUSBAR_EINVAL (a NULL argument, a size unknown); BUSBAR_EPORT; BUSBAR_ESOURCE (options.source, or no
 * source and no device identity); BUSBAR_ENOTSUP (an option needs a part that this library was built without); BUSBAR_ECOPY;
 * BUSBAR_EOLDSQLITE; BUSBAR_EUNSAFE; BUSBAR_ESCHEMANEWER; BUSBAR_ENOMEM.
 */
BUSBAR_API int busbar_open(busbar **out_bus, sqlite3 *db, const busbar_options *options, busbar_error *out_error);

/* The connection that the bus was opened on: what a transactional handler writes goes there. Any context. */
BUSBAR_API sqlite3 *busbar_connection(const busbar *bus);

/*
 * Closes the bus: stops its transports (bounded wait, see busbar_transport_api.stop), records acknowledgements that have
 * arrived, gives its leases back, notes the end of its session unless a transaction is open (one small write, if it has
 * published; not being able to is no error), frees everything. The connection stays open. NULL is allowed.
 * Returns BUSBAR_OK; BUSBAR_EMISUSE inside a handler; BUSBAR_ETXN if a transaction is open and the bus has worked (the bus
 * stays open in both cases).
 */
BUSBAR_API int busbar_close(busbar *bus);

/*
 * Creates the tables, or migrates those of an older version, in one transaction of its own, or in the caller's if one is
 * open. Everything that writes does this by itself when it is due; call it to have it done at a time of your choice.
 * Returns BUSBAR_OK (also when nothing was to do); BUSBAR_ESCHEMANEWER; BUSBAR_EMISUSE inside a handler.
 */
BUSBAR_API int busbar_migrate(busbar *bus);

/* ---- Retry ---------------------------------------------------------------------------------------------------------- */

/* How chance shortens or stretches a wait, so that many devices do not come back at once. */
typedef enum busbar_jitter {
    BUSBAR_JITTER_EQUAL = 0,        /* between half of the wait and all of it */
    BUSBAR_JITTER_FULL = 1,         /* between nothing and all of it */
    BUSBAR_JITTER_DECORRELATED = 2, /* between base and three times the last wait */
    BUSBAR_JITTER_NONE = 3
} busbar_jitter;

#define BUSBAR_UNLIMITED UINT32_MAX /* max_attempts: never give up */

/*
 * How a failing event is tried again: after base, 2 base, 4 base … but at most cap, each wait with jitter. Waiting runs on
 * monotonic time; a restart of the machine ends it. The event becomes a dead letter with its last attempt, or when it has
 * been failing for max_age_ms, whichever is first.
 */
typedef struct busbar_retry {
    uint32_t base_ms;      /* 0: 1,000 */
    uint32_t cap_ms;       /* 0: 300,000 */
    uint32_t max_attempts; /* 0: 10; BUSBAR_UNLIMITED */
    busbar_jitter jitter;
    uint64_t max_age_ms; /* since the first failure, counted while the machine runs; 0: no limit */
} busbar_retry;

/* ---- Events --------------------------------------------------------------------------------------------------------- */

typedef enum busbar_attribute_type {
    BUSBAR_ATTRIBUTE_STRING = 0, /* also URI, URI-reference, timestamp and base64: CloudEvents sends them as strings */
    BUSBAR_ATTRIBUTE_INTEGER = 1,
    BUSBAR_ATTRIBUTE_BOOLEAN = 2
} busbar_attribute_type;

/* One extension attribute. Names are lower-case letters and digits (CloudEvents 1.0.2, "Attribute Naming Convention"). */
typedef struct busbar_attribute {
    const char *name;
    busbar_attribute_type type;
    const char *string; /* STRING */
    int32_t integer;    /* INTEGER; BOOLEAN: zero is false */
} busbar_attribute;

/* A kind registered ahead (busbar_kind_register). Valid for the handle that returned it. Zero: none. */
typedef struct busbar_kind {
    uint32_t slot;
} busbar_kind;

/*
 * An event to publish, in CloudEvents' words. Every pointer is read during the call only. Zero or NULL leaves a member out.
 */
typedef struct busbar_event {
    size_t size;                 /* sizeof(busbar_event) */
    busbar_kind kind;            /* instead of type, source, datacontenttype and dataschema, which are then ignored */
    const char *type;            /* required without a kind: "door.opened" */
    const char *source;          /* NULL: the bus's source */
    const char *datacontenttype; /* NULL: application/json when there is data */
    const char *dataschema;      /* absolute URI */
    const char *id; /* NULL: an id is derived. Given ids are unique per source for options.keep_ids events */
    const char *subject;
    const char *key;  /* ordering key; sent as CloudEvents' partitionkey */
    const char *time; /* RFC 3339; NULL: the time of publishing, when the clock is or becomes known */
    const void *data; /* NULL: no data. For an empty payload give a non-NULL pointer and size 0 */
    size_t data_size_bytes;
    bool binary; /* data is bytes, whatever its datacontenttype says: not checked as JSON, sent as data_base64 */
    const busbar_attribute *extensions;
    size_t extension_count;
    busbar_lane lane;
    /*
     * Worthless after so long, and then delivered to nobody; 0: as its kind says; BUSBAR_FOREVER: never, whatever its kind
     * says. What is left becomes the message expiry where a transport has one. Runs on monotonic time within a boot; over
     * restarts on trusted wall time, where both boots had it, else only while the bus is known to have run: never too early.
     */
    uint64_t ttl_ms;
    const busbar_retry *retry; /* instead of each consumer's own policy; NULL: that */
    /*
     * Scheduling: the event waits, and is appended to its lane, where its order begins, when it is due; its time to live
     * runs from then on. Some handle with a consumer must be stepping. delay_ms runs on monotonic time: an event that waited
     * over a restart of the machine is due by wall time if that was trusted before and after, else it waits anew (never too
     * early). not_before_ms is UTC wall time, and waits until the clock is trusted. At most one of the two; 0: now.
     */
    uint64_t delay_ms;
    int64_t not_before_ms;
} busbar_event;

/* The identity of a stored event. */
typedef struct busbar_id {
    busbar_lane lane;
    int64_t seq; /* position in the lane: 1, 2, 3, … in commit order; 0: not appended yet (scheduled) */
    char text[BUSBAR_ID_MAX + 1]; /* CloudEvents id */
} busbar_id;

/*
 * Publishes one event: in the caller's transaction or savepoint if one is open, else in one of its own. It exists if and
 * only if that commits, and is as durable as that commit; no further sync is made. If the transaction rolls back, *out_id
 * is void. out_id may be NULL. Everything is checked before anything is written: on any error the event is not stored, and
 * the caller's transaction is as before and usable, but for BUSBAR_EROLLEDBACK.
 * Returns BUSBAR_OK; BUSBAR_DUPLICATE (positive): an event of this source with this given id is stored already: nothing
 * was stored, *out_id is the first one's; BUSBAR_EREFUSED: an inline handler refused it, and says why in the detail;
 * BUSBAR_ESCHEDULE; BUSBAR_ENOTSUP: it is scheduled, and this library was built without; BUSBAR_EBOUND: 100,000 scheduled
 * events wait, the most that may; BUSBAR_ETYPE … BUSBAR_ELANE for a bad field; BUSBAR_EINVAL (NULL, size, a kind of another
 * handle); BUSBAR_ENOTXN; BUSBAR_ERANDOM; BUSBAR_ESCHEMANEWER;
 * BUSBAR_EBUSFULL: a limit of options is reached, and not enough may be evicted, or not at once: what was evicted and what
 * nobody needed any more stays gone (with the caller's transaction), and the next publish goes on from there;
 * BUSBAR_ELOCKED, BUSBAR_ESTALE, BUSBAR_EROLLEDBACK, BUSBAR_EFULL (also while the reserve cannot be taken again, which is
 * tried at most once a second, ever more rarely up to once a minute) and the other environment codes. Legal inside handlers.
 */
BUSBAR_API int busbar_publish(busbar *bus, const busbar_event *event, busbar_id *out_id);

/* What repeats from event to event. NULL members as in busbar_event. */
typedef struct busbar_kind_desc {
    size_t size; /* sizeof(busbar_kind_desc) */
    const char *type;
    const char *source;
    const char *datacontenttype;
    const char *dataschema;
    bool redact; /* data is not for the eyes of those who look at the queue: `busbar list` and `show` leave it out */
    /* Of events that name none, also those that are stored already; 0: as it was last registered; BUSBAR_FOREVER: none. */
    uint64_t ttl_ms;
} busbar_kind_desc;

/*
 * Registers a kind ahead, so that publishing it looks nothing up. Outside a transaction this commits the kind and the
 * session of this handle, once; inside one it is legal, but look-ups go on until the bus is next used outside. The kind
 * stays valid until busbar_close.
 * Returns BUSBAR_OK; BUSBAR_ETYPE, BUSBAR_ESOURCE, BUSBAR_ECONTENTTYPE, BUSBAR_EDATASCHEMA; BUSBAR_EINVAL; BUSBAR_ENOMEM.
 */
BUSBAR_API int busbar_kind_register(busbar *bus, const busbar_kind_desc *desc, busbar_kind *out_kind);

/* A stored event as it is read back. Valid until the callback that got it returns. Absent texts are NULL. */
typedef struct busbar_record {
    size_t size;
    busbar_lane lane;
    int64_t seq;
    const char *id;
    const char *source;
    const char *type;
    const char *subject;
    const char *key;
    const char *datacontenttype; /* NULL: not given; application/json is implied if there is data */
    const char *dataschema;
    const char *extensions; /* the extension attributes as one JSON object; NULL: none */
    const char *given_time; /* the publisher's own time attribute, as given; NULL: see time_ms */
    int64_t time_ms;        /* wall time of publishing, UTC milliseconds, or BUSBAR_TIME_UNKNOWN (so far) */
    busbar_clock_quality time_quality;
    const void *data; /* NULL: no data */
    size_t data_size_bytes;
    bool data_is_json;   /* data is valid JSON text */
    uint64_t ttl_ms;     /* its own, else its kind's; 0: none */
    uint32_t attempt;    /* 1 at first delivery */
    bool redact;         /* data is not to be shown or logged: see busbar_kind_desc */
    int64_t recorded_ms; /* wall time of reading, where it is better known than time_ms; 0: it is not */
} busbar_record;

/*
 * Writes a record as structured CloudEvents JSON (format 1.0.2). Data that is JSON is spliced byte for byte, other data goes
 * as data_base64. Without a given_time, a `time` that is not trusted is told by the extension `timequality`: "estimated", or
 * "unknown" where there is no `time`; and recorded_ms, if there is one, is the extension `recordedtime`. Writes at most
 * `capacity` bytes and no terminating NUL. Pure; any context.
 * Returns the number of bytes the JSON has. Nothing is cut: if the result is larger than capacity, the buffer's content is
 * unspecified; call again with that much. SIZE_MAX if the record's data is too large to be sent at all.
 */
BUSBAR_API size_t busbar_record_encode(const busbar_record *record, char *buffer, size_t capacity);

/* A CloudEvent read from JSON. Owns what its event points to. */
typedef struct busbar_decoded busbar_decoded;

/*
 * Reads one structured CloudEvents JSON object of `size_bytes` bytes. `data` keeps its bytes as they stand. On success
 * *out_decoded belongs to the caller (busbar_decoded_free). partitionkey becomes the key. Any context.
 * Returns BUSBAR_OK; BUSBAR_EEVENT, or the code of a bad field; BUSBAR_ENOMEM. *out_error, if not NULL, gets the detail
 * with the byte position.
 */
BUSBAR_API int busbar_decode(const char *json, size_t size_bytes, busbar_decoded **out_decoded,
                             busbar_error *out_error);
/* The event; valid until busbar_decoded_free. */
BUSBAR_API const busbar_event *busbar_decoded_event(const busbar_decoded *decoded);
BUSBAR_API void busbar_decoded_free(busbar_decoded *decoded);

/* ---- Local handlers ------------------------------------------------------------------------------------------------- */

typedef enum busbar_verdict {
    BUSBAR_DONE = 0, /* finished; transactional: what the handler wrote is kept */
    BUSBAR_RETRY =
        1,           /* failed; try again later, by the retry policy; transactional: what the handler wrote is undone */
    BUSBAR_DEAD = 2, /* can never succeed; kept as a dead letter; transactional: what the handler wrote is undone */
    BUSBAR_WAIT = 3  /* not now: as RETRY, but no attempt is spent. Something else than the event is to blame */
} busbar_verdict;

/*
 * Handles one event. Runs inside busbar_step(), on its thread. `event` is valid until the function returns. reason->text
 * may be set on all but DONE and is kept with the event; reason->retry_after_ms, on RETRY and WAIT, names the time until
 * the next attempt instead of the policy. Anything but these verdicts counts as BUSBAR_RETRY.
 */
typedef busbar_verdict busbar_handler_fn(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx);

typedef enum busbar_start {
    BUSBAR_START_DEFAULT = 0,  /* a subscription: now; a route: the beginning */
    BUSBAR_START_NOW = 1,      /* events published after the consumer was first registered */
    BUSBAR_START_BEGINNING = 2 /* everything the log still has */
} busbar_start;

typedef enum busbar_delivery {
    /*
     * The handler runs in a transaction of the bus, in a savepoint of its own. What it writes on the bus's connection, what
     * it publishes and the progress of the subscription commit together or not at all.
     */
    BUSBAR_TRANSACTIONAL = 0,
    /*
     * The handler runs outside any transaction, for slow or external effects, and sees only events that would survive a
     * power cut. At least once: an event whose handling was not recorded is handled again.
     */
    BUSBAR_OUTSIDE = 1,
    /*
     * The handler runs inside busbar_publish(), in the publisher's transaction, for events that this handle publishes. What
     * it writes commits with the event. Any verdict but DONE refuses the event: nothing of it is stored, and publishing
     * returns BUSBAR_EREFUSED with the reason. Not durable: it has a name, but no progress.
     */
    BUSBAR_INLINE = 2
} busbar_delivery;

/* What a failing event holds up, within its lane. */
typedef enum busbar_order {
    BUSBAR_ORDER_NONE = 0,  /* nothing: those behind it go on */
    BUSBAR_ORDER_KEY = 1,   /* later events of the same key: they are parked, and leave in order */
    BUSBAR_ORDER_STRICT = 2 /* its lane */
} busbar_order;

/* Sets of lanes. */
#define BUSBAR_LANES_ALL    0u
#define BUSBAR_LANES_NORMAL (1u << BUSBAR_NORMAL)
#define BUSBAR_LANES_URGENT (1u << BUSBAR_URGENT)
#define BUSBAR_LANES_BULK   (1u << BUSBAR_BULK)

/*
 * Which events a consumer wants, beside its pattern; as in the filters of the CloudEvents Subscriptions API 0.1. `attribute`
 * is "source", "subject", "type", "id", "key", "datacontenttype", "dataschema", or an extension's name; an event without
 * the attribute does not match EXACT, PREFIX and SUFFIX. Booleans and integers compare as CloudEvents writes them. Depth at
 * most BUSBAR_FILTER_DEPTH_MAX, nodes in all at most BUSBAR_FILTER_NODES_MAX.
 */
typedef enum busbar_filter_op {
    BUSBAR_FILTER_EXACT = 1,
    BUSBAR_FILTER_PREFIX = 2,
    BUSBAR_FILTER_SUFFIX = 3,
    BUSBAR_FILTER_ALL = 4, /* of `filters`; at least one */
    BUSBAR_FILTER_ANY = 5,
    BUSBAR_FILTER_NOT = 6 /* of the one filter */
} busbar_filter_op;

typedef struct busbar_filter {
    busbar_filter_op op;
    const char *attribute; /* EXACT, PREFIX, SUFFIX */
    const char *value;     /* not empty */
    const struct busbar_filter *filters;
    size_t filter_count;
} busbar_filter;

#define BUSBAR_FILTER_DEPTH_MAX 8
#define BUSBAR_FILTER_NODES_MAX 64

/*
 * A subscription: a durable, named reader with a handler. The name is its identity: its progress is kept under it, and the
 * pattern may change from run to run.
 */
typedef struct busbar_handler {
    size_t size;         /* sizeof(busbar_handler); the same in every element of a table */
    const char *name;    /* required */
    const char *pattern; /* on the type: segments between dots, `*` one segment, `#` any number; NULL: `#` */
    busbar_handler_fn *fn;
    void *ctx;
    busbar_start start;
    busbar_delivery delivery;
    busbar_retry retry;
    const busbar_filter *filter; /* NULL: none. Copied */
    busbar_order order;
    uint32_t lanes;    /* BUSBAR_LANES_…; events of others are passed over */
    uint32_t share;    /* of so many events at least one is of each lane that waits, whatever is more urgent; 0: 32 */
    uint32_t limit_ms; /* how long a handler may take before the status calls it stuck; it is not killed. 0: 30,000 */
    /*
     * Types of events to publish when an event is done, and when it becomes a dead letter; NULL: none. They commit with the
     * outcome, carry the event's subject, key, lane, traceparent, tracestate and correlationid (if it has none, its id), and
     * its id as causationid. That of a failure has {"reason", "attempts"} as data. Not for inline handlers.
     */
    const char *on_success;
    const char *on_failure;
    uint64_t ttl_ms; /* older events are passed over, and counted as expired; the smaller of this and theirs. 0: none */
} busbar_handler;

/*
 * Registers a table of handlers on this handle, all or none. The table may be static const; strings are copied. Makes each
 * subscription durable (commits, once per new name). Its events are handled by busbar_step on this handle; a subscription
 * that several handles register is worked by one of them at a time.
 * Returns BUSBAR_OK; BUSBAR_EINVAL; BUSBAR_ENAME, BUSBAR_EPATTERN; BUSBAR_EEXISTS; BUSBAR_ECLASS; BUSBAR_ENOTSUP (one needs a
 * part that this library was built without); BUSBAR_ETXN in an open transaction; BUSBAR_EMISUSE inside a handler.
 */
BUSBAR_API int busbar_subscribe(busbar *bus, const busbar_handler *handlers, size_t count);

/* ---- Routes --------------------------------------------------------------------------------------------------------- */

typedef enum busbar_format {
    BUSBAR_FORMAT_STRUCTURED = 0 /* one CloudEvent as JSON per message (application/cloudevents+json) */
} busbar_format;

typedef enum busbar_qos {
    BUSBAR_QOS_DEFAULT = 0, /* at least once */
    BUSBAR_QOS_1 = 1,
    BUSBAR_QOS_2 = 2,
    BUSBAR_QOS_0 = 3 /* the transport's acceptance counts as delivery: events can be lost on the way */
} busbar_qos;

/* An acknowledgement that says that nobody was there to receive the message (MQTT 5, 0x10 "no matching subscribers"). */
typedef enum busbar_unmatched {
    BUSBAR_UNMATCHED_ACCEPT = 0, /* delivered */
    BUSBAR_UNMATCHED_COUNT = 1,  /* delivered, and counted as unmatched in the status */
    BUSBAR_UNMATCHED_HOLD = 2    /* not delivered: the route waits, by its retry policy, until somebody is there */
} busbar_unmatched;

/*
 * An outward route. With BUSBAR_ORDER_STRICT one message of a lane, and with BUSBAR_ORDER_KEY one message of a key, is on
 * its way at a time: a refused one could not be overtaken otherwise. After a kill at most window + ack_group messages are sent a second time. */
typedef struct busbar_route {
    size_t size;         /* sizeof(busbar_route) */
    const char *name;    /* required: its identity, under which its progress is kept */
    const char *pattern; /* as in busbar_handler; NULL: `#` */
    const char *topic;   /* required: template with {type} {source} {subject} {key} {id} {lane} */
    busbar_format format;
    busbar_qos qos;
    uint32_t window;       /* messages sent and not yet acknowledged, at most; 0: 20 */
    uint32_t ack_group;    /* acknowledgements recorded in one transaction, at most; 0: 100 */
    uint32_t ack_delay_ms; /* the oldest unrecorded acknowledgement waits at most so long; 0: 200 */
    uint32_t rate_per_s;   /* messages per second, at most; 0: no limit */
    busbar_start start;
    busbar_retry retry;
    const busbar_filter *filter; /* NULL: none. Copied */
    busbar_order order;
    uint32_t lanes; /* as in busbar_handler */
    uint32_t share;
    busbar_unmatched unmatched;
    /*
     * Send no busbar.gap events. Otherwise what the route has missed (it expired, was evicted …) is told before the next
     * event of the lane, whatever pattern and filter say: source and lane are the bus's and the lane's, subject the route's
     * name, data {"from", "to", "count", "lane", "reason", "consumer"}: of the positions from … to, `count` were lost.
     * One that is refused as often or as long as `retry` allows is given up. Those that wait for a retry hold no event up.
     */
    bool no_gaps;
    uint64_t ttl_ms; /* as in busbar_handler */
} busbar_route;

/*
 * Adds a route on this handle. The transport belongs to the bus from here on, also on failure. Makes the route durable
 * (commits, once per new name). busbar_step on this handle starts the transport as soon as the route's lease is held, and
 * sends the events; a transport that does not start is tried again, and `last_error` in the status says why.
 * Returns BUSBAR_OK; BUSBAR_EINVAL; BUSBAR_ENAME, BUSBAR_EPATTERN, BUSBAR_ETOPIC; BUSBAR_EEXISTS; BUSBAR_ECLASS;
 * BUSBAR_ENOTSUP (it needs a part that this library was built without); BUSBAR_ETXN in an open transaction; BUSBAR_EMISUSE inside a handler.
 */
BUSBAR_API int busbar_route_add(busbar *bus, const busbar_route *route, busbar_transport transport);

/*
 * Forgets a consumer and its progress, counters and dead letters for good. Events that only it still needed may then be
 * pruned. The only call that does so. Not while it is registered on this handle.
 * Returns BUSBAR_OK; BUSBAR_ENOTFOUND; BUSBAR_EEXISTS (registered here); BUSBAR_ELEASE (another worker holds it);
 * BUSBAR_ETXN in an open transaction; BUSBAR_EMISUSE inside a handler.
 */
BUSBAR_API int busbar_consumer_remove(busbar *bus, const char *name);

/* ---- Working -------------------------------------------------------------------------------------------------------- */

/*
 * Does a bounded piece of work: hands events to handlers and transports, records results, prunes. Runs for about budget_us
 * at most, plus the running time of one handler. Never waits for a network; waits for a lock only as the connection's busy
 * handler does. *out_wait_us is then how long there is nothing to do: 0 means call again now, BUSBAR_FOREVER means until
 * busbar_fd() is readable or something is published on this handle.
 * Returns BUSBAR_OK; BUSBAR_ETXN in an open transaction, BUSBAR_EMISUSE inside a handler (both at once, nothing done); an
 * environment code when the database fails: nothing is lost, call again later (after a second, say).
 */
BUSBAR_API int busbar_step(busbar *bus, uint32_t budget_us, uint64_t *out_wait_us);

/*
 * A descriptor for poll, epoll, GLib or libuv: readable when busbar_step has work before its wait is over. The same value
 * until busbar_close. Returns it (zero or positive), or BUSBAR_ENOTSUP without a wake object in the port, BUSBAR_EIO when
 * the platform refuses.
 */
BUSBAR_API int busbar_fd(busbar *bus);

#ifdef __cplusplus
}
#endif

#include <busbar/look.h>

#endif
