/* SPDX-License-Identifier: MIT */
/* Programs that a test runs: starting, ending, reading what they printed. */
#include "test.h"

#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_MS 2

/* The child of a fork: never returns, and calls only what is legal there. */
static void become(const char *const *arguments, const char *log)
{
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (out < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
        _exit(126);
    execv(arguments[0], (char *const *)(uintptr_t)arguments);
    _exit(127);
}

void process_start(process *it, const char *directory, const char *name, const char *const *arguments)
{
    assert_non_null(arguments[0]);
    broker_file_path(directory, name, it->log);
    it->pid = fork();
    assert_true(it->pid >= 0);
    if (it->pid == 0)
        become(arguments, it->log);
}

static int exit_code_of(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void process_kill(process *it)
{
    int status = 0;
    assert_true(it->pid > 0);
    assert_int_equal(kill(it->pid, SIGKILL), 0);
    assert_int_equal(waitpid(it->pid, &status, 0), it->pid);
    it->pid = 0;
    if (!WIFSIGNALED(status))
        fail_msg("it had ended before it was killed:\n%s", process_log(it));
}

int process_wait(process *it)
{
    uint64_t deadline_ms = broker_now_ms() + PROCESS_PATIENCE_MS;
    int status = 0;
    pid_t ended;
    while ((ended = waitpid(it->pid, &status, WNOHANG)) == 0) {
        if (broker_now_ms() >= deadline_ms)
            fail_msg("it does not end:\n%s", process_log(it));
        process_look_again();
    }
    assert_int_equal(ended, it->pid);
    it->pid = 0;
    return exit_code_of(status);
}

void process_stop(process *it)
{
    assert_true(it->pid > 0);
    assert_int_equal(kill(it->pid, SIGTERM), 0);
    int exit_code = process_wait(it);
    if (exit_code != 0)
        fail_msg("it ended with %d:\n%s", exit_code, process_log(it));
}

void process_pause(const process *it)
{
    int status;
    assert_int_equal(kill(it->pid, SIGSTOP), 0);
    assert_int_equal(waitpid(it->pid, &status, WUNTRACED), it->pid);
    assert_true(WIFSTOPPED(status));
}

void process_resume(const process *it)
{
    assert_int_equal(kill(it->pid, SIGCONT), 0);
}

char *process_log(const process *it)
{
    struct stat about;
    int fd = open(it->log, O_RDONLY | O_CLOEXEC | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &about), 0);
    char *text = calloc(1, (size_t)about.st_size + 1);
    assert_non_null(text);
    ssize_t size = read(fd, text, (size_t)about.st_size);
    assert_true(size >= 0);
    close(fd);
    while (size > 0 && text[size - 1] != '\n')
        size--;
    text[size] = '\0';
    return text;
}

size_t process_lines(const process *it, const char *beginning)
{
    char *text = process_log(it);
    size_t count = 0;
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1)
        count += strncmp(line, beginning, strlen(beginning)) == 0;
    free(text);
    return count;
}

static bool has_ended(process *it)
{
    int status;
    if (waitpid(it->pid, &status, WNOHANG) != it->pid)
        return false;
    it->pid = 0;
    return true;
}

void process_await_lines(process *it, const char *beginning, size_t count)
{
    uint64_t deadline_ms = broker_now_ms() + PROCESS_PATIENCE_MS;
    bool ended = it->pid == 0;
    while (process_lines(it, beginning) < count) {
        if (ended || broker_now_ms() >= deadline_ms)
            fail_msg("%s without \"%s\" %zu times:\n%s", ended ? "it ended" : "it goes on", beginning, count,
                     process_log(it));
        process_look_again();
        ended = has_ended(it); /* and then one more look */
    }
}

void process_look_again(void)
{
    (void)poll(NULL, 0, LOOK_MS);
}
