/* SPDX-License-Identifier: MIT */
/* Two networks and a wire. */
#include "test.h"

#include "networks.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker.h"

static int sides[2] = {-1, -1};

/* The wait status of a command run by a shell on a side. */
static int run(networks_side side, const char *command)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        if (setns(sides[side], CLONE_NEWNET) == 0) {
            execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        }
        _exit(126);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

static bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    if (fd >= 0) {
        close(fd);
    }
    return written;
}

/* Who is not root may be it in a world of their own. */
static bool leave_network(void)
{
    char map[64];
    unsigned uid = (unsigned)getuid();
    unsigned gid = (unsigned)getgid();

    if (unshare(CLONE_NEWNET) == 0) {
        return true;
    }
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
        return false;
    }
    (void)write_text("/proc/self/setgroups", "deny");
    (void)snprintf(map, sizeof map, "0 %u 1", uid);
    bool mapped = write_text("/proc/self/uid_map", map);
    (void)snprintf(map, sizeof map, "0 %u 1", gid);
    return mapped && write_text("/proc/self/gid_map", map);
}

const char *networks_make(void)
{
    static const char set_up[] = "PATH=$PATH:/usr/sbin:/sbin; ip link set lo up && ip link add " NETWORKS_BROKER_LINK
                                 " address " NETWORKS_BROKER_ETHERNET " type veth peer name " NETWORKS_DEVICE_LINK
                                 " netns /proc/self/fd/%d && ip address add " NETWORKS_BROKER_ADDRESS
                                 "/24 dev " NETWORKS_BROKER_LINK " && ip link set " NETWORKS_BROKER_LINK " up";
    static const char set_up_device[] =
        "PATH=$PATH:/usr/sbin:/sbin; ip link set lo up && ip address add " NETWORKS_DEVICE_ADDRESS
        "/24 dev " NETWORKS_DEVICE_LINK " && ip link set " NETWORKS_DEVICE_LINK
        " addrgenmode none && ip link set " NETWORKS_DEVICE_LINK " up";
    char command[sizeof set_up + 16];

    if (system("PATH=$PATH:/usr/sbin:/sbin; command -v ip >/dev/null") != 0) {
        return "there is no command `ip` (package iproute2)";
    }
    if (!leave_network()) {
        return "this user may not make network namespaces here";
    }
    sides[NETWORKS_BROKER] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (unshare(CLONE_NEWNET) != 0) {
        return "this user may not make a second network namespace here";
    }
    sides[NETWORKS_DEVICE] = open("/proc/self/ns/net", O_RDONLY); /* `ip` finds it by its number */
    if (sides[NETWORKS_BROKER] < 0 || sides[NETWORKS_DEVICE] < 0 || setns(sides[NETWORKS_BROKER], CLONE_NEWNET) != 0) {
        return "the network namespaces cannot be entered";
    }
    (void)snprintf(command, sizeof command, set_up, sides[NETWORKS_DEVICE]);
    if (run(NETWORKS_BROKER, command) != 0 || run(NETWORKS_DEVICE, set_up_device) != 0) {
        return "the kernel makes no veth pair here";
    }
    /* The kernel repeats a lost question for an Ethernet address after 1 s, whatever anybody waits for; not here. */
    (void)run(NETWORKS_BROKER, "echo 50 > /proc/sys/net/ipv4/neigh/" NETWORKS_BROKER_LINK "/retrans_time_ms");
    (void)run(NETWORKS_DEVICE, "echo 50 > /proc/sys/net/ipv4/neigh/" NETWORKS_DEVICE_LINK "/retrans_time_ms");
    return NULL;
}

bool networks_set_hosts(const char *directory, const char *lines)
{
    char path[BROKER_PATH_SIZE];

    broker_file_write(directory, "hosts", lines);
    broker_file_path(directory, "hosts", path);
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount(path, "/etc/hosts", NULL, MS_BIND, NULL) == 0;
}

void networks_enter(networks_side side)
{
    assert_int_equal(setns(sides[side], CLONE_NEWNET), 0);
}

void networks_run(networks_side side, const char *format, ...)
{
    char command[512] = "PATH=$PATH:/usr/sbin:/sbin; ";
    size_t length = strlen(command);
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(command + length, sizeof command - length, format, arguments);
    va_end(arguments);
    if (run(side, command) != 0) {
        fail_msg("this failed: %s", command);
    }
}
