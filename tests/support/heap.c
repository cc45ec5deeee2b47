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
static int64_t until_failure; /* 0: none is to come */
static bool failed;

static bool fails(void)
{
    if (until_failure == 0 || --until_failure > 0)
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

void heap_fail_at(int64_t n)
{
    until_failure = n;
    failed = false;
}

bool heap_failed(void)
{
    return failed;
}
