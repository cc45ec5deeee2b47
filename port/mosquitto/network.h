/* SPDX-License-Identifier: MIT */
/*
 * News of this machine's network: an interface, an address or a route has appeared, so that what failed before may succeed
 * now. Listens to the kernel (rtnetlink), and holds back: the news comes in flocks, an interface may flap, and routes may
 * change all day. Knows nothing of brokers; where the kernel cannot be listened to there is no news.
 */
#ifndef BB_MOSQUITTO_NETWORK_H
#define BB_MOSQUITTO_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BB_MOSQUITTO_NETWORK_LINKS_MAX 64

typedef struct bb_mosquitto_network {
    int fd;                 /* -1: nothing to listen to */
    uint64_t deaf_until_ms; /* what comes before is read then, all at once */
    uint64_t credit_ms;     /* when credit was last added */
    unsigned credit;        /* early attempts that may still be made */
    uint64_t random;        /* state of the generator */
    size_t link_count;
    int links[BB_MOSQUITTO_NETWORK_LINKS_MAX]; /* interfaces known to run */
} bb_mosquitto_network;

/* Begins to listen, on the thread whose network it is. Any seed will do. */
void bb_mosquitto_network_open(bb_mosquitto_network *network, uint64_t now_ms, uint64_t seed);
void bb_mosquitto_network_close(bb_mosquitto_network *network);

/* What to poll for news, now; -1 (which poll() ignores): nothing. */
int bb_mosquitto_network_fd(const bb_mosquitto_network *network, uint64_t now_ms);
/* When to look even though nothing polls; UINT64_MAX: never. */
uint64_t bb_mosquitto_network_due_ms(const bb_mosquitto_network *network, uint64_t now_ms);
/* Reads what has come. True if something has appeared. */
bool bb_mosquitto_network_news(bb_mosquitto_network *network, uint64_t now_ms);

/*
 * How long to wait, after news, before an attempt that the news alone is the reason for: a random moment, so that all
 * devices behind one switch do not come at once; longer when the news has been the reason too often lately. Never more
 * than at_most_ms, when the attempt comes anyhow.
 */
uint32_t bb_mosquitto_network_wait_ms(bb_mosquitto_network *network, uint64_t now_ms, uint32_t at_most_ms);

#endif
