/* SPDX-License-Identifier: MIT */
/*
 * A program with a copy of SQLite of its own, hidden inside it, beside the one that libbusbar was linked with. Busbar
 * refuses a connection of the wrong copy instead of crashing on it, and works wholly with the routines it is given.
 */
#include "test.h"

#include <busbar/linux.h>
#include <busbar/sqlite.h>
#include <dlfcn.h>
#include <poll.h>
#include <stdatomic.h>

#include "scratch.h"

#define PATIENCE_US 20000000u

static const busbar_sqlite own_routines = BUSBAR_SQLITE_ROUTINES;

typedef struct place {
    char directory[SCRATCH_PATH_SIZE];
    char path[SCRATCH_PATH_SIZE];
    sqlite3 *db; /* of the program's own copy */
    atomic_int handled;
} place;

static void run_sql(sqlite3 *db, const char *text)
{
    char *message = NULL;
    if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", text, message);
}

static int set_up(void **state)
{
    place *it = calloc(1, sizeof *it);
    assert_non_null(it);
    scratch_make(it->directory);
    scratch_path(it->directory, "own.db", it->path);
    assert_int_equal(sqlite3_open(it->path, &it->db), SQLITE_OK);
    sqlite3_busy_timeout(it->db, 20000);
    run_sql(it->db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
                    "CREATE TABLE state (n INTEGER); CREATE TABLE handled (n INTEGER)");
    *state = it;
    return 0;
}

static int tear_down(void **state)
{
    place *it = *state;
    assert_int_equal(sqlite3_close(it->db), SQLITE_OK);
    scratch_remove(it->directory);
    free(it);
    return 0;
}

static int64_t integer(sqlite3 *db, const char *query)
{
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, query, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return value;
}

static busbar_options options_with(const busbar_sqlite *routines)
{
    return (busbar_options){
        .size = sizeof(busbar_options), .port = busbar_linux_port(), .sqlite = routines, .source = "urn:e2e:own"};
}

static busbar *open_bus(sqlite3 *db)
{
    const busbar_options options = options_with(&own_routines);
    busbar_error error = {.code = 0};
    busbar *bus = NULL;
    if (busbar_open(&bus, db, &options, &error) != BUSBAR_OK)
        fail_msg("%s", error.text);
    return bus;
}

static void publish(busbar *bus, const char *type)
{
    const busbar_event event = {.size = sizeof event, .type = type, .data = "{\"n\":1}", .data_size_bytes = 7};
    assert_int_equal(busbar_publish(bus, &event, NULL), BUSBAR_OK);
}

/* ---- Refusing ---------------------------------------------------------------------------------------------------------- */

static void assert_refused(sqlite3 *db, const busbar_sqlite *routines)
{
    const busbar_options options = options_with(routines);
    busbar_error error = {.code = 0};
    busbar *bus = NULL;
    assert_int_equal(busbar_open(&bus, db, &options, &error), BUSBAR_ECOPY);
    assert_null(bus);
    assert_int_equal(error.code, BUSBAR_ECOPY);
    assert_non_null(strstr(error.text, "options.sqlite"));
}

static void a_connection_of_the_programs_copy_is_refused_without_its_routines(void **state)
{
    place *it = *state;
    assert_refused(it->db, NULL);
    run_sql(it->db, "INSERT INTO state VALUES (1)"); /* and is as good as before */
    assert_refused(it->db, NULL);
    busbar *bus = open_bus(it->db);
    assert_int_equal(busbar_close(bus), BUSBAR_OK);
}

static void a_connection_of_the_other_copy_is_refused_with_the_programs_routines(void **state)
{
    (void)state;
    void *library = dlopen("libsqlite3.so.0", RTLD_NOW);
    assert_non_null(library);
    int (*open_there)(const char *, sqlite3 **);
    int (*close_there)(sqlite3 *);
    *(void **)&open_there = dlsym(library, "sqlite3_open");
    *(void **)&close_there = dlsym(library, "sqlite3_close");
    assert_true(open_there != NULL && close_there != NULL && open_there != sqlite3_open);
    sqlite3 *db = NULL;
    assert_int_equal(open_there(":memory:", &db), SQLITE_OK);
    assert_refused(db, &own_routines);
    assert_int_equal(close_there(db), SQLITE_OK);
    dlclose(library);
}

static void a_table_of_another_size_is_refused(void **state)
{
    place *it = *state;
    busbar_sqlite routines = own_routines;
    routines.size = sizeof routines / 2;
    const busbar_options options = options_with(&routines);
    busbar *bus = NULL;
    assert_int_equal(busbar_open(&bus, it->db, &options, NULL), BUSBAR_EINVAL);
    assert_null(bus);
}

/* ---- Working ----------------------------------------------------------------------------------------------------------- */

static busbar_verdict handle(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    place *it = ctx;
    (void)reason;
    assert_string_equal(event->type, "pump.started");
    run_sql(it->db, "INSERT INTO handled VALUES (1)");
    publish(bus, "pump.noted");
    atomic_fetch_add(&it->handled, 1);
    return BUSBAR_DONE;
}

static busbar_handler handler_of(place *it)
{
    return (busbar_handler){.size = sizeof(busbar_handler),
                            .name = "noter",
                            .pattern = "pump.started",
                            .fn = handle,
                            .ctx = it,
                            .start = BUSBAR_START_BEGINNING};
}

static void step_until_idle(busbar *bus)
{
    uint64_t deadline_us = scratch_now_us() + PATIENCE_US;
    uint64_t wait_us = 0;
    while (wait_us == 0) {
        assert_int_equal(busbar_step(bus, 10000, &wait_us), BUSBAR_OK);
        assert_true(scratch_now_us() < deadline_us);
    }
}

static int count_one(const busbar_record *event, const busbar_standing *standing, void *ctx)
{
    (void)standing;
    assert_true(event->data_is_json);
    ++*(int *)ctx;
    return 0;
}

static int count_consumer(const busbar_consumer_status *consumer, void *ctx)
{
    assert_string_equal(consumer->name, "noter");
    ++*(int *)ctx;
    return 0;
}

static void publishing_handling_and_listing_work_with_the_programs_routines(void **state)
{
    place *it = *state;
    busbar *bus = open_bus(it->db);
    const busbar_handler handler = handler_of(it);
    const busbar_query everything = {.size = sizeof everything};
    busbar_status status = {.size = sizeof status};
    int count = 0;
    assert_int_equal(busbar_subscribe(bus, &handler, 1), BUSBAR_OK);
    run_sql(it->db, "BEGIN; INSERT INTO state VALUES (1)");
    publish(bus, "pump.started");
    run_sql(it->db, "ROLLBACK; BEGIN; INSERT INTO state VALUES (1)");
    publish(bus, "pump.started");
    run_sql(it->db, "COMMIT");
    step_until_idle(bus);
    assert_int_equal(atomic_load(&it->handled), 1);
    assert_int_equal(integer(it->db, "SELECT count(*) FROM handled"), 1);
    assert_int_equal(integer(it->db, "SELECT count(*) FROM state"), 1);
    assert_int_equal(busbar_list(bus, &everything, count_one, &count), BUSBAR_OK);
    assert_int_equal(count, 2);
    assert_int_equal(busbar_status_get(bus, &status), BUSBAR_OK);
    assert_int_equal(status.head[BUSBAR_NORMAL], 2);
    count = 0;
    assert_int_equal(busbar_consumer_list(bus, count_consumer, &count), BUSBAR_OK);
    assert_int_equal(count, 1);
    assert_int_equal(busbar_close(bus), BUSBAR_OK);
}

static void mistakes_are_told_through_the_programs_routines(void **state)
{
    place *it = *state;
    busbar *bus = open_bus(it->db);
    busbar_error error = {.code = 0};
    publish(bus, "pump.started");
    run_sql(it->db, "PRAGMA query_only=ON");
    const busbar_event event = {.size = sizeof event, .type = "pump.started"};
    assert_int_equal(busbar_publish(bus, &event, NULL), BUSBAR_EREADONLY);
    busbar_error_get(bus, &error);
    assert_int_equal(error.code, BUSBAR_EREADONLY);
    run_sql(it->db, "PRAGMA query_only=OFF");
    publish(bus, "pump.started");
    assert_int_equal(busbar_close(bus), BUSBAR_OK);
}

/* ---- With a runner ----------------------------------------------------------------------------------------------------- */

static sqlite3 *open_own(void *ctx, busbar_error *out_error)
{
    const place *it = ctx;
    sqlite3 *db = NULL;
    (void)out_error;
    assert_int_equal(sqlite3_open(it->path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 20000);
    run_sql(db, "PRAGMA synchronous=NORMAL");
    return db;
}

static void close_own(void *ctx, sqlite3 *db)
{
    (void)ctx;
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static busbar_verdict count_only(busbar *bus, const busbar_record *event, busbar_reason *reason, void *ctx)
{
    place *it = ctx;
    (void)bus;
    (void)event;
    (void)reason;
    atomic_fetch_add(&it->handled, 1);
    return BUSBAR_DONE;
}

static int subscribe(busbar *bus, void *ctx)
{
    busbar_handler handler = handler_of(ctx);
    handler.fn = count_only;
    return busbar_subscribe(bus, &handler, 1);
}

static void a_runner_works_with_the_programs_routines_and_is_refused_without(void **state)
{
    place *it = *state;
    busbar_options bus_options = options_with(NULL);
    const busbar_runner_options options = {.size = sizeof options,
                                           .open = open_own,
                                           .close = close_own,
                                           .bus = &bus_options,
                                           .setup = subscribe,
                                           .ctx = it};
    busbar_runner *runner = NULL;
    assert_int_equal(busbar_runner_start(&runner, &options, NULL), BUSBAR_ECOPY);
    assert_null(runner);
    bus_options.sqlite = &own_routines;
    assert_int_equal(busbar_runner_start(&runner, &options, NULL), BUSBAR_OK);
    busbar *bus = open_bus(it->db);
    publish(bus, "pump.started");
    uint64_t deadline_us = scratch_now_us() + PATIENCE_US;
    while (atomic_load(&it->handled) == 0) {
        assert_true(scratch_now_us() < deadline_us);
        poll(NULL, 0, 1); /* between two looks: the handler announces nothing */
    }
    assert_int_equal(busbar_close(bus), BUSBAR_OK);
    assert_int_equal(busbar_runner_stop(runner), BUSBAR_OK);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test_setup_teardown(a_connection_of_the_programs_copy_is_refused_without_its_routines, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_connection_of_the_other_copy_is_refused_with_the_programs_routines, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_table_of_another_size_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(publishing_handling_and_listing_work_with_the_programs_routines, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(mistakes_are_told_through_the_programs_routines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_runner_works_with_the_programs_routines_and_is_refused_without, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(cases, NULL, NULL);
}
