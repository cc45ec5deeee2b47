/* SPDX-License-Identifier: MIT */
/*
 * A commit can fail after it was done: the journal is gone, and then a sync or an unlock answers with an I/O error. Whoever
 * was told of the failure must not count the same work again (P8), nor do it again where it was to be done once (P7).
 */
#include <stdio.h>

#include "machine.h"
#include "test.h"

#define TRANSACTIONS 8u
#define STRIDE       7u

static history seen_outside;

static void work_off(machine *m, unsigned turns)
{
    for (unsigned i = 0; i < turns; i++) {
        m->failure[0] = '\0';
        machine_work(m, m->bus);
        busbar_sim_advance(m->sim, 2000000); /* acknowledgements are recorded, retries are due */
    }
}

static void assert_accounted(machine *m, uint64_t nth)
{
    static const char *const none[] = {
        "SELECT count(*) FROM busbar_progress"
        " WHERE cursor - start <> filtered + delivered + dead + expired + evicted + retrying",
        "SELECT count(*) FROM busbar_progress AS p"
        " WHERE cursor < (SELECT max(seq) FROM busbar_events AS e WHERE e.lane = p.lane)",
        "SELECT (SELECT count(*) FROM effects) - (SELECT sum(delivered) FROM busbar_progress WHERE consumer = "
        "'inside')",
        "SELECT count(*) FROM (SELECT id FROM busbar_events EXCEPT SELECT id FROM published)",
        "SELECT count(*) FROM (SELECT id FROM published EXCEPT SELECT id FROM busbar_events)",
        "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
    };
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        int64_t count = machine_integer(m->db, none[i]);
        if (count != 0)
            fail_msg("%s: %lld instead of 0 after call %llu had failed", none[i], (long long)count,
                     (unsigned long long)nth);
    }
}

/* The workload with one failing call. False if there are not so many calls. */
static bool survive(const setting *s, unsigned call, uint64_t nth)
{
    memset(&seen_outside, 0, sizeof seen_outside);
    busbar_sim_disk *disk = busbar_sim_disk_new(1);
    assert_non_null(disk);
    machine_prepare(disk, s);
    machine m = {.setting = s, .disk = disk, .history = &seen_outside};
    assert_true(machine_start(&m, 0, true));
    busbar_sim_disk_fail(disk, call, nth, 1, SQLITE_IOERR);
    for (unsigned i = 0; i < TRANSACTIONS; i++) {
        machine_transaction(&m, i);
        work_off(&m, 1);
    }
    bool failed = busbar_sim_disk_failures(disk) > 0;
    busbar_sim_disk_fail(disk, 0, 0, 0, SQLITE_OK);
    work_off(&m, 8);
    assert_accounted(&m, nth);
    m.failure[0] = '\0';
    machine_stop(&m);
    assert_string_equal(m.failure, "");
    busbar_sim_disk_free(disk);
    return failed;
}

static void fail_each(const setting *s, unsigned call)
{
    uint64_t nth = 1;
    while (survive(s, call, nth))
        nth += STRIDE;
    assert_true(nth > 5 * STRIDE);
}

static void p8_a_sync_fails_after_the_journal_was_truncated(void **unused)
{
    (void)unused;
    fail_each(&(setting){"", "truncate", "full", 4096, false, 0, 0}, BUSBAR_SIM_DISK_SYNC);
    fail_each(&(setting){"", "persist", "full", 4096, false, 0, 0}, BUSBAR_SIM_DISK_SYNC);
}

static void p8_an_unlock_fails_after_the_commit(void **unused)
{
    (void)unused;
    fail_each(&(setting){"", "delete", "full", 1024, false, 0, 0}, BUSBAR_SIM_DISK_UNLOCK);
}

/* ---- One consumer, and one failure at the end of each of its commits --------------------------------------------- */

#define EVENTS       24u
#define SEEDS_MAX    5u
#define FILE_NAME    "one.db"
#define ATTEMPTS_MAX 3u
#define FAILURES_MAX 2u /* of an event that is delivered in the end */

/* What is to become of an event. */
typedef struct fate {
    bool wanted; /* the consumer's pattern matches it */
    bool dead;
    unsigned failures; /* before it succeeds */
} fate;

typedef struct bench {
    busbar_sim_disk *disk;
    busbar_sim *sim;
    sqlite3 *db;
    busbar *bus;
    uint32_t random;
    fate fates[EVENTS];
    unsigned published;
    unsigned received[EVENTS]; /* by the route's peer */
    unsigned call;             /* what is to fail: call `nth` after commit `nth_commit` has begun */
    uint64_t nth;
    uint64_t nth_commit;
    uint64_t commits;
} bench;

typedef struct scene {
    void (*begin)(bench *b);
    void (*check)(bench *b, const char *where);
    unsigned wanted_of_8;
    unsigned failing_of_8;
    unsigned seeds[SEEDS_MAX];
    unsigned seed_count;
} scene;

/* What was ever recorded, whatever became of it later. */
static const char WITNESS[] = "CREATE TABLE effects (event INTEGER, attempt INTEGER);"
                              "CREATE TABLE moves (consumer INTEGER, lane INTEGER, before INTEGER, after INTEGER);"
                              "CREATE TABLE outcomes (consumer INTEGER, lane INTEGER, seq INTEGER, attempt INTEGER);"
                              "CREATE TRIGGER moved AFTER UPDATE OF cursor ON busbar_cursor BEGIN"
                              " INSERT INTO moves VALUES (NEW.consumer, NEW.lane, OLD.cursor, NEW.cursor); END;"
                              "CREATE TRIGGER failed AFTER INSERT ON busbar_exception BEGIN"
                              " INSERT INTO outcomes VALUES (NEW.consumer, NEW.lane, NEW.seq, NEW.attempts); END;"
                              "CREATE TRIGGER failed_again AFTER UPDATE ON busbar_exception BEGIN"
                              " INSERT INTO outcomes VALUES (NEW.consumer, NEW.lane, NEW.seq, NEW.attempts); END;"
                              "CREATE TRIGGER succeeded AFTER DELETE ON busbar_exception BEGIN"
                              " INSERT INTO outcomes VALUES (OLD.consumer, OLD.lane, OLD.seq, OLD.attempts + 1); END;";

static uint32_t random_below(bench *b, uint32_t limit)
{
    b->random = b->random * 1664525u + 1013904223u;
    return (b->random >> 8) % limit;
}

static void execute(sqlite3 *db, const char *text)
{
    char *message = NULL;
    if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", text, message ? message : sqlite3_errmsg(db));
    sqlite3_free(message);
}

/* A commit begins. */
static int on_commit(void *ctx)
{
    bench *b = ctx;
    if (++b->commits == b->nth_commit)
        busbar_sim_disk_fail(b->disk, b->call, b->nth, 1, SQLITE_IOERR);
    return 0;
}

static void draw_fates(bench *b, const scene *s)
{
    for (unsigned i = 0; i < EVENTS; i++) {
        bool failing = random_below(b, 8) < s->failing_of_8;
        unsigned how = random_below(b, 3);
        b->fates[i] = (fate){
            .wanted = random_below(b, 8) < s->wanted_of_8,
            .dead = failing && how == 0,
            .failures = failing ? how : 0,
        };
    }
}

static void bench_open(bench *b, const scene *s, const char *journal)
{
    char text[100];
    b->disk = busbar_sim_disk_new(1);
    b->sim = busbar_sim_new(b->random);
    assert_non_null(b->disk);
    assert_non_null(b->sim);
    assert_int_equal(
        sqlite3_open_v2(FILE_NAME, &b->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, busbar_sim_disk_vfs(b->disk)),
        SQLITE_OK);
    snprintf(text, sizeof text, "PRAGMA journal_mode=%s; PRAGMA synchronous=FULL", journal);
    execute(b->db, text);
    busbar_options options = {.size = sizeof options, .port = busbar_sim_port(b->sim), .source = "urn:test:bench"};
    assert_int_equal(busbar_open(&b->bus, b->db, &options, NULL), BUSBAR_OK);
    assert_int_equal(busbar_migrate(b->bus), BUSBAR_OK);
    execute(b->db, WITNESS);
    draw_fates(b, s);
    s->begin(b);
    sqlite3_commit_hook(b->db, on_commit, b);
}

static void bench_close(bench *b)
{
    assert_int_equal(busbar_close(b->bus), BUSBAR_OK);
    assert_int_equal(sqlite3_close(b->db), SQLITE_OK);
    busbar_sim_free(b->sim);
    busbar_sim_disk_free(b->disk);
}

/* Who does not know whether it was stored publishes it again: the id is the same. */
static void publish(bench *b)
{
    unsigned i = b->published++;
    char id[16];
    char subject[8];
    snprintf(id, sizeof id, "given-%u", i);
    snprintf(subject, sizeof subject, "%u", i);
    busbar_event event = {
        .size = sizeof event,
        .type = b->fates[i].wanted ? "keep.it" : "drop.it",
        .id = id,
        .subject = subject,
    };
    int result = busbar_publish(b->bus, &event, NULL);
    for (unsigned again = 0; result < 0 && again < 3; again++)
        result = busbar_publish(b->bus, &event, NULL);
    assert_true(result >= 0);
}

static unsigned number_of(const char *text)
{
    unsigned long number = strtoul(text, NULL, 10);
    assert_true(number < EVENTS);
    return (unsigned)number;
}

/* Events come a few at a time, so that what was not recorded yet can grow. */
static void work(bench *b)
{
    uint64_t wait_us = 0;
    for (unsigned turn = 0; b->published < EVENTS || turn % 40 != 0; turn++) {
        for (unsigned some = random_below(b, 3); some > 0 && b->published < EVENTS; some--)
            publish(b);
        (void)busbar_step(b->bus, 200 + random_below(b, 3000), &wait_us);
        busbar_sim_advance(b->sim, (uint64_t)random_below(b, 3) * 300);
    }
}

static void rest(bench *b)
{
    uint64_t wait_us = 0;
    sqlite3_commit_hook(b->db, NULL, NULL);
    busbar_sim_disk_fail(b->disk, 0, 0, 0, SQLITE_OK);
    busbar_sim_tick(b->sim, 1);
    for (unsigned turn = 0; turn < 40; turn++) {
        assert_int_equal(busbar_step(b->bus, 100000, &wait_us), BUSBAR_OK);
        busbar_sim_advance(b->sim, 50000);
    }
}

static void assert_none(bench *b, const char *text, const char *where)
{
    int64_t count = machine_integer(b->db, text);
    if (count != 0)
        fail_msg("%s: %lld instead of 0, %s", text, (long long)count, where);
}

static void assert_progress(bench *b, const char *consumer, bool filters, bool fails, const char *where)
{
    char text[300];
    unsigned filtered = 0;
    unsigned dead = 0;
    for (unsigned i = 0; i < b->published; i++) {
        filtered += filters && !b->fates[i].wanted;
        dead += fails && b->fates[i].wanted && b->fates[i].dead;
    }
    const struct {
        const char *column;
        unsigned expected;
    } counts[] = {{"cursor - start", b->published},
                  {"filtered", filtered},
                  {"delivered", b->published - filtered - dead},
                  {"dead", dead},
                  {"retrying", 0}};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        snprintf(text, sizeof text, "SELECT %s FROM busbar_progress WHERE consumer = '%s' AND lane = 'normal'",
                 counts[i].column, consumer);
        int64_t count = machine_integer(b->db, text);
        if (count != counts[i].expected)
            fail_msg("%s of %s: %lld instead of %u, %s", counts[i].column, consumer, (long long)count,
                     counts[i].expected, where);
    }
}

/* False if the work is done with fewer commits. */
static bool survive_one(const scene *s, const char *journal, unsigned seed, unsigned call, uint64_t nth,
                        uint64_t nth_commit)
{
    char where[120];
    bench b = {.random = seed, .call = call, .nth = nth, .nth_commit = nth_commit};
    bench_open(&b, s, journal);
    busbar_sim_tick(b.sim, seed % 2 ? 20 + random_below(&b, 300) : 0);
    work(&b);
    rest(&b);
    snprintf(where, sizeof where, "seed %u, journal %s: call %u of commit %u failed", seed, journal, (unsigned)nth,
             (unsigned)nth_commit);
    assert_none(&b, "SELECT count(*) FROM moves WHERE after < before", where);
    s->check(&b, where);
    bench_close(&b);
    return b.commits >= nth_commit;
}

/* Of each scene; the first argument. */
static unsigned seeds_max = SEEDS_MAX;

static void survive_each(const scene *s)
{
    for (unsigned i = 0; i < s->seed_count && i < seeds_max; i++) {
        unsigned seed = s->seeds[i];
        uint64_t nth_commit = 1;
        while (survive_one(s, "delete", seed, BUSBAR_SIM_DISK_UNLOCK, 1, nth_commit))
            nth_commit++;
        assert_true(nth_commit > EVENTS);
        for (uint64_t nth = 1; nth <= 3; nth++) {
            for (nth_commit = 1 + nth; survive_one(s, "truncate", seed, BUSBAR_SIM_DISK_SYNC, nth, nth_commit);)
                nth_commit += 3;
        }
    }
}

/* ---- Routes ---- */

static void receive(const busbar_message *message, void *ctx)
{
    bench *b = ctx;
    b->received[number_of(message->topic + strlen("t/"))]++;
}

/* A neighbour whose failures take the numbers of exceptions that the route has settled. */
static busbar_verdict fail_once(busbar *bus, const busbar_record *record, busbar_reason *reason, void *ctx)
{
    (void)bus, (void)reason, (void)ctx;
    return record->seq % 3 == 1 && record->attempt == 1 ? BUSBAR_RETRY : BUSBAR_DONE;
}

static void add_route(bench *b)
{
    char topic[16];
    busbar_transport transport;
    busbar_loopback_options options = {
        .size = sizeof options, .receive = receive, .ctx = b, .window = 1 + random_below(b, 6)};
    assert_int_equal(busbar_loopback_new(&options, &transport), BUSBAR_OK);
    for (unsigned i = 0; i < EVENTS; i++) {
        snprintf(topic, sizeof topic, "t/%u", i);
        busbar_loopback_refusal refusal = {
            .size = sizeof refusal,
            .topic = topic,
            .count = b->fates[i].dead ? 1 : b->fates[i].failures,
            .verdict = b->fates[i].dead ? BUSBAR_REFUSED_DEAD : BUSBAR_REFUSED_RETRY,
        };
        if (refusal.count > 0)
            assert_int_equal(busbar_loopback_refuse(transport, &refusal), BUSBAR_OK);
    }
    busbar_route route = {
        .size = sizeof route,
        .name = "up",
        .pattern = "keep.#",
        .topic = "t/{subject}",
        .window = 1 + random_below(b, 6),
        .ack_group = 1 + random_below(b, 4),
        .ack_delay_ms = 1 + random_below(b, 3),
        .retry = {.base_ms = 1, .cap_ms = 4, .max_attempts = FAILURES_MAX + 2},
    };
    assert_int_equal(busbar_route_add(b->bus, &route, transport), BUSBAR_OK);
}

static void begin_route(bench *b)
{
    add_route(b);
    busbar_handler neighbour = {
        .size = sizeof neighbour, .name = "neighbour", .fn = fail_once, .retry = {.base_ms = 1, .cap_ms = 4}};
    assert_int_equal(busbar_subscribe(b->bus, &neighbour, 1), BUSBAR_OK);
}

static void check_route(bench *b, const char *where)
{
    for (unsigned i = 0; i < EVENTS; i++) {
        unsigned expected = b->fates[i].wanted && !b->fates[i].dead;
        if (b->received[i] != expected)
            fail_msg("the peer got event %u %u times instead of %u, %s", i, b->received[i], expected, where);
    }
    assert_progress(b, "up", true, true, where);
    assert_progress(b, "neighbour", false, false, where);
}

/* ---- Handlers ---- */

static const char HANDLED_AGAIN[] =
    "SELECT (SELECT count(*) FROM moves WHERE lane = %d AND after >= %lld AND 1 = %u)"
    " + (SELECT count(*) FROM outcomes WHERE lane = %d AND seq = %lld AND attempt >= %u)";

/* Outside of transactions nothing comes again whose outcome was recorded, however the commit ended that did it. */
static busbar_verdict handle_outside(busbar *bus, const busbar_record *record, busbar_reason *reason, void *ctx)
{
    bench *b = ctx;
    char text[300];
    const fate *f = &b->fates[number_of(record->subject)];
    (void)bus, (void)reason;
    snprintf(text, sizeof text, HANDLED_AGAIN, (int)record->lane, (long long)record->seq, (unsigned)record->attempt,
             (int)record->lane, (long long)record->seq, (unsigned)record->attempt);
    if (machine_integer(b->db, text) > 0)
        fail_msg("event %s is handled again, attempt %u, though its outcome is recorded", record->subject,
                 (unsigned)record->attempt);
    if (f->dead)
        return BUSBAR_DEAD;
    return record->attempt <= f->failures ? BUSBAR_RETRY : BUSBAR_DONE;
}

/* Breaks the rules: it ends the transaction it runs in. What it did in it stands, and the event counts as failed. */
static busbar_verdict handle_and_commit(busbar *bus, const busbar_record *record, busbar_reason *reason, void *ctx)
{
    bench *b = ctx;
    char text[100];
    unsigned event = number_of(record->subject);
    (void)bus, (void)reason;
    snprintf(text, sizeof text, "INSERT INTO effects VALUES (%u, %u)", event, (unsigned)record->attempt);
    if (sqlite3_exec(b->db, text, NULL, NULL, NULL) != SQLITE_OK)
        return BUSBAR_RETRY;
    if (b->fates[event].dead || record->attempt <= b->fates[event].failures)
        (void)sqlite3_exec(b->db, "COMMIT", NULL, NULL, NULL);
    return BUSBAR_DONE;
}

static void subscribe(bench *b, busbar_handler_fn *fn, busbar_delivery delivery)
{
    busbar_handler handler = {
        .size = sizeof handler,
        .name = "one",
        .pattern = "keep.#",
        .fn = fn,
        .ctx = b,
        .delivery = delivery,
        .retry = {.base_ms = 1, .cap_ms = 4, .max_attempts = ATTEMPTS_MAX},
    };
    assert_int_equal(busbar_subscribe(b->bus, &handler, 1), BUSBAR_OK);
}

static void begin_outside(bench *b)
{
    subscribe(b, handle_outside, BUSBAR_OUTSIDE);
}

static void begin_committing(bench *b)
{
    subscribe(b, handle_and_commit, BUSBAR_TRANSACTIONAL);
}

static void check_outside(bench *b, const char *where)
{
    assert_progress(b, "one", true, true, where);
}

static void check_committing(bench *b, const char *where)
{
    assert_none(b, "SELECT count(*) FROM (SELECT 1 FROM effects GROUP BY event, attempt HAVING count(*) > 1)", where);
    assert_progress(b, "one", true, true, where);
}

static void p8_a_route_whose_peer_refuses(void **unused)
{
    (void)unused;
    survive_each(&(scene){begin_route, check_route, 5, 4, {1, 2, 3, 15, 29}, 5});
}

static busbar_verdict fail_first(busbar *bus, const busbar_record *record, busbar_reason *reason, void *ctx)
{
    (void)bus, (void)reason, (void)ctx;
    return record->attempt == 1 ? BUSBAR_RETRY : BUSBAR_DONE;
}

static void begin_refused_once(bench *b)
{
    b->fates[0] = (fate){.wanted = true, .failures = 1};
    add_route(b);
}

/* A subscription on a connection of its own. */
static busbar *open_neighbour(bench *b, sqlite3 **out_db)
{
    busbar *bus = NULL;
    busbar_options options = {.size = sizeof options, .port = busbar_sim_port(b->sim), .source = "urn:test:neighbour"};
    busbar_handler handler = {.size = sizeof handler,
                              .name = "neighbour",
                              .fn = fail_first,
                              .start = BUSBAR_START_BEGINNING,
                              .retry = {.base_ms = 1, .cap_ms = 4}};
    assert_int_equal(sqlite3_open_v2(FILE_NAME, out_db, SQLITE_OPEN_READWRITE, busbar_sim_disk_vfs(b->disk)),
                     SQLITE_OK);
    assert_int_equal(busbar_open(&bus, *out_db, &options, NULL), BUSBAR_OK);
    assert_int_equal(busbar_subscribe(bus, &handler, 1), BUSBAR_OK);
    return bus;
}

static void step_neighbour(bench *b, busbar *neighbour, unsigned turns)
{
    uint64_t wait_us = 0;
    for (unsigned i = 0; i < turns; i++) {
        assert_int_equal(busbar_step(neighbour, 1000, &wait_us), BUSBAR_OK);
        busbar_sim_advance(b->sim, 500);
    }
}

/* The neighbour fails for the first time just after the failure: for the same event, and perhaps with the number that the
   route's exception had. False if there are fewer commits. */
static bool survive_neighbour(uint64_t nth_commit)
{
    char where[120];
    uint64_t wait_us = 0;
    sqlite3 *neighbour_db = NULL;
    const scene s = {.begin = begin_refused_once};
    bench b = {.random = 1, .call = BUSBAR_SIM_DISK_UNLOCK, .nth = 1, .nth_commit = nth_commit};
    bench_open(&b, &s, "delete");
    busbar *neighbour = open_neighbour(&b, &neighbour_db);
    publish(&b);
    for (unsigned i = 0; i < 40; i++) {
        if (busbar_step(b.bus, 1000, &wait_us) < 0)
            step_neighbour(&b, neighbour, 1);
        busbar_sim_advance(b.sim, 500);
    }
    rest(&b);
    step_neighbour(&b, neighbour, 40);
    snprintf(where, sizeof where, "the unlock of commit %u failed", (unsigned)nth_commit);
    assert_progress(&b, "up", true, true, where);
    assert_progress(&b, "neighbour", false, false, where);
    assert_int_equal(busbar_close(neighbour), BUSBAR_OK);
    assert_int_equal(sqlite3_close(neighbour_db), SQLITE_OK);
    bench_close(&b);
    return b.commits >= nth_commit;
}

static void p8_another_consumer_takes_the_number_of_a_settled_exception(void **unused)
{
    (void)unused;
    uint64_t nth_commit = 1;
    while (survive_neighbour(nth_commit))
        nth_commit++;
    assert_true(nth_commit > 4);
}

static void p8_a_run_of_unwanted_events_grows_meanwhile(void **unused)
{
    (void)unused;
    survive_each(&(scene){begin_route, check_route, 1, 0, {1, 2, 3}, 3});
}

static void p8_a_handler_outside_of_transactions_fails(void **unused)
{
    (void)unused;
    survive_each(&(scene){begin_outside, check_outside, 5, 4, {1, 2, 3}, 3});
}

static void p7_a_handler_commits_its_own_transaction(void **unused)
{
    (void)unused;
    const scene s = {begin_committing, check_committing, 6, 3, {1, 2, 3}, 3};
    survive_each(&s);
    /* Also when it cannot be read at first how the transaction ended. */
    for (uint64_t nth = 14; nth < 34; nth++) {
        for (uint64_t nth_commit = 2; survive_one(&s, "delete", 1, BUSBAR_SIM_DISK_ANY_CALL, nth, nth_commit);)
            nth_commit += 4;
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        seeds_max = (unsigned)strtoul(argv[1], NULL, 10);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p8_a_sync_fails_after_the_journal_was_truncated),
        cmocka_unit_test(p8_an_unlock_fails_after_the_commit),
        cmocka_unit_test(p8_a_route_whose_peer_refuses),
        cmocka_unit_test(p8_another_consumer_takes_the_number_of_a_settled_exception),
        cmocka_unit_test(p8_a_run_of_unwanted_events_grows_meanwhile),
        cmocka_unit_test(p8_a_handler_outside_of_transactions_fails),
        cmocka_unit_test(p7_a_handler_commits_its_own_transaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
