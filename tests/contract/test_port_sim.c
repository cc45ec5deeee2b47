/* SPDX-License-Identifier: MIT */
/* The scripted platform against the contract of ports, and against its own script (busbar/sim.h). */
#include "test.h"

#include <busbar/sim.h>

#include "port.h"

/* ---- The contract ------------------------------------------------------------------------------------------------ */

static const busbar_port *open_sim(void **out_machine)
{
    busbar_sim *sim = busbar_sim_new(7);
    *out_machine = sim;
    return sim != NULL ? busbar_sim_port(sim) : NULL;
}

static void close_sim(void *machine)
{
    busbar_sim_free(machine);
}

static void pass(void *machine, uint64_t time_us)
{
    busbar_sim_advance(machine, time_us);
}

static int suspend(void *machine, uint64_t time_us)
{
    busbar_sim_suspend(machine, time_us);
    return 0;
}

static int reboot(void *machine)
{
    busbar_sim_reboot(machine);
    return 0;
}

static int break_random(void *machine)
{
    busbar_sim_fail(machine, BUSBAR_SIM_CALL_RANDOM, 1);
    return 0;
}

static int dead_worker(void *machine, char out_id[BUSBAR_IDENTITY_SIZE])
{
    strcpy(out_id, "worker-2");
    return busbar_sim_worker_gone(machine, out_id) == BUSBAR_OK ? 0 : -1;
}

static int live_worker(void *machine, char out_id[BUSBAR_IDENTITY_SIZE])
{
    strcpy(out_id, "worker-3");
    return busbar_sim_worker_gone(machine, "worker-2") == BUSBAR_OK ? 0 : -1;
}

static const port_fixture sim_fixture = {
    .name = "port contract: sim",
    .open = open_sim,
    .close = close_sim,
    .pass = pass,
    .suspend = suspend,
    .reboot = reboot,
    .break_random = break_random,
    .dead_worker = dead_worker,
    .live_worker = live_worker,
};

/* ---- The script -------------------------------------------------------------------------------------------------- */

static int set_up(void **state)
{
    *state = busbar_sim_new(1);
    return *state != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    busbar_sim_free(*state);
    return 0;
}

static uint64_t mono_us(busbar_sim *sim)
{
    const busbar_port *port = busbar_sim_port(sim);
    return port->mono_us(port->ctx);
}

static busbar_clock_quality wall_ms(busbar_sim *sim, int64_t *out_ms)
{
    const busbar_port *port = busbar_sim_port(sim);
    return port->wall_ms(port->ctx, out_ms);
}

static uint64_t draw(busbar_sim *sim)
{
    const busbar_port *port = busbar_sim_port(sim);
    unsigned char bytes[8];
    uint64_t word = 0;
    assert_int_equal(port->random(port->ctx, bytes, sizeof bytes), 0);
    for (unsigned i = 0; i < 8; i++)
        word |= (uint64_t)bytes[i] << 8 * i;
    return word;
}

static void equal_seeds_give_equal_machines(void **state)
{
    (void)state;
    busbar_sim *a = busbar_sim_new(99);
    busbar_sim *b = busbar_sim_new(99);
    busbar_sim *c = busbar_sim_new(100);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(mono_us(a), mono_us(b));
        assert_int_not_equal(mono_us(a), mono_us(c));
        uint64_t drawn = draw(a);
        assert_int_equal(draw(b), drawn);
        assert_int_not_equal(draw(c), drawn);
        busbar_sim_reboot(a);
        busbar_sim_reboot(b);
        busbar_sim_reboot(c);
    }
    busbar_sim_free(a);
    busbar_sim_free(b);
    busbar_sim_free(c);
}

/* The published first outputs of SplitMix64 with seed 1: the sequence is documented, so tests may rely on it. */
static void random_is_the_documented_sequence(void **state)
{
    busbar_sim *sim = *state;
    assert_true(draw(sim) == UINT64_C(0x910a2dec89025cc1));
    assert_true(draw(sim) == UINT64_C(0xbeeb8da1658eec67));
    assert_true(draw(sim) == UINT64_C(0xf893a2eefb32555e));
}

static void time_stands_still_unless_moved(void **state)
{
    busbar_sim *sim = *state;
    uint64_t mono = mono_us(sim);
    int64_t before = 0;
    int64_t after = 0;
    assert_int_equal(wall_ms(sim, &before), BUSBAR_CLOCK_TRUSTED);
    assert_true(before == BUSBAR_SIM_WALL_MS);
    assert_int_equal(mono_us(sim), mono);
    busbar_sim_advance(sim, 2500);
    assert_int_equal(mono_us(sim), mono + 2500);
    assert_int_equal(wall_ms(sim, &after), BUSBAR_CLOCK_TRUSTED);
    assert_true(after == before + 2);
}

static void ticks_make_reading_take_time(void **state)
{
    busbar_sim *sim = *state;
    busbar_sim_tick(sim, 10);
    uint64_t first = mono_us(sim);
    assert_int_equal(mono_us(sim), first + 10);
    assert_int_equal(mono_us(sim), first + 20);
}

static void a_coarse_clock_rounds_down_and_never_goes_back(void **state)
{
    busbar_sim *sim = *state;
    uint64_t fine = mono_us(sim);
    busbar_sim_resolution(sim, 10000);
    assert_true(mono_us(sim) >= fine);
    busbar_sim_advance(sim, 20000);
    uint64_t coarse = mono_us(sim);
    assert_int_equal(coarse % 10000, 0);
    busbar_sim_advance(sim, 9999 - (fine + 20000 - coarse));
    assert_int_equal(mono_us(sim), coarse);
    busbar_sim_advance(sim, 1);
    assert_int_equal(mono_us(sim), coarse + 10000);
}

static void the_wall_clock_does_what_the_script_says(void **state)
{
    busbar_sim *sim = *state;
    int64_t now = 0;
    busbar_sim_wall_quality(sim, BUSBAR_CLOCK_UNKNOWN);
    assert_int_equal(wall_ms(sim, &now), BUSBAR_CLOCK_UNKNOWN);
    assert_true(now < 0);
    busbar_sim_wall_set(sim, 1800000000000, BUSBAR_CLOCK_ESTIMATED);
    busbar_sim_wall_step(sim, -3600000);
    busbar_sim_advance(sim, 5000);
    assert_int_equal(wall_ms(sim, &now), BUSBAR_CLOCK_ESTIMATED);
    assert_true(now == 1800000000000 - 3600000 + 5);
}

static void a_sleep_and_a_restart_lose_trust_in_the_wall_clock(void **state)
{
    busbar_sim *sim = *state;
    int64_t now = 0;
    busbar_sim_suspend(sim, 1000000);
    assert_int_equal(wall_ms(sim, &now), BUSBAR_CLOCK_ESTIMATED);
    busbar_sim_wall_quality(sim, BUSBAR_CLOCK_TRUSTED);
    busbar_sim_reboot(sim);
    assert_int_equal(wall_ms(sim, &now), BUSBAR_CLOCK_ESTIMATED);
    assert_true(now == BUSBAR_SIM_WALL_MS + 1000);
}

static void a_restart_begins_monotonic_time_anew(void **state)
{
    busbar_sim *sim = *state;
    busbar_sim_advance(sim, 86400000000u);
    for (unsigned i = 0; i < 100; i++) {
        busbar_sim_reboot(sim);
        assert_in_range(mono_us(sim), 1000000, 60000000);
    }
}

static void a_bad_seed_repeats_after_every_restart(void **state)
{
    busbar_sim *sim = *state;
    uint64_t good = draw(sim);
    busbar_sim_reboot(sim);
    assert_int_not_equal(draw(sim), good);
    busbar_sim_random_mode(sim, BUSBAR_SIM_RANDOM_REPEATED);
    uint64_t first = draw(sim);
    uint64_t second = draw(sim);
    assert_int_not_equal(first, second);
    busbar_sim_reboot(sim);
    assert_int_equal(draw(sim), first);
    assert_int_equal(draw(sim), second);
    busbar_sim_random_mode(sim, BUSBAR_SIM_RANDOM_CONSTANT);
    assert_true(draw(sim) == UINT64_C(0xa5a5a5a5a5a5a5a5));
}

static int call(busbar_sim *sim, busbar_sim_call which, char out[BUSBAR_IDENTITY_SIZE])
{
    const busbar_port *port = busbar_sim_port(sim);
    switch (which) {
    case BUSBAR_SIM_CALL_BOOT_ID:
        return port->boot_id(port->ctx, out);
    case BUSBAR_SIM_CALL_DEVICE_ID:
        return port->device_id(port->ctx, out);
    case BUSBAR_SIM_CALL_WORKER_ID:
        return port->worker_id(port->ctx, out);
    case BUSBAR_SIM_CALL_RANDOM:
    default:
        return port->random(port->ctx, out, BUSBAR_IDENTITY_SIZE);
    }
}

static void each_call_fails_as_often_as_told_and_writes_nothing(void **state)
{
    static const busbar_sim_call calls[] = {BUSBAR_SIM_CALL_BOOT_ID, BUSBAR_SIM_CALL_DEVICE_ID, BUSBAR_SIM_CALL_RANDOM,
                                            BUSBAR_SIM_CALL_WORKER_ID};
    busbar_sim *sim = *state;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        char out[BUSBAR_IDENTITY_SIZE] = "untouched";
        busbar_sim_fail(sim, calls[i], 2);
        assert_int_equal(call(sim, calls[i], out), -1);
        assert_int_equal(call(sim, calls[i], out), -1);
        assert_string_equal(out, "untouched");
        assert_int_equal(call(sim, calls[i], out), 0);
        busbar_sim_fail(sim, calls[i], BUSBAR_SIM_ALWAYS);
        for (unsigned n = 0; n < 100; n++)
            assert_int_equal(call(sim, calls[i], out), -1);
        busbar_sim_fail(sim, calls[i], 0);
        assert_int_equal(call(sim, calls[i], out), 0);
        assert_int_equal(busbar_sim_calls(sim, calls[i]), 104);
    }
}

static void identities_are_checked_and_told(void **state)
{
    busbar_sim *sim = *state;
    const busbar_port *port = busbar_sim_port(sim);
    char longest[BUSBAR_IDENTITY_SIZE + 1];
    char out[BUSBAR_IDENTITY_SIZE];
    memset(longest, 'a', sizeof longest);
    longest[BUSBAR_IDENTITY_SIZE] = '\0';
    assert_int_equal(busbar_sim_device_set(sim, longest), BUSBAR_EINVAL);
    longest[BUSBAR_IDENTITY_SIZE - 1] = '\0';
    assert_int_equal(busbar_sim_device_set(sim, longest), BUSBAR_OK);
    assert_int_equal(port->device_id(port->ctx, out), 0);
    assert_string_equal(out, longest);
    assert_int_equal(busbar_sim_device_set(sim, ""), BUSBAR_EINVAL);
    assert_int_equal(busbar_sim_device_set(sim, NULL), BUSBAR_EINVAL);
    assert_int_equal(busbar_sim_device_set(sim, "a b"), BUSBAR_EINVAL);
    assert_int_equal(busbar_sim_worker_set(sim, "a\"b"), BUSBAR_EINVAL);
    assert_int_equal(busbar_sim_worker_gone(sim, "a\\b"), BUSBAR_EINVAL);
    assert_int_equal(busbar_sim_worker_set(sim, "worker-9"), BUSBAR_OK);
    assert_int_equal(port->worker_id(port->ctx, out), 0);
    assert_string_equal(out, "worker-9");
}

static int run_script(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_seeds_give_equal_machines),
        cmocka_unit_test_setup_teardown(random_is_the_documented_sequence, set_up, tear_down),
        cmocka_unit_test_setup_teardown(time_stands_still_unless_moved, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ticks_make_reading_take_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_coarse_clock_rounds_down_and_never_goes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_wall_clock_does_what_the_script_says, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_sleep_and_a_restart_lose_trust_in_the_wall_clock, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_restart_begins_monotonic_time_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_bad_seed_repeats_after_every_restart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(each_call_fails_as_often_as_told_and_writes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(identities_are_checked_and_told, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("sim: the script", tests, NULL, NULL);
}

int main(void)
{
    return port_contract_run(&sim_fixture) + run_script();
}
