/* SPDX-License-Identifier: MIT */
#define _POSIX_C_SOURCE 200809L

#include "stop.h"

#include "out.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

static struct {
    int fd;
    bool requested;
} state = {-1, false};

static sigset_t signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    return set;
}

bool stop_begin(void)
{
    sigset_t set = signals();
    if (sigprocmask(SIG_BLOCK, &set, NULL) == 0)
        state.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (state.fd < 0)
        out_error("cannot wait for signals: %s", strerror(errno));
    return state.fd >= 0;
}

int stop_fd(void)
{
    return state.fd;
}

bool stop_requested(void)
{
    struct signalfd_siginfo info;
    if (!state.requested && read(state.fd, &info, sizeof info) == (ssize_t)sizeof info) {
        state.requested = true;
        sigset_t set = signals();
        sigprocmask(SIG_UNBLOCK, &set, NULL);
    }
    return state.requested;
}
