/* SPDX-License-Identifier: MIT */
/*
 * A year of a device, in virtual time: it publishes an event a second, with bursts; its link is up for a tenth of the time; it
 * restarts every day, half of the times without warning, and has no clock then, until somebody tells it the time. P8 (nothing
 * is lost silently), P9 (bounds), P10 (time), P4 (order), each virtual day and at the end. The first argument is the number
 * of days; with a second one it says how far it is. YEAR_SEED plays another one.
 */
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fixture.h"
#include "ledger.h"
#include "rfc3339.h"
#include "sync_vfs.h"

#include <busbar/loopback.h>

#define SECOND_US INT64_C(1000000)
#define HOUR_MS   INT64_C(3600000)
#define DAY_US    (INT64_C(86400) * SECOND_US)
#define TICK_US   (10 * SECOND_US) /* one transaction of the application */

#define LIMIT_BYTES   (INT64_C(4) << 20)
#define BULK_MAX      20000
#define BULK_TTL_MS   (6 * HOUR_MS)
#define STATE_TTL_MS  (12 * HOUR_MS)
#define NORMAL_AGE_MS (24 * HOUR_MS)
#define IDLE_MS       (48 * HOUR_MS)
#define KEEP_DEAD     20
#define WINDOW        50
#define ACK_GROUP     100
#define BURST         600
#define DRIFT_PPM_MAX 40
#define TIME_STEP     64  /* positions between two that have their time noted */
#define TIME_SLACK_MS 250 /* beside drift: rounding, and what a step takes */
#define DAYS_DEFAULT  5
#define DAYS_ALL      30 /* in so many everything happens that may happen */

typedef struct year {
    fixture f;
    ledger book;
    uint64_t seed, random;
    int days, day, boot, files;
    bool talkative;
    bool muted; /* the process has ended: what its bus still does is nobody's */
    busbar_transport link;
    bool online;
    int64_t online_at_us, offline_at_us; /* true time */
    int64_t told_time_us;                /* when the device was told the time last, or 0 in this boot */
    int64_t boot_true_us, boot_mono_us;  /* true and monotonic time at one instant of this boot */
    int drift_ppm;
    int64_t published[BUSBAR_LANE_COUNT]; /* committed */
    int64_t refused;
    int64_t *times[BUSBAR_LANE_COUNT]; /* true milliseconds of every TIME_STEP-th position */
    int64_t checked[BUSBAR_LANE_COUNT];
    int64_t largest_bytes, wal_largest_bytes;
    int64_t trusted, estimated, unknown; /* how well the times of events that came were known */
    int64_t worst_ms;
    int64_t kills, losses, steps, handled;
    int64_t most_sessions, most_kinds, most_boots, most_fixes, most_gaps;
    int64_t written_bytes, syncs;       /* of all files, by the VFS */
    int64_t bus_bytes, commits, synced; /* by the handles themselves */
    int unhealthy;
    time_t started;
} year;

/* ---- Chance and time ---- */

static uint32_t chance(year *y, uint32_t below)
{
    y->random += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = y->random;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ z >> 31) >> 32) % below;
}

static bool percent(year *y, uint32_t of_hundred)
{
    return chance(y, 100) < of_hundred;
}

static int64_t mono_us(const year *y)
{
    return (int64_t)y->f.options.port->mono_us(y->f.options.port->ctx);
}

/* Of the world; the device's own crystal is a little wrong. */
static int64_t true_us(const year *y)
{
    int64_t run_us = mono_us(y) - y->boot_mono_us;
    return y->boot_true_us + run_us + run_us / 1000000 * y->drift_ppm;
}

static int64_t true_ms(const year *y)
{
    return true_us(y) / 1000;
}

static int64_t slack_ms(void)
{
    return 25 * HOUR_MS / 1000000 * DRIFT_PPM_MAX + TIME_SLACK_MS;
}

static void tell_time(year *y)
{
    busbar_sim_wall_set(y->f.sim, true_ms(y), BUSBAR_CLOCK_TRUSTED);
    y->told_time_us = true_us(y);
}

/* ---- The receiver ---- */

static int64_t number_after(const char *payload, const char *name)
{
    const char *at = strstr(payload, name);
    if (!at)
        fail_msg("no %s in %s", name, payload);
    return strtoll(at + strlen(name), NULL, 10);
}

static bool text_after(const char *payload, const char *name, char out[64])
{
    const char *at = strstr(payload, name);
    return at && sscanf(at + strlen(name), "%60[^\"]", out) == 1;
}

static int lane_of(const char *name)
{
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        if (strcmp(name, busbar_lane_name((busbar_lane)lane)) == 0)
            return lane;
    }
    fail_msg("no lane is called %s", name);
    return 0;
}

static void receive_gap(year *y, int lane, const char *payload)
{
    char id[64];
    char in[64];
    assert_true(text_after(payload, "\"id\":\"", id) && text_after(payload, "\"lane\":\"", in));
    assert_int_equal(lane_of(in), lane);
    ledger_gap(&y->book, lane, id, number_after(payload, "\"from\":"), number_after(payload, "\"to\":"),
               number_after(payload, "\"count\":"));
}

/* P10: the time is right, or it says that it may not be. */
static void check_time(year *y, const char *payload, int64_t was_ms)
{
    char text[64];
    char quality[64] = "trusted";
    int64_t said_ms;
    (void)text_after(payload, "\"timequality\":\"", quality);
    y->trusted += strcmp(quality, "trusted") == 0;
    y->estimated += strcmp(quality, "estimated") == 0;
    y->unknown += strcmp(quality, "unknown") == 0;
    bool has_time = text_after(payload, "\"time\":\"", text);
    assert_int_equal(has_time, strcmp(quality, "unknown") != 0);
    if (strcmp(quality, "trusted") == 0) {
        assert_true(bb_rfc3339_parse(text, &said_ms));
        int64_t wrong_ms = said_ms < was_ms ? was_ms - said_ms : said_ms - was_ms;
        if (wrong_ms > slack_ms())
            fail_msg("YEAR_SEED=%llu, day %d: told %lld ms wrong: %s", (unsigned long long)y->seed, y->day,
                     (long long)(said_ms - was_ms), payload);
        y->worst_ms = wrong_ms > y->worst_ms ? wrong_ms : y->worst_ms;
    }
    /* By an estimated clock it may be told, where there is nothing better. */
    if (text_after(payload, "\"recordedtime\":\"", text) && y->told_time_us > 0) {
        assert_true(bb_rfc3339_parse(text, &said_ms));
        assert_in_range(said_ms, true_ms(y) - slack_ms(), true_ms(y) + slack_ms());
    }
}

static void receive(const busbar_message *message, void *ctx)
{
    year *y = ctx;
    char payload[2048];
    if (y->muted)
        return;
    snprintf(payload, sizeof payload, "%.*s", (int)message->payload_size_bytes, (const char *)message->payload);
    int lane = lane_of(message->topic);
    if (strstr(payload, "\"type\":\"busbar.gap\"")) {
        receive_gap(y, lane, payload);
        return;
    }
    int64_t was_ms = number_after(payload, "\"t\":");
    int64_t ttl_ms = number_after(payload, "\"ttl\":");
    check_time(y, payload, was_ms);
    /* Over restarts an event may outlive its time: nobody knows how long the machine was off. */
    if (ttl_ms > 0 && number_after(payload, "\"boot\":") == y->boot)
        assert_true(true_ms(y) - was_ms <= ttl_ms + slack_ms());
    ledger_event(&y->book, lane, number_after(payload, "\"sequence\":\""));
}

/* Whatever expires had reached its time: by what is noted of every TIME_STEP-th event, which is a little early. */
static void observe(const busbar_observation *o, void *ctx)
{
    year *y = ctx;
    if (y->muted || o->what != BUSBAR_OBSERVED_EXPIRED)
        return;
    int64_t ttl_ms = o->lane == BUSBAR_BULK ? BULK_TTL_MS : STATE_TTL_MS;
    int64_t age_ms = true_ms(y) - y->times[o->lane][o->seq / TIME_STEP];
    if (age_ms < ttl_ms - slack_ms())
        fail_msg("YEAR_SEED=%llu, day %d: %s, lane %d, event %lld expired at the age of %lld ms",
                 (unsigned long long)y->seed, y->day, o->consumer, o->lane, (long long)o->seq, (long long)age_ms);
}

static busbar_verdict apply_rules(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    year *y = ctx;
    (void)bus, (void)reason;
    y->handled++;
    if (event->seq % 50021 == 0)
        return BUSBAR_DEAD;
    return event->seq % 5003 == 0 && event->attempt == 1 ? BUSBAR_RETRY : BUSBAR_DONE;
}

/* ---- The device ---- */

static void note_counters(year *y)
{
    busbar_status status = {.size = sizeof status};
    assert_code(y->f.bus, busbar_status_get(y->f.bus, &status), BUSBAR_OK);
    y->bus_bytes += status.written_bytes;
    y->commits += status.commit_count;
    y->synced += status.synced_count;
    sync_counts counts = sync_vfs_counts();
    y->written_bytes += counts.written_bytes;
    y->syncs += counts.syncs;
    sync_vfs_reset();
}

static busbar_handler rules_handler(year *y, const char *name)
{
    return (busbar_handler){.size = sizeof(busbar_handler), .name = name, .fn = apply_rules, .ctx = y};
}

/* What the program does when it starts. */
static void switch_on(year *y)
{
    busbar_error error = {.code = 0};
    busbar_kind kind;
    busbar_kind_desc reading = {.size = sizeof reading, .type = "meter.reading", .ttl_ms = BULK_TTL_MS};
    busbar_handler rules = rules_handler(y, "rules");
    busbar_route route = {.size = sizeof route,
                          .name = "up",
                          .topic = "{lane}",
                          .window = WINDOW,
                          .ack_group = ACK_GROUP,
                          .start = BUSBAR_START_BEGINNING};
    busbar_loopback_options options = {
        .size = sizeof options, .receive = receive, .ctx = y, .window = WINDOW, .link_down = !y->online};
    if (!y->f.bus && busbar_open(&y->f.bus, y->f.db, &y->f.options, &error) != BUSBAR_OK)
        fail_msg("%s", error.text);
    assert_code(y->f.bus, busbar_kind_register(y->f.bus, &reading, &kind), BUSBAR_OK);
    assert_int_equal(busbar_loopback_new(&options, &y->link), BUSBAR_OK);
    assert_code(y->f.bus, busbar_subscribe(y->f.bus, &rules, 1), BUSBAR_OK);
    assert_code(y->f.bus, busbar_route_add(y->f.bus, &route, y->link), BUSBAR_OK);
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

/* Its files as they are now are all that is left. */
static void kill_process(year *y)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    char old[sizeof y->f.path];
    strcpy(old, y->f.path);
    snprintf(y->f.path, sizeof y->f.path, "%s/%d.db", y->f.directory, ++y->files);
    copy_file(old, y->f.path, "");
    copy_file(old, y->f.path, "-wal");
    y->muted = true;
    busbar_close(y->f.bus);
    assert_int_equal(sqlite3_close(y->f.db), SQLITE_OK);
    y->muted = false;
    sync_vfs_reset(); /* nobody did that */
    for (int i = 0; i < 3; i++) {
        char name[200];
        snprintf(name, sizeof name, "%s%s", old, suffixes[i]);
        unlink(name);
    }
    y->kills++;
}

/* The machine goes off, for a while that it will never know, and comes back without a clock, or with a bad one. */
static void reboot(year *y)
{
    note_counters(y);
    int64_t now_us = true_us(y);
    if (y->boot % 2 == 0) {
        kill_process(y);
    } else {
        assert_code(y->f.bus, busbar_close(y->f.bus), BUSBAR_OK);
        assert_int_equal(sqlite3_close(y->f.db), SQLITE_OK);
    }
    y->f.bus = NULL;
    busbar_sim_reboot(y->f.sim);
    y->boot++;
    y->told_time_us = 0;
    y->boot_true_us = now_us + (20 + (int64_t)chance(y, 600)) * SECOND_US;
    y->boot_mono_us = mono_us(y);
    y->drift_ppm = (int)chance(y, 2 * DRIFT_PPM_MAX + 1) - DRIFT_PPM_MAX;
    if (y->boot % 4 == 1) /* a battery, and nobody ever set it right */
        busbar_sim_wall_set(y->f.sim, true_ms(y) + (int64_t)chance(y, 6 * 3600000) - 3 * HOUR_MS,
                            BUSBAR_CLOCK_ESTIMATED);
    else
        busbar_sim_wall_quality(y->f.sim, BUSBAR_CLOCK_UNKNOWN);
    y->f.db = fixture_connect(&y->f);
    switch_on(y);
}

/* ---- The network ---- */

/* A time without it, and then a tenth of that with it. */
static void plan_link(year *y)
{
    int64_t off_us = (1 + (int64_t)chance(y, percent(y, 30) ? 54 : 8)) * 3600 * SECOND_US;
    y->online_at_us = true_us(y) + off_us;
    y->offline_at_us = y->online_at_us + off_us / 9;
}

static void set_link(year *y, bool up)
{
    y->losses += y->online && !up;
    y->online = up;
    busbar_loopback_link(y->link, up);
}

static void move_link(year *y)
{
    int64_t now_us = true_us(y);
    if (!y->online && now_us >= y->online_at_us) {
        set_link(y, true);
        if (percent(y, 60))
            tell_time(y);
    } else if (y->online && now_us >= y->offline_at_us) {
        set_link(y, false);
        plan_link(y);
    } else if (y->online && y->told_time_us > 0 && now_us - y->told_time_us > 3600 * SECOND_US) {
        tell_time(y);
    } else if (y->online && chance(y, 200) == 0) { /* it is a bad network */
        busbar_loopback_drop_after(y->link, 1 + chance(y, 30));
        y->losses++;
    } else if (y->online) {
        busbar_loopback_link(y->link, true);
    }
}

/* ---- What it publishes ---- */

static int64_t size_of(const year *y, const char *suffix)
{
    char name[200];
    struct stat found;
    snprintf(name, sizeof name, "%s%s", y->f.path, suffix);
    return stat(name, &found) == 0 ? (int64_t)found.st_size : 0;
}

static void check_size(year *y)
{
    int64_t wal_bytes = size_of(y, "-wal");
    int64_t bytes = size_of(y, "") + wal_bytes;
    y->largest_bytes = bytes > y->largest_bytes ? bytes : y->largest_bytes;
    y->wal_largest_bytes = wal_bytes > y->wal_largest_bytes ? wal_bytes : y->wal_largest_bytes;
    if (bytes > LIMIT_BYTES)
        fail_msg("YEAR_SEED=%llu, day %d: file and WAL have %lld bytes", (unsigned long long)y->seed, y->day,
                 (long long)bytes);
}

static void choose_event(year *y, busbar_event *event, bool burst, char type[32])
{
    uint32_t dice = burst ? 0 : chance(y, 1000);
    *event = event_of("meter.reading");
    event->lane = BUSBAR_BULK;
    if (dice >= 980) {
        event->type = "alarm.raised";
        event->lane = BUSBAR_URGENT;
    } else if (dice >= 800) {
        event->type = "state.changed";
        event->lane = BUSBAR_NORMAL;
        event->ttl_ms = dice % 2 ? (uint64_t)STATE_TTL_MS : 0;
        if (dice == 800) { /* a type per day: kinds come and go */
            snprintf(type, 32, "day.n%d", y->day);
            event->type = type;
        }
    } else if (dice >= 700) {
        event->type = "meter.total";
    }
}

/* One event; true if it is stored. */
static bool publish_event(year *y, bool burst, busbar_lane *out_lane)
{
    char type[32];
    char data[200];
    busbar_event event;
    choose_event(y, &event, burst, type);
    int64_t ttl_ms = strcmp(event.type, "meter.reading") == 0 ? BULK_TTL_MS : (int64_t)event.ttl_ms;
    int64_t now_ms = true_ms(y);
    event.data = data;
    event.data_size_bytes = (size_t)snprintf(
        data, sizeof data, "{\"t\":%lld,\"boot\":%d,\"ttl\":%lld,\"watt\":%u,\"valve\":\"%s\"}", (long long)now_ms,
        y->boot, (long long)ttl_ms, chance(y, 3000), percent(y, 50) ? "open" : "closed");
    busbar_id id;
    int result = busbar_publish(y->f.bus, &event, &id);
    if (result == BUSBAR_EBUSFULL) {
        y->refused++;
        return false;
    }
    assert_code(y->f.bus, result, BUSBAR_OK);
    *out_lane = id.lane;
    if (id.seq % TIME_STEP == 0)
        y->times[id.lane][id.seq / TIME_STEP] = now_ms;
    return true;
}

/* One transaction of the application: its state and the events of ten seconds. */
static void run_transaction(year *y)
{
    int64_t stored[BUSBAR_LANE_COUNT] = {0};
    bool burst = chance(y, BURST) == 0;
    uint32_t count = 7 + chance(y, 5) + (burst ? BURST : 0);
    sql(y->f.db, "BEGIN; INSERT OR REPLACE INTO state VALUES ('meter', 1)");
    for (uint32_t i = 0; i < count; i++) {
        busbar_lane lane;
        if (publish_event(y, burst, &lane))
            stored[lane]++;
    }
    sql(y->f.db, "COMMIT");
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        y->published[lane] += stored[lane];
    check_size(y);
}

/* Works until there is nothing to do for a while. Then the device sleeps. */
static void work(year *y, int64_t until_us)
{
    for (;;) {
        uint64_t wait_us = 0;
        assert_code(y->f.bus, busbar_step(y->f.bus, 20000, &wait_us), BUSBAR_OK);
        y->steps++;
        if (wait_us >= 50000 || mono_us(y) + (int64_t)wait_us >= until_us)
            return;
        busbar_sim_advance(y->f.sim, wait_us > 0 ? wait_us : 1);
    }
}

static void run_tick(year *y)
{
    int64_t end_us = mono_us(y) + TICK_US;
    move_link(y);
    run_transaction(y);
    work(y, end_us);
    check_size(y);
    int64_t now_us = mono_us(y);
    if (now_us < end_us)
        busbar_sim_advance(y->f.sim, (uint64_t)(end_us - now_us));
}

/* ---- What is looked at every day ---- */

static int64_t rows(const year *y, const char *table)
{
    char text[100];
    snprintf(text, sizeof text, "SELECT count(*) FROM busbar_%s", table);
    return sql_integer(y->f.db, text);
}

static void note_most(const year *y, const char *table, int64_t *most)
{
    int64_t count = rows(y, table);
    *most = count > *most ? count : *most;
}

/* Of the lane: the sum of what the records say that the receiver has not heard of; their ranges count as told. */
static int64_t read_untold(year *y, int lane, uint8_t *untold)
{
    int64_t sum = 0;
    char text[300];
    sqlite3_stmt *stmt;
    snprintf(text, sizeof text,
             "SELECT 'gap-' || coalesce(token, ''), first, last, count FROM busbar_gap WHERE lane = %d AND consumer ="
             " (SELECT id FROM busbar_consumer WHERE name = 'up')",
             lane);
    assert_int_equal(sqlite3_prepare_v2(y->f.db, text, -1, &stmt, NULL), SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        if (ledger_knows_gap(&y->book, (const char *)sqlite3_column_text(stmt, 0)))
            continue;
        sum += sqlite3_column_int64(stmt, 3);
        for (int64_t seq = sqlite3_column_int64(stmt, 1); seq <= sqlite3_column_int64(stmt, 2); seq++)
            untold[seq / 8] |= (uint8_t)(1u << (seq % 8));
    }
    sqlite3_finalize(stmt);
    return sum;
}

/* Every position that the route has passed has come, or a gap has told of it, or will. */
static void check_lane(year *y, int lane)
{
    const busbar_progress p = progress_of(y->f.bus, "up", (busbar_lane)lane);
    uint8_t *untold = calloc((size_t)y->book.lanes[lane].capacity / 8 + 1, 1);
    assert_non_null(untold);
    int64_t sum = read_untold(y, lane, untold);
    assert_int_equal(p.evicted + p.expired, y->book.lanes[lane].lost_count + sum);
    assert_int_equal(p.dead + p.retrying + p.filtered, 0);
    for (int64_t seq = y->checked[lane] + 1; seq <= p.cursor; seq++) {
        if (!ledger_came(&y->book, lane, seq) && !ledger_told(&y->book, lane, seq) &&
            (untold[seq / 8] >> (seq % 8) & 1) == 0)
            fail_msg("YEAR_SEED=%llu, day %d, lane %d: nobody knows what became of %lld", (unsigned long long)y->seed,
                     y->day, lane, (long long)seq);
    }
    y->checked[lane] = p.cursor;
    free(untold);
}

static void check_gaps(year *y, const char *consumer)
{
    char text[300];
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        busbar_progress p = progress_of(y->f.bus, consumer, (busbar_lane)lane);
        snprintf(text, sizeof text,
                 "SELECT coalesce(sum(count), 0) FROM busbar_gap WHERE lane = %d AND consumer ="
                 " (SELECT id FROM busbar_consumer WHERE name = '%s')",
                 lane, consumer);
        assert_int_equal(p.evicted + p.expired, sql_integer(y->f.db, text));
    }
}

static int print_finding(const busbar_finding *finding, void *ctx)
{
    *(int *)ctx += 1;
    print_message("%s: %s\n", finding->part, finding->text);
    return 0;
}

static int print_reason(const busbar_health_reason *reason, void *ctx)
{
    year *y = ctx;
    if (reason->health == BUSBAR_HEALTH_UNHEALTHY)
        print_message("day %d: %s\n", y->day, reason->text);
    return 0;
}

/* Dead letters are what its rules make, and being offline is normal. */
static void check_health(year *y)
{
    busbar_health_rules rules = {.size = sizeof rules,
                                 .max_dead = BUSBAR_FOREVER,
                                 .max_file_bytes = (uint64_t)LIMIT_BYTES,
                                 .max_wal_bytes = (uint64_t)LIMIT_BYTES / 2};
    busbar_health health;
    assert_code(y->f.bus, busbar_health_get(y->f.bus, &rules, print_reason, y, &health), BUSBAR_OK);
    assert_int_not_equal(health, BUSBAR_HEALTH_UNHEALTHY);
    rules = (busbar_health_rules){.size = sizeof rules, .max_pending = 1};
    assert_code(y->f.bus, busbar_health_get(y->f.bus, &rules, NULL, NULL, &health), BUSBAR_OK);
    y->unhealthy += health == BUSBAR_HEALTH_UNHEALTHY;
}

static void check_day(year *y)
{
    static const char *const consumers[] = {"rules", "lazy", "up"};
    busbar_status status = {.size = sizeof status};
    int findings = 0;
    assert_code(y->f.bus, busbar_status_get(y->f.bus, &status), BUSBAR_OK);
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        assert_int_equal(status.head[lane], y->published[lane]);
        check_lane(y, lane);
    }
    for (int i = 0; i < 3; i++)
        assert_balanced(y->f.bus, consumers[i]);
    check_gaps(y, "rules");
    check_gaps(y, "lazy");
    check_health(y);
    if (y->day % 10 == 0)
        assert_code(y->f.bus, busbar_check(y->f.bus, print_finding, &findings), BUSBAR_OK);
    assert_int_equal(findings, 0);
    assert_int_equal(y->book.disordered_count, 0);
    note_most(y, "session", &y->most_sessions);
    note_most(y, "kind", &y->most_kinds);
    note_most(y, "boot", &y->most_boots);
    note_most(y, "clock", &y->most_fixes);
    note_most(y, "gap", &y->most_gaps);
    if (y->talkative && y->day % 5 == 0)
        print_message("day %d: %lld s, %lld events, largest %lld bytes\n", y->day, (long long)(time(NULL) - y->started),
                      (long long)(y->published[0] + y->published[1] + y->published[2]), (long long)y->largest_bytes);
}

/* ---- The whole year ---- */

static int days = DAYS_DEFAULT;
static bool talkative;

static void open_year(year *y)
{
    const char *seed = getenv("YEAR_SEED");
    memset(y, 0, sizeof *y);
    y->days = days;
    y->talkative = talkative;
    y->random = y->seed = seed ? strtoull(seed, NULL, 10) : 1;
    y->started = time(NULL);
    sync_vfs_register();
    sqlite3_vfs_register(sqlite3_vfs_find(SYNC_VFS_NAME), 1);
    int64_t capacity = ((int64_t)days + 2) * 100000;
    ledger_open(&y->book, capacity);
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        y->times[lane] = calloc((size_t)(capacity / TIME_STEP) + 1, sizeof *y->times[lane]);
        assert_non_null(y->times[lane]);
        y->times[lane][0] = BUSBAR_SIM_WALL_MS;
    }
    busbar_options options = {.size = sizeof options,
                              .max_bytes = (uint64_t)LIMIT_BYTES,
                              .max_events = {0, 0, BULK_MAX},
                              .max_age_ms = {(uint64_t)NORMAL_AGE_MS, 0, 0},
                              .keep_dead = KEEP_DEAD, /* a dead letter holds its session */
                              .consumer_idle_ms = (uint64_t)IDLE_MS,
                              .observer = observe,
                              .observer_ctx = y};
    fixture_open_with(&y->f, options);
    assert_code(y->f.bus, busbar_close(y->f.bus), BUSBAR_OK);
    sql(y->f.db, "PRAGMA journal_mode=DELETE; PRAGMA page_size=1024; VACUUM; PRAGMA journal_mode=WAL");
    assert_int_equal(sql_integer(y->f.db, "PRAGMA page_size"), 1024);
    y->f.bus = NULL;
    busbar_sim_tick(y->f.sim, 20);
    busbar_sim_wall_quality(y->f.sim, BUSBAR_CLOCK_UNKNOWN);
    y->boot_true_us = BUSBAR_SIM_WALL_MS * 1000;
    y->boot_mono_us = mono_us(y);
}

/* A consumer that is registered once, and that nobody ever works. */
static void register_lazy(year *y)
{
    sqlite3 *db;
    busbar *bus = fixture_connect_bus(&y->f, &db);
    busbar_handler lazy = rules_handler(y, "lazy");
    assert_code(bus, busbar_subscribe(bus, &lazy, 1), BUSBAR_OK);
    assert_code(bus, busbar_close(bus), BUSBAR_OK);
    sqlite3_close(db);
}

/* The link stays, and nothing new is published: all there is goes out. */
static void drain(year *y)
{
    set_link(y, true);
    for (int i = 0; i < 4 * 360; i++) {
        int64_t end_us = mono_us(y) + TICK_US;
        busbar_loopback_link(y->link, true);
        work(y, end_us);
        busbar_sim_advance(y->f.sim, (uint64_t)TICK_US);
    }
    check_day(y);
}

/* Or the checks would have checked nothing. */
static void assert_all_happened(year *y)
{
    busbar_progress bulk = progress_of(y->f.bus, "up", BUSBAR_BULK);
    assert_true(bulk.evicted > 0 && bulk.expired > 0);
    assert_true(y->kills > 0 && y->losses > 0);
    assert_true(y->trusted > 0 && y->unknown > 0 && y->estimated > 0);
    assert_true(y->unhealthy > 0);
}

/* What came, and what gaps told of, is what was published; but for what was evicted while it was on its way. */
static void settle_accounts(year *y)
{
    int64_t both = 0;
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        const ledger_lane *book = &y->book.lanes[lane];
        busbar_progress p = progress_of(y->f.bus, "up", (busbar_lane)lane);
        assert_int_equal(p.cursor, y->published[lane]);
        assert_int_equal(p.evicted + p.expired, book->lost_count);
        assert_true(book->came_count + book->lost_count >= y->published[lane]);
        both += book->came_count + book->lost_count - y->published[lane];
        print_message("%s: %lld published, %lld came, %lld told as lost in %lld gaps (evicted %lld, expired %lld)\n",
                      busbar_lane_name((busbar_lane)lane), (long long)y->published[lane], (long long)book->came_count,
                      (long long)book->lost_count, (long long)book->gap_count, (long long)p.evicted,
                      (long long)p.expired);
    }
    print_message("%lld came although a gap told of them; %lld came again\n", (long long)both,
                  (long long)y->book.again_count);
    assert_true(both <= (y->kills + y->losses) * (WINDOW + ACK_GROUP));
    assert_true(y->book.again_count <= (y->kills + y->losses) * (WINDOW + ACK_GROUP));
    assert_int_equal(progress_of(y->f.bus, "up", BUSBAR_URGENT).evicted, 0);
    assert_int_equal(y->refused, 0);
    if (y->days >= DAYS_ALL)
        assert_all_happened(y);
    /* What is kept reaches back some days, of a boot each; collection looks once in 16 sessions. */
    assert_true(y->most_sessions <= 40 && y->most_boots <= 64 && y->most_fixes <= 400);
    assert_true(y->most_kinds <= 256 + 64);
    assert_true(y->most_gaps <= 3 * BUSBAR_LANE_COUNT * 33);
}

static void report(const year *y)
{
    int64_t events = y->published[0] + y->published[1] + y->published[2];
    print_message("%d days, %lld events in %lld s; %lld handled, %lld steps, %d boots, %lld kills, %lld links lost\n",
                  y->days, (long long)events, (long long)(time(NULL) - y->started), (long long)y->handled,
                  (long long)y->steps, y->boot + 1, (long long)y->kills, (long long)y->losses);
    print_message("written %lld bytes (%lld an event), %lld syncs (%.4f an event); by the bus's own count %lld bytes,"
                  " %lld commits, %lld synced\n",
                  (long long)y->written_bytes, (long long)(y->written_bytes / events), (long long)y->syncs,
                  (double)y->syncs / (double)events, (long long)y->bus_bytes, (long long)y->commits,
                  (long long)y->synced);
    print_message("file and WAL: at most %lld bytes (WAL %lld), at the end %lld; limit %lld\n",
                  (long long)y->largest_bytes, (long long)y->wal_largest_bytes,
                  (long long)(size_of(y, "") + size_of(y, "-wal")), (long long)LIMIT_BYTES);
    print_message("at most %lld sessions, %lld kinds, %lld boots, %lld clock fixes, %lld gaps\n",
                  (long long)y->most_sessions, (long long)y->most_kinds, (long long)y->most_boots,
                  (long long)y->most_fixes, (long long)y->most_gaps);
    print_message("times: %lld trusted (at most %lld ms wrong), %lld estimated, %lld unknown\n", (long long)y->trusted,
                  (long long)y->worst_ms, (long long)y->estimated, (long long)y->unknown);
}

static void p8_p9_p10_a_device_lives_within_its_bounds_and_accounts_for_everything(void **unused)
{
    (void)unused;
    static year y;
    open_year(&y);
    switch_on(&y);
    register_lazy(&y);
    plan_link(&y);
    for (y.day = 1; y.day <= y.days; y.day++) {
        int64_t end_us = true_us(&y) + DAY_US;
        while (true_us(&y) < end_us)
            run_tick(&y);
        check_day(&y);
        reboot(&y);
    }
    drain(&y);
    note_counters(&y);
    report(&y);
    settle_accounts(&y);
    fixture_close(&y.f);
    ledger_close(&y.book);
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        free(y.times[lane]);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p8_p9_p10_a_device_lives_within_its_bounds_and_accounts_for_everything)};
    if (argc > 1)
        days = atoi(argv[1]);
    talkative = argc > 2;
    return cmocka_run_group_tests_name("year", tests, NULL, NULL);
}
