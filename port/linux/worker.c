/* SPDX-License-Identifier: MIT */
/*
 * Naming this process so that another one can tell whether it still runs: process id, start time (the id may be given
 * to another process), and the namespaces in which both numbers mean anything.
 */
#include "worker.h"

#include "textfile.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct worker {
    int pid;
    uint64_t start_ticks;
    uint64_t pid_namespace;
    uint64_t time_namespace; /* start times are told in it; 0: a kernel without them */
} worker;

typedef struct process_state {
    char state;
    int thread_count;
    uint64_t start_ticks;
} process_state;

/*
 * /proc/<pid>/stat, fields 3, 20 and 22. The second is the command in parentheses and may itself contain any of them.
 */
static int read_process(int pid, process_state *out)
{
    char path[64];
    char text[2048];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (bb_linux_textfile_read(path, text, sizeof text) != 0)
        return -1;
    const char *rest = strrchr(text, ')');
    if (rest == NULL)
        return -1;
    int count = sscanf(rest + 1, " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %d %*s %" SCNu64,
                       &out->state, &out->thread_count, &out->start_ticks);
    return count == 3 ? 0 : -1;
}

static uint64_t namespace_of(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? (uint64_t)info.st_ino : 0;
}

/* A /proc of another pid namespace (mounted into a container) would tell about other processes. */
static bool proc_is_ours(void)
{
    char target[32] = {0};
    char expected[32];
    snprintf(expected, sizeof expected, "%d", (int)getpid());
    return readlink("/proc/self", target, sizeof target - 1) > 0 && strcmp(target, expected) == 0;
}

static int read_self(worker *out)
{
    process_state process;
    out->pid = (int)getpid();
    if (!proc_is_ours() || read_process(out->pid, &process) != 0)
        return -1;
    out->start_ticks = process.start_ticks;
    out->pid_namespace = namespace_of("/proc/self/ns/pid");
    out->time_namespace = namespace_of("/proc/self/ns/time");
    return out->pid_namespace != 0 ? 0 : -1;
}

static int print(const worker *self, char out[BUSBAR_IDENTITY_SIZE])
{
    int length = snprintf(out, BUSBAR_IDENTITY_SIZE, "linux-%d-%" PRIu64 "-%" PRIu64 "-%" PRIu64, self->pid,
                          self->start_ticks, self->pid_namespace, self->time_namespace);
    return length > 0 && length < BUSBAR_IDENTITY_SIZE ? 0 : -1;
}

/* Strict: only a text that print() could have made. */
static int parse(const char *text, worker *out)
{
    char again[BUSBAR_IDENTITY_SIZE];
    if (sscanf(text, "linux-%d-%" SCNu64 "-%" SCNu64 "-%" SCNu64, &out->pid, &out->start_ticks, &out->pid_namespace,
               &out->time_namespace) != 4)
        return -1;
    return out->pid > 0 && print(out, again) == 0 && strcmp(again, text) == 0 ? 0 : -1;
}

int bb_linux_worker_id(void *ctx, char out[BUSBAR_IDENTITY_SIZE])
{
    (void)ctx;
    worker self;
    char text[BUSBAR_IDENTITY_SIZE];
    if (read_self(&self) != 0 || print(&self, text) != 0)
        return -1;
    memcpy(out, text, sizeof text);
    return 0;
}

/* Whatever cannot be seen clearly is not gone: the lease will tell in time, and two workers at once would be worse. */
bool bb_linux_worker_gone(void *ctx, const char *worker_id)
{
    (void)ctx;
    worker other;
    worker self;
    if (parse(worker_id, &other) != 0 || read_self(&self) != 0)
        return false;
    if (other.pid_namespace != self.pid_namespace || other.time_namespace != self.time_namespace)
        return false;
    /* Asked first, because a /proc mounted with hidepid shows the processes of other users as missing. */
    if (kill(other.pid, 0) != 0)
        return errno == ESRCH;
    process_state process;
    if (read_process(other.pid, &process) != 0)
        return false;
    if (process.start_ticks != other.start_ticks)
        return true;
    /* Ended, but not yet waited for. A process whose first thread has ended looks the same, but has others left. */
    return (process.state == 'Z' || process.state == 'X') && process.thread_count <= 1;
}
