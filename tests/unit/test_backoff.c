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
        assert_int_equal(bb_backoff_wait_ms(&retry, i + 1, 0), expected[i]);
    assert_int_equal(bb_backoff_wait_ms(&retry, 0, 0), 100);
    assert_int_equal(bb_backoff_wait_ms(&retry, UINT32_MAX, 0), 1500);
}

static void zero_means_the_documented_defaults(void **state)
{
    (void)state;
    const busbar_retry retry = {0};
    assert_int_equal(bb_backoff_wait_ms(&retry, 1, 0), 1000);
    assert_int_equal(bb_backoff_wait_ms(&retry, 2, 0), 2000);
    assert_int_equal(bb_backoff_wait_ms(&retry, 50, 0), 300000);
}

static void one_is_no_default(void **state)
{
    (void)state;
    const busbar_retry retry = {.base_ms = 1, .cap_ms = 1};
    assert_int_equal(bb_backoff_wait_ms(&retry, 1, 0), 1);
    const busbar_retry growing = {.base_ms = 1, .cap_ms = 100};
    assert_int_equal(bb_backoff_wait_ms(&growing, 3, 0), 4);
}

static void a_cap_below_the_base_wins(void **state)
{
    (void)state;
    const busbar_retry retry = {.base_ms = 5000, .cap_ms = 300};
    assert_int_equal(bb_backoff_wait_ms(&retry, 1, 0), 300);
}

static void chance_takes_at_most_half(void **state)
{
    (void)state;
    const busbar_retry retry = {.base_ms = 1000, .cap_ms = UINT32_MAX};
    assert_int_equal(bb_backoff_wait_ms(&retry, 1, UINT32_MAX), 500);
    assert_int_equal(bb_backoff_wait_ms(&retry, 1, UINT32_MAX / 2), 751);
    uint64_t before = UINT64_MAX;
    for (uint32_t i = 0; i <= 16; i++) {
        uint64_t wait = bb_backoff_wait_ms(&retry, 40, (uint32_t)(UINT64_C(0xffffffff) * i / 16));
        assert_true(wait < before);
        assert_true(wait >= UINT32_MAX / 2 && wait <= UINT32_MAX);
        before = wait;
    }
    const busbar_retry shortest = {.base_ms = 1, .cap_ms = 1};
    assert_int_equal(bb_backoff_wait_ms(&shortest, 9, UINT32_MAX), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(doubles_up_to_the_cap),     cmocka_unit_test(zero_means_the_documented_defaults),
        cmocka_unit_test(one_is_no_default),         cmocka_unit_test(a_cap_below_the_base_wins),
        cmocka_unit_test(chance_takes_at_most_half),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
