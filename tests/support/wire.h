/* SPDX-License-Identifier: MIT */
/*
 * A wire between a client and a server on this machine that breaks where a test wants it to: after any number of bytes.
 * Bytes are counted over both directions together, so that in an exchange of question and answer each number is one place.
 * It carries one connection at a time, whatever is spoken over it.
 */
#ifndef WIRE_H
#define WIRE_H

#include <stddef.h>

typedef struct wire wire;

/* How it breaks. */
typedef enum wire_break {
    WIRE_CLOSE, /* both ends see the end of the connection */
    WIRE_RESET, /* both ends see an error */
    WIRE_STALL  /* nobody sees anything: nothing more is carried until an end gives up */
} wire_break;

/* Starts a wire to this loopback port. */
wire *wire_start(unsigned server_port);
void wire_stop(wire *it);
/* Where the client connects. */
unsigned wire_port(const wire *it);

/* The next `times` connections break after so many bytes; those after them do not. Replaces what was said before. */
void wire_break_after(wire *it, size_t bytes, wire_break how, unsigned times);
/* Connections from now on lead to another server. */
void wire_lead_to(wire *it, unsigned server_port);
/* Ends the present connection, if there is one. */
void wire_cut(wire *it);
/* Connections so far, and the bytes that the latest one carried. */
unsigned wire_connections(wire *it);
size_t wire_carried(wire *it);

#endif
