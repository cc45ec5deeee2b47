/* SPDX-License-Identifier: MIT */
/*
 * P11: an event that ends the process, over and over, is found out and dead; its neighbours get through, and whoever was only
 * nearby when a process ended stays alive. Each life is a child process that ends for real, without a word to the bus.
 */
#include "fixture.h"

#include <busbar/loopback.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sync_vfs.h"

/* How a life ends. */
enum { CLOSED = 0, FAILED = 3, KILLED = 8, POISONED = 9 };

#define POISON_ENDS 3 /* the default */

typedef enum kind { TRANSACTIONAL, OUTSIDE, ROUTE } kind;

/* What a life consists of. */
typedef struct plan {
    kind kind;
    bool route_too;   /* beside the handler, over a link that never answers */
    bool never_acked; /* ROUTE: messages stay on their way */
    bool link_breaks; /* ROUTE: after the first message of a life */
    bool second_time; /* the poison works at the second attempt; the first fails */
    bool rolls_back;  /* the handler ends the bus's transaction instead of the process */
    int kill_step;    /* killed after so many steps; 0: not */
    int close_step;   /* closed after so many; 0: when nothing is left to do */
    uint32_t poison_ends;
} plan;

/* ---- In the child ---- */

typedef struct life {
    fixture f;
    const plan *plan;
    sqlite3 *notes; /* for what a route delivers: the bus's own connection is busy then */
    busbar_transport transport;
} life;

static void must(bool holds)
{
    if (!holds)
        _exit(FAILED);
}

static void count_effect(sqlite3 *db, const char *id)
{
    char text[300];
    snprintf(text, sizeof text, "INSERT INTO state VALUES ('%s', 1) ON CONFLICT DO UPDATE SET value = value + 1", id);
    must(sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK);
}

static busbar_verdict handle(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    const life *l = ctx;
    (void)bus;
    (void)reason;
    bool poison = strcmp(event->type, "poison") == 0;
    if (poison && l->plan->rolls_back) {
        must(sqlite3_exec(l->f.db, "ROLLBACK", NULL, NULL, NULL) == SQLITE_OK);
        return BUSBAR_DONE;
    }
    if (poison && l->plan->second_time && event->attempt == 1)
        return BUSBAR_RETRY;
    if (poison)
        _exit(POISONED);
    count_effect(l->f.db, event->id);
    return BUSBAR_DONE;
}

static void receive(const busbar_message *message, void *ctx)
{
    const life *l = ctx;
    char payload[2048];
    char id[200];
    if (l->plan->kind == ROUTE && strcmp(message->topic, "d/poison") == 0)
        _exit(POISONED);
    if (l->plan->link_breaks)
        busbar_loopback_link(l->transport, false);
    if (l->plan->kind != ROUTE)
        return;
    snprintf(payload, sizeof payload, "%.*s", (int)message->payload_size_bytes, (const char *)message->payload);
    const char *at = strstr(payload, "\"id\":\"");
    must(at && sscanf(at + 6, "%199[^\"]", id) == 1);
    count_effect(l->notes, id);
}

static void add_route(life *l)
{
    busbar_loopback_options options = {.size = sizeof options, .receive = receive, .ctx = l};
    options.manual_ack = l->plan->kind != ROUTE || l->plan->never_acked || l->plan->link_breaks;
    must(busbar_loopback_new(&options, &l->transport) == BUSBAR_OK);
    busbar_route route = {.size = sizeof route, .name = "up", .topic = "d/{type}", .ack_delay_ms = 1};
    must(busbar_route_add(l->f.bus, &route, l->transport) == BUSBAR_OK);
}

static void subscribe(life *l)
{
    busbar_handler handler = {.size = sizeof handler, .name = "h", .fn = handle, .ctx = l};
    handler.start = BUSBAR_START_BEGINNING;
    handler.delivery = l->plan->kind == OUTSIDE ? BUSBAR_OUTSIDE : BUSBAR_TRANSACTIONAL;
    must(busbar_subscribe(l->f.bus, &handler, 1) == BUSBAR_OK);
}

static void begin_life(life *l)
{
    l->f.options.poison_ends = l->plan->poison_ends;
    must(sqlite3_open(l->f.path, &l->f.db) == SQLITE_OK && sqlite3_open(l->f.path, &l->notes) == SQLITE_OK);
    must(sqlite3_exec(l->f.db, "PRAGMA synchronous=NORMAL", NULL, NULL, NULL) == SQLITE_OK);
    must(busbar_open(&l->f.bus, l->f.db, &l->f.options, NULL) == BUSBAR_OK);
    if (l->plan->kind == ROUTE || l->plan->route_too)
        add_route(l);
    if (l->plan->kind != ROUTE)
        subscribe(l);
}

/* A step is short where the life is to end after some of them. */
static _Noreturn void live(life *l)
{
    const plan *p = l->plan;
    begin_life(l);
    bool slow = p->kill_step > 0;
    if (slow)
        busbar_sim_tick(l->f.sim, 20);
    for (int step = 1; step < 100000; step++) {
        uint64_t wait_us = 0;
        must(busbar_step(l->f.bus, slow ? 0 : 1000000, &wait_us) == BUSBAR_OK);
        if (step == p->kill_step)
            _exit(KILLED);
        bool at_rest = wait_us > 2000000 || (p->kind == ROUTE && step > 3000); /* a loopback is never at rest */
        if (step == p->close_step || (at_rest && p->close_step == 0 && p->kill_step == 0))
            break;
        busbar_sim_advance(l->f.sim, wait_us > 0 && wait_us < 2000000 ? wait_us : 10);
    }
    must(busbar_close(l->f.bus) == BUSBAR_OK);
    _exit(CLOSED);
}

/* ---- In the parent ---- */

/* The parent holds no connection while a child lives: SQLite's must not be carried over a fork. */
static void leave(fixture *f)
{
    assert_code(f->bus, busbar_close(f->bus), BUSBAR_OK);
    assert_int_equal(sqlite3_close(f->db), SQLITE_OK);
}

static void enter(fixture *f)
{
    f->db = fixture_connect(f);
    assert_int_equal(busbar_open(&f->bus, f->db, &f->options, NULL), BUSBAR_OK);
}

/* One life, in a boot of its own. How it ended. */
static int run_life(fixture *f, const plan *p)
{
    int status = 0;
    busbar_sim_reboot(f->sim);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        static life l;
        l = (life){.f = *f, .plan = p};
        live(&l);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_not_equal(WEXITSTATUS(status), FAILED);
    return WEXITSTATUS(status);
}

/* Lives until one closes in order. How many did not. */
static int run_lives(fixture *f, const plan *p)
{
    int ends = 0;
    while (run_life(f, p) != CLOSED)
        assert_true(++ends < 20);
    return ends;
}

static void publish_some(fixture *f, int count, const char *type)
{
    for (int i = 0; i < count; i++)
        publish(f->bus, type);
}

static const char *name_of(kind k)
{
    return k == ROUTE ? "up" : "h";
}

static void assert_one_dead(fixture *f, const char *consumer, int64_t delivered)
{
    busbar_progress progress = progress_of(f->bus, consumer, BUSBAR_NORMAL);
    assert_int_equal(progress.dead, 1);
    assert_int_equal(progress.delivered, delivered);
    assert_int_equal(progress.retrying, 0);
    assert_string_equal(sql_text(f->db, "SELECT reason FROM busbar_exception WHERE state = 3"),
                        "the process ended again and again while it had this event in hand");
    assert_balanced(f->bus, consumer);
}

/* Lives over ten events, the poison, and ten more. */
static void poison_between_neighbours(const plan *p, int ends)
{
    fixture f;
    fixture_open(&f);
    publish_some(&f, 10, "before");
    publish_some(&f, 1, "poison");
    publish_some(&f, 10, "behind");
    leave(&f);
    assert_int_equal(run_lives(&f, p), ends);
    enter(&f);
    assert_one_dead(&f, name_of(p->kind), 20);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM state"), 20);
    if (p->kind == TRANSACTIONAL) /* P7 */
        assert_int_equal(sql_integer(f.db, "SELECT max(value) FROM state"), 1);
    fixture_close(&f);
}

/* The end that makes the worker careful says nothing of an event; then the poison is alone in hand at each. */
static void p11_a_transactional_handler_that_ends_the_process(void **unused)
{
    (void)unused;
    poison_between_neighbours(&(plan){.kind = TRANSACTIONAL}, 1 + POISON_ENDS);
}

static void p11_an_outside_handler_that_ends_the_process(void **unused)
{
    (void)unused;
    poison_between_neighbours(&(plan){.kind = OUTSIDE}, 1 + POISON_ENDS);
}

static void p11_a_transport_that_ends_the_process(void **unused)
{
    (void)unused;
    poison_between_neighbours(&(plan){.kind = ROUTE}, 1 + POISON_ENDS);
}

static void p11_the_number_of_ends_is_an_option(void **unused)
{
    (void)unused;
    poison_between_neighbours(&(plan){.kind = TRANSACTIONAL, .poison_ends = 1}, 2);
    poison_between_neighbours(&(plan){.kind = ROUTE, .poison_ends = 5}, 6);
}

/* It fails once in order, and ends the process when it is tried again. */
static void p11_a_retry_that_ends_the_process(void **unused)
{
    (void)unused;
    poison_between_neighbours(&(plan){.kind = TRANSACTIONAL, .second_time = true}, 1 + POISON_ENDS);
    poison_between_neighbours(&(plan){.kind = OUTSIDE, .second_time = true}, 1 + POISON_ENDS);
}

/* What is handed over before it at each start does not make its ends forgotten. */
static void p11_an_urgent_event_at_each_start_hides_no_poison(void **unused)
{
    (void)unused;
    static const kind kinds[] = {TRANSACTIONAL, OUTSIDE, ROUTE};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        busbar_event started = event_of("started");
        started.lane = BUSBAR_URGENT;
        plan p = {.kind = kinds[i]};
        int ends = 0;
        fixture f;
        fixture_open(&f);
        publish_some(&f, 1, "poison");
        for (bool closed = false; !closed;) {
            assert_code(f.bus, busbar_publish(f.bus, &started, NULL), BUSBAR_OK);
            leave(&f);
            closed = run_life(&f, &p) == CLOSED;
            ends += !closed;
            assert_true(ends <= 1 + POISON_ENDS);
            enter(&f);
        }
        assert_one_dead(&f, name_of(p.kind), 0);
        assert_int_equal(progress_of(f.bus, name_of(p.kind), BUSBAR_URGENT).delivered, ends + 1);
        fixture_close(&f);
    }
}

static void p11_poison_behind_more_events_than_a_batch_has(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    publish_some(&f, 700, "before");
    publish_some(&f, 1, "poison");
    publish_some(&f, 700, "behind");
    leave(&f);
    int ends = run_lives(&f, &(plan){.kind = TRANSACTIONAL});
    assert_in_range(ends, 1 + POISON_ENDS, 1 + POISON_ENDS + 700 / 256);
    enter(&f);
    assert_one_dead(&f, "h", 1400);
    assert_int_equal(sql_integer(f.db, "SELECT max(value) FROM state"), 1);
    fixture_close(&f);
}

static void p11_a_dead_one_is_revived_and_found_out_again(void **unused)
{
    (void)unused;
    plan p = {.kind = TRANSACTIONAL};
    uint64_t count = 0;
    fixture f;
    fixture_open(&f);
    publish_some(&f, 1, "poison");
    leave(&f);
    assert_int_equal(run_lives(&f, &p), 1 + POISON_ENDS);
    enter(&f);
    busbar_selector selector = {.size = sizeof selector, .consumer = "h", .pattern = "poison"};
    assert_code(f.bus, busbar_act(f.bus, &selector, BUSBAR_ACTION_RETRY, &count), BUSBAR_OK);
    assert_int_equal(count, 1);
    publish_some(&f, 3, "behind");
    leave(&f);
    assert_int_equal(run_lives(&f, &p), 1 + POISON_ENDS);
    enter(&f);
    assert_one_dead(&f, "h", 3);
    fixture_close(&f);
}

/* ---- Innocents ---- */

/* The process is killed again and again, while nothing is in hand or something that got through the time before. */
static void kill_at_random(kind k, int kills)
{
    plan p = {.kind = k};
    uint32_t random = 7;
    int total = kills * (k == ROUTE ? 80 : 30);
    fixture f;
    fixture_open(&f);
    sql(f.db, "BEGIN");
    publish_some(&f, total, "good");
    sql(f.db, "COMMIT");
    leave(&f);
    for (int i = 0; i < kills; i++) {
        random = random * 1664525u + 1013904223u;
        p.kill_step = 20 + (int)(random >> 16) % 40;
        int end = run_life(&f, &p);
        assert_true(end == KILLED || end == CLOSED);
    }
    p.kill_step = 0;
    assert_int_equal(run_life(&f, &p), CLOSED);
    enter(&f);
    busbar_progress progress = progress_of(f.bus, name_of(k), BUSBAR_NORMAL);
    assert_int_equal(progress.dead, 0);
    assert_int_equal(progress.delivered, total);
    assert_int_equal(sql_integer(f.db, "SELECT count(*) FROM state"), total);
    if (k == TRANSACTIONAL)
        assert_int_equal(sql_integer(f.db, "SELECT max(value) FROM state"), 1);
    fixture_close(&f);
}

static void p11_kills_at_random_kill_no_event(void **unused)
{
    (void)unused;
    kill_at_random(TRANSACTIONAL, 200);
    kill_at_random(OUTSIDE, 200);
    kill_at_random(ROUTE, 200);
}

/* After so many lives of this plan, and a last one in which all goes well, nothing is dead. */
static void lives_convict_nobody(const plan *p, int lives, int expected_end, const plan *last)
{
    fixture f;
    fixture_open(&f);
    publish_some(&f, 5, "good");
    leave(&f);
    for (int i = 0; i < lives; i++)
        assert_int_equal(run_life(&f, p), expected_end);
    assert_int_equal(run_lives(&f, last), 0);
    enter(&f);
    assert_int_equal(progress_of(f.bus, "up", BUSBAR_NORMAL).dead, 0);
    assert_int_equal(progress_of(f.bus, "up", BUSBAR_NORMAL).delivered, 5);
    fixture_close(&f);
}

/* A bad end first; after it each life is careful, and closes in order with its message on the way. */
static void p11_a_clean_close_is_no_bad_end(void **unused)
{
    (void)unused;
    plan bad = {.kind = ROUTE, .never_acked = true, .kill_step = 40};
    plan close = {.kind = ROUTE, .never_acked = true, .close_step = 40};
    plan well = {.kind = ROUTE};
    lives_convict_nobody(&close, 10, CLOSED, &well);
    fixture f;
    fixture_open(&f);
    publish_some(&f, 5, "good");
    leave(&f);
    assert_int_equal(run_life(&f, &bad), KILLED);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(run_life(&f, &close), CLOSED);
        assert_int_equal(run_life(&f, &(plan){.kind = ROUTE, .link_breaks = true, .kill_step = 60}), KILLED);
    }
    assert_int_equal(run_life(&f, &well), CLOSED);
    enter(&f);
    assert_int_equal(progress_of(f.bus, "up", BUSBAR_NORMAL).dead, 0);
    fixture_close(&f);
}

/* P6: what had been on its way when the link was lost is not in hand when the power goes. */
static void p11_p6_power_cuts_while_offline_convict_nobody(void **unused)
{
    (void)unused;
    plan offline = {.kind = ROUTE, .link_breaks = true, .kill_step = 60};
    plan well = {.kind = ROUTE};
    lives_convict_nobody(&offline, 12, KILLED, &well);
}

/* What a route has on its way is not to blame for a handler. */
static void p11_a_message_on_its_way_is_not_to_blame_for_a_handler(void **unused)
{
    (void)unused;
    plan p = {.kind = TRANSACTIONAL, .route_too = true};
    fixture f;
    fixture_open(&f);
    publish_some(&f, 3, "good");
    leave(&f);
    for (int i = 0; i < 3; i++) { /* each poison takes its ends, over which the route's first message stays the same */
        enter(&f);
        publish_some(&f, 1, "poison");
        leave(&f);
        for (int end = 0; end <= POISON_ENDS; end++)
            assert_int_equal(run_life(&f, &p), POISONED);
        plan rest = {.kind = TRANSACTIONAL, .route_too = true, .close_step = 20};
        assert_int_equal(run_life(&f, &rest), CLOSED);
    }
    enter(&f);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).dead, 3);
    assert_int_equal(progress_of(f.bus, "up", BUSBAR_NORMAL).dead, 0);
    fixture_close(&f);
}

/* A handler that takes the transaction away fails by its attempts, in a careful life as in any other. */
static void p11_a_handler_that_only_rolls_back_does_not_end_the_process(void **unused)
{
    (void)unused;
    plan kill = {.kind = TRANSACTIONAL, .kill_step = 1};
    plan rolls_back = {.kind = TRANSACTIONAL, .rolls_back = true, .kill_step = 40};
    plan last = {.kind = TRANSACTIONAL, .rolls_back = true};
    fixture f;
    fixture_open(&f);
    publish_some(&f, 2, "good");
    publish_some(&f, 1, "poison");
    publish_some(&f, 2, "good");
    leave(&f);
    assert_int_equal(run_life(&f, &kill), KILLED);
    for (int i = 0; i < 6; i++)
        assert_int_equal(run_life(&f, &rolls_back), KILLED);
    assert_int_equal(run_life(&f, &last), CLOSED);
    assert_int_equal(run_life(&f, &last), CLOSED);
    enter(&f);
    assert_non_null(strstr(sql_text(f.db, "SELECT reason FROM busbar_exception"), "the handler ended the transaction"));
    assert_true(sql_integer(f.db, "SELECT attempts FROM busbar_exception") > POISON_ENDS);
    assert_int_equal(progress_of(f.bus, "h", BUSBAR_NORMAL).delivered, 4);
    assert_int_equal(sql_integer(f.db, "SELECT max(value) FROM state"), 1);
    fixture_close(&f);
}

/* ---- What it costs ---- */

static int commits;

static int count_commit(void *ctx)
{
    (void)ctx;
    commits++;
    return 0;
}

static busbar_verdict just_done(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    (void)bus;
    (void)event;
    (void)reason;
    ++*(int *)ctx;
    return BUSBAR_DONE;
}

static void subscribe_counting(busbar *bus, busbar_delivery delivery, int *count)
{
    busbar_handler handler = {.size = sizeof handler, .name = "h", .fn = just_done, .ctx = count};
    handler.start = BUSBAR_START_BEGINNING;
    handler.delivery = delivery;
    assert_code(bus, busbar_subscribe(bus, &handler, 1), BUSBAR_OK);
}

/* Drains so many new events. How many commits it took; *out_syncs: and syncs. */
static int drain(fixture *f, busbar *bus, sqlite3 *db, int count, int64_t *out_syncs)
{
    sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
    publish_some(&(fixture){.bus = bus}, count, "good");
    sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    commits = 0;
    sync_vfs_reset();
    settle_bus(bus, f->sim, 90);
    *out_syncs = sync_vfs_counts().syncs;
    return commits;
}

/* The same file through the counting VFS. */
static busbar *open_counted(fixture *f, sqlite3 **out_db)
{
    busbar *bus = NULL;
    assert_int_equal(sqlite3_open_v2(f->path, out_db, SQLITE_OPEN_READWRITE, SYNC_VFS_NAME), SQLITE_OK);
    sql(*out_db, "PRAGMA synchronous=NORMAL");
    sqlite3_commit_hook(*out_db, count_commit, NULL);
    assert_int_equal(busbar_open(&bus, *out_db, &f->options, NULL), BUSBAR_OK);
    return bus;
}

static void close_counted(busbar *bus, sqlite3 *db)
{
    assert_code(bus, busbar_close(bus), BUSBAR_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* Careful for a while after a bad end, and then as cheap as ever. */
static void cost(busbar_delivery delivery, int careful_commits, int64_t syncs_expected)
{
    int handled = 0;
    int64_t syncs = 0;
    sqlite3 *db;
    fixture f;
    fixture_open(&f);
    sync_vfs_register();
    busbar *bus = open_counted(&f, &db);
    subscribe_counting(bus, delivery, &handled);
    (void)drain(&f, bus, db, 1, &syncs); /* takes the lease */
    int cheap = drain(&f, bus, db, 300, &syncs);
    assert_in_range(cheap, 1, 4);
    assert_int_equal(syncs, syncs_expected);
    assert_int_equal(sql_integer(db, "SELECT count(*) FROM busbar_consumer WHERE suspect_seq > 0"), 0);
    close_counted(bus, db);

    sql(f.db, "UPDATE busbar_consumer SET owner = 'gone:token', owner_boot = 'another', busy = 1"); /* a bad end */
    bus = open_counted(&f, &db);
    subscribe_counting(bus, delivery, &handled);
    int careful = drain(&f, bus, db, 300, &syncs);
    assert_in_range(careful, careful_commits, careful_commits + 16);
    assert_in_range(syncs, 256, 256 + 16);
    assert_int_equal(drain(&f, bus, db, 300, &syncs), cheap);
    assert_int_equal(syncs, syncs_expected);
    assert_int_equal(handled, 901);
    assert_int_equal(sql_integer(db, "SELECT count(*) FROM busbar_suspect"), 0);
    close_counted(bus, db);
    fixture_close(&f);
}

static void p11_p14_only_a_bad_end_costs_something(void **unused)
{
    (void)unused;
    cost(BUSBAR_TRANSACTIONAL, 256, 0);
    cost(BUSBAR_OUTSIDE, 2 * 256, 1); /* the watermark's */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p11_a_transactional_handler_that_ends_the_process),
        cmocka_unit_test(p11_an_outside_handler_that_ends_the_process),
        cmocka_unit_test(p11_a_transport_that_ends_the_process),
        cmocka_unit_test(p11_the_number_of_ends_is_an_option),
        cmocka_unit_test(p11_a_retry_that_ends_the_process),
        cmocka_unit_test(p11_an_urgent_event_at_each_start_hides_no_poison),
        cmocka_unit_test(p11_poison_behind_more_events_than_a_batch_has),
        cmocka_unit_test(p11_a_dead_one_is_revived_and_found_out_again),
        cmocka_unit_test(p11_kills_at_random_kill_no_event),
        cmocka_unit_test(p11_a_clean_close_is_no_bad_end),
        cmocka_unit_test(p11_p6_power_cuts_while_offline_convict_nobody),
        cmocka_unit_test(p11_a_message_on_its_way_is_not_to_blame_for_a_handler),
        cmocka_unit_test(p11_a_handler_that_only_rolls_back_does_not_end_the_process),
        cmocka_unit_test(p11_p14_only_a_bad_end_costs_something),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
