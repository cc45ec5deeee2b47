/* SPDX-License-Identifier: MIT */
/*
 * busbar/transport.h: what a network provides.
 *
 * A transport carries messages to one peer and reports what became of each. It knows nothing of SQLite, and this header
 * knows nothing of MQTT. A transport belongs to the route it was given to (busbar_route_add) until that route's bus is
 * closed; all its functions are called on the thread that steps that bus.
 *
 * None of the functions but stop() may block: no name resolution, connecting, handshake or socket wait inside them.
 *
 * Implementations here: port/mosquitto (MQTT through libmosquitto) and port/loopback (in process). The conformance suite
 * in tests/contract/transport.c runs against each, and is meant to be run against yours.
 */
#ifndef BUSBAR_TRANSPORT_H
#define BUSBAR_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BUSBAR_TRANSPORT_VERSION 1u

/* Size of a reason text, terminating NUL included. UTF-8, one line, no secrets. */
#define BUSBAR_REASON_SIZE 160

typedef struct busbar_reason {
    int32_t code;            /* the transport's own number (an MQTT reason code, an errno), 0 if none */
    uint32_t retry_after_ms; /* when to try again, if that is known; 0: by the retry policy */
    char text[BUSBAR_REASON_SIZE];
} busbar_reason;

/* One message. Every pointer is valid only during send(): a transport that accepts copies what it needs. */
typedef struct busbar_message {
    size_t size;         /* sizeof(busbar_message) */
    uint64_t token;      /* comes back in the event that settles this message; never 0, never repeated */
    const char *topic;   /* NUL-terminated UTF-8, no wildcard, not empty */
    const void *payload; /* may be NULL when payload_size_bytes is 0 */
    size_t payload_size_bytes;
    const char *content_type; /* media type of the payload, or NULL */
    uint32_t expiry_s;        /* the receiving side may drop it after so many seconds; 0: never */
    uint8_t qos;              /* 0, 1 or 2 */
} busbar_message;

/* What send() answers. Acceptance is not delivery: only BUSBAR_TRANSPORT_ACKED is. */
typedef enum busbar_send_result {
    BUSBAR_SEND_ACCEPTED = 1, /* exactly one ACKED, REFUSED or DOWN event follows and settles it */
    BUSBAR_SEND_NOT_NOW =
        0, /* not connected, or no room: nothing was taken, no event follows, try after the next event */
    BUSBAR_SEND_DEAD =
        -1 /* can never be sent by this transport (too large, bad topic): reason is set, no event follows */
} busbar_send_result;

typedef enum busbar_transport_event_type {
    BUSBAR_TRANSPORT_UP =
        1, /* connected; send() may accept now. `window` and `max_message_bytes` are the peer's limits */
    BUSBAR_TRANSPORT_DOWN, /* connection lost or refused; every accepted, unsettled message is hereby unsettled and will
                                 not be settled later; `reason` says why. Also reported for each failed attempt to connect */
    BUSBAR_TRANSPORT_ACKED,  /* the peer took the message `token` */
    BUSBAR_TRANSPORT_REFUSED /* the peer refused the message `token` for good or for now: `verdict` and `reason` */
} busbar_transport_event_type;

typedef enum busbar_refusal {
    BUSBAR_REFUSED_RETRY = 0, /* this event failed and may succeed later: counts as an attempt */
    BUSBAR_REFUSED_DEAD = 1   /* this event can never succeed */
} busbar_refusal;

typedef struct busbar_transport_event {
    size_t size; /* sizeof(busbar_transport_event) */
    busbar_transport_event_type type;
    uint64_t token;           /* ACKED, REFUSED */
    busbar_refusal verdict;   /* REFUSED */
    bool unmatched;           /* ACKED: the peer took it, but nobody was there to receive it */
    uint32_t window;          /* UP: most messages the peer takes unsettled; 0: no limit told */
    size_t max_message_bytes; /* UP: largest topic plus payload the peer takes; 0: no limit told */
    busbar_reason reason;     /* DOWN, REFUSED */
} busbar_transport_event;

/* Receives events during poll(). It may call send(), and nothing else of the transport. */
typedef void busbar_transport_event_fn(const busbar_transport_event *event, void *ctx);

/*
 * The functions of a transport. Life: start, then any number of send and poll, then close, then stop. close is idempotent;
 * close and stop are legal without start; stop is called exactly once. All are required but fd, which may be NULL.
 */
typedef struct busbar_transport_api {
    uint32_t version; /* BUSBAR_TRANSPORT_VERSION */
    const char *name; /* for messages to people: "mqtt", "loopback" */
    /* Begins to connect, and from then on reconnects by itself. Returns 0, or -1 with *out_reason set. */
    int (*start)(void *ctx, busbar_reason *out_reason);
    /* Offers one message. *out_reason is written only on BUSBAR_SEND_DEAD. */
    busbar_send_result (*send)(void *ctx, const busbar_message *message, busbar_reason *out_reason);
    /* Hands over, in order of occurrence, every event that has happened. The only place where events are delivered. */
    void (*poll)(void *ctx, busbar_transport_event_fn *fn, void *fn_ctx);
    /* Begins to disconnect. No event is reported after it. Returns at once. */
    void (*close)(void *ctx);
    /* Waits, for a bounded time, until the transport has let go of the network, and frees everything; ctx is void after it. */
    void (*stop)(void *ctx);
    /* A descriptor that polls readable while poll() has something to report; the same value from start to stop. */
    int (*fd)(void *ctx);
} busbar_transport_api;

/* A transport as it is passed around: by value. Constructors in port/ return it filled. */
typedef struct busbar_transport {
    const busbar_transport_api *api;
    void *ctx;
} busbar_transport;

#ifdef __cplusplus
}
#endif

#endif
