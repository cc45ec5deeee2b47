/* SPDX-License-Identifier: MIT */
/* Looks for signs of life. */
#include "pulse.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h> /* the C library's struct tcp_info is an old one */
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define GRACE_MS          300
#define ROUND_TRIPS       2
#define ROUND_TRIP_MAX_MS 3000
#define KEEPALIVE_TESTS   3

static bool read_info(int fd, struct tcp_info *out_info)
{
    socklen_t size = sizeof *out_info;
    memset(out_info, 0, sizeof *out_info);
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, out_info, &size) == 0;
}

/* The shortest one of the last minutes: the mean has the outage in it. Before Linux 4.6 there is no other. */
static uint32_t round_trip_ms(const struct tcp_info *info)
{
    bool known = info->tcpi_min_rtt != 0 && info->tcpi_min_rtt != UINT32_MAX;
    uint32_t ms = (known ? info->tcpi_min_rtt : info->tcpi_rtt) / 1000;
    return ms < ROUND_TRIP_MAX_MS ? ms : ROUND_TRIP_MAX_MS;
}

/* Setting the idle time makes the kernel look at once whether it is over; where there is something to send, it does not. */
static void test_idle(int fd, const struct tcp_info *info)
{
    const int on = 1;
    const int idle_s = 1;
    const int tests = KEEPALIVE_TESTS;
    const int interval_s = 1 + (int)(ROUND_TRIPS * round_trip_ms(info) / 1000);

    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &tests, sizeof tests);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
}

static void stop_testing(int fd)
{
    const int off = 0;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &off, sizeof off);
}

/* Only an address of this machine can be bound to. */
static bool has_address(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;

    if (getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        return true;
    }
    int probe = socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (probe < 0) {
        return true;
    }
    ((struct sockaddr_in *)&address)->sin_port = 0; /* an IPv6 address has its port in the same place */
    bool gone = bind(probe, (struct sockaddr *)&address, size) != 0 && errno == EADDRNOTAVAIL;
    close(probe);
    return !gone;
}

/* Something is to be sent, or was and has no answer yet. */
static bool is_waiting(int fd)
{
    int bytes = 0;
    return ioctl(fd, SIOCOUTQ, &bytes) == 0 && bytes > 0;
}

/*
 * No answer has come to what was sent again. What could not leave this machine counts as a probe. A peer that answers, but
 * takes nothing at present, has no probe open.
 */
static bool is_stuck(int fd, const struct tcp_info *info)
{
    return is_waiting(fd) && (info->tcpi_retransmits > 0 || info->tcpi_probes > 0);
}

static void look(bb_mosquitto_pulse *pulse, int fd, const struct tcp_info *info, uint64_t now_ms)
{
    pulse->since_ms = now_ms;
    pulse->due_ms = now_ms + GRACE_MS + ROUND_TRIPS * round_trip_ms(info);
    pulse->stuck = is_stuck(fd, info);
}

void bb_mosquitto_pulse_doubt(bb_mosquitto_pulse *pulse, int fd, uint64_t now_ms)
{
    struct tcp_info info;

    if (pulse->since_ms == 0 && read_info(fd, &info)) {
        look(pulse, fd, &info, now_ms);
        test_idle(fd, &info);
    }
}

uint64_t bb_mosquitto_pulse_due_ms(const bb_mosquitto_pulse *pulse)
{
    return pulse->since_ms != 0 ? pulse->due_ms : UINT64_MAX;
}

bool bb_mosquitto_pulse_check(bb_mosquitto_pulse *pulse, int fd, uint64_t now_ms)
{
    struct tcp_info info;

    if (is_waiting(fd) && !has_address(fd)) { /* an IPv6 address is away for a second after each change of its link */
        return false;
    }
    if (!read_info(fd, &info)) {
        pulse->since_ms = 0;
        return true;
    }
    if (info.tcpi_last_ack_recv < now_ms - pulse->since_ms) {
        stop_testing(fd);
        pulse->since_ms = 0;
        return true;
    }
    if (pulse->stuck) {
        return false;
    }
    look(pulse, fd, &info, now_ms);
    return true;
}
