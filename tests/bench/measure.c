/* SPDX-License-Identifier: MIT */
#include "measure.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void measure_must(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "bench: failed: %s\n", what);
    exit(1);
}

uint64_t measure_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void measure_sleep_us(uint64_t time_us)
{
    const struct timespec pause = {.tv_sec = (time_t)(time_us / 1000000), .tv_nsec = (long)(time_us % 1000000) * 1000};
    nanosleep(&pause, NULL);
}

/* ---- One run ---- */

static double cpu_s(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

void measure_begin(measurement *it)
{
    it->cpu_s = -cpu_s();
    it->wall_s = -(double)measure_now_ns() / 1e9;
}

void measure_end(measurement *it, double events)
{
    it->wall_s += (double)measure_now_ns() / 1e9;
    it->cpu_s += cpu_s();
    it->events = events;
}

static double peak_bytes(void)
{
    char line[128];
    double kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    measure_must(file != NULL, "read /proc/self/status");
    while (fgets(line, sizeof line, file))
        (void)sscanf(line, "VmHWM: %lf", &kib);
    fclose(file);
    return kib * 1024;
}

void *measure_shared(size_t size_bytes)
{
    void *memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    measure_must(memory != MAP_FAILED, "map shared memory");
    return memory;
}

void measure_shared_free(void *memory, size_t size_bytes)
{
    munmap(memory, size_bytes);
}

void measure_in_child(measure_fn *fn, void *ctx, measurement *out)
{
    measurement *shared = measure_shared(sizeof *shared);
    int status = 0;
    fflush(stdout);
    malloc_trim(0); /* what this process has freed must not serve the child */
    pid_t pid = fork();
    measure_must(pid >= 0, "fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        fn(ctx, shared);
        shared->peak_bytes = peak_bytes();
        _exit(0);
    }
    measure_must(waitpid(pid, &status, 0) == pid && status == 0, "a measured process");
    *out = *shared;
    measure_shared_free(shared, sizeof *shared);
}

/* ---- Rounds ---- */

static void run(contestant *it, unsigned round)
{
    if (it->prepare)
        it->prepare(it->ctx);
    measure_in_child(it->fn, it->ctx, &it->results[round]);
}

void measure_rounds(contestant *all, size_t count, unsigned rounds)
{
    measure_must(rounds <= MEASURE_ROUNDS_MAX, "count of rounds");
    for (unsigned round = 0; round < rounds; round++) {
        for (size_t i = 0; i < count; i++)
            run(&all[(round + i) % count], round);
    }
}

double measure_rate(const measurement *it)
{
    return it->events / it->wall_s;
}

double measure_cpu_us(const measurement *it)
{
    return it->cpu_s * 1e6 / it->events;
}

double measure_peak(const measurement *it)
{
    return it->peak_bytes;
}

double measure_value_0(const measurement *it)
{
    return it->values[0];
}

double measure_value_1(const measurement *it)
{
    return it->values[1];
}

double measure_value_2(const measurement *it)
{
    return it->values[2];
}

double measure_value_3(const measurement *it)
{
    return it->values[3];
}

/* ---- Figures ---- */

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

void measure_sort(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare);
}

double measure_quantile(const double *sorted, size_t count, unsigned per_mille)
{
    return count == 0 ? 0 : sorted[(count - 1) * per_mille / 1000];
}

spread measure_spread(double *values, size_t count)
{
    measure_sort(values, count);
    double median = count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
    return (spread){.median = median, .min = values[0], .max = values[count - 1]};
}

spread measure_figure(const contestant *it, unsigned rounds, measure_pick *pick)
{
    double values[MEASURE_ROUNDS_MAX];
    for (unsigned i = 0; i < rounds; i++)
        values[i] = pick(&it->results[i]);
    return measure_spread(values, rounds);
}

spread measure_ratio(const contestant *a, const contestant *b, unsigned rounds, measure_pick *pick)
{
    double values[MEASURE_ROUNDS_MAX];
    for (unsigned i = 0; i < rounds; i++)
        values[i] = pick(&a->results[i]) / pick(&b->results[i]);
    return measure_spread(values, rounds);
}
