/* SPDX-License-Identifier: MIT */
/* Bounded text: nothing is written beyond the buffer, and what did not fit is still counted. */
#include "test.h"

#include "text.h"

static void adds_pieces_in_order(void **state)
{
    (void)state;
    char buffer[64];
    bb_text text = bb_text_on(buffer, sizeof buffer);
    assert_string_equal(buffer, "");
    bb_text_add(&text, "depth ");
    bb_text_add_int(&text, -12);
    bb_text_add_char(&text, '/');
    bb_text_add_bytes(&text, "metres", 5);
    assert_string_equal(buffer, "depth -12/metre");
    assert_int_equal(text.length, strlen(buffer));
    assert_true(bb_text_fits(&text));
}

static void writes_integers(void **state)
{
    (void)state;
    static const struct {
        int64_t value;
        const char *expected;
    } cases[] = {{0, "0"},
                 {7, "7"},
                 {-1, "-1"},
                 {10, "10"},
                 {INT64_MAX, "9223372036854775807"},
                 {INT64_MIN, "-9223372036854775808"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char buffer[32];
        bb_text text = bb_text_on(buffer, sizeof buffer);
        bb_text_add_int(&text, cases[i].value);
        assert_string_equal(buffer, cases[i].expected);
    }
}

static void pads_with_zeros(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        unsigned digits;
        const char *expected;
    } cases[] = {{42, 19, "0000000000000000042"},
                 {42, 2, "42"},
                 {42, 1, "42"},
                 {0, 0, "0"},
                 {0, 3, "000"},
                 {1, 25, "0000000000000000000000001"},
                 {UINT64_MAX, 4, "18446744073709551615"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char buffer[32];
        bb_text text = bb_text_on(buffer, sizeof buffer);
        bb_text_add_padded(&text, cases[i].value, cases[i].digits);
        assert_string_equal(buffer, cases[i].expected);
    }
}

static void cuts_and_counts_what_is_too_long(void **state)
{
    (void)state;
    char buffer[] = "########";
    bb_text text = bb_text_on(buffer, 5);
    bb_text_add(&text, "abc");
    assert_true(bb_text_fits(&text));
    bb_text_add(&text, "def");
    bb_text_add(&text, "ghi");
    assert_string_equal(buffer, "abcd");
    assert_memory_equal(buffer + 5, "###", 3);
    assert_int_equal(text.length, 9);
    assert_false(bb_text_fits(&text));
}

static void fits_to_the_byte(void **state)
{
    (void)state;
    char buffer[5];
    bb_text text = bb_text_on(buffer, sizeof buffer);
    bb_text_add(&text, "abcd");
    assert_true(bb_text_fits(&text));
    bb_text_add_char(&text, 'e');
    assert_false(bb_text_fits(&text));
}

static void counts_without_a_buffer(void **state)
{
    (void)state;
    bb_text text = bb_text_on(NULL, 0);
    bb_text_add(&text, "abc");
    assert_null(bb_text_reserve(&text, 4));
    assert_int_equal(text.length, 7);
    assert_false(bb_text_fits(&text));
    bb_text bare = bb_text_bare_on(NULL, 0);
    assert_true(bb_text_fits(&bare));
    bb_text_add_char(&bare, 'x');
    assert_false(bb_text_fits(&bare));
}

static void bare_text_fills_the_buffer(void **state)
{
    (void)state;
    char buffer[] = "####";
    bb_text text = bb_text_bare_on(buffer, 3);
    bb_text_add(&text, "abc");
    assert_true(bb_text_fits(&text));
    assert_memory_equal(buffer, "abc#", 4);
    bb_text_add(&text, "d");
    assert_false(bb_text_fits(&text));
    assert_memory_equal(buffer, "abc#", 4);
}

static void reserves_room_in_place(void **state)
{
    (void)state;
    char buffer[] = "#########";
    bb_text text = bb_text_on(buffer, 8);
    bb_text_add(&text, "ab");
    char *at = bb_text_reserve(&text, 3);
    assert_ptr_equal(at, buffer + 2);
    memcpy(at, "cde", 3);
    bb_text_add(&text, "f");
    assert_string_equal(buffer, "abcdef");
    assert_null(bb_text_reserve(&text, 2));
    char filled[] = "####";
    bb_text bare = bb_text_bare_on(filled, 3);
    memcpy(bb_text_reserve(&bare, 3), "abc", 3);
    assert_memory_equal(filled, "abc#", 4);
    assert_true(bb_text_fits(&bare));
    assert_int_equal(text.length, 8);
    assert_false(bb_text_fits(&text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adds_pieces_in_order),
        cmocka_unit_test(writes_integers),
        cmocka_unit_test(pads_with_zeros),
        cmocka_unit_test(cuts_and_counts_what_is_too_long),
        cmocka_unit_test(fits_to_the_byte),
        cmocka_unit_test(counts_without_a_buffer),
        cmocka_unit_test(bare_text_fills_the_buffer),
        cmocka_unit_test(reserves_room_in_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
