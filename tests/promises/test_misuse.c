/* SPDX-License-Identifier: MIT */
/* Mistakes of the caller: each public function says so with its code, and leaves its outputs alone. */
#include "fixture.h"

#include <busbar/loopback.h>
#include <busbar/sqlite.h>

static void refused(fixture *f, busbar_options options, int expected)
{
    busbar *bus = NULL;
    busbar_error error = {.code = 0};
    assert_int_equal(busbar_open(&bus, f->db, &options, &error), expected);
    assert_int_equal(error.code, expected);
    assert_true(strlen(error.text) > 10);
    assert_null(bus);
    assert_int_equal(busbar_open(&bus, f->db, &options, NULL), expected); /* the detail is optional */
}

static int old_version(void)
{
    return 3036000;
}

static sqlite3_vfs *no_vfs(const char *name)
{
    (void)name;
    return NULL;
}

static void opening(void **unused)
{
    (void)unused;
    busbar_sqlite routines = BUSBAR_SQLITE_ROUTINES;
    fixture f;
    fixture_open(&f);
    busbar_options options = f.options;
    options.max_data_bytes = (size_t)BUSBAR_DATA_MAX + 1;
    refused(&f, options, BUSBAR_EINVAL);
    options = f.options;
    options.source = "not a uri";
    refused(&f, options, BUSBAR_ESOURCE);
    options = f.options;
    options.sqlite = &routines;
    routines.size--;
    refused(&f, options, BUSBAR_EINVAL);
    routines.size++;
    routines.libversion_number = old_version;
    refused(&f, options, BUSBAR_EOLDSQLITE);
    routines.libversion_number = sqlite3_libversion_number;
    routines.vfs_find = no_vfs; /* a copy of SQLite that does not know the connection's VFS has not opened it */
    refused(&f, options, BUSBAR_ECOPY);
    fixture_close(&f);
}

static void ports_that_lack_something(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    busbar_port whole = *f.options.port;
    busbar_port port = whole;
    f.options.port = &port;
    port.version = 0;
    refused(&f, f.options, BUSBAR_EPORT);
    port = whole, port.mono_us = NULL;
    refused(&f, f.options, BUSBAR_EPORT);
    port = whole, port.wall_ms = NULL;
    refused(&f, f.options, BUSBAR_EPORT);
    port = whole, port.boot_id = NULL;
    refused(&f, f.options, BUSBAR_EPORT);
    port = whole, port.device_id = NULL;
    refused(&f, f.options, BUSBAR_EPORT);
    port = whole, port.random = NULL;
    refused(&f, f.options, BUSBAR_EPORT);
    f.options.port = NULL;
    refused(&f, f.options, BUSBAR_EPORT);
    fixture_close(&f);
}

static busbar_verdict done(busbar *bus, const busbar_record *record, busbar_reason *reason, void *ctx)
{
    (void)bus, (void)record, (void)reason, (void)ctx;
    return BUSBAR_DONE;
}

static int see(const busbar_record *event, const busbar_standing *standing, void *ctx)
{
    (void)event, (void)standing, (void)ctx;
    return 0;
}

static int see_consumer(const busbar_consumer_status *consumer, void *ctx)
{
    (void)consumer, (void)ctx;
    return 0;
}

static void no_handle(void **unused)
{
    (void)unused;
    const busbar_handler handler = {.size = sizeof handler, .name = "x", .fn = done};
    const busbar_query query = {.size = sizeof query};
    const busbar_event event = event_of("a.b");
    const busbar_kind_desc desc = {.size = sizeof desc, .type = "a.b"};
    const busbar_route route = {.size = sizeof route, .name = "x", .topic = "t"};
    const busbar_transport nothing = {.api = NULL};
    busbar_kind kind;
    busbar_status status = {.size = sizeof status};
    uint64_t wait_us = 7;
    busbar_error error = {.code = 7};
    assert_int_equal(busbar_close(NULL), BUSBAR_OK);
    assert_int_equal(busbar_migrate(NULL), BUSBAR_EINVAL);
    assert_int_equal(busbar_publish(NULL, &event, NULL), BUSBAR_EINVAL);
    assert_int_equal(busbar_kind_register(NULL, &desc, &kind), BUSBAR_EINVAL);
    assert_int_equal(busbar_subscribe(NULL, &handler, 1), BUSBAR_EINVAL);
    assert_int_equal(busbar_route_add(NULL, &route, nothing), BUSBAR_EINVAL);
    assert_int_equal(busbar_consumer_remove(NULL, "x"), BUSBAR_EINVAL);
    assert_int_equal(busbar_step(NULL, 0, &wait_us), BUSBAR_EINVAL);
    assert_int_equal(wait_us, 7);
    assert_int_equal(busbar_fd(NULL), BUSBAR_EINVAL);
    assert_int_equal(busbar_list(NULL, &query, see, NULL), BUSBAR_EINVAL);
    assert_int_equal(busbar_show(NULL, "x", see, NULL, NULL), BUSBAR_EINVAL);
    assert_int_equal(busbar_status_get(NULL, &status), BUSBAR_EINVAL);
    assert_int_equal(busbar_consumer_list(NULL, see_consumer, NULL), BUSBAR_EINVAL);
    busbar_error_get(NULL, &error);
    assert_int_equal(error.code, 7);
}

static void no_argument(void **unused)
{
    (void)unused;
    fixture f;
    fixture_open(&f);
    busbar_query query = {.size = sizeof query};
    busbar_kind_desc desc = {.size = sizeof desc, .type = "a.b"};
    busbar_kind kind = {.slot = 7};
    busbar_status status = {.size = 1};
    busbar_event event = event_of("a.b");
    assert_code(f.bus, busbar_publish(f.bus, NULL, NULL), BUSBAR_EINVAL);
    event.size--;
    assert_code(f.bus, busbar_publish(f.bus, &event, NULL), BUSBAR_EINVAL);
    assert_code(f.bus, busbar_kind_register(f.bus, NULL, &kind), BUSBAR_EINVAL);
    assert_code(f.bus, busbar_kind_register(f.bus, &desc, NULL), BUSBAR_EINVAL);
    desc.size--;
    assert_code(f.bus, busbar_kind_register(f.bus, &desc, &kind), BUSBAR_EINVAL);
    desc.size++;
    desc.dataschema = "not absolute";
    assert_code(f.bus, busbar_kind_register(f.bus, &desc, &kind), BUSBAR_EDATASCHEMA);
    assert_int_equal(kind.slot, 7);
    assert_code(f.bus, busbar_consumer_remove(f.bus, NULL), BUSBAR_EINVAL);
    assert_code(f.bus, busbar_step(f.bus, 0, NULL), BUSBAR_EINVAL);
    assert_code(f.bus, busbar_list(f.bus, NULL, see, NULL), BUSBAR_EINVAL);
    assert_code(f.bus, busbar_list(f.bus, &query, NULL, NULL), BUSBAR_EINVAL);
    assert_code(f.bus, busbar_show(f.bus, NULL, see, NULL, NULL), BUSBAR_EINVAL);
    assert_code(f.bus, busbar_show(f.bus, "x", NULL, NULL, NULL), BUSBAR_EINVAL);
    assert_code(f.bus, busbar_status_get(f.bus, NULL), BUSBAR_EINVAL);
    assert_code(f.bus, busbar_status_get(f.bus, &status), BUSBAR_EINVAL);
    assert_code(f.bus, busbar_consumer_list(f.bus, NULL, NULL), BUSBAR_EINVAL);
    busbar_error_get(f.bus, NULL);
    fixture_close(&f);
}

/* A transport belongs to the bus also when the route is refused: it is stopped. */
static void routes(void **unused)
{
    (void)unused;
    const busbar_route good = {.size = sizeof good, .name = "up", .topic = "t"};
    fixture f;
    fixture_open(&f);
    busbar_route cases[9];
    for (size_t i = 0; i < 9; i++)
        cases[i] = good;
    cases[0].size--;
    cases[1].qos = (busbar_qos)9;
    cases[2].start = (busbar_start)9;
    cases[3].format = (busbar_format)9;
    cases[4].window = UINT32_MAX;
    cases[5].ack_group = UINT32_MAX;
    cases[6].topic = NULL;
    cases[7].name = NULL;
    cases[8].pattern = "a..b";
    const int codes[9] = {BUSBAR_EINVAL, BUSBAR_EINVAL, BUSBAR_EINVAL, BUSBAR_EINVAL,  BUSBAR_EINVAL,
                          BUSBAR_EINVAL, BUSBAR_ETOPIC, BUSBAR_ENAME,  BUSBAR_EPATTERN};
    const busbar_loopback_options options = {.size = sizeof options};
    busbar_transport transport;
    for (size_t i = 0; i < 9; i++) {
        assert_int_equal(busbar_loopback_new(&options, &transport), BUSBAR_OK);
        assert_code(f.bus, busbar_route_add(f.bus, &cases[i], transport), codes[i]);
    }
    assert_int_equal(busbar_loopback_new(&options, &transport), BUSBAR_OK);
    assert_code(f.bus, busbar_route_add(f.bus, NULL, transport), BUSBAR_EINVAL);
    transport.api = NULL;
    assert_code(f.bus, busbar_route_add(f.bus, &good, transport), BUSBAR_EINVAL);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening),   cmocka_unit_test(ports_that_lack_something),
        cmocka_unit_test(no_handle), cmocka_unit_test(no_argument),
        cmocka_unit_test(routes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
