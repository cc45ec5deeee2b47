/* SPDX-License-Identifier: MIT */
#include "model.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const model_types[MODEL_TYPES] = {"a.x", "a.y", "b.x", "b.y", "c.done"};
#define LATE_MS 5 /* between the look at the clock and the handler */

const busbar_retry model_own_retry = {.base_ms = 20, .cap_ms = 20, .max_attempts = 2, .jitter = BUSBAR_JITTER_NONE};

void model_fault(model *m, const model_consumer *c, int lane, int64_t seq, const char *text)
{
    if (!m->fault[0])
        snprintf(m->fault, sizeof m->fault, "%s, lane %d, event %lld: %s", c->name, lane, (long long)seq, text);
}

void model_free(model *m)
{
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        free(m->log[lane].events);
        for (int i = 0; i < MODEL_CONSUMERS; i++) {
            free(m->consumers[i].lane[lane].fates);
            free(m->consumers[i].lane[lane].flight);
        }
    }
}

static void *grow(void *array, int64_t *capacity, int64_t needed, size_t size)
{
    if (needed < *capacity)
        return array;
    int64_t larger = needed * 2 + 64;
    char *bytes = realloc(array, (size_t)larger * size);
    assert(bytes);
    memset(bytes + (size_t)*capacity * size, 0, (size_t)(larger - *capacity) * size);
    *capacity = larger;
    return bytes;
}

/* ---- Small questions ---- */

static const model_event *event_at(const model *m, int lane, int64_t seq)
{
    assert(seq >= 1 && seq <= m->log[lane].head);
    return &m->log[lane].events[seq];
}

static bool wants_lane(const model_consumer *c, int lane)
{
    return c->lanes == BUSBAR_LANES_ALL || (c->lanes & (1u << lane)) != 0;
}

bool model_wants(const model *m, const model_consumer *c, int lane, int64_t seq)
{
    return wants_lane(c, lane) && (c->types & (1u << event_at(m, lane, seq)->type)) != 0;
}

static void set_fate(model_consumer *c, int lane, int64_t seq, model_fate fate)
{
    model_lane *l = &c->lane[lane];
    l->fates = grow(l->fates, &l->capacity, seq, 1);
    l->fates[seq] = (uint8_t)fate;
}

model_fate model_fate_of(const model_consumer *c, int lane, int64_t seq)
{
    return seq < c->lane[lane].capacity ? (model_fate)c->lane[lane].fates[seq] : MODEL_UNREACHED;
}

size_t model_find(const model_consumer *c, int lane, int64_t seq)
{
    for (size_t i = 0; i < c->open_count; i++) {
        if (c->open[i].lane == lane && c->open[i].seq == seq)
            return i;
    }
    return SIZE_MAX;
}

static bool same_key(const model *m, int lane, int64_t a, int64_t b)
{
    uint8_t key = event_at(m, lane, a)->key;
    return key != 0 && key == event_at(m, lane, b)->key;
}

/* With this order the first holds the second up until it is settled. */
static bool holds_up(const model *m, const model_consumer *c, int lane, int64_t first, int64_t second)
{
    return c->order == BUSBAR_ORDER_STRICT || (c->order == BUSBAR_ORDER_KEY && same_key(m, lane, first, second));
}

static bool open_holds_up(const model *m, const model_consumer *c, int lane, int64_t seq)
{
    for (size_t i = 0; i < c->open_count; i++) {
        if (c->open[i].lane == lane && holds_up(m, c, lane, c->open[i].seq, seq))
            return true;
    }
    return false;
}

/* ---- Open events ---- */

static model_open *add_open(model *m, model_consumer *c, int lane, int64_t seq, bool parked)
{
    if (c->open_count == sizeof c->open / sizeof *c->open) {
        model_fault(m, c, lane, seq, "more open events than there may be");
        c->open_count--;
    }
    model_open *o = &c->open[c->open_count++];
    *o = (model_open){.lane = lane, .seq = seq, .parked = parked};
    set_fate(c, lane, seq, MODEL_OPEN);
    return o;
}

/* One that was not parked leaves: the first that is parked in its place is due, unless another goes before it. */
static void release(const model *m, model_consumer *c, const model_open *gone)
{
    model_open *first = NULL;
    for (size_t i = 0; i < c->open_count; i++) {
        model_open *o = &c->open[i];
        if (o->lane != gone->lane || o->seq == gone->seq || !holds_up(m, c, o->lane, gone->seq, o->seq))
            continue;
        if (!o->parked)
            return;
        if (!first || o->seq < first->seq)
            first = o;
    }
    if (!first)
        return;
    first->parked = false;
    first->due_ms = 0;
}

static void remove_open(const model *m, model_consumer *c, size_t index, model_fate fate)
{
    model_open gone = c->open[index];
    model_lane *l = &c->lane[gone.lane];
    set_fate(c, gone.lane, gone.seq, fate);
    l->delivered += fate == MODEL_DONE;
    l->dead += fate == MODEL_DEAD || fate == MODEL_DROPPED;
    l->dropped += fate == MODEL_DROPPED;
    l->expired += fate == MODEL_EXPIRED;
    l->held[event_at(m, gone.lane, gone.seq)->key] = m->log[gone.lane].head;
    c->open_count--;
    memmove(&c->open[index], &c->open[index + 1], (c->open_count - index) * sizeof c->open[0]);
    if (!gone.parked)
        release(m, c, &gone);
}

/* ---- Publishing and eviction ---- */

/* Messages on their way are settled for nobody: their events count as evicted. */
static void drop_flights(const model *m, model_lane *l, int lane, int64_t until)
{
    size_t kept = 0;
    for (size_t i = 0; i < l->flight_count; i++) {
        if (l->flight[i].seq > until)
            l->flight[kept++] = l->flight[i];
        else
            l->held[event_at(m, lane, l->flight[i].seq)->key] = m->log[lane].head;
    }
    l->flight_count = kept;
}

static void evict(model *m, model_consumer *c, int lane, int64_t until)
{
    model_lane *l = &c->lane[lane];
    while (l->cursor < until) {
        int64_t seq = ++l->cursor;
        set_fate(c, lane, seq, MODEL_EVICTED);
        l->evicted++;
    }
    drop_flights(m, l, lane, until);
    l->sent = l->sent < until ? until : l->sent;
}

void model_publish(model *m, int lane, model_event event)
{
    model_log *log = &m->log[lane];
    log->events = grow(log->events, &log->capacity, log->head + 1, sizeof *log->events);
    log->events[++log->head] = event;
}

void model_evicted(model *m, int lane, int64_t until)
{
    for (int i = 0; i < MODEL_CONSUMERS; i++) {
        if (m->consumers[i].lane[lane].cursor < until)
            evict(m, &m->consumers[i], lane, until);
    }
}

static const busbar_retry *policy_of(const model *m, const model_consumer *c, int lane, int64_t seq)
{
    return event_at(m, lane, seq)->own_policy ? &model_own_retry : &c->retry;
}

static int64_t least_wait_ms(const busbar_retry *retry, uint32_t attempt)
{
    uint64_t wait = retry->base_ms;
    for (uint32_t i = 1; i < attempt && wait < retry->cap_ms; i++)
        wait *= 2;
    wait = wait < retry->cap_ms ? wait : retry->cap_ms;
    switch (retry->jitter) {
    case BUSBAR_JITTER_FULL:
        return 0;
    case BUSBAR_JITTER_DECORRELATED:
        return (int64_t)retry->base_ms;
    case BUSBAR_JITTER_NONE:
        return (int64_t)wait;
    case BUSBAR_JITTER_EQUAL:
    default:
        return (int64_t)(wait / 2);
    }
}

/* A failed attempt, and what follows from it. */
static void fail(model *m, model_consumer *c, size_t index, busbar_verdict verdict, uint32_t after_ms)
{
    model_open *o = &c->open[index];
    const busbar_retry *retry = policy_of(m, c, o->lane, o->seq);
    o->attempts += verdict != BUSBAR_WAIT;
    o->message = MODEL_NO_MESSAGE;
    o->losses = 0;
    o->boot = m->boot;
    o->due_ms = m->now_ms + (after_ms > 0 ? (int64_t)after_ms : least_wait_ms(retry, o->attempts ? o->attempts : 1));
    bool spent = verdict == BUSBAR_RETRY && o->attempts >= retry->max_attempts;
    if (spent || verdict == BUSBAR_DEAD)
        remove_open(m, c, index, MODEL_DEAD);
}

/* Its time is over for certain, whatever was known of the time between boots. */
static bool may_expire(const model *m, int lane, int64_t seq)
{
    const model_event *e = event_at(m, lane, seq);
    return e->ttl_ms != 0 && m->total_ms - e->born_ms >= (int64_t)e->ttl_ms - 1;
}

/* Within a boot nobody gets what is too late. */
static void check_late(model *m, const model_consumer *c, int lane, int64_t seq)
{
    const model_event *e = event_at(m, lane, seq);
    if (e->ttl_ms != 0 && e->boot == m->boot && m->total_ms - e->born_ms > (int64_t)e->ttl_ms + LATE_MS)
        model_fault(m, c, lane, seq, "handed over after its time");
}

/* May an open event be handed over now? */
static void check_trial(model *m, const model_consumer *c, size_t index)
{
    const model_open *o = &c->open[index];
    if (o->parked)
        model_fault(m, c, o->lane, o->seq, "handed over while parked");
    if (o->boot == m->boot && m->now_ms < o->due_ms)
        model_fault(m, c, o->lane, o->seq, "tried again before its time");
}

/* ---- Handlers ---- */

/* What lies between the cursor and an event that is reached: not wanted, or parked. */
static void walk(model *m, model_consumer *c, int lane, int64_t until)
{
    model_lane *l = &c->lane[lane];
    while (l->cursor < until) {
        int64_t seq = ++l->cursor;
        if (!model_wants(m, c, lane, seq)) {
            set_fate(c, lane, seq, MODEL_UNWANTED);
            l->filtered++;
            continue;
        }
        uint8_t key = event_at(m, lane, seq)->key;
        bool held = open_holds_up(m, c, lane, seq);
        if (c->order != BUSBAR_ORDER_KEY || key == 0 || (!held && seq > l->held[key]))
            model_fault(m, c, lane, seq, "was passed over");
        add_open(m, c, lane, seq, held);
    }
}

void model_handled(model *m, model_consumer *c, int lane, int64_t seq, uint32_t attempt)
{
    size_t index = model_find(c, lane, seq);
    uint32_t before = index == SIZE_MAX ? 0 : c->open[index].attempts;
    check_late(m, c, lane, seq);
    if (attempt != before + 1)
        model_fault(m, c, lane, seq, "has another number of attempts");
    if (index != SIZE_MAX) {
        check_trial(m, c, index);
        return;
    }
    if (seq <= c->lane[lane].cursor) {
        model_fault(m, c, lane, seq, "was finished, and is handed over again");
        return;
    }
    walk(m, c, lane, seq - 1);
    c->lane[lane].cursor = seq;
    if (!model_wants(m, c, lane, seq))
        model_fault(m, c, lane, seq, "is not wanted");
    if (open_holds_up(m, c, lane, seq))
        model_fault(m, c, lane, seq, "overtakes one that failed");
    add_open(m, c, lane, seq, false);
}

void model_answered(model *m, model_consumer *c, int lane, int64_t seq, busbar_verdict verdict, uint32_t after_ms)
{
    size_t index = model_find(c, lane, seq);
    if (index == SIZE_MAX)
        return;
    if (verdict != BUSBAR_DONE) {
        fail(m, c, index, verdict, after_ms);
        return;
    }
    remove_open(m, c, index, MODEL_DONE);
    if (c->sequel)
        model_publish(m, lane, (model_event){.type = 4, .key = event_at(m, lane, seq)->key});
}

static void expire_unreached(model *m, model_consumer *c, int lane, int64_t seq)
{
    if (seq <= c->lane[lane].cursor) {
        model_fault(m, c, lane, seq, "was finished, and expires");
        return;
    }
    walk(m, c, lane, seq - 1);
    c->lane[lane].cursor = seq;
    if (!model_wants(m, c, lane, seq))
        model_fault(m, c, lane, seq, "is not wanted, and expires");
    set_fate(c, lane, seq, MODEL_EXPIRED);
    c->lane[lane].expired++;
}

/* ---- Routes ---- */

static model_flight *find_flight(model_lane *l, int64_t seq)
{
    for (size_t i = 0; i < l->flight_count; i++) {
        if (l->flight[i].seq == seq)
            return &l->flight[i];
    }
    return NULL;
}

static model_flight *add_flight(model_lane *l, int64_t seq, model_message message)
{
    l->flight = realloc(l->flight, (l->flight_count + 1) * sizeof *l->flight);
    assert(l->flight);
    l->flight[l->flight_count] = (model_flight){.seq = seq, .message = message};
    return &l->flight[l->flight_count++];
}

static bool unsettled(model_message message)
{
    return message == MODEL_SENT || message == MODEL_LOST;
}

static bool comes_again(model_message message)
{
    return message == MODEL_REFUSED || message == MODEL_PASSED;
}

/* An earlier message of the window must be settled first. */
static bool flight_holds_up(const model *m, const model_consumer *c, int lane, int64_t seq, bool failed_only)
{
    const model_lane *l = &c->lane[lane];
    for (size_t i = 0; i < l->flight_count && l->flight[i].seq < seq; i++) {
        model_message message = l->flight[i].message;
        bool late = message == MODEL_LOST && may_expire(m, lane, l->flight[i].seq);
        bool matters = comes_again(message) || (!failed_only && unsettled(message) && !late);
        if (matters && holds_up(m, c, lane, l->flight[i].seq, seq))
            return true;
    }
    return false;
}

/* The route has read up to `until` without sending: not wanted, or parked. */
static void look(model *m, model_consumer *c, int lane, int64_t until)
{
    model_lane *l = &c->lane[lane];
    while (l->sent < until) {
        int64_t seq = ++l->sent;
        if (!model_wants(m, c, lane, seq))
            continue;
        if (may_expire(m, lane, seq)) {
            add_flight(l, seq, MODEL_LATE);
            continue;
        }
        uint8_t key = event_at(m, lane, seq)->key;
        bool held = flight_holds_up(m, c, lane, seq, true) || open_holds_up(m, c, lane, seq) || seq <= l->held[key];
        if (c->order != BUSBAR_ORDER_KEY || key == 0 || !held)
            model_fault(m, c, lane, seq, "was passed over");
        add_flight(l, seq, MODEL_PASSED);
    }
}

static void send_first(model *m, model_consumer *c, int lane, int64_t seq)
{
    model_lane *l = &c->lane[lane];
    if (seq <= l->sent) {
        model_fault(m, c, lane, seq, "was finished, and is sent again");
        return;
    }
    look(m, c, lane, seq - 1);
    l->sent = seq;
    if (!model_wants(m, c, lane, seq))
        model_fault(m, c, lane, seq, "is not wanted");
    if (flight_holds_up(m, c, lane, seq, false) || open_holds_up(m, c, lane, seq))
        model_fault(m, c, lane, seq, "overtakes one that is not settled");
    add_flight(l, seq, MODEL_SENT);
}

void model_sent(model *m, model_consumer *c, int lane, int64_t seq)
{
    size_t index = model_find(c, lane, seq);
    model_flight *flight = find_flight(&c->lane[lane], seq);
    check_late(m, c, lane, seq);
    if (index != SIZE_MAX) {
        check_trial(m, c, index);
        if (c->open[index].message != MODEL_NO_MESSAGE && c->open[index].message != MODEL_LOST)
            model_fault(m, c, lane, seq, "is sent while it is on its way");
        c->open[index].message = MODEL_SENT;
    } else if (flight) {
        if (flight->message != MODEL_LOST)
            model_fault(m, c, lane, seq, "is sent again without a loss");
        flight->message = MODEL_SENT;
    } else {
        send_first(m, c, lane, seq);
    }
}

static void expire_on_route(model *m, model_consumer *c, int lane, int64_t seq)
{
    if (c->lane[lane].sent < seq)
        look(m, c, lane, seq);
    model_flight *flight = find_flight(&c->lane[lane], seq);
    if (!flight || (flight->message != MODEL_LATE && flight->message != MODEL_LOST))
        model_fault(m, c, lane, seq, "expires, but it was sent or is not wanted");
    else
        flight->message = MODEL_TOLD_LATE;
}

void model_expired(model *m, model_consumer *c, int lane, int64_t seq)
{
    size_t index = model_find(c, lane, seq);
    if (!may_expire(m, lane, seq))
        model_fault(m, c, lane, seq, "expires before its time");
    else if (index != SIZE_MAX)
        remove_open(m, c, index, MODEL_EXPIRED);
    else if (c->route)
        expire_on_route(m, c, lane, seq);
    else
        expire_unreached(m, c, lane, seq);
}

void model_settled(model *m, model_consumer *c, int lane, int64_t seq, model_message message, uint32_t after_ms)
{
    size_t index = model_find(c, lane, seq);
    model_flight *flight = find_flight(&c->lane[lane], seq);
    (void)m;
    if (index != SIZE_MAX) {
        c->open[index].message = message;
        c->open[index].after_ms = after_ms;
    } else if (flight) {
        flight->message = message;
        flight->after_ms = after_ms;
    }
}

bool model_unrecorded(const model_consumer *c)
{
    bool found = false;
    for (size_t i = 0; i < c->open_count; i++)
        found = found || c->open[i].message != MODEL_NO_MESSAGE;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        for (size_t i = 0; i < c->lane[lane].flight_count; i++)
            found = found || c->lane[lane].flight[i].message != MODEL_SENT;
    }
    return found;
}

void model_link_lost(model_consumer *c)
{
    for (size_t i = 0; i < c->open_count; i++) {
        if (c->open[i].message == MODEL_SENT) {
            c->open[i].message = MODEL_LOST;
            c->open[i].losses++;
        }
    }
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        for (size_t i = 0; i < c->lane[lane].flight_count; i++) {
            model_flight *flight = &c->lane[lane].flight[i];
            if (flight->message == MODEL_SENT) {
                flight->message = MODEL_LOST;
                flight->losses++;
            }
        }
    }
}

void model_forget(model_consumer *c)
{
    for (size_t i = 0; i < c->open_count; i++) {
        c->open[i].message = MODEL_NO_MESSAGE;
        c->open[i].losses = 0;
    }
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        c->lane[lane].flight_count = 0;
        c->lane[lane].sent = c->lane[lane].cursor;
    }
}

/* ---- What is found recorded ---- */

static void record_first(model *m, model_consumer *c, int lane, const model_flight *flight)
{
    bool parked = flight->message == MODEL_PASSED && open_holds_up(m, c, lane, flight->seq);
    add_open(m, c, lane, flight->seq, parked);
    size_t index = c->open_count - 1;
    switch (flight->message) {
    case MODEL_ACKED:
        remove_open(m, c, index, MODEL_DONE);
        break;
    case MODEL_REFUSED:
        fail(m, c, index, BUSBAR_RETRY, flight->after_ms);
        break;
    case MODEL_REFUSED_DEAD:
        fail(m, c, index, BUSBAR_DEAD, 0);
        break;
    case MODEL_LOST: /* the bus may hold a message guilty of the losses */
        if (flight->losses < 3)
            model_fault(m, c, lane, flight->seq, "the cursor passed it while it was lost");
        c->open[index].unsure = true;
        break;
    case MODEL_SENT:
        model_fault(m, c, lane, flight->seq, "the cursor passed it without an acknowledgement");
        break;
    case MODEL_LATE:
        model_fault(m, c, lane, flight->seq, "was passed over");
        break;
    case MODEL_TOLD_LATE:
        remove_open(m, c, index, MODEL_EXPIRED);
        break;
    case MODEL_PASSED:
    case MODEL_NO_MESSAGE:
    default:
        break;
    }
}

static void route_moved(model *m, model_consumer *c, int lane, int64_t cursor)
{
    model_lane *l = &c->lane[lane];
    if (l->sent < cursor)
        look(m, c, lane, cursor);
    while (l->cursor < cursor) {
        int64_t seq = ++l->cursor;
        model_flight *flight = find_flight(l, seq);
        if (!flight) {
            set_fate(c, lane, seq, MODEL_UNWANTED);
            l->filtered++;
            continue;
        }
        model_flight copy = *flight;
        l->flight_count--;
        memmove(flight, flight + 1, (size_t)(&l->flight[l->flight_count] - flight) * sizeof *flight);
        record_first(m, c, lane, &copy);
    }
}

void model_moved(model *m, model_consumer *c, int lane, int64_t cursor)
{
    if (cursor < c->lane[lane].cursor)
        model_fault(m, c, lane, cursor, "the cursor is behind what was handled");
    else if (c->route)
        route_moved(m, c, lane, cursor);
    else
        walk(m, c, lane, cursor);
}

void model_recorded(model *m, model_consumer *c, size_t index, bool there, uint32_t attempts)
{
    model_open *o = &c->open[index];
    bool guilty = o->message == MODEL_LOST && o->losses >= 3;
    if (there && attempts <= 1 && o->unsure)
        o->attempts = attempts;
    o->unsure = false;
    if (there && attempts == o->attempts)
        return;
    if (o->message == MODEL_ACKED && !there) {
        remove_open(m, c, index, MODEL_DONE);
    } else if (o->message == MODEL_REFUSED_DEAD && !there) {
        fail(m, c, index, BUSBAR_DEAD, 0);
    } else if (o->message == MODEL_REFUSED || guilty) {
        uint32_t most = policy_of(m, c, o->lane, o->seq)->max_attempts;
        if (there != (o->attempts + 1 < most) || (there && attempts != o->attempts + 1))
            model_fault(m, c, o->lane, o->seq, "another number of attempts is recorded");
        fail(m, c, index, BUSBAR_RETRY, guilty ? 0 : o->after_ms);
    } else {
        model_fault(m, c, o->lane, o->seq, there ? "attempts changed by themselves" : "an open event has gone");
    }
}

/* ---- What people do ---- */

bool model_can_replay(const model *m, const model_consumer *c, int lane, int64_t seq)
{
    model_fate fate = model_fate_of(c, lane, seq);
    bool finished = fate == MODEL_DONE || fate == MODEL_DROPPED || fate == MODEL_UNWANTED || fate == MODEL_EXPIRED;
    return seq <= c->lane[lane].cursor && finished && wants_lane(c, lane) &&
           (c->types & (1u << event_at(m, lane, seq)->type)) != 0;
}

void model_replay(model *m, model_consumer *c, int lane, int64_t seq)
{
    add_open(m, c, lane, seq, open_holds_up(m, c, lane, seq));
    c->lane[lane].replayed++;
}

void model_retry(model *m, model_consumer *c, int lane, int64_t seq)
{
    size_t index = model_find(c, lane, seq);
    if (index != SIZE_MAX) {
        c->open[index].due_ms = 0;
        return;
    }
    add_open(m, c, lane, seq, open_holds_up(m, c, lane, seq));
    c->lane[lane].dead--;
}

void model_drop(model *m, model_consumer *c, int lane, int64_t seq)
{
    size_t index = model_find(c, lane, seq);
    if (index != SIZE_MAX) {
        remove_open(m, c, index, MODEL_DROPPED);
        return;
    }
    set_fate(c, lane, seq, MODEL_DROPPED);
    c->lane[lane].dropped++;
}

/* Is there one in its way, of those that wait, or if `parked`, of those that are parked? */
static bool has_other(const model *m, const model_consumer *c, const model_open *o, bool parked, bool before)
{
    for (size_t i = 0; i < c->open_count; i++) {
        const model_open *other = &c->open[i];
        if (other != o && other->lane == o->lane && other->parked == parked && (!before || other->seq < o->seq) &&
            holds_up(m, c, o->lane, other->seq, o->seq))
            return true;
    }
    return false;
}

void model_reorder(model *m, model_consumer *c, busbar_order order)
{
    if (c->order == order)
        return;
    c->order = order;
    for (size_t i = 0; i < c->open_count; i++) {
        model_open *o = &c->open[i];
        if (o->parked && !has_other(m, c, o, false, false) && !has_other(m, c, o, true, true)) {
            o->parked = false;
            o->due_ms = 0;
        }
    }
    for (size_t i = 0; i < c->open_count; i++)
        c->open[i].parked = c->open[i].parked || has_other(m, c, &c->open[i], false, true);
}
