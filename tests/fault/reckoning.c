/* SPDX-License-Identifier: MIT */
/* The books of a workday: what must be in the file, at the peer and in the counters when everybody has finished. */
#include <stdio.h>
#include <string.h>

#include "workday.h"

static const char *const CONSUMERS[] = {"inside", "outside", "up"};

bool reckoning_is_settled(workday *w)
{
    return workday_integer(w, w->app.db,
                           "SELECT count(*) FROM busbar_progress AS p WHERE retrying > 0 OR cursor <"
                           " (SELECT coalesce(max(seq), 0) FROM busbar_events AS e WHERE e.lane = p.lane)") == 0 &&
           workday_integer(w, w->app.db, "SELECT count(*) FROM busbar_later") == 0;
}

static void expect(workday *w, const char *what, const char *query, int64_t expected)
{
    int64_t number = workday_integer(w, w->app.db, query);
    char text[200];
    snprintf(text, sizeof text, "%s (%.120s)", what, query);
    if (number != expected)
        workday_fail_number(w, text, number, expected);
}

static int note_finding(const busbar_finding *finding, void *ctx)
{
    char text[200];
    snprintf(text, sizeof text, "check: %s", finding->part);
    workday_fail(ctx, text, finding->text);
    return 0;
}

static void check_file(workday *w)
{
    expect(w, "the file", "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'", 0);
    (void)workday_good(w, w->app.bus, busbar_check(w->app.bus, note_finding, w), "check");
}

/* P1: every row of the state has its event, and the log had no others. */
static void check_published(workday *w)
{
    char text[200];
    int64_t alone = 0;
    expect(w, "P1: rows without event",
           "SELECT count(*) FROM published AS p WHERE seq > 0 AND NOT EXISTS"
           " (SELECT 1 FROM born WHERE lane = p.lane AND seq = p.seq)",
           0);
    for (int i = 0; i < WORKDAY_AUTOS; i++) {
        alone += w->lone[i].told;
        snprintf(text, sizeof text, "SELECT count(*) FROM born WHERE lane = %d AND seq = %lld", (int)w->lone[i].id.lane,
                 (long long)w->lone[i].id.seq);
        if (w->lone[i].told)
            expect(w, "P1: what was told to be stored", text, 1);
    }
    expect(w, "P1: events less rows",
           "SELECT (SELECT count(*) FROM born WHERE kind NOT IN (SELECT id FROM busbar_kind WHERE type = 's.bad'))"
           " - (SELECT count(*) FROM published WHERE type <> 'l.drop')",
           alone);
    expect(w, "P5: an id twice", "SELECT count(*) - count(DISTINCT id) FROM published", 0);
}

/* P1: what was committed is still there. */
static void check_lasting(workday *w)
{
    static bool there[WORKDAY_ROWS_MAX];
    sqlite3_stmt *stmt = NULL;
    memset(there, 0, sizeof there);
    if (sqlite3_prepare_v2(w->app.db, "SELECT n FROM published", -1, &stmt, NULL) != SQLITE_OK)
        workday_fail(w, "SELECT", sqlite3_errmsg(w->app.db));
    while (stmt && sqlite3_step(stmt) == SQLITE_ROW)
        there[sqlite3_column_int(stmt, 0)] = true;
    sqlite3_finalize(stmt);
    for (int n = 0; n < w->row_count; n++)
        if (w->lasting[n] && !there[n])
            workday_fail_number(w, "P1: a transaction whose commit had returned is lost, row", n, -1);
}

typedef struct sums {
    workday *w;
    busbar_status status;
    int found;
    int others;
} sums;

/* P8, and what the consumers of a workday may lose at all. */
static int check_consumer(const busbar_consumer_status *consumer, void *ctx)
{
    sums *s = ctx;
    workday *w = s->w;
    bool is_route = strcmp(consumer->name, "up") == 0;
    bool is_known = false;
    for (size_t i = 0; i < sizeof CONSUMERS / sizeof *CONSUMERS; i++)
        is_known |= strcmp(CONSUMERS[i], consumer->name) == 0;
    s->found += is_known;
    s->others += !is_known;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        const busbar_progress *p = &consumer->progress[lane];
        int64_t head = s->status.head[lane];
        int64_t sum = p->filtered + p->delivered + p->dead + p->expired + p->evicted + p->retrying + head - p->cursor;
        if (head - p->start + p->replayed != sum)
            workday_fail_number(w, "P8: the sum of a consumer's counters", sum, head - p->start + p->replayed);
        if (lane != BUSBAR_BULK && p->evicted != 0)
            workday_fail_number(w, "events evicted from a lane without limit", p->evicted, 0);
        if (is_route && p->dead != 0 && !w->may_bury)
            workday_fail_number(w, "events that the route gave up", p->dead, 0);
        if (is_route && w->message_count[lane] < head - p->dead - p->expired - p->evicted)
            workday_fail_number(w, "P3: events that the peer has, of a lane", w->message_count[lane],
                                head - p->dead - p->expired - p->evicted);
        if (is_route && w->message_count[lane] > head)
            workday_fail_number(w, "P5: events that the peer has, of a lane", w->message_count[lane], head);
    }
    return 0;
}

static void check_counters(workday *w)
{
    sums s = {.w = w, .status = {.size = sizeof s.status}};
    (void)workday_good(w, w->app.bus, busbar_status_get(w->app.bus, &s.status), "status");
    (void)workday_good(w, w->app.bus, busbar_consumer_list(w->app.bus, check_consumer, &s), "consumer_list");
    if (s.found != 3)
        workday_fail_number(w, "consumers", s.found, 3);
    if (s.others != 0)
        workday_fail_number(w, "consumers that were removed", s.others, 0);
    int64_t lost =
        workday_integer(w, w->app.db, "SELECT sum(expired + evicted) FROM busbar_progress WHERE consumer = 'up'");
    int64_t untold = workday_integer(w, w->app.db,
                                     "SELECT coalesce(sum(count), 0) FROM busbar_gap WHERE consumer ="
                                     " (SELECT id FROM busbar_consumer WHERE name = 'up')");
    if (w->told_lost + untold < lost && !w->may_bury)
        workday_fail_number(w, "P8: the peer knows of, or is still to be told of, lost events", w->told_lost + untold,
                            lost);
    expect(w, "P8: gaps of subscriptions are what they missed",
           "SELECT (SELECT coalesce(sum(count), 0) FROM busbar_gap AS g JOIN busbar_consumer AS c ON c.id = g.consumer"
           " WHERE c.class = 1) - (SELECT sum(expired + evicted) FROM busbar_progress WHERE consumer <> 'up')",
           0);
}

/* P7: the handler's effects, the events it publishes and its counters are one. */
static void check_effects(workday *w)
{
    expect(w, "P7: effects that are there twice", "SELECT count(*) - count(DISTINCT id) FROM effects", 0);
    expect(w, "P7: effects less deliveries",
           "SELECT (SELECT count(*) FROM effects) -"
           " (SELECT sum(delivered) FROM busbar_progress WHERE consumer = 'inside')",
           0);
    expect(w, "P7: events that the handler published, less its effects",
           "SELECT (SELECT count(*) FROM published WHERE type = 'f.up') -"
           " (SELECT count(*) FROM effects WHERE type = 'a.first')",
           0);
    expect(w, "dead letters less the events that can never work",
           "SELECT (SELECT sum(dead) FROM busbar_progress WHERE consumer = 'inside') -"
           " (SELECT count(*) FROM published WHERE type = '" WORKDAY_BAD "')",
           0);
}

void reckoning_check(workday *w)
{
    if (!reckoning_is_settled(w))
        workday_fail(w, "the work", "does not come to rest");
    check_file(w);
    check_published(w);
    check_lasting(w);
    check_counters(w);
    check_effects(w);
}
