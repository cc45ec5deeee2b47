/* SPDX-License-Identifier: MIT */
#include "worker.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "attribute.h"
#include "backoff.h"
#include "pattern.h"
#include "text.h"
#include "watermark.h"

#define ALL_LANES        (BUSBAR_LANES_NORMAL | BUSBAR_LANES_URGENT | BUSBAR_LANES_BULK)
#define LIMIT_DEFAULT_MS 30000u

/*
 * Who finds the lock taken sleeps, by SQLite's own handler 1 ms, then 2, 5, 10 …, and each sleep can end in the next hold. A
 * pause of 2 ms is met by the first or the second of these. A shorter one can be slept through: then it is to be three
 * quarters of the time.
 */
#define PAUSE_NOT_MISSED_US 2000u
#define PAUSE_PER_HOLD      3u

static int fail_about(busbar *bus, int code, const char *name)
{
    char text[BUSBAR_DETAIL_SIZE];
    bb_text detail = bb_text_on(text, sizeof text);
    bb_text_add(&detail, "consumer \"");
    bb_text_add(&detail, name);
    bb_text_add(&detail, "\": ");
    bb_text_add(&detail, busbar_error_text(code));
    return bb_store_fail(&bus->store, code, text);
}

/* What is wrong with a desc; BUSBAR_OK: nothing. */
static int fault_of(busbar *bus, const bb_worker_desc *desc)
{
    int result = bb_attribute_name_check(desc->name);
    if (result == BUSBAR_OK && !bb_pattern_valid(desc->pattern))
        result = BUSBAR_EPATTERN;
    if (result == BUSBAR_OK && bb_worker_find(bus, desc->name))
        result = BUSBAR_EEXISTS;
    if (result == BUSBAR_OK)
        result = bb_backoff_check(desc->retry);
    if (result == BUSBAR_OK && desc->lanes > ALL_LANES)
        result = BUSBAR_ELANE;
    if (result == BUSBAR_OK && (unsigned)desc->order > BUSBAR_ORDER_STRICT)
        result = BUSBAR_EINVAL;
    if (result == BUSBAR_OK && desc->ttl_ms > INT64_MAX && desc->ttl_ms != BUSBAR_FOREVER)
        result = BUSBAR_EINVAL;
    if (result == BUSBAR_OK && desc->on_success)
        result = bb_attribute_type_check(desc->on_success);
    if (result == BUSBAR_OK && desc->on_failure)
        result = bb_attribute_type_check(desc->on_failure);
    return result;
}

int bb_worker_refuse(busbar *bus, const char *text)
{
    return text ? bb_store_fail(&bus->store, BUSBAR_ENOTSUP, text) : BUSBAR_OK;
}

int bb_worker_check(busbar *bus, const bb_worker_desc *desc)
{
    if (!desc->name)
        return bb_store_fail(&bus->store, BUSBAR_ENAME, "a consumer needs a name: progress is kept under it");
    int result = fault_of(bus, desc);
    if (result < 0)
        return fail_about(bus, result, desc->name);
    return bb_worker_refuse(bus, desc->filter ? bb_filter_refusal() : NULL);
}

static size_t size_of(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

/* Both types in one piece of memory, which begins with the first of them that is there. */
static int copy_types(bb_worker *worker, const bb_worker_desc *desc)
{
    size_t first = size_of(desc->on_success);
    size_t second = size_of(desc->on_failure);
    if (first + second == 0)
        return BUSBAR_OK;
    worker->types = malloc(first + second);
    if (!worker->types)
        return BUSBAR_ENOMEM;
    if (first > 0)
        worker->on_success = memcpy(worker->types, desc->on_success, first);
    if (second > 0)
        worker->on_failure = memcpy(worker->types + first, desc->on_failure, second);
    return BUSBAR_OK;
}

static int copy_texts(bb_worker *worker, const bb_worker_desc *desc)
{
    bb_text name = bb_text_on(worker->name, sizeof worker->name);
    bb_text_add(&name, desc->name);
    bb_text copy = bb_text_on(worker->pattern, sizeof worker->pattern);
    bb_text_add(&copy, desc->pattern ? desc->pattern : "#");
    assert(bb_text_fits(&name) && bb_text_fits(&copy));
    worker->matches_all = strcmp(worker->pattern, "#") == 0;
    int result = copy_types(worker, desc);
    return result < 0 ? result : bb_filter_copy(desc->filter, &worker->filter);
}

static int make_durable(bb_worker *worker, busbar *bus, const bb_worker_desc *desc)
{
    char filter[BUSBAR_DETAIL_SIZE] = "";
    bb_text text = bb_text_on(filter, sizeof filter);
    bb_filter_text(worker->filter, &text);
    bb_consumer_desc consumer = {
        .name = worker->name,
        .class_ = desc->class_,
        .pattern = worker->pattern,
        .filter = worker->filter ? filter : NULL,
        .order = desc->order,
        .limit_ms = desc->limit_ms > 0 ? desc->limit_ms : LIMIT_DEFAULT_MS,
        .from_beginning = desc->from_beginning,
    };
    return bb_consumer_ensure(&bus->store, &consumer, &worker->consumer);
}

int bb_worker_init(bb_worker *worker, const bb_worker_api *api, busbar *bus, const bb_worker_desc *desc)
{
    worker->api = api;
    worker->retry = *desc->retry;
    worker->order = desc->order;
    worker->ttl_ms = desc->ttl_ms;
    worker->lanes = desc->lanes == BUSBAR_LANES_ALL ? ALL_LANES : desc->lanes;
    bb_turns_init(&worker->turns, desc->share);
    int result = copy_texts(worker, desc);
    if (result < 0)
        return bb_store_fail_plain(&bus->store, result);
    result = bb_lease_init(&worker->lease, &bus->store, bus->port);
    return result < 0 ? result : make_durable(worker, bus, desc);
}

void bb_worker_fini(bb_worker *worker)
{
    bb_filter_free(worker->filter);
    free(worker->types);
}

void bb_worker_enlist(bb_worker *worker, busbar *bus)
{
    bb_worker **end = &bus->workers;
    while (*end)
        end = &(*end)->next;
    *end = worker;
    bus->prune_wanted = true; /* a former run may have left something */
}

bb_worker *bb_worker_find(const busbar *bus, const char *name)
{
    bb_worker *worker = bus->workers;
    while (worker && (worker->removed || strcmp(worker->name, name) != 0))
        worker = worker->next;
    return worker;
}

bool bb_worker_wants_event(const bb_worker *worker, const busbar_record *record)
{
    return bb_filter_match(worker->filter, record);
}

bool bb_worker_wants_lane(const bb_worker *worker, busbar_lane lane)
{
    return (worker->lanes & (1u << (unsigned)lane)) != 0;
}

bool bb_worker_wants(const bb_worker *worker, const char *type)
{
    return worker->matches_all || bb_pattern_match(worker->pattern, type);
}

/* The owner answers a claim with a commit of its own, so that an owner without work keeps its consumer. */
static int answer_claim(bb_worker *worker, busbar *bus)
{
    bool challenged = false;
    uint32_t version = bb_store_data_version(&bus->store);
    if (version != 0 && version == worker->lease.version)
        return BUSBAR_OK; /* nobody else has committed anything since: no claim either */
    worker->lease.version = version;
    int result = bb_lease_challenged(&worker->lease, &bus->store, worker->consumer, &challenged);
    if (result < 0 || !challenged)
        return result;
    result = bb_worker_begin(worker, bus);
    return result < 0 ? result : bb_store_commit(&bus->store);
}

/* Nobody else would ever release what another worker, of another order, has parked. BUSBAR_ELEASE: look for work anew. */
static int take_over(bb_worker *worker, busbar *bus)
{
    int freed = 0;
    int result = bb_worker_begin(worker, bus);
    if (result == BUSBAR_OK) {
        freed = bb_exception_free(&bus->store, worker->consumer, worker->order);
        result = bb_store_finish(&bus->store, freed < 0 ? freed : BUSBAR_OK);
    }
    worker->order_due = result < 0;
    return result == BUSBAR_OK && freed == BB_ROW ? BUSBAR_ELEASE : result;
}

static int keep(bb_worker *worker, busbar *bus)
{
    int result = answer_claim(worker, bus);
    if (result < 0)
        return result;
    if (!worker->lease.held)
        return BUSBAR_ELEASE; /* just now: what the worker knew of work is out of date, so it lays no claim yet */
    return worker->order_due ? take_over(worker, bus) : BUSBAR_OK;
}

static int acquire(bb_worker *worker, busbar *bus, bool wanted)
{
    int result = bb_lease_acquire(&worker->lease, &bus->store, bus->port, bus->boot.text, worker->consumer,
                                  bus->options.lease_ms, wanted);
    if (result != BUSBAR_OK)
        return result;
    bb_worker_begin_notes(worker);
    worker->order_due = true;
    return take_over(worker, bus);
}

int bb_worker_hold(bb_worker *worker, busbar *bus, bool wanted, uint64_t *out_wait_us)
{
    bool held = worker->lease.held;
    int result = held ? keep(worker, bus) : acquire(worker, bus, wanted);
    if (result != BUSBAR_ELEASE)
        return result;
    *out_wait_us = 0;
    if (!held && !worker->lease.held)
        *out_wait_us = 1000 + bb_worker_wait_for(bus, (int64_t)worker->lease.retry_ms);
    return result;
}

uint64_t bb_worker_courtesy_us(const busbar *bus, uint64_t now_us)
{
    return bus->write_free_us > now_us ? bus->write_free_us - now_us : 0;
}

/*
 * At least as long as the hold. Up to a half longer, by a rhythm that does not repeat: who tries again at fixed intervals
 * would otherwise meet hold after hold.
 */
static uint64_t pause_after(busbar *bus, uint64_t held_us)
{
    uint64_t pause_us = held_us * PAUSE_PER_HOLD;
    if (pause_us > PAUSE_NOT_MISSED_US)
        pause_us = held_us > PAUSE_NOT_MISSED_US ? held_us : PAUSE_NOT_MISSED_US;
    bus->rhythm = bus->rhythm * 1664525u + 1013904223u;
    return pause_us + pause_us * (bus->rhythm >> 24) / 512;
}

void bb_worker_wrote(busbar *bus)
{
    bus->prune_wanted = true;
    bus->write_free_us = bb_handle_now_us(bus) + pause_after(bus, bb_store_held_us(&bus->store));
}

int bb_worker_raise_watermark(busbar *bus, uint64_t *out_wait_us)
{
    uint64_t now_us = bb_handle_now_us(bus);
    *out_wait_us = bb_worker_courtesy_us(bus, now_us);
    if (*out_wait_us > 0)
        return BUSBAR_OK;
    int result = bb_watermark_raise(&bus->store, bus->watermark);
    bb_worker_wrote(bus);
    return result;
}

uint64_t bb_worker_wait_for(const busbar *bus, int64_t due_ms)
{
    if (due_ms == INT64_MAX)
        return BUSBAR_FOREVER;
    uint64_t now_us = bb_handle_now_us(bus);
    uint64_t due_us = (uint64_t)due_ms * 1000;
    return due_us > now_us ? due_us - now_us : 0;
}

static int fence(bb_worker *worker, busbar *bus, int result)
{
    if (result < 0)
        return result;
    result = bb_lease_fence(&worker->lease, &bus->store, worker->consumer);
    if (result < 0)
        bb_store_rollback(&bus->store);
    return result;
}

int bb_worker_begin(bb_worker *worker, busbar *bus)
{
    return fence(worker, bus, bb_store_begin(&bus->store));
}

int bb_worker_begin_synced(bb_worker *worker, busbar *bus)
{
    return fence(worker, bus, bb_store_begin_synced(&bus->store));
}
