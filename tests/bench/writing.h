/* SPDX-License-Identifier: MIT */
/* A device that writes, and what of that reaches the storage: counted in a VFS, with a virtual clock. */
#ifndef BENCH_WRITING_H
#define BENCH_WRITING_H

#include <sqlite3.h>

#include "workload.h"

#define WRITING_BATCH_MAX 100

typedef struct writing {
    char path[WORKLOAD_PATH_SIZE];
    unsigned warm_up; /* events before the counting begins: retention has to be under way */
    unsigned count;
    uint64_t pause_us; /* between two transactions */
    unsigned batch;    /* events of each */
    unsigned page_bytes;
    bool full;    /* synchronous FULL, not NORMAL */
    bool offline; /* published only: no route */
} writing;

/* The values of a measurement, per event. */
enum { WRITING_BYTES, WRITING_SYNCS };

/* A connection whose writes are counted. */
sqlite3 *writing_open(const writing *it);
void writing_begin(measurement *out);
void writing_end(measurement *out, unsigned count);

/* Publishes, relays over a loopback transport, and prunes. To be measured; `ctx` is a writing. */
void writing_by_busbar(void *ctx, measurement *out);
/* Removes the files. */
void writing_prepare(void *ctx);

#endif
