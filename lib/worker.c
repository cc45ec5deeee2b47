/* SPDX-License-Identifier: MIT */
#include "worker.h"

#include <assert.h>
#include <string.h>

#include "attribute.h"
#include "backoff.h"
#include "pattern.h"
#include "text.h"
#include "watermark.h"

#define DEFAULT_MAX_ATTEMPTS 10

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

int bb_worker_check(busbar *bus, const bb_worker_desc *desc)
{
    if (!desc->name)
        return bb_store_fail(&bus->store, BUSBAR_ENAME, "a consumer needs a name: progress is kept under it");
    int result = bb_attribute_name_check(desc->name);
    if (result < 0)
        return fail_about(bus, result, desc->name);
    if (!bb_pattern_valid(desc->pattern))
        return fail_about(bus, BUSBAR_EPATTERN, desc->name);
    if (bb_worker_find(bus, desc->name))
        return fail_about(bus, BUSBAR_EEXISTS, desc->name);
    return BUSBAR_OK;
}

int bb_worker_init(bb_worker *worker, const bb_worker_api *api, busbar *bus, const bb_worker_desc *desc)
{
    const char *pattern = desc->pattern ? desc->pattern : "#";
    worker->api = api;
    worker->matches_all = strcmp(pattern, "#") == 0;
    worker->retry = desc->retry;
    bb_text name = bb_text_on(worker->name, sizeof worker->name);
    bb_text_add(&name, desc->name);
    bb_text copy = bb_text_on(worker->pattern, sizeof worker->pattern);
    bb_text_add(&copy, pattern);
    assert(bb_text_fits(&name) && bb_text_fits(&copy));
    int result = bb_lease_init(&worker->lease, &bus->store, bus->port);
    if (result < 0)
        return result;
    return bb_consumer_ensure(&bus->store, desc->name, desc->class_, pattern, desc->from_beginning, &worker->consumer);
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

int bb_worker_hold(bb_worker *worker, busbar *bus, bool wanted, uint64_t *out_wait_us)
{
    if (worker->lease.held) {
        int result = answer_claim(worker, bus);
        if (result < 0 || worker->lease.held)
            return result;
        *out_wait_us = 0; /* lost just now: what the worker knew of work is out of date, so it lays no claim yet */
        return BUSBAR_ELEASE;
    }
    int result = bb_lease_acquire(&worker->lease, &bus->store, bus->port, bus->boot.text, worker->consumer,
                                  bus->options.lease_ms, wanted);
    if (result == BUSBAR_ELEASE) {
        uint64_t now_us = bb_handle_now_us(bus);
        uint64_t retry_us = worker->lease.retry_ms * 1000;
        *out_wait_us = retry_us > now_us ? retry_us - now_us : 1000;
    }
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

int bb_worker_failure(bb_worker *worker, busbar *bus, busbar_lane lane, uint32_t attempts, bool dead,
                      const char *reason, bb_failure *out_failure)
{
    int result = bb_boot_ensure(&bus->boot, &bus->store);
    if (result < 0)
        return result;
    uint32_t random = 0;
    if (bus->port->random(bus->port->ctx, &random, sizeof random) != 0)
        random = attempts * 2654435761u; /* only spreads retries; not having it must not stop work */
    uint32_t attempts_max = worker->retry.max_attempts ? worker->retry.max_attempts : DEFAULT_MAX_ATTEMPTS;
    int64_t now_ms = (int64_t)(bb_handle_now_us(bus) / 1000);
    *out_failure = (bb_failure){
        .consumer = worker->consumer,
        .lane = lane,
        .state = dead || attempts >= attempts_max ? BUSBAR_STATE_DEAD : BUSBAR_STATE_RETRY,
        .attempts = attempts,
        .reason = reason && *reason ? reason : NULL,
        .boot = bus->boot.id,
        .now_ms = now_ms,
        .due_ms = now_ms + (int64_t)bb_backoff_wait_ms(&worker->retry, attempts, random),
    };
    return BUSBAR_OK;
}

uint64_t bb_worker_wait_for(const busbar *bus, int64_t due_ms)
{
    if (due_ms == INT64_MAX)
        return BUSBAR_FOREVER;
    uint64_t now_us = bb_handle_now_us(bus);
    uint64_t due_us = (uint64_t)due_ms * 1000;
    return due_us > now_us ? due_us - now_us : 0;
}

int bb_worker_begin(bb_worker *worker, busbar *bus)
{
    int result = bb_store_begin(&bus->store);
    if (result < 0)
        return result;
    result = bb_lease_fence(&worker->lease, &bus->store, worker->consumer);
    if (result < 0)
        bb_store_rollback(&bus->store);
    return result;
}
