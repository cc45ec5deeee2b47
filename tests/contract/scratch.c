/* SPDX-License-Identifier: MIT */
/* A directory of a test's own, and what the tests of a platform count and wait for. */
#include "test.h"

#include "scratch.h"

#include <dirent.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

typedef void entry_fn(const char *directory, const char *name, void *ctx);

static void for_each_entry(const char *directory, entry_fn *fn, void *ctx)
{
    DIR *stream = opendir(directory);
    assert_non_null(stream);
    for (const struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            fn(directory, entry->d_name, ctx);
    closedir(stream);
}

static void remove_entry(const char *directory, const char *name, void *ctx)
{
    (void)ctx;
    char path[SCRATCH_PATH_SIZE];
    scratch_path(directory, name, path);
    unlink(path);
}

static void count_entry(const char *directory, const char *name, void *ctx)
{
    (void)directory;
    (void)name;
    ++*(unsigned *)ctx;
}

void scratch_make(char out[SCRATCH_PATH_SIZE])
{
    const char *parent = getenv("TMPDIR");
    snprintf(out, SCRATCH_PATH_SIZE, "%s/busbar-test-XXXXXX", parent != NULL && parent[0] == '/' ? parent : "/tmp");
    assert_non_null(mkdtemp(out));
}

void scratch_remove(const char *directory)
{
    for_each_entry(directory, remove_entry, NULL);
    assert_int_equal(rmdir(directory), 0);
}

void scratch_path(const char *directory, const char *name, char out[SCRATCH_PATH_SIZE])
{
    assert_in_range(snprintf(out, SCRATCH_PATH_SIZE, "%s/%s", directory, name), 1, SCRATCH_PATH_SIZE - 1);
}

unsigned scratch_count(const char *directory)
{
    unsigned count = 0;
    for_each_entry(directory, count_entry, &count);
    return count;
}

/* The directory's own descriptor counts each time. */
unsigned scratch_open_fds(void)
{
    return scratch_count("/proc/self/fd");
}

uint64_t scratch_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}
