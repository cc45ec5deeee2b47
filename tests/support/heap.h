/* SPDX-License-Identifier: MIT */
/*
 * What a test program and the libraries in it take from the heap: a program that links heap.c with the linker's --wrap for
 * malloc, calloc, realloc and free counts their calls, and can make one fail. Shared libraries are not seen. One thread.
 */
#ifndef BUSBAR_TEST_HEAP_H
#define BUSBAR_TEST_HEAP_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes that are taken now, as the allocator rounds them. */
int64_t heap_used_bytes(void);
/* The most that was taken since heap_peak_restart(). */
int64_t heap_peak_bytes(void);
void heap_peak_restart(void);

/* The n-th allocation from now on fails, and only that one; 0: none. */
void heap_fail_at(int64_t n);
/* The n-th from now on fails, and all after it, until heap_fail_at. */
void heap_fail_from(int64_t n);
/* One has. */
bool heap_failed(void);
/* Allocations since the last heap_fail_at or heap_fail_from. */
int64_t heap_calls(void);

#endif
