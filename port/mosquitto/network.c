/* SPDX-License-Identifier: MIT */
/* Listens to the kernel's news of the network. */
#define _DEFAULT_SOURCE /* linux/rtnetlink.h */

#include "network.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* An address follows its interface within milliseconds, a route its address: read them together. */
#define DEAF_MS 250
/* An attempt made too early finds no address: let the flock pass. */
#define SETTLE_MS 40
#define SPREAD_MS 160
/* A flapping interface: so many attempts, then one each CREDIT_MS. */
#define CREDIT_MAX 10u
#define CREDIT_MS  5000
/* Small, so that a flood overflows it instead of keeping this thread busy: an overflow is read as one piece of news. */
#define RECEIVE_BYTES 16384
#define READS_MAX     64

void bb_mosquitto_network_open(bb_mosquitto_network *network, uint64_t now_ms, uint64_t seed)
{
    const int size_bytes = RECEIVE_BYTES;
    const struct sockaddr_nl groups = {.nl_family = AF_NETLINK,
                                       .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
                                                    RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE};

    memset(network, 0, sizeof *network);
    network->credit = CREDIT_MAX;
    network->credit_ms = now_ms;
    network->random = seed;
    network->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (network->fd < 0) {
        return;
    }
    setsockopt(network->fd, SOL_SOCKET, SO_RCVBUF, &size_bytes, sizeof size_bytes);
    if (bind(network->fd, (const struct sockaddr *)&groups, sizeof groups) != 0) {
        bb_mosquitto_network_close(network);
    }
}

void bb_mosquitto_network_close(bb_mosquitto_network *network)
{
    if (network->fd >= 0) {
        close(network->fd);
        network->fd = -1;
    }
}

int bb_mosquitto_network_fd(const bb_mosquitto_network *network, uint64_t now_ms)
{
    return now_ms >= network->deaf_until_ms ? network->fd : -1;
}

uint64_t bb_mosquitto_network_due_ms(const bb_mosquitto_network *network, uint64_t now_ms)
{
    return network->fd >= 0 && now_ms < network->deaf_until_ms ? network->deaf_until_ms : UINT64_MAX;
}

/* ---- Reading ---------------------------------------------------------------------------------------------------------- */

static size_t find_link(const bb_mosquitto_network *network, int index)
{
    size_t i = 0;
    while (i < network->link_count && network->links[i] != index) {
        i++;
    }
    return i;
}

static void forget_link(bb_mosquitto_network *network, int index)
{
    size_t i = find_link(network, index);
    if (i < network->link_count) {
        network->links[i] = network->links[--network->link_count];
    }
}

/*
 * True if an interface runs that did not, as far as is known: at first nothing is. What is only said again (a radio says
 * much) is no news; beyond the room for interfaces it is.
 */
static bool judge_link(bb_mosquitto_network *network, const struct ifinfomsg *link)
{
    const unsigned runs = IFF_UP | IFF_RUNNING;

    if ((link->ifi_flags & runs) != runs) {
        forget_link(network, link->ifi_index);
        return false;
    }
    if ((link->ifi_flags & IFF_LOOPBACK) != 0 || find_link(network, link->ifi_index) < network->link_count) {
        return false;
    }
    if (network->link_count < BB_MOSQUITTO_NETWORK_LINKS_MAX) {
        network->links[network->link_count++] = link->ifi_index;
    }
    return true;
}

static bool judge(bb_mosquitto_network *network, const struct nlmsghdr *message)
{
    const void *body = NLMSG_DATA(message);
    const struct ifaddrmsg *address = body;
    const struct rtmsg *route = body;

    switch (message->nlmsg_type) {
    case RTM_NEWLINK:
        return message->nlmsg_len >= NLMSG_LENGTH(sizeof(struct ifinfomsg)) && judge_link(network, body);
    case RTM_DELLINK:
        if (message->nlmsg_len >= NLMSG_LENGTH(sizeof(struct ifinfomsg))) {
            forget_link(network, ((const struct ifinfomsg *)body)->ifi_index);
        }
        return false;
    case RTM_NEWADDR: /* one that is still tried for uniqueness comes again when it may be used */
        return message->nlmsg_len >= NLMSG_LENGTH(sizeof *address) && (address->ifa_flags & IFA_F_TENTATIVE) == 0;
    case RTM_NEWROUTE: /* routes to an own address come with that address */
        return message->nlmsg_len >= NLMSG_LENGTH(sizeof *route) && route->rtm_type == RTN_UNICAST &&
               (route->rtm_flags & RTM_F_CLONED) == 0;
    default:
        return false;
    }
}

static bool judge_all(bb_mosquitto_network *network, const void *bytes, size_t size_bytes)
{
    const struct nlmsghdr *message = bytes;
    bool any = false;

    while (size_bytes >= sizeof *message && message->nlmsg_len >= sizeof *message && message->nlmsg_len <= size_bytes) {
        size_t whole_bytes = NLMSG_ALIGN((size_t)message->nlmsg_len);
        any |= judge(network, message);
        if (whole_bytes >= size_bytes) {
            break;
        }
        size_bytes -= whole_bytes;
        message = (const void *)((const char *)message + whole_bytes);
    }
    return any;
}

static bool read_messages(bb_mosquitto_network *network)
{
    _Alignas(struct nlmsghdr) char bytes[8192];
    bool any = false;

    for (unsigned i = 0; i < READS_MAX; i++) {
        struct sockaddr_nl from = {0};
        socklen_t from_size = sizeof from;
        ssize_t size = recvfrom(network->fd, bytes, sizeof bytes, MSG_DONTWAIT, (struct sockaddr *)&from, &from_size);
        if (size < 0 && errno == ENOBUFS) {
            network->link_count = 0; /* what was lost may have said that they are down */
            any = true;
        } else if (size <= 0) {
            break;
        } else if (from.nl_pid == 0) { /* the kernel; any program may write to the socket */
            any |= judge_all(network, bytes, (size_t)size);
        }
    }
    return any;
}

bool bb_mosquitto_network_news(bb_mosquitto_network *network, uint64_t now_ms)
{
    if (network->fd < 0 || now_ms < network->deaf_until_ms) {
        return false;
    }
    network->deaf_until_ms = 0;
    bool any = read_messages(network);
    if (any) {
        network->deaf_until_ms = now_ms + DEAF_MS;
    }
    return any;
}

/* ---- Holding back ------------------------------------------------------------------------------------------------------- */

static uint32_t draw(bb_mosquitto_network *network, uint32_t below)
{
    network->random = network->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((network->random >> 33) % below);
}

static void add_credit(bb_mosquitto_network *network, uint64_t now_ms)
{
    if (now_ms <= network->credit_ms) {
        return;
    }
    uint64_t more = (now_ms - network->credit_ms) / CREDIT_MS;
    network->credit_ms += more * CREDIT_MS;
    network->credit = more < CREDIT_MAX - network->credit ? network->credit + (unsigned)more : CREDIT_MAX;
}

uint32_t bb_mosquitto_network_wait_ms(bb_mosquitto_network *network, uint64_t now_ms, uint32_t at_most_ms)
{
    uint64_t wait_ms = SETTLE_MS + draw(network, SPREAD_MS);

    add_credit(network, now_ms);
    if (network->credit == 0) {
        wait_ms += network->credit_ms + CREDIT_MS - now_ms;
    }
    if (wait_ms >= at_most_ms) {
        return at_most_ms; /* it would come then without the news */
    }
    if (network->credit > 0) {
        network->credit--;
    } else {
        network->credit_ms += CREDIT_MS; /* spends what would be added then */
    }
    return (uint32_t)wait_ms;
}
