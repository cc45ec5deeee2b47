/* SPDX-License-Identifier: MIT */
/*
 * busbar/loopback.h: a transport whose peer is a function of the same process.
 *
 * For tests, demos and programs that have no network. Nothing happens by itself: no thread, no clock, no descriptor. A
 * message reaches the receiver inside send(), and its outcome is there for the next poll(). The link, the
 * acknowledgements and the refusals follow a script that the program gives. Needs nothing but C11.
 *
 * Every function is called on the thread of the transport, between busbar_loopback_new() and the transport's stop(). The
 * script functions are legal inside the receiver. Their `transport` is what busbar_loopback_new() returned.
 */
#ifndef BUSBAR_LOOPBACK_H
#define BUSBAR_LOOPBACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <busbar/busbar.h>
#include <busbar/transport.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Gets a message that was taken and not refused. Everything in it is valid until the function returns. */
typedef void busbar_loopback_fn(const busbar_message *message, void *ctx);

typedef struct busbar_loopback_options {
    size_t size;                 /* sizeof(busbar_loopback_options) */
    busbar_loopback_fn *receive; /* NULL: messages are taken and forgotten */
    void *ctx;                   /* for receive */
    uint32_t window;             /* most messages unsettled; 0: 100 */
    size_t max_message_bytes;    /* largest topic plus payload; 0: no limit */
    bool manual_ack;             /* messages wait for busbar_loopback_ack; else each is acknowledged when taken */
    bool link_down;              /* begin without a link */
} busbar_loopback_options;

/*
 * Makes a loopback transport. Belongs to the caller until it is given to a route; one that no route took is released with
 * transport.api->stop(transport.ctx). `options` may be NULL: defaults. Any context.
 * Returns BUSBAR_OK; BUSBAR_EINVAL (a size unknown, no out_transport); BUSBAR_ENOMEM.
 */
BUSBAR_API int busbar_loopback_new(const busbar_loopback_options *options, busbar_transport *out_transport);

/* Cuts or restores the link. After start each change is reported by DOWN or UP; cutting unsettles what was not settled. */
BUSBAR_API void busbar_loopback_link(busbar_transport transport, bool up);

/*
 * Cuts the link by itself after so many more messages have reached the receiver: the last of them stays unsettled. 0 takes
 * that back. The link stays down until busbar_loopback_link(…, true).
 */
BUSBAR_API void busbar_loopback_drop_after(busbar_transport transport, uint32_t message_count);

/* Acknowledges the oldest unsettled messages, at most `count`; SIZE_MAX: all. Returns how many. */
BUSBAR_API size_t busbar_loopback_ack(busbar_transport transport, size_t count);
/* Acknowledges one message, whatever its place. False if no such message is unsettled. */
BUSBAR_API bool busbar_loopback_ack_token(busbar_transport transport, uint64_t token);

/*
 * From now on acknowledgements say that the peer took the message, but nobody was there to receive it, or no longer say so.
 * Messages reach the receiver all the same: it stands for the peer.
 */
BUSBAR_API void busbar_loopback_unmatched(busbar_transport transport, bool unmatched);

/* Refuses messages instead of handing them to the receiver. */
typedef struct busbar_loopback_refusal {
    size_t size;       /* sizeof(busbar_loopback_refusal) */
    const char *topic; /* only messages to exactly this topic; NULL: any */
    uint32_t count;    /* so many messages; 0: all from now on */
    busbar_refusal verdict;
    int32_t code;     /* of the reason */
    const char *text; /* of the reason; NULL: "refused" */
} busbar_loopback_refusal;

/*
 * Adds a refusal to the script; strings are copied. The oldest that fits a message is used, and is gone after its count.
 * Returns BUSBAR_OK; BUSBAR_EINVAL; BUSBAR_ENOMEM.
 */
BUSBAR_API int busbar_loopback_refuse(busbar_transport transport, const busbar_loopback_refusal *refusal);
/* Takes every refusal back. */
BUSBAR_API void busbar_loopback_accept(busbar_transport transport);

#ifdef __cplusplus
}
#endif

#endif
