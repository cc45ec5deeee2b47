/* SPDX-License-Identifier: MIT */
/* Topic templates: what they may say, and that no event can make a wildcard or a broker's own topic of one. */
#include "test.h"

#include "topic.h"

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

static const busbar_record record = {
    .size = sizeof record,
    .lane = BUSBAR_URGENT,
    .seq = 42,
    .id = "token-u42",
    .source = "/site/7",
    .type = "door.opened",
    .subject = "a+b#c%d",
};

static void accepts_templates(void **state)
{
    (void)state;
    static const char *const good[] = {"a",
                                       "/",
                                       "devices/{source}/{type}",
                                       "{type}",
                                       "{type}{source}{subject}{key}{id}{lane}",
                                       "a b/$c",
                                       "Gr\xc3\xbc\xc3\x9f/{lane}",
                                       "a//b"};
    for (size_t i = 0; i < COUNT(good); i++) {
        if (bb_topic_check(good[i]) != BUSBAR_OK)
            fail_msg("%s: refused", good[i]);
    }
}

static void refuses_everything_else(void **state)
{
    (void)state;
    static const char *const bad[] = {"",        "{",      "}",          "a/{type",       "a/type}",
                                      "{}",      "{Type}", "{types}",    "{type }",       "{{type}}",
                                      "{type}}", "{time}", "{data}",     "a/+",           "a/#",
                                      "#",       "a+b",    "$SYS/a",     "$share/{type}", "a\nb",
                                      "a\x7f",   "\xff",   "{type}\xc3", "{subject",      "{lane}{"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        if (bb_topic_check(bad[i]) != BUSBAR_ETOPIC)
            fail_msg("%s: accepted", bad[i]);
    }
    assert_int_equal(bb_topic_check(NULL), BUSBAR_ETOPIC);
}

static void templates_have_a_largest_size(void **state)
{
    (void)state;
    char template[BUSBAR_TOPIC_MAX + 2];
    memset(template, 'a', sizeof template);
    template[BUSBAR_TOPIC_MAX] = '\0';
    assert_int_equal(bb_topic_check(template), BUSBAR_OK);
    template[BUSBAR_TOPIC_MAX] = 'a';
    template[BUSBAR_TOPIC_MAX + 1] = '\0';
    assert_int_equal(bb_topic_check(template), BUSBAR_ETOPIC);
}

static void assert_topic(const char *template, const busbar_record *event, const char *expected)
{
    char topic[BUSBAR_TOPIC_MAX + 1];
    size_t size = 4711;
    assert_int_equal(bb_topic_expand(template, event, topic, sizeof topic, &size), BUSBAR_OK);
    assert_string_equal(topic, expected);
    assert_int_equal(size, strlen(expected));
}

static void fills_in_the_placeholders(void **state)
{
    (void)state;
    assert_topic("plain", &record, "plain");
    assert_topic("devices{source}/{type}", &record, "devices/site/7/door.opened");
    assert_topic("{lane}/{id}", &record, "urgent/token-u42");
    assert_topic("{type}{type}", &record, "door.openeddoor.opened");
    busbar_record keyed = record;
    keyed.key = "k/1";
    keyed.lane = BUSBAR_BULK;
    assert_topic("x/{key}/{lane}", &keyed, "x/k/1/bulk");
}

static void an_absent_value_is_named(void **state)
{
    (void)state;
    busbar_record bare = record;
    bare.subject = NULL;
    assert_topic("a/{subject}/{key}", &bare, "a/none/none");
}

static void no_event_makes_a_wildcard(void **state)
{
    (void)state;
    assert_topic("a/{subject}", &record, "a/a%2Bb%23c%d");
    busbar_record wild = record;
    wild.subject = "#";
    wild.key = "+/+";
    assert_topic("{subject}/{key}", &wild, "%23/%2B/%2B");
}

static void no_event_makes_a_topic_of_the_brokers(void **state)
{
    (void)state;
    busbar_record dollar = record;
    dollar.type = "$SYS.a$b";
    assert_topic("{type}", &dollar, "%24SYS.a$b");
    assert_topic("x/{type}", &dollar, "x/$SYS.a$b");
    dollar.subject = "$";
    assert_topic("{subject}{type}", &dollar, "%24$SYS.a$b");
}

static void refuses_what_is_too_long(void **state)
{
    (void)state;
    char topic[BUSBAR_TOPIC_MAX + 200];
    size_t size = 4711;
    assert_int_equal(bb_topic_expand("{type}", &record, topic, 12, &size), BUSBAR_OK);
    assert_int_equal(size, 11);
    size = 4711;
    assert_int_equal(bb_topic_expand("{type}", &record, topic, 11, &size), BUSBAR_ETOPIC);
    assert_int_equal(bb_topic_expand("{type}", &record, topic, 0, &size), BUSBAR_ETOPIC);
    char subject[BUSBAR_TOPIC_MAX + 1];
    memset(subject, 's', sizeof subject);
    subject[BUSBAR_TOPIC_MAX] = '\0';
    busbar_record longer = record;
    longer.subject = subject;
    assert_int_equal(bb_topic_expand("{subject}/", &longer, topic, sizeof topic, &size), BUSBAR_ETOPIC);
    assert_int_equal(size, 4711);
    assert_int_equal(bb_topic_expand("{subject}", &longer, topic, sizeof topic, &size), BUSBAR_OK);
    assert_int_equal(size, BUSBAR_TOPIC_MAX);
    assert_int_equal(bb_topic_expand("{other}", &longer, topic, sizeof topic, &size), BUSBAR_ETOPIC);
    longer.subject = "";
    assert_int_equal(bb_topic_expand("{subject}", &longer, topic, sizeof topic, &size), BUSBAR_ETOPIC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_templates),
        cmocka_unit_test(refuses_everything_else),
        cmocka_unit_test(templates_have_a_largest_size),
        cmocka_unit_test(fills_in_the_placeholders),
        cmocka_unit_test(an_absent_value_is_named),
        cmocka_unit_test(no_event_makes_a_wildcard),
        cmocka_unit_test(no_event_makes_a_topic_of_the_brokers),
        cmocka_unit_test(refuses_what_is_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
