/* SPDX-License-Identifier: MIT */
/* The vectors of RFC 4648, section 10, and everything an encoder would not write. */
#include "test.h"

#include "base64.h"

static void encodes_and_decodes_the_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        const char *text;
    } cases[] = {{"", ""},
                 {"f", "Zg=="},
                 {"fo", "Zm8="},
                 {"foo", "Zm9v"},
                 {"foob", "Zm9vYg=="},
                 {"fooba", "Zm9vYmE="},
                 {"foobar", "Zm9vYmFy"},
                 {"\xfb\xff\xbf", "+/+/"},
                 {"\xff\xff\xff\xff", "/////w=="}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t size = strlen(cases[i].data);
        char text[16] = "################";
        assert_int_equal(bb_base64_size(size), strlen(cases[i].text));
        bb_base64_encode(cases[i].data, size, text);
        assert_memory_equal(text, cases[i].text, strlen(cases[i].text));
        assert_int_equal(text[strlen(cases[i].text)], '#');
        char data[16];
        size_t decoded = 99;
        assert_true(bb_base64_decode(cases[i].text, strlen(cases[i].text), data, &decoded));
        assert_int_equal(decoded, size);
        assert_memory_equal(data, cases[i].data, size);
    }
}

static void every_byte_comes_back(void **state)
{
    (void)state;
    unsigned char data[256];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * 167 + 13);
    for (size_t size = 0; size <= sizeof data; size++) {
        char text[344];
        bb_base64_encode(data, size, text);
        size_t decoded = 0;
        assert_true(bb_base64_decode(text, bb_base64_size(size), text, &decoded)); /* in place */
        assert_int_equal(decoded, size);
        assert_memory_equal(text, data, size);
    }
}

static void refuses_what_no_encoder_writes(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "Z",     "Zg",     "Zg=",  "Zg==Zg==", "====",     "Z===",    "=Zg=", "Z=g=",        "Zh==",  "Zm9=",
        "Zm 9v", "Zm9v\n", "Zm-v", "Zm_v",     "Zm9v====", "Zm9\x80", "Zg=g", "Zm9vYmFyZg=", "Zg== ", "\xc3\xa4Zg",
        "Zm9v=", "Zm9:",   "Zm9@", "Zm9[",     "Zm9`",     "Zm9{",    "Zm9.", "=",           "Zm==",  "/x=="};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char data[16];
        size_t size = 4711;
        if (bb_base64_decode(bad[i], strlen(bad[i]), data, &size))
            fail_msg("%s: accepted", bad[i]);
        assert_int_equal(size, 4711);
    }
    size_t size = 4711;
    char data[3];
    assert_false(bb_base64_decode("Zm\0v", 4, data, &size));
}

static void sizes_do_not_wrap(void **state)
{
    (void)state;
    assert_int_equal(bb_base64_size(0), 0);
    assert_int_equal(bb_base64_size(1), 4);
    assert_int_equal(bb_base64_size(3), 4);
    assert_int_equal(bb_base64_size(4), 8);
    assert_true(bb_base64_size(SIZE_MAX) == SIZE_MAX);
    assert_true(bb_base64_size(SIZE_MAX / 4 * 3 + 3) == SIZE_MAX);
    assert_true(bb_base64_size(SIZE_MAX / 4 * 3) == SIZE_MAX / 4 * 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodes_and_decodes_the_vectors),
        cmocka_unit_test(every_byte_comes_back),
        cmocka_unit_test(refuses_what_no_encoder_writes),
        cmocka_unit_test(sizes_do_not_wrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
