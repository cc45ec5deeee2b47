/* SPDX-License-Identifier: MIT */
/*
 * busbar/sim.h: a scripted platform for tests.
 *
 * A port whose time stands still until the test moves it, whose wall clock is as good as the test says, whose random
 * bytes repeat from run to run, and whose calls fail on command. Pure C11: runs wherever a compiler does. Ships with
 * Busbar, so that applications can test what they do with it ("what if the clock is set only after an hour offline?").
 *
 * A sim and every handle opened with its port belong to one thread. It has no wake object: busbar_fd() on it answers
 * BUSBAR_ENOTSUP, and a test calls busbar_step() when it wants work done. To test without the optional worker
 * functions, copy the port and clear them:
 *
 *     busbar_port port = *busbar_sim_port(sim);
 *     port.worker_id = NULL;
 *     port.worker_gone = NULL;
 */
#ifndef BUSBAR_SIM_H
#define BUSBAR_SIM_H

#include <busbar/busbar.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct busbar_sim busbar_sim;

/* The wall time of a new sim: 2026-01-01T00:00:00Z. */
#define BUSBAR_SIM_WALL_MS INT64_C(1767225600000)

/*
 * Makes a machine that was started a seeded moment ago (1 to 60 s), with a trusted clock at BUSBAR_SIM_WALL_MS.
 * Everything in it follows from `seed`. Returns NULL when out of memory. Released with busbar_sim_free, after every
 * handle.
 */
BUSBAR_API busbar_sim *busbar_sim_new(uint64_t seed);
BUSBAR_API void busbar_sim_free(busbar_sim *sim); /* NULL is allowed */

/* Its port; the sim's, valid until busbar_sim_free. */
BUSBAR_API const busbar_port *busbar_sim_port(busbar_sim *sim);

/* ---- Time -------------------------------------------------------------------------------------------------------- */

/* Lets time pass: monotonic and wall time go on together. */
BUSBAR_API void busbar_sim_advance(busbar_sim *sim, uint64_t time_us);

/*
 * Lets the machine sleep: both clocks have gone on when it wakes up. A trusted clock is then only estimated, because
 * nothing disciplined it meanwhile.
 */
BUSBAR_API void busbar_sim_suspend(busbar_sim *sim, uint64_t time_us);

/*
 * Restarts the machine: a new boot identity, and monotonic time begins anew at a seeded moment (1 to 60 s). Wall time
 * stays as if a battery kept it, estimated; follow with busbar_sim_wall_quality(BUSBAR_CLOCK_UNKNOWN) for a machine
 * without one. The worker keeps its name, as the first process of a small device does, and failures go on.
 */
BUSBAR_API void busbar_sim_reboot(busbar_sim *sim);

/* Monotonic time is told in steps of so many microseconds, rounded down; it never goes back when this changes. 1 at
   first; 0 counts as 1. */
BUSBAR_API void busbar_sim_resolution(busbar_sim *sim, uint32_t step_us);

/* Time passes by so much at each reading of the monotonic clock, so that work has a duration. 0 at first. */
BUSBAR_API void busbar_sim_tick(busbar_sim *sim, uint32_t time_us);

/* Sets the wall clock, as a person or a time server does. */
BUSBAR_API void busbar_sim_wall_set(busbar_sim *sim, int64_t wall_ms, busbar_clock_quality quality);
/* Steps it, without a change of quality. */
BUSBAR_API void busbar_sim_wall_step(busbar_sim *sim, int64_t delta_ms);
/* Changes the quality only. While it is UNKNOWN the clock tells nonsense, to find out who reads it. */
BUSBAR_API void busbar_sim_wall_quality(busbar_sim *sim, busbar_clock_quality quality);

/* ---- Identity ---------------------------------------------------------------------------------------------------- */

/*
 * Sets the device identity ("device-" and the seed at first): that of another device to which a disk was moved, say.
 * Returns BUSBAR_OK; BUSBAR_EINVAL if it is empty, too long, or not printable ASCII without space, quote or backslash.
 */
BUSBAR_API int busbar_sim_device_set(busbar_sim *sim, const char *device_id);

/*
 * Says which worker process is calling from now on ("worker-1" at first), so that one thread can play several.
 * Returns as busbar_sim_device_set.
 */
BUSBAR_API int busbar_sim_worker_set(busbar_sim *sim, const char *worker_id);

/* From now on worker_gone says yes for this one. Returns BUSBAR_OK; BUSBAR_EINVAL; BUSBAR_ENOMEM. */
BUSBAR_API int busbar_sim_worker_gone(busbar_sim *sim, const char *worker_id);

/* ---- Random bytes ------------------------------------------------------------------------------------------------ */

/*
 * Random bytes are those of SplitMix64 over the seed, least significant byte first; each call begins with a new word:
 *
 *     state += 0x9e3779b97f4a7c15;
 *     z = state;
 *     z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
 *     z = (z ^ z >> 27) * 0x94d049bb133111eb;
 *     word = z ^ z >> 31;
 */
typedef enum busbar_sim_random {
    BUSBAR_SIM_RANDOM_GOOD = 0,     /* goes on over reboots */
    BUSBAR_SIM_RANDOM_REPEATED = 1, /* badly seeded: the same sequence from its beginning after every reboot, and now */
    BUSBAR_SIM_RANDOM_CONSTANT = 2  /* no entropy at all: every byte is 0xa5 */
} busbar_sim_random;

BUSBAR_API void busbar_sim_random_mode(busbar_sim *sim, busbar_sim_random mode);

/* ---- Failures ---------------------------------------------------------------------------------------------------- */

typedef enum busbar_sim_call {
    BUSBAR_SIM_CALL_BOOT_ID = 0,
    BUSBAR_SIM_CALL_DEVICE_ID = 1,
    BUSBAR_SIM_CALL_RANDOM = 2,
    BUSBAR_SIM_CALL_WORKER_ID = 3
} busbar_sim_call;

/* For ever, as a count of busbar_sim_fail. */
#define BUSBAR_SIM_ALWAYS UINT32_MAX

/* The next `count` calls of that function fail (they return -1 and write nothing). 0 ends a series. */
BUSBAR_API void busbar_sim_fail(busbar_sim *sim, busbar_sim_call call, uint32_t count);

/* How often the function was called so far, failures included. */
BUSBAR_API uint64_t busbar_sim_calls(const busbar_sim *sim, busbar_sim_call call);

#ifdef __cplusplus
}
#endif

#endif
