/* SPDX-License-Identifier: MIT */
/* Which lane is next (P4: urgent first), and that none starves. */
#include "test.h"

#include "turns.h"

#define ALL (BUSBAR_LANES_NORMAL | BUSBAR_LANES_URGENT | BUSBAR_LANES_BULK)

static void the_most_urgent_goes_first(void **state)
{
    (void)state;
    bb_turns turns;
    bb_turns_init(&turns, 0);
    assert_int_equal(bb_turns_choose(&turns, ALL), BUSBAR_URGENT);
    assert_int_equal(bb_turns_choose(&turns, BUSBAR_LANES_NORMAL | BUSBAR_LANES_BULK), BUSBAR_NORMAL);
    assert_int_equal(bb_turns_choose(&turns, BUSBAR_LANES_BULK), BUSBAR_BULK);
}

static void count_turns(uint32_t share, unsigned waiting, int events, int out_count[BUSBAR_LANE_COUNT])
{
    bb_turns turns;
    bb_turns_init(&turns, share);
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++)
        out_count[lane] = 0;
    for (int i = 0; i < events; i++) {
        busbar_lane lane = bb_turns_choose(&turns, waiting);
        assert_true(bb_turns_quota(&turns, lane, waiting) >= 1);
        bb_turns_took(&turns, lane, waiting, 1);
        out_count[lane]++;
    }
}

static void each_waiting_lane_has_its_share(void **state)
{
    (void)state;
    int count[BUSBAR_LANE_COUNT];
    count_turns(10, ALL, 1000, count);
    assert_in_range(count[BUSBAR_NORMAL], 99, 100);
    assert_in_range(count[BUSBAR_BULK], 99, 100);
    assert_in_range(count[BUSBAR_URGENT], 800, 802);
    count_turns(0, ALL, 320, count);
    assert_int_equal(count[BUSBAR_BULK], 10);
    count_turns(2, BUSBAR_LANES_URGENT | BUSBAR_LANES_BULK, 100, count);
    assert_int_equal(count[BUSBAR_BULK], 50);
}

static void the_quota_ends_where_another_must_come(void **state)
{
    (void)state;
    bb_turns turns;
    bb_turns_init(&turns, 10);
    assert_int_equal(bb_turns_quota(&turns, BUSBAR_URGENT, BUSBAR_LANES_URGENT), UINT32_MAX);
    assert_int_equal(bb_turns_quota(&turns, BUSBAR_URGENT, ALL), 9);
    bb_turns_took(&turns, BUSBAR_URGENT, ALL, 9);
    assert_int_not_equal(bb_turns_choose(&turns, ALL), BUSBAR_URGENT);
    bb_turns_took(&turns, BUSBAR_NORMAL, ALL, 0); /* there was no room for it: it is not skipped */
    assert_int_equal(bb_turns_choose(&turns, BUSBAR_LANES_NORMAL | BUSBAR_LANES_URGENT), BUSBAR_NORMAL);
    assert_int_equal(bb_turns_quota(&turns, BUSBAR_NORMAL, ALL), 1);
    assert_int_equal(bb_turns_quota(&turns, BUSBAR_NORMAL, BUSBAR_LANES_NORMAL | BUSBAR_LANES_URGENT), 1);
    bb_turns_reset(&turns);
    assert_int_equal(bb_turns_quota(&turns, BUSBAR_BULK, BUSBAR_LANES_BULK | BUSBAR_LANES_NORMAL), 1); /* whenever */
    assert_int_equal(bb_turns_quota(&turns, BUSBAR_NORMAL, BUSBAR_LANES_BULK | BUSBAR_LANES_NORMAL), 9);
    assert_int_equal(bb_turns_choose(&turns, ALL), BUSBAR_URGENT);
}

static void a_lane_without_events_gathers_no_right(void **state)
{
    (void)state;
    bb_turns turns;
    bb_turns_init(&turns, 4);
    bb_turns_took(&turns, BUSBAR_URGENT, BUSBAR_LANES_URGENT, 1000);
    assert_int_equal(bb_turns_choose(&turns, ALL), BUSBAR_URGENT);
}

static void counts_do_not_wrap(void **state)
{
    (void)state;
    bb_turns turns;
    bb_turns_init(&turns, UINT32_MAX);
    for (int i = 0; i < 3; i++)
        bb_turns_took(&turns, BUSBAR_URGENT, ALL, UINT32_MAX);
    assert_int_not_equal(bb_turns_choose(&turns, ALL), BUSBAR_URGENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_most_urgent_goes_first),
        cmocka_unit_test(each_waiting_lane_has_its_share),
        cmocka_unit_test(the_quota_ends_where_another_must_come),
        cmocka_unit_test(a_lane_without_events_gathers_no_right),
        cmocka_unit_test(counts_do_not_wrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
