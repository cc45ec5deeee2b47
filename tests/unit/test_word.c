/* SPDX-License-Identifier: MIT */
/* A word of characters at once must say what one at a time says, for every byte in every place. */
#include "test.h"

#include "word.h"

static void finds_the_first_of_each_byte_in_each_place(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        for (size_t place = 0; place < BB_WORD_BYTES; place++) {
            char text[9] = "abcdefgh";
            text[place] = (char)byte;
            bb_word word = bb_word_load(text);
            bb_word below = bb_word_below(word, 0x20) & ~word & BB_WORD_TOPS;
            bb_word quotes = bb_word_equal(word, '"') & ~word & BB_WORD_TOPS;
            assert_int_equal(below != 0, byte < 0x20);
            assert_int_equal(quotes != 0, byte == '"');
            if (below != 0)
                assert_int_equal(bb_word_first(below), place);
            if (quotes != 0)
                assert_int_equal(bb_word_first(quotes), place);
        }
    }
}

static void the_lowest_mark_is_right_with_others_above(void **state)
{
    (void)state;
    /* '!' is one less in the bits that are compared: a borrow from the quote below it marks it too */
    bb_word word = bb_word_load("ab\"#!\"\"x");
    assert_int_equal(bb_word_first(bb_word_equal(word, '"') & ~word & BB_WORD_TOPS), 2);
    word = bb_word_load("\x01\x20\x20\x20\x20\x20\x20\x20");
    assert_int_equal(bb_word_first(bb_word_below(word, 0x20) & ~word & BB_WORD_TOPS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_first_of_each_byte_in_each_place),
        cmocka_unit_test(the_lowest_mark_is_right_with_others_above),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
