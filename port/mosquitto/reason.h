/* SPDX-License-Identifier: MIT */
/*
 * Words for everything that goes wrong, and the one table of MQTT reason codes: name, advice, and what an acknowledgement
 * with that code means for its message. Every text says what happened, to which thing, and what to do if something can be
 * done. No text carries user name or password.
 */
#ifndef BB_MOSQUITTO_REASON_H
#define BB_MOSQUITTO_REASON_H

#include <busbar/transport.h>
#include <stdbool.h>

#include "slot.h"

/* Where the connection goes, for the texts. */
typedef struct bb_mosquitto_place {
    const char *host;
    unsigned port;
    bool tls;
} bb_mosquitto_place;

/* Formats a reason. What does not fit is cut between characters; line ends become spaces. `reason` may be NULL. */
__attribute__((format(printf, 3, 4))) void bb_mosquitto_reason_set(busbar_reason *reason, int32_t code,
                                                                   const char *format, ...);

/* What an acknowledgement with this MQTT 5 reason code means for its message. */
bb_mosquitto_outcome bb_mosquitto_reason_outcome(int code);
/* The broker took the message, and nobody was subscribed to its topic. */
bool bb_mosquitto_reason_unmatched(const bb_mosquitto_slot *slot);
/* The code's name in the standard; "unknown reason" for others. */
const char *bb_mosquitto_reason_name(int code);
/* The MQTT 5 equal of a return code in a CONNACK of MQTT 3.1.1. */
int bb_mosquitto_reason_from_v311(int return_code);

/* The broker refused the connection / ended it / refused a message. `detail`: the broker's own words, NULL or "" if none. */
void bb_mosquitto_reason_connack(busbar_reason *reason, const bb_mosquitto_place *place, int code, const char *detail);
void bb_mosquitto_reason_disconnect(busbar_reason *reason, const bb_mosquitto_place *place, int code);
void bb_mosquitto_reason_message(busbar_reason *reason, const bb_mosquitto_slot *slot);

/* No connection was made: a code of libmosquitto, with errno (or, for EAI, the resolver's number) of that moment. */
void bb_mosquitto_reason_connect(busbar_reason *reason, const bb_mosquitto_place *place, int rc, int error);
/* A connection ended before (`accepted` false) or after the broker accepted it. */
void bb_mosquitto_reason_lost(busbar_reason *reason, const bb_mosquitto_place *place, bool accepted, int rc, int error);
/* TLS failed; `log` is what libmosquitto logged about it first. */
void bb_mosquitto_reason_tls(busbar_reason *reason, const bb_mosquitto_place *place, const char *log);

#endif
