/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <busbar/busbar.h>

static void lanes_have_names(void **state)
{
    (void)state;
    assert_string_equal(busbar_lane_name(BUSBAR_NORMAL), "normal");
    assert_string_equal(busbar_lane_name(BUSBAR_URGENT), "urgent");
    assert_string_equal(busbar_lane_name(BUSBAR_BULK), "bulk");
    assert_null(busbar_lane_name((busbar_lane)BUSBAR_LANE_COUNT));
    assert_null(busbar_lane_name((busbar_lane)-1));
}

static void clocks_have_names(void **state)
{
    (void)state;
    assert_string_equal(busbar_clock_name(BUSBAR_CLOCK_UNKNOWN), "unknown");
    assert_string_equal(busbar_clock_name(BUSBAR_CLOCK_ESTIMATED), "estimated");
    assert_string_equal(busbar_clock_name(BUSBAR_CLOCK_TRUSTED), "trusted");
    assert_null(busbar_clock_name((busbar_clock_quality)3));
}

static void states_have_names(void **state)
{
    (void)state;
    assert_string_equal(busbar_state_name(BUSBAR_STATE_ANY), "any");
    assert_string_equal(busbar_state_name(BUSBAR_STATE_PENDING), "pending");
    assert_string_equal(busbar_state_name(BUSBAR_STATE_RETRY), "retry");
    assert_string_equal(busbar_state_name(BUSBAR_STATE_DEAD), "dead");
    assert_string_equal(busbar_state_name(BUSBAR_STATE_PARKED), "parked");
    assert_string_equal(busbar_state_name(BUSBAR_STATE_DONE), "done");
    assert_string_equal(busbar_state_name(BUSBAR_STATE_SCHEDULED), "scheduled");
    assert_null(busbar_state_name((busbar_state)7));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lanes_have_names), cmocka_unit_test(clocks_have_names),
                                       cmocka_unit_test(states_have_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
