/* SPDX-License-Identifier: MIT */
/* P11: which message ends connections; a flapping link convicts none. */
#include "test.h"

#include "suspicion.h"

static const bb_exception_key first = {.lane = BUSBAR_NORMAL, .seq = 5};
static const bb_exception_key second = {.lane = BUSBAR_NORMAL, .seq = 6};

static void lose_alone(bb_suspicion *suspicion, const bb_exception_key *key, int times)
{
    for (int i = 0; i < times; i++)
        bb_suspicion_lost(suspicion, 1, key);
}

/* Connections are lost with a window full of messages, then with the first one alone. */
static bb_suspicion suspected(void)
{
    bb_suspicion suspicion = {.losses = 0};
    bb_suspicion_lost(&suspicion, 20, &second);
    assert_false(bb_suspicion_single(&suspicion));
    bb_suspicion_lost(&suspicion, 20, &second);
    assert_true(bb_suspicion_single(&suspicion));
    lose_alone(&suspicion, &first, 2);
    assert_false(bb_suspicion_aside(&suspicion, &first));
    lose_alone(&suspicion, &first, 1);
    assert_true(bb_suspicion_aside(&suspicion, &first));
    assert_false(bb_suspicion_aside(&suspicion, &second));
    return suspicion;
}

static void p11_guilty_when_its_neighbour_passes(void **state)
{
    (void)state;
    bb_suspicion suspicion = suspected();
    bb_exception_key guilty = {.seq = 0};
    assert_true(bb_suspicion_passed(&suspicion, &second, &guilty));
    assert_int_equal(guilty.seq, first.seq);
    assert_false(bb_suspicion_single(&suspicion));
    assert_false(bb_suspicion_aside(&suspicion, &first));
}

static void p11_a_flapping_link_convicts_nobody(void **state)
{
    (void)state;
    bb_suspicion suspicion = {.losses = 0};
    bb_exception_key guilty = {.seq = 0};
    for (int i = 0; i < 100; i++) {
        const bb_exception_key *next = bb_suspicion_aside(&suspicion, &first) ? &second : &first;
        bb_suspicion_lost(&suspicion, 1, next);
    }
    const bb_exception_key *next = bb_suspicion_aside(&suspicion, &first) ? &second : &first;
    if (next == &first)
        assert_false(bb_suspicion_passed(&suspicion, &first, &guilty));
}

/* Those before it in the window pass one by one: the window must not open again before it was alone. */
static void p11_the_window_stays_shut_until_all_that_were_lost_have_had_their_turn(void **state)
{
    (void)state;
    bb_suspicion suspicion = {.losses = 0};
    bb_exception_key guilty = {.seq = 0};
    bb_suspicion_lost(&suspicion, 20, &second);
    bb_suspicion_lost(&suspicion, 20, &second);
    for (int64_t seq = 100; seq < 120; seq++) {
        const bb_exception_key key = {.lane = BUSBAR_NORMAL, .seq = seq};
        assert_true(bb_suspicion_single(&suspicion));
        assert_false(bb_suspicion_passed(&suspicion, &key, &guilty));
    }
    assert_false(bb_suspicion_single(&suspicion));
}

static void without_a_neighbour_it_goes_once_more_and_stays_suspected(void **state)
{
    (void)state;
    bb_suspicion suspicion = suspected();
    bb_exception_key guilty = {.seq = 0};
    bb_suspicion_relent(&suspicion);
    assert_false(bb_suspicion_aside(&suspicion, &first));
    lose_alone(&suspicion, &first, 1);
    assert_true(bb_suspicion_aside(&suspicion, &first));
    bb_suspicion_relent(&suspicion);
    assert_false(bb_suspicion_passed(&suspicion, &first, &guilty));
}

static void passing_alone_acquits(void **state)
{
    (void)state;
    bb_suspicion suspicion = {.losses = 0};
    bb_exception_key guilty = {.seq = 0};
    lose_alone(&suspicion, &first, 2);
    assert_false(bb_suspicion_passed(&suspicion, &first, &guilty));
    assert_false(bb_suspicion_single(&suspicion));
    lose_alone(&suspicion, &first, 2);
    assert_false(bb_suspicion_aside(&suspicion, &first));
}

/* It was not set aside: nothing was tried. */
static void a_neighbour_that_happens_to_pass_convicts_nobody(void **state)
{
    (void)state;
    bb_suspicion suspicion = {.losses = 0};
    bb_exception_key guilty = {.seq = 0};
    lose_alone(&suspicion, &first, 2);
    assert_false(bb_suspicion_passed(&suspicion, &second, &guilty));
}

static void a_connection_without_messages_says_nothing(void **state)
{
    (void)state;
    bb_suspicion suspicion = {.losses = 0};
    for (int i = 0; i < 10; i++)
        bb_suspicion_lost(&suspicion, 0, &first);
    assert_false(bb_suspicion_single(&suspicion));
}

static void another_message_begins_the_count_anew(void **state)
{
    (void)state;
    bb_suspicion suspicion = {.losses = 0};
    lose_alone(&suspicion, &first, 2);
    lose_alone(&suspicion, &second, 1);
    lose_alone(&suspicion, &first, 2);
    assert_false(bb_suspicion_aside(&suspicion, &first));
    lose_alone(&suspicion, &first, 1);
    assert_true(bb_suspicion_aside(&suspicion, &first));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p11_guilty_when_its_neighbour_passes),
        cmocka_unit_test(p11_a_flapping_link_convicts_nobody),
        cmocka_unit_test(p11_the_window_stays_shut_until_all_that_were_lost_have_had_their_turn),
        cmocka_unit_test(without_a_neighbour_it_goes_once_more_and_stays_suspected),
        cmocka_unit_test(passing_alone_acquits),
        cmocka_unit_test(a_neighbour_that_happens_to_pass_convicts_nobody),
        cmocka_unit_test(a_connection_without_messages_says_nothing),
        cmocka_unit_test(another_message_begins_the_count_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
