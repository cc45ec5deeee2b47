/* SPDX-License-Identifier: MIT */
#include "heap.h"

#include <malloc.h>
#include <stddef.h>

/* The names are the linker's. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void __wrap_free(void *memory);

static int64_t used_bytes;
static int64_t peak_bytes;
static int64_t calls;
static int64_t first_failure; /* number of the call; 0: none is to fail */
static bool goes_on;
static bool failed;

static bool fails(void)
{
    calls++;
    if (first_failure == 0 || calls < first_failure || (calls > first_failure && !goes_on))
        return false;
    failed = true;
    return true;
}

static void *take(void *memory)
{
    used_bytes += (int64_t)malloc_usable_size(memory);
    if (used_bytes > peak_bytes)
        peak_bytes = used_bytes;
    return memory;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : take(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : take(__real_calloc(count, size));
}

void *__wrap_realloc(void *memory, size_t size)
{
    if (fails())
        return NULL;
    int64_t before = (int64_t)malloc_usable_size(memory);
    void *grown = __real_realloc(memory, size);
    if (!grown)
        return NULL;
    used_bytes -= before;
    return take(grown);
}

void __wrap_free(void *memory)
{
    used_bytes -= (int64_t)malloc_usable_size(memory);
    __real_free(memory);
}

int64_t heap_used_bytes(void)
{
    return used_bytes;
}

int64_t heap_peak_bytes(void)
{
    return peak_bytes;
}

void heap_peak_restart(void)
{
    peak_bytes = used_bytes;
}

static void arm(int64_t n, bool on)
{
    first_failure = n;
    goes_on = on;
    failed = false;
    calls = 0;
}

void heap_fail_at(int64_t n)
{
    arm(n, false);
}

void heap_fail_from(int64_t n)
{
    arm(n, true);
}

int64_t heap_calls(void)
{
    return calls;
}

bool heap_failed(void)
{
    return failed;
}
