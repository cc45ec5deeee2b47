/* SPDX-License-Identifier: MIT */
/*
 * Where the two threads of a transport meet: the host (the thread that steps the bus) and the link (the private thread that
 * owns the connection). One lock; messages go one way, outcomes and changes of the connection the other. Each side is
 * woken through an eventfd, and only when it may be asleep, so that a burst costs one system call and not one per message.
 * Passes the broker's limits on without knowing what they mean.
 */
#ifndef BB_MOSQUITTO_EXCHANGE_H
#define BB_MOSQUITTO_EXCHANGE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "packet.h"
#include "slot.h"

/*
 * What the host has not yet seen. Its order is always: outcomes, then down, then up; because nothing is accepted before
 * the host has seen up, a connection that ends unseen leaves nothing but the reason why.
 */
typedef struct bb_mosquitto_news {
    bb_mosquitto_list settled;
    bb_mosquitto_list returned; /* unsettled by down */
    bool down;
    bool up;
    busbar_reason reason;       /* down */
    bb_mosquitto_limits limits; /* up */
    uint64_t epoch;             /* up: counts connections */
} bb_mosquitto_news;

typedef struct bb_mosquitto_exchange {
    pthread_mutex_t mutex;
    pthread_cond_t ended_condition;
    int host_fd; /* readable while there is news */
    int link_fd; /* readable when a sleeping link is to look */
    /* under the mutex */
    bb_mosquitto_list outbox;
    bb_mosquitto_news news;
    uint64_t epoch; /* of the present connection; the link counts it up */
    bool connected;
    bool host_told;
    bool link_asleep;
    bool closing;
    bool prompted; /* the application says that the network is back */
    bool ended;    /* the link's thread will touch nothing any more but the exchange itself */
    int owners;    /* host and thread; the last one frees */
} bb_mosquitto_exchange;

/* Returns 0, or -1 with errno set and nothing kept. */
int bb_mosquitto_exchange_open(bb_mosquitto_exchange *exchange);
/* When both sides have left. */
void bb_mosquitto_exchange_close(bb_mosquitto_exchange *exchange);

/* ---- The host's side. */

/* Hands a message over. False: the connection of that epoch is gone, the slot stays the caller's. */
bool bb_mosquitto_exchange_offer(bb_mosquitto_exchange *exchange, bb_mosquitto_slot *slot, uint64_t epoch);
/* Takes all news; host_fd is then not readable. False if there was none. */
bool bb_mosquitto_exchange_collect(bb_mosquitto_exchange *exchange, bb_mosquitto_news *out_news);
/* Tells the link that the network is back. Any thread. */
void bb_mosquitto_exchange_prompt(bb_mosquitto_exchange *exchange);
/* Asks the link to end, and drops all news. */
void bb_mosquitto_exchange_end(bb_mosquitto_exchange *exchange);
/* Waits for the link's thread to end. False if it did not in time. */
bool bb_mosquitto_exchange_wait_end(bb_mosquitto_exchange *exchange, uint32_t timeout_ms);

/* ---- The link's side. */

/* Moves all waiting messages to the end of `list`. False if there were none: the link then counts as asleep. */
bool bb_mosquitto_exchange_take(bb_mosquitto_exchange *exchange, bb_mosquitto_list *list);
/* Reports outcomes; empties `settled`. */
void bb_mosquitto_exchange_settle(bb_mosquitto_exchange *exchange, bb_mosquitto_list *settled);
void bb_mosquitto_exchange_up(bb_mosquitto_exchange *exchange, const bb_mosquitto_limits *limits);
/* Reports the end of a connection, or of an attempt; everything in flight and waiting goes back unsettled. */
void bb_mosquitto_exchange_down(bb_mosquitto_exchange *exchange, const busbar_reason *reason,
                                bb_mosquitto_list *in_flight);
bool bb_mosquitto_exchange_closing(bb_mosquitto_exchange *exchange);
/* Makes link_fd unreadable again. True if the application has said that the network is back. */
bool bb_mosquitto_exchange_wake_seen(bb_mosquitto_exchange *exchange);
/* The thread has let go of the network. */
void bb_mosquitto_exchange_ended(bb_mosquitto_exchange *exchange);

/* Either side leaves for good. True for the last one, which frees. */
bool bb_mosquitto_exchange_leave(bb_mosquitto_exchange *exchange);

#endif
