/* SPDX-License-Identifier: MIT */
/*
 * A bad network between clients and a server on this machine, for any number of connections: it delays, cuts, falls silent
 * or refuses, whatever is spoken through it. Works on a thread of its own; every function may be called at any time from
 * any thread. (wire.h breaks one connection at one exact byte; this is about time, and about many connections.)
 */
#ifndef PROXY_H
#define PROXY_H

#include <stdbool.h>
#include <stddef.h>

typedef struct proxy proxy;

typedef enum proxy_way {
    PROXY_UP,  /* from the client to the server */
    PROXY_DOWN /* from the server to the client */
} proxy_way;

/* Starts one in front of this loopback port, which need not be open yet. It carries everything at once. */
proxy *proxy_start(unsigned server_port);
/* Ends it and every connection. */
void proxy_stop(proxy *it);
/* Where the clients connect. */
unsigned proxy_port(const proxy *it);

/* Each byte arrives so much later, in both ways; also in connections that exist. */
void proxy_delay(proxy *it, unsigned delay_ms);
/* From now on each new connection is cut after so many bytes in that way: both ends see it closed. 0: no more cuts. */
void proxy_cut_after(proxy *it, proxy_way way, size_t bytes);
/* Carries nothing: connections stay open, new ones are accepted, and what is sent into them is kept. False: carries it. */
void proxy_black_hole(proxy *it, bool on);
/* Closes every connection, and each new one at once. False: no more. */
void proxy_refuse(proxy *it, bool on);
/* Closes every connection. */
void proxy_cut(proxy *it);

/* Connections so far; those that are open; and bytes carried so far. */
unsigned proxy_connections(proxy *it);
unsigned proxy_open(proxy *it);
size_t proxy_carried(proxy *it, proxy_way way);

#endif
