/* SPDX-License-Identifier: MIT */
/*
 * The bus against a reference model (model.h): random publishing, verdicts, refusals, acknowledgements out of order, lost links,
 * restarts, crashes, reboots, acts, eviction, expiry and changes of order and lanes. P3 (a route moves on only by acknowledgement), P4 (order),
 * P8 (counters), P9 (retry and dead letters). 100,000 steps, or as many as the first argument says; the seed is printed, and
 * MODEL_SEED plays it again.
 */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "fixture.h"
#include "ledger.h"
#include "model.h"

#define STEPS_DEFAULT 100000
#define FLYING_MAX    16
#define BACKLOG_MAX   2000
#define OPEN_ENOUGH   500
#define BULK_MAX      25

static int step_count = STEPS_DEFAULT;

typedef struct run run;

typedef struct letter {
    uint64_t token;
    int lane;
    int64_t seq;
    model_message state;
    uint32_t after_ms;
    bool gap; /* tells of what was lost: of no event */
} letter;

/* The peer of a route. */
typedef struct peer {
    run *r;
    model_consumer *consumer;
    bool link, told, up_due, down_due;
    letter flying[FLYING_MAX];
    size_t flying_count;
    letter settled[FLYING_MAX];
    size_t settled_count;
    ledger book; /* of the gaps that it got */
} peer;

typedef struct party {
    run *r;
    model_consumer *consumer;
} party;

struct run {
    fixture f;
    model m;
    uint64_t random;
    uint64_t seed;
    int step;
    int files; /* copies of the database made so far */
    int workers;
    bool quiet; /* everything goes well from now on */
    bool dead;  /* the process has ended: what its bus still does is nobody's */
    int64_t started_ms;
    int64_t before_ms; /* what the boots before have lasted */
    party handlers[MODEL_CONSUMERS];
    peer peers[MODEL_CONSUMERS];
    sqlite3_stmt *cursors;
    sqlite3_stmt *exceptions;
    int64_t calls, sends, restarts, acts, losses;
};

/* ---- Chance ---- */

static uint32_t chance(run *r, uint32_t below)
{
    r->random += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = r->random;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ z >> 31) >> 32) % below;
}

static bool percent(run *r, uint32_t of_hundred)
{
    return chance(r, 100) < of_hundred;
}

static int64_t clock_ms(const run *r)
{
    return (int64_t)(r->f.options.port->mono_us(r->f.options.port->ctx) / 1000);
}

static void tell_time(run *r)
{
    r->m.now_ms = clock_ms(r);
    r->m.total_ms = r->before_ms + r->m.now_ms;
}

static void check(const run *r)
{
    if (r->m.fault[0])
        fail_msg("MODEL_SEED=%llu, step %d: %s", (unsigned long long)r->seed, r->step, r->m.fault);
}

static void expect(run *r, const model_consumer *c, int lane, const char *what, int64_t found, int64_t wanted)
{
    if (found == wanted || r->m.fault[0])
        return;
    snprintf(r->m.fault, sizeof r->m.fault, "%s, lane %d: %s is %lld instead of %lld", c->name, lane, what,
             (long long)found, (long long)wanted);
}

/* ---- What the tables say ---- */

/* On a connection that keeps its locks: nobody else looks at the file, and it is faster by half. */
static void prepare(run *r)
{
    static const char cursors[] = "SELECT lane, start, cursor, filtered, delivered, dead, expired, evicted, dropped,"
                                  " replayed FROM busbar_cursor WHERE consumer ="
                                  " (SELECT id FROM busbar_consumer WHERE name = ?1)";
    static const char exceptions[] = "SELECT lane, seq, state, attempts FROM busbar_exception WHERE consumer ="
                                     " (SELECT id FROM busbar_consumer WHERE name = ?1) AND state <> 3";
    sql(r->f.db, "PRAGMA locking_mode=EXCLUSIVE");
    assert_int_equal(sqlite3_prepare_v2(r->f.db, cursors, -1, &r->cursors, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(r->f.db, exceptions, -1, &r->exceptions, NULL), SQLITE_OK);
}

static void unprepare(run *r)
{
    sqlite3_finalize(r->cursors);
    sqlite3_finalize(r->exceptions);
    r->cursors = r->exceptions = NULL;
}

typedef struct row {
    int lane;
    int64_t seq;
    bool parked;
    uint32_t attempts;
} row;

static size_t read_rows(run *r, const model_consumer *c, row *rows, size_t capacity)
{
    size_t count = 0;
    sqlite3_bind_text(r->exceptions, 1, c->name, -1, SQLITE_STATIC);
    while (sqlite3_step(r->exceptions) == SQLITE_ROW) {
        assert_true(count < capacity);
        rows[count++] = (row){.lane = sqlite3_column_int(r->exceptions, 0),
                              .seq = sqlite3_column_int64(r->exceptions, 1),
                              .parked = sqlite3_column_int(r->exceptions, 2) == BUSBAR_STATE_PARKED,
                              .attempts = (uint32_t)sqlite3_column_int(r->exceptions, 3)};
    }
    sqlite3_reset(r->exceptions);
    return count;
}

static const row *find_row(const row *rows, size_t count, const model_open *o)
{
    for (size_t i = 0; i < count; i++) {
        if (rows[i].lane == o->lane && rows[i].seq == o->seq)
            return &rows[i];
    }
    return NULL;
}

/* Results of what a route tried again are recorded, or not yet. */
static void take_records(run *r, model_consumer *c, const row *rows, size_t count)
{
    for (size_t i = c->open_count; i > 0; i--) {
        const row *found = find_row(rows, count, &c->open[i - 1]);
        model_recorded(&r->m, c, i - 1, found != NULL, found ? found->attempts : 0);
    }
}

static void compare_open(run *r, model_consumer *c)
{
    static row rows[MODEL_OPEN_MAX + 64];
    size_t count = read_rows(r, c, rows, sizeof rows / sizeof *rows);
    if (c->route)
        take_records(r, c, rows, count);
    expect(r, c, -1, "the number of open events", (int64_t)count, (int64_t)c->open_count);
    for (size_t i = 0; i < c->open_count && !r->m.fault[0]; i++) {
        const model_open *o = &c->open[i];
        const row *found = find_row(rows, count, o);
        if (!found)
            model_fault(&r->m, c, o->lane, o->seq, "is not among the open events");
        else if (found->parked != o->parked)
            model_fault(&r->m, c, o->lane, o->seq, found->parked ? "is parked" : "is not parked");
        else if (found->attempts != o->attempts)
            model_fault(&r->m, c, o->lane, o->seq, "has another number of attempts in its row");
    }
}

static int64_t open_in(const model_consumer *c, int lane)
{
    int64_t count = 0;
    for (size_t i = 0; i < c->open_count; i++)
        count += c->open[i].lane == lane;
    return count;
}

static void compare_lane(run *r, const model_consumer *c)
{
    sqlite3_stmt *s = r->cursors;
    int lane = sqlite3_column_int(s, 0);
    const model_lane *l = &c->lane[lane];
    int64_t head = r->m.log[lane].head;
    int64_t expired = sqlite3_column_int64(s, 6);
    int64_t evicted = sqlite3_column_int64(s, 7);
    expect(r, c, lane, "filtered", sqlite3_column_int64(s, 3), l->filtered);
    expect(r, c, lane, "delivered", sqlite3_column_int64(s, 4), l->delivered);
    expect(r, c, lane, "dead", sqlite3_column_int64(s, 5), l->dead);
    expect(r, c, lane, "dropped", sqlite3_column_int64(s, 8), l->dropped);
    expect(r, c, lane, "replayed", sqlite3_column_int64(s, 9), l->replayed);
    expect(r, c, lane, "evicted", evicted, l->evicted);
    expect(r, c, lane, "expired", expired, l->expired);
    int64_t right = sqlite3_column_int64(s, 3) + sqlite3_column_int64(s, 4) + sqlite3_column_int64(s, 5) + expired +
                    evicted + open_in(c, lane) + head - sqlite3_column_int64(s, 2);
    expect(r, c, lane, "P8's left side", head - sqlite3_column_int64(s, 1) + sqlite3_column_int64(s, 9), right);
}

/* Tells the model how far the consumer is, and compares everything. */
static void compare(run *r, model_consumer *c)
{
    tell_time(r);
    int64_t now_ms = r->m.now_ms;
    r->m.now_ms = r->started_ms; /* what is recorded was so at some time of this step */
    sqlite3_bind_text(r->cursors, 1, c->name, -1, SQLITE_STATIC);
    while (sqlite3_step(r->cursors) == SQLITE_ROW)
        model_moved(&r->m, c, sqlite3_column_int(r->cursors, 0), sqlite3_column_int64(r->cursors, 2));
    sqlite3_reset(r->cursors);
    compare_open(r, c);
    while (sqlite3_step(r->cursors) == SQLITE_ROW)
        compare_lane(r, c);
    sqlite3_reset(r->cursors);
    r->m.now_ms = now_ms;
}

static void compare_all(run *r)
{
    sql(r->f.db, "BEGIN"); /* one look for all */
    for (int i = 0; i < MODEL_CONSUMERS; i++)
        compare(r, &r->m.consumers[i]);
    sql(r->f.db, "COMMIT");
    check(r);
}

/* ---- Gaps ---- */

/* The sum of a lane's records, but for those that the peer has got. */
static int64_t untold(run *r, const model_consumer *c, int lane)
{
    int64_t sum = 0;
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_prepare_v2(r->f.db,
                                        "SELECT 'gap-' || coalesce(token, ''), count FROM busbar_gap WHERE lane = ?2"
                                        " AND consumer = (SELECT id FROM busbar_consumer WHERE name = ?1)",
                                        -1, &stmt, NULL),
                     SQLITE_OK);
    sqlite3_bind_text(stmt, 1, c->name, -1, SQLITE_STATIC);
    sqlite3_bind_int(stmt, 2, lane);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        const ledger *told = &r->peers[c - r->m.consumers].book;
        if (!c->route || !ledger_knows_gap(told, (const char *)sqlite3_column_text(stmt, 0)))
            sum += sqlite3_column_int64(stmt, 1);
    }
    sqlite3_finalize(stmt);
    return sum;
}

/* What a consumer has missed was told, or is still to be told: all of it, and nothing else. */
static void compare_gaps(run *r)
{
    for (int i = 0; i < MODEL_CONSUMERS; i++) {
        const model_consumer *c = &r->m.consumers[i];
        for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
            int64_t told = c->route ? r->peers[i].book.lanes[lane].lost_count : 0;
            expect(r, c, lane, "what gaps tell of", told + untold(r, c, lane),
                   c->lane[lane].evicted + c->lane[lane].expired);
        }
    }
    check(r);
}

/* ---- Handlers ---- */

static busbar_verdict handle(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    party *h = ctx;
    run *r = h->r;
    (void)bus;
    uint32_t dice = chance(r, 100);
    busbar_verdict verdict = dice < 70 || r->quiet ? BUSBAR_DONE
                             : dice < 86           ? BUSBAR_RETRY
                             : dice < 95           ? BUSBAR_WAIT
                                                   : BUSBAR_DEAD;
    if (verdict != BUSBAR_DONE && percent(r, 25))
        reason->retry_after_ms = 1 + chance(r, 400);
    r->calls++;
    tell_time(r);
    model_handled(&r->m, h->consumer, (int)event->lane, event->seq, event->attempt);
    if (strcmp(event->type, model_types[r->m.log[event->lane].events[event->seq].type]) != 0)
        model_fault(&r->m, h->consumer, (int)event->lane, event->seq, "has another type");
    model_answered(&r->m, h->consumer, (int)event->lane, event->seq, verdict, reason->retry_after_ms);
    return verdict;
}

static void observe(const busbar_observation *o, void *ctx)
{
    run *r = ctx;
    if (o->what != BUSBAR_OBSERVED_EXPIRED || r->dead)
        return;
    tell_time(r);
    for (int i = 0; i < MODEL_CONSUMERS; i++) {
        if (strcmp(r->m.consumers[i].name, o->consumer) == 0)
            model_expired(&r->m, &r->m.consumers[i], o->lane, o->seq);
    }
}

/* ---- Peers ---- */

static int peer_start(void *ctx, busbar_reason *reason)
{
    peer *p = ctx;
    (void)reason;
    p->up_due = p->link;
    return 0;
}

static bool read_message(const busbar_message *message, int *out_lane, int64_t *out_seq)
{
    static const char *const lanes[] = {"normal", "urgent", "bulk"};
    const char *sequence = strstr(message->payload, "\"sequence\":\"");
    *out_seq = sequence ? strtoll(sequence + 12, NULL, 10) : 0;
    for (*out_lane = 0; *out_lane < BUSBAR_LANE_COUNT; ++*out_lane) {
        if (strcmp(message->topic, lanes[*out_lane]) == 0)
            return *out_seq > 0;
    }
    return false;
}

static int64_t number_after(const char *payload, const char *name)
{
    const char *at = strstr(payload, name);
    assert_non_null(at);
    return strtoll(at + strlen(name), NULL, 10);
}

/* A gap is answered as any message is, and no event. */
static bool take_gap(peer *p, const busbar_message *message)
{
    static const char *const lanes[] = {"normal", "urgent", "bulk"};
    char id[64];
    int lane = 0;
    char payload[2048];
    snprintf(payload, sizeof payload, "%.*s", (int)message->payload_size_bytes, (const char *)message->payload);
    if (!strstr(payload, "\"type\":\"busbar.gap\""))
        return false;
    while (strcmp(message->topic, lanes[lane]) != 0)
        lane++;
    assert_int_equal(sscanf(strstr(payload, "\"id\":\""), "\"id\":\"%60[^\"]", id), 1);
    ledger_gap(&p->book, lane, id, number_after(payload, "\"from\":"), number_after(payload, "\"to\":"),
               number_after(payload, "\"count\":"));
    p->flying[p->flying_count++] = (letter){.token = message->token, .gap = true};
    return true;
}

static busbar_send_result peer_send(void *ctx, const busbar_message *message, busbar_reason *reason)
{
    peer *p = ctx;
    run *r = p->r;
    int lane;
    int64_t seq;
    if (!p->told || !p->link || r->dead || p->flying_count + p->settled_count == FLYING_MAX)
        return BUSBAR_SEND_NOT_NOW;
    if (take_gap(p, message))
        return BUSBAR_SEND_ACCEPTED;
    assert_true(read_message(message, &lane, &seq));
    r->sends++;
    if (model_unrecorded(p->consumer)) /* or no more, since it was recorded in this step */
        compare(r, p->consumer);
    tell_time(r);
    model_sent(&r->m, p->consumer, lane, seq);
    if (!r->quiet && chance(r, 200) == 0) {
        model_settled(&r->m, p->consumer, lane, seq, MODEL_REFUSED_DEAD, 0);
        strcpy(reason->text, "too strange to be sent");
        return BUSBAR_SEND_DEAD;
    }
    p->flying[p->flying_count++] = (letter){.token = message->token, .lane = lane, .seq = seq};
    return BUSBAR_SEND_ACCEPTED;
}

static void report(const letter *settled, busbar_transport_event_fn *fn, void *fn_ctx)
{
    bool acked = settled->state == MODEL_ACKED;
    busbar_transport_event event = {
        .size = sizeof event,
        .type = acked ? BUSBAR_TRANSPORT_ACKED : BUSBAR_TRANSPORT_REFUSED,
        .token = settled->token,
        .verdict = settled->state == MODEL_REFUSED ? BUSBAR_REFUSED_RETRY : BUSBAR_REFUSED_DEAD,
        .reason = {.retry_after_ms = settled->after_ms, .text = "the peer said so"},
    };
    fn(&event, fn_ctx);
}

static void peer_poll(void *ctx, busbar_transport_event_fn *fn, void *fn_ctx)
{
    peer *p = ctx;
    busbar_transport_event event = {.size = sizeof event};
    if (p->r->dead)
        return;
    for (size_t i = 0; i < p->settled_count; i++) {
        const letter *s = &p->settled[i];
        if (!s->gap)
            model_settled(&p->r->m, p->consumer, s->lane, s->seq, s->state, s->after_ms);
        report(s, fn, fn_ctx);
    }
    p->settled_count = 0;
    if (p->down_due) {
        p->down_due = p->told = false;
        model_link_lost(p->consumer);
        event.type = BUSBAR_TRANSPORT_DOWN;
        fn(&event, fn_ctx);
    }
    if (p->up_due) {
        p->up_due = false;
        p->told = true;
        event.type = BUSBAR_TRANSPORT_UP;
        fn(&event, fn_ctx);
    }
}

static void peer_close(void *ctx)
{
    ((peer *)ctx)->link = false;
}

static void peer_stop(void *ctx)
{
    (void)ctx;
}

static const busbar_transport_api peer_api = {
    .version = BUSBAR_TRANSPORT_VERSION,
    .name = "model",
    .start = peer_start,
    .send = peer_send,
    .poll = peer_poll,
    .close = peer_close,
    .stop = peer_stop,
};

static void settle_at(peer *p, size_t index, model_message state, uint32_t after_ms)
{
    letter settled = p->flying[index];
    settled.state = state;
    settled.after_ms = after_ms;
    p->flying_count--;
    memmove(&p->flying[index], &p->flying[index + 1], (p->flying_count - index) * sizeof p->flying[0]);
    p->settled[p->settled_count++] = settled;
}

static void set_link(peer *p, bool link)
{
    if (p->link == link)
        return;
    p->link = link;
    p->flying_count = 0;
    p->down_due = !link && p->told;
    p->up_due = link;
    if (link && p->told) /* down and up again before the bus has looked */
        p->down_due = true;
}

/* The peer does something: it answers any of what is on its way, in whatever order, or the link changes. */
static void move_peer(run *r, peer *p)
{
    if (!p->link || percent(r, 4)) {
        r->losses += p->link;
        set_link(p, !p->link);
        return;
    }
    for (uint32_t count = 1 + chance(r, 4); count > 0 && p->flying_count > 0; count--) {
        uint32_t dice = chance(r, 100);
        model_message state = dice < 78 ? MODEL_ACKED : dice < 95 ? MODEL_REFUSED : MODEL_REFUSED_DEAD;
        uint32_t after_ms = state == MODEL_REFUSED && percent(r, 20) ? 1 + chance(r, 300) : 0;
        settle_at(p, chance(r, (uint32_t)p->flying_count), state, after_ms);
    }
}

/* ---- Life of the bus ---- */

static const busbar_filter not_b_y[] = {{.op = BUSBAR_FILTER_EXACT, .attribute = "type", .value = "b.y"}};
static const busbar_filter out_filter = {.op = BUSBAR_FILTER_NOT, .filters = not_b_y, .filter_count = 1};
static const busbar_filter up_filter = {.op = BUSBAR_FILTER_PREFIX, .attribute = "type", .value = "b."};

static void define(model_consumer *c, const char *name, unsigned types, busbar_order order, busbar_jitter jitter)
{
    c->name = name;
    c->types = types;
    c->order = order;
    c->retry = (busbar_retry){.base_ms = 50, .cap_ms = 600, .max_attempts = 4, .jitter = jitter};
}

static void define_all(model *m)
{
    define(&m->consumers[0], "tx", 0x03, BUSBAR_ORDER_KEY, BUSBAR_JITTER_EQUAL);
    define(&m->consumers[1], "outside", 0x17, BUSBAR_ORDER_KEY, BUSBAR_JITTER_FULL);
    define(&m->consumers[2], "tx2", 0x05, BUSBAR_ORDER_STRICT, BUSBAR_JITTER_NONE);
    define(&m->consumers[3], "up", 0x1f, BUSBAR_ORDER_KEY, BUSBAR_JITTER_DECORRELATED);
    define(&m->consumers[4], "up2", 0x0c, BUSBAR_ORDER_NONE, BUSBAR_JITTER_FULL);
    m->consumers[0].sequel = true;
    m->consumers[0].lanes = BUSBAR_LANES_NORMAL | BUSBAR_LANES_URGENT; /* so that a step evicts nothing */
    m->consumers[3].route = m->consumers[4].route = true;
    m->consumers[4].retry.max_attempts = BUSBAR_UNLIMITED;
}

static void subscribe(run *r, int index, const char *pattern, busbar_delivery delivery, const busbar_filter *filter)
{
    model_consumer *c = &r->m.consumers[index];
    r->handlers[index] = (party){r, c};
    busbar_handler handler = {
        .size = sizeof handler,
        .name = c->name,
        .pattern = pattern,
        .fn = handle,
        .ctx = &r->handlers[index],
        .delivery = delivery,
        .retry = c->retry,
        .filter = filter,
        .order = c->order,
        .lanes = c->lanes,
        .share = 5,
        .on_success = c->sequel ? "c.done" : NULL,
    };
    assert_code(r->f.bus, busbar_subscribe(r->f.bus, &handler, 1), BUSBAR_OK);
}

static void add_route(run *r, int index, const busbar_filter *filter)
{
    model_consumer *c = &r->m.consumers[index];
    r->peers[index] = (peer){.r = r, .consumer = c, .link = true, .book = r->peers[index].book};
    busbar_route route = {
        .size = sizeof route,
        .name = c->name,
        .topic = "{lane}",
        .window = 5,
        .ack_group = 6,
        .ack_delay_ms = 50,
        .start = BUSBAR_START_NOW,
        .retry = c->retry,
        .filter = filter,
        .order = c->order,
        .lanes = c->lanes,
        .share = 5,
    };
    assert_code(r->f.bus, busbar_route_add(r->f.bus, &route, (busbar_transport){&peer_api, &r->peers[index]}),
                BUSBAR_OK);
}

static void register_all(run *r)
{
    subscribe(r, 0, "a.*", BUSBAR_TRANSACTIONAL, NULL);
    subscribe(r, 1, NULL, BUSBAR_OUTSIDE, &out_filter);
    subscribe(r, 2, "*.x", BUSBAR_TRANSACTIONAL, NULL);
    add_route(r, 3, NULL);
    add_route(r, 4, &up_filter);
    prepare(r);
}

static void copy_file(const char *from, const char *to, const char *suffix)
{
    char name[200];
    char buffer[16384];
    size_t size;
    snprintf(name, sizeof name, "%s%s", from, suffix);
    FILE *in = fopen(name, "rb");
    snprintf(name, sizeof name, "%s%s", to, suffix);
    FILE *out = fopen(name, "wb");
    assert_true(in && out);
    while ((size = fread(buffer, 1, sizeof buffer, in)) > 0)
        assert_int_equal(fwrite(buffer, 1, size, out), size);
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

static void remove_database(const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    for (int i = 0; i < 3; i++) {
        char name[200];
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        unlink(name);
    }
}

/* The process ends here: its files as they are now are all that is left. */
static void crash(run *r)
{
    char old[sizeof r->f.path];
    char worker[32];
    strcpy(old, r->f.path);
    snprintf(r->f.path, sizeof r->f.path, "%s/%d.db", r->f.directory, ++r->files);
    copy_file(old, r->f.path, "");
    copy_file(old, r->f.path, "-wal");
    unprepare(r);
    r->dead = true;
    busbar_close(r->f.bus);
    r->dead = false;
    assert_int_equal(sqlite3_close(r->f.db), SQLITE_OK);
    remove_database(old);
    snprintf(worker, sizeof worker, "process-%d", r->workers++);
    busbar_sim_worker_gone(r->f.sim, worker);
    snprintf(worker, sizeof worker, "process-%d", r->workers);
    busbar_sim_worker_set(r->f.sim, worker);
    r->f.db = fixture_connect(&r->f);
}

/* Between two runs the application may have been changed. */
static void change_settings(run *r)
{
    static const uint32_t lanes[] = {BUSBAR_LANES_ALL, BUSBAR_LANES_ALL, BUSBAR_LANES_NORMAL | BUSBAR_LANES_URGENT,
                                     BUSBAR_LANES_URGENT | BUSBAR_LANES_BULK, BUSBAR_LANES_BULK};
    model_consumer *c = &r->m.consumers[chance(r, MODEL_CONSUMERS)];
    if (percent(r, 30))
        model_reorder(&r->m, c, (busbar_order)chance(r, 3));
    if (percent(r, 20) && !c->sequel)
        c->lanes = lanes[chance(r, 5)];
}

static void restart(run *r, bool crashed, bool reboot)
{
    r->restarts++;
    r->started_ms = clock_ms(r);
    if (crashed || reboot) {
        crash(r);
    } else {
        assert_code(r->f.bus, busbar_close(r->f.bus), BUSBAR_OK);
        compare_all(r); /* acknowledgements that had arrived are recorded */
        unprepare(r);
    }
    for (int i = 0; i < MODEL_CONSUMERS; i++)
        model_forget(&r->m.consumers[i]);
    if (reboot) {
        r->before_ms += clock_ms(r);
        busbar_sim_reboot(r->f.sim);
        r->before_ms -= clock_ms(r);
        r->m.boot++;
    }
    if (!r->quiet)
        change_settings(r);
    r->f.options.port = busbar_sim_port(r->f.sim);
    busbar_error error = {.code = 0};
    if (busbar_open(&r->f.bus, r->f.db, &r->f.options, &error) != BUSBAR_OK)
        fail_msg("%s", error.text);
    register_all(r);
    r->started_ms = clock_ms(r);
}

/* ---- Steps ---- */

static bool too_much(const run *r)
{
    for (int i = 0; i < MODEL_CONSUMERS; i++) {
        const model_consumer *c = &r->m.consumers[i];
        for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
            if (c->open_count > OPEN_ENOUGH || r->m.log[lane].head - c->lane[lane].cursor > BACKLOG_MAX)
                return true;
        }
    }
    return false;
}

/* A sixteenth of what a lane may have goes at once. */
static void find_evicted(run *r)
{
    int64_t head = r->m.log[BUSBAR_BULK].head;
    int64_t gone = head > 0 ? sql_integer(r->f.db, "SELECT min(seq) - 1 FROM busbar_log_bulk") : 0;
    assert_true(head - gone <= BULK_MAX);
    assert_true(gone == 0 || head - gone >= BULK_MAX - BULK_MAX / 16);
    model_evicted(&r->m, BUSBAR_BULK, gone);
}

static void publish_some(run *r)
{
    static const char *const keys[] = {NULL, "k1", "k2", "k3"};
    model_event events[6];
    int lanes[6];
    int count = percent(r, 60) ? 1 : 1 + (int)chance(r, 6);
    bool grouped = count > 1 || percent(r, 30);
    bool kept = !grouped || percent(r, 80);
    if (too_much(r))
        return;
    if (grouped)
        sql(r->f.db, "BEGIN");
    for (int i = 0; i < count; i++) {
        tell_time(r);
        events[i] =
            (model_event){.type = (uint8_t)chance(r, 4), .key = (uint8_t)chance(r, 4), .own_policy = percent(r, 15)};
        events[i].ttl_ms = events[i].key == 0 && percent(r, 40) ? 1 + chance(r, percent(r, 50) ? 500 : 20000) : 0;
        events[i].boot = r->m.boot;
        events[i].born_ms = r->m.total_ms;
        lanes[i] = percent(r, 60) ? BUSBAR_NORMAL : percent(r, 50) ? BUSBAR_URGENT : BUSBAR_BULK;
        busbar_event event = event_of(model_types[events[i].type]);
        event.key = keys[events[i].key];
        event.lane = (busbar_lane)lanes[i];
        event.retry = events[i].own_policy ? &model_own_retry : NULL;
        event.ttl_ms = events[i].ttl_ms;
        assert_code(r->f.bus, busbar_publish(r->f.bus, &event, NULL), BUSBAR_OK);
    }
    if (grouped)
        sql(r->f.db, kept ? "COMMIT" : "ROLLBACK");
    for (int i = 0; i < count && kept; i++)
        model_publish(&r->m, lanes[i], events[i]);
    find_evicted(r);
}

static void step(run *r)
{
    static const uint32_t budgets_us[] = {50, 500, 5000, 1000000};
    uint64_t wait_us;
    r->started_ms = clock_ms(r);
    assert_code(r->f.bus, busbar_step(r->f.bus, budgets_us[chance(r, 4)], &wait_us), BUSBAR_OK);
    compare_all(r);
}

static void let_time_pass(run *r)
{
    uint32_t dice = chance(r, 100);
    uint64_t time_us = dice < 50   ? chance(r, 4000)
                       : dice < 85 ? chance(r, 300000)
                       : dice < 99 ? chance(r, 3000000)
                                   : UINT64_C(600000000);
    busbar_sim_advance(r->f.sim, time_us);
    if (percent(r, 2)) /* retries know nothing of wall time */
        busbar_sim_wall_step(r->f.sim, (int64_t)chance(r, 200000000) - 100000000);
}

/* Its id, from the log (or, if it was pruned, from the exception); false if it is nowhere. */
static bool id_of(run *r, int lane, int64_t seq, bool log_only, char *out, size_t size)
{
    static const char *const names[] = {"normal", "urgent", "bulk"};
    static const char letters[] = "nub";
    char query[600];
    snprintf(
        query, sizeof query,
        "SELECT (SELECT id FROM busbar_events WHERE lane = '%s' AND seq = %lld),"
        " (SELECT s.token || '-%c' || e.seq FROM busbar_exception AS e JOIN busbar_session AS s ON s.id = e.session"
        "  WHERE e.lane = %d AND e.seq = %lld LIMIT 1)",
        names[lane], (long long)seq, letters[lane], lane, (long long)seq);
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_prepare_v2(r->f.db, query, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    const char *id = (const char *)sqlite3_column_text(stmt, 0);
    if (!id && !log_only)
        id = (const char *)sqlite3_column_text(stmt, 1);
    snprintf(out, size, "%s", id ? id : "");
    sqlite3_finalize(stmt);
    return out[0] != '\0';
}

/* What the act does by the model; how many events it concerns. */
static uint64_t act_on_model(run *r, model_consumer *c, busbar_action action, int lane, int64_t seq)
{
    size_t index = model_find(c, lane, seq);
    bool dead = model_fate_of(c, lane, seq) == MODEL_DEAD;
    if (action == BUSBAR_ACTION_REPLAY && !dead) {
        bool can = model_can_replay(&r->m, c, lane, seq);
        if (can)
            model_replay(&r->m, c, lane, seq);
        return can;
    }
    if (action == BUSBAR_ACTION_REPLAY) {
        action = BUSBAR_ACTION_RETRY;
        dead = model_wants(&r->m, c, lane, seq);
    }
    bool concerned = dead || (index != SIZE_MAX && (action == BUSBAR_ACTION_DROP || !c->open[index].parked));
    if (concerned && action == BUSBAR_ACTION_DROP)
        model_drop(&r->m, c, lane, seq);
    else if (concerned)
        model_retry(&r->m, c, lane, seq);
    return concerned;
}

static void act(run *r)
{
    model_consumer *c = &r->m.consumers[chance(r, MODEL_CONSUMERS)];
    busbar_action action = (busbar_action)(1 + chance(r, 3));
    int lane = (int)chance(r, BUSBAR_LANE_COUNT);
    int64_t seq = c->lane[lane].cursor - (int64_t)chance(r, 100);
    char id[300];
    if (c->open_count > 0 && percent(r, 50)) {
        const model_open *o = &c->open[chance(r, (uint32_t)c->open_count)];
        lane = o->lane;
        seq = o->seq;
    }
    size_t index = seq >= 1 ? model_find(c, lane, seq) : SIZE_MAX;
    bool under_way = index != SIZE_MAX && c->open[index].message != MODEL_NO_MESSAGE;
    if (seq < 1 || under_way || too_much(r) || !id_of(r, lane, seq, action == BUSBAR_ACTION_REPLAY, id, sizeof id))
        return;
    busbar_selector selector = {.size = sizeof selector, .consumer = c->name, .id = id};
    uint64_t count = 0;
    r->acts++;
    r->started_ms = clock_ms(r);
    assert_code(r->f.bus, busbar_act(r->f.bus, &selector, action, &count), BUSBAR_OK);
    expect(r, c, lane, "the number of events acted on", (int64_t)count, (int64_t)act_on_model(r, c, action, lane, seq));
    compare(r, c);
}

static void random_step(run *r)
{
    uint32_t dice = chance(r, 1000);
    if (dice < 330)
        publish_some(r);
    else if (dice < 660)
        step(r);
    else if (dice < 820)
        let_time_pass(r);
    else if (dice < 970)
        move_peer(r, &r->peers[3 + chance(r, 2)]);
    else if (dice < 990)
        act(r);
    else if (dice < 996)
        restart(r, false, false);
    else
        restart(r, true, dice >= 998);
    check(r);
}

/* ---- The whole run ---- */

static bool all_done(const run *r)
{
    for (int i = 0; i < MODEL_CONSUMERS; i++) {
        const model_consumer *c = &r->m.consumers[i];
        for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
            if (c->open_count > 0 || c->lane[lane].cursor < r->m.log[lane].head)
                return false;
        }
    }
    return true;
}

/* Everything goes well now: nothing may be left over. */
static void drain(run *r)
{
    r->quiet = true;
    for (int turn = 0; turn < 5000 && !all_done(r); turn++) {
        r->step++;
        step(r);
        busbar_sim_advance(r->f.sim, 100000);
        for (int i = 3; i < MODEL_CONSUMERS; i++) {
            set_link(&r->peers[i], true);
            while (r->peers[i].flying_count > 0)
                settle_at(&r->peers[i], 0, MODEL_ACKED, 0);
        }
    }
    if (!all_done(r))
        fail_msg("MODEL_SEED=%llu: something is left over and does not move", (unsigned long long)r->seed);
}

static void nothing_comes_again(run *r)
{
    int64_t calls = r->calls + r->sends;
    restart(r, false, false);
    restart(r, true, true);
    for (int i = 0; i < 50; i++) {
        step(r);
        busbar_sim_advance(r->f.sim, 1000000);
    }
    assert_int_equal(r->calls + r->sends, calls);
    for (int i = 0; i < MODEL_CONSUMERS; i++)
        assert_balanced(r->f.bus, r->m.consumers[i].name);
}

static void assert_gaps_are_told(run *r)
{
    int64_t evicted = 0;
    int64_t expired = 0;
    for (int i = 0; i < MODEL_CONSUMERS; i++) {
        const model_consumer *c = &r->m.consumers[i];
        for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
            bool served = c->lanes == BUSBAR_LANES_ALL || (c->lanes & (1u << lane)) != 0;
            if (c->route && served)
                assert_int_equal(untold(r, c, lane), 0);
            evicted += c->lane[lane].evicted;
            expired += c->lane[lane].expired;
        }
    }
    print_message("%lld evicted, %lld expired, told in %zu gaps\n", (long long)evicted, (long long)expired,
                  r->peers[3].book.gap_ids_count + r->peers[4].book.gap_ids_count);
    assert_true(evicted > step_count / 100 && expired > step_count / 100);
}

static uint64_t seed_of(void)
{
    const char *given = getenv("MODEL_SEED");
    return given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) * 1000003u + (uint64_t)getpid();
}

static void p4_p8_p9_the_bus_does_what_the_model_says(void **unused)
{
    (void)unused;
    run *r = calloc(1, sizeof *r);
    assert_non_null(r);
    r->random = r->seed = seed_of();
    print_message("MODEL_SEED=%llu, %d steps\n", (unsigned long long)r->seed, step_count);
    busbar_options options = {.size = sizeof options,
                              .keep_events = 200,
                              .poison_ends = UINT32_MAX,
                              .max_events = {[BUSBAR_BULK] = BULK_MAX},
                              .observer = observe,
                              .observer_ctx = r};
    fixture_open_with(&r->f, options);
    busbar_sim_worker_set(r->f.sim, "process-0");
    busbar_sim_tick(r->f.sim, 1);
    define_all(&r->m);
    for (int i = 0; i < MODEL_CONSUMERS; i++)
        ledger_open(&r->peers[i].book, 10000 + 2 * (int64_t)step_count);
    register_all(r);
    for (r->step = 0; r->step < step_count; r->step++) {
        random_step(r);
        if (r->step % 500 == 0)
            assert_balanced(r->f.bus, r->m.consumers[chance(r, MODEL_CONSUMERS)].name);
        if (r->step % 50 == 0)
            compare_gaps(r);
    }
    drain(r);
    nothing_comes_again(r);
    compare_gaps(r);
    assert_gaps_are_told(r);
    print_message("%lld calls, %lld sends, %lld losses, %lld restarts, %lld acts\n", (long long)r->calls,
                  (long long)r->sends, (long long)r->losses, (long long)r->restarts, (long long)r->acts);
    unprepare(r);
    fixture_close(&r->f);
    for (int i = 0; i < MODEL_CONSUMERS; i++)
        ledger_close(&r->peers[i].book);
    model_free(&r->m);
    free(r);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(p4_p8_p9_the_bus_does_what_the_model_says)};
    if (argc > 1)
        step_count = atoi(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
