/* SPDX-License-Identifier: MIT */
/* P5: ids are never used twice, not even with a bad random generator. */
#include "test.h"

#include "identity.h"

static const char ALPHABET[] = "0123456789abcdefghjkmnpqrstvwxyz";

typedef char token[BB_IDENTITY_TOKEN_SIZE];

static const uint8_t ZEROS[12] = {0};

static void tokens_are_96_bits_of_the_alphabet(void **state)
{
    (void)state;
    for (uint64_t counter = 0; counter < 1000; counter++) {
        token made;
        bb_identity_mix(ZEROS, counter, "device", "boot", 1, 2, made);
        assert_int_equal(strlen(made), BB_IDENTITY_TOKEN_SIZE - 1);
        assert_int_equal(strspn(made, ALPHABET), BB_IDENTITY_TOKEN_SIZE - 1);
        assert_true(made[0] == '0' || made[0] == '1'); /* 20 characters have four bits more than 96 */
    }
}

static void every_input_counts(void **state)
{
    (void)state;
    token tokens[12];
    static const uint8_t random[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    bb_identity_mix(ZEROS, 1, "dev", "boot", 3, 4, tokens[0]);
    bb_identity_mix(random, 1, "dev", "boot", 3, 4, tokens[1]);
    bb_identity_mix(ZEROS, 2, "dev", "boot", 3, 4, tokens[2]);
    bb_identity_mix(ZEROS, 1, "dew", "boot", 3, 4, tokens[3]);
    bb_identity_mix(ZEROS, 1, "dev", "book", 3, 4, tokens[4]);
    bb_identity_mix(ZEROS, 1, "dev", "boot", 4, 4, tokens[5]);
    bb_identity_mix(ZEROS, 1, "dev", "boot", 3, 5, tokens[6]);
    bb_identity_mix(ZEROS, 1, "devb", "oot", 3, 4, tokens[7]);
    bb_identity_mix(ZEROS, 1, "", "devboot", 3, 4, tokens[8]);
    bb_identity_mix(ZEROS, 1, "devboot", "", 3, 4, tokens[9]);
    bb_identity_mix(ZEROS, 1, "dev", "boot", 4, 3, tokens[10]);
    bb_identity_mix(ZEROS, 3, "dev", "boot", 1, 4, tokens[11]);
    for (size_t i = 0; i < 12; i++) {
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(tokens[i], tokens[j]);
    }
    token again;
    bb_identity_mix(ZEROS, 1, "dev", "boot", 3, 4, again);
    assert_string_equal(again, tokens[0]);
    bb_identity_mix(ZEROS, 1, NULL, NULL, 3, 4, again);
    bb_identity_mix(ZEROS, 1, "", "", 3, 4, tokens[0]);
    assert_string_equal(again, tokens[0]);
}

static void every_character_of_a_name_counts(void **state)
{
    (void)state;
    char device[] = "gateway-0123456789-0123456789-0123";
    token before;
    bb_identity_mix(ZEROS, 1, device, "boot", 3, 4, before);
    for (size_t i = 0; i < sizeof device - 1; i++) {
        device[i] ^= 1;
        token made;
        bb_identity_mix(ZEROS, 1, device, "boot", 3, 4, made);
        assert_string_not_equal(made, before);
        device[i] ^= 1;
    }
}

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void constant_random_bits_still_give_distinct_tokens(void **state)
{
    (void)state;
    enum { EACH = 40000, COUNT = 3 * EACH };
    token *tokens = calloc(COUNT, sizeof *tokens);
    assert_non_null(tokens);
    for (uint64_t i = 0; i < EACH; i++) {
        bb_identity_mix(ZEROS, i, "device", "boot", 0, 0, tokens[i]);
        bb_identity_mix(ZEROS, 0, "device", "boot", i + 1, 0, tokens[EACH + i]);
        bb_identity_mix(ZEROS, 0, "device", "boot", 0, (int64_t)i + 1, tokens[2 * EACH + i]);
    }
    qsort(tokens, COUNT, sizeof *tokens, compare);
    for (size_t i = 1; i < COUNT; i++)
        assert_string_not_equal(tokens[i - 1], tokens[i]);
    free(tokens);
}

/* A count of +-5 sigma around one half would be 0.475 to 0.525 with 10,000 tokens. */
static void a_counter_alone_moves_every_bit(void **state)
{
    (void)state;
    enum { COUNT = 10000 };
    int ones[5 * 20] = {0};
    for (uint64_t i = 0; i < COUNT; i++) {
        token made;
        bb_identity_mix(ZEROS, i, "d", "b", 0, 0, made);
        for (int c = 0; c < 20; c++) {
            unsigned value = (unsigned)(strchr(ALPHABET, made[c]) - ALPHABET);
            for (int bit = 0; bit < 5; bit++)
                ones[c * 5 + bit] += (int)(value >> (4 - bit) & 1);
        }
    }
    for (int bit = 0; bit < 100; bit++) {
        if (bit < 4)
            assert_int_equal(ones[bit], 0);
        else
            assert_in_range(ones[bit], COUNT * 475 / 1000, COUNT * 525 / 1000);
    }
}

/* Good random bits must come through unchanged: two tokens differ exactly where their random bits do. */
static void random_bits_stay_uniform(void **state)
{
    (void)state;
    token plain;
    bb_identity_mix(ZEROS, 7, "d", "b", 1, 2, plain);
    for (size_t bit = 0; bit < 96; bit++) {
        uint8_t random[12] = {0};
        random[bit / 8] = (uint8_t)(1u << bit % 8);
        token made;
        bb_identity_mix(random, 7, "d", "b", 1, 2, made);
        size_t differing = 0;
        for (size_t i = 0; i < 20; i++)
            differing += made[i] != plain[i];
        assert_int_equal(differing, 1);
    }
}

static void ids_come_apart_again(void **state)
{
    (void)state;
    static const int64_t seqs[] = {1, 9, 10, 123456, INT64_MAX};
    token made;
    bb_identity_mix(ZEROS, 7, "d", "b", 1, 2, made);
    for (int lane = 0; lane < BUSBAR_LANE_COUNT; lane++) {
        for (size_t i = 0; i < sizeof seqs / sizeof seqs[0]; i++) {
            char id[BUSBAR_ID_MAX + 1];
            bb_text text = bb_text_on(id, sizeof id);
            bb_identity_format(made, (busbar_lane)lane, seqs[i], &text);
            assert_true(bb_text_fits(&text));
            token found;
            busbar_lane found_lane = BUSBAR_NORMAL;
            int64_t found_seq = 0;
            assert_true(bb_identity_parse(id, found, &found_lane, &found_seq));
            assert_string_equal(found, made);
            assert_int_equal(found_lane, lane);
            assert_int_equal(found_seq, seqs[i]);
        }
    }
}

static void writes_the_lane_and_the_position(void **state)
{
    (void)state;
    char id[64];
    bb_text text = bb_text_on(id, sizeof id);
    bb_identity_format("0abcdefghjkmnpqrstvw", BUSBAR_URGENT, 17, &text);
    assert_string_equal(id, "0abcdefghjkmnpqrstvw-u17");
}

static void other_ids_are_not_taken_apart(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "-n1",
        "0abcdefghjkmnpqrstvw",
        "0abcdefghjkmnpqrstvw-",
        "0abcdefghjkmnpqrstvw-n",
        "0abcdefghjkmnpqrstvw-n0",
        "0abcdefghjkmnpqrstvw-n01",
        "0abcdefghjkmnpqrstvw-n-1",
        "0abcdefghjkmnpqrstvw-n+1",
        "0abcdefghjkmnpqrstvw-x1",
        "0abcdefghjkmnpqrstvw-N1",
        "0abcdefghjkmnpqrstvw-n1 ",
        "0abcdefghjkmnpqrstvw-n1x",
        "0abcdefghjkmnpqrstvw_n1",
        "0abcdefghjkmnpqrstv-n1",
        "0abcdefghjkmnpqrstvwx-n1",
        "0Abcdefghjkmnpqrstvw-n1",
        "0abcdefghjkmnpqrstvi-n1",
        "0abcdefghjkmnpqrstvu-n1",
        "0abcdefghjkmnpqrstvw-n9223372036854775808",
        "0abcdefghjkmnpqrstvw-n99999999999999999999",
        "0abcdefghjkmnpqrstvw-n:1",
        "0abcdefghjkmnpqrstvw-n1:",
        "0abcdefghjkmnpqrstvw-?1",
        " 0abcdefghjkmnpqrstvw-n1",
        "A234-1234-1234",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        token found = "untouched";
        busbar_lane lane = BUSBAR_BULK;
        int64_t seq = 4711;
        if (bb_identity_parse(bad[i], found, &lane, &seq))
            fail_msg("%s: accepted", bad[i]);
        assert_string_equal(found, "untouched");
        assert_int_equal(lane, BUSBAR_BULK);
        assert_int_equal(seq, 4711);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_96_bits_of_the_alphabet),
        cmocka_unit_test(every_input_counts),
        cmocka_unit_test(every_character_of_a_name_counts),
        cmocka_unit_test(constant_random_bits_still_give_distinct_tokens),
        cmocka_unit_test(a_counter_alone_moves_every_bit),
        cmocka_unit_test(random_bits_stay_uniform),
        cmocka_unit_test(ids_come_apart_again),
        cmocka_unit_test(writes_the_lane_and_the_position),
        cmocka_unit_test(other_ids_are_not_taken_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
