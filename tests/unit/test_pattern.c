/* SPDX-License-Identifier: MIT */
/* Type patterns: `*` is one segment, `#` any number; a slow, obvious matcher must agree on everything small. */
#include "test.h"

#include <busbar/busbar.h>

#include "pattern.h"

static const struct {
    const char *pattern;
    const char *type;
    bool matches;
} documented[] = {
    {NULL, "a", true},
    {NULL, "a.b.c", true},
    {"#", "a", true},
    {"#", "a.b.c", true},
    {"a", "a", true},
    {"a", "b", false},
    {"a", "ab", false},
    {"ab", "a", false},
    {"a", "a.b", false},
    {"a.b", "a", false},
    {"a.b", "a.b", true},
    {"a.b", "a.bc", false},
    {"a.bc", "a.b", false},
    {"a.b", "ab", false},
    {"*", "a", true},
    {"*", "a.b", false},
    {"a.*", "a.b", true},
    {"a.*", "a", false},
    {"a.*", "a.b.c", false},
    {"*.b", "a.b", true},
    {"*.b", "b", false},
    {"*.*", "a.b", true},
    {"*.*", "a", false},
    {"a.*.c", "a.b.c", true},
    {"a.*.c", "a.c", false},
    {"a.*.c", "a.b.d", false},
    {"a.#", "a", true},
    {"a.#", "a.b", true},
    {"a.#", "a.b.c", true},
    {"a.#", "ab", false},
    {"a.#", "b", false},
    {"#.a", "a", true},
    {"#.a", "b.a", true},
    {"#.a", "c.b.a", true},
    {"#.a", "a.b", false},
    {"#.a", "ba", false},
    {"a.#.b", "a.b", true},
    {"a.#.b", "a.x.b", true},
    {"a.#.b", "a.b.b", true},
    {"a.#.b", "a.x.y.b", true},
    {"a.#.b", "a", false},
    {"a.#.b", "b", false},
    {"a.#.b", "a.b.c", false},
    {"#.#", "a", true},
    {"#.*", "a", true},
    {"*.#", "a", true},
    {"*.#.*", "a", false},
    {"*.#.*", "a.b", true},
    {"#.a.#", "x.a.y", true},
    {"#.a.#", "a", true},
    {"#.a.#", "x.y", false},
    {"#.a.b.#", "a.a.b", true},
    {"#.a.*.b.#", "a.a.a.b.c", true},
    {"#.a.#.b.#.c", "x.a.b.a.c.b.c", true},
    {"#.a.#.b.#.c", "c.b.a", false},
    {"door.*", "door.\xc3\xb6n", true},
    {"pump.alarm", "pump.alarm", true},
    {"pump.alarm", "pump.alarms", false},
    {"pump.alarms", "pump.alarm", false},
};

static void matches_as_documented(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof documented / sizeof documented[0]; i++) {
        assert_true(bb_pattern_valid(documented[i].pattern));
        if (bb_pattern_match(documented[i].pattern, documented[i].type) != documented[i].matches)
            fail_msg("%s on %s", documented[i].pattern, documented[i].type);
    }
}

/* The definition, as recursion over segments of one character. */
static bool obvious(const char *pattern, const char *type)
{
    if (*pattern == '\0')
        return *type == '\0';
    const char *rest = pattern[1] == '.' ? pattern + 2 : pattern + 1;
    const char *less = *type == '\0' ? type : type[1] == '.' ? type + 2 : type + 1;
    if (*pattern == '#')
        return obvious(rest, type) || (*type != '\0' && obvious(pattern, less));
    return *type != '\0' && (*pattern == '*' || *pattern == *type) && obvious(rest, less);
}

/* The `number`-th text of up to five segments from `letters`. */
static void compose(unsigned number, unsigned count, const char *letters, char out[12])
{
    size_t base = strlen(letters);
    for (unsigned i = 0; i < count; i++) {
        *out++ = letters[number % base];
        *out++ = '.';
        number /= (unsigned)base;
    }
    out[-1] = '\0';
}

static unsigned power(unsigned base, unsigned exponent)
{
    return exponent == 0 ? 1 : base * power(base, exponent - 1);
}

static void agrees_with_the_definition_on_all_short_patterns(void **state)
{
    (void)state;
    for (unsigned pattern_count = 1; pattern_count <= 5; pattern_count++) {
        for (unsigned p = 0; p < power(4, pattern_count); p++) {
            char pattern[12];
            compose(p, pattern_count, "ab*#", pattern);
            for (unsigned type_count = 1; type_count <= 5; type_count++) {
                for (unsigned t = 0; t < power(2, type_count); t++) {
                    char type[12];
                    compose(t, type_count, "ab", type);
                    if (bb_pattern_match(pattern, type) != obvious(pattern, type))
                        fail_msg("%s on %s", pattern, type);
                }
            }
        }
    }
}

/* With exponential back-tracking this would not end in a lifetime; it takes some microseconds. */
static void many_hashes_do_not_blow_up(void **state)
{
    (void)state;
    char pattern[BUSBAR_PATTERN_MAX + 1] = "";
    char type[BUSBAR_TYPE_MAX + 1] = "";
    for (int i = 0; i < 60; i++) {
        strcat(pattern, "#.a.");
        strcat(type, "a.a.");
    }
    strcat(pattern, "b");
    strcat(type, "a");
    assert_true(bb_pattern_valid(pattern));
    assert_false(bb_pattern_match(pattern, type));
    type[strlen(type) - 1] = 'b';
    assert_true(bb_pattern_match(pattern, type));
}

static void refuses_malformed_patterns(void **state)
{
    (void)state;
    static const char *const bad[] = {"",    ".",  "a.",   ".a",   "a..b",   "a*",     "*a", "a.b*", "a.*b.c",
                                      "**",  "##", "#*",   "a#",   "#a",     "a.#.b#", "+",  "a.+",  "a+b",
                                      "a b", " ",  "a.\n", "\x80", "a.\xc3", "\x7f",   "#.", ".#"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (bb_pattern_valid(bad[i]))
            fail_msg("%s: accepted", bad[i]);
    }
    assert_true(bb_pattern_valid(NULL));
}

static void patterns_have_a_largest_size(void **state)
{
    (void)state;
    char pattern[BUSBAR_PATTERN_MAX + 2];
    memset(pattern, 'a', sizeof pattern);
    pattern[BUSBAR_PATTERN_MAX] = '\0';
    assert_true(bb_pattern_valid(pattern));
    pattern[BUSBAR_PATTERN_MAX] = 'a';
    pattern[BUSBAR_PATTERN_MAX + 1] = '\0';
    assert_false(bb_pattern_valid(pattern));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_as_documented),
        cmocka_unit_test(agrees_with_the_definition_on_all_short_patterns),
        cmocka_unit_test(many_hashes_do_not_blow_up),
        cmocka_unit_test(refuses_malformed_patterns),
        cmocka_unit_test(patterns_have_a_largest_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
