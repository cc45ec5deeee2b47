/* SPDX-License-Identifier: MIT */
#include "backoff.h"

#define BASE_DEFAULT_MS      1000u
#define CAP_DEFAULT_MS       300000u
#define ATTEMPTS_DEFAULT     10u
#define DECORRELATED_STRETCH 3u /* of the last wait, at most */
#define FIELDS               5

static uint64_t base_of(const busbar_retry *retry)
{
    return retry->base_ms > 0 ? retry->base_ms : BASE_DEFAULT_MS;
}

static uint64_t cap_of(const busbar_retry *retry)
{
    return retry->cap_ms > 0 ? retry->cap_ms : CAP_DEFAULT_MS;
}

int bb_backoff_check(const busbar_retry *retry)
{
    bool known = (unsigned)retry->jitter <= BUSBAR_JITTER_NONE;
    return known && retry->max_age_ms <= INT64_MAX ? BUSBAR_OK : BUSBAR_ERETRY;
}

/* A number between low and high, in proportion to `random`. */
static uint64_t between(uint64_t low, uint64_t high, uint32_t random)
{
    return high > low ? low + (high - low) * random / UINT32_MAX : high;
}

static uint64_t doubled(uint64_t base, uint64_t cap, uint32_t attempt)
{
    uint64_t wait = base;
    for (uint32_t i = 1; i < attempt && wait < cap; i++)
        wait *= 2;
    return wait < cap ? wait : cap;
}

uint64_t bb_backoff_wait_ms(const busbar_retry *retry, uint32_t attempt, uint64_t last_ms, uint32_t random)
{
    uint64_t base = base_of(retry);
    uint64_t cap = cap_of(retry);
    uint64_t wait = doubled(base, cap, attempt);
    uint64_t stretched = (last_ms > base ? last_ms : base) * DECORRELATED_STRETCH;
    switch (retry->jitter) {
    case BUSBAR_JITTER_FULL:
        return between(0, wait, random);
    case BUSBAR_JITTER_DECORRELATED:
        return between(base < cap ? base : cap, stretched < cap ? stretched : cap, random);
    case BUSBAR_JITTER_NONE:
        return wait;
    case BUSBAR_JITTER_EQUAL:
    default:
        return wait - between(0, wait, random) / 2;
    }
}

bool bb_backoff_over(const busbar_retry *retry, uint32_t attempts, uint64_t age_ms)
{
    uint32_t most = retry->max_attempts > 0 ? retry->max_attempts : ATTEMPTS_DEFAULT;
    bool spent = most != BUSBAR_UNLIMITED && attempts >= most;
    return spent || (retry->max_age_ms > 0 && age_ms >= retry->max_age_ms);
}

void bb_backoff_write(const busbar_retry *retry, bb_text *text)
{
    bb_text_add_int(text, retry->base_ms);
    bb_text_add_char(text, ' ');
    bb_text_add_int(text, retry->cap_ms);
    bb_text_add_char(text, ' ');
    bb_text_add_int(text, retry->max_attempts);
    bb_text_add_char(text, ' ');
    bb_text_add_int(text, (int64_t)retry->jitter);
    bb_text_add_char(text, ' ');
    bb_text_add_int(text, (int64_t)retry->max_age_ms);
}

/* One number without sign; false if there is none or it is above `most`. */
static bool read_number(const char **cursor, uint64_t most, uint64_t *out_value)
{
    const char *c = *cursor;
    uint64_t value = 0;
    if (*c < '0' || *c > '9')
        return false;
    for (; *c >= '0' && *c <= '9'; c++) {
        uint64_t digit = (uint64_t)(*c - '0');
        if (digit > most || value > (most - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *cursor = c;
    *out_value = value;
    return true;
}

bool bb_backoff_read(const char *text, busbar_retry *out_retry)
{
    static const uint64_t most[FIELDS] = {UINT32_MAX, UINT32_MAX, UINT32_MAX, BUSBAR_JITTER_NONE, INT64_MAX};
    uint64_t values[FIELDS] = {0};
    for (int i = 0; i < FIELDS; i++) {
        if (!read_number(&text, most[i], &values[i]) || *text != (i + 1 < FIELDS ? ' ' : '\0'))
            return false;
        text++;
    }
    *out_retry = (busbar_retry){.base_ms = (uint32_t)values[0],
                                .cap_ms = (uint32_t)values[1],
                                .max_attempts = (uint32_t)values[2],
                                .jitter = (busbar_jitter)values[3],
                                .max_age_ms = values[4]};
    return true;
}
