/* SPDX-License-Identifier: MIT */
/*
 * What every transport must do (busbar/transport.h). Fill in a fixture for yours, call transport_contract_run() from
 * main(), and return what it returns.
 */
#ifndef TRANSPORT_CONTRACT_H
#define TRANSPORT_CONTRACT_H

#include <busbar/transport.h>
#include <stdbool.h>

/* What a test asks of the peer and of the transport to it. */
typedef struct transport_setup {
    uint32_t window; /* most messages unsettled */
    size_t
        max_bytes; /* topic and payload together a good deal above this must be too large, below it must pass; 0: any */
    bool absent;   /* the peer is not there at first */
    const char *topic; /* what the test sends to, and the only topic whose messages are asked for */
} transport_setup;

/* A message as the peer got it. */
typedef struct transport_received {
    const void *payload;
    size_t payload_size;
    const char *content_type; /* NULL: none */
    uint32_t expiry_s;        /* what is left of it; 0: none */
} transport_received;

typedef struct transport_fixture {
    const char *name;
    /* Makes a peer and a transport to it that is not started. Once per test. */
    void *(*open)(const transport_setup *setup, busbar_transport *out_transport);
    /* After the transport was stopped. */
    void (*close)(void *peer);
    /* The peer goes away as if its machine lost power, or comes back at the same address. */
    void (*link)(void *peer, bool up);
    /* While held, the peer takes messages but acknowledges none. */
    void (*hold)(void *peer, bool held);
    /* Lets a peer that has no life of its own work; NULL: it has. */
    void (*work)(void *peer);
    /* Waits until the peer has got so many messages; returns how many it has. Never while held. */
    size_t (*received)(void *peer, size_t at_least);
    /* The messages that it got, in order. */
    transport_received (*at)(void *peer, size_t index);
    /* A topic whose messages the peer refuses, and as what. */
    const char *refused_topic;
    busbar_refusal refused_verdict;
} transport_fixture;

/* Runs the suite. Returns the number of tests that failed. */
int transport_contract_run(const transport_fixture *fixture);

#endif
