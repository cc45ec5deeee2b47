/* SPDX-License-Identifier: MIT */
/* Every code of the list has its own value, name and sentence (P12: faults are clear codes). */
#include "test.h"

#include <busbar/busbar.h>

typedef struct entry {
    const char *name;
    int code;
    const char *text;
} entry;

static const entry entries[] = {
#define ENTRY(name, value, text) {"BUSBAR_" #name, value, text},
    BUSBAR_ERROR_MAP(ENTRY)
#undef ENTRY
};
static const size_t entry_count = sizeof entries / sizeof entries[0];

static void names_and_texts_come_from_the_list(void **state)
{
    (void)state;
    for (size_t i = 0; i < entry_count; i++) {
        assert_string_equal(busbar_error_name(entries[i].code), entries[i].name);
        assert_string_equal(busbar_error_text(entries[i].code), entries[i].text);
    }
    assert_int_equal(BUSBAR_EFULL, -74);
    assert_string_equal(busbar_error_name(BUSBAR_EFULL), "BUSBAR_EFULL");
}

static void codes_are_negative_and_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < entry_count; i++) {
        assert_true(entries[i].code < 0);
        assert_true(strlen(entries[i].text) > 0 && strlen(entries[i].text) < BUSBAR_DETAIL_SIZE);
        for (size_t j = 0; j < i; j++) {
            assert_int_not_equal(entries[i].code, entries[j].code);
            assert_string_not_equal(entries[i].text, entries[j].text);
        }
    }
}

static void other_results_have_texts_too(void **state)
{
    (void)state;
    assert_string_equal(busbar_error_name(BUSBAR_OK), "BUSBAR_OK");
    assert_string_equal(busbar_error_name(BUSBAR_DUPLICATE), "BUSBAR_DUPLICATE");
    assert_true(strlen(busbar_error_text(BUSBAR_OK)) > 0);
    assert_true(strlen(busbar_error_text(BUSBAR_DUPLICATE)) > 0);
    assert_string_equal(busbar_error_name(-9999), "BUSBAR_UNKNOWN");
    assert_string_equal(busbar_error_name(2), "BUSBAR_UNKNOWN");
    assert_true(strlen(busbar_error_text(-9999)) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_texts_come_from_the_list),
        cmocka_unit_test(codes_are_negative_and_apart),
        cmocka_unit_test(other_results_have_texts_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
