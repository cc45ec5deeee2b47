/* SPDX-License-Identifier: MIT */
/* Running a piece of a test in a process of its own. */
#include "test.h"

#include "child.h"

#include <grp.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534

void child_run(child_fn *fn, const void *ctx)
{
    int status = 0;
    fflush(stdout);
    fflush(stderr);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit((int)fn(ctx));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == CHILD_SKIPPED) {
        print_message("the child process found that this cannot be tested here\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), CHILD_PASSED);
}

child_result child_fail(const char *file, int line, const char *condition)
{
    fprintf(stderr, "%s:%d: not true: %s\n", file, line, condition);
    return CHILD_FAILED;
}

bool child_drop_rights(void)
{
    if (getuid() != 0)
        return true;
    return setgroups(0, NULL) == 0 && setgid(NOBODY) == 0 && setuid(NOBODY) == 0;
}
