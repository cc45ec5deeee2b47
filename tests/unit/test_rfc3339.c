/* SPDX-License-Identifier: MIT */
/* Timestamps, there and back (P10: a time is right, or not there at all). */
#include "test.h"

#include "rfc3339.h"

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

#define FIRST_MS INT64_C(-62167219200000)
#define LAST_MS  INT64_C(253402300799999)

static void reads_timestamps(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01T00:00:00.001Z", 1},
        {"1969-12-31T23:59:59.999Z", -1},
        {"2026-11-20T20:41:37.123Z", 1795207297123},
        {"2026-11-20t20:41:37.123z", 1795207297123},
        {"2000-02-29T12:00:00Z", 951825600000},
        {"2018-04-05T17:31:00Z", 1522949460000},
        {"2018-04-05T17:31:00.123456789Z", 1522949460123},
        {"2018-04-05T17:31:00.1239999999999999999999999999Z", 1522949460123},
        {"2018-04-05T17:31:00.5Z", 1522949460500},
        {"2018-04-05T18:31:00+01:00", 1522949460000},
        {"2018-04-05T16:31:00-01:00", 1522949460000},
        {"2018-04-05T17:31:00-00:00", 1522949460000},
        {"2018-04-06T17:30:00+23:59", 1522949460000},
        {"0000-01-01T00:00:00Z", FIRST_MS},
        {"9999-12-31T23:59:59.999Z", LAST_MS},
        {"0000-01-01T00:00:00+00:01", FIRST_MS - 60000},
        {"9999-12-31T23:59:00-00:01", LAST_MS - 59999 + 60000},
        /* RFC 3339, section 5.8: a leap second, and the same one seen from elsewhere */
        {"1990-12-31T23:59:60Z", 662687999999},
        {"1990-12-31T15:59:60-08:00", 662687999999},
        {"1990-12-31T23:59:60.5Z", 662687999999},
        {"1991-01-01T00:00:00Z", 662688000000},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t ms = 4711;
        if (!bb_rfc3339_parse(cases[i].text, &ms))
            fail_msg("%s: refused", cases[i].text);
        assert_int_equal(ms, cases[i].ms);
        assert_true(bb_rfc3339_parse(cases[i].text, NULL));
    }
}

static void refuses_everything_else(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "garbage",
        "2018",
        "2018-04-05",
        "2018-04-05T17:31Z",
        "2018-04-05T17:31:00",
        "2018-04-05T17:31:00X",
        "2018-04-05T17:31:00+25:00",
        "2018-04-05T17:31:00+xx:00",
        "2018-04-05T17:31:00+01",
        "2018-04-05T17:31:00+0100",
        "2018-04-05T17:31:00+01:60",
        "2018-04-05T17:31:00+24:00",
        "2018-04-05T17:31:00+1:00",
        "2018-04-05 17:31:00Z",
        "2018-04-05T17:31:00.Z",
        "2018-04-05T17:31:00,5Z",
        "2018-04-05T17:31:00Z ",
        " 2018-04-05T17:31:00Z",
        "2018-04-05T17:31:00ZZ",
        "2018-04-05T24:00:00Z",
        "2018-04-05T17:60:00Z",
        "2018-04-05T17:31:61Z",
        "2018-04-05T17:31:60Z",
        "2018-04-05T23:59:60+01:00",
        "2018-13-05T17:31:00Z",
        "2018-00-05T17:31:00Z",
        "2018-04-00T17:31:00Z",
        "2018-04-31T17:31:00Z",
        "2018-02-29T17:31:00Z",
        "1900-02-29T17:31:00Z",
        "2000-02-30T17:31:00Z",
        "18-04-05T17:31:00Z",
        "2018-04-0:T17:31:00Z",
        "2018-04-05T17:31:00.:Z",
        "2018-04-0/T17:31:00Z",
        "2018-04-05T17:31:00+0/:00",
        "20180405T173100Z",
        "2018-4-5T17:31:00Z",
        "+018-04-05T17:31:00Z",
        "-018-04-05T17:31:00Z",
        "2018-04-05T17:31:00.5",
        "2018-04-05T1:31:00Z",
        "2018-04-05T17:31:00.-5Z",
        "12018-04-05T17:31:00Z",
        "2018-04-05T17:31:00.1\xc3\xa4Z",
        "2018-04-05T17:31:00\xe2\x88\x92",
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        int64_t ms = 4711;
        if (bb_rfc3339_parse(bad[i], &ms))
            fail_msg("%s: accepted", bad[i]);
        assert_int_equal(ms, 4711);
    }
}

/* Counts the days of ten thousand years one by one, and asks for each of them. */
static void every_day_of_the_calendar(void **state)
{
    (void)state;
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t ms = FIRST_MS;
    for (int year = 0; year <= 9999; year++) {
        bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        for (int month = 1; month <= 12; month++) {
            int last = days[month - 1] + (month == 2 && leap ? 1 : 0);
            for (int day = 1; day <= last; day++, ms += 86400000) {
                char text[BB_RFC3339_SIZE];
                bb_rfc3339_format(ms, text);
                int got_year = (text[0] - '0') * 1000 + (text[1] - '0') * 100 + (text[2] - '0') * 10 + text[3] - '0';
                int got_month = (text[5] - '0') * 10 + text[6] - '0';
                int got_day = (text[8] - '0') * 10 + text[9] - '0';
                int64_t back = 0;
                if (got_year != year || got_month != month || got_day != day || !bb_rfc3339_parse(text, &back) ||
                    back != ms)
                    fail_msg("%04d-%02d-%02d became %s", year, month, day, text);
            }
        }
    }
    assert_int_equal(ms, LAST_MS + 1);
}

static void no_month_has_a_day_more(void **state)
{
    (void)state;
    static const char *const behind_the_last[] = {"01-32", "02-29", "03-32", "04-31", "05-32", "06-31",
                                                  "07-32", "08-32", "09-31", "10-32", "11-31", "12-32"};
    for (size_t i = 0; i < COUNT(behind_the_last); i++) {
        char text[] = "2018-01-01T00:00:00Z";
        memcpy(text + 5, behind_the_last[i], 5);
        assert_false(bb_rfc3339_parse(text, NULL));
    }
}

static void every_second_of_a_day(void **state)
{
    (void)state;
    for (int second = 0; second < 86400; second++) {
        int64_t ms = INT64_C(1795132800000) + second * INT64_C(1000) + second % 1000;
        char text[BB_RFC3339_SIZE];
        bb_rfc3339_format(ms, text);
        int hours = (text[11] - '0') * 10 + text[12] - '0';
        int minutes = (text[14] - '0') * 10 + text[15] - '0';
        int seconds = (text[17] - '0') * 10 + text[18] - '0';
        assert_int_equal(hours * 3600 + minutes * 60 + seconds, second);
        assert_true(minutes < 60 && seconds < 60);
        int64_t back = 0;
        assert_true(bb_rfc3339_parse(text, &back));
        assert_int_equal(back, ms);
    }
}

static void writes_timestamps(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {1795207297123, "2026-11-20T20:41:37.123Z"},
        {FIRST_MS, "0000-01-01T00:00:00.000Z"},
        {LAST_MS, "9999-12-31T23:59:59.999Z"},
        {FIRST_MS - 1, "0000-01-01T00:00:00.000Z"},
        {LAST_MS + 1, "9999-12-31T23:59:59.999Z"},
        {INT64_MIN, "0000-01-01T00:00:00.000Z"},
        {INT64_MAX, "9999-12-31T23:59:59.999Z"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[BB_RFC3339_SIZE];
        bb_rfc3339_format(cases[i].ms, text);
        assert_string_equal(text, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_timestamps),          cmocka_unit_test(refuses_everything_else),
        cmocka_unit_test(every_day_of_the_calendar), cmocka_unit_test(no_month_has_a_day_more),
        cmocka_unit_test(every_second_of_a_day),     cmocka_unit_test(writes_timestamps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
