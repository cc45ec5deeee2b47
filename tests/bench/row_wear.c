/* SPDX-License-Identifier: MIT */
/*
 * What wears flash memory: bytes and syncs per event for several batches, page sizes and settings, one transaction a second;
 * published only, and published, relayed and pruned. With nothing to compare: figures for those who size a device.
 */
#include <stdio.h>

#include "bench.h"
#include "workload.h"
#include "writing.h"

#define SECOND_US 1000000u

/* One transaction a second: what a device does, and what a batch is worth. */
static void measure_wear(const bench_options *options, report *out, writing it)
{
    char names[2][80];
    contestant device = {.name = "busbar", .fn = writing_by_busbar, .ctx = &it, .prepare = writing_prepare};
    const char *what = it.offline ? "publish only" : "publish and relay";
    const char *mode = it.full ? "FULL" : "NORMAL";
    (void)snprintf(names[0], sizeof names[0], "bytes, %s, batch %u, %u B pages, %s", what, it.batch, it.page_bytes,
                   mode);
    (void)snprintf(names[1], sizeof names[1], "syncs, %s, batch %u, %u B pages, %s", what, it.batch, it.page_bytes,
                   mode);
    workload_path(options->directory, "wear.db", it.path);
    measure_rounds(&device, 1, 1); /* counts are not noisy */
    report_compare(out, &(report_pair){"wear", names[0], "B/ev", &device, NULL, 1, measure_value_0, REPORT_NO_GOAL, 0});
    report_compare(out, &(report_pair){"wear", names[1], "/ev", &device, NULL, 1, measure_value_1, REPORT_NO_GOAL, 0});
    writing_prepare(&it);
}

void row_wear(const bench_options *options, report *out)
{
    static const unsigned batches[] = {1, 20, WRITING_BATCH_MAX};
    static const unsigned pages[] = {1024, 4096};
    writing it = {.warm_up = 10000, .count = options->quick ? 20000 : 100000, .pause_us = SECOND_US};
    for (size_t i = 0; i < 2 * 2 * 2 * sizeof batches / sizeof *batches; i++) {
        it.batch = batches[i / 8];
        it.page_bytes = pages[i / 4 % 2];
        it.full = i / 2 % 2 != 0;
        it.offline = i % 2 == 0;
        measure_wear(options, out, it);
    }
}
