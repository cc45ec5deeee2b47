/* SPDX-License-Identifier: MIT */
/* Where the Linux port's identities and clock judgements come from (P5, P10). */
#include "test.h"

#include "clock.h"
#include "digest.h"
#include "identity.h"
#include "textfile.h"

#include <stdio.h>
#include <unistd.h>

/* ---- Digests ----------------------------------------------------------------------------------------------------- */

static void to_hex(const uint8_t digest[BB_LINUX_DIGEST_SIZE], char out[2 * BB_LINUX_DIGEST_SIZE + 1])
{
    for (unsigned i = 0; i < BB_LINUX_DIGEST_SIZE; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

static void expect_sha256(const char *data, size_t size_bytes, const char *expected)
{
    uint8_t digest[BB_LINUX_DIGEST_SIZE];
    char hex[2 * BB_LINUX_DIGEST_SIZE + 1];
    bb_linux_digest_sha256(data, size_bytes, digest);
    to_hex(digest, hex);
    assert_string_equal(hex, expected);
}

/* Lengths on both sides of where the padding needs another block. */
static void sha256_equals_the_reference(void **state)
{
    (void)state;
    char a[200];
    memset(a, 'a', sizeof a);
    expect_sha256("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect_sha256("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect_sha256(a, 55, "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318");
    expect_sha256(a, 56, "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a");
    expect_sha256(a, 63, "7d3e74a05d7db15bce4ad9ec0658ea98e3f06eeecf16b4c6fff2da457ddc2f34");
    expect_sha256(a, 64, "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb");
    expect_sha256(a, 65, "635361c48bb9eab14198e76ea8ab7f1a41685d6ad62aa9146d301d4f17eb0ae0");
    expect_sha256(a, 120, "2f3d335432c70b580af0e8e1b3674a7c020d683aa5f73aaaedfdc55af904c21c");
    expect_sha256(a, 200, "c2a908d98f5df987ade41b5fce213067efbcc21ef2240212a41e54b5e7c28ae5");
}

static void expect_hmac(const char *key, size_t key_bytes, const char *data, const char *expected)
{
    uint8_t digest[BB_LINUX_DIGEST_SIZE];
    char hex[2 * BB_LINUX_DIGEST_SIZE + 1];
    bb_linux_digest_hmac(key, key_bytes, data, strlen(data), digest);
    to_hex(digest, hex);
    assert_string_equal(hex, expected);
}

/* RFC 4231, test cases 1 and 2. */
static void hmac_equals_the_reference(void **state)
{
    (void)state;
    char key[20];
    memset(key, 0x0b, sizeof key);
    expect_hmac(key, sizeof key, "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    expect_hmac("Jefe", 4, "what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

/* ---- Device identity --------------------------------------------------------------------------------------------- */

/* Fixed for ever: devices in the field are known by it. */
static void the_machine_id_gives_the_identity_that_it_always_gave(void **state)
{
    (void)state;
    char id[BUSBAR_IDENTITY_SIZE];
    assert_int_equal(bb_linux_identity_of_machine("0123456789abcdef0123456789abcdef", id), 0);
    assert_string_equal(id, "device-ffba510d810faf349bb3a7d9407d5ca2");
}

static void what_is_no_machine_id_gives_none(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "uninitialized",
                                        "0123456789abcdef0123456789abcde",
                                        "0123456789abcdef0123456789abcdef0",
                                        "0123456789ABCDEF0123456789ABCDEF",
                                        "0123456789abcdef-123456789abcdef",
                                        "00000000000000000000000000000000"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char id[BUSBAR_IDENTITY_SIZE] = "untouched";
        assert_int_equal(bb_linux_identity_of_machine(texts[i], id), -1);
        assert_string_equal(id, "untouched");
    }
}

static void a_host_name_that_tells_something_is_the_fallback(void **state)
{
    (void)state;
    char id[BUSBAR_IDENTITY_SIZE];
    char long_name[65];
    assert_int_equal(bb_linux_identity_of_host("pump-7.plant_2", id), 0);
    assert_string_equal(id, "host-pump-7.plant_2");
    /* What cannot be printed as it is, is hashed. */
    assert_int_equal(bb_linux_identity_of_host("a host", id), 0);
    assert_string_equal(id, "host-ed90e9503fc1db2ead0e10e84cdc69b9");
    memset(long_name, 'x', sizeof long_name);
    long_name[64] = '\0';
    assert_int_equal(bb_linux_identity_of_host(long_name, id), 0);
    assert_int_equal(strlen(id), 5 + 32);
    long_name[58] = '\0';
    assert_int_equal(bb_linux_identity_of_host(long_name, id), 0);
    assert_int_equal(strlen(id), BUSBAR_IDENTITY_SIZE - 1);
    assert_int_equal(bb_linux_identity_of_host("", id), -1);
    assert_int_equal(bb_linux_identity_of_host("localhost", id), -1);
    assert_int_equal(bb_linux_identity_of_host("(none)", id), -1);
}

/* ---- Clock ------------------------------------------------------------------------------------------------------- */

static void wall_time_is_judged_by_its_value_and_the_kernel(void **state)
{
    (void)state;
    assert_int_equal(bb_linux_clock_judge(0, true), BUSBAR_CLOCK_UNKNOWN);
    assert_int_equal(bb_linux_clock_judge(-1, true), BUSBAR_CLOCK_UNKNOWN);
    assert_int_equal(bb_linux_clock_judge(INT64_C(1704067199999), true), BUSBAR_CLOCK_UNKNOWN);
    assert_int_equal(bb_linux_clock_judge(INT64_C(1704067200000), true), BUSBAR_CLOCK_TRUSTED);
    assert_int_equal(bb_linux_clock_judge(INT64_C(1704067200000), false), BUSBAR_CLOCK_ESTIMATED);
}

/* ---- Text files -------------------------------------------------------------------------------------------------- */

static void a_file_is_read_whole_or_not_at_all(void **state)
{
    (void)state;
    char path[] = "/tmp/busbar-test-XXXXXX";
    char text[8] = "before";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "1234\n67", 7), 7);
    assert_int_equal(bb_linux_textfile_read(path, text, 7), -1);
    assert_int_equal(bb_linux_textfile_read(path, text, 8), 0);
    assert_string_equal(text, "1234\n67");
    assert_int_equal(bb_linux_textfile_line(path, text, 8), 0);
    assert_string_equal(text, "1234");
    close(fd);
    unlink(path);
    assert_int_equal(bb_linux_textfile_read(path, text, 8), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_equals_the_reference),
        cmocka_unit_test(hmac_equals_the_reference),
        cmocka_unit_test(the_machine_id_gives_the_identity_that_it_always_gave),
        cmocka_unit_test(what_is_no_machine_id_gives_none),
        cmocka_unit_test(a_host_name_that_tells_something_is_the_fallback),
        cmocka_unit_test(wall_time_is_judged_by_its_value_and_the_kernel),
        cmocka_unit_test(a_file_is_read_whole_or_not_at_all),
    };
    return cmocka_run_group_tests_name("linux identity", tests, NULL, NULL);
}
