/* SPDX-License-Identifier: MIT */
/* busbar_health_get: judges what the status says by rules. Knows no SQL. */
#include "handle.h"
#include "text.h"

#define FAILING_MS UINT64_C(300000)

static const char *const NAMES[] = {"ok", "degraded", "unhealthy"};

const char *busbar_health_name(busbar_health health)
{
    return (unsigned)health < sizeof NAMES / sizeof *NAMES ? NAMES[health] : NULL;
}

typedef struct judge {
    busbar *bus;
    const busbar_health_rules *rules;
    uint64_t failing_ms;
    busbar_health wanted; /* reasons of this weight are told in this round */
    busbar_health worst;
    busbar_health_fn *fn;
    void *ctx;
} judge;

/* What is wrong with whom: `before`, the figure, `between`, and the limit. */
typedef struct charge {
    busbar_health health;
    const char *rule;
    const char *consumer; /* NULL: the database */
    int64_t value;
    uint64_t limit;
    const char *before;
    const char *between;
    int64_t divisor; /* from the rule's unit to that of the text */
} charge;

static int tell(judge *j, const charge *c)
{
    char buffer[BUSBAR_DETAIL_SIZE];
    bb_text text = bb_text_on(buffer, sizeof buffer);
    int64_t limit = c->limit > INT64_MAX ? INT64_MAX : (int64_t)c->limit;
    if (c->health > j->worst)
        j->worst = c->health;
    if (c->health != j->wanted || !j->fn)
        return BUSBAR_OK;
    if (c->consumer) {
        bb_text_add(&text, c->consumer);
        bb_text_add(&text, ": ");
    }
    bb_text_add(&text, c->before);
    bb_text_add_int(&text, c->value / c->divisor);
    bb_text_add(&text, c->between);
    if (limit > 0) {
        bb_text_add(&text, "; the limit is ");
        bb_text_add_int(&text, limit / c->divisor);
    }
    busbar_health_reason reason = {
        .size = sizeof reason,
        .health = c->health,
        .rule = c->rule,
        .consumer = c->consumer,
        .value = c->value,
        .limit = limit,
        .text = buffer,
    };
    return j->fn(&reason, j->ctx);
}

static bool beyond(int64_t value, uint64_t limit)
{
    return limit != 0 && value > 0 && (uint64_t)value > limit;
}

static int64_t dead_kept(const busbar_consumer_status *c)
{
    int64_t count = 0;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        count += c->progress[lane].dead - c->progress[lane].dropped;
    return count;
}

/* A failure that nothing waits behind is over: what became of the event is in the counters. */
static bool something_waits(const busbar_consumer_status *c)
{
    int64_t count = c->pending;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        count += c->progress[lane].retrying;
    return count > 0;
}

static int judge_events(judge *j, const busbar_consumer_status *c)
{
    const busbar_health_rules *rules = j->rules;
    int64_t dead = dead_kept(c);
    const charge dead_charge = {BUSBAR_HEALTH_UNHEALTHY,   "dead", c->name, dead, rules->max_dead,
                                "dead letters are kept: ", "",     1};
    const charge pending = {BUSBAR_HEALTH_UNHEALTHY, "pending", c->name,        c->pending,
                            rules->max_pending,      "",        " events wait", 1};
    const charge oldest = {BUSBAR_HEALTH_UNHEALTHY,        "oldest", c->name, c->oldest_ms, rules->max_oldest_ms,
                           "the oldest event has waited ", " s",     1000};
    int result = dead > 0 && (uint64_t)dead > rules->max_dead ? tell(j, &dead_charge) : BUSBAR_OK;
    if (result == BUSBAR_OK && beyond(c->pending, rules->max_pending))
        result = tell(j, &pending);
    if (result == BUSBAR_OK && beyond(c->oldest_ms, rules->max_oldest_ms))
        result = tell(j, &oldest);
    return result;
}

/* Being offline is normal; what it holds up is for the other rules. */
static int judge_failure(judge *j, const busbar_consumer_status *c)
{
    bool long_ = beyond(c->failing_ms, j->failing_ms);
    const charge offline = {BUSBAR_HEALTH_UNHEALTHY,     "offline", c->name, c->failing_ms, j->rules->max_offline_ms,
                            "without a connection for ", " s",      1000};
    const charge failing = {
        long_ ? BUSBAR_HEALTH_UNHEALTHY : BUSBAR_HEALTH_DEGRADED, "failing", c->name, c->failing_ms, j->failing_ms,
        "its events have failed without a success for ",          " s",      1000};
    if (!c->last_error && c->failing_ms == 0)
        return BUSBAR_OK;
    if (!c->offline)
        return something_waits(c) ? tell(j, &failing) : BUSBAR_OK;
    return beyond(c->failing_ms, j->rules->max_offline_ms) ? tell(j, &offline) : BUSBAR_OK;
}

static int judge_worker(judge *j, const busbar_consumer_status *c)
{
    const charge stuck = {BUSBAR_HEALTH_UNHEALTHY,      "stuck", c->name, c->stuck_ms, 0,
                          "its handler is stuck, for ", " s",    1000};
    const charge unworked = {BUSBAR_HEALTH_UNHEALTHY,
                             "unworked",
                             c->name,
                             c->oldest_ms,
                             j->rules->max_unworked_ms,
                             "no worker runs, and an event has waited ",
                             " s",
                             1000};
    int result = c->stuck_ms > 0 && !j->rules->allow_stuck ? tell(j, &stuck) : BUSBAR_OK;
    if (result == BUSBAR_OK && !c->worked && beyond(c->oldest_ms, j->rules->max_unworked_ms))
        result = tell(j, &unworked);
    return result;
}

static int judge_consumer(const busbar_consumer_status *consumer, void *ctx)
{
    judge *j = ctx;
    int result = judge_events(j, consumer);
    if (result == BUSBAR_OK)
        result = judge_worker(j, consumer);
    return result == BUSBAR_OK ? judge_failure(j, consumer) : result;
}

static int judge_sizes(judge *j)
{
    busbar_status status = {.size = sizeof status};
    int result = busbar_status_get(j->bus, &status);
    if (result < 0)
        return result;
    const charge file = {BUSBAR_HEALTH_UNHEALTHY,  "file",   NULL, status.database_bytes, j->rules->max_file_bytes,
                         "the database file has ", " bytes", 1};
    const charge wal = {BUSBAR_HEALTH_UNHEALTHY, "wal",          NULL,     status.wal_bytes,
                        j->rules->max_wal_bytes, "the WAL has ", " bytes", 1};
    if (beyond(status.database_bytes, j->rules->max_file_bytes))
        result = tell(j, &file);
    if (result == BUSBAR_OK && beyond(status.wal_bytes, j->rules->max_wal_bytes))
        result = tell(j, &wal);
    return result;
}

static int judge_all(judge *j, busbar_health wanted)
{
    j->wanted = wanted;
    int result = judge_sizes(j);
    return result == BUSBAR_OK ? busbar_consumer_list(j->bus, judge_consumer, j) : result;
}

int busbar_health_get(busbar *bus, const busbar_health_rules *rules, busbar_health_fn *fn, void *ctx,
                      busbar_health *out_health)
{
    static const busbar_health_rules defaults = {.size = sizeof defaults};
    if (!bus)
        return BUSBAR_EINVAL;
    if (!out_health || (rules && rules->size != sizeof *rules))
        return bb_store_fail(&bus->store, BUSBAR_EINVAL, "out_health is NULL, or the size of rules is not set");
    judge j = {.bus = bus, .rules = rules ? rules : &defaults, .fn = fn, .ctx = ctx};
    j.failing_ms = j.rules->max_failing_ms != 0 ? j.rules->max_failing_ms : FAILING_MS;
    int result = judge_all(&j, BUSBAR_HEALTH_UNHEALTHY);
    if (result == BUSBAR_OK && fn)
        result = judge_all(&j, BUSBAR_HEALTH_DEGRADED);
    if (result == BUSBAR_OK)
        *out_health = j.worst;
    return result;
}
