/* SPDX-License-Identifier: MIT */
#include "value.h"

#include <string.h>

#define DURATION_MAX_MS (100ull * 365 * 86400 * 1000)

/* Reads digits from *at on, and moves it behind them. False without digits, or if the number is larger than max. */
static bool read_number(const char **at, uint64_t max, uint64_t *out)
{
    const char *c = *at;
    uint64_t number = 0;
    for (; *c >= '0' && *c <= '9'; c++) {
        uint64_t digit = (uint64_t)(*c - '0');
        if (digit > max || number > (max - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    if (c == *at)
        return false;
    *at = c;
    *out = number;
    return true;
}

bool value_number(const char *text, uint64_t max, uint64_t *out)
{
    uint64_t number;
    if (!read_number(&text, max, &number) || *text != '\0')
        return false;
    *out = number;
    return true;
}

bool value_bytes(const char *text, uint64_t *out_bytes)
{
    static const char units[] = "KMG";
    uint64_t number;
    unsigned shift = 0;
    if (!read_number(&text, INT64_MAX, &number))
        return false;
    if (*text != '\0') {
        const char *unit = strchr(units, *text++);
        if (unit == NULL || *text != '\0')
            return false;
        shift = 10 * (unsigned)(unit - units + 1);
    }
    if (number > (uint64_t)INT64_MAX >> shift)
        return false;
    *out_bytes = number << shift;
    return true;
}

/* The unit at `text`, in milliseconds; 0: none. */
static uint64_t read_unit(const char *text, size_t *out_length)
{
    static const struct {
        const char *name;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {"w", 604800000}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        *out_length = strlen(units[i].name);
        if (strncmp(text, units[i].name, *out_length) == 0)
            return units[i].ms;
    }
    return 0;
}

bool value_duration(const char *text, uint64_t *out_ms)
{
    uint64_t total_ms = 0;
    do {
        uint64_t number;
        size_t length;
        if (!read_number(&text, DURATION_MAX_MS, &number))
            return false;
        uint64_t unit_ms = read_unit(text, &length);
        if (unit_ms == 0 || number > (DURATION_MAX_MS - total_ms) / unit_ms)
            return false;
        total_ms += number * unit_ms;
        text += length;
    } while (*text != '\0');
    *out_ms = total_ms;
    return true;
}

/* Days from 1970-01-01 to a date of the Gregorian calendar, year 1 to 9999; counts from March, so leap days come last. */
static int64_t days_since_1970(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month > 2 ? year : year - 1;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return y * 365 + y / 4 - y / 100 + y / 400 + day_of_year - 719468;
}

/* Reads `count` digits as a number between min and max. */
static bool read_digits(const char **at, int count, int64_t min, int64_t max, int64_t *out)
{
    int64_t number = 0;
    for (int i = 0; i < count; i++) {
        char c = (*at)[i];
        if (c < '0' || c > '9')
            return false;
        number = number * 10 + (c - '0');
    }
    *at += count;
    *out = number;
    return number >= min && number <= max;
}

static bool read_character(const char **at, const char *allowed)
{
    if (**at == '\0' || strchr(allowed, **at) == NULL)
        return false;
    ++*at;
    return true;
}

static bool read_date(const char **at, int64_t *out_days)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t year;
    int64_t month;
    int64_t day;
    if (!read_digits(at, 4, 1, 9999, &year) || !read_character(at, "-") || !read_digits(at, 2, 1, 12, &month) ||
        !read_character(at, "-") || !read_digits(at, 2, 1, 31, &day))
        return false;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (day > lengths[month - 1] + (month == 2 && leap))
        return false;
    *out_days = days_since_1970(year, month, day);
    return true;
}

/* Reads hh:mm:ss with a fraction, of which milliseconds are kept. */
static bool read_clock(const char **at, int64_t *out_ms)
{
    int64_t hour;
    int64_t minute;
    int64_t second;
    if (!read_digits(at, 2, 0, 23, &hour) || !read_character(at, ":") || !read_digits(at, 2, 0, 59, &minute) ||
        !read_character(at, ":") || !read_digits(at, 2, 0, 60, &second))
        return false;
    int64_t ms = ((hour * 60 + minute) * 60 + second) * 1000;
    if (read_character(at, ".")) {
        int64_t digit;
        if (!read_digits(at, 1, 0, 9, &digit))
            return false;
        int64_t weight = 100;
        do {
            ms += digit * weight;
            weight /= 10;
        } while (read_digits(at, 1, 0, 9, &digit));
    }
    *out_ms = ms;
    return true;
}

static bool read_zone(const char **at, int64_t *out_ms)
{
    if (read_character(at, "Zz")) {
        *out_ms = 0;
        return true;
    }
    int64_t hours;
    int64_t minutes;
    int64_t sign = **at == '-' ? -1 : 1;
    if (!read_character(at, "+-") || !read_digits(at, 2, 0, 23, &hours) || !read_character(at, ":") ||
        !read_digits(at, 2, 0, 59, &minutes))
        return false;
    *out_ms = sign * (hours * 60 + minutes) * 60000;
    return true;
}

bool value_time(const char *text, int64_t *out_ms)
{
    int64_t days;
    int64_t clock_ms = 0;
    int64_t zone_ms = 0;
    if (!read_date(&text, &days))
        return false;
    if (*text != '\0' &&
        (!read_character(&text, "Tt ") || !read_clock(&text, &clock_ms) || !read_zone(&text, &zone_ms)))
        return false;
    if (*text != '\0')
        return false;
    *out_ms = days * 86400000 + clock_ms - zone_ms;
    return true;
}

bool value_since(const char *text, int64_t now_ms, int64_t *out_ms)
{
    uint64_t ago_ms;
    if (value_time(text, out_ms))
        return true;
    if (!value_duration(text, &ago_ms))
        return false;
    *out_ms = now_ms - (int64_t)ago_ms;
    return true;
}

bool value_lane(const char *text, busbar_lane *out)
{
    for (int i = 0; i < BUSBAR_LANE_COUNT; i++)
        if (strcmp(text, busbar_lane_name((busbar_lane)i)) == 0) {
            *out = (busbar_lane)i;
            return true;
        }
    return false;
}

bool value_state(const char *text, busbar_state *out)
{
    for (int i = BUSBAR_STATE_PENDING; i <= BUSBAR_STATE_SCHEDULED; i++)
        if (strcmp(text, busbar_state_name((busbar_state)i)) == 0) {
            *out = (busbar_state)i;
            return true;
        }
    return false;
}

static bool read_integer(const char *text, int32_t *out)
{
    bool negative = text[0] == '-';
    uint64_t number;
    if (!value_number(text + negative, negative ? 1ull + INT32_MAX : INT32_MAX, &number))
        return false;
    *out = (int32_t)(negative ? -(int64_t)number : (int64_t)number);
    return true;
}

static bool read_boolean(const char *text, int32_t *out)
{
    *out = strcmp(text, "true") == 0;
    return *out != 0 || strcmp(text, "false") == 0;
}

/* The part of the name after a colon chooses the type. */
static bool read_typed(const char *type, size_t length, const char *value, busbar_attribute *out)
{
    if (length == 0) {
        out->type = BUSBAR_ATTRIBUTE_STRING;
        out->string = value;
        return true;
    }
    if (length == 4 && memcmp(type, ":int", 4) == 0) {
        out->type = BUSBAR_ATTRIBUTE_INTEGER;
        return read_integer(value, &out->integer);
    }
    out->type = BUSBAR_ATTRIBUTE_BOOLEAN;
    return length == 5 && memcmp(type, ":bool", 5) == 0 && read_boolean(value, &out->integer);
}

bool value_extension(const char *text, char *name, size_t name_size, busbar_attribute *out)
{
    const char *equals = strchr(text, '=');
    size_t length = strcspn(text, ":=");
    if (equals == NULL || length == 0 || length >= name_size)
        return false;
    busbar_attribute attribute = {.name = name};
    if (!read_typed(text + length, (size_t)(equals - text) - length, equals + 1, &attribute))
        return false;
    memcpy(name, text, length);
    name[length] = '\0';
    *out = attribute;
    return true;
}
