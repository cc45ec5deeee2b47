/* SPDX-License-Identifier: MIT */
/*
 * Programs that a test runs, and ends as roughly as it likes. What one prints goes to a file of its own in the test's
 * directory, so that it is kept whatever happens to the program. Nothing started here outlives the test program.
 */
#ifndef PROCESS_H
#define PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "broker.h"

/* How long a test waits for what must happen, before it fails. */
#define PROCESS_PATIENCE_MS 60000

typedef struct process {
    pid_t pid; /* 0: ended */
    char log[BROKER_PATH_SIZE];
} process;

/* Starts a program. `name` names its log file, which is continued if there is one. The list of arguments ends with NULL. */
void process_start(process *it, const char *directory, const char *name, const char *const *arguments);

/* Ends it with SIGKILL. */
void process_kill(process *it);
/* Asks it to end (SIGTERM); it must end with 0 in time. */
void process_stop(process *it);
/* Waits until it ends by itself, which it must in time. Returns its exit code. */
int process_wait(process *it);
/* Stops it from running, or lets it go on. */
void process_pause(const process *it);
void process_resume(const process *it);

/* How many whole lines of its log begin with the text. */
size_t process_lines(const process *it, const char *beginning);
/* Waits until there are so many; fails the test, showing the log, if the time is over or the program ended without them. */
void process_await_lines(process *it, const char *beginning, size_t count);
/* Reads its log; the last line is cut off if it is not whole. The caller frees it. */
char *process_log(const process *it);

/* Waits a moment between two looks at a condition that nothing announces. */
void process_look_again(void);

#endif
