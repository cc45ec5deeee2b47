/* SPDX-License-Identifier: MIT */
/*
 * All that a bus relies on and that can fail: the disk, its own memory and SQLite's, the platform, the network. One kind of
 * fault is armed at a time: a call of its kind fails once, or that one and all after it until the environment is healed. A
 * program has one environment at a time, and links support/heap.c.
 */
#ifndef BUSBAR_ENVIRONMENT_H
#define BUSBAR_ENVIRONMENT_H

#include <busbar/loopback.h>
#include <busbar/sim.h>
#include <busbar/sim_disk.h>
#include <sqlite3.h>

typedef enum fault_area { FAULT_DISK, FAULT_HEAP, FAULT_SQLITE_HEAP, FAULT_PORT, FAULT_NETWORK } fault_area;

typedef struct fault {
    const char *name;
    fault_area area;
    unsigned call;  /* DISK: of busbar_sim_disk_call; PORT, NETWORK: of environment.c */
    int code;       /* DISK: SQLite's, with which it fails */
    bool may_bury;  /* events end as dead letters by it */
    int also;       /* a code that it brings about beside those of the environment; 0: none */
    bool is_silent; /* nothing fails by it: no call may return an error */
} fault;

extern const fault environment_faults[];
extern const size_t environment_fault_count;
/* NULL: there is none. */
const fault *environment_find_fault(const char *name);

typedef struct environment {
    busbar_sim_disk *disk;
    busbar_sim *sim;
    busbar_port port; /* the sim's, whose calls can fail, with a wake object */
    const fault *armed;
    uint64_t nth;
    bool goes_on;
    uint64_t calls; /* of the kind that is armed, since then; PORT and NETWORK */
    uint64_t failures;
    uint64_t still_us; /* what a clock that stands still says */
} environment;

/* Before anything of SQLite is used: its allocations are to fail, too. */
void environment_prepare(void);

/* Everything in it repeats from run to run. False when out of memory. */
bool environment_open(environment *e);
void environment_close(environment *e);

/* From now on call number `nth` of the kind fails, and with `goes_on` all after it. */
void environment_arm(environment *e, const fault *f, uint64_t nth, bool goes_on);
/* Nothing fails any more. What was counted stays. */
void environment_heal(environment *e);
/* Calls of the kind since it was armed, and how many of them failed. */
uint64_t environment_calls(const environment *e);
uint64_t environment_failures(const environment *e);

/* The transport, whose calls can fail; belongs to who calls, as the inner one did. `*out` is untouched on failure, and the
   inner transport is stopped. */
bool environment_wrap(environment *e, busbar_transport inner, busbar_transport *out);

#endif
