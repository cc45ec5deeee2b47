/* SPDX-License-Identifier: MIT */
/* The rows of the benchmark: each measures one thing and reports it. */
#ifndef BENCH_H
#define BENCH_H

#include "report.h"

typedef struct bench_options {
    bool quick;
    unsigned rounds;       /* of alternating runs */
    const char *directory; /* for the files; removed afterwards */
} bench_options;

typedef void bench_row_fn(const bench_options *options, report *out);

bench_row_fn row_publish;
bench_row_fn row_drain;
bench_row_fn row_dispatch;
bench_row_fn row_latency;
bench_row_fn row_fairness;
bench_row_fn row_backlog;
bench_row_fn row_memory;
bench_row_fn row_writes;
bench_row_fn row_wear;
bench_row_fn row_limits;

#endif
