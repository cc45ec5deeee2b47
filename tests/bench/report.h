/* SPDX-License-Identifier: MIT */
/* What a benchmark run prints: a table for people as it goes, and the same as CSV. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <stdbool.h>
#include <stdio.h>

#include "measure.h"

typedef enum report_goal {
    REPORT_NO_GOAL = 0,
    REPORT_RATIO_AT_LEAST,
    REPORT_RATIO_AT_MOST,
    REPORT_BELOW /* the value itself */
} report_goal;

typedef struct report_line {
    const char *row;
    const char *measure;
    const char *unit;
    spread busbar;
    const char *baseline; /* what it is compared with; NULL: nothing */
    spread other;         /* the baseline's figure */
    spread ratio;         /* busbar : baseline, per round */
    report_goal goal;
    double goal_value;
} report_line;

typedef struct report {
    FILE *csv; /* NULL: none is wanted */
    unsigned missed;
} report;

void report_begin(report *it);
void report_add(report *it, const report_line *line);
/* A column or row that could not be measured, and why. */
void report_absent(report *it, const char *row, const char *measure, const char *why);

/* The line that compares two contestants by one figure. */
typedef struct report_pair {
    const char *row;
    const char *measure;
    const char *unit;
    const contestant *busbar;
    const contestant *baseline; /* NULL: none */
    unsigned rounds;
    measure_pick *pick;
    report_goal goal;
    double goal_value;
} report_pair;
void report_compare(report *it, const report_pair *pair);

#endif
