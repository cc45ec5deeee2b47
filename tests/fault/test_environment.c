/* SPDX-License-Identifier: MIT */
/*
 * P12, faults are errors, not ends: a whole day's work of a bus, again and again, in which the first, the second, the third
 * … call of one method of the disk, the platform or the network, or the first … allocation, fails: once, or from then on
 * until it is mended. Nothing crashes, leaks or hangs, every failure has its code, no success is false (P1, P3, P5, P7, P8),
 * and the same handles go on when the fault is gone.
 */
#define _POSIX_C_SOURCE 200809L /* alarm, write */

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "heap.h"
#include "workday.h"

#define PATIENCE_S 100u /* for one day; it takes a few milliseconds */

static const char USAGE[] = "usage: test_environment [--points N] [--shape NAME] [--only FAULT] [--replay "
                            "SHAPE:FAULT:NUMBER:once|on]\n"
                            "  --points  so many points of each method; without it, every call fails in its turn\n";

static struct {
    const char *program;
    const char *shape;
    const char *only;
    const char *replay;
    uint64_t points; /* 0: all */
} args;

/* One day: what fails in it. */
typedef struct point {
    const shape *shape;
    const fault *fault;
    uint64_t nth;
    bool goes_on;
} point;

static char replay[200]; /* how to see the current point again */
static workday day;

/* Nothing but what a signal handler may call. */
static void on_signal(int number)
{
    static const char what[] = "\nnot ok - it crashed or hung; again: ";
    (void)!write(STDOUT_FILENO, day.failure, strlen(day.failure));
    (void)!write(STDOUT_FILENO, what, sizeof what - 1);
    (void)!write(STDOUT_FILENO, replay, strlen(replay));
    (void)!write(STDOUT_FILENO, "\n", 1);
    signal(number, SIG_DFL);
    if (number == SIGALRM)
        abort();
    raise(number);
}

static void note_replay(const point *p)
{
    snprintf(replay, sizeof replay, "%s --replay %s:%s:%" PRIu64 ":%s", args.program, p->shape->name, p->fault->name,
             p->nth, p->goes_on ? "on" : "once");
}

static void check_memory(workday *w, int64_t heap_bytes, int64_t sqlite_bytes)
{
    if (heap_used_bytes() != heap_bytes)
        workday_fail_number(w, "leak: bytes of the heap", heap_used_bytes(), heap_bytes);
    if (sqlite3_memory_used() != sqlite_bytes)
        workday_fail_number(w, "leak: bytes of SQLite", sqlite3_memory_used(), sqlite_bytes);
}

/* Gives how often the call was made. w->failure says what went wrong. */
static uint64_t live(workday *w, const point *p)
{
    static environment e;
    int64_t heap_bytes = heap_used_bytes();
    int64_t sqlite_bytes = sqlite3_memory_used();
    note_replay(p);
    alarm(PATIENCE_S);
    if (!environment_open(&e)) {
        fputs("out of memory\n", stderr);
        exit(1);
    }
    environment_arm(&e, p->fault, p->nth, p->goes_on);
    workday_run(w, &e, p->shape, 1 + (unsigned)(p->nth % 6));
    uint64_t calls = environment_calls(&e);
    if (w->failure[0] != '\0')
        return calls; /* who knows what is still open */
    environment_close(&e);
    check_memory(w, heap_bytes, sqlite_bytes);
    alarm(0);
    return calls;
}

static bool report(const workday *w)
{
    if (w->failure[0] == '\0')
        return true;
    printf("not ok - %s\n  again: %s\n", w->failure, replay);
    fflush(stdout);
    return false;
}

/* All points of a method in both modes. Gives how many failed. */
static unsigned sweep(const shape *s, const fault *f)
{
    unsigned failed = 0;
    uint64_t tried = 0;
    point p = {.shape = s, .fault = f, .nth = UINT64_MAX};
    uint64_t calls = live(&day, &p);
    failed += !report(&day);
    uint64_t stride = args.points == 0 || calls <= args.points ? 1 : calls / args.points;
    for (int on = 0; on < 2 && failed < 3; on++) {
        p.goes_on = on;
        /* What is tried again because of a fault adds calls: they are met as well. */
        for (p.nth = 1 + (uint64_t)on * (stride / 2);; p.nth += stride) {
            uint64_t met = live(&day, &p);
            tried++;
            failed += !report(&day);
            if (met < p.nth || failed == 3)
                break;
        }
    }
    printf("%s - %s, %s: %" PRIu64 " calls in a day, failed at %" PRIu64 " points\n", failed ? "not ok" : "ok", s->name,
           f->name, calls, tried);
    fflush(stdout);
    return failed;
}

static bool is_chosen(const char *name, const char *chosen)
{
    return chosen == NULL || strcmp(name, chosen) == 0;
}

static int sweep_all(void)
{
    unsigned failed = 0;
    unsigned count = 0;
    signal(SIGSEGV, on_signal);
    signal(SIGABRT, on_signal);
    signal(SIGALRM, on_signal);
    for (size_t i = 0; i < workday_shape_count; i++)
        for (size_t j = 0; j < environment_fault_count; j++)
            if (is_chosen(workday_shapes[i].name, args.shape) && is_chosen(environment_faults[j].name, args.only)) {
                failed += sweep(&workday_shapes[i], &environment_faults[j]);
                count++;
            }
    return failed > 0 || count == 0;
}

static int run_replay(void)
{
    char shape_name[32] = "";
    char fault_name[32] = "";
    char mode[8] = "";
    point p = {.shape = NULL};
    if (sscanf(args.replay, "%31[^:]:%31[^:]:%" SCNu64 ":%7s", shape_name, fault_name, &p.nth, mode) == 4) {
        for (size_t i = 0; i < workday_shape_count; i++)
            if (strcmp(workday_shapes[i].name, shape_name) == 0)
                p.shape = &workday_shapes[i];
        p.fault = environment_find_fault(fault_name);
        p.goes_on = strcmp(mode, "on") == 0;
    }
    if (p.shape == NULL || p.fault == NULL) {
        fputs(USAGE, stderr);
        return 2;
    }
    uint64_t calls = live(&day, &p);
    bool good = report(&day);
    printf("%" PRIu64 " calls%s\n", calls, good ? ", and all is well" : "");
    return !good;
}

static bool take_arguments(char **argv)
{
    for (int i = 1; argv[i] != NULL; i += 2) {
        char *end = NULL;
        const char *value = argv[i + 1];
        if (value == NULL)
            return false;
        if (strcmp(argv[i], "--points") == 0) {
            args.points = strtoull(value, &end, 10);
            if (end == value || *end != '\0' || args.points == 0)
                return false;
        } else if (strcmp(argv[i], "--shape") == 0) {
            args.shape = value;
        } else if (strcmp(argv[i], "--only") == 0) {
            args.only = value;
        } else if (strcmp(argv[i], "--replay") == 0) {
            args.replay = value;
        } else {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    (void)argc;
    args.program = argv[0];
    if (!take_arguments(argv)) {
        fputs(USAGE, stderr);
        return 2;
    }
    environment_prepare();
    return args.replay ? run_replay() : sweep_all();
}
