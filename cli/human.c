/* SPDX-License-Identifier: MIT */
#define _POSIX_C_SOURCE 200809L

#include "human.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define YEAR_9999_END_MS 253402300799999

human human_time(int64_t time_ms)
{
    human out = {"-"};
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm parts;
    if (time_ms < 0 || time_ms > YEAR_9999_END_MS || gmtime_r(&seconds, &parts) == NULL)
        return out;
    size_t length = strftime(out.text, sizeof out.text, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(out.text + length, sizeof out.text - length, ".%03dZ", (int)(time_ms % 1000));
    return out;
}

human human_event_time(const busbar_record *event)
{
    human time = human_time(event->time_ms);
    human out;
    if (event->time_ms == BUSBAR_TIME_UNKNOWN || event->time_quality == BUSBAR_CLOCK_TRUSTED)
        return time;
    snprintf(out.text, sizeof out.text, "~%.*s", (int)sizeof out.text - 2, time.text);
    return out;
}

human human_duration(int64_t duration_ms)
{
    human out;
    int64_t s = duration_ms / 1000;
    if (duration_ms < 1000)
        snprintf(out.text, sizeof out.text, "%" PRId64 " ms", duration_ms);
    else if (s < 60)
        snprintf(out.text, sizeof out.text, "%" PRId64 ".%d s", s, (int)(duration_ms % 1000 / 100));
    else if (s < 3600)
        snprintf(out.text, sizeof out.text, "%" PRId64 "m %02ds", s / 60, (int)(s % 60));
    else if (s < 86400)
        snprintf(out.text, sizeof out.text, "%" PRId64 "h %02dm", s / 3600, (int)(s % 3600 / 60));
    else
        snprintf(out.text, sizeof out.text, "%" PRId64 "d %dh", s / 86400, (int)(s % 86400 / 3600));
    return out;
}

human human_eta(int64_t eta_s)
{
    human out = {"-"};
    if (eta_s == 0)
        return (human){"< 1 s"};
    if (eta_s >= 60 && eta_s <= INT64_MAX / 1000)
        return human_duration(eta_s * 1000);
    if (eta_s > 0 && eta_s < 60)
        snprintf(out.text, sizeof out.text, "%d s", (int)eta_s);
    return out;
}

human human_bytes(int64_t size_bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    human out;
    if (size_bytes < 1024) {
        snprintf(out.text, sizeof out.text, "%" PRId64 " B", size_bytes);
        return out;
    }
    double value = (double)size_bytes / 1024;
    size_t unit = 0;
    for (; value >= 1024 && unit + 1 < sizeof units / sizeof units[0]; unit++)
        value /= 1024;
    snprintf(out.text, sizeof out.text, "%.1f %s", value, units[unit]);
    return out;
}

human human_count(int64_t count)
{
    human digits;
    human out = {""};
    snprintf(digits.text, sizeof digits.text, "%" PRId64, count);
    size_t length = strlen(digits.text);
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0 && digits.text[i - 1] != '-')
            out.text[used++] = ',';
        out.text[used++] = digits.text[i];
    }
    out.text[used] = '\0';
    return out;
}
