/* SPDX-License-Identifier: MIT */
#include "report.h"

#include <string.h>

#define TABLE     "%-11s %-36s %13s %-7s %-26s %13s %-18s %-9s %s\n"
#define TEXT_SIZE 64

void report_begin(report *it)
{
    printf(TABLE, "ROW", "MEASURE", "BUSBAR", "UNIT", "AGAINST", "", "RATIO (MIN-MAX)", "GOAL", "");
    if (it->csv)
        fputs("row,measure,unit,busbar,busbar_min,busbar_max,against,against_value,ratio,ratio_min,ratio_max,goal,"
              "verdict\n",
              it->csv);
}

static void number(char out[TEXT_SIZE], double value)
{
    int digits = value >= 1000 || value == 0 ? 0 : value >= 100 ? 1 : value >= 1 ? 2 : 4;
    (void)snprintf(out, TEXT_SIZE, "%.*f", digits, value);
}

static void goal_text(char out[TEXT_SIZE], const report_line *line)
{
    static const char *const signs[] = {"", ">= ", "<= ", "< "};
    char value[TEXT_SIZE];
    number(value, line->goal_value);
    (void)snprintf(out, TEXT_SIZE, "%s%s", signs[line->goal], line->goal == REPORT_NO_GOAL ? "-" : value);
}

static bool met(const report_line *line)
{
    switch (line->goal) {
    case REPORT_RATIO_AT_LEAST:
        return line->ratio.median >= line->goal_value;
    case REPORT_RATIO_AT_MOST:
        return line->ratio.median <= line->goal_value;
    case REPORT_BELOW:
        return line->busbar.median < line->goal_value;
    case REPORT_NO_GOAL:
    default:
        return true;
    }
}

static void print_line(const report_line *line, const char *verdict)
{
    char busbar[TEXT_SIZE];
    char other[TEXT_SIZE] = "";
    char ratio[TEXT_SIZE] = "";
    char goal[TEXT_SIZE];
    number(busbar, line->busbar.median);
    goal_text(goal, line);
    if (line->baseline) {
        number(other, line->other.median);
        (void)snprintf(ratio, sizeof ratio, "%.2f (%.2f-%.2f)", line->ratio.median, line->ratio.min, line->ratio.max);
    }
    printf(TABLE, line->row, line->measure, busbar, line->unit, line->baseline ? line->baseline : "-", other, ratio,
           goal, verdict);
    fflush(stdout);
}

static void write_line(FILE *csv, const report_line *line, const char *verdict)
{
    char goal[TEXT_SIZE];
    goal_text(goal, line);
    fprintf(csv, "%s,\"%s\",%s,%.6g,%.6g,%.6g,", line->row, line->measure, line->unit, line->busbar.median,
            line->busbar.min, line->busbar.max);
    if (line->baseline)
        fprintf(csv, "\"%s\",%.6g,%.4f,%.4f,%.4f,", line->baseline, line->other.median, line->ratio.median,
                line->ratio.min, line->ratio.max);
    else
        fputs(",,,,,", csv);
    fprintf(csv, "%s,%s\n", goal, verdict);
    fflush(csv);
}

void report_add(report *it, const report_line *line)
{
    const char *verdict = line->goal == REPORT_NO_GOAL ? "" : met(line) ? "met" : "MISSED";
    it->missed += !met(line);
    print_line(line, verdict);
    if (it->csv)
        write_line(it->csv, line, verdict);
}

void report_absent(report *it, const char *row, const char *measure, const char *why)
{
    printf(TABLE, row, measure, "-", "", why, "", "", "", "");
    if (it->csv)
        fprintf(it->csv, "%s,\"%s\",,,,,\"%s\",,,,,,\n", row, measure, why);
}

void report_compare(report *it, const report_pair *pair)
{
    report_line line = {.row = pair->row,
                        .measure = pair->measure,
                        .unit = pair->unit,
                        .busbar = measure_figure(pair->busbar, pair->rounds, pair->pick),
                        .goal = pair->goal,
                        .goal_value = pair->goal_value};
    if (pair->baseline) {
        line.baseline = pair->baseline->name;
        line.other = measure_figure(pair->baseline, pair->rounds, pair->pick);
        line.ratio = measure_ratio(pair->busbar, pair->baseline, pair->rounds, pair->pick);
    }
    report_add(it, &line);
}
