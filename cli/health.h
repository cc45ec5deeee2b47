/* SPDX-License-Identifier: MIT */
/* The rules of health as options of a verb, and the verdict as JSON and for people. */
#ifndef HEALTH_H
#define HEALTH_H

#include "arguments.h"
#include "json_writer.h"

#include <busbar/busbar.h>

/* The first options of a verb's table; its own follow from HEALTH_OPTION_COUNT on. */
enum {
    HEALTH_MAX_PENDING,
    HEALTH_MAX_AGE,
    HEALTH_MAX_DEAD,
    HEALTH_MAX_FAILING,
    HEALTH_MAX_OFFLINE,
    HEALTH_MAX_UNWORKED,
    HEALTH_MAX_FILE,
    HEALTH_MAX_WAL,
    HEALTH_ALLOW_STUCK,
    HEALTH_OPTION_COUNT
};
#define HEALTH_OPTIONS                                                                                                 \
    [HEALTH_MAX_PENDING] = {"max-pending", 0, OPTION_VALUE}, [HEALTH_MAX_AGE] = {"max-age", 0, OPTION_VALUE},          \
    [HEALTH_MAX_DEAD] = {"max-dead", 0, OPTION_VALUE}, [HEALTH_MAX_FAILING] = {"max-failing", 0, OPTION_VALUE},        \
    [HEALTH_MAX_OFFLINE] = {"max-offline", 0, OPTION_VALUE},                                                           \
    [HEALTH_MAX_UNWORKED] = {"max-unworked", 0, OPTION_VALUE}, [HEALTH_MAX_FILE] = {"max-file", 0, OPTION_VALUE},      \
    [HEALTH_MAX_WAL] = {"max-wal", 0, OPTION_VALUE}, [HEALTH_ALLOW_STUCK] = {"allow-stuck", 0, OPTION_FLAG}

/* What each option means, for the verb's help. */
#define HEALTH_HELP                                                                                                    \
    "  --max-pending N   unhealthy: more events wait for a consumer\n"                                                 \
    "  --max-age DURATION     one of them is older (1h30m, 3d)\n"                                                      \
    "  --max-dead N           a consumer has more dead letters that are kept; 0 if not given\n"                        \
    "  --max-failing DURATION    its events have failed for longer; 5m if not given\n"                                 \
    "  --max-offline DURATION    a route has had no connection for longer\n"                                           \
    "  --max-unworked DURATION   without a worker, it has left an event waiting for longer\n"                          \
    "  --max-file SIZE, --max-wal SIZE   the database file, or its WAL, is larger (500000, 64M)\n"                     \
    "  --allow-stuck          a handler that is stuck is not unhealthy\n"

#define HEALTH_REASONS_MAX 64

typedef struct health_reason {
    busbar_health health;
    char rule[16];
    char consumer[BUSBAR_NAME_MAX + 1]; /* "": the database */
    int64_t value;
    int64_t limit;
    char text[BUSBAR_DETAIL_SIZE];
} health_reason;

typedef struct health_report {
    busbar_health health;
    health_reason reasons[HEALTH_REASONS_MAX]; /* the first ones, what is unhealthy before the rest */
    size_t count;
} health_report;

/* Reads the options. False after it has reported a mistake. */
bool health_rules_read(const arguments *args, busbar_health_rules *out);

/* Fills the report. A code of the library. */
int health_judge(busbar *bus, const busbar_health_rules *rules, health_report *out);

/* The members "healthy", "health" and "reasons". */
void health_add_json(const health_report *report, json_writer *json);
/* A line with the verdict, and one for each reason. */
void health_print(const health_report *report);

#endif
