/* SPDX-License-Identifier: MIT */
/* A directory of a test's own, and what the tests of a platform count and wait for. */
#ifndef SCRATCH_H
#define SCRATCH_H

#include <stddef.h>
#include <stdint.h>

#define SCRATCH_PATH_SIZE 256

/* Makes a new empty directory; `out` gets its absolute path. Fails the test if it cannot. */
void scratch_make(char out[SCRATCH_PATH_SIZE]);
/* Removes it with the files in it. */
void scratch_remove(const char *directory);
/* The path of a file in it. */
void scratch_path(const char *directory, const char *name, char out[SCRATCH_PATH_SIZE]);
/* How many files it has. */
unsigned scratch_count(const char *directory);

/* How many descriptors this process has open. */
unsigned scratch_open_fds(void);

/* CLOCK_MONOTONIC. */
uint64_t scratch_now_us(void);

#endif
