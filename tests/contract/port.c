/* SPDX-License-Identifier: MIT */
/*
 * What every port must do. The promises that stand on it: P5 (identities, random bytes) and P10 (monotonic time, a wall
 * clock that says how far it can be believed).
 */
#include "test.h"

#include "port.h"

/* The coarsest clock that a port may have. */
#define RESOLUTION_US 10000u

#define GUARD 0x5a

typedef struct subject {
    const port_fixture *fixture;
    const busbar_port *port;
    void *machine;
} subject;

static subject begin(void **state)
{
    subject it = {.fixture = *state};
    it.port = it.fixture->open(&it.machine);
    assert_non_null(it.port);
    return it;
}

static void end(const subject *it)
{
    it->fixture->close(it->machine);
}

static bool is_identity(const char *text)
{
    if (*text == '\0' || strlen(text) >= BUSBAR_IDENTITY_SIZE)
        return false;
    for (; *text != '\0'; text++)
        if (*text <= ' ' || *text > '~' || strchr("\"'\\", *text) != NULL)
            return false;
    return true;
}

static void every_required_slot_is_filled(void **state)
{
    subject it = begin(state);
    assert_int_equal(it.port->version, BUSBAR_PORT_VERSION);
    assert_true(it.port->mono_us != NULL && it.port->wall_ms != NULL && it.port->boot_id != NULL);
    assert_true(it.port->device_id != NULL && it.port->random != NULL);
    assert_true((it.port->worker_id != NULL) == (it.port->worker_gone != NULL));
    const busbar_wake_api *wake = it.port->wake;
    if (wake != NULL) {
        assert_true(wake->open != NULL && wake->fd != NULL && wake->watch != NULL);
        assert_true(wake->unwatch != NULL && wake->clear != NULL && wake->close != NULL);
    }
    end(&it);
}

/* ---- Clocks (P10) ------------------------------------------------------------------------------------------------ */

static void monotonic_time_never_goes_back(void **state)
{
    subject it = begin(state);
    uint64_t before = it.port->mono_us(it.port->ctx);
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t now = it.port->mono_us(it.port->ctx);
        assert_true(now >= before);
        before = now;
        if (i % 5000 == 0)
            it.fixture->pass(it.machine, 1000);
    }
    end(&it);
}

/* The upper bound is wide enough for a busy machine, and catches nanoseconds all the same. */
static void monotonic_time_counts_microseconds(void **state)
{
    subject it = begin(state);
    uint64_t before = it.port->mono_us(it.port->ctx);
    it.fixture->pass(it.machine, 100000);
    uint64_t passed = it.port->mono_us(it.port->ctx) - before;
    assert_in_range(passed, 100000 - RESOLUTION_US, 20000000);
    end(&it);
}

static void monotonic_time_counts_suspension(void **state)
{
    subject it = begin(state);
    uint64_t before = it.port->mono_us(it.port->ctx);
    int answer = it.fixture->suspend != NULL ? it.fixture->suspend(it.machine, 3600000000u) : -1;
    uint64_t passed = it.port->mono_us(it.port->ctx) - before;
    end(&it);
    if (answer != 0) {
        print_message("this platform cannot be suspended by a test\n");
        skip();
    }
    assert_true(passed >= 3600000000u - RESOLUTION_US);
}

static void wall_time_says_how_far_it_can_be_believed(void **state)
{
    subject it = begin(state);
    for (unsigned i = 0; i < 100; i++) {
        int64_t now_ms = 0;
        busbar_clock_quality quality = it.port->wall_ms(it.port->ctx, &now_ms);
        assert_in_range(quality, BUSBAR_CLOCK_UNKNOWN, BUSBAR_CLOCK_TRUSTED);
        /* A believable time lies after this was written and before milliseconds could be mistaken for microseconds. */
        if (quality != BUSBAR_CLOCK_UNKNOWN)
            assert_true(now_ms > INT64_C(1704067200000) && now_ms < INT64_C(100000000000000));
    }
    end(&it);
}

static void wall_time_counts_milliseconds(void **state)
{
    subject it = begin(state);
    int64_t before_ms = 0;
    int64_t after_ms = 0;
    busbar_clock_quality before = it.port->wall_ms(it.port->ctx, &before_ms);
    it.fixture->pass(it.machine, 100000);
    busbar_clock_quality after = it.port->wall_ms(it.port->ctx, &after_ms);
    end(&it);
    if (before != BUSBAR_CLOCK_TRUSTED || after != BUSBAR_CLOCK_TRUSTED) {
        print_message("this machine has no disciplined clock\n");
        skip();
    }
    assert_in_range(after_ms - before_ms, 90, 20000);
}

/* ---- Identities (P5) --------------------------------------------------------------------------------------------- */

typedef int identity_fn(void *ctx, char out[BUSBAR_IDENTITY_SIZE]);

/* Asks twice, and looks at the bytes behind the buffer. Returns what the function returned. */
static int ask(const subject *it, identity_fn *fn, char out[BUSBAR_IDENTITY_SIZE])
{
    char first[BUSBAR_IDENTITY_SIZE + 8];
    char second[BUSBAR_IDENTITY_SIZE + 8];
    memset(first, GUARD, sizeof first);
    memset(second, GUARD, sizeof second);
    int answer = fn(it->port->ctx, first);
    assert_true(answer == 0 || answer == -1);
    assert_int_equal(fn(it->port->ctx, second), answer);
    for (size_t i = BUSBAR_IDENTITY_SIZE; i < sizeof first; i++)
        assert_true(first[i] == GUARD && second[i] == GUARD);
    if (answer != 0)
        return answer;
    assert_non_null(memchr(first, '\0', BUSBAR_IDENTITY_SIZE));
    assert_string_equal(first, second);
    assert_true(is_identity(first));
    memcpy(out, first, BUSBAR_IDENTITY_SIZE);
    return 0;
}

static void boot_identity_is_stable_and_printable(void **state)
{
    subject it = begin(state);
    char id[BUSBAR_IDENTITY_SIZE];
    int answer = ask(&it, it.port->boot_id, id);
    end(&it);
    if (answer != 0) {
        print_message("this port has no boot identity\n");
        skip();
    }
}

static void boot_identity_changes_with_a_restart(void **state)
{
    subject it = begin(state);
    char before[BUSBAR_IDENTITY_SIZE];
    char after[BUSBAR_IDENTITY_SIZE];
    int answer = ask(&it, it.port->boot_id, before);
    if (answer == 0)
        answer = it.fixture->reboot != NULL ? it.fixture->reboot(it.machine) : -1;
    if (answer == 0)
        answer = ask(&it, it.port->boot_id, after);
    end(&it);
    if (answer != 0) {
        print_message("this machine cannot be restarted by a test, or has no boot identity\n");
        skip();
    }
    assert_string_not_equal(before, after);
}

static void device_identity_is_stable_and_printable(void **state)
{
    subject it = begin(state);
    char before[BUSBAR_IDENTITY_SIZE];
    char after[BUSBAR_IDENTITY_SIZE];
    int answer = ask(&it, it.port->device_id, before);
    if (answer == 0 && it.fixture->reboot != NULL && it.fixture->reboot(it.machine) == 0) {
        assert_int_equal(ask(&it, it.port->device_id, after), 0);
        assert_string_equal(before, after);
    }
    end(&it);
    if (answer != 0) {
        print_message("this port has no device identity\n");
        skip();
    }
}

/* ---- Random bytes (P5) ------------------------------------------------------------------------------------------- */

static void random_fills_every_size_and_no_more(void **state)
{
    static const size_t sizes[] = {0, 1, 7, 8, 9, 31, 256, 257, 4096};
    subject it = begin(state);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        unsigned char bytes[4096 + 8];
        memset(bytes, GUARD, sizeof bytes);
        assert_int_equal(it.port->random(it.port->ctx, bytes, sizes[i]), 0);
        for (size_t at = sizes[i]; at < sizeof bytes; at++)
            assert_int_equal(bytes[at], GUARD);
    }
    end(&it);
}

static void random_differs_in_every_place(void **state)
{
    enum { SIZE = 257, DRAWS = 16 };
    subject it = begin(state);
    unsigned char first[SIZE];
    unsigned char again[SIZE];
    bool changed[SIZE] = {false};
    assert_int_equal(it.port->random(it.port->ctx, first, SIZE), 0);
    for (unsigned draw = 0; draw < DRAWS; draw++) {
        assert_int_equal(it.port->random(it.port->ctx, again, SIZE), 0);
        assert_memory_not_equal(first, again, 16);
        for (unsigned i = 0; i < SIZE; i++)
            changed[i] |= first[i] != again[i];
    }
    for (unsigned i = 0; i < SIZE; i++)
        assert_true(changed[i]);
    end(&it);
}

static void random_without_entropy_fails_cleanly(void **state)
{
    subject it = begin(state);
    unsigned char bytes[32] = {0};
    int broken = it.fixture->break_random != NULL ? it.fixture->break_random(it.machine) : -1;
    int answer = broken == 0 ? it.port->random(it.port->ctx, bytes, sizeof bytes) : 0;
    end(&it);
    if (broken != 0) {
        print_message("this port's random source cannot be made to fail\n");
        skip();
    }
    assert_int_equal(answer, -1);
}

/* ---- Workers ----------------------------------------------------------------------------------------------------- */

static void worker_identity_is_stable_and_alive(void **state)
{
    subject it = begin(state);
    char id[BUSBAR_IDENTITY_SIZE];
    int answer = it.port->worker_id != NULL ? ask(&it, it.port->worker_id, id) : -1;
    if (answer == 0)
        assert_false(it.port->worker_gone(it.port->ctx, id));
    end(&it);
    if (answer != 0) {
        print_message("this port does not name its workers\n");
        skip();
    }
}

/* Two workers at once are worse than a lease waited for: whoever is not known is not gone. */
static void an_unknown_worker_is_not_gone(void **state)
{
    static const char *const strangers[] = {"",
                                            "x",
                                            "worker-of-another-port",
                                            "0",
                                            "-1",
                                            "linux-",
                                            "linux-1-2-3-4-5",
                                            "%s%s%s%n",
                                            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    subject it = begin(state);
    bool has_workers = it.port->worker_gone != NULL;
    for (size_t i = 0; has_workers && i < sizeof strangers / sizeof strangers[0]; i++)
        assert_false(it.port->worker_gone(it.port->ctx, strangers[i]));
    end(&it);
    if (!has_workers) {
        print_message("this port does not name its workers\n");
        skip();
    }
}

static void a_killed_worker_is_gone(void **state)
{
    subject it = begin(state);
    char id[BUSBAR_IDENTITY_SIZE];
    bool possible = it.port->worker_gone != NULL && it.fixture->dead_worker != NULL;
    int answer = possible ? it.fixture->dead_worker(it.machine, id) : -1;
    if (answer == 0) {
        assert_true(is_identity(id));
        assert_true(it.port->worker_gone(it.port->ctx, id));
    }
    end(&it);
    if (answer != 0) {
        print_message("this port does not name its workers\n");
        skip();
    }
}

static void another_running_worker_is_not_gone(void **state)
{
    subject it = begin(state);
    char id[BUSBAR_IDENTITY_SIZE];
    char own[BUSBAR_IDENTITY_SIZE];
    bool possible = it.port->worker_gone != NULL && it.fixture->live_worker != NULL;
    int answer = possible ? it.fixture->live_worker(it.machine, id) : -1;
    if (answer == 0) {
        assert_int_equal(it.port->worker_id(it.port->ctx, own), 0);
        assert_string_not_equal(id, own);
        assert_false(it.port->worker_gone(it.port->ctx, id));
    }
    end(&it);
    if (answer != 0) {
        print_message("this port does not name its workers\n");
        skip();
    }
}

int port_contract_run(const port_fixture *fixture)
{
    struct CMUnitTest tests[] = {
        cmocka_unit_test(every_required_slot_is_filled),
        cmocka_unit_test(monotonic_time_never_goes_back),
        cmocka_unit_test(monotonic_time_counts_microseconds),
        cmocka_unit_test(monotonic_time_counts_suspension),
        cmocka_unit_test(wall_time_says_how_far_it_can_be_believed),
        cmocka_unit_test(wall_time_counts_milliseconds),
        cmocka_unit_test(boot_identity_is_stable_and_printable),
        cmocka_unit_test(boot_identity_changes_with_a_restart),
        cmocka_unit_test(device_identity_is_stable_and_printable),
        cmocka_unit_test(random_fills_every_size_and_no_more),
        cmocka_unit_test(random_differs_in_every_place),
        cmocka_unit_test(random_without_entropy_fails_cleanly),
        cmocka_unit_test(worker_identity_is_stable_and_alive),
        cmocka_unit_test(an_unknown_worker_is_not_gone),
        cmocka_unit_test(a_killed_worker_is_gone),
        cmocka_unit_test(another_running_worker_is_not_gone),
    };
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
        tests[i].initial_state = (void *)(uintptr_t)fixture;
    return cmocka_run_group_tests_name(fixture->name, tests, NULL, NULL);
}
