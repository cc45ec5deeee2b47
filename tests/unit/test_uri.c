/* SPDX-License-Identifier: MIT */
/* URI references by the grammar of RFC 3986 (whose examples are among the good ones). */
#include "test.h"

#include "uri.h"

static const char *const absolute[] = {
    "ftp://ftp.is.co.za/rfc/rfc1808.txt",
    "http://www.ietf.org/rfc/rfc2396.txt",
    "ldap://[2001:db8::7]/c=GB?objectClass?one",
    "mailto:John.Doe@example.com",
    "news:comp.infosystems.www.servers.unix",
    "tel:+1-816-555-1212",
    "telnet://192.0.2.16:80/",
    "urn:oasis:names:specification:docbook:dtd:xml:4.1.2",
    "https://cloudevents.io",
    "https://user:pass@example.com:8443/a/b?x=1&y=/?#top",
    "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
    "device:7",
    "a+b-c.d:",
    "http://[v1.fe80:a]/",
    "http://[::1]:80",
    "http://[::ffff:192.0.2.1]",
    "file:///etc/hosts",
    "http://example.com:",
    "http://h%C3%A4user.example/%7e",
    "x:/a//b",
};

static const char *const relative[] = {
    "#fragment",
    "//authority/path",
    "/",
    "/sensors/tn-1234567/alerts",
    "1-555-123-4567",
    "a",
    "a/b:c",
    "./a:b",
    "?q",
    "?a?b",
    "../up",
    "/a@b",
    "//host",
    "//",
    "//user@host:1",
    "a;b=c,d",
    "(a)!$&'*+,;=~_",
    "%41",
    "/x#",
    "#",
    "pump-17",
    "a//b",
    "#a/b?c:d@e",
};

static const char *const malformed[] = {
    "",
    " ",
    "a b",
    "http://exa mple.com",
    "1a:b",
    ":a",
    "-a:b",
    "a_b:c",
    "\xc3\xa4",
    "http://\xc3\xa4",
    "a\\b",
    "a\"b",
    "<a>",
    "a^b",
    "a`b",
    "{a}",
    "a|b",
    "%",
    "%41%",
    "%41%4",
    "http://u:%@h",
    "http://u:%zz@h",
    "http://u@%",
    "http://[g::1]",
    "http://[v1.%]",
    "%4",
    "%4g",
    "%g1",
    "a%",
    "#a#b",
    "##",
    "[",
    "]",
    "a[b]",
    "/a[1]",
    "?a[1]",
    "#[1]",
    "http://[::1",
    "http://::1]",
    "http://[::1]x",
    "http://[::1]:8x",
    "http://[]",
    "http://[12]",
    "http://[v.a]",
    "http://[v1]",
    "http://[v1.]",
    "http://[vg.a]",
    "http://[v1.a/b]",
    "http://[v1.a%41]",
    "http://[::g]",
    "http://[::1]]",
    "http://a[::1]",
    "http://host:80:90",
    "http://host:8x",
    "http://a@b@c",
    "http://a:b@c:d",
    "//[",
    "a\nb",
    "a\x7f",
    "http://host:-1",
    "http://us er@host",
    "http://%zz@host",
    "http://ho%st",
};

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

static void accepts_references(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(absolute); i++) {
        if (!bb_uri_reference_valid(absolute[i], strlen(absolute[i])))
            fail_msg("%s: refused", absolute[i]);
    }
    for (size_t i = 0; i < COUNT(relative); i++) {
        if (!bb_uri_reference_valid(relative[i], strlen(relative[i])))
            fail_msg("%s: refused", relative[i]);
    }
}

static void tells_which_have_a_scheme(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(absolute); i++) {
        if (!bb_uri_valid(absolute[i], strlen(absolute[i])))
            fail_msg("%s: refused", absolute[i]);
    }
    for (size_t i = 0; i < COUNT(relative); i++) {
        if (bb_uri_valid(relative[i], strlen(relative[i])))
            fail_msg("%s: accepted", relative[i]);
    }
}

static void refuses_everything_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(malformed); i++) {
        if (bb_uri_reference_valid(malformed[i], strlen(malformed[i])))
            fail_msg("%s: accepted", malformed[i]);
        assert_false(bb_uri_valid(malformed[i], strlen(malformed[i])));
    }
    assert_false(bb_uri_reference_valid("a\0b", 3));
    assert_false(bb_uri_reference_valid("//a\0b/", 6));
}

/* Section 3.3 and Appendix A: what a path may hold besides %HH. */
static void every_byte_of_a_path(void **state)
{
    (void)state;
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:@/?#";
    for (int byte = 0; byte < 256; byte++) {
        char text[] = "/x.y";
        text[2] = (char)byte;
        bool good = byte != 0 && strchr(allowed, byte) != NULL;
        assert_int_equal(bb_uri_reference_valid(text, 4), good);
    }
}

static void every_byte_of_a_scheme(void **state)
{
    (void)state;
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const char others[] = "0123456789+-.";
    for (int byte = 1; byte < 256; byte++) {
        char first[] = "?b:c";
        char second[] = "a?:c";
        first[0] = (char)byte;
        second[1] = (char)byte;
        assert_int_equal(bb_uri_valid(first, 4), strchr(letters, byte) != NULL);
        bool colon = byte == ':'; /* ends a shorter scheme */
        assert_int_equal(bb_uri_valid(second, 4), colon || strchr(letters, byte) || strchr(others, byte));
    }
}

static void every_byte_behind_a_percent_sign(void **state)
{
    (void)state;
    for (int byte = 1; byte < 256; byte++) {
        char text[] = "%00";
        bool hex = strchr("0123456789abcdefABCDEF", byte) != NULL;
        text[1] = (char)byte;
        assert_int_equal(bb_uri_reference_valid(text, 3), hex);
        text[1] = '0';
        text[2] = (char)byte;
        assert_int_equal(bb_uri_reference_valid(text, 3), hex);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_references),      cmocka_unit_test(tells_which_have_a_scheme),
        cmocka_unit_test(refuses_everything_else), cmocka_unit_test(every_byte_of_a_path),
        cmocka_unit_test(every_byte_of_a_scheme),  cmocka_unit_test(every_byte_behind_a_percent_sign),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
