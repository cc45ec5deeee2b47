/* SPDX-License-Identifier: MIT */
#include "rfc3339.h"

#include <stddef.h>

#define DAY_MS          INT64_C(86400000)
#define DAYS_TO_1970    719468                   /* from 0000-03-01 */
#define FIRST_MS        INT64_C(-62167219200000) /* 0000-01-01T00:00:00.000Z */
#define LAST_MS         INT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z */
#define DAYS_IN_400     146097
#define LEAP_SECOND     60
#define MINUTES_PER_DAY 1440

/* ---- The calendar ---- */
/* Years begin in March here, so that the leap day is their last, and months follow a straight line: 153 days in five. */

static int days_from_date(int year, int month, int day)
{
    int march_year = month > 2 ? year : year - 1;
    int march_month = month > 2 ? month - 3 : month + 9;
    int shifted = march_year + 400; /* year 0 may become -1; 400 years are a whole cycle */
    int days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + (153 * march_month + 2) / 5 + day - 1;
    return days - DAYS_IN_400 - DAYS_TO_1970;
}

static void date_from_days(int days, int *year, int *month, int *day)
{
    int shifted = days + DAYS_TO_1970 + DAYS_IN_400;
    int cycle = shifted / DAYS_IN_400;
    int in_cycle = shifted % DAYS_IN_400;
    int year_in_cycle = (in_cycle - in_cycle / 1460 + in_cycle / 36524 - in_cycle / 146096) / 365;
    int in_year = in_cycle - (year_in_cycle * 365 + year_in_cycle / 4 - year_in_cycle / 100);
    int march_month = (5 * in_year + 2) / 153;
    *day = in_year - (153 * march_month + 2) / 5 + 1;
    *month = march_month < 10 ? march_month + 3 : march_month - 9;
    *year = (cycle - 1) * 400 + year_in_cycle + (*month <= 2 ? 1 : 0);
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return month == 2 && leap ? 29 : days[month - 1];
}

/* ---- Reading ---- */
/* Each function takes the place in the text, and returns the place behind what it read, or NULL. */

static const char *read_digits(const char *at, int count, int *out_value)
{
    int value = 0;
    for (int i = 0; at && i < count; i++) {
        if (*at < '0' || *at > '9')
            return NULL;
        value = value * 10 + (*at++ - '0');
    }
    *out_value = value;
    return at;
}

/* Accepts either of two characters. */
static const char *read_char(const char *at, char a, char b)
{
    return at && (*at == a || *at == b) ? at + 1 : NULL;
}

static const char *read_date(const char *at, int *out_days)
{
    int year = 0;
    int month = 0;
    int day = 0;
    at = read_digits(at, 4, &year);
    at = read_digits(read_char(at, '-', '-'), 2, &month);
    at = read_digits(read_char(at, '-', '-'), 2, &day);
    if (!at || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month))
        return NULL;
    *out_days = days_from_date(year, month, day);
    return at;
}

/* The fraction that may follow the seconds. */
static const char *read_fraction(const char *at, int *out_ms)
{
    *out_ms = 0;
    if (*at != '.')
        return at;
    const char *first = ++at;
    for (int scale = 100; *at >= '0' && *at <= '9'; at++, scale /= 10)
        *out_ms += (*at - '0') * scale;
    return at > first ? at : NULL;
}

static const char *read_offset(const char *at, int *out_minutes)
{
    const char *zulu = read_char(at, 'Z', 'z');
    if (zulu) {
        *out_minutes = 0;
        return zulu;
    }
    int hours = 0;
    int minutes = 0;
    const char *behind = read_digits(read_char(at, '+', '-'), 2, &hours);
    behind = read_digits(read_char(behind, ':', ':'), 2, &minutes);
    if (!behind || hours > 23 || minutes > 59)
        return NULL;
    *out_minutes = (hours * 60 + minutes) * (*at == '-' ? -1 : 1);
    return behind;
}

/* A leap second ends the last minute of a day, in UTC. */
static bool second_valid(int second, int utc_minutes)
{
    return second < LEAP_SECOND ||
           (second == LEAP_SECOND && (utc_minutes + 1 + MINUTES_PER_DAY) % MINUTES_PER_DAY == 0);
}

bool bb_rfc3339_parse(const char *text, int64_t *out_ms)
{
    int days = 0;
    int hour = 0;
    int minute = 0;
    int second = 0;
    int fraction_ms = 0;
    int offset = 0;
    const char *at = read_char(read_date(text, &days), 'T', 't');
    at = read_digits(at, 2, &hour);
    at = read_digits(read_char(at, ':', ':'), 2, &minute);
    at = read_digits(read_char(at, ':', ':'), 2, &second);
    if (!at || hour > 23 || minute > 59)
        return false;
    at = read_fraction(at, &fraction_ms);
    at = at ? read_offset(at, &offset) : NULL;
    int utc_minutes = hour * 60 + minute - offset; /* from the day's beginning */
    if (!at || *at != '\0' || !second_valid(second, utc_minutes))
        return false;
    if (out_ms)
        *out_ms = days * DAY_MS + utc_minutes * INT64_C(60000) +
                  (second == LEAP_SECOND ? 59999 : second * 1000 + fraction_ms);
    return true;
}

/* ---- Writing ---- */

static char *write_digits(char *at, int count, int value, char behind)
{
    for (int i = count - 1; i >= 0; i--) {
        at[i] = (char)('0' + value % 10);
        value /= 10;
    }
    at[count] = behind;
    return at + count + 1;
}

void bb_rfc3339_format(int64_t ms, char out[BB_RFC3339_SIZE])
{
    if (ms < FIRST_MS)
        ms = FIRST_MS;
    if (ms > LAST_MS)
        ms = LAST_MS;
    int in_day = (int)((ms % DAY_MS + DAY_MS) % DAY_MS);
    int year;
    int month;
    int day;
    date_from_days((int)((ms - in_day) / DAY_MS), &year, &month, &day);
    char *at = write_digits(out, 4, year, '-');
    at = write_digits(at, 2, month, '-');
    at = write_digits(at, 2, day, 'T');
    at = write_digits(at, 2, in_day / 3600000, ':');
    at = write_digits(at, 2, in_day / 60000 % 60, ':');
    at = write_digits(at, 2, in_day / 1000 % 60, '.');
    at = write_digits(at, 3, in_day % 1000, 'Z');
    *at = '\0';
}
