/* SPDX-License-Identifier: MIT */
/*
 * How the benchmarks measure: clocks, programs run one by one in processes of their own, and what is made of their figures.
 * Knows nothing of Busbar.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEASURE_ROUNDS_MAX 15
#define MEASURE_VALUES     4

/* Ends the program with a message if the condition does not hold. */
void measure_must(bool condition, const char *what);

/* CLOCK_MONOTONIC. */
uint64_t measure_now_ns(void);
void measure_sleep_us(uint64_t time_us);

/* What one run found out. */
typedef struct measurement {
    double events;                 /* so many were worked */
    double wall_s;                 /* in this time */
    double cpu_s;                  /* with so much processor time of the whole process, user and system */
    double peak_bytes;             /* largest resident size of the process (VmHWM) */
    double values[MEASURE_VALUES]; /* more, as the row likes */
} measurement;

/* Runs in a process of its own and fills *out but for peak_bytes. */
typedef void measure_fn(void *ctx, measurement *out);

/* Between these two calls lies what counts. */
void measure_begin(measurement *it);
void measure_end(measurement *it, double events);

void measure_in_child(measure_fn *fn, void *ctx, measurement *out);

/* Programs that are compared with each other. `prepare` runs before each of its runs, in this process, unmeasured. */
typedef struct contestant {
    const char *name;
    measure_fn *fn;
    void *ctx;
    void (*prepare)(void *ctx); /* NULL: nothing to do */
    measurement results[MEASURE_ROUNDS_MAX];
} contestant;

/* Runs all of them `rounds` times, one after the other; each round begins with the next one. */
void measure_rounds(contestant *all, size_t count, unsigned rounds);

/* One figure of a run. */
typedef double measure_pick(const measurement *it);
double measure_rate(const measurement *it);
double measure_cpu_us(const measurement *it); /* per event */
double measure_peak(const measurement *it);
double measure_value_0(const measurement *it);
double measure_value_1(const measurement *it);
double measure_value_2(const measurement *it);
double measure_value_3(const measurement *it);

typedef struct spread {
    double median;
    double min;
    double max;
} spread;

spread measure_spread(double *values, size_t count);
spread measure_figure(const contestant *it, unsigned rounds, measure_pick *pick);
/* Of the ratios a : b in each round. */
spread measure_ratio(const contestant *a, const contestant *b, unsigned rounds, measure_pick *pick);

/* Sorts the values; the `per_mille` quantile of sorted ones. */
void measure_sort(double *values, size_t count);
double measure_quantile(const double *sorted, size_t count, unsigned per_mille);

/* Memory that children share with their parent; zeroed. */
void *measure_shared(size_t size_bytes);
void measure_shared_free(void *memory, size_t size_bytes);

#endif
