/* SPDX-License-Identifier: MIT */
#include "route.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"
#include "topic.h"

#define DEFAULT_WINDOW       20u
#define DEFAULT_ACK_GROUP    100u
#define DEFAULT_ACK_DELAY_MS 200u
#define WINDOW_MAX           32768u /* well below the 65,535 packet ids of MQTT */
#define ACK_GROUP_MAX        32768u

#define PASSED_OVER_DELAYS                                                                                             \
    25u /* progress over unwanted events alone is recorded so much later: it can be found again */

#define START_RETRY_US 1000000u
#define ERROR_PAUSE_US 60000000u
#define BLIND_REST_US  100000u /* a transport without a descriptor is looked at so often */
#define BLIND_WAIT_US  1000u   /* and so often while acknowledgements are due */

static bb_route *route_of(bb_worker *worker)
{
    return (bb_route *)worker;
}

void bb_route_say(bb_route *route, const char *text)
{
    bb_text_copy(route->error, sizeof route->error, text);
}

void bb_route_note_settled(bb_route *route, const busbar *bus)
{
    if (route->settled_since_us == 0)
        route->settled_since_us = bb_handle_now_us(bus);
}

size_t bb_route_in_flight(const bb_route *route)
{
    size_t count = 0;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        count += route->windows[lane].in_flight;
    return count + bb_route_resends_in_flight(route) + bb_route_gap_count(route, BB_ENTRY_SENT);
}

size_t bb_route_resends_in_flight(const bb_route *route)
{
    size_t count = 0;
    for (int i = 0; i < BB_ROUTE_RETRIES; i++)
        count += route->resends[i].trial.key.n != 0 && route->resends[i].state == BB_ENTRY_SENT;
    return count;
}

/* ---- The lease ---- */

/* Forgets everything in flight: another worker may have recorded more by now. */
static void unload(bb_route *route)
{
    route->loaded = false;
    route->settled_since_us = 0;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        bb_window_clear(&route->windows[lane]);
        route->blocked_until_us[lane] = 0; /* what is left of the lane will find out */
    }
    for (int i = 0; i < BB_ROUTE_RETRIES; i++)
        route->resends[i].trial.key.n = 0;
    bb_route_gap_clear(route);
    route->noted.seq = 0;
    route->retries_alone = false;
    route->held_count = 0;
    route->held_until_us = 0;
    memset(&route->suspicion, 0, sizeof route->suspicion);
}

/* What was evicted is not to be read any more: the watermark may be below what is left. */
static int skip_evicted(bb_route *route, busbar *bus)
{
    bb_cursor cursors[BUSBAR_LANE_COUNT];
    int result = bb_consumer_cursors(&bus->store, route->worker.consumer, cursors);
    for (int lane = 0; result == BUSBAR_OK && lane < BUSBAR_LANE_COUNT; lane++) {
        if (cursors[lane].cursor > route->position[lane])
            route->position[lane] = cursors[lane].cursor;
    }
    return result;
}

/* Nothing is evicted that leaves no gap. */
static int refresh_gaps(bb_route *route, busbar *bus)
{
    int any = bb_gap_any(&bus->store, route->worker.consumer);
    route->gaps_stale = any < 0;
    if (any < 0 || (any != BB_ROW && !route->noticed))
        return any;
    int result = skip_evicted(route, bus);
    return result < 0 ? result : bb_route_gap_load(route, bus);
}

/* What others may have changed: somebody has acted on exceptions, or evicted events. */
static int refresh(bb_route *route, busbar *bus)
{
    route->data_version = bb_store_data_version(&bus->store);
    route->acts = bus->acts;
    int result = bb_exception_next_due(&bus->store, route->worker.consumer, bus->boot.id, &route->retry_due_ms);
    if (result == BUSBAR_OK)
        result = bb_exception_count(&bus->store, route->worker.consumer, route->open);
    return result < 0 ? result : refresh_gaps(route, bus);
}

static int load(bb_route *route, busbar *bus)
{
    bb_cursor cursors[BUSBAR_LANE_COUNT];
    int result = bb_consumer_cursors(&bus->store, route->worker.consumer, cursors);
    if (result < 0)
        return result;
    unload(route);
    result = refresh(route, bus);
    if (result < 0)
        return result;
    if (route->worker.careful > route->config.window + route->config.ack_group)
        route->worker.careful = route->config.window + route->config.ack_group;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        route->position[lane] = cursors[lane].cursor;
    route->loaded = true;
    return BUSBAR_OK;
}

static int behind(bb_route *route, busbar *bus, bool *out_behind)
{
    bb_cursor cursors[BUSBAR_LANE_COUNT];
    *out_behind = true;
    if (route->worker.lease.held)
        return BUSBAR_OK;
    int64_t due_ms = INT64_MAX;
    int result = bb_consumer_cursors(&bus->store, route->worker.consumer, cursors);
    if (result == BUSBAR_OK)
        result = bb_exception_next_due(&bus->store, route->worker.consumer, bus->boot.id, &due_ms);
    *out_behind = bb_worker_wait_for(bus, due_ms) == 0;
    for (int lane = 0; result == BUSBAR_OK && lane < BUSBAR_LANE_COUNT; lane++)
        *out_behind = *out_behind || cursors[lane].cursor < bus->heads[lane];
    return result;
}

static int hold(bb_route *route, busbar *bus, uint64_t *out_wait_us)
{
    bool wanted = false;
    int result = behind(route, bus, &wanted);
    if (result == BUSBAR_OK)
        result = bb_worker_hold(&route->worker, bus, wanted, out_wait_us);
    if (result == BUSBAR_ELEASE)
        unload(route);
    else if (result == BUSBAR_OK && !route->loaded)
        result = load(route, bus);
    else if (result == BUSBAR_OK && (route->gaps_stale || route->acts != bus->acts ||
                                     route->data_version != bb_store_data_version(&bus->store)))
        result = refresh(route, bus);
    return result;
}

/* ---- A turn ---- */

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static int watch(bb_worker *worker, busbar *bus)
{
    bb_route *route = route_of(worker);
    const busbar_transport *transport = &route->transport;
    int fd = route->started && transport->api->fd ? transport->api->fd(transport->ctx) : -1;
    if (fd < 0)
        return 0;
    route->watched = bus->port->wake->watch(bus->wake, fd) == 0;
    return route->watched ? 0 : -1;
}

/* A worker without the lease keeps off the network: two with one client id would throw each other out. */
static void start_transport(bb_route *route, busbar *bus)
{
    busbar_reason reason = {.code = 0};
    uint64_t now_us = bb_handle_now_us(bus);
    if (route->started || now_us < route->start_due_us)
        return;
    if (route->transport.api->start(route->transport.ctx, &reason) != 0) {
        route->start_due_us = now_us + START_RETRY_US;
        bb_route_say(route, reason.text);
        return;
    }
    route->started = true;
    if (bus->wake)
        (void)watch(&route->worker, bus); /* refused: the descriptor is then looked at from time to time */
}

static bool error_due(const bb_route *route, uint64_t now_us)
{
    if (route->stored_known && strcmp(route->stored, route->error) == 0)
        return false;
    if (!route->stored_known && !route->error[0] && !route->up)
        return false;
    return !route->error[0] || now_us >= route->error_due_us;
}

/* Only refusals that found no room are left to record, and not before a while. */
static bool all_blocked(const bb_route *route, uint64_t now_us, uint64_t *out_wait_us)
{
    bool blocked = false;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        if (bb_window_settled(&route->windows[lane]) == 0)
            continue;
        if (now_us >= route->blocked_until_us[lane])
            return false;
        blocked = true;
        *out_wait_us = sooner(*out_wait_us, route->blocked_until_us[lane] - now_us);
    }
    return blocked && !bb_route_resend_settled(route) && bb_route_gap_count(route, BB_ENTRY_ACKED) == 0;
}

static bool record_due(const bb_route *route, const busbar *bus, uint64_t *out_wait_us)
{
    uint64_t now_us = bb_handle_now_us(bus);
    if (all_blocked(route, now_us, out_wait_us))
        return error_due(route, now_us);
    size_t settled = bb_route_settled(route);
    if (settled > 0 && route->worker.careful > 0) /* the next one waits for it */
        return true;
    if (settled >= route->config.ack_group || error_due(route, now_us))
        return true;
    if (settled == 0 || route->settled_since_us == 0)
        return false;
    uint64_t delay_us = (uint64_t)route->config.ack_delay_ms * 1000;
    if (!bb_route_has_outcome(route))
        delay_us *= PASSED_OVER_DELAYS;
    uint64_t due_us = route->settled_since_us + delay_us;
    if (now_us >= due_us)
        return true;
    *out_wait_us = due_us - now_us;
    return false;
}

static int record_if_due(bb_route *route, busbar *bus, uint64_t *out_wait_us)
{
    if (!record_due(route, bus, out_wait_us))
        return BUSBAR_OK;
    uint64_t started_us = bb_handle_now_us(bus);
    *out_wait_us = bb_worker_courtesy_us(bus, started_us);
    if (*out_wait_us > 0)
        return BUSBAR_OK;
    *out_wait_us = BUSBAR_FOREVER;
    int result = bb_route_record(route, bus);
    bb_worker_wrote(bus);
    if (result == BUSBAR_OK && route->error[0])
        route->error_due_us = started_us + ERROR_PAUSE_US;
    return result;
}

static uint64_t blind_wait_us(const bb_route *route)
{
    if (route->watched)
        return BUSBAR_FOREVER;
    if (route->lively)
        return 0;
    return bb_route_in_flight(route) > 0 ? BLIND_WAIT_US : BLIND_REST_US;
}

static int run(bb_worker *worker, busbar *bus, uint64_t deadline_us, uint64_t *out_wait_us)
{
    bb_route *route = route_of(worker);
    uint64_t lease_us = BUSBAR_FOREVER;
    uint64_t record_us = BUSBAR_FOREVER;
    uint64_t send_us = BUSBAR_FOREVER;
    route->lively = false;
    int result = hold(route, bus, &lease_us);
    if (result == BUSBAR_OK)
        start_transport(route, bus);
    bb_route_listen(route, bus);
    if (result == BUSBAR_OK)
        result = record_if_due(route, bus, &record_us);
    if (result == BUSBAR_OK)
        result = bb_route_withdraw_if_back(route, bus);
    if (result == BUSBAR_OK && route->up)
        result = bb_route_send(route, bus, deadline_us, &send_us);
    if (result == BUSBAR_ELEASE) {
        unload(route);
        *out_wait_us = lease_us == BUSBAR_FOREVER ? 0 : sooner(lease_us, blind_wait_us(route)); /* 0: lost just now */
        return BUSBAR_OK;
    }
    if (result < 0)
        return result;
    /* Sending may have settled something (filtered, too large): its recording is due some time. */
    if (record_us == BUSBAR_FOREVER && record_due(route, bus, &record_us))
        record_us = 0;
    if (route->gaps_stale)
        record_us = 0;
    uint64_t start_us = route->started ? BUSBAR_FOREVER : START_RETRY_US;
    *out_wait_us = sooner(sooner(record_us, send_us), sooner(start_us, blind_wait_us(route)));
    return BUSBAR_OK;
}

static void stop(bb_worker *worker, busbar *bus)
{
    bb_route *route = route_of(worker);
    bb_route_listen(route, bus);
    route->transport.api->close(route->transport.ctx);
    if (route->worker.lease.held && bb_route_settled(route) > 0)
        (void)bb_route_record(route, bus); /* what cannot be recorded is sent again: at least once */
    if (route->worker.lease.held && route->worker.noted)
        (void)bb_worker_withdraw(&route->worker, bus); /* what is still on its way has not ended the process */
}

static void free_route(bb_worker *worker)
{
    bb_route *route = route_of(worker);
    if (route->transport.api)
        route->transport.api->stop(route->transport.ctx);
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        bb_window_fini(&route->windows[lane]);
    bb_worker_fini(worker);
    bb_buffer_free(&route->payload);
    free(route->topic);
    free(route);
}

static const bb_worker_api API = {run, stop, free_route, watch};

/* ---- Registering ---- */

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
    return value ? value : fallback;
}

static int check_route(busbar *bus, const busbar_route *config, busbar_transport transport)
{
    assert(config);
    if (config->size != sizeof *config || !transport.api || transport.api->version != BUSBAR_TRANSPORT_VERSION ||
        (unsigned)config->start > BUSBAR_START_BEGINNING || (unsigned)config->qos > BUSBAR_QOS_0 ||
        config->format != BUSBAR_FORMAT_STRUCTURED || (unsigned)config->unmatched > BUSBAR_UNMATCHED_HOLD ||
        config->window > WINDOW_MAX || config->ack_group > ACK_GROUP_MAX)
        return bb_store_fail(
            &bus->store, BUSBAR_EINVAL,
            "the route has a wrong size, no transport, or a number out of range (window and ack_group go "
            "up to 32,768)");
    if (!config->topic || bb_topic_check(config->topic) < 0)
        return bb_store_fail(
            &bus->store, BUSBAR_ETOPIC,
            "the topic template is missing or malformed: use text and {type} {source} {subject} {key} {id} "
            "{lane}, without + and #");
    return BUSBAR_OK;
}

static int copy_topic(bb_route *route, const char *topic)
{
    size_t size = strlen(topic) + 1;
    route->topic = malloc(size);
    if (!route->topic)
        return BUSBAR_ENOMEM;
    memcpy(route->topic, topic, size);
    route->config.topic = route->topic;
    return BUSBAR_OK;
}

static int fill(bb_route *route, const busbar_route *config)
{
    route->config = *config;
    route->config.window = or_default(config->window, DEFAULT_WINDOW);
    route->config.ack_group = or_default(config->ack_group, DEFAULT_ACK_GROUP);
    route->config.ack_delay_ms = or_default(config->ack_delay_ms, DEFAULT_ACK_DELAY_MS);
    route->throttle.rate_per_s = config->rate_per_s;
    route->next_token = 1;
    route->retry_due_ms = INT64_MAX;
    /* One entry between any two messages may be a run of events that are not sent. */
    size_t capacity = 2 * ((size_t)route->config.window + route->config.ack_group) + 2;
    int result = copy_topic(route, config->topic);
    for (int lane = 0; result == BUSBAR_OK && lane < BUSBAR_LANE_COUNT; lane++)
        result = bb_window_init(&route->windows[lane], capacity);
    return result;
}

static int make_durable(busbar *bus, bb_route *route, const bb_worker_desc *desc)
{
    bb_scope scope;
    int result = bb_store_enter(&bus->store, &scope);
    if (result < 0)
        return result;
    result = bb_handle_ensure_schema(bus);
    if (result == BUSBAR_OK)
        result = bb_worker_init(&route->worker, &API, bus, desc);
    result = bb_store_leave(&bus->store, &scope, result);
    return result;
}

static int add_route(busbar *bus, const busbar_route *config, busbar_transport transport)
{
    bb_worker_desc desc = {
        .name = config->name,
        .pattern = config->pattern,
        .class_ = BUSBAR_CLASS_ROUTE,
        .from_beginning = config->start != BUSBAR_START_NOW,
        .retry = &config->retry,
        .filter = config->filter,
        .order = config->order,
        .lanes = config->lanes,
        .share = config->share,
        .ttl_ms = config->ttl_ms,
    };
    int result = bb_worker_check(bus, &desc);
    if (result == BUSBAR_OK && !config->no_gaps)
        result = bb_worker_refuse(bus, bb_route_gap_refusal());
    if (result < 0)
        return result;
    bb_route *route = calloc(1, sizeof *route);
    if (!route)
        return bb_store_fail_plain(&bus->store, BUSBAR_ENOMEM);
    result = fill(route, config);
    if (result < 0)
        (void)bb_store_fail_plain(&bus->store, result);
    else
        result = make_durable(bus, route, &desc);
    if (result < 0) {
        free_route(&route->worker);
        return result;
    }
    route->transport = transport;
    bus->schema_confirmed = true;
    bb_worker_enlist(&route->worker, bus);
    return BUSBAR_OK;
}

int busbar_route_add(busbar *bus, const busbar_route *route, busbar_transport transport)
{
    int result = bus ? bb_handle_idle(bus) : BUSBAR_EINVAL;
    if (result == BUSBAR_OK && !route)
        result = bb_store_fail(&bus->store, BUSBAR_EINVAL, "route is NULL");
    if (result == BUSBAR_OK)
        result = check_route(bus, route, transport);
    if (result == BUSBAR_OK)
        result = add_route(bus, route, transport);
    if (result < 0 && transport.api)
        transport.api->stop(transport.ctx);
    return result;
}
