/* SPDX-License-Identifier: MIT */
/* How long a failed event waits: doubling, capped, and spread. */
#include "test.h"

#include "backoff.h"

static void doubles_up_to_the_cap(void **state)
{
    (void)state;
    const busbar_retry retry = {.base_ms = 100, .cap_ms = 1500};
    static const uint64_t expected[] = {100, 200, 400, 800, 1500, 1500, 1500};
    for (uint32_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        assert_int_equal(bb_backoff_wait_ms(&retry, i + 1, 0, 0), expected[i]);
    assert_int_equal(bb_backoff_wait_ms(&retry, 0, 0, 0), 100);
    assert_int_equal(bb_backoff_wait_ms(&retry, UINT32_MAX, 0, 0), 1500);
}

static void zero_means_the_documented_defaults(void **state)
{
    (void)state;
    const busbar_retry retry = {0};
    assert_int_equal(bb_backoff_wait_ms(&retry, 1, 0, 0), 1000);
    assert_int_equal(bb_backoff_wait_ms(&retry, 2, 0, 0), 2000);
    assert_int_equal(bb_backoff_wait_ms(&retry, 50, 0, 0), 300000);
}

static void one_is_no_default(void **state)
{
    (void)state;
    const busbar_retry retry = {.base_ms = 1, .cap_ms = 1};
    assert_int_equal(bb_backoff_wait_ms(&retry, 1, 0, 0), 1);
    const busbar_retry growing = {.base_ms = 1, .cap_ms = 100};
    assert_int_equal(bb_backoff_wait_ms(&growing, 3, 0, 0), 4);
}

static void a_cap_below_the_base_wins(void **state)
{
    (void)state;
    const busbar_retry retry = {.base_ms = 5000, .cap_ms = 300};
    assert_int_equal(bb_backoff_wait_ms(&retry, 1, 0, 0), 300);
}

static void chance_takes_at_most_half(void **state)
{
    (void)state;
    const busbar_retry retry = {.base_ms = 1000, .cap_ms = UINT32_MAX};
    assert_int_equal(bb_backoff_wait_ms(&retry, 1, 0, UINT32_MAX), 500);
    assert_int_equal(bb_backoff_wait_ms(&retry, 1, 0, UINT32_MAX / 2), 751);
    uint64_t before = UINT64_MAX;
    for (uint32_t i = 0; i <= 16; i++) {
        uint64_t wait = bb_backoff_wait_ms(&retry, 40, 0, (uint32_t)(UINT64_C(0xffffffff) * i / 16));
        assert_true(wait < before);
        assert_true(wait >= UINT32_MAX / 2 && wait <= UINT32_MAX);
        before = wait;
    }
    const busbar_retry shortest = {.base_ms = 1, .cap_ms = 1};
    assert_int_equal(bb_backoff_wait_ms(&shortest, 9, 0, UINT32_MAX), 1);
}

static void full_jitter_reaches_from_nothing_to_all(void **state)
{
    (void)state;
    const busbar_retry retry = {.base_ms = 1000, .cap_ms = 4000, .jitter = BUSBAR_JITTER_FULL};
    assert_int_equal(bb_backoff_wait_ms(&retry, 1, 0, 0), 0);
    assert_int_equal(bb_backoff_wait_ms(&retry, 1, 0, UINT32_MAX), 1000);
    assert_int_equal(bb_backoff_wait_ms(&retry, 9, 0, UINT32_MAX), 4000);
}

static void decorrelated_jitter_grows_from_the_last_wait(void **state)
{
    (void)state;
    const busbar_retry retry = {.base_ms = 100, .cap_ms = 2000, .jitter = BUSBAR_JITTER_DECORRELATED};
    assert_int_equal(bb_backoff_wait_ms(&retry, 1, 0, 0), 100);
    assert_int_equal(bb_backoff_wait_ms(&retry, 1, 0, UINT32_MAX), 300);
    assert_int_equal(bb_backoff_wait_ms(&retry, 2, 300, UINT32_MAX), 900);
    assert_int_equal(bb_backoff_wait_ms(&retry, 3, 300, 0), 100);
    assert_int_equal(bb_backoff_wait_ms(&retry, 4, 1900, UINT32_MAX), 2000);
}

static void without_jitter_chance_has_no_part(void **state)
{
    (void)state;
    const busbar_retry retry = {.base_ms = 10, .cap_ms = 1000, .jitter = BUSBAR_JITTER_NONE};
    assert_int_equal(bb_backoff_wait_ms(&retry, 3, 0, 0), 40);
    assert_int_equal(bb_backoff_wait_ms(&retry, 3, 0, UINT32_MAX), 40);
}

static void attempts_and_age_end_it(void **state)
{
    (void)state;
    const busbar_retry defaults = {0};
    assert_false(bb_backoff_over(&defaults, 9, UINT64_MAX));
    assert_true(bb_backoff_over(&defaults, 10, 0));
    const busbar_retry aged = {.max_attempts = BUSBAR_UNLIMITED, .max_age_ms = 5000};
    assert_false(bb_backoff_over(&aged, UINT32_MAX, 4999));
    assert_true(bb_backoff_over(&aged, 1, 5000));
    const busbar_retry patient = {.max_attempts = BUSBAR_UNLIMITED};
    assert_false(bb_backoff_over(&patient, UINT32_MAX, UINT64_MAX));
}

static void a_policy_survives_as_text(void **state)
{
    (void)state;
    const busbar_retry policy = {UINT32_MAX, 7, UINT32_MAX, BUSBAR_JITTER_NONE, INT64_MAX};
    char buffer[BB_BACKOFF_TEXT_SIZE];
    busbar_retry read = {0};
    bb_text text = bb_text_on(buffer, sizeof buffer);
    bb_backoff_write(&policy, &text);
    assert_true(bb_text_fits(&text));
    assert_true(bb_backoff_read(buffer, &read));
    assert_int_equal(read.base_ms, policy.base_ms);
    assert_int_equal(read.cap_ms, policy.cap_ms);
    assert_int_equal(read.max_attempts, policy.max_attempts);
    assert_int_equal(read.jitter, policy.jitter);
    assert_int_equal(read.max_age_ms, policy.max_age_ms);
}

static void what_is_no_policy_is_not_read(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",           "1 2 3 4",    "1 2 3 4 5",          "1 2 3 0 5 ", "1 2 3 0 x",
        "-1 2 3 0 5", "1  2 3 0 5", "4294967296 2 3 0 5", " 1 2 3 0 5", "1 2 3 0 9223372036854775808"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        busbar_retry read = {.base_ms = 77};
        assert_false(bb_backoff_read(texts[i], &read));
        assert_int_equal(read.base_ms, 77);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(doubles_up_to_the_cap),
        cmocka_unit_test(zero_means_the_documented_defaults),
        cmocka_unit_test(one_is_no_default),
        cmocka_unit_test(a_cap_below_the_base_wins),
        cmocka_unit_test(chance_takes_at_most_half),
        cmocka_unit_test(full_jitter_reaches_from_nothing_to_all),
        cmocka_unit_test(decorrelated_jitter_grows_from_the_last_wait),
        cmocka_unit_test(without_jitter_chance_has_no_part),
        cmocka_unit_test(attempts_and_age_end_it),
        cmocka_unit_test(a_policy_survives_as_text),
        cmocka_unit_test(what_is_no_policy_is_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
