/* SPDX-License-Identifier: MIT */
#include "workday.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_NAME   "app.db"
#define STEP_US     20000u
#define LEASE_MS    2000u
#define WINDOW      4u
#define TRIES       2
#define LARGE_BYTES 3500

const shape workday_shapes[] = {
    {"wal", "wal", "normal", false},
    {"delete", "delete", "full", true},
    {"wal_alone", "wal", "full", true},
    {"delete_two", "delete", "full", false},
};
const size_t workday_shape_count = sizeof workday_shapes / sizeof *workday_shapes;

static const char TABLES[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE IF NOT EXISTS published (n INTEGER PRIMARY KEY, id TEXT, lane INTEGER, seq INTEGER, type TEXT);"
    "CREATE TABLE IF NOT EXISTS effects (id TEXT, type TEXT);"
    "CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    /* Whatever becomes of an event, this knows that it was there. */
    "CREATE TABLE IF NOT EXISTS born (lane INTEGER, seq INTEGER, kind INTEGER, PRIMARY KEY (lane, seq)) WITHOUT ROWID;"
    "CREATE TRIGGER IF NOT EXISTS born_normal AFTER INSERT ON busbar_log_normal BEGIN"
    " INSERT INTO born VALUES (0, NEW.seq, NEW.kind); END;"
    "CREATE TRIGGER IF NOT EXISTS born_urgent AFTER INSERT ON busbar_log_urgent BEGIN"
    " INSERT INTO born VALUES (1, NEW.seq, NEW.kind); END;"
    "CREATE TRIGGER IF NOT EXISTS born_bulk AFTER INSERT ON busbar_log_bulk BEGIN"
    " INSERT INTO born VALUES (2, NEW.seq, NEW.kind); END;"
    "COMMIT";

/* ---- Failures ---------------------------------------------------------------------------------------------------- */

void workday_fail(workday *w, const char *what, const char *why)
{
    if (w->failure[0] == '\0')
        snprintf(w->failure, sizeof w->failure, "%.200s: %.350s", what, why);
}

void workday_fail_number(workday *w, const char *what, int64_t number, int64_t expected)
{
    char text[80];
    snprintf(text, sizeof text, "%lld instead of %lld", (long long)number, (long long)expected);
    workday_fail(w, what, text);
}

bool workday_in_trouble(const workday *w)
{
    return !w->over && environment_failures(w->e) > 0;
}

static bool is_of_environment(const workday *w, int code)
{
    return (code <= BUSBAR_ENOMEM && code >= BUSBAR_EMOVED) || (w->e->armed && code == w->e->armed->also);
}

bool workday_good(workday *w, const busbar *bus, int code, const char *what)
{
    busbar_error error = {.code = 0};
    char text[400];
    if (code >= 0)
        return true;
    if (bus)
        busbar_error_get(bus, &error);
    /* What could not be undone then; why a batch was given up, by a handler's statement that ended its transaction. */
    if (w->may_tell_late && (code == BUSBAR_EROLLEDBACK || (strcmp(what, "step") == 0 && is_of_environment(w, code)))) {
        w->may_tell_late = false;
        return false;
    }
    if (code == BUSBAR_ETXN && w->must_roll_back) /* the application's own is still open */
        return false;
    if (workday_in_trouble(w) && is_of_environment(w, code) && (!bus || error.text[0] != '\0') &&
        !(w->e->armed && w->e->armed->is_silent))
        return false;
    snprintf(text, sizeof text, "%s (%.250s)", busbar_error_name(code), error.text);
    workday_fail(w, what, text);
    return false;
}

/* The application's own. */
static bool good_sql(workday *w, sqlite3 *db, int native, const char *what)
{
    if (native == SQLITE_OK || native == SQLITE_ROW || native == SQLITE_DONE)
        return true;
    if (!workday_in_trouble(w))
        workday_fail(w, what, db ? sqlite3_errmsg(db) : sqlite3_errstr(native));
    return false;
}

bool workday_sql(workday *w, sqlite3 *db, const char *text)
{
    return good_sql(w, db, sqlite3_exec(db, text, NULL, NULL, NULL), text);
}

int64_t workday_integer(workday *w, sqlite3 *db, const char *text)
{
    sqlite3_stmt *stmt = NULL;
    int64_t value = -1;
    int native = sqlite3_prepare_v2(db, text, -1, &stmt, NULL);
    if (native == SQLITE_OK && (native = sqlite3_step(stmt)) == SQLITE_ROW)
        value = sqlite3_column_int64(stmt, 0);
    (void)good_sql(w, db, native, text);
    sqlite3_finalize(stmt);
    return value;
}

station *workday_relay(workday *w)
{
    return w->shape->alone ? &w->app : &w->relay;
}

/* ---- Publishing -------------------------------------------------------------------------------------------------- */

/* Whether a failed call told rightly what became of the transaction. */
static void check_transaction(workday *w, busbar *bus, int code, bool before, const char *what)
{
    bool after = !sqlite3_get_autocommit(busbar_connection(bus));
    if (before && !after && code != BUSBAR_EROLLEDBACK)
        workday_fail(w, what, "the transaction is gone, and it was not said");
    if (before && after && code == BUSBAR_EROLLEDBACK)
        workday_fail(w, what, "the transaction is said to be gone, and is there");
}

/* The event and the row that tells of it, in a transaction. A failed publish leaves that as it was: who wants to goes on. */
static bool put_or(workday *w, busbar *bus, const busbar_event *event, bool goes_on)
{
    char text[600];
    busbar_id id;
    sqlite3 *db = busbar_connection(bus);
    bool before = !sqlite3_get_autocommit(db);
    int code = busbar_publish(bus, event, &id);
    if (code < 0)
        check_transaction(w, bus, code, before, "publish");
    if (!workday_good(w, bus, code, "publish"))
        return goes_on && !sqlite3_get_autocommit(db);
    if (w->row_count == WORKDAY_ROWS_MAX) {
        workday_fail(w, "the books", "too many rows");
        return false;
    }
    snprintf(text, sizeof text, "INSERT INTO published VALUES (%d, '%s', %d, %lld, '%s')", w->row_count++, id.text,
             (int)id.lane, (long long)id.seq, event->type ? event->type : "");
    return workday_sql(w, db, text);
}

static bool put(workday *w, busbar *bus, const busbar_event *event)
{
    return put_or(w, bus, event, false);
}

/* What a transaction of the application's publishes. False: it is to be rolled back. */
typedef bool body(workday *w);

static void roll_back(workday *w)
{
    if (!w->app.db || sqlite3_get_autocommit(w->app.db)) {
        w->must_roll_back = false;
        return;
    }
    if (!workday_in_trouble(w) && !w->may_tell_late && !w->must_roll_back)
        workday_fail(w, "a transaction", "is open that nobody began");
    w->must_roll_back = !workday_sql(w, w->app.db, "ROLLBACK") && !sqlite3_get_autocommit(w->app.db);
}

static bool try_transaction(workday *w, body *publish)
{
    int first = w->row_count;
    roll_back(w); /* one of its own, or the bus's, that could not be rolled back for want of memory */
    if (!workday_sql(w, w->app.db, first % 2 ? "BEGIN" : "BEGIN IMMEDIATE"))
        return false;
    bool well = workday_sql(w, w->app.db, "INSERT OR REPLACE INTO state VALUES ('pump', 1)") && publish(w) &&
                workday_sql(w, w->app.db, "COMMIT");
    if (!well) {
        w->must_roll_back = true;
        roll_back(w);
        return false;
    }
    for (int n = first; n < w->row_count; n++)
        w->lasting[n] = !w->undone[n];
    return true;
}

static void transact(workday *w, body *publish)
{
    for (int i = 0; i < TRIES && !try_transaction(w, publish); i++) {
    }
}

static busbar_event event_of(const char *type, const char *data)
{
    return (busbar_event){
        .size = sizeof(busbar_event), .type = type, .data = data, .data_size_bytes = data ? strlen(data) : 0};
}

static bool put_state(workday *w)
{
    const busbar_attribute site = {.name = "site", .type = BUSBAR_ATTRIBUTE_INTEGER, .integer = 7};
    busbar_event first = event_of("a.first", "{\"n\":1}");
    busbar_event keyed = event_of("a.slow", "[1,2]");
    busbar_event behind = event_of("a.first", NULL);
    busbar_event urgent = event_of("a.urgent", NULL);
    const busbar_retry own = {.base_ms = 5, .cap_ms = 10, .max_attempts = BUSBAR_UNLIMITED};
    keyed.key = behind.key = "k";
    keyed.retry = &own;
    urgent.lane = BUSBAR_URGENT;
    urgent.subject = "door";
    urgent.extensions = &site;
    urgent.extension_count = 1;
    return put(w, w->app.bus, &first) && put(w, w->app.bus, &keyed) && put(w, w->app.bus, &behind) &&
           put(w, w->app.bus, &urgent);
}

/* In a savepoint that is rolled back. */
static bool put_undone(workday *w, const busbar_event *event)
{
    int n = w->row_count;
    bool well = put_or(w, w->app.bus, event, true);
    if (n < w->row_count)
        w->undone[n] = true;
    return well;
}

/* The savepoint that is rolled back takes its row and event with it. */
static bool put_in_savepoints(workday *w)
{
    sqlite3 *db = w->app.db;
    busbar_event bad = event_of(WORKDAY_BAD, "null");
    busbar_event kept = event_of("a.kept", "\"s\"");
    busbar_event lost = event_of("a.lost", NULL);
    return put_or(w, w->app.bus, &bad, true) && workday_sql(w, db, "SAVEPOINT part") && put_undone(w, &lost) &&
           workday_sql(w, db, "ROLLBACK TO part; RELEASE part") && workday_sql(w, db, "SAVEPOINT part") &&
           put_or(w, w->app.bus, &kept, true) && workday_sql(w, db, "RELEASE part");
}

static bool put_scheduled(workday *w)
{
    busbar_event soon = event_of("l.soon", "{}");
    busbar_event dropped = event_of("l.drop", NULL);
    soon.delay_ms = 150;
    dropped.delay_ms = 36000000;
    return put(w, w->app.bus, &soon) && put(w, w->app.bus, &dropped);
}

static bool put_bulk(workday *w)
{
    busbar_event event = event_of("b.sample", "{\"v\":17}");
    event.lane = BUSBAR_BULK;
    for (unsigned i = 0; i < WORKDAY_BULK_MAX + 3; i++)
        if (!put(w, w->app.bus, &event))
            return false;
    return true;
}

static bool put_short_lived(workday *w)
{
    busbar_event event = event_of("t.short", NULL);
    event.ttl_ms = 40;
    return put(w, w->app.bus, &event) && put(w, w->app.bus, &event);
}

static bool put_large(workday *w)
{
    static char data[LARGE_BYTES];
    memset(data, 'x', sizeof data);
    busbar_event event = event_of("a.large", NULL);
    event.data = data;
    event.data_size_bytes = sizeof data;
    event.binary = true;
    return put(w, w->app.bus, &event);
}

static bool put_registered(workday *w)
{
    const busbar_kind_desc desc = {
        .size = sizeof desc, .type = "k.kind", .dataschema = "urn:schema", .ttl_ms = 3600000, .redact = true};
    busbar_event event = {.size = sizeof event, .lane = BUSBAR_URGENT};
    return workday_good(w, w->app.bus, busbar_kind_register(w->app.bus, &desc, &event.kind), "kind_register") &&
           put(w, w->app.bus, &event);
}

/* Who does not know whether it was stored publishes it again: the id is the same. */
static void publish_lone(workday *w)
{
    char id[16];
    for (int i = 0; i < WORKDAY_AUTOS; i++) {
        busbar_event event = event_of("a.lone", "1");
        snprintf(id, sizeof id, "lone-%d", i);
        event.id = id;
        for (int tries = 0; tries < TRIES && !w->lone[i].told; tries++)
            w->lone[i].told =
                workday_good(w, w->app.bus, busbar_publish(w->app.bus, &event, &w->lone[i].id), "publish");
    }
}

/* ---- Handlers and peer ------------------------------------------------------------------------------------------- */

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

static busbar_verdict handle_inside(busbar *bus, const busbar_record *record, busbar_reason *reason, void *ctx)
{
    workday *w = ctx;
    char text[800];
    if (is(record->type, WORKDAY_BAD)) {
        snprintf(reason->text, sizeof reason->text, "it never works");
        return BUSBAR_DEAD;
    }
    snprintf(text, sizeof text, "INSERT INTO effects VALUES ('%s', '%s')", record->id, record->type);
    if (!workday_sql(w, busbar_connection(bus), text))
        return BUSBAR_RETRY;
    if (is(record->type, "a.slow") && record->attempt == 1)
        return BUSBAR_RETRY;
    busbar_event event = event_of("f.up", NULL);
    return !is(record->type, "a.first") || put(w, bus, &event) ? BUSBAR_DONE : BUSBAR_RETRY;
}

static busbar_verdict handle_outside(busbar *bus, const busbar_record *record, busbar_reason *reason, void *ctx)
{
    workday *w = ctx;
    (void)bus, (void)reason;
    if (is(record->type, "a.slow") && record->attempt == 1)
        return BUSBAR_RETRY;
    if (is(record->type, "a.kept") && !w->waited) {
        w->waited = true;
        return BUSBAR_WAIT;
    }
    return BUSBAR_DONE;
}

static busbar_verdict refuse(busbar *bus, const busbar_record *record, busbar_reason *reason, void *ctx)
{
    (void)bus, (void)record, (void)reason, (void)ctx;
    return BUSBAR_DEAD;
}

static uint64_t hash(const char *text)
{
    uint64_t value = UINT64_C(14695981039346656037);
    for (; *text; text++)
        value = (value ^ (unsigned char)*text) * UINT64_C(1099511628211);
    return value;
}

static void note_message(workday *w, int lane, uint64_t id)
{
    for (int i = 0; i < w->message_count[lane]; i++)
        if (w->messages[lane][i] == id)
            return;
    if (w->message_count[lane] == WORKDAY_MESSAGES_MAX)
        workday_fail(w, "the peer", "more events than there can be");
    else
        w->messages[lane][w->message_count[lane]++] = id;
}

/* Topics are LANE/TYPE/ID. */
static void receive(const busbar_message *message, void *ctx)
{
    workday *w = ctx;
    char payload[800];
    int lane = message->topic[0] == 'u' ? BUSBAR_URGENT : message->topic[0] == 'b' ? BUSBAR_BULK : BUSBAR_NORMAL;
    if (!strstr(message->topic, "/busbar.gap/")) {
        note_message(w, lane, hash(strrchr(message->topic, '/')));
        return;
    }
    snprintf(payload, sizeof payload, "%.*s", (int)message->payload_size_bytes, (const char *)message->payload);
    const char *count = strstr(payload, "\"count\":");
    w->told_lost += count ? strtoll(count + 8, NULL, 10) : 0;
}

/* ---- Opening and closing ----------------------------------------------------------------------------------------- */

static bool open_database(workday *w, station *s)
{
    char text[200];
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    snprintf(text, sizeof text,
             "PRAGMA page_size=1024; PRAGMA synchronous=%s; PRAGMA cache_size=25; PRAGMA wal_autocheckpoint=40;"
             "PRAGMA journal_mode=%s",
             w->shape->synchronous, w->shape->journal);
    if (good_sql(w, s->db, sqlite3_open_v2(FILE_NAME, &s->db, flags, busbar_sim_disk_vfs(w->e->disk)), "open") &&
        workday_sql(w, s->db, text))
        return true;
    sqlite3_close(s->db);
    s->db = NULL;
    return false;
}

static bool open_bus(workday *w, station *s)
{
    busbar_error error = {.code = 0};
    const busbar_options options = {
        .size = sizeof options,
        .port = &w->e->port,
        .lease_ms = LEASE_MS,
        .keep_events = 6,
        .keep_ids = 1000,
        .max_bytes = 4u << 20,
        .max_events = {0, 0, WORKDAY_BULK_MAX},
        .max_age_ms = {86400000, 0, 86400000},
        .keep_ms = 3600000,
        .consumer_idle_ms = 3600000,
    };
    int code = busbar_open(&s->bus, s->db, &options, &error);
    if (code < 0 && (error.code != code || error.text[0] == '\0'))
        workday_fail(w, "busbar_open", "the failure has no detail");
    return workday_good(w, NULL, code, error.text[0] ? error.text : "busbar_open");
}

static bool make_tables(workday *w, station *s)
{
    s->has_tables = workday_good(w, s->bus, busbar_migrate(s->bus), "migrate") && workday_sql(w, s->db, TABLES);
    if (!s->has_tables && !sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return s->has_tables;
}

static bool subscribe(workday *w, station *s)
{
    static const busbar_retry retry = {.base_ms = 10, .cap_ms = 40, .max_attempts = BUSBAR_UNLIMITED};
    const busbar_handler handlers[] = {
        {.size = sizeof *handlers,
         .name = "inside",
         .fn = handle_inside,
         .ctx = w,
         .start = BUSBAR_START_BEGINNING,
         .retry = retry,
         .on_failure = "s.bad"},
        {.size = sizeof *handlers,
         .name = "outside",
         .pattern = "a.#",
         .fn = handle_outside,
         .ctx = w,
         .start = BUSBAR_START_BEGINNING,
         .delivery = BUSBAR_OUTSIDE,
         .retry = retry,
         .order = BUSBAR_ORDER_KEY},
        {.size = sizeof *handlers, .name = "gate", .pattern = "n.never", .fn = refuse, .delivery = BUSBAR_INLINE},
        {.size = sizeof *handlers, .name = "brief", .fn = handle_outside, .ctx = w, .delivery = BUSBAR_OUTSIDE},
    };
    size_t count = w->openings == 1 ? 4 : 3;
    s->has_subscriptions = workday_good(w, s->bus, busbar_subscribe(s->bus, handlers, count), "subscribe");
    return s->has_subscriptions;
}

static bool add_route(workday *w, station *s)
{
    const busbar_route route = {
        .size = sizeof route,
        .name = "up",
        .topic = "{lane}/{type}/{id}",
        .window = WINDOW,
        .ack_group = 3,
        .ack_delay_ms = 20,
        .retry = {.base_ms = 10, .cap_ms = 40, .max_attempts = BUSBAR_UNLIMITED},
    };
    const busbar_loopback_options options = {.size = sizeof options, .receive = receive, .ctx = w, .window = WINDOW};
    busbar_transport wrapped;
    w->has_link = false;
    if (!workday_good(w, NULL, busbar_loopback_new(&options, &w->link), "loopback"))
        return false;
    if (!environment_wrap(w->e, w->link, &wrapped))
        return workday_good(w, NULL, BUSBAR_ENOMEM, "loopback");
    s->has_route = w->has_link = workday_good(w, s->bus, busbar_route_add(s->bus, &route, wrapped), "route");
    return s->has_route;
}

static bool ready(workday *w, station *s)
{
    return (s->db || open_database(w, s)) && (s->bus || open_bus(w, s)) && (s->has_tables || make_tables(w, s));
}

static bool has_fd(workday *w, station *s)
{
    return workday_good(w, s->bus, busbar_fd(s->bus), "fd");
}

bool workday_ready(workday *w)
{
    station *r = workday_relay(w);
    bool opens = w->app.db == NULL;
    if (w->must_roll_back || (!opens && !w->app.has_tables))
        roll_back(w);
    if (!ready(w, &w->app))
        return false;
    w->openings += opens;
    return (w->app.has_subscriptions || subscribe(w, &w->app)) && ready(w, r) && (r->has_route || add_route(w, r)) &&
           has_fd(w, &w->app) && has_fd(w, r);
}

static void close_station(workday *w, station *s)
{
    if (busbar_close(s->bus) != BUSBAR_OK)
        workday_fail(w, "busbar_close", "it refuses");
    if (sqlite3_close(s->db) != SQLITE_OK)
        workday_fail(w, "sqlite3_close", sqlite3_errmsg(s->db));
    *s = (station){.db = NULL};
}

void workday_close(workday *w)
{
    char worker[BUSBAR_IDENTITY_SIZE];
    close_station(w, &w->relay);
    close_station(w, &w->app);
    w->has_link = false;
    snprintf(worker, sizeof worker, "worker-%u", ++w->closings + 1);
    (void)busbar_sim_worker_set(w->e->sim, worker);
}

/* ---- The hours --------------------------------------------------------------------------------------------------- */

static uint64_t step(workday *w, station *s)
{
    uint64_t wait_us = 1000;
    if (w->must_roll_back)
        roll_back(w);
    if (s->bus && !w->must_roll_back)
        (void)workday_good(w, s->bus, busbar_step(s->bus, STEP_US, &wait_us), "step");
    return wait_us;
}

void workday_work(workday *w, int turns)
{
    for (int i = 0; i < turns; i++) {
        uint64_t app_us = step(w, &w->app);
        uint64_t relay_us = w->shape->alone ? app_us : step(w, &w->relay);
        uint64_t wait_us = app_us < relay_us ? app_us : relay_us;
        busbar_sim_advance(w->e->sim, wait_us > 20000 ? 20000 : wait_us + 10);
    }
}

static void publish_state(workday *w)
{
    transact(w, put_state);
    transact(w, put_in_savepoints);
}

static void publish_others(workday *w)
{
    publish_lone(w);
    transact(w, put_scheduled);
    transact(w, put_registered);
    transact(w, put_large);
}

static void some_work(workday *w)
{
    workday_work(w, 8);
}

static void long_work(workday *w)
{
    workday_work(w, 25);
}

static void burst(workday *w)
{
    transact(w, put_bulk);
    workday_work(w, 1);
    transact(w, put_bulk);
}

static void expire(workday *w)
{
    transact(w, put_short_lived);
    busbar_sim_advance(w->e->sim, 60000);
}

static void offline(workday *w)
{
    if (w->has_link)
        busbar_loopback_link(w->link, false);
    workday_work(w, 3);
    transact(w, put_state);
    workday_work(w, 3);
    if (w->has_link)
        busbar_loopback_link(w->link, true);
}

static void refused(workday *w)
{
    busbar_event never = event_of("n.never", NULL);
    int code = busbar_publish(w->app.bus, &never, NULL);
    if (code >= 0)
        workday_fail(w, "publish", "an inline handler refused it, and it was stored");
    else if (code != BUSBAR_EREFUSED)
        (void)workday_good(w, w->app.bus, code, "publish");
}

static int see_event(const busbar_record *event, const busbar_standing *standing, void *ctx)
{
    (void)event, (void)standing, (void)ctx;
    return 0;
}

static int see_standing(const busbar_standing *standing, void *ctx)
{
    (void)standing, (void)ctx;
    return 0;
}

static int see_consumer(const busbar_consumer_status *consumer, void *ctx)
{
    (void)consumer, (void)ctx;
    return 0;
}

static int see_reason(const busbar_health_reason *reason, void *ctx)
{
    (void)reason, (void)ctx;
    return 0;
}

static int see_finding(const busbar_finding *finding, void *ctx)
{
    workday *w = ctx;
    if (!workday_in_trouble(w))
        workday_fail(w, finding->part, finding->text);
    return 0;
}

static void look(workday *w)
{
    busbar *bus = w->app.bus;
    busbar_status status = {.size = sizeof status};
    busbar_query query = {.size = sizeof query};
    busbar_health health = BUSBAR_HEALTH_OK;
    (void)workday_good(w, bus, busbar_status_get(bus, &status), "status");
    (void)workday_good(w, bus, busbar_consumer_list(bus, see_consumer, NULL), "consumer_list");
    (void)workday_good(w, bus, busbar_list(bus, &query, see_event, NULL), "list");
    query.state = BUSBAR_STATE_SCHEDULED;
    (void)workday_good(w, bus, busbar_list(bus, &query, see_event, NULL), "list");
    query.consumer = "outside";
    query.state = BUSBAR_STATE_ANY;
    query.pattern = "a.*";
    (void)workday_good(w, bus, busbar_list(bus, &query, see_event, NULL), "list");
    int code = busbar_show(bus, "lone-0", see_event, see_standing, NULL);
    if (code != BUSBAR_ENOTFOUND) /* it may be pruned, or not published yet */
        (void)workday_good(w, bus, code, "show");
    (void)workday_good(w, bus, busbar_health_get(bus, NULL, see_reason, NULL, &health), "health");
    (void)workday_good(w, bus, busbar_check(bus, see_finding, w), "check");
}

/* Dead letters are tried again, and die again; what the route has finished, and the log still has, goes out once more. */
static void act(workday *w)
{
    busbar *bus = w->app.bus;
    busbar_selector bad = {.size = sizeof bad, .consumer = "inside", .pattern = WORKDAY_BAD};
    busbar_selector again = {.size = sizeof again, .consumer = "up", .pattern = "a.#", .limit = 3};
    busbar_selector scheduled = {.size = sizeof scheduled, .pattern = "l.drop"};
    uint64_t count = 0;
    (void)workday_good(w, bus, busbar_act(bus, &bad, BUSBAR_ACTION_RETRY, &count), "retry");
    (void)workday_good(w, bus, busbar_act(bus, &again, BUSBAR_ACTION_REPLAY, &count), "replay");
    (void)workday_good(w, bus, busbar_act(bus, &scheduled, BUSBAR_ACTION_DROP, &count), "drop");
    workday_work(w, 6);
    bad.limit = 1;
    (void)workday_good(w, bus, busbar_act(bus, &bad, BUSBAR_ACTION_DROP, &count), "drop");
}

static void tidy(workday *w)
{
    busbar_pruning pruning = {.size = sizeof pruning, .keep = 2};
    uint64_t count = 0;
    (void)workday_good(w, w->app.bus, busbar_prune(w->app.bus, &pruning, &count), "prune");
    (void)workday_sql(w, w->app.db, "PRAGMA wal_checkpoint(TRUNCATE)");
}

static void shrink(workday *w)
{
    busbar_pruning pruning = {.size = sizeof pruning, .vacuum = true};
    uint64_t count = 0;
    (void)workday_good(w, w->app.bus, busbar_prune(w->app.bus, &pruning, &count), "vacuum");
}

static void reopen(workday *w)
{
    workday_close(w);
    (void)workday_ready(w);
}

/* A consumer that nobody registers any more. A lease that a fault kept from being given back is free when its process has
   ended. */
static void forget(workday *w)
{
    char worker[BUSBAR_IDENTITY_SIZE];
    int code = busbar_consumer_remove(w->app.bus, "brief");
    if (code == BUSBAR_ELEASE && environment_failures(w->e) > 0) {
        for (unsigned i = 1; i <= w->closings; i++) {
            snprintf(worker, sizeof worker, "worker-%u", i);
            (void)busbar_sim_worker_gone(w->e->sim, worker);
        }
        code = busbar_consumer_remove(w->app.bus, "brief");
    }
    if (code == BUSBAR_EEXISTS || code == BUSBAR_ENOTFOUND) /* of the only opening so far; gone already */
        return;
    if (code != BUSBAR_ELEASE || !workday_in_trouble(w))
        (void)workday_good(w, w->app.bus, code, "consumer_remove");
}

static void (*const hours[])(workday *) = {
    publish_state, some_work,     publish_others, burst,     some_work, expire,  refused,
    long_work,     offline,       look,           some_work, act,       tidy,    reopen,
    forget,        publish_state, burst,          some_work, shrink,    offline, long_work,
    look,          tidy,          publish_others, long_work,
};

static void heal(workday *w)
{
    w->may_tell_late = !w->over && w->e->armed && !w->e->armed->is_silent;
    environment_heal(w->e);
    w->over = true;
    if (w->must_roll_back)
        roll_back(w);
}

/* Whatever was left undone. */
static void make_good(workday *w)
{
    for (int i = 0; i < 2; i++) {
        if (!workday_ready(w)) {
            workday_fail(w, "the environment is healed", "and something does not open");
            return;
        }
        if (w->openings == 1)
            reopen(w);
        busbar_sim_advance(w->e->sim, 2u * LEASE_MS * 1000);
        publish_lone(w);
        forget(w);
        act(w);
        transact(w, put_state);
    }
    for (int i = 0; i < 400 && w->failure[0] == '\0' && !reckoning_is_settled(w); i++)
        workday_work(w, 25);
}

void workday_run(workday *w, environment *e, const shape *s, unsigned heal_after)
{
    memset(w, 0, sizeof *w);
    w->e = e;
    w->shape = s;
    w->may_bury = e->armed && e->armed->may_bury;
    for (size_t i = 0; i < sizeof hours / sizeof *hours && w->failure[0] == '\0'; i++) {
        if (workday_ready(w))
            hours[i](w);
        if (workday_in_trouble(w) && ++w->hours_in_trouble > heal_after)
            heal(w);
    }
    heal(w);
    if (w->failure[0] == '\0')
        make_good(w);
    if (w->failure[0] == '\0')
        reckoning_check(w);
    workday_close(w);
    if (w->failure[0] == '\0' && workday_ready(w)) {
        transact(w, put_state);
        make_good(w);
        reckoning_check(w);
    }
    workday_close(w);
}
