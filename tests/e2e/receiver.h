/* SPDX-License-Identifier: MIT */
/*
 * Who is at the other end: an MQTT client of its own that keeps what the broker forwards, in order of arrival. It
 * subscribes at QoS 0 and reads on a thread of its own, so that nothing waits for it: what the broker acknowledged to the
 * sender was handed to the receiver before, even if the broker is killed right after.
 */
#ifndef RECEIVER_H
#define RECEIVER_H

#include <stddef.h>
#include <stdint.h>

#define RECEIVER_TEXT_SIZE 80

/* One CloudEvent of a device program (device.c) as it arrived. */
typedef struct reading {
    char source[RECEIVER_TEXT_SIZE];
    char id[RECEIVER_TEXT_SIZE];
    char device[RECEIVER_TEXT_SIZE];
    long n;
} reading;

typedef struct receiver receiver;

/* Connects, subscribes to everything, and returns when the broker has confirmed it. */
receiver *receiver_start(unsigned port);
/* Connects again after the broker was gone. What came before is kept. */
void receiver_reconnect(receiver *it);
void receiver_free(receiver *it);

size_t receiver_count(receiver *it);
/* Waits until so many have arrived; fails the test if they do not in time. */
void receiver_await(receiver *it, size_t count);
/* Waits until the event `n` of a device has arrived; fails the test if it does not in time. */
void receiver_await_reading(receiver *it, const char *device, long n);
/* Copies what has arrived; the caller frees it. Fails the test if something arrived that is no event of a device. */
reading *receiver_readings(receiver *it, size_t *out_count);

#endif
