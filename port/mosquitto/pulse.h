/* SPDX-License-Identifier: MIT */
/*
 * Whether a TCP connection still lives after something has happened to the network. TCP itself finds out late: after an
 * outage of a minute its next attempt may be a minute away, and an idle connection attempts nothing at all. Asks the
 * kernel about the socket; sends nothing of MQTT, and knows nothing of it.
 */
#ifndef BB_MOSQUITTO_PULSE_H
#define BB_MOSQUITTO_PULSE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct bb_mosquitto_pulse {
    uint64_t since_ms; /* when the doubt began, or was looked into last; 0: there is none */
    uint64_t due_ms;   /* when to look into it */
    bool stuck;        /* the other end owed an answer then, and had been asked again */
} bb_mosquitto_pulse;

/* Something has happened: the connection is in doubt until it gives a sign of life. */
void bb_mosquitto_pulse_doubt(bb_mosquitto_pulse *pulse, int fd, uint64_t now_ms);
/* When to check; UINT64_MAX: there is no doubt. */
uint64_t bb_mosquitto_pulse_due_ms(const bb_mosquitto_pulse *pulse);
/*
 * To be called when it is due. False if the connection is to be given up: its local address is gone while something waits
 * to be sent, or nothing has come for several round trips of what had been sent twice. One that has nothing to send is
 * tested by TCP's own keepalive, which ends it (ETIMEDOUT) if three tests stay unanswered.
 */
bool bb_mosquitto_pulse_check(bb_mosquitto_pulse *pulse, int fd, uint64_t now_ms);

#endif
