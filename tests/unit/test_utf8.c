/* SPDX-License-Identifier: MIT */
/* Well-formed UTF-8, checked over all code points and all forms that only look like it. */
#include "test.h"

#include "utf8.h"

/* Encodes in `length` bytes whether or not that is the right length for the code. */
static void encode_in(uint32_t code, size_t length, char out[4])
{
    static const unsigned char leads[] = {0, 0x00, 0xc0, 0xe0, 0xf0};
    for (size_t i = length - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code & 0x3f));
        code >>= 6;
    }
    out[0] = (char)(leads[length] | code);
}

static size_t right_length(uint32_t code)
{
    if (code < 0x80)
        return 1;
    if (code < 0x800)
        return 2;
    return code < 0x10000 ? 3 : 4;
}

static void every_code_point(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 0x200000; code++) {
        char text[4];
        size_t length = right_length(code);
        encode_in(code, length, text);
        bool surrogate = code >= 0xd800 && code <= 0xdfff;
        bool expected = !surrogate && code <= 0x10ffff;
        uint32_t read = 0;
        if (bb_utf8_valid(text, length) != expected || (bb_utf8_read(text, length, &read) == length) != expected ||
            (expected && read != code))
            fail_msg("U+%04X", (unsigned)code);
        bool control = code < 0x20 || (code >= 0x7f && code <= 0x9f);
        bool noncharacter = (code >= 0xfdd0 && code <= 0xfdef) || (code & 0xffff) >= 0xfffe;
        if (bb_utf8_printable(text, length) != (expected && !control && !noncharacter))
            fail_msg("printable U+%04X", (unsigned)code);
    }
}

static void refuses_overlong_forms(void **state)
{
    (void)state;
    static const uint32_t codes[] = {0, 0x2f, 0x7f, 0x80, 0x7ff, 0x800, 0xffff};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        for (size_t length = right_length(codes[i]) + 1; length <= 4; length++) {
            char text[4];
            encode_in(codes[i], length, text);
            assert_false(bb_utf8_valid(text, length));
            assert_false(bb_utf8_printable(text, length));
        }
    }
}

static void refuses_what_is_cut_off_or_stray(void **state)
{
    (void)state;
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc3",
                                      "\xc3(",
                                      "\xe2\x82",
                                      "\xe2\x82(",
                                      "\xe2(\xac",
                                      "\xf0\x9f\x98",
                                      "\xf0\x9f(\x80",
                                      "\xf0(\x98\x80",
                                      "\xf0\x9f\x98(",
                                      "\xfe",
                                      "\xff",
                                      "\xf8\x88\x80\x80\x80",
                                      "12345678\x80",
                                      "\xc3\xa4 \xc3",
                                      "12345678\xe2\x82"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint32_t code = 77;
        assert_false(bb_utf8_valid(bad[i], strlen(bad[i])));
        assert_false(bb_utf8_printable(bad[i], strlen(bad[i])));
        if ((unsigned char)bad[i][0] >= 0x80 && bad[i][1] != '\xa4') {
            assert_int_equal(bb_utf8_read(bad[i], strlen(bad[i]), &code), 0);
            assert_int_equal(code, 77);
        }
    }
}

static void a_bad_byte_is_found_in_every_place(void **state)
{
    (void)state;
    for (size_t place = 0; place < 20; place++) {
        char text[] = "abcdefghijklmnopqrst";
        text[place] = '\x07';
        assert_true(bb_utf8_valid(text, 20));
        assert_false(bb_utf8_printable(text, 20));
        text[place] = '\x7f';
        assert_false(bb_utf8_printable(text, 20));
        text[place] = '\xff';
        assert_false(bb_utf8_valid(text, 20));
        assert_false(bb_utf8_printable(text, 20));
    }
}

static void accepts_text(void **state)
{
    (void)state;
    uint32_t code;
    assert_int_equal(bb_utf8_read("a", 0, &code), 0);
    assert_int_equal(bb_utf8_read("ab", 2, &code), 1);
    assert_int_equal(code, 0x61);
    static const char text[] = "Euro \xe2\x82\xac, \xf0\x9f\x98\x80 and \xd0\xb4\xd0\xb2\xd0\xb5\xd1\x80\xd1\x8c ~";
    assert_true(bb_utf8_valid(text, sizeof text - 1));
    assert_true(bb_utf8_printable(text, sizeof text - 1));
    assert_true(bb_utf8_valid("", 0));
    assert_true(bb_utf8_printable("", 0));
    assert_true(bb_utf8_valid("a\0b", 3));
    assert_false(bb_utf8_printable("a\0b", 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point),
        cmocka_unit_test(refuses_overlong_forms),
        cmocka_unit_test(refuses_what_is_cut_off_or_stray),
        cmocka_unit_test(a_bad_byte_is_found_in_every_place),
        cmocka_unit_test(accepts_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
