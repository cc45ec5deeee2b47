/* SPDX-License-Identifier: MIT */
/*
 * A transport around another one that counts what passes: the wire as the bus sees it. Its figures may be read by any
 * thread, and by the process that made the memory they stand in.
 */
#ifndef BENCH_SPY_H
#define BENCH_SPY_H

#include <busbar/transport.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct spy {
    busbar_transport inner;
    const char *watched;       /* a topic; NULL: none */
    _Atomic uint64_t up_ns;    /* when the link first came up */
    _Atomic uint64_t first_ns; /* when the first message was taken */
    _Atomic uint64_t taken;    /* messages */
    _Atomic uint64_t acked;    /* messages */
    _Atomic uint64_t before;   /* messages that were taken before the first to the watched topic */
    _Atomic bool watched_seen;
    busbar_transport_event_fn *fn; /* of the poll that runs */
    void *fn_ctx;
} spy;

/* `it` is zeroed but for `watched`, and outlives the transport. */
busbar_transport spy_around(spy *it, busbar_transport inner);

#endif
