/* SPDX-License-Identifier: MIT */
/* Media types: their grammar, and which are JSON to everyone else who reads CloudEvents. */
#include "test.h"

#include "media.h"

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

static void accepts_media_types(void **state)
{
    (void)state;
    static const char *const good[] = {
        "text/plain",
        "application/json",
        "application/vnd.acme.v1+json",
        "text/xml;charset=utf-8",
        "text/plain; charset=utf-8",
        "text/plain ; charset=\"utf-8\"",
        "a/b;c=d;e=f",
        "a/b;c=\"\"",
        "a/b;c=\"x\\\"y;z\"",
        "text/json;",
        "text/json; ",
        "a/b;;c=d",
        "*/*",
        "x-y/z.1",
        "a/b;c=\"gr\xc3\xbcn\"",
    };
    for (size_t i = 0; i < COUNT(good); i++) {
        if (!bb_media_type_valid(good[i]))
            fail_msg("%s: refused", good[i]);
    }
}

static void refuses_everything_else(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "xyz",
        "/",
        "a/",
        "/b",
        "a /b",
        "a/ b",
        " a/b",
        "a/b ",
        "text/json ",
        "a/b c",
        "a/b/c",
        "a/b;c",
        "a/b;=d",
        "a/b;c=",
        "a/b;c =d",
        "a/b;c= d",
        "a/b;c=\"d",
        "a/b;c=\"d\\",
        "a/b;c=\"d\"e",
        "a/b,c/d",
        "a/b;c=d e",
        "a/\xc3\xb6",
        "a/b;c=\xc3\xb6",
        "a/b;\tc=d",
        "a/b\n",
        "a/b;c=\"\x01\"",
        "a/b;c=\"\xff\"",
        "a/(b)",
        "a/b;c=d;e=\"",
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        if (bb_media_type_valid(bad[i]))
            fail_msg("%s: accepted", bad[i]);
    }
}

static void knows_json(void **state)
{
    (void)state;
    static const char *const json[] = {
        "application/json",
        "text/json",
        "APPLICATION/JSON",
        "Application/Json",
        "application/cloudevents+json",
        "application/geo+JSON",
        "application/vnd.acme.v1+json; charset=utf-8",
        "text/json;",
        "text/json;\tcharset=utf-8",
        "text/json; charset=\"utf-8\"",
        "application/json;charset=utf-8",
        "text/json ; a=b",
        "image/svg+json",
        "application/x+y+json",
        "model/json",
    };
    static const char *const other[] = {
        "application/jsom",
        "text/json ",
        "text/json\t",
        "text/plain",
        "application/xml",
        "application/json-seq",
        "application/jsonp",
        "application/xjson",
        "application/+json",
        "json",
        "/json",
        "application/",
        "application",
        "application/json/x",
        "",
        "text/plain;a=json",
        "text/plain; x=application/json",
        " application/json",
        "application/json+xml",
        "application/jso",
        "application/jron",
        "application/jsnn",
        "application/kson",
        "application/son",
    };
    for (size_t i = 0; i < COUNT(json); i++) {
        if (!bb_media_type_is_json(json[i]))
            fail_msg("%s: not JSON", json[i]);
    }
    for (size_t i = 0; i < COUNT(other); i++) {
        if (bb_media_type_is_json(other[i]))
            fail_msg("%s: JSON", other[i]);
    }
}

/* RFC 9110, section 5.6.2. */
static void every_byte_of_a_token(void **state)
{
    (void)state;
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~";
    for (int byte = 1; byte < 256; byte++) {
        char text[] = "a/x?y";
        text[3] = (char)byte;
        assert_int_equal(bb_media_type_valid(text), strchr(allowed, byte) != NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_media_types),
        cmocka_unit_test(refuses_everything_else),
        cmocka_unit_test(knows_json),
        cmocka_unit_test(every_byte_of_a_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
