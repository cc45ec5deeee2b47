/* SPDX-License-Identifier: MIT */
/*
 * When tests kill: at random moments that come from a printed seed. The environment variable E2E_SEED gives the seed, and so
 * the same moments again. E2E_FULL asks for the long form of a test: the figures that are promised, not those for every day.
 */
#ifndef SCHEDULE_H
#define SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>

/* Begins a test's schedule, and prints its seed. */
void schedule_begin(void);
/* A number from 0 to limit - 1. */
size_t schedule_below(size_t limit);
/* Lets a random time pass, shorter than that: nothing is waited for, the moment is chance. */
void schedule_pass_below_ms(size_t limit_ms);
/* One number for the short form of a test, another one for its long form. */
size_t schedule_size(size_t quick, size_t full);

#endif
